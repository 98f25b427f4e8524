/* SPDX-License-Identifier: Apache-2.0 */
#include "live.h"

#include <pthread.h>
#include <stdlib.h>

#include "harness/tap.h"

/* ---- in the test ---- */

cove_process *live_start(cove_sandbox *s, const struct cove_exec_options *options)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_process *p;
	const char *const argv[] = { "true", NULL };
	CHECK_COVE(cove_exec_stream(s, argv, options, &p, &err), &err);
	return p;
}

cove_process *live_open(cove_sandbox *s, const struct cove_open_options *options)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_process *p;
	CHECK_COVE(cove_process_open(s, "s1", options, &p, &err), &err);
	return p;
}

const struct cove_event *live_receive(cove_process *p, enum cove_event_kind kind)
{
	const struct cove_event *event = NULL;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_INT(CHECK_COVE(cove_process_recv(p, &event, 10000, &err), &err), ==, 1);
	if (event->error)
		tap_note("%s", event->error->message);
	CHECK_STR(cove_event_name(event->kind), cove_event_name(kind));
	return event;
}

void live_receive_text(cove_process *p, enum cove_event_kind kind, uint64_t offset,
		       const char *text)
{
	size_t n = strlen(text);
	while (n > 0) {
		const struct cove_event *event = live_receive(p, kind);
		CHECK_INT(event->bytes, >, 0);
		CHECK_INT(event->bytes, <=, n);
		CHECK_INT(event->offset, ==, offset);
		CHECK_INT(event->stream, ==, kind == COVE_EVENT_STDOUT ? COVE_STDOUT : COVE_STDERR);
		CHECK(memcmp(event->data, text, event->bytes) == 0);
		text += event->bytes;
		offset += event->bytes;
		n -= event->bytes;
	}
}

void live_receive_gap(cove_process *p, enum cove_stream stream, uint64_t offset, uint64_t missing)
{
	const struct cove_event *event = live_receive(p, COVE_EVENT_GAP);
	CHECK_INT(event->stream, ==, stream);
	CHECK_INT(event->offset, ==, offset);
	CHECK_INT(event->missing_bytes, ==, missing);
}

void live_is_over(cove_process *p)
{
	const struct cove_event *event;
	CHECK_INT(cove_process_recv(p, &event, -1, NULL), ==, 0);
	CHECK_INT(cove_process_recv(p, &event, 0, NULL), ==, 0);
	CHECK_INT(cove_process_try_recv(p, &event, NULL), ==, 0);
}

void live_receive_end(cove_process *p, enum cove_event_kind kind, int code, const char *text)
{
	const struct cove_event *event = live_receive(p, kind);
	CHECK(event->error);
	CHECK_INT(event->error->code, ==, code);
	CHECK_CONTAINS(event->error->message, text);
	live_is_over(p);
}

/* ---- in the script ---- */

void live_send_started(struct fake *f, uint32_t stream, bool was_there, uint64_t stdout_offset,
		       uint64_t stderr_offset)
{
	Cove__Wire__Started m = COVE__WIRE__STARTED__INIT;
	m.id = wire_string("s1");
	m.pid = 42;
	m.has_already_running = m.already_running = was_there;
	m.has_stdout_offset = m.has_stderr_offset = was_there;
	m.stdout_offset = stdout_offset;
	m.stderr_offset = stderr_offset;
	m.has_stdout_end = m.has_stderr_end = was_there;
	m.stdout_end = stdout_offset;
	m.stderr_end = stderr_offset;
	fake_send(f, stream, WIRE_STARTED, &m.base);
}

uint32_t live_started(struct fake *f)
{
	uint32_t stream;
	wire_message_free(&fake_expect_exec(f, &stream)->base);
	fake_started(f, stream);
	return stream;
}

uint32_t live_attached(struct fake *f, uint64_t stdout_offset, uint64_t stderr_offset)
{
	struct wire_event event;
	do
		CHECK(fake_next(f, &event));
	while (event.kind == WIRE_EVENT_CLOSE); /* of the one before */
	CHECK_INT(event.kind, ==, WIRE_EVENT_MESSAGE);
	CHECK_INT(event.type, ==, WIRE_ATTACH);
	live_send_started(f, event.stream, true, stdout_offset, stderr_offset);
	return event.stream;
}

void live_print(struct fake *f, uint32_t stream, unsigned channel, uint64_t offset,
		const char *text)
{
	fake_data(f, stream, channel, offset, text, strlen(text));
	fake_drain(f);
}

void live_expect_close(struct fake *f, uint32_t stream)
{
	struct wire_event event;
	CHECK(fake_next(f, &event));
	if (event.kind == WIRE_EVENT_MESSAGE)
		tap_note("%s on stream %u", wire_type_info(event.type)->name, event.stream);
	CHECK_INT(event.kind, ==, WIRE_EVENT_CLOSE);
	CHECK_INT(event.stream, ==, stream);
}

void live_until_gone(struct fake *f)
{
	fake_until_closed(f, 0);
}

/* ---- steps ---- */

struct live_steps {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	uint32_t passed;
};

struct live_steps *live_steps_new(void)
{
	struct live_steps *steps = calloc(1, sizeof(*steps));
	CHECK(steps);
	pthread_mutex_init(&steps->lock, NULL);
	pthread_cond_init(&steps->cond, NULL);
	return steps;
}

void live_steps_free(struct live_steps *steps)
{
	pthread_mutex_destroy(&steps->lock);
	pthread_cond_destroy(&steps->cond);
	free(steps);
}

void live_pass(struct live_steps *steps, unsigned step)
{
	pthread_mutex_lock(&steps->lock);
	steps->passed |= 1u << step;
	pthread_cond_broadcast(&steps->cond);
	pthread_mutex_unlock(&steps->lock);
}

void live_await(struct live_steps *steps, unsigned step)
{
	pthread_mutex_lock(&steps->lock);
	while (!(steps->passed & 1u << step))
		pthread_cond_wait(&steps->cond, &steps->lock);
	pthread_mutex_unlock(&steps->lock);
}
