/* SPDX-License-Identifier: Apache-2.0 */

/* A guest that lies: what a client must not take for true, and must not wait for. */

#include <errno.h>

#include "harness/tap.h"
#include "live.h"

/* ---- failures ---- */

/* What stands for "try again", or comes with a result, is not for a guest to say. */
static const int lies[] = { COVE_E_TIMEOUT, COVE_E_AGAIN, COVE_E_ENCODING, 0, 1, -1, INT32_MIN };

static void script_failures(struct fake *f)
{
	uint32_t stream;
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		wire_message_free(&fake_expect_exec(f, &stream)->base);
		fake_failed(f, stream, WIRE_FAILED, lies[i], "no");
		live_expect_close(f, stream);
	}
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		stream = live_started(f);
		CHECK_INT(fake_expect(f, WIRE_SIGNAL), ==, stream);
		fake_ack(f, stream, 1, lies[i]); /* 0 is none, here */
		live_expect_close(f, stream);
	}
	/* It has started; whoever hears START may start it again. */
	stream = live_started(f);
	fake_failed(f, stream, WIRE_FAILED, COVE_E_START, "no");
	live_expect_close(f, stream);
	/* A broken link is no proof that it has not. */
	wire_message_free(&fake_expect_exec(f, &stream)->base);
	fake_failed(f, stream, WIRE_REFUSED, COVE_E_PROTOCOL, "no");
	live_expect_close(f, stream);
	live_until_gone(f);
}

static void test_failures(void)
{
	struct fake f;
	struct cove_error err;
	const char *const argv[] = { "true", NULL };
	cove_sandbox *s = fake_start(&f, script_failures, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		cove_output *out = NULL;
		CHECK_INT(cove_exec(s, argv, NULL, &out, &err), ==, COVE_E_PROTOCOL);
		CHECK_INT(err.code, ==, COVE_E_PROTOCOL);
		CHECK(!out);
	}
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		cove_process *p = live_start(s, NULL);
		CHECK_INT(cove_process_signal(p, 15, &err), ==, lies[i] ? COVE_E_PROTOCOL : 0);
		cove_process_free(p);
	}
	cove_process *p = live_start(s, NULL);
	live_receive(p, COVE_EVENT_STARTED);
	live_receive_end(p, COVE_EVENT_LOST, COVE_E_PROTOCOL, "");
	CHECK_INT(cove_process_wait(p, -1, NULL, &err), ==, COVE_E_PROTOCOL);
	cove_process_free(p);
	p = live_start(s, NULL);
	live_receive_end(p, COVE_EVENT_LOST, COVE_E_PROTOCOL, "");
	cove_process_free(p);
	fake_end(&f, s);
}

/* ---- offsets, totals, order ---- */

static void send_eof(struct fake *f, uint32_t stream, unsigned channel, uint64_t total)
{
	CHECK_OK(wire_link_send_eof(f->link, stream, channel, total));
	fake_drain(f);
}

static void script_offsets(struct fake *f)
{
	/* The command ends after more bytes than the stream has. */
	uint32_t stream = live_started(f);
	send_eof(f, stream, WIRE_STDOUT, 3);
	fake_exited(f, stream, 4, 0);
	live_expect_close(f, stream);
	stream = live_started(f);
	fake_exited(f, stream, 0, UINT64_MAX);
	send_eof(f, stream, WIRE_STDERR, UINT64_MAX - 1);
	live_expect_close(f, stream);
	/* Fewer are the rule: what is left of the output is somebody else's. */
	stream = live_started(f);
	send_eof(f, stream, WIRE_STDOUT, 8);
	fake_exited(f, stream, 4, 0);
	live_print(f, stream, WIRE_STDOUT, 0, "abcdefgh");
	live_expect_close(f, stream);

	/* Back, in a stream that may only jump ahead. */
	stream = live_attached(f, 1000, UINT64_MAX);
	live_print(f, stream, WIRE_STDOUT, 0, "x");
	live_expect_close(f, stream);
	/* As far ahead as there is. */
	stream = live_attached(f, 1, 0);
	live_print(f, stream, WIRE_STDOUT, UINT64_MAX - 2, "xy");
	fake_exited(f, stream, UINT64_MAX, UINT64_MAX);
	live_print(f, stream, WIRE_STDOUT, UINT64_MAX - 1, "z");
	live_until_gone(f);
}

static void test_offsets(void)
{
	struct fake f;
	cove_sandbox *s = fake_start(&f, script_offsets, NULL);
	for (unsigned i = 0; i < 2; i++) {
		cove_process *p = live_start(s, NULL);
		live_receive(p, COVE_EVENT_STARTED);
		live_receive_end(p, COVE_EVENT_LOST, COVE_E_PROTOCOL, i ? "stderr" : "stdout");
		cove_process_free(p);
	}
	cove_process *p = live_start(s, NULL);
	live_receive(p, COVE_EVENT_STARTED);
	live_receive_text(p, COVE_EVENT_STDOUT, 0, "abcd");
	CHECK_INT(live_receive(p, COVE_EVENT_EXITED)->stdout_total, ==, 4);
	cove_process_free(p);

	p = live_open(s, OPEN(.lossy = true));
	live_receive(p, COVE_EVENT_STARTED);
	live_receive_gap(p, COVE_STDOUT, 0, 1000);
	live_receive_gap(p, COVE_STDERR, 0, UINT64_MAX);
	live_receive_end(p, COVE_EVENT_LOST, COVE_E_PROTOCOL, "jumps");
	cove_process_free(p);
	p = live_open(s, OPEN(.lossy = true, .from = COVE_FROM_NOW));
	live_receive(p, COVE_EVENT_STARTED);
	live_receive_gap(p, COVE_STDOUT, 1, UINT64_MAX - 3);
	live_receive_text(p, COVE_EVENT_STDOUT, UINT64_MAX - 2, "xy");
	cove_process_free(p);
	fake_end(&f, s);
}

static void script_order(struct fake *f)
{
	uint32_t stream;
	wire_message_free(&fake_expect_exec(f, &stream)->base);
	Cove__Wire__StdinError m = COVE__WIRE__STDIN_ERROR__INIT;
	m.os_errno = EPIPE;
	fake_send(f, stream, WIRE_STDIN_ERROR, &m.base);
	live_expect_close(f, stream);
	/* stdout could begin there, but stderr cannot. */
	stream = live_attached(f, 100, 1);
	live_expect_close(f, stream);
	live_until_gone(f);
}

/* STARTED is the first of the events, whatever comes. */
static void test_order(void)
{
	struct fake f;
	cove_sandbox *s = fake_start(&f, script_order, NULL);
	cove_process *p = live_start(s, NULL);
	live_receive_end(p, COVE_EVENT_LOST, COVE_E_PROTOCOL, "without a start");
	cove_process_free(p);
	p = live_open(s, OPEN(.from = COVE_FROM_OFFSET, .stderr_offset = 2));
	live_receive_end(p, COVE_EVENT_LOST, COVE_E_PROTOCOL, "stderr begins at byte 1");
	cove_process_free(p);
	fake_end(&f, s);
}

static const struct tap_test tests[] = {
	{ "failures that cannot be", test_failures },
	{ "offsets that cannot be", test_offsets },
	{ "events before the start", test_order },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
