/* SPDX-License-Identifier: Apache-2.0 */

/* Standard input that others go on with, and knowing that it has arrived. */

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "harness/tap.h"
#include "live.h"

#define PIPE(...) EXEC(.stdin_mode = COVE_STDIN_PIPE, __VA_ARGS__)

/* ---- in the script ---- */

/* DATA of the stream until it is at this offset. */
static void take_until(struct fake *f, uint32_t stream, uint64_t offset)
{
	struct wire_event event;
	uint64_t next = 0;
	while (next < offset) {
		CHECK(fake_next(f, &event));
		if (event.kind == WIRE_EVENT_CLOSE && event.stream != stream)
			continue; /* of the one before */
		CHECK_INT(event.kind, ==, WIRE_EVENT_DATA);
		CHECK_INT(event.stream, ==, stream);
		next = event.offset + event.size;
	}
	CHECK_INT(next, ==, offset);
}

/* The next message is a FLUSH to this offset; its number. */
static uint32_t expect_flush(struct fake *f, uint32_t stream, uint64_t offset)
{
	struct wire_event event;
	CHECK(fake_next(f, &event));
	CHECK_INT(event.kind, ==, WIRE_EVENT_MESSAGE);
	CHECK_INT(event.type, ==, WIRE_FLUSH);
	CHECK_INT(event.stream, ==, stream);
	Cove__Wire__Flush *m = (Cove__Wire__Flush *)wire_message_unpack(
		&cove__wire__flush__descriptor, event.data, event.size);
	CHECK_INT(m->offset, ==, offset);
	uint32_t request = m->request;
	wire_message_free(&m->base);
	return request;
}

static void write_text(cove_stdin *in, const char *text)
{
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_stdin_write(in, text, strlen(text), &err), &err);
}

/* ---- kept open ---- */

static void script_keep(struct fake *f)
{
	for (unsigned i = 0; i < 4; i++) {
		uint32_t stream = i < 3 ? live_started(f) : live_attached(f, 0, 0);
		struct wire_event event;
		if (i > 0)
			take_until(f, stream, 2);
		if (i == 2) { /* closed by hand */
			CHECK(fake_next(f, &event));
			CHECK_INT(event.kind, ==, WIRE_EVENT_EOF);
			CHECK_INT(event.offset, ==, 2);
		}
		if (i == 0) { /* nothing was written: there is nothing to stay for */
			live_expect_close(f, stream);
			continue;
		}
		/* It stays until the end, which is read when somebody waits again. */
		fake_expect(f, WIRE_MUTE);
		fake_exited(f, stream, 0, 0);
	}
	live_until_gone(f);
}

static void test_keep(void)
{
	struct fake f;
	struct cove_error err = COVE_ERROR_INIT;
	cove_process *p;
	const char *const argv[] = { "true", NULL };
	cove_sandbox *s = fake_start(&f, script_keep, NULL);
	for (unsigned i = 0; i < 4; i++) {
		p = i < 3 ? live_start(s, PIPE(.keep_stdin_open = true))
			  : live_open(s, OPEN(.keep_stdin_open = true));
		live_receive(p, COVE_EVENT_STARTED);
		if (i > 0) {
			cove_stdin *in = cove_process_take_stdin(p);
			write_text(in, "ab");
			if (i == 2)
				CHECK_COVE(cove_stdin_close(in, &err), &err);
			cove_stdin_free(in);
		}
		cove_process_free(p);
	}
	/* Where there is no stdin that could be kept. */
	CHECK_INT(cove_exec_stream(s, argv, EXEC(.keep_stdin_open = true), &p, &err), ==,
		  COVE_E_INVALID);
	CHECK_CONTAINS(err.message, "keep_stdin_open");
	CHECK_INT(cove_process_open(s, "s1", OPEN(.keep_stdin_open = true, .read_only = true), &p,
				    &err),
		  ==, COVE_E_INVALID);
	CHECK_CONTAINS(err.message, "keep_stdin_open");
	cove_output *out;
	CHECK_INT(cove_exec(s, argv, EXEC(.keep_stdin_open = true), &out, &err), ==,
		  COVE_E_INVALID);
	fake_end(&f, s);
}

/* ---- flushed ---- */

static void script_flush(struct fake *f)
{
	struct live_steps *steps = f->data;
	uint32_t stream = live_started(f);
	take_until(f, stream, 3);
	fake_ack(f, stream, expect_flush(f, stream, 3), 0);
	take_until(f, stream, 5);
	/* The first is given up; the second waits for the same answer, and asks for the rest then. */
	uint32_t request = expect_flush(f, stream, 5);
	live_await(steps, 0);
	take_until(f, stream, 6);
	fake_ack(f, stream, request + 7, 0); /* nobody's */
	fake_ack(f, stream, request, 0);
	fake_ack(f, stream, request, 0); /* once more: that is old */
	request = expect_flush(f, stream, 6);
	fake_ack(f, stream, request, 0);
	/* Refused, each time anew, and never by what only the library says. */
	take_until(f, stream, 7);
	fake_ack(f, stream, expect_flush(f, stream, 7), COVE_E_STATE);
	fake_ack(f, stream, expect_flush(f, stream, 7), COVE_E_TIMEOUT);
	/* Not read any more, while it waits. */
	expect_flush(f, stream, 7);
	Cove__Wire__StdinError e = COVE__WIRE__STDIN_ERROR__INIT;
	e.os_errno = EPIPE;
	fake_send(f, stream, WIRE_STDIN_ERROR, &e.base);
	/* Nothing is left that would have to arrive. */
	live_expect_close(f, stream);
	live_until_gone(f);
}

static void test_flush(void)
{
	struct fake f;
	struct cove_error err = COVE_ERROR_INIT;
	struct live_steps *steps = live_steps_new();
	cove_sandbox *s = fake_start(&f, script_flush, steps);
	cove_process *p = live_start(s, PIPE(0));
	cove_stdin *in = cove_process_take_stdin(p);
	CHECK_COVE(cove_stdin_flush(in, -1, &err), &err); /* nothing was written */
	write_text(in, "abc");
	CHECK_COVE(cove_stdin_flush(in, -1, &err), &err);
	CHECK_COVE(cove_stdin_flush(in, 0, &err), &err); /* that is known */
	write_text(in, "de");
	CHECK_INT(cove_stdin_flush(in, 1, &err), ==, COVE_E_TIMEOUT);
	write_text(in, "f");
	live_pass(steps, 0);
	CHECK_COVE(cove_stdin_flush(in, 10000, &err), &err);
	write_text(in, "g");
	CHECK_INT(cove_stdin_flush(in, -1, &err), ==, COVE_E_STATE);
	CHECK_INT(cove_stdin_flush(in, -1, &err), ==, COVE_E_PROTOCOL);
	CHECK_INT(cove_stdin_flush(in, -1, &err), ==, COVE_E_SYSTEM);
	CHECK_INT(err.os_errno, ==, EPIPE);
	cove_stdin_free(in);
	cove_process_free(p);
	fake_end(&f, s);
	live_steps_free(steps);
}

/* ---- what it waits for, and with whom ---- */

static void script_waits(struct fake *f)
{
	struct live_steps *steps = f->data;
	uint32_t stream = live_started(f);
	take_until(f, stream, 4);
	uint32_t request = expect_flush(f, stream, 4);
	live_print(f, stream, WIRE_STDOUT, 0, "out");
	live_pass(steps, 0);
	live_await(steps, 1);
	fake_ack(f, stream, request, 0);
	/* It ends while it is asked. */
	take_until(f, stream, 5);
	expect_flush(f, stream, 5);
	fake_exited(f, stream, 3, 0);
	live_expect_close(f, stream);

	/* The sandbox dies while it is asked. */
	stream = live_started(f);
	take_until(f, stream, 4);
	expect_flush(f, stream, 4);
}

struct flushing {
	cove_stdin *in;
	pthread_t thread;
	int result;
};

static void *flush_in_thread(void *data)
{
	struct flushing *flushing = data;
	flushing->result = cove_stdin_flush(flushing->in, -1, NULL);
	return NULL;
}

static void test_waits(void)
{
	struct fake f;
	struct cove_error err = COVE_ERROR_INIT;
	struct live_steps *steps = live_steps_new();
	cove_sandbox *s = fake_start(&f, script_waits, steps);
	cove_process *p = live_start(s, PIPE(.flags = COVE_EXEC_NONBLOCK));
	struct flushing flushing = { .in = cove_process_take_stdin(p) };
	size_t n;
	CHECK_COVE(cove_stdin_try_write(flushing.in, "abcd", 4, &n, &err), &err);
	CHECK_INT(n, ==, 4);
	CHECK_INT(pthread_create(&flushing.thread, NULL, flush_in_thread, &flushing), ==, 0);
	live_await(steps, 0);
	/* One at a time writes, and asking is a part of that. */
	CHECK_INT(cove_stdin_flush(flushing.in, -1, &err), ==, COVE_E_STATE);
	CHECK_CONTAINS(err.message, "another thread");
	CHECK_INT(cove_stdin_write(flushing.in, "x", 1, &err), ==, COVE_E_STATE);
	CHECK_INT(cove_stdin_close(flushing.in, &err), ==, COVE_E_STATE);
	/* It reads for everybody. */
	live_receive(p, COVE_EVENT_STARTED);
	live_receive_text(p, COVE_EVENT_STDOUT, 0, "out");
	live_pass(steps, 1);
	CHECK_INT(pthread_join(flushing.thread, NULL), ==, 0);
	CHECK_INT(flushing.result, ==, 0);
	CHECK_COVE(cove_stdin_try_write(flushing.in, "e", 1, &n, &err), &err);
	CHECK_INT(cove_stdin_flush(flushing.in, -1, &err), ==, COVE_E_STATE);
	CHECK_CONTAINS(err.message, "has ended");
	cove_stdin_free(flushing.in);
	cove_process_free(p);

	p = live_start(s, PIPE(0));
	flushing.in = cove_process_take_stdin(p);
	write_text(flushing.in, "abcd");
	CHECK_INT(cove_stdin_flush(flushing.in, -1, &err), ==, COVE_E_LOST);
	cove_stdin_free(flushing.in);
	cove_process_free(p);
	fake_end(&f, s);
	live_steps_free(steps);
}

/* What is known to have arrived needs no stream any more. */
static void script_leave(struct fake *f)
{
	uint32_t stream = live_started(f);
	take_until(f, stream, 4);
	fake_ack(f, stream, expect_flush(f, stream, 4), 0);
	fake_expect(f, WIRE_MUTE);
	live_expect_close(f, stream);
	/* Also when its end is said after that. */
	stream = live_started(f);
	take_until(f, stream, 4);
	fake_ack(f, stream, expect_flush(f, stream, 4), 0);
	fake_expect(f, WIRE_MUTE);
	struct wire_event event;
	CHECK(fake_next(f, &event));
	CHECK_INT(event.kind, ==, WIRE_EVENT_EOF);
	CHECK_INT(event.offset, ==, 4);
	live_expect_close(f, stream);
	live_until_gone(f);
}

static void test_leave(void)
{
	struct fake f;
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = fake_start(&f, script_leave, NULL);
	for (unsigned i = 0; i < 2; i++) {
		cove_process *p = live_start(s, PIPE(.keep_stdin_open = i == 0));
		cove_stdin *in = cove_process_take_stdin(p);
		write_text(in, "abcd");
		CHECK_COVE(cove_stdin_flush(in, -1, &err), &err);
		cove_process_free(p);
		cove_stdin_free(in);
	}
	fake_end(&f, s);
}

static const struct tap_test tests[] = {
	{ "kept open", test_keep },
	{ "flushed", test_flush },
	{ "flushing waits", test_waits },
	{ "flushed, and left", test_leave },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
