/* SPDX-License-Identifier: Apache-2.0 */

/* Sessions by their id: what a client makes of what a guest says of them. */

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "harness/failing-alloc.h"
#include "harness/tap.h"
#include "lib/sandbox.h"
#include "lib/session-list.h"
#include "live.h"

/* The next is an ATTACH; its stream. */
static uint32_t expect_attach(struct fake *f, bool write)
{
	struct wire_event event;
	do
		CHECK(fake_next(f, &event));
	while (event.kind == WIRE_EVENT_CLOSE); /* of the one before */
	CHECK_INT(event.type, ==, WIRE_ATTACH);
	Cove__Wire__Attach *m = (Cove__Wire__Attach *)wire_message_unpack(
		&cove__wire__attach__descriptor, event.data, event.size);
	CHECK_MEM(m->id.data, m->id.len, "s1", 2);
	CHECK_INT(m->write, ==, write);
	wire_message_free(&m->base);
	return event.stream;
}

/* The next is a request with a number, whatever else is in it. */
static uint32_t expect_request(struct fake *f, uint32_t stream, uint8_t type)
{
	struct wire_event event;
	CHECK(fake_next(f, &event));
	CHECK_INT(event.kind, ==, WIRE_EVENT_MESSAGE);
	CHECK_STR(wire_type_info(event.type)->name, wire_type_info(type)->name);
	CHECK_INT(event.stream, ==, stream);
	/* The number is field 1 of all of them. */
	Cove__Wire__Collect *m = (Cove__Wire__Collect *)wire_message_unpack(
		&cove__wire__collect__descriptor, event.data, event.size);
	CHECK(m);
	uint32_t request = m->request;
	wire_message_free(&m->base);
	return request;
}

/* ---- STARTED ---- */

static void send_started(struct fake *f, uint32_t stream, const Cove__Wire__Started *m)
{
	Cove__Wire__Started filled = *m;
	filled.id = wire_string("s1");
	filled.pid = 42;
	fake_send(f, stream, WIRE_STARTED, &filled.base);
}

#define STARTED(...)                                                                               \
	(&(Cove__Wire__Started){                                                                   \
		.base = PROTOBUF_C_MESSAGE_INIT(&cove__wire__started__descriptor), __VA_ARGS__ })
#define FIELD(field, value) .has_##field = true, .field = (value)

static void script_started(struct fake *f)
{
	uint32_t stream = live_started(f);
	fake_exited(f, stream, 0, 0);
	live_expect_close(f, stream);
	stream = expect_attach(f, true);
	send_started(f, stream,
		     STARTED(FIELD(tty, true), FIELD(rows, 65535), FIELD(cols, 1),
			     FIELD(stdout_offset, 10), FIELD(stdout_end, 20),
			     FIELD(terminal, wire_string("\033[?1h")), FIELD(stderr_end, 5)));
	live_print(f, stream, WIRE_STDOUT, 10, "0123456789");
	live_print(f, stream, WIRE_STDERR, 0, "error");
	fake_exited(f, stream, 20, 5);
	live_expect_close(f, stream);
	/* A size is a terminal's. */
	stream = expect_attach(f, true);
	send_started(f, stream, STARTED(FIELD(rows, 24), FIELD(cols, 80)));
	fake_exited(f, stream, 0, 0);
	live_expect_close(f, stream);

	static char modes[1026];
	memset(modes, '.', sizeof(modes) - 1);
	const Cove__Wire__Started *const bad[] = {
		STARTED(FIELD(tty, true), FIELD(rows, 65536), FIELD(cols, 80)),
		STARTED(FIELD(tty, true), FIELD(rows, 24), FIELD(cols, UINT32_MAX)),
		STARTED(FIELD(stdout_offset, 10), FIELD(stdout_end, 9)),
		STARTED(FIELD(stderr_offset, UINT64_MAX), FIELD(stderr_end, 0)),
		STARTED(FIELD(tty, true), FIELD(terminal, wire_string(modes))),
		STARTED(FIELD(terminal, wire_string("\033[?1h"))),
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		stream = expect_attach(f, true);
		send_started(f, stream, bad[i]);
		live_expect_close(f, stream);
	}
	live_until_gone(f);
}

static void test_started(void)
{
	struct fake f;
	cove_sandbox *s = fake_start(&f, script_started, NULL);
	cove_process *p = live_start(s, NULL);
	const struct cove_event *event = live_receive(p, COVE_EVENT_STARTED);
	CHECK(!event->was_there && !event->tty);
	CHECK_INT(event->rows + event->cols, ==, 0);
	CHECK_INT(event->stdout_total + event->stderr_total, ==, 0);
	live_receive(p, COVE_EVENT_EXITED);
	cove_process_free(p);

	p = live_open(s, NULL);
	event = live_receive(p, COVE_EVENT_STARTED);
	CHECK(event->was_there && event->tty);
	CHECK_INT(event->rows, ==, 65535);
	CHECK_INT(event->cols, ==, 1);
	CHECK_INT(event->stdout_total, ==, 20);
	CHECK_INT(event->stderr_total, ==, 5);
	CHECK_MEM(event->data, event->bytes, "\033[?1h", 5);
	live_receive_gap(p, COVE_STDOUT, 0, 10);
	live_receive_text(p, COVE_EVENT_STDOUT, 10, "0123456789");
	live_receive_text(p, COVE_EVENT_STDERR, 0, "error");
	event = live_receive(p, COVE_EVENT_EXITED);
	CHECK(!event->was_there && !event->tty && !event->rows);
	cove_process_free(p);

	p = live_open(s, NULL);
	event = live_receive(p, COVE_EVENT_STARTED);
	CHECK(event->was_there && !event->tty);
	CHECK_INT(event->rows + event->cols, ==, 0);
	live_receive(p, COVE_EVENT_EXITED);
	cove_process_free(p);

	static const char *const texts[] = { "65536",  "4294967295", "stdout",
					     "stderr", "1025",	     "no terminal" };
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		p = live_open(s, NULL);
		live_receive_end(p, COVE_EVENT_LOST, COVE_E_PROTOCOL, texts[i]);
		cove_process_free(p);
	}
	fake_end(&f, s);
}

/* ---- lists ---- */

#define NAMED(session_id, session_pid, ...)                                                        \
	(&(Cove__Wire__Session){                                                                   \
		.base = PROTOBUF_C_MESSAGE_INIT(&cove__wire__session__descriptor),                 \
		.id = session_id,                                                                  \
		.pid = session_pid,                                                                \
		__VA_ARGS__ })
#define SESSION(...) NAMED(wire_string("s1"), 42, __VA_ARGS__)
#define EXITED(...)                                                                                \
	(&(Cove__Wire__Exited){ .base = PROTOBUF_C_MESSAGE_INIT(&cove__wire__exited__descriptor),  \
				__VA_ARGS__ })

static void send_list(struct fake *f, uint32_t stream, Cove__Wire__Session **sessions, size_t n,
		      bool more)
{
	Cove__Wire__SessionList m = COVE__WIRE__SESSION_LIST__INIT;
	m.sessions = sessions;
	m.n_sessions = n;
	m.has_more = m.more = more;
	fake_send(f, stream, WIRE_SESSIONS, &m.base);
}

static uint32_t expect_list(struct fake *f)
{
	struct wire_event event;
	do
		CHECK(fake_next(f, &event));
	while (event.kind == WIRE_EVENT_CLOSE);
	CHECK_INT(event.type, ==, WIRE_SESSION_LIST);
	return event.stream;
}

static void script_list(struct fake *f)
{
	uint32_t stream = expect_list(f);
	send_list(f, stream, NULL, 0, false);

	ProtobufCBinaryData argv[] = { wire_string("sh"), wire_string(""), wire_string("a b\377") };
	Cove__Wire__Usage usage = COVE__WIRE__USAGE__INIT;
	usage.user_us = 7;
	usage.has_user_us = true;
	Cove__Wire__Session *first[] = {
		SESSION(.argv = argv, .n_argv = 3, FIELD(tty, true), FIELD(rows, 65535),
			FIELD(cols, 80), FIELD(viewers, 2), FIELD(started_ns, 99),
			FIELD(stdout_start, 10), FIELD(stdout_total, 30), FIELD(stderr_start, 4),
			FIELD(stderr_total, 4), FIELD(stdin_open, true)),
		NAMED(wire_string("job.2"), 42, FIELD(has_processes, true), FIELD(rows, 10),
		      .exited = EXITED(.cause = COVE_CAUSE_SIGNALED, .code = 143, FIELD(signal, 15),
				       .usage = &usage)),
	};
	Cove__Wire__Session *second[] = {
		SESSION(.exited = EXITED(.cause = 0), FIELD(collected, true)),
	};
	stream = expect_list(f);
	send_list(f, stream, first, 2, true);
	send_list(f, stream, second, 1, false);
	live_expect_close(f, stream);

	stream = expect_list(f);
	fake_failed(f, stream, WIRE_FAILED, COVE_E_NO_MEMORY, "listing");
	stream = expect_list(f);
	send_list(f, stream, first, 2, true);
	/* And then it dies. */
}

static void test_list(void)
{
	struct fake f;
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_session_info **list = NULL;
	size_t n = 99;
	cove_sandbox *s = fake_start(&f, script_list, NULL);
	CHECK_COVE(cove_session_list(s, &list, &n, &err), &err);
	CHECK_INT(n, ==, 0);
	CHECK(list && !cove_session_list_free(list, n));
	CHECK(!cove_session_list_free(NULL, 0));

	CHECK_COVE(cove_session_list(s, &list, &n, &err), &err);
	CHECK_INT(n, ==, 3);
	CHECK_STR(list[0]->id, "s1");
	CHECK_INT(list[0]->state, ==, COVE_SESSION_RUNNING);
	CHECK_INT(list[0]->pid, ==, 42);
	CHECK(list[0]->tty && list[0]->has_processes && list[0]->stdin_open);
	CHECK_INT(list[0]->rows, ==, 65535);
	CHECK_INT(list[0]->cols, ==, 80);
	CHECK_STR(list[0]->argv[0], "sh");
	CHECK_STR(list[0]->argv[1], "");
	CHECK_STR(list[0]->argv[2], "a b\377");
	CHECK(!list[0]->argv[3]);
	CHECK_INT(list[0]->started_ns, ==, 99);
	CHECK_INT(list[0]->viewers, ==, 2);
	CHECK_INT(list[0]->stdout_start, ==, 10);
	CHECK_INT(list[0]->stdout_total, ==, 30);
	CHECK_INT(list[0]->stderr_start, ==, 4);
	CHECK_INT(list[0]->stderr_total, ==, 4);
	CHECK_STR(list[1]->id, "job.2");
	CHECK_INT(list[1]->state, ==, COVE_SESSION_ENDED);
	CHECK(!list[1]->argv[0] && !list[1]->tty && list[1]->has_processes);
	CHECK_INT(list[1]->rows, ==, 0); /* without a terminal */
	CHECK_INT(list[1]->exit.cause, ==, COVE_CAUSE_SIGNALED);
	CHECK_INT(list[1]->exit.code, ==, 143);
	CHECK_INT(list[1]->exit.signal, ==, 15);
	CHECK_INT(list[1]->exit.user_us, ==, 7);
	CHECK_INT(list[2]->state, ==, COVE_SESSION_COLLECTED);
	CHECK(!list[2]->has_processes && !list[2]->stdin_open);
	cove_session_list_free(list, n);

	list = NULL;
	CHECK_INT(cove_session_list(s, &list, &n, &err), ==, COVE_E_NO_MEMORY);
	CHECK_CONTAINS(err.message, "listing");
	CHECK_INT(cove_session_list(s, &list, &n, &err), ==, COVE_E_LOST);
	CHECK_INT(cove_session_list(s, &list, &n, &err), ==, COVE_E_LOST);
	CHECK(!list);
	fake_end(&f, s);

	CHECK_STR(cove_session_state_name(COVE_SESSION_RUNNING), "running");
	CHECK_STR(cove_session_state_name(COVE_SESSION_ENDED), "ended");
	CHECK_STR(cove_session_state_name(COVE_SESSION_COLLECTED), "collected");
	CHECK_STR(cove_session_state_name((enum cove_session_state)3), "unknown");
}

/* ---- lists that cannot be ---- */

static void script_bad_lists(struct fake *f)
{
	ProtobufCBinaryData cut[] = { wire_string("ok"), { 3, (uint8_t *)"a\0b" } };
	char long_id[66];
	memset(long_id, 'a', sizeof(long_id));
	long_id[65] = 0;
	Cove__Wire__Session *const bad[] = {
		NAMED(wire_string(""), 42, ),
		NAMED(wire_string("../x"), 42, ),
		NAMED(wire_bytes("a\0b", 3), 42, ),
		NAMED(wire_string(long_id), 42, ),
		NAMED(wire_string("s1"), UINT32_MAX, ),
		SESSION(FIELD(rows, 65536)),
		SESSION(FIELD(cols, UINT32_MAX)),
		SESSION(FIELD(stdout_start, 2), FIELD(stdout_total, 1)),
		SESSION(FIELD(stderr_start, UINT64_MAX)),
		SESSION(FIELD(collected, true)),
		SESSION(.exited = EXITED(.cause = COVE_CAUSE_STOPPED + 1)),
		SESSION(.exited = EXITED(.cause = UINT32_MAX)),
		SESSION(.argv = cut, .n_argv = 2),
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint32_t stream = expect_list(f);
		Cove__Wire__Session *sessions[] = { SESSION(), bad[i], SESSION() };
		send_list(f, stream, sessions, 1, true);
		send_list(f, stream, sessions, 3, i % 2);
		live_expect_close(f, stream);
	}

	/* One that goes on for ever, with nothing in it; bytes that are no message; other messages. */
	uint32_t stream = expect_list(f);
	send_list(f, stream, NULL, 0, true);
	live_expect_close(f, stream);
	stream = expect_list(f);
	CHECK_OK(wire_link_send(f->link, stream, WIRE_SESSIONS, "\377\377", 2));
	live_expect_close(f, stream);
	stream = expect_list(f);
	fake_exited(f, stream, 0, 0);
	live_expect_close(f, stream);
	stream = expect_list(f);
	live_print(f, stream, WIRE_STDOUT, 0, "sessions");
	live_expect_close(f, stream);
	stream = expect_list(f);
	fake_failed(f, stream, WIRE_FAILED, COVE_E_TIMEOUT, "no");
	live_expect_close(f, stream);
	live_until_gone(f);
}

static void test_bad_lists(void)
{
	struct fake f;
	struct cove_error err;
	struct cove_session_info **list = NULL;
	size_t n = 99;
	cove_sandbox *s = fake_start(&f, script_bad_lists, NULL);
	for (unsigned i = 0; i < 18; i++) {
		CHECK_INT(cove_session_list(s, &list, &n, &err), ==, COVE_E_PROTOCOL);
		CHECK_INT(err.code, ==, COVE_E_PROTOCOL);
		CHECK(!list && n == 99);
	}
	fake_end(&f, s);
}

/* Lists without an end: of many sessions, and of few with a great deal in them. */
static void script_endless(struct fake *f)
{
	enum { BATCH = 512, WORDS = 128 * 1024 };
	static Cove__Wire__Session *sessions[BATCH];
	uint32_t stream = expect_list(f);
	Cove__Wire__Session *session = SESSION();
	for (size_t i = 0; i < BATCH; i++)
		sessions[i] = session;
	for (size_t i = 0; i <= SESSION_LIST_MAX / BATCH && !f->gone; i++)
		send_list(f, stream, sessions, BATCH, true);
	live_expect_close(f, stream);

	/* Each takes 16 bytes to be read, and 2 to be sent. */
	ProtobufCBinaryData *words = calloc(WORDS, sizeof(*words));
	CHECK(words);
	sessions[0] = SESSION(.argv = words, .n_argv = WORDS);
	stream = expect_list(f);
	for (size_t i = 0; i <= SESSION_LIST_BYTES_MAX / (WORDS * sizeof(*words)); i++)
		send_list(f, stream, sessions, 1, true);
	live_expect_close(f, stream);
	free(words);
	live_until_gone(f);
}

static void test_endless(void)
{
	struct fake f;
	struct cove_error err;
	struct cove_session_info **list = NULL;
	size_t n;
	cove_sandbox *s = fake_start(&f, script_endless, NULL);
	CHECK_INT(cove_session_list(s, &list, &n, &err), ==, COVE_E_PROTOCOL);
	CHECK_CONTAINS(err.message, "more sessions");
	CHECK_INT(cove_session_list(s, &list, &n, &err), ==, COVE_E_PROTOCOL);
	CHECK_CONTAINS(err.message, "cannot be read");
	CHECK(!list);
	fake_end(&f, s);
}

/* Every allocation fails once: an error, and nothing is left behind. */
static void test_no_memory(void)
{
	uint8_t packed[4096];
	ProtobufCBinaryData argv[] = { wire_string("sh"), wire_string("-c") };
	Cove__Wire__Session *sessions[] = {
		SESSION(.argv = argv, .n_argv = 2),
		SESSION(.exited = EXITED(.cause = 0)),
	};
	Cove__Wire__SessionList m = COVE__WIRE__SESSION_LIST__INIT;
	m.sessions = sessions;
	m.n_sessions = 2;
	size_t size = cove__wire__session_list__pack(&m, packed);

	unsigned failed = 0;
	for (unsigned i = 1;; i++) {
		struct session_list list = SESSION_LIST_INIT;
		bool more;
		failing_alloc_arm(i);
		int r = session_list_add(&list, packed, size, &more, NULL);
		bool done = !failing_alloc_disarm();
		session_list_done(&list);
		if (done) {
			CHECK_INT(r, ==, 0);
			break;
		}
		CHECK(r == COVE_E_NO_MEMORY || r == COVE_E_PROTOCOL);
		failed++;
	}
	CHECK_INT(failed, >, 8);
}

/* ---- wait ---- */

static void script_wait(struct fake *f)
{
	uint32_t stream;
	/* It ends while it is waited for, with output that nobody asked for. */
	stream = expect_attach(f, false);
	CHECK_INT(fake_expect(f, WIRE_MUTE), ==, stream);
	live_send_started(f, stream, true, 100, 0);
	live_print(f, stream, WIRE_STDOUT, 100, "late");
	fake_exited(f, stream, 104, 0);
	live_expect_close(f, stream);
	/* It runs. */
	stream = expect_attach(f, false);
	CHECK_INT(fake_expect(f, WIRE_MUTE), ==, stream);
	live_send_started(f, stream, true, 0, 0);
	live_expect_close(f, stream);
	/* Just a look: it runs; it has ended; there is no such. */
	for (unsigned i = 0; i < 3; i++) {
		stream = expect_attach(f, false);
		CHECK_INT(fake_expect(f, WIRE_MUTE), ==, stream);
		uint32_t request = expect_request(f, stream, WIRE_FLUSH);
		if (i == 2) {
			fake_failed(f, stream, WIRE_FAILED, COVE_E_NOT_FOUND, "no session");
		} else {
			live_send_started(f, stream, true, 0, 0);
			if (i == 1)
				fake_exited(f, stream, 0, 0);
			fake_ack(f, stream, request, COVE_E_DENIED);
		}
		live_expect_close(f, stream);
	}
	stream = expect_attach(f, false);
	CHECK_INT(fake_expect(f, WIRE_MUTE), ==, stream);
	fake_failed(f, stream, WIRE_FAILED, COVE_E_GONE, "it was collected");
	live_expect_close(f, stream);
	/* And the sandbox dies. */
	expect_attach(f, false);
}

static void test_wait(void)
{
	struct fake f;
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_exit exit = { .code = 99 };
	cove_sandbox *s = fake_start(&f, script_wait, NULL);
	CHECK_COVE(cove_session_wait(s, "s1", -1, &exit, &err), &err);
	CHECK_INT(exit.code, ==, 0);
	CHECK_INT(cove_session_wait(s, "s1", 20, &exit, &err), ==, COVE_E_TIMEOUT);
	CHECK_INT(cove_session_wait(s, "s1", 0, &exit, &err), ==, COVE_E_TIMEOUT);
	CHECK_CONTAINS(err.message, "has not ended");
	CHECK_COVE(cove_session_wait(s, "s1", 0, NULL, &err), &err);
	CHECK_INT(cove_session_wait(s, "s1", 0, &exit, &err), ==, COVE_E_NOT_FOUND);
	CHECK_INT(cove_session_wait(s, "s1", 10000, &exit, &err), ==, COVE_E_GONE);
	CHECK_INT(cove_session_wait(s, "s1", -1, &exit, &err), ==, COVE_E_LOST);
	CHECK_INT(cove_session_wait(s, NULL, -1, &exit, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_session_wait(s, "a b", -1, &exit, &err), ==, COVE_E_INVALID);
	fake_end(&f, s);
}

/* ---- collect ---- */

static uint32_t give_result(struct fake *f)
{
	uint32_t stream = expect_attach(f, true);
	live_send_started(f, stream, true, 0, 0);
	live_print(f, stream, WIRE_STDOUT, 0, "out");
	fake_exited(f, stream, 3, 0);
	return stream;
}

static void script_collect(struct fake *f)
{
	uint32_t stream = give_result(f);
	fake_ack(f, stream, expect_request(f, stream, WIRE_COLLECT), 0);
	live_expect_close(f, stream);
	/* Somebody else was quicker; the agent does not want to; a time limit is no obstacle. */
	stream = give_result(f);
	fake_ack(f, stream, expect_request(f, stream, WIRE_COLLECT), COVE_E_GONE);
	live_expect_close(f, stream);
	stream = give_result(f);
	fake_ack(f, stream, expect_request(f, stream, WIRE_COLLECT), COVE_E_DENIED);
	live_expect_close(f, stream);
	stream = expect_attach(f, true);
	live_send_started(f, stream, true, 0, 0);
	Cove__Wire__Exited m = COVE__WIRE__EXITED__INIT;
	m.cause = COVE_CAUSE_TIMED_OUT;
	fake_send(f, stream, WIRE_EXITED, &m.base);
	fake_ack(f, stream, expect_request(f, stream, WIRE_COLLECT), 0);
	live_expect_close(f, stream);
	/* Only to be forgotten: no output comes, nor is waited for. */
	for (unsigned i = 0; i < 3; i++) {
		stream = expect_attach(f, true);
		CHECK_INT(fake_expect(f, WIRE_MUTE), ==, stream);
		live_send_started(f, stream, true, 0, 0);
		fake_exited(f, stream, 1000, 1000);
		uint32_t request = expect_request(f, stream, WIRE_COLLECT);
		if (i < 2)
			fake_ack(f, stream, request, i ? COVE_E_GONE : 0);
		else
			fake_failed(f, stream, WIRE_FAILED, COVE_E_LOST, "the link was lost");
		live_expect_close(f, stream);
	}
	/* Bytes are missing: nothing is said to be collected. */
	stream = expect_attach(f, true);
	live_send_started(f, stream, true, 0, 0);
	fake_exited(f, stream, 3, 0);
	fake_failed(f, stream, WIRE_FAILED, COVE_E_LOST, "the link was lost");
	live_expect_close(f, stream);
	stream = expect_attach(f, true);
	fake_failed(f, stream, WIRE_FAILED, COVE_E_GONE, "it was collected");
	live_expect_close(f, stream);
	/* The link breaks between the result and the answer. */
	stream = give_result(f);
	expect_request(f, stream, WIRE_COLLECT);
	fake_failed(f, stream, WIRE_FAILED, COVE_E_LOST, "the link was lost");
	live_expect_close(f, stream);
	/* And the sandbox dies there. */
	stream = give_result(f);
	expect_request(f, stream, WIRE_COLLECT);
}

static void collect_out(cove_sandbox *s)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_output *out = NULL;
	CHECK_COVE(cove_session_collect(s, "s1", &out, &err), &err);
	CHECK_MEM(out->stdout_data, out->stdout_bytes, "out", 3);
	CHECK_STR(out->id, "s1");
	CHECK(!out->limited);
	cove_output_free(out);
}

static void test_collect(void)
{
	struct fake f;
	struct cove_error err = COVE_ERROR_INIT;
	cove_output *out = NULL;
	cove_sandbox *s = fake_start(&f, script_collect, NULL);
	collect_out(s);
	collect_out(s);
	CHECK_INT(cove_session_collect(s, "s1", &out, &err), ==, COVE_E_DENIED);
	CHECK(!out);
	CHECK_INT(cove_session_collect(s, "s1", &out, &err), ==, COVE_E_TIMEOUT);
	CHECK(out);
	CHECK_INT(out->exit.cause, ==, COVE_CAUSE_TIMED_OUT);
	out = cove_output_free(out);

	CHECK_COVE(cove_session_collect(s, "s1", NULL, &err), &err);
	CHECK_COVE(cove_session_collect(s, "s1", NULL, &err), &err);
	CHECK_INT(cove_session_collect(s, "s1", NULL, &err), ==, COVE_E_LOST);
	CHECK_INT(cove_session_collect(s, "s1", &out, &err), ==, COVE_E_LOST);
	CHECK_INT(cove_session_collect(s, "s1", &out, &err), ==, COVE_E_GONE);
	CHECK(!out);
	CHECK_INT(cove_session_collect(s, "/", &out, &err), ==, COVE_E_INVALID);
	collect_out(s);
	collect_out(s);
	CHECK_INT(cove_session_collect(s, "s1", &out, &err), ==, COVE_E_LOST);
	CHECK(!out);
	fake_end(&f, s);
}

/* ---- letting go of the sandbox ---- */

static uint32_t expect_detach(struct fake *f, const char *until)
{
	struct wire_event event;
	do
		CHECK(fake_next(f, &event));
	while (event.kind == WIRE_EVENT_CLOSE);
	CHECK_INT(event.type, ==, WIRE_DETACH);
	Cove__Wire__DetachRequest *m = (Cove__Wire__DetachRequest *)wire_message_unpack(
		&cove__wire__detach_request__descriptor, event.data, event.size);
	CHECK_INT(m->has_until_session, ==, until != NULL);
	if (until)
		CHECK_MEM(m->until_session.data, m->until_session.len, until, strlen(until));
	wire_message_free(&m->base);
	return event.stream;
}

static void send_info(struct fake *f, uint32_t stream, const char *until, size_t size)
{
	Cove__Wire__SandboxInfo m = COVE__WIRE__SANDBOX_INFO__INIT;
	m.name = (char *)"fake";
	m.state = COVE_SANDBOX_RUNNING;
	m.has_detached = m.detached = true;
	m.has_until_session = size > 0;
	m.until_session = wire_bytes(until, size);
	fake_send(f, stream, WIRE_SANDBOX, &m.base);
}

/* By which a guest could make a program do something that it should not, through the supervisor. */
static const int detach_codes[][2] = {
	{ COVE_E_NOT_FOUND, COVE_E_NOT_FOUND },
	{ COVE_E_GONE, COVE_E_GONE },
	{ COVE_E_STATE, COVE_E_STATE },
	{ COVE_E_TIMEOUT, COVE_E_PROTOCOL },
	{ COVE_E_AGAIN, COVE_E_PROTOCOL },
	{ 0, COVE_E_PROTOCOL },
	{ 7, COVE_E_PROTOCOL },
};

static void script_detach(struct fake *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(detach_codes); i++)
		fake_failed(f, expect_detach(f, "s1"), WIRE_REFUSED, detach_codes[i][0], "no");
	send_info(f, expect_detach(f, NULL), NULL, 0);
	send_info(f, expect_detach(f, "s1"), "s1", 2);
	/* An id that is none is not handed on. */
	send_info(f, expect_detach(f, "s1"), "a\0b", 3);
	/* And it dies. */
	expect_detach(f, "s1");
}

static void test_detach(void)
{
	struct fake f;
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_detach_options options = COVE_DETACH_OPTIONS_INIT;
	cove_sandbox *s = fake_start(&f, script_detach, NULL);
	options.until_session = "s1";
	s->attached = true;
	for (size_t i = 0; i < ARRAY_SIZE(detach_codes); i++) {
		CHECK_INT(cove_sandbox_detach(s, &options, &err), ==, detach_codes[i][1]);
		CHECK(s->attached);
	}
	CHECK_COVE(cove_sandbox_detach(s, NULL, &err), &err);
	CHECK(!s->attached);
	CHECK_STR(s->info->until_session, "");
	CHECK_COVE(cove_sandbox_detach(s, &options, &err), &err);
	CHECK_STR(s->info->until_session, "s1");
	CHECK_COVE(cove_sandbox_detach(s, &options, &err), &err);
	CHECK_STR(s->info->until_session, "");
	CHECK_INT(cove_sandbox_detach(s, &options, &err), ==, COVE_E_LOST);
	options.until_session = "";
	CHECK_INT(cove_sandbox_detach(s, &options, &err), ==, COVE_E_INVALID);
	options.struct_size = 1;
	CHECK_INT(cove_sandbox_detach(s, &options, &err), ==, COVE_E_INVALID);
	fake_end(&f, s);
}

static const struct tap_test tests[] = {
	{ "what STARTED says", test_started },
	{ "lists", test_list },
	{ "lists that cannot be", test_bad_lists },
	{ "lists without an end", test_endless },
	{ "lists without memory", test_no_memory },
	{ "waiting", test_wait },
	{ "collecting", test_collect },
	{ "letting go of the sandbox", test_detach },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
