/* SPDX-License-Identifier: Apache-2.0 */

/* Processes, controls and stdin as references: what they do, and what is left when one goes. */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "harness/tap.h"
#include "lib/sandbox.h"
#include "live.h"
#include "wire/frame.h"

#define PIPE EXEC(.stdin_mode = COVE_STDIN_PIPE)

/* The next DATA, as far as it goes; checks where it is. */
static size_t expect_data(struct fake *f, uint32_t stream, uint64_t offset, const char *text)
{
	struct wire_event event;
	CHECK(fake_next(f, &event));
	CHECK_INT(event.kind, ==, WIRE_EVENT_DATA);
	CHECK_INT(event.stream, ==, stream);
	CHECK_INT(event.offset, ==, offset);
	CHECK_INT(event.size, <=, strlen(text));
	CHECK(memcmp(event.data, text, event.size) == 0);
	return event.size;
}

static void expect_text(struct fake *f, uint32_t stream, uint64_t offset, const char *text)
{
	while (*text) {
		size_t n = expect_data(f, stream, offset, text);
		offset += n;
		text += n;
	}
}

static void expect_eof(struct fake *f, uint32_t stream, uint64_t total)
{
	struct wire_event event;
	CHECK(fake_next(f, &event));
	CHECK_INT(event.kind, ==, WIRE_EVENT_EOF);
	CHECK_INT(event.stream, ==, stream);
	CHECK_INT(event.offset, ==, total);
}

/* ---- requests ---- */

static void script_requests(struct fake *f)
{
	struct wire_event event;
	uint32_t stream = live_started(f);
	CHECK_INT(fake_expect(f, WIRE_SIGNAL), ==, stream);
	fake_ack(f, stream, 1, 0);
	CHECK(fake_next(f, &event));
	CHECK_INT(event.type, ==, WIRE_RESIZE);
	Cove__Wire__Resize *m = (Cove__Wire__Resize *)wire_message_unpack(
		&cove__wire__resize__descriptor, event.data, event.size);
	CHECK_INT(m->rows, ==, 50);
	CHECK_INT(m->cols, ==, 65535);
	wire_message_free(&m->base);
	fake_ack(f, stream, 2, COVE_E_STATE);
	for (unsigned i = 0; i < 2; i++) {
		CHECK(fake_next(f, &event));
		CHECK_INT(event.type, ==, WIRE_CLOSE_OUTPUT);
		Cove__Wire__CloseOutput *c = (Cove__Wire__CloseOutput *)wire_message_unpack(
			&cove__wire__close_output__descriptor, event.data, event.size);
		CHECK_INT(c->channel, ==, i == 0 ? WIRE_STDOUT : WIRE_STDERR);
		wire_message_free(&c->base);
		fake_ack(f, stream, 3 + i, 0);
	}
	CHECK_INT(fake_expect(f, WIRE_KILL), ==, stream);
	/* The end comes first, and the answer is waited for all the same. */
	fake_exited(f, stream, 0, 0);
	fake_ack(f, stream, 5, 0);
	live_expect_close(f, stream);

	/* Before it has started; and it never does. */
	wire_message_free(&fake_expect_exec(f, &stream)->base);
	CHECK_INT(fake_expect(f, WIRE_SIGNAL), ==, stream);
	fake_failed(f, stream, WIRE_FAILED, COVE_E_START, "nope");
	live_expect_close(f, stream);
	/* Before it has started, and it does. */
	wire_message_free(&fake_expect_exec(f, &stream)->base);
	CHECK_INT(fake_expect(f, WIRE_SIGNAL), ==, stream);
	fake_started(f, stream);
	fake_ack(f, stream, 1, 0);
	CHECK_INT(fake_expect(f, WIRE_SIGNAL), ==, stream);
	fake_exited(f, stream, 0, 0); /* not answered, at all */
	fake_ack(f, stream, 1, 0);    /* an old answer is none */
	fake_failed(f, stream, WIRE_FAILED, COVE_E_LOST, "gone");
	live_expect_close(f, stream);

	/* One that waits when the sandbox dies. */
	live_started(f);
	fake_expect(f, WIRE_KILL);
}

static void test_requests(void)
{
	struct fake f;
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = fake_start(&f, script_requests, NULL);
	cove_process *p = live_start(s, NULL);
	CHECK_INT(cove_process_signal(p, 0, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_process_signal(p, 65, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_process_resize(p, 0, 1, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_process_resize(p, 1, 65536, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_process_close_output(p, (enum cove_stream)3, &err), ==, COVE_E_INVALID);
	CHECK_COVE(cove_process_signal(p, 64, &err), &err);
	CHECK_INT(cove_process_resize(p, 50, 65535, &err), ==, COVE_E_STATE);
	CHECK_COVE(cove_process_close_output(p, COVE_STDOUT, &err), &err);
	CHECK_COVE(cove_process_close_output(p, COVE_STDERR, &err), &err);
	CHECK_COVE(cove_process_kill(p, &err), &err);
	CHECK_INT(cove_process_kill(p, &err), ==, COVE_E_STATE);
	CHECK_CONTAINS(err.message, "has ended");
	cove_process_free(p);

	p = live_start(s, NULL);
	CHECK_INT(cove_process_signal(p, SIGTERM, &err), ==, COVE_E_START);
	CHECK_STR(err.message, "nope");
	CHECK_INT(cove_process_kill(p, &err), ==, COVE_E_START);
	cove_process_free(p);

	p = live_start(s, NULL);
	CHECK_COVE(cove_process_signal(p, SIGTERM, &err), &err);
	CHECK_INT(cove_process_signal(p, SIGTERM, &err), ==, COVE_E_STATE);
	cove_process_free(p);

	p = live_start(s, NULL);
	CHECK_INT(cove_process_kill(p, &err), ==, COVE_E_LOST);
	CHECK_INT(cove_process_kill(p, &err), ==, COVE_E_LOST);
	cove_process_free(p);
	fake_end(&f, s);
}

static void script_read_only(struct fake *f)
{
	uint32_t stream = live_attached(f, 0, 0);
	live_expect_close(f, stream);
	stream = live_attached(f, 0, 0);
	expect_text(f, stream, 0, "typed");
	expect_eof(f, stream, 5);
	fake_exited(f, stream, 0, 0);
	live_expect_close(f, stream);
	live_until_gone(f);
}

static void test_opened(void)
{
	struct fake f;
	struct cove_error err = COVE_ERROR_INIT;
	const char *id;
	cove_sandbox *s = fake_start(&f, script_read_only, NULL);
	cove_process *p = live_open(s, OPEN(.read_only = true));
	CHECK_COVE(cove_process_id(p, &id, &err), &err);
	CHECK_STR(id, "s1");
	CHECK(!cove_process_take_stdin(p));
	CHECK_INT(cove_process_signal(p, SIGTERM, &err), ==, COVE_E_DENIED);
	CHECK_INT(cove_process_kill(p, &err), ==, COVE_E_DENIED);
	CHECK_INT(cove_process_resize(p, 1, 1, &err), ==, COVE_E_DENIED);
	CHECK_INT(cove_process_close_output(p, COVE_STDOUT, &err), ==, COVE_E_DENIED);
	live_receive(p, COVE_EVENT_STARTED);
	cove_process_free(p); /* and its stdin, which was not taken, is left alone */

	p = live_open(s, NULL);
	cove_stdin *in = cove_process_take_stdin(p);
	CHECK_COVE(cove_stdin_write(in, "typed", 5, &err), &err);
	CHECK(!cove_stdin_free(in));
	live_receive(p, COVE_EVENT_STARTED);
	live_receive(p, COVE_EVENT_EXITED);
	cove_process_free(p);
	fake_end(&f, s);
}

/* ---- ids ---- */

static void script_ids(struct fake *f)
{
	struct live_steps *steps = f->data;
	uint32_t stream;
	wire_message_free(&fake_expect_exec(f, &stream)->base);
	live_await(steps, 0);
	fake_started(f, stream);
	fake_exited(f, stream, 0, 0);
	live_expect_close(f, stream);
	wire_message_free(&fake_expect_exec(f, &stream)->base);
	fake_failed(f, stream, WIRE_FAILED, COVE_E_START, "nope");
	live_expect_close(f, stream);
	wire_message_free(&fake_expect_exec(f, &stream)->base);
}

static void test_ids(void)
{
	struct fake f;
	struct live_steps *steps = live_steps_new();
	struct cove_error err = COVE_ERROR_INIT;
	const char *id = NULL;
	cove_sandbox *s = fake_start(&f, script_ids, steps);
	cove_process *p = live_start(s, EXEC(.flags = COVE_EXEC_NONBLOCK));
	CHECK_INT(cove_process_id(p, &id, &err), ==, COVE_E_AGAIN);
	live_pass(steps, 0);
	live_receive(p, COVE_EVENT_STARTED);
	CHECK_COVE(cove_process_id(p, &id, &err), &err);
	CHECK_STR(id, "s1");
	live_receive(p, COVE_EVENT_EXITED);
	CHECK_COVE(cove_process_id(p, &id, &err), &err);
	cove_process_free(p);

	p = live_start(s, NULL);
	cove_control *control = cove_process_control(p);
	CHECK_INT(cove_control_id(control, &id, &err), ==, COVE_E_START);
	cove_control_unref(control);
	cove_process_free(p);

	/* Chosen: known at once. Not chosen: waits, here for the end of all. */
	p = live_start(s, EXEC(.id = "mine"));
	CHECK_COVE(cove_process_id(p, &id, &err), &err);
	CHECK_STR(id, "mine");
	cove_process *q = NULL;
	int r = cove_exec_stream(s, (const char *const[]){ "x", NULL }, NULL, &q, &err);
	if (r == 0)
		r = cove_process_id(q, &id, &err);
	CHECK_INT(r, ==, COVE_E_LOST);
	cove_process_free(q);
	cove_process_free(p);
	fake_end(&f, s);
	live_steps_free(steps);
}

/* ---- frees ---- */

static void script_frees(struct fake *f)
{
	/* The process alone: nothing is left. */
	uint32_t stream = live_started(f);
	live_expect_close(f, stream);
	wire_message_free(&fake_expect_exec(f, &stream)->base); /* not started yet */
	live_expect_close(f, stream);

	/* With a control: signals, but no output; until the control goes. */
	stream = live_started(f);
	live_print(f, stream, WIRE_STDOUT, 0, "before");
	CHECK_INT(fake_expect(f, WIRE_MUTE), ==, stream);
	fake_data(f, stream, WIRE_STDOUT, 6, "after", 5);
	CHECK_INT(fake_expect(f, WIRE_SIGNAL), ==, stream);
	fake_ack(f, stream, 1, 0);
	live_expect_close(f, stream);

	/* With a control, until the end. */
	stream = live_started(f);
	CHECK_INT(fake_expect(f, WIRE_MUTE), ==, stream);
	CHECK_INT(fake_expect(f, WIRE_KILL), ==, stream);
	fake_exited(f, stream, 1000, 0);
	fake_ack(f, stream, 1, 0);
	live_expect_close(f, stream);

	/* A pipe that nobody can write to any more. */
	stream = live_started(f);
	expect_eof(f, stream, 0);
	live_expect_close(f, stream);

	/* kill_on_disconnect: the guest sees it by the close, whatever is left. */
	stream = live_started(f);
	expect_text(f, stream, 0, "x");
	live_expect_close(f, stream);
	live_until_gone(f);
}

static void test_frees(void)
{
	struct fake f;
	struct cove_error err = COVE_ERROR_INIT;
	const char *id;
	cove_sandbox *s = fake_start(&f, script_frees, NULL);
	cove_process *p = live_start(s, NULL);
	live_receive(p, COVE_EVENT_STARTED);
	cove_process_free(p);
	cove_process_free(live_start(s, NULL));

	p = live_start(s, NULL);
	live_receive(p, COVE_EVENT_STARTED);
	live_receive(p, COVE_EVENT_STDOUT);
	cove_control *control = cove_process_control(p);
	cove_control *other = cove_control_ref(control);
	cove_process_free(p);
	CHECK(!cove_control_unref(other));
	CHECK_COVE(cove_control_signal(control, SIGUSR1, &err), &err);
	CHECK_COVE(cove_control_id(control, &id, &err), &err);
	CHECK_STR(id, "s1");
	CHECK(!cove_control_unref(control));
	CHECK(!cove_control_unref(NULL));

	p = live_start(s, NULL);
	live_receive(p, COVE_EVENT_STARTED);
	control = cove_process_control(p);
	cove_process_free(p);
	CHECK_COVE(cove_control_kill(control, &err), &err);
	CHECK_INT(cove_control_kill(control, &err), ==, COVE_E_STATE);
	CHECK_INT(cove_control_resize(control, 1, 1, &err), ==, COVE_E_STATE);
	cove_control_unref(control);

	p = live_start(s, PIPE);
	live_receive(p, COVE_EVENT_STARTED);
	cove_process_free(p);

	p = live_start(s, EXEC(.stdin_mode = COVE_STDIN_PIPE, .kill_on_disconnect = true));
	control = cove_process_control(p);
	cove_stdin *in = cove_process_take_stdin(p);
	CHECK_COVE(cove_stdin_write(in, "x", 1, &err), &err);
	cove_process_free(p);
	CHECK_INT(cove_control_signal(control, SIGUSR1, &err), ==, COVE_E_STATE);
	CHECK_CONTAINS(err.message, "kill_on_disconnect");
	CHECK_INT(cove_stdin_write(in, "x", 1, &err), ==, COVE_E_STATE);
	CHECK(!cove_stdin_free(in));
	CHECK(!cove_stdin_free(NULL));
	cove_control_unref(control);
	fake_end(&f, s);
}

static void script_cut(struct fake *f)
{
	struct live_steps *steps = f->data;
	uint32_t stream = live_started(f);
	live_print(f, stream, WIRE_STDOUT, 0, "has come");
	CHECK_INT(fake_expect(f, WIRE_SIGNAL), ==, stream);
	fake_ack(f, stream, 1, 0);
	stream = live_started(f);
	fake_exited(f, stream, 0, 0);
	live_started(f);
	live_pass(steps, 0);
	live_until_gone(f);
}

static void *wait_for_cut(void *data)
{
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_INT(cove_process_wait(data, -1, NULL, &err), ==, COVE_E_LOST);
	CHECK_CONTAINS(err.message, "handle of the sandbox fake was freed");
	return NULL;
}

/* The sandbox's handle goes first. */
static void test_cut(void)
{
	struct fake f;
	struct live_steps *steps = live_steps_new();
	struct cove_error err = COVE_ERROR_INIT;
	const char *id;
	size_t n;
	pthread_t thread;
	cove_sandbox *s = fake_start(&f, script_cut, steps);
	cove_process *p = live_start(s, PIPE);
	cove_stdin *in = cove_process_take_stdin(p);
	cove_control *control = cove_process_control(p);
	/* What was before the answer has come by then. */
	live_receive(p, COVE_EVENT_STARTED);
	const struct cove_event *event;
	CHECK_COVE(cove_process_signal(p, SIGUSR1, &err), &err);
	cove_process *ended = live_start(s, NULL);
	cove_process *waited = live_start(s, NULL);
	CHECK_INT(pthread_create(&thread, NULL, wait_for_cut, waited), ==, 0);
	live_await(steps, 0);
	CHECK_COVE(cove_process_id(ended, &id, &err), &err);
	/* EXITED came with the id's message, or is lost with the link. */
	fake_end(&f, s);
	pthread_join(thread, NULL);

	live_receive_text(p, COVE_EVENT_STDOUT, 0, "has come");
	live_receive_end(p, COVE_EVENT_LOST, COVE_E_LOST, "was freed");
	CHECK_INT(cove_process_wait(p, -1, NULL, &err), ==, COVE_E_LOST);
	CHECK_INT(cove_process_signal(p, SIGUSR1, &err), ==, COVE_E_LOST);
	CHECK_INT(cove_control_kill(control, &err), ==, COVE_E_LOST);
	CHECK_COVE(cove_control_id(control, &id, &err), &err);
	CHECK_INT(cove_stdin_write(in, "x", 1, &err), ==, COVE_E_LOST);
	CHECK_INT(cove_stdin_try_write(in, "x", 1, &n, &err), ==, COVE_E_LOST);
	CHECK_COVE(cove_stdin_close(in, &err), &err);
	live_receive(ended, COVE_EVENT_STARTED);
	CHECK_INT(cove_process_recv(ended, &event, -1, &err), ==, 1);
	CHECK(event->kind == COVE_EVENT_EXITED || event->kind == COVE_EVENT_LOST);
	cove_process_free(p);
	CHECK_INT(cove_control_kill(control, &err), ==, COVE_E_LOST);
	cove_control_unref(control);
	cove_process_free(ended);
	cove_process_free(waited);
	CHECK_INT(cove_stdin_write(in, "x", 1, &err), ==, COVE_E_LOST);
	cove_stdin_free(in); /* the last that knew of the connection */
	live_steps_free(steps);
}

/* The same under fire: threads are inside calls of every kind. */
#define CALLERS 8
#define CUTS	50

static void script_serves(struct fake *f)
{
	struct wire_event event;
	while (fake_next(f, &event)) {
		if (event.kind == WIRE_EVENT_DATA) {
			CHECK_OK(wire_link_consumed(f->link, event.stream, WIRE_STDIN, event.size));
		} else if (event.kind == WIRE_EVENT_MESSAGE && event.type == WIRE_EXEC) {
			fake_started(f, event.stream);
			fake_data(f, event.stream, WIRE_STDOUT, 0, "hello", 5);
		} else if (event.kind == WIRE_EVENT_MESSAGE && event.type == WIRE_SIGNAL) {
			Cove__Wire__Signal *m = (Cove__Wire__Signal *)wire_message_unpack(
				&cove__wire__signal__descriptor, event.data, event.size);
			fake_ack(f, event.stream, m->request, 0);
			wire_message_free(&m->base);
		}
	}
}

struct caller {
	pthread_t thread;
	unsigned number;
	cove_process *process;
	cove_stdin *in;
	cove_control *control;
	struct live_steps *steps;
};

static int call_somehow(struct caller *c, unsigned how, struct cove_error *err)
{
	static const char bytes[100000];
	const struct cove_event *event;
	size_t n;
	int r;
	switch (how % 5) {
	case 0:
		r = cove_process_recv(c->process, &event, 1, err);
		return r == 1 && event->kind == COVE_EVENT_LOST ? COVE_E_LOST : r;
	case 1:
		return cove_control_signal(c->control, SIGUSR1, err);
	case 2:
		return cove_stdin_write(c->in, bytes, sizeof(bytes), err);
	case 3:
		return cove_stdin_try_write(c->in, bytes, sizeof(bytes), &n, err);
	default:
		return cove_process_wait(c->process, c->number % 2 ? 1 : -1, NULL, err);
	}
}

static void *call_until_lost(void *data)
{
	struct caller *c = data;
	struct cove_error err = COVE_ERROR_INIT;
	int r;
	for (unsigned i = c->number;; i++) {
		r = call_somehow(c, i, &err);
		if (r == COVE_E_LOST)
			break;
		CHECK(r >= 0 || r == COVE_E_TIMEOUT || r == COVE_E_AGAIN);
		if (i == c->number)
			live_pass(c->steps, c->number);
	}
	live_pass(c->steps, c->number);
	cove_process_free(c->process);
	cove_stdin_free(c->in);
	CHECK_INT(cove_control_kill(c->control, &err), ==, COVE_E_LOST);
	cove_control_unref(c->control);
	return NULL;
}

static void test_cut_under_fire(void)
{
	for (unsigned k = 0; k < CUTS; k++) {
		struct fake f;
		struct caller callers[CALLERS];
		struct live_steps *steps = live_steps_new();
		cove_sandbox *s = fake_start(&f, script_serves, NULL);
		for (unsigned i = 0; i < CALLERS; i++) {
			cove_process *p = live_start(s, PIPE);
			callers[i] = (struct caller){ .number = i, .process = p, .steps = steps };
			callers[i].in = cove_process_take_stdin(p);
			callers[i].control = cove_process_control(p);
			CHECK_INT(pthread_create(&callers[i].thread, NULL, call_until_lost,
						 &callers[i]),
				  ==, 0);
		}
		/* Not of those whose first call only the end ends. */
		for (unsigned i = 0; i < CALLERS; i++)
			if (i % 5 != 4)
				live_await(steps, i);
		fake_end(&f, s);
		for (unsigned i = 0; i < CALLERS; i++)
			pthread_join(callers[i].thread, NULL);
		live_steps_free(steps);
	}
}

/* ---- standard input ---- */

static char *pattern(size_t n)
{
	char *bytes = malloc(n + 1);
	CHECK(bytes);
	for (size_t i = 0; i < n; i++)
		bytes[i] = (char)('a' + (i * 7 + (i >> 8)) % 26);
	bytes[n] = 0;
	return bytes;
}

#define TRIED ((size_t)WIRE_INITIAL_WINDOW + COVE_STDIN_BUFFER_BYTES)

static void script_try_write(struct fake *f)
{
	struct live_steps *steps = f->data;
	_cleanup_free_ char *bytes = pattern(TRIED);
	uint32_t stream = live_started(f);
	struct wire_event event;
	uint64_t received = 0;
	/* All that credit is there for; the rest stays where it is. */
	while (received < WIRE_INITIAL_WINDOW) {
		CHECK(fake_next(f, &event));
		CHECK_INT(event.kind, ==, WIRE_EVENT_DATA);
		CHECK_INT(event.offset, ==, received);
		CHECK(memcmp(event.data, bytes + received, event.size) == 0);
		received += event.size;
	}
	live_await(steps, 0);
	CHECK_OK(wire_link_consumed(f->link, stream, WIRE_STDIN, received));
	expect_text(f, stream, received, bytes + received);
	expect_text(f, stream, TRIED, "and more");
	expect_text(f, stream, TRIED + 8, "the end");
	expect_eof(f, stream, TRIED + 15);
	fake_exited(f, stream, 0, 0);
	live_expect_close(f, stream);
	live_until_gone(f);
}

/* Short, AGAIN, and the order of both ways to write. */
static void test_try_write(void)
{
	struct fake f;
	struct live_steps *steps = live_steps_new();
	struct cove_error err = COVE_ERROR_INIT;
	size_t n, written = 0;
	_cleanup_free_ char *bytes = pattern(TRIED);
	cove_sandbox *s = fake_start(&f, script_try_write, steps);
	cove_process *p = live_start(s, PIPE);
	cove_stdin *in = cove_process_take_stdin(p);
	CHECK(!cove_process_take_stdin(p));
	live_receive(p, COVE_EVENT_STARTED);
	n = 99;
	CHECK_COVE(cove_stdin_try_write(in, "", 0, &n, &err), &err);
	CHECK_INT(n, ==, 0);
	int r;
	while ((r = cove_stdin_try_write(in, bytes + written, TRIED + 100 - written, &n, &err)) ==
	       0) {
		CHECK_INT(n, >=, 1);
		written += n;
		CHECK_INT(written, <=, TRIED);
	}
	CHECK_INT(r, ==, COVE_E_AGAIN);
	/* The socket may have taken less than there is credit for. */
	while (written < TRIED) {
		r = cove_stdin_try_write(in, bytes + written, TRIED - written, &n, &err);
		CHECK(r == 0 || r == COVE_E_AGAIN);
		written += r == 0 ? n : 0;
	}
	live_pass(steps, 0);
	CHECK_COVE(cove_stdin_write(in, "and more", 8, &err), &err);
	CHECK_COVE(cove_stdin_try_write(in, "the end", 7, &n, &err), &err);
	CHECK_INT(n, ==, 7);
	CHECK_COVE(cove_stdin_close(in, &err), &err);
	CHECK_COVE(cove_stdin_close(in, &err), &err);
	CHECK_INT(cove_stdin_try_write(in, "x", 1, &n, &err), ==, COVE_E_STATE);
	CHECK_INT(cove_stdin_write(in, "x", 1, &err), ==, COVE_E_STATE);
	live_receive(p, COVE_EVENT_EXITED);
	CHECK_INT(cove_stdin_try_write(in, "x", 1, &n, &err), ==, COVE_E_STATE);
	CHECK_CONTAINS(err.message, "has ended");
	cove_stdin_free(in);
	cove_process_free(p);
	fake_end(&f, s);
	live_steps_free(steps);
}

/* Another command, in which the client reads what is there, and so closes the stream. */
static void expect_close_by_reader(struct fake *f, uint32_t stream)
{
	uint32_t reader = live_started(f);
	fake_exited(f, reader, 0, 0);
	live_expect_close(f, stream);
	live_expect_close(f, reader);
}

static void read_all(cove_sandbox *s)
{
	cove_process *p = live_start(s, NULL);
	const struct cove_event *event;
	while (cove_process_recv(p, &event, -1, NULL) > 0)
		;
	cove_process_free(p);
}

static void script_arrives(struct fake *f)
{
	struct wire_event event;
	_cleanup_free_ char *bytes = pattern(TRIED);
	uint32_t reader = live_started(f);
	/* Stdin and process are freed; the bytes come all the same. */
	uint32_t stream = live_started(f);
	uint64_t received = 0, total = 0;
	bool muted = false;
	while (received < TRIED || !total || !muted) {
		CHECK(fake_next(f, &event));
		CHECK_INT(event.stream, ==, stream);
		CHECK(event.kind != WIRE_EVENT_CLOSE);
		muted |= event.kind == WIRE_EVENT_MESSAGE && event.type == WIRE_MUTE;
		if (event.kind == WIRE_EVENT_EOF)
			total = event.offset;
		if (event.kind != WIRE_EVENT_DATA)
			continue;
		CHECK_INT(event.offset, ==, received);
		CHECK(memcmp(event.data, bytes + received, event.size) == 0);
		received += event.size;
		CHECK_OK(wire_link_consumed(f->link, stream, WIRE_STDIN, event.size));
	}
	CHECK_INT(total, ==, TRIED);
	fake_exited(f, stream, 0, 0);
	live_expect_close(f, stream);
	fake_exited(f, reader, 0, 0);
	live_expect_close(f, reader);

	/* One that does not want them. */
	stream = live_started(f);
	expect_data(f, stream, 0, "unwanted");
	expect_eof(f, stream, 8);
	CHECK_INT(fake_expect(f, WIRE_MUTE), ==, stream);
	Cove__Wire__StdinError e = COVE__WIRE__STDIN_ERROR__INIT;
	e.os_errno = EPIPE;
	fake_send(f, stream, WIRE_STDIN_ERROR, &e.base);
	expect_close_by_reader(f, stream);

	/* All of it was given with the request, and copied. */
	wire_message_free(&fake_expect_exec(f, &stream)->base);
	expect_eof(f, stream, 5);
	expect_text(f, stream, 0, "bytes");
	CHECK_INT(fake_expect(f, WIRE_MUTE), ==, stream);
	fake_started(f, stream);
	fake_exited(f, stream, 7, 0);
	expect_close_by_reader(f, stream);

	/* Ours is left when the link breaks. */
	stream = live_started(f);
	expect_text(f, stream, 0, "lost");
}

static void test_arrives(void)
{
	struct fake f;
	struct cove_error err = COVE_ERROR_INIT;
	size_t n, written = 0;
	_cleanup_free_ char *bytes = pattern(TRIED);
	cove_sandbox *s = fake_start(&f, script_arrives, NULL);
	cove_process *reader = live_start(s, NULL);
	live_receive(reader, COVE_EVENT_STARTED);
	cove_process *p = live_start(s, PIPE);
	cove_stdin *in = cove_process_take_stdin(p);
	live_receive(p, COVE_EVENT_STARTED);
	while (written < TRIED) {
		int r = cove_stdin_try_write(in, bytes + written, TRIED - written, &n, &err);
		if (r == COVE_E_AGAIN) { /* reads, for credit */
			const struct cove_event *event;
			CHECK_INT(cove_process_recv(p, &event, 1, &err), ==, COVE_E_TIMEOUT);
			continue;
		}
		CHECK_COVE(r, &err);
		written += n;
	}
	memset(bytes, 'X', TRIED);
	cove_stdin_free(in);
	cove_process_free(p);

	/* Somebody has to read for the rest to be sent: whoever waits for anything does. */
	live_receive(reader, COVE_EVENT_EXITED);
	cove_process_free(reader);

	p = live_start(s, PIPE);
	in = cove_process_take_stdin(p);
	live_receive(p, COVE_EVENT_STARTED);
	CHECK_COVE(cove_stdin_try_write(in, "unwanted", 8, &n, &err), &err);
	cove_stdin_free(in);
	cove_process_free(p);
	read_all(s);

	char own[6] = "bytes";
	p = live_start(s,
		       EXEC(.stdin_mode = COVE_STDIN_BYTES, .stdin_data = own, .stdin_bytes = 5));
	memset(own, 'X', sizeof(own));
	cove_process_free(p);
	read_all(s);

	p = live_start(s, PIPE);
	in = cove_process_take_stdin(p);
	live_receive(p, COVE_EVENT_STARTED);
	CHECK_COVE(cove_stdin_write(in, "lost", 4, &err), &err);
	cove_stdin_free(in);
	cove_process_free(p);
	p = live_start(s, NULL);
	live_receive_end(p, COVE_EVENT_LOST, COVE_E_LOST, "");
	cove_process_free(p);
	fake_end(&f, s);
}

/* ---- no room ---- */

static void script_late(struct fake *f)
{
	struct live_steps *steps = f->data;
	struct wire_event event;
	uint32_t stream = live_started(f);
	bool muted = false, ended = false;
	live_pass(steps, 0);
	live_await(steps, 1);
	while (!muted || !ended) {
		CHECK(fake_next(f, &event));
		if (event.stream != stream)
			continue; /* what fills the queue */
		muted |= event.kind == WIRE_EVENT_MESSAGE && event.type == WIRE_MUTE;
		ended |= event.kind == WIRE_EVENT_EOF;
		CHECK(event.kind != WIRE_EVENT_MESSAGE || event.type == WIRE_MUTE);
	}
	CHECK_INT(fake_expect(f, WIRE_SIGNAL), ==, stream);
	fake_ack(f, stream, 1, 0);
	live_until_gone(f);
}

/* What cannot fail is sent when there is room; what can wait does. */
static void test_no_room(void)
{
	struct fake f;
	struct live_steps *steps = live_steps_new();
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = fake_start(&f, script_late, steps);
	cove_process *p = live_start(s, PIPE);
	cove_stdin *in = cove_process_take_stdin(p);
	cove_control *control = cove_process_control(p);
	live_receive(p, COVE_EVENT_STARTED);
	live_await(steps, 0);

	struct stream nobody;
	static const struct stream_ops ops = { .event = NULL };
	stream_init(&nobody, &ops);
	_cleanup_free_ char *zeros = calloc(1, 1u << 20);
	uint32_t stream;
	connection_lock(s->connection);
	for (size_t n = 1u << 20; n > 0; n /= 2)
		while (wire_link_open(connection_link(s->connection), WIRE_EXEC, zeros, n, &nobody,
				      &stream) == 0)
			;
	connection_unlock(s->connection);

	CHECK_COVE(cove_stdin_close(in, &err), &err);
	CHECK(!cove_stdin_free(in));
	CHECK(!cove_process_free(p));
	live_pass(steps, 1);
	CHECK_COVE(cove_control_signal(control, SIGUSR1, &err), &err);
	cove_control_unref(control);
	fake_end(&f, s);
	live_steps_free(steps);
}

static const struct tap_test tests[] = {
	{ "requests of a process", test_requests },
	{ "opened processes", test_opened },
	{ "ids", test_ids },
	{ "who is left", test_frees },
	{ "without the sandbox", test_cut },
	{ "the sandbox goes while many call", test_cut_under_fire, .timeout_s = 60 },
	{ "writing without waiting", test_try_write },
	{ "what was written arrives", test_arrives },
	{ "no room for the last words", test_no_room },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
