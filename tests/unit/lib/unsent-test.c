/* SPDX-License-Identifier: Apache-2.0 */

/* A socket that takes nothing more: what is to be sent is sent later, all of it, and once. */

#include <sys/socket.h>

#include "harness/tap.h"
#include "lib/connection-internal.h"
#include "lib/sandbox.h"
#include "live.h"

#define PIPE EXEC(.stdin_mode = COVE_STDIN_PIPE)

/* ---- a full queue ---- */

#define OWING 3

static void fill_queue(cove_sandbox *s)
{
	_cleanup_free_ char *zeros = calloc(1, WIRE_MESSAGE_MAX);
	uint32_t stream;
	connection_lock(s->connection);
	for (size_t n = WIRE_MESSAGE_MAX; n > 0; n /= 2)
		while (wire_link_open(connection_link(s->connection), WIRE_EXEC, zeros, n, NULL,
				      &stream) == 0)
			connection_flush(s->connection);
	connection_unlock(s->connection);
}

static void script_owing(struct fake *f)
{
	struct live_steps *steps = f->data;
	struct wire_event event;
	uint32_t streams[OWING];
	unsigned ends = 0;
	for (unsigned i = 0; i < OWING; i++)
		streams[i] = live_started(f);
	live_pass(steps, 0);
	live_await(steps, 1);
	while (ends < OWING) {
		CHECK(fake_next(f, &event));
		ends += event.kind == WIRE_EVENT_EOF;
	}
	for (unsigned i = 0; i < OWING; i++)
		fake_exited(f, streams[i], 0, 0);
	live_until_gone(f);
}

/* The ends of several inputs find no room; each is sent, once, when there is some. */
static void test_owing(void)
{
	struct fake f;
	struct live_steps *steps = live_steps_new();
	cove_process *p[OWING];
	cove_stdin *in[OWING];
	cove_sandbox *s = fake_start(&f, script_owing, steps);
	for (unsigned i = 0; i < OWING; i++) {
		p[i] = live_start(s, PIPE);
		in[i] = cove_process_take_stdin(p[i]);
		live_receive(p[i], COVE_EVENT_STARTED);
	}
	live_await(steps, 0);
	fill_queue(s);
	for (unsigned i = 0; i < OWING; i++)
		CHECK_COVE(cove_stdin_close(in[i], NULL), NULL);
	live_pass(steps, 1);
	for (unsigned i = 0; i < OWING; i++) {
		live_receive(p[i], COVE_EVENT_EXITED);
		cove_stdin_free(in[i]);
		cove_process_free(p[i]);
	}
	fake_end(&f, s);
	live_steps_free(steps);
}

#define WRITTEN 60000

static void script_written(struct fake *f)
{
	struct live_steps *steps = f->data;
	struct wire_event event;
	size_t received = 0;
	uint32_t stream = live_started(f);
	while (received < WRITTEN) {
		CHECK(fake_next(f, &event));
		received += event.kind == WIRE_EVENT_DATA ? event.size : 0;
	}
	live_pass(steps, 0);
	live_await(steps, 1);
	fake_exited(f, stream, 0, 0);
	live_until_gone(f);
}

/* What cove_stdin_write() has taken leaves, though nobody calls the library again. */
static void test_written(void)
{
	struct fake f;
	int small = 1;
	struct cove_error err;
	struct live_steps *steps = live_steps_new();
	_cleanup_free_ char *zeros = calloc(1, WRITTEN);
	cove_sandbox *s = fake_start(&f, script_written, steps);
	CHECK_SYS(setsockopt(s->connection->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)));
	cove_process *p = live_start(s, PIPE);
	cove_stdin *in = cove_process_take_stdin(p);
	live_receive(p, COVE_EVENT_STARTED);
	CHECK_COVE(cove_stdin_write(in, zeros, WRITTEN, &err), &err);
	live_await(steps, 0);
	live_pass(steps, 1);
	live_receive(p, COVE_EVENT_EXITED);
	cove_stdin_free(in);
	cove_process_free(p);
	fake_end(&f, s);
	live_steps_free(steps);
}

static const struct tap_test tests[] = {
	{ "ends that find no room", test_owing },
	{ "the last of a write", test_written },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
