/* SPDX-License-Identifier: Apache-2.0 */

/* Events of live commands: what comes, in which order, and what it says. */

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "harness/failing-alloc.h"
#include "harness/tap.h"
#include "lib/connection.h"
#include "live.h"
#include "wire/frame.h"

/* ---- the request ---- */

static void check_bytes(const ProtobufCBinaryData *bytes, const char *text)
{
	CHECK_MEM(bytes->data, bytes->len, text, strlen(text));
}

static void script_requests(struct fake *f)
{
	uint32_t stream;
	Cove__Wire__Exec *m = fake_expect_exec(f, &stream);
	CHECK_INT(m->n_argv, ==, 1);
	CHECK_INT(m->stdin, ==, COVE__WIRE__EXEC__STDIN__PIPE);
	CHECK(m->tty && m->kill_on_disconnect && !m->shell);
	CHECK_INT(m->rows, ==, 24);
	CHECK_INT(m->cols, ==, 132);
	CHECK_INT(m->replay_bytes, ==, 4096);
	CHECK(!m->has_output_kill_bytes);
	check_bytes(&m->id, "s1");
	wire_message_free(&m->base);

	m = fake_expect_exec(f, &stream);
	CHECK(m->shell && !m->has_tty && !m->has_rows && !m->has_cols && !m->has_replay_bytes);
	CHECK(!m->has_kill_on_disconnect || !m->kill_on_disconnect);
	CHECK_INT(m->stdin, ==, COVE__WIRE__EXEC__STDIN__NONE);
	CHECK_INT(m->output_kill_bytes, ==, 77);
	wire_message_free(&m->base);

	struct wire_event event;
	do
		CHECK(fake_next(f, &event));
	while (event.kind == WIRE_EVENT_CLOSE);
	CHECK_INT(event.type, ==, WIRE_ATTACH);
	Cove__Wire__Attach *a = (Cove__Wire__Attach *)wire_message_unpack(
		&cove__wire__attach__descriptor, event.data, event.size);
	check_bytes(&a->id, "s1");
	CHECK_INT(a->from, ==, COVE__WIRE__ATTACH__FROM__OFFSET);
	CHECK_INT(a->stdout_offset, ==, 5);
	CHECK_INT(a->stderr_offset, ==, 6);
	CHECK(a->lossy && a->write);
	wire_message_free(&a->base);

	CHECK_INT(fake_expect(f, WIRE_ATTACH), >, event.stream);
	CHECK_INT(fake_expect(f, WIRE_MUTE), >, event.stream);
	live_until_gone(f);
}

static void test_requests(void)
{
	struct fake f;
	int data;
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = fake_start(&f, script_requests, NULL);
	cove_process *p[4];
	p[0] = live_start(s, EXEC(.tty = true, .cols = 132, .stdin_mode = COVE_STDIN_PIPE,
				  .replay_bytes = 4096, .kill_on_disconnect = true, .id = "s1",
				  .output_limit_bytes = 10, .output_policy = COVE_OUTPUT_TAIL,
				  .user_data = &data));
	CHECK(cove_process_user_data(p[0]) == &data);
	CHECK_COVE(
		cove_shell_stream(s, "ls",
				  EXEC(.output_limit_bytes = 77, .output_policy = COVE_OUTPUT_KILL),
				  &p[1], &err),
		&err);
	CHECK(!cove_process_user_data(p[1]));
	p[2] = live_open(s, OPEN(.from = COVE_FROM_OFFSET, .stdout_offset = 5, .stderr_offset = 6,
				 .lossy = true, .user_data = &data));
	CHECK(cove_process_user_data(p[2]) == &data);
	p[3] = live_open(s, OPEN(.no_output = true, .read_only = true));
	/* Nothing of these is sent. */
	cove_process *none = NULL;
	CHECK_INT(cove_exec_stream(s, NULL, NULL, &none, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_shell_stream(s, NULL, NULL, &none, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_process_open(s, NULL, NULL, &none, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_process_open(s, "/", NULL, &none, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_process_open(s, "a", OPEN(.stdout_offset = 1), &none, &err), ==,
		  COVE_E_INVALID);
	CHECK_INT(cove_process_open(s, "a", OPEN(.from = 3), &none, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_process_open(s, "a", OPEN(.flags = 2), &none, NULL), ==, COVE_E_INVALID);
	CHECK(!none);
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
		CHECK(!cove_process_free(p[i]));
	CHECK(!cove_process_free(NULL));
	fake_end(&f, s);
}

/* ---- every kind of event ---- */

static void script_all_events(struct fake *f)
{
	uint32_t stream = live_started(f);
	live_print(f, stream, WIRE_STDOUT, 0, "out");
	live_print(f, stream, WIRE_STDERR, 0, "err");
	Cove__Wire__StdinError e = COVE__WIRE__STDIN_ERROR__INIT;
	e.os_errno = EPIPE;
	fake_send(f, stream, WIRE_STDIN_ERROR, &e.base);
	live_print(f, stream, WIRE_STDOUT, 3, "more");
	fake_exited(f, stream, 7, 3);
	live_expect_close(f, stream);

	wire_message_free(&fake_expect_exec(f, &stream)->base);
	fake_failed(f, stream, WIRE_FAILED, COVE_E_START, "nope");
	live_expect_close(f, stream);
	wire_message_free(&fake_expect_exec(f, &stream)->base);
	fake_failed(f, stream, WIRE_REFUSED, COVE_E_STATE, "it is going down");
	live_expect_close(f, stream);
	/* These do not say that it did not start. */
	wire_message_free(&fake_expect_exec(f, &stream)->base);
	fake_failed(f, stream, WIRE_FAILED, COVE_E_LOST, "gone");
	live_expect_close(f, stream);
	stream = live_started(f);
	fake_failed(f, stream, WIRE_FAILED, COVE_E_LIMIT, "gaps");
	live_expect_close(f, stream);
	stream = live_started(f);
	fake_started(f, stream);
	live_expect_close(f, stream);
	live_started(f);
}

static void test_all_events(void)
{
	struct fake f;
	cove_sandbox *s = fake_start(&f, script_all_events, NULL);
	cove_process *p = live_start(s, NULL);
	const struct cove_event *event = live_receive(p, COVE_EVENT_STARTED);
	CHECK_INT(event->pid, ==, 42);
	CHECK_STR(event->id, "s1");
	/* STDIN_ERROR has no place among the bytes. */
	uint64_t totals[2] = { 0, 0 };
	unsigned n_errors = 0;
	const struct cove_event *same = event;
	while (cove_process_recv(p, &event, -1, NULL) == 1 && event->kind != COVE_EVENT_EXITED) {
		CHECK(event == same);
		CHECK_INT(event->pid, ==, 42);
		if (event->kind == COVE_EVENT_STDIN_ERROR) {
			CHECK_INT(event->os_errno, ==, EPIPE);
			n_errors++;
			continue;
		}
		CHECK_INT(event->offset, ==, totals[event->kind == COVE_EVENT_STDERR]);
		totals[event->kind == COVE_EVENT_STDERR] += event->bytes;
	}
	CHECK_INT(n_errors, ==, 1);
	CHECK_INT(event->kind, ==, COVE_EVENT_EXITED);
	CHECK_INT(event->stdout_total, ==, 7);
	CHECK_INT(event->stderr_total, ==, 3);
	CHECK_INT(totals[0], ==, 7);
	CHECK_INT(totals[1], ==, 3);
	CHECK(cove_exit_success(&event->exit));
	live_is_over(p);
	cove_process_free(p);

	p = live_start(s, EXEC(.id = "s1"));
	live_receive_end(p, COVE_EVENT_FAILED, COVE_E_START, "nope");
	cove_process_free(p);
	p = live_start(s, NULL);
	live_receive_end(p, COVE_EVENT_FAILED, COVE_E_STATE, "going down");
	cove_process_free(p);
	p = live_start(s, NULL);
	live_receive_end(p, COVE_EVENT_LOST, COVE_E_LOST, "gone");
	cove_process_free(p);
	for (unsigned i = 0; i < 3; i++) {
		static const struct {
			int code;
			const char *text;
		} ends[] = { { COVE_E_LIMIT, "gaps" },
			     { COVE_E_PROTOCOL, "second start" },
			     { COVE_E_LOST, "its supervisor ended" } };
		p = live_start(s, NULL);
		live_receive(p, COVE_EVENT_STARTED);
		live_receive_end(p, COVE_EVENT_LOST, ends[i].code, ends[i].text);
		cove_process_free(p);
	}
	fake_end(&f, s);
}

static void test_names(void)
{
	CHECK_STR(cove_event_name(COVE_EVENT_STARTED), "started");
	CHECK_STR(cove_event_name(COVE_EVENT_STDIN_ERROR), "stdin_error");
	CHECK_STR(cove_event_name(COVE_EVENT_LOST), "lost");
	CHECK_STR(cove_event_name((enum cove_event_kind)0), "unknown");
	CHECK_STR(cove_event_name((enum cove_event_kind)99), "unknown");
	CHECK_STR(cove_event_name((enum cove_event_kind) - 1), "unknown");
}

/* ---- gaps ---- */

static void script_gaps(struct fake *f)
{
	/* An id that was started before. */
	uint32_t stream;
	wire_message_free(&fake_expect_exec(f, &stream)->base);
	live_send_started(f, stream, true, 4, 0);
	live_print(f, stream, WIRE_STDOUT, 4, "efgh");
	fake_exited(f, stream, 8, 0);
	live_expect_close(f, stream);
	/* From an offset: there, and not there any more. */
	stream = live_attached(f, 100, 205);
	live_print(f, stream, WIRE_STDOUT, 100, "a");
	live_print(f, stream, WIRE_STDERR, 205, "b");
	fake_exited(f, stream, 101, 206);
	live_expect_close(f, stream);
	/* From now on, running. */
	stream = live_attached(f, 1000, 2000);
	live_print(f, stream, WIRE_STDERR, 2000, "c");
	fake_exited(f, stream, 1000, 2001);
	live_expect_close(f, stream);
	/* From now on, ended, and something it left behind has written more since. */
	stream = live_attached(f, 1000, 2000);
	fake_exited(f, stream, 900, 2000);
	live_expect_close(f, stream);
	/* From the start, ended, and all of its output is gone, that of the command and after. */
	stream = live_attached(f, 1000, 0);
	fake_exited(f, stream, 900, 0);
	live_expect_close(f, stream);
	/* No output is wanted, so none is missing. */
	stream = live_attached(f, 1000, 0);
	CHECK_INT(fake_expect(f, WIRE_MUTE), ==, stream);
	live_print(f, stream, WIRE_STDOUT, 1000, "on its way");
	fake_exited(f, stream, 5000, 0);
	live_expect_close(f, stream);
	live_until_gone(f);
}

static void test_gaps(void)
{
	struct fake f;
	cove_sandbox *s = fake_start(&f, script_gaps, NULL);
	cove_process *p = live_start(s, EXEC(.id = "s1"));
	live_receive(p, COVE_EVENT_STARTED);
	live_receive_gap(p, COVE_STDOUT, 0, 4);
	live_receive_text(p, COVE_EVENT_STDOUT, 4, "efgh");
	live_receive(p, COVE_EVENT_EXITED);
	live_is_over(p);
	cove_process_free(p);

	p = live_open(s,
		      OPEN(.from = COVE_FROM_OFFSET, .stdout_offset = 100, .stderr_offset = 200));
	live_receive(p, COVE_EVENT_STARTED);
	live_receive_gap(p, COVE_STDERR, 200, 5);
	live_receive_text(p, COVE_EVENT_STDOUT, 100, "a");
	live_receive_text(p, COVE_EVENT_STDERR, 205, "b");
	live_receive(p, COVE_EVENT_EXITED);
	cove_process_free(p);

	p = live_open(s, OPEN(.from = COVE_FROM_NOW));
	live_receive(p, COVE_EVENT_STARTED);
	live_receive_text(p, COVE_EVENT_STDERR, 2000, "c");
	live_receive(p, COVE_EVENT_EXITED);
	cove_process_free(p);

	p = live_open(s, OPEN(.from = COVE_FROM_NOW));
	live_receive(p, COVE_EVENT_STARTED);
	CHECK_INT(live_receive(p, COVE_EVENT_EXITED)->stdout_total, ==, 900);
	cove_process_free(p);

	p = live_open(s, NULL);
	live_receive(p, COVE_EVENT_STARTED);
	const struct cove_event *event = live_receive(p, COVE_EVENT_GAP);
	CHECK_INT(event->offset, ==, 0);
	CHECK(event->missing_bytes == 900 || event->missing_bytes == 1000);
	live_receive(p, COVE_EVENT_EXITED);
	cove_process_free(p);

	p = live_open(s, OPEN(.no_output = true));
	live_receive(p, COVE_EVENT_STARTED);
	live_receive(p, COVE_EVENT_EXITED);
	cove_process_free(p);
	fake_end(&f, s);
}

static void script_bad_starts(struct fake *f)
{
	uint32_t stream;
	/* A new command's output begins at 0. */
	wire_message_free(&fake_expect_exec(f, &stream)->base);
	Cove__Wire__Started m = COVE__WIRE__STARTED__INIT;
	m.id = wire_string("s1");
	m.has_stderr_offset = true;
	m.stderr_offset = 1;
	fake_send(f, stream, WIRE_STARTED, &m.base);
	live_expect_close(f, stream);
	/* More than was asked for. */
	stream = live_attached(f, 99, 0);
	live_expect_close(f, stream);
	/* Another session. */
	wire_message_free(&fake_expect_exec(f, &stream)->base);
	fake_started(f, stream);
	live_expect_close(f, stream);
	/* A jump, where none may be. */
	stream = live_attached(f, 100, 0);
	live_print(f, stream, WIRE_STDOUT, 101, "x");
	live_expect_close(f, stream);
	live_until_gone(f);
}

static void test_bad_starts(void)
{
	struct fake f;
	cove_sandbox *s = fake_start(&f, script_bad_starts, NULL);
	cove_process *p = live_start(s, NULL);
	live_receive_end(p, COVE_EVENT_LOST, COVE_E_PROTOCOL, "stderr begins at byte 1");
	cove_process_free(p);
	p = live_open(s, OPEN(.from = COVE_FROM_OFFSET, .stdout_offset = 100));
	live_receive_end(p, COVE_EVENT_LOST, COVE_E_PROTOCOL, "stdout begins at byte 99");
	cove_process_free(p);
	p = live_start(s, EXEC(.id = "s2"));
	live_receive_end(p, COVE_EVENT_LOST, COVE_E_PROTOCOL, "another session");
	cove_process_free(p);
	p = live_open(s, OPEN(.from = COVE_FROM_NOW));
	live_receive(p, COVE_EVENT_STARTED);
	live_receive_end(p, COVE_EVENT_LOST, COVE_E_PROTOCOL, "jumps from byte 100 to 101");
	cove_process_free(p);
	fake_end(&f, s);
}

/* ---- lossy ---- */

static void script_lossy(struct fake *f)
{
	uint32_t stream = live_attached(f, 0, 0);
	live_print(f, stream, WIRE_STDOUT, 0, "abc");
	live_print(f, stream, WIRE_STDOUT, 10, "klm");
	live_print(f, stream, WIRE_STDOUT, 20, "uvw");
	live_print(f, stream, WIRE_STDERR, 7, "x");
	fake_exited(f, stream, 23, 8);
	live_expect_close(f, stream);

	/* Far more gaps than are kept apart, and the last bytes among them. */
	stream = live_attached(f, 0, 0);
	for (unsigned i = 0; i < 1000; i++)
		fake_data(f, stream, WIRE_STDOUT, 2 * i, "y", 1);
	CHECK_INT(fake_expect(f, WIRE_SIGNAL), ==, stream);
	fake_ack(f, stream, 1, 0);
	live_print(f, stream, WIRE_STDOUT, 2001, "z");
	fake_exited(f, stream, 2002, 0);
	live_expect_close(f, stream);

	/* What is dropped has no other sign of the end than that it has come. */
	stream = live_attached(f, 0, 0);
	fake_exited(f, stream, 1999, 0);
	for (unsigned i = 0; i < 1000; i++)
		live_print(f, stream, WIRE_STDOUT, 2 * i, "y");
	live_expect_close(f, stream);
	live_until_gone(f);
}

/* Everything that is told of, in order and without holes. */
static void follow(cove_process *p, uint64_t total, unsigned *ret_gaps)
{
	const struct cove_event *event;
	uint64_t next = 0;
	*ret_gaps = 0;
	while (cove_process_recv(p, &event, -1, NULL) == 1 && event->kind != COVE_EVENT_EXITED) {
		if (event->kind == COVE_EVENT_STARTED)
			continue;
		CHECK_INT(event->offset, ==, next);
		next += event->kind == COVE_EVENT_GAP ? event->missing_bytes : event->bytes;
		*ret_gaps += event->kind == COVE_EVENT_GAP;
		for (size_t i = 0; event->kind == COVE_EVENT_STDOUT && i < event->bytes; i++)
			CHECK_INT(((const char *)event->data)[i], ==,
				  event->offset == 2001 ? 'z' : 'y');
	}
	CHECK_INT(event->kind, ==, COVE_EVENT_EXITED);
	CHECK_INT(next, ==, total);
}

static void test_lossy(void)
{
	struct fake f;
	cove_sandbox *s = fake_start(&f, script_lossy, NULL);
	const struct cove_open_options *options = OPEN(.lossy = true);
	cove_process *p = live_open(s, options);
	live_receive(p, COVE_EVENT_STARTED);
	uint64_t next[2] = { 0, 0 };
	char text[3][64] = { "", "", "" };
	const struct cove_event *event;
	while (cove_process_recv(p, &event, -1, NULL) == 1 && event->kind != COVE_EVENT_EXITED) {
		unsigned i = event->stream == COVE_STDERR;
		CHECK_INT(event->offset, ==, next[i]);
		next[i] += event->bytes + event->missing_bytes;
		strncat(text[i], event->kind == COVE_EVENT_GAP ? "-" : event->data,
			event->kind == COVE_EVENT_GAP ? 1 : event->bytes);
	}
	CHECK_STR(text[0], "abc-klm-uvw");
	CHECK_STR(text[1], "-x");
	CHECK_INT(next[0], ==, 23);
	CHECK_INT(next[1], ==, 8);
	cove_process_free(p);

	unsigned gaps;
	p = live_open(s, options);
	live_receive(p, COVE_EVENT_STARTED);
	/* All that is before the answer is read before anything is received. */
	CHECK_COVE(cove_process_signal(p, 10, NULL), NULL);
	follow(p, 2002, &gaps);
	CHECK_INT(gaps, >, 1);
	cove_process_free(p);
	p = live_open(s, options);
	follow(p, 1999, &gaps);
	cove_process_free(p);
	fake_end(&f, s);
}

/* ---- waiting for events ---- */

static void script_silent(struct fake *f)
{
	struct live_steps *steps = f->data;
	uint32_t stream = live_started(f);
	live_await(steps, 0);
	fake_exited(f, stream, 0, 0);
	live_until_gone(f);
}

static void *receive_in_thread(void *data)
{
	live_receive(data, COVE_EVENT_EXITED);
	return NULL;
}

static void test_recv(void)
{
	struct fake f;
	struct live_steps *steps = live_steps_new();
	struct cove_error err = COVE_ERROR_INIT;
	const struct cove_event *event;
	struct cove_exit exit;
	cove_output *out;
	cove_sandbox *s = fake_start(&f, script_silent, steps);
	cove_process *p = live_start(s, NULL);
	CHECK_INT(cove_process_try_recv(p, &event, &err), ==, COVE_E_AGAIN);
	live_receive(p, COVE_EVENT_STARTED);
	CHECK_INT(cove_process_try_recv(p, &event, &err), ==, COVE_E_AGAIN);
	CHECK_INT(cove_process_recv(p, &event, 0, &err), ==, COVE_E_TIMEOUT);
	CHECK_INT(cove_process_recv(p, &event, 20, &err), ==, COVE_E_TIMEOUT);

	/* One receives at a time. */
	pthread_t thread;
	CHECK_INT(pthread_create(&thread, NULL, receive_in_thread, p), ==, 0);
	int r;
	while ((r = cove_process_recv(p, &event, 0, &err)) == COVE_E_TIMEOUT)
		;
	CHECK_INT(r, ==, COVE_E_STATE);
	CHECK_CONTAINS(err.message, "another thread");
	CHECK_INT(cove_process_try_recv(p, &event, &err), ==, COVE_E_STATE);
	CHECK_INT(cove_process_wait(p, 0, &exit, &err), ==, COVE_E_STATE);
	CHECK_INT(cove_process_collect(p, &out, &err), ==, COVE_E_STATE);
	live_pass(steps, 0);
	pthread_join(thread, NULL);
	live_is_over(p);
	cove_process_free(p);
	fake_end(&f, s);
	live_steps_free(steps);
}

/* ---- wait ---- */

static void script_waited_for(struct fake *f)
{
	struct live_steps *steps = f->data;
	char text[1000];
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;

	uint32_t stream = live_started(f);
	live_print(f, stream, WIRE_STDOUT, 0, text);
	live_pass(steps, 0);
	CHECK_INT(fake_expect(f, WIRE_MUTE), ==, stream);
	/* On its way; then what was not sent. */
	live_print(f, stream, WIRE_STDOUT, 999, text);
	live_await(steps, 1);
	fake_exited(f, stream, 10ull << 30, 0);
	live_expect_close(f, stream);

	wire_message_free(&fake_expect_exec(f, &stream)->base);
	CHECK_INT(fake_expect(f, WIRE_MUTE), ==, stream);
	fake_failed(f, stream, WIRE_FAILED, COVE_E_START, "nope");
	live_expect_close(f, stream);

	stream = live_started(f);
	CHECK_INT(fake_expect(f, WIRE_MUTE), ==, stream);
	fake_exited(f, stream, 5, 0);
	live_expect_close(f, stream);

	stream = live_started(f);
	CHECK_INT(fake_expect(f, WIRE_MUTE), ==, stream);
}

static void test_wait(void)
{
	struct fake f;
	struct live_steps *steps = live_steps_new();
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_exit exit;
	cove_output *out;
	cove_sandbox *s = fake_start(&f, script_waited_for, steps);
	cove_process *p = live_start(s, NULL);
	live_await(steps, 0);
	CHECK_INT(cove_process_wait(p, 0, &exit, &err), ==, COVE_E_TIMEOUT);
	CHECK_INT(cove_process_wait(p, 20, &exit, &err), ==, COVE_E_TIMEOUT);
	live_pass(steps, 1);
	for (unsigned i = 0; i < 2; i++) {
		memset(&exit, 0xff, sizeof(exit));
		CHECK_COVE(cove_process_wait(p, -1, &exit, &err), &err);
		CHECK(cove_exit_success(&exit));
	}
	/* The other events are there still, once. */
	live_receive(p, COVE_EVENT_STARTED);
	CHECK_INT(live_receive(p, COVE_EVENT_EXITED)->stdout_total, ==, 10ull << 30);
	live_is_over(p);
	CHECK_COVE(cove_process_wait(p, -1, NULL, &err), &err);
	CHECK_COVE(cove_process_collect(p, &out, &err), &err);
	CHECK_INT(out->stdout_bytes, ==, 0);
	CHECK_INT(out->stdout_total, ==, 10ull << 30);
	CHECK_STR(out->id, "s1");
	CHECK_INT(out->pid, ==, 42);
	cove_output_free(out);
	cove_process_free(p);

	p = live_start(s, NULL);
	CHECK_INT(cove_process_wait(p, -1, &exit, &err), ==, COVE_E_START);
	CHECK_INT(cove_process_wait(p, 0, &exit, &err), ==, COVE_E_START);
	live_receive_end(p, COVE_EVENT_FAILED, COVE_E_START, "nope");
	CHECK_INT(cove_process_wait(p, -1, &exit, &err), ==, COVE_E_START);
	CHECK_INT(cove_process_collect(p, &out, &err), ==, COVE_E_START);
	cove_process_free(p);

	p = live_start(s, NULL);
	CHECK_COVE(cove_process_wait(p, -1, NULL, &err), &err);
	cove_process_free(p);
	p = live_start(s, NULL);
	CHECK_INT(cove_process_wait(p, -1, &exit, &err), ==, COVE_E_LOST);
	CHECK_INT(cove_process_wait(p, 0, &exit, &err), ==, COVE_E_LOST);
	cove_process_free(p);
	fake_end(&f, s);
	live_steps_free(steps);
}

/* ---- collect ---- */

static void exited_by(struct fake *f, uint32_t stream, enum cove_cause cause, uint64_t total)
{
	Cove__Wire__Exited e = COVE__WIRE__EXITED__INIT;
	e.cause = cause;
	e.code = cause == COVE_CAUSE_EXITED ? 0 : 137;
	e.has_stdout_total = true;
	e.stdout_total = total;
	fake_send(f, stream, WIRE_EXITED, &e.base);
}

static void flood(struct fake *f, uint32_t stream, uint64_t total)
{
	static uint8_t bytes[65536];
	for (uint64_t i = 0; i < total; i += sizeof(bytes)) {
		fake_data(f, stream, WIRE_STDOUT, i, bytes, sizeof(bytes));
		fake_drain(f);
		CHECK(i >= COVE_OUTPUT_LIMIT_DEFAULT || f->kills == 0);
	}
}

static void script_collected(struct fake *f)
{
	uint32_t stream = live_started(f);
	live_print(f, stream, WIRE_STDOUT, 0, "first");
	live_print(f, stream, WIRE_STDOUT, 5, "second");
	live_print(f, stream, WIRE_STDERR, 0, "third");
	fake_exited(f, stream, 11, 5);
	live_expect_close(f, stream);

	stream = live_started(f);
	live_print(f, stream, WIRE_STDOUT, 0, "0123456789");
	exited_by(f, stream, COVE_CAUSE_TIMED_OUT, 10);
	live_expect_close(f, stream);
	live_until_gone(f);
}

static void test_collect(void)
{
	struct fake f;
	struct cove_error err = COVE_ERROR_INIT;
	cove_output *out;
	cove_sandbox *s = fake_start(&f, script_collected, NULL);
	cove_process *p = live_start(s, NULL);
	live_receive(p, COVE_EVENT_STARTED);
	const struct cove_event *event = live_receive(p, COVE_EVENT_STDOUT);
	CHECK(memcmp(event->data, "first", 5) == 0);
	size_t had = event->bytes;
	CHECK_COVE(cove_process_collect(p, &out, &err), &err);
	CHECK_STR(out->stdout_data, "firstsecond" + had);
	CHECK_STR(out->stderr_data, "third");
	CHECK_INT(out->stdout_total, ==, 11);
	CHECK(!out->limited);
	CHECK_INT(out->pid, ==, 42);
	CHECK_STR(out->id, "s1");
	cove_output_free(out);
	live_is_over(p);
	/* Nothing is left, but how it ended. */
	CHECK_COVE(cove_process_collect(p, &out, &err), &err);
	CHECK_STR(out->stdout_data, "");
	CHECK(!out->limited && cove_exit_success(&out->exit));
	cove_output_free(out);
	cove_process_free(p);

	p = live_start(s, EXEC(.output_limit_bytes = 3, .output_policy = COVE_OUTPUT_TAIL,
			       .timeout_ms = 1234));
	CHECK_INT(cove_process_collect(p, &out, &err), ==, COVE_E_TIMEOUT);
	CHECK_CONTAINS(err.message, "1234 ms");
	CHECK_STR(out->stdout_data, "789");
	CHECK(out->limited);
	CHECK_INT(out->exit.cause, ==, COVE_CAUSE_TIMED_OUT);
	cove_output_free(out);
	cove_process_free(p);
	fake_end(&f, s);
}

#define FLOOD (COVE_OUTPUT_LIMIT_DEFAULT + (8u << 20))

static void script_floods(struct fake *f)
{
	uint32_t stream = live_started(f);
	flood(f, stream, FLOOD);
	CHECK_INT(f->kills, ==, 1);
	exited_by(f, stream, COVE_CAUSE_KILLED, FLOOD);
	live_expect_close(f, stream);
	/* Of one that was there before nobody is killed for being looked at. */
	f->kills = 0;
	stream = live_attached(f, 0, 0);
	flood(f, stream, FLOOD);
	CHECK_INT(f->kills, ==, 0);
	exited_by(f, stream, COVE_CAUSE_EXITED, FLOOD);
	live_until_gone(f);
}

static void test_collect_flood(void)
{
	struct fake f;
	struct cove_error err = COVE_ERROR_INIT;
	cove_output *out;
	cove_sandbox *s = fake_start(&f, script_floods, NULL);
	cove_process *p = live_start(s, NULL);
	CHECK_COVE(cove_process_collect(p, &out, &err), &err);
	CHECK_INT(out->stdout_bytes, ==, COVE_OUTPUT_LIMIT_DEFAULT);
	CHECK_INT(out->exit.cause, ==, COVE_CAUSE_OUTPUT_LIMIT);
	CHECK(out->limited);
	cove_output_free(out);
	cove_process_free(p);

	p = live_open(s, NULL);
	CHECK_COVE(cove_process_collect(p, &out, &err), &err);
	CHECK_INT(out->stdout_bytes, ==, COVE_OUTPUT_LIMIT_DEFAULT);
	CHECK_INT(out->stdout_total, ==, FLOOD);
	CHECK_INT(out->exit.cause, ==, COVE_CAUSE_EXITED);
	CHECK(out->limited);
	cove_output_free(out);
	cove_process_free(p);
	fake_end(&f, s);
}

/* ---- windows ---- */

/* Credit that came for stdout of the stream. */
static uint64_t credit_of(struct fake *f, uint32_t stream)
{
	return wire_link_credit(f->link, stream, WIRE_STDOUT);
}

#define BULKS 20

static void script_bulks(struct fake *f)
{
	static uint8_t bytes[65536];
	unsigned *n_wide = f->data;
	uint32_t streams[BULKS];
	for (unsigned i = 0; i < BULKS; i++) {
		streams[i] = live_started(f);
		for (uint64_t k = 0; k < (2u << 20); k += sizeof(bytes)) {
			fake_data(f, streams[i], WIRE_STDOUT, k, bytes, sizeof(bytes));
			fake_drain(f);
			CHECK_INT(credit_of(f, streams[i]), <=, WIRE_WINDOW_MAX);
		}
		/* The next message is read after all credit for this is there. */
		CHECK_INT(fake_expect(f, WIRE_SIGNAL), ==, streams[i]);
		fake_ack(f, streams[i], 1, 0);
		if (credit_of(f, streams[i]) > WIRE_INITIAL_WINDOW)
			++*n_wide;
	}
	for (unsigned i = 0; i < BULKS; i++)
		fake_exited(f, streams[i], 2u << 20, 0);
	live_until_gone(f);
}

/* Bulk flows get the large window, but not so many that a supervisor would have to hold too much. */
static void test_windows(void)
{
	struct fake f;
	unsigned n_wide = 0;
	struct cove_error err = COVE_ERROR_INIT;
	cove_process *p[BULKS];
	cove_sandbox *s = fake_start(&f, script_bulks, &n_wide);
	for (unsigned i = 0; i < BULKS; i++) {
		const struct cove_event *event;
		uint64_t received = 0;
		p[i] = live_start(s, NULL);
		live_receive(p[i], COVE_EVENT_STARTED);
		while (received < (2u << 20)) {
			CHECK_COVE(cove_process_recv(p[i], &event, -1, &err), &err);
			received += event->bytes;
		}
		CHECK_COVE(cove_process_signal(p[i], 10, &err), &err);
	}
	for (unsigned i = 0; i < BULKS; i++) {
		live_receive(p[i], COVE_EVENT_EXITED);
		cove_process_free(p[i]);
	}
	fake_end(&f, s);
	CHECK_INT(n_wide, ==, 16);
}

/* ---- memory ---- */

static void script_short(struct fake *f)
{
	struct wire_event event;
	uint64_t input = 0;
	while (fake_next(f, &event)) {
		uint32_t stream = event.stream;
		if (event.kind == WIRE_EVENT_MESSAGE && event.type == WIRE_EXEC) {
			input = 0;
			fake_started(f, stream);
			fake_data(f, stream, WIRE_STDOUT, 0, "out", 3);
			fake_data(f, stream, WIRE_STDERR, 0, "err", 3);
		} else if (event.kind == WIRE_EVENT_MESSAGE && event.type == WIRE_SIGNAL) {
			fake_ack(f, stream, 1, 0);
		} else if (event.kind == WIRE_EVENT_DATA) {
			input += event.size;
		} else if (event.kind == WIRE_EVENT_EOF) {
			fake_exited(f, stream, 3, 3);
		}
	}
}

static int run_all(cove_sandbox *s, struct cove_error *err)
{
	cove_process *p;
	const struct cove_event *event;
	cove_output *out;
	const char *const argv[] = { "x", NULL };
	size_t n;
	int r = cove_exec_stream(s, argv, EXEC(.stdin_mode = COVE_STDIN_PIPE), &p, err);
	if (r < 0)
		return r;
	cove_stdin *in = cove_process_take_stdin(p);
	cove_control *control = cove_process_control(p);
	r = cove_process_recv(p, &event, -1, err);
	if (r == 1)
		r = cove_stdin_try_write(in, "abc", 3, &n, err);
	if (r == 0)
		r = cove_stdin_write(in, "defg", 4, err);
	if (r == 0)
		r = cove_control_signal(control, 10, err);
	if (r == 0)
		r = cove_stdin_close(in, err);
	if (r == 0)
		r = cove_process_collect(p, &out, err);
	if (r == 0)
		cove_output_free(out);
	cove_process_free(p);
	cove_stdin_free(in);
	cove_control_unref(control);
	return r;
}

static void test_without_memory(void)
{
	for (unsigned long n = 1;; n++) {
		struct fake f;
		struct cove_error err = COVE_ERROR_INIT;
		cove_sandbox *s = fake_start(&f, script_short, NULL);
		failing_alloc_arm(n);
		int r = run_all(s, &err);
		bool failed = failing_alloc_disarm();
		if (!failed)
			CHECK_COVE(r, &err);
		else if (r != 0 && r != 1) /* 1: LOST came instead of STARTED */
			CHECK(r == COVE_E_NO_MEMORY || r == COVE_E_PROTOCOL);
		fake_end(&f, s);
		if (!failed)
			break;
		CHECK_INT(n, <, 1000);
	}
}

static const struct tap_test tests[] = {
	{ "requests", test_requests },
	{ "every event", test_all_events },
	{ "names of events", test_names },
	{ "gaps", test_gaps },
	{ "starts that cannot be", test_bad_starts },
	{ "a viewer that may lose output", test_lossy },
	{ "receiving", test_recv },
	{ "waiting", test_wait },
	{ "collecting what is left", test_collect },
	{ "collecting a flood", test_collect_flood, .timeout_s = 60 },
	{ "windows", test_windows, .timeout_s = 60 },
	{ "without memory", test_without_memory, .timeout_s = 60 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
