/* SPDX-License-Identifier: Apache-2.0 */

/* Commands against a guest that does exactly what the test says. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "fake.h"
#include "harness/failing-alloc.h"
#include "harness/tap.h"
#include "lib/process-internal.h"
#include "lib/sandbox.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define BULK (10u << 20)
#else
#define BULK (100u << 20)
#endif

static const char *const true_argv[] = { "true", NULL };

#define EXEC(...) (&(struct cove_exec_options){ COVE_EXEC_OPTIONS_DEFAULTS, __VA_ARGS__ })

static cove_output *run(cove_sandbox *s, const struct cove_exec_options *options)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_output *out = NULL;
	CHECK_COVE(cove_exec(s, true_argv, options, &out, &err), &err);
	return out;
}

static void run_fails(cove_sandbox *s, const struct cove_exec_options *options, int code,
		      const char *text)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_output *out = NULL;
	CHECK_INT(cove_exec(s, true_argv, options, &out, &err), ==, code);
	CHECK_INT(err.code, ==, code);
	CHECK_CONTAINS(err.message, text);
	CHECK(!out);
}

static uint32_t started(struct fake *f)
{
	uint32_t stream;
	wire_message_free(&fake_expect_exec(f, &stream)->base);
	fake_started(f, stream);
	return stream;
}

static void until_gone(struct fake *f)
{
	fake_until_closed(f, 0);
}

/* ---- one command ---- */

static void check_bytes(const ProtobufCBinaryData *bytes, const char *text)
{
	CHECK_MEM(bytes->data, bytes->len, text, strlen(text));
}

static void script_hello(struct fake *f)
{
	uint32_t stream;
	Cove__Wire__Exec *m = fake_expect_exec(f, &stream);
	CHECK_INT(m->n_argv, ==, 2);
	check_bytes(&m->argv[0], "echo");
	check_bytes(&m->argv[1], "");
	CHECK_INT(m->n_env, ==, 2);
	check_bytes(&m->env[0], "A=1=2");
	check_bytes(&m->env[1], "B");
	check_bytes(&m->cwd, "/app");
	check_bytes(&m->user, "me:users");
	CHECK_INT(m->n_rlimits, ==, 1);
	CHECK_INT(m->rlimits[0]->resource, ==, 7);
	CHECK_INT(m->rlimits[0]->soft, ==, 10);
	CHECK(m->rlimits[0]->hard == UINT64_MAX);
	CHECK_INT(m->timeout_ms, ==, 30000);
	CHECK_INT(m->timeout_signal, ==, 15);
	CHECK_INT(m->timeout_grace_ms, ==, 10000);
	CHECK_INT(m->linger_ms, ==, 70);
	CHECK(m->wait_eof && m->kill_tree_on_exit && !m->shell && !m->tty && !m->has_id);
	CHECK_INT(m->stdin, ==, COVE__WIRE__EXEC__STDIN__NONE);
	CHECK_INT(m->output_kill_bytes, ==, COVE_OUTPUT_LIMIT_DEFAULT);
	wire_message_free(&m->base);

	fake_started(f, stream);
	fake_data(f, stream, WIRE_STDOUT, 0, "hi\n", 3);
	fake_data(f, stream, WIRE_STDERR, 0, "oh\0!", 4);
	fake_drain(f);
	Cove__Wire__Exited e = COVE__WIRE__EXITED__INIT;
	Cove__Wire__Usage usage = COVE__WIRE__USAGE__INIT;
	e.cause = COVE_CAUSE_SIGNALED;
	e.code = 139;
	e.signal = 11;
	e.core_dumped = true;
	e.stdout_total = 3;
	e.stderr_total = 4;
	e.started_ns = 1000;
	e.ended_ns = 3000;
	e.elapsed_ns = 2001;
	e.usage = &usage;
	usage.user_us = 5;
	usage.system_us = 6;
	usage.max_rss_bytes = 7;
	e.has_signal = e.has_core_dumped = e.has_stdout_total = e.has_stderr_total = true;
	e.has_started_ns = e.has_ended_ns = e.has_elapsed_ns = true;
	usage.has_user_us = usage.has_system_us = usage.has_max_rss_bytes = true;
	fake_send(f, stream, WIRE_EXITED, &e.base);
	fake_until_closed(f, stream);

	m = fake_expect_exec(f, &stream);
	CHECK(m->shell);
	CHECK_INT(m->n_argv, ==, 1);
	check_bytes(&m->argv[0], "echo | cat");
	CHECK(!m->has_cwd && !m->has_user && !m->has_timeout_ms && !m->has_linger_ms);
	wire_message_free(&m->base);
	fake_started(f, stream);
	fake_exited(f, stream, 0, 0);
	until_gone(f);
}

static void test_hello(void)
{
	struct fake f;
	struct cove_error err;
	cove_output *out;
	cove_sandbox *s = fake_start(&f, script_hello, NULL);
	struct cove_rlimit limit = { COVE_RLIMIT_NOFILE, 10, COVE_RLIMIT_UNLIMITED };

	CHECK_STR(cove_sandbox_name(s), "fake");
	CHECK_COVE(cove_exec(s, (const char *const[]){ "echo", "", NULL },
			     EXEC(.env = (const char *const[]){ "A=1=2", "B", NULL }, .cwd = "/app",
				  .user = "me:users", .rlimits = &limit, .n_rlimits = 1,
				  .timeout_ms = 30000, .timeout_signal = 15, .linger_ms = 70,
				  .wait_eof = true, .kill_tree_on_exit = true),
			     &out, &err),
		   &err);
	CHECK_INT(out->pid, ==, 42);
	CHECK_STR(out->id, "s1");
	CHECK_MEM(out->stdout_data, out->stdout_bytes + 1, "hi\n", 4);
	CHECK_MEM(out->stderr_data, out->stderr_bytes + 1, "oh\0!", 5);
	CHECK_INT(out->stdout_total, ==, 3);
	CHECK_INT(out->stderr_total, ==, 4);
	CHECK_INT(out->exit.cause, ==, COVE_CAUSE_SIGNALED);
	CHECK_INT(out->exit.code, ==, 139);
	CHECK_INT(out->exit.signal, ==, 11);
	CHECK(out->exit.core_dumped && !out->limited && !out->stdin_errno);
	CHECK_INT(out->exit.started_ns, ==, 1000);
	CHECK_INT(out->exit.ended_ns, ==, 3000);
	CHECK_INT(out->exit.elapsed_ns, ==, 2001);
	CHECK_INT(out->exit.user_us, ==, 5);
	CHECK_INT(out->exit.system_us, ==, 6);
	CHECK_INT(out->exit.max_rss_bytes, ==, 7);

	const char *text = NULL;
	CHECK_COVE(cove_output_text(out, &text, &err), &err);
	CHECK_STR(text, "hi\n");
	CHECK_INT(cove_output_stderr_text(out, &text, &err), ==, COVE_E_ENCODING);
	CHECK_CONTAINS(err.message, "stderr is not text: byte 0x00 at offset 2");
	CHECK_STR(text, "hi\n");
	CHECK(!cove_output_free(out));

	CHECK_COVE(cove_shell(s, "echo | cat", NULL, &out, &err), &err);
	CHECK(cove_exit_success(&out->exit));
	CHECK_MEM(out->stdout_data, out->stdout_bytes + 1, "", 1);
	CHECK_MEM(out->stderr_data, out->stderr_bytes + 1, "", 1);
	cove_output_free(out);

	/* Nothing of these is sent. */
	CHECK_INT(cove_exec(s, NULL, NULL, &out, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_exec(s, (const char *const[]){ NULL }, NULL, &out, &err), ==,
		  COVE_E_INVALID);
	CHECK_INT(cove_shell(s, NULL, NULL, &out, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_exec(s, true_argv, EXEC(.cwd = "x"), &out, NULL), ==, COVE_E_INVALID);
	fake_end(&f, s);
}

/* ---- ends and totals ---- */

static void script_overtaking(struct fake *f)
{
	uint32_t stream = started(f);
	fake_exited(f, stream, 5, 3);
	fake_data(f, stream, WIRE_STDERR, 0, "abc", 3);
	fake_data(f, stream, WIRE_STDOUT, 0, "he", 2);
	fake_data(f, stream, WIRE_STDOUT, 2, "llo, background", 15);
	fake_data(f, stream, WIRE_STDOUT, 17, "more", 4);
	fake_data(f, stream, WIRE_STDERR, 3, "more", 4);
	fake_until_closed(f, stream);
	until_gone(f);
}

static void test_overtaking(void)
{
	struct fake f;
	cove_sandbox *s = fake_start(&f, script_overtaking, NULL);
	cove_output *out = run(s, NULL);
	CHECK_MEM(out->stdout_data, out->stdout_bytes, "hello", 5);
	CHECK_MEM(out->stderr_data, out->stderr_bytes, "abc", 3);
	CHECK(!out->limited);
	cove_output_free(out);
	fake_end(&f, s);
}

/* Each breaks a rule in its own way. */
enum violation {
	JUMP,
	JUMP_AT_FIRST,
	TOO_FEW,
	UNKNOWN_CAUSE,
	EXIT_FIRST,
	DATA_FIRST,
	STARTED_TWICE,
	EXITED_TWICE,
	BAD_ID,
	GARBAGE,
	N_VIOLATIONS,
};

static void violate(struct fake *f, uint32_t stream, enum violation violation)
{
	Cove__Wire__Started bad = COVE__WIRE__STARTED__INIT;
	Cove__Wire__Exited unknown = COVE__WIRE__EXITED__INIT;

	if (violation == DATA_FIRST)
		fake_data(f, stream, WIRE_STDOUT, 0, "abc", 3);
	else if (violation == EXIT_FIRST)
		fake_exited(f, stream, 0, 0);
	else if (violation != BAD_ID && violation != GARBAGE)
		fake_started(f, stream);

	switch (violation) {
	case JUMP:
		fake_data(f, stream, WIRE_STDOUT, 0, "abc", 3);
		fake_data(f, stream, WIRE_STDOUT, 4, "abc", 3);
		break;
	case JUMP_AT_FIRST:
		fake_data(f, stream, WIRE_STDERR, 1, "abc", 3);
		break;
	case TOO_FEW:
		fake_data(f, stream, WIRE_STDOUT, 0, "abc", 3);
		fake_drain(f);
		fake_exited(f, stream, 2, 0);
		break;
	case UNKNOWN_CAUSE:
		unknown.cause = 99;
		fake_send(f, stream, WIRE_EXITED, &unknown.base);
		break;
	case STARTED_TWICE:
		fake_started(f, stream);
		break;
	case EXITED_TWICE:
		fake_exited(f, stream, 1, 0);
		fake_exited(f, stream, 1, 0);
		break;
	case BAD_ID:
		bad.id = wire_string("../x");
		fake_send(f, stream, WIRE_STARTED, &bad.base);
		break;
	case GARBAGE:
		CHECK_OK(wire_link_send(f->link, stream, WIRE_STARTED, "\xff\xff", 2));
		break;
	default:
		break;
	}
}

static void script_violations(struct fake *f)
{
	for (unsigned i = 0; i < N_VIOLATIONS; i++) {
		uint32_t stream;
		wire_message_free(&fake_expect_exec(f, &stream)->base);
		violate(f, stream, i);
		fake_until_closed(f, stream);
	}
	uint32_t stream = started(f);
	fake_exited(f, stream, 0, 0);
	until_gone(f);
}

/* Each is a loud error of that command, and of no other. */
static void test_violations(void)
{
	struct fake f;
	cove_sandbox *s = fake_start(&f, script_violations, NULL);
	for (unsigned i = 0; i < N_VIOLATIONS; i++)
		run_fails(s, NULL, COVE_E_PROTOCOL, "");
	cove_output_free(run(s, NULL));
	fake_end(&f, s);
}

static void script_failures(struct fake *f)
{
	uint32_t stream;
	wire_message_free(&fake_expect_exec(f, &stream)->base);
	fake_failed(f, stream, WIRE_FAILED, COVE_E_START, "nope: No such file or directory");
	wire_message_free(&fake_expect_exec(f, &stream)->base);
	fake_failed(f, stream, WIRE_REFUSED, COVE_E_LIMIT, "too many");
	stream = started(f);
	fake_failed(f, stream, WIRE_FAILED, COVE_E_LOST, "the guest is gone");
	/* With everything there it does not matter any more. */
	stream = started(f);
	fake_exited(f, stream, 0, 0);
	fake_failed(f, stream, WIRE_FAILED, COVE_E_LOST, "the guest is gone");
	until_gone(f);
}

static void test_failures(void)
{
	struct fake f;
	struct cove_error err = COVE_ERROR_INIT;
	cove_output *out = NULL;
	cove_sandbox *s = fake_start(&f, script_failures, NULL);
	CHECK_INT(cove_exec(s, true_argv, NULL, &out, &err), ==, COVE_E_START);
	CHECK_INT(err.stage, ==, COVE_STAGE_EXEC);
	CHECK_INT(err.os_errno, ==, ENOENT);
	CHECK_INT(err.origin, ==, COVE_ORIGIN_GUEST);
	CHECK_STR(err.message, "nope: No such file or directory");
	CHECK(!out);
	run_fails(s, NULL, COVE_E_LIMIT, "too many");
	run_fails(s, NULL, COVE_E_LOST, "the guest is gone");
	cove_output_free(run(s, NULL));
	fake_end(&f, s);
}

/* ---- the end of the sandbox ---- */

static void script_dies(struct fake *f)
{
	uint32_t stream = started(f);
	fake_data(f, stream, WIRE_STDOUT, 0, "partial", 7);
	fake_drain(f);
}

static void script_dies_before_the_last_byte(struct fake *f)
{
	uint32_t stream = started(f);
	fake_data(f, stream, WIRE_STDOUT, 0, "partial", 7);
	fake_exited(f, stream, 8, 0);
	fake_drain(f);
}

static void script_dies_with_last_words(struct fake *f)
{
	started(f);
	fake_goodbye(f, COVE_END_VMM_DIED, "the virtual machine monitor died (signal 9)");
}

static void script_dies_at_once(struct fake *f)
{
	(void)f;
}

/* All bytes, the exit and the end of the link are there before anybody looks. */
static void script_dies_after_all(struct fake *f)
{
	uint32_t stream = started(f);
	fake_data(f, stream, WIRE_STDOUT, 0, "complete", 8);
	fake_drain(f);
	fake_exited(f, stream, 8, 0);
	fake_goodbye(f, COVE_END_STOPPED, "stopped");
}

static void test_lost(void)
{
	static const struct {
		void (*script)(struct fake *f);
		const char *text;
	} cases[] = {
		{ script_dies, "the sandbox fake is gone: its supervisor ended" },
		{ script_dies_before_the_last_byte, "its supervisor ended" },
		{ script_dies_at_once, "its supervisor ended" },
		{ script_dies_with_last_words,
		  "the sandbox fake is gone: the virtual machine monitor died (signal 9)" },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fake f;
		cove_sandbox *s = fake_start(&f, cases[i].script, NULL);
		run_fails(s, NULL, COVE_E_LOST, cases[i].text);
		run_fails(s, NULL, COVE_E_LOST, cases[i].text); /* and so is everything after */
		fake_end(&f, s);
	}

	struct fake f;
	cove_sandbox *s = fake_start(&f, script_dies_after_all, NULL);
	cove_output *out = run(s, NULL);
	CHECK_STR(out->stdout_data, "complete");
	cove_output_free(out);
	run_fails(s, NULL, COVE_E_LOST, "stopped");
	fake_end(&f, s);
}

static void script_breaks_the_link(struct fake *f)
{
	uint32_t stream = started(f);
	struct wire_event event;
	fake_data(f, stream, WIRE_STDOUT, 0, "x", 1);
	fake_drain(f);
	CHECK_SYS(send(f->fd, "garbage on the line", 19, MSG_NOSIGNAL));
	while (fake_next(f, &event))
		continue;
}

static void test_broken_link(void)
{
	struct fake f;
	cove_sandbox *s = fake_start(&f, script_breaks_the_link, NULL);
	run_fails(s, NULL, COVE_E_PROTOCOL, "the link to the sandbox fake is broken");
	run_fails(s, NULL, COVE_E_PROTOCOL, "the link to the sandbox fake is broken");
	fake_end(&f, s);
}

/* ---- standard input ---- */

static void pattern(uint8_t *p, uint64_t offset, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)((offset + i) * 7 + ((offset + i) >> 8));
}

static void script_cat(struct fake *f)
{
	struct wire_event event;
	while (fake_next(f, &event)) {
		if (event.kind != WIRE_EVENT_MESSAGE)
			continue;
		CHECK_INT(event.type, ==, WIRE_EXEC);
		fake_started(f, event.stream);
		fake_cat(f, event.stream);
	}
}

/* One thread, both directions at once, much more than fits into all windows. */
static void test_cat(void)
{
	static const size_t sizes[] = { 0, 1, 65535, 65536, 65537, 262144, 262145, BULK };
	struct fake f;
	cove_sandbox *s = fake_start(&f, script_cat, NULL);
	_cleanup_free_ uint8_t *bytes = malloc(BULK);
	pattern(bytes, 0, BULK);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		cove_output *out =
			run(s, EXEC(.stdin_mode = COVE_STDIN_BYTES, .stdin_data = bytes,
				    .stdin_bytes = sizes[i], .output_limit_bytes = UINT64_MAX));
		CHECK_INT(out->stdout_bytes, ==, sizes[i]);
		CHECK(memcmp(out->stdout_data, bytes, sizes[i]) == 0);
		CHECK_INT(out->stdout_data[sizes[i]], ==, 0);
		cove_output_free(out);
	}
	fake_end(&f, s);
}

static void script_does_not_read(struct fake *f)
{
	/* Says that it reads no more. */
	uint32_t stream = started(f);
	Cove__Wire__StdinError e = COVE__WIRE__STDIN_ERROR__INIT;
	e.os_errno = EPIPE;
	fake_send(f, stream, WIRE_STDIN_ERROR, &e.base);
	fake_data(f, stream, WIRE_STDOUT, 0, "still here", 10);
	fake_drain(f);
	fake_exited(f, stream, 10, 0);
	fake_until_closed(f, stream);
	/* Does not say so, just ends. */
	stream = started(f);
	fake_exited(f, stream, 0, 0);
	until_gone(f);
}

static void test_stdin_not_read(void)
{
	struct fake f;
	cove_sandbox *s = fake_start(&f, script_does_not_read, NULL);
	_cleanup_free_ uint8_t *bytes = calloc(1, BULK);
	const struct cove_exec_options *options =
		EXEC(.stdin_mode = COVE_STDIN_BYTES, .stdin_data = bytes, .stdin_bytes = BULK);
	cove_output *out = run(s, options);
	CHECK_INT(out->stdin_errno, ==, EPIPE);
	CHECK_STR(out->stdout_data, "still here");
	CHECK(cove_exit_success(&out->exit));
	cove_output_free(out);
	out = run(s, options);
	CHECK_INT(out->stdin_errno, ==, 0);
	cove_output_free(out);
	fake_end(&f, s);
}

/* The second start of a session that has read 3 bytes and written 10, the first 4 of them lost. */
static void script_resumed(struct fake *f)
{
	uint32_t stream;
	Cove__Wire__Exec *m = fake_expect_exec(f, &stream);
	check_bytes(&m->id, "mine");
	wire_message_free(&m->base);
	Cove__Wire__Started e = COVE__WIRE__STARTED__INIT;
	e.id = wire_string("mine");
	e.pid = 7;
	e.has_already_running = e.already_running = true;
	e.has_stdin_offset = true;
	e.stdin_offset = 3;
	e.has_stdout_offset = true;
	e.stdout_offset = 4;
	e.has_stdout_end = true;
	e.stdout_end = 4;
	fake_send(f, stream, WIRE_STARTED, &e.base);
	fake_data(f, stream, WIRE_STDOUT, 4, "456789", 6);

	struct wire_event event;
	CHECK(fake_next(f, &event));
	CHECK_INT(event.kind, ==, WIRE_EVENT_EOF);
	CHECK_INT(event.offset, ==, 8);
	CHECK(fake_next(f, &event));
	CHECK_INT(event.kind, ==, WIRE_EVENT_DATA);
	CHECK_INT(event.offset, ==, 3);
	CHECK_MEM(event.data, event.size, "DEFGH", 5);
	fake_exited(f, stream, 10, 0);
	until_gone(f);
}

static void test_resumed(void)
{
	struct fake f;
	cove_sandbox *s = fake_start(&f, script_resumed, NULL);
	cove_output *out = run(s, EXEC(.id = "mine", .stdin_mode = COVE_STDIN_BYTES,
				       .stdin_data = "ABCDEFGH", .stdin_bytes = 8));
	CHECK_STR(out->id, "mine");
	CHECK_STR(out->stdout_data, "456789");
	CHECK_INT(out->stdout_total, ==, 10);
	CHECK(out->limited);
	cove_output_free(out);
	fake_end(&f, s);
}

/* ---- limits ---- */

static void send_bulk(struct fake *f, uint32_t stream, size_t n)
{
	static uint8_t bytes[65536];
	for (size_t i = 0; i < n; i += sizeof(bytes)) {
		pattern(bytes, i, sizeof(bytes));
		fake_data(f, stream, WIRE_STDOUT, i, bytes, sizeof(bytes));
		fake_data(f, stream, WIRE_STDERR, i, bytes, sizeof(bytes));
		fake_drain(f);
	}
}

static void script_bulk(struct fake *f)
{
	uint64_t *expected_kill = f->data;
	for (;;) {
		struct wire_event event;
		do
			if (!fake_next(f, &event))
				return;
		while (event.kind != WIRE_EVENT_MESSAGE);
		Cove__Wire__Exec *m = (Cove__Wire__Exec *)wire_message_unpack(
			&cove__wire__exec__descriptor, event.data, event.size);
		CHECK(m);
		CHECK_INT(m->has_output_kill_bytes, ==, *expected_kill > 0);
		CHECK_INT(m->output_kill_bytes, ==, *expected_kill);
		wire_message_free(&m->base);
		fake_started(f, event.stream);
		uint32_t stream = event.stream;
		send_bulk(f, stream, BULK);
		if (*expected_kill) {
			Cove__Wire__Exited e = COVE__WIRE__EXITED__INIT;
			e.cause = COVE_CAUSE_OUTPUT_LIMIT;
			e.code = 137;
			e.has_stdout_total = e.has_stderr_total = true;
			e.stdout_total = e.stderr_total = BULK;
			fake_send(f, stream, WIRE_EXITED, &e.base);
		} else {
			fake_exited(f, stream, BULK, BULK);
		}
	}
}

static void check_pattern(const char *data, size_t n, uint64_t offset)
{
	_cleanup_free_ uint8_t *expected = malloc(n + 1);
	pattern(expected, offset, n);
	CHECK(memcmp(data, expected, n) == 0);
}

static void test_limits(void)
{
	struct fake f;
	uint64_t kill = 0;
	const size_t limit = 1000003;
	cove_sandbox *s = fake_start(&f, script_bulk, &kill);

	cove_output *out = run(s, EXEC(.output_limit_bytes = UINT64_MAX));
	CHECK_INT(out->stdout_bytes, ==, BULK);
	CHECK_INT(out->stderr_bytes, ==, BULK);
	CHECK(!out->limited);
	check_pattern(out->stdout_data, BULK, 0);
	check_pattern(out->stderr_data, BULK, 0);
	cove_output_free(out);

	out = run(s, EXEC(.output_limit_bytes = limit, .output_policy = COVE_OUTPUT_HEAD));
	CHECK_INT(out->stdout_bytes, ==, limit);
	CHECK_INT(out->stderr_bytes, ==, limit);
	CHECK_INT(out->stdout_total, ==, BULK);
	CHECK(out->limited && cove_exit_success(&out->exit));
	check_pattern(out->stdout_data, limit, 0);
	cove_output_free(out);

	out = run(s, EXEC(.output_limit_bytes = limit, .output_policy = COVE_OUTPUT_TAIL));
	CHECK_INT(out->stdout_bytes, ==, limit);
	CHECK_INT(out->stderr_total, ==, BULK);
	CHECK(out->limited);
	check_pattern(out->stdout_data, limit, BULK - limit);
	check_pattern(out->stderr_data, limit, BULK - limit);
	cove_output_free(out);

	/* A guest that does not kill does not fill our memory either. */
	kill = limit;
	out = run(s, EXEC(.output_limit_bytes = limit, .output_policy = COVE_OUTPUT_KILL));
	CHECK_INT(out->stdout_bytes + out->stderr_bytes, ==, limit);
	CHECK_INT(out->exit.cause, ==, COVE_CAUSE_OUTPUT_LIMIT);
	CHECK(out->limited);
	cove_output_free(out);

	kill = COVE_OUTPUT_LIMIT_DEFAULT;
	out = run(s, NULL);
	CHECK_INT(out->stdout_bytes + out->stderr_bytes, <=, COVE_OUTPUT_LIMIT_DEFAULT);
	cove_output_free(out);
	fake_end(&f, s);
}

static void script_timeout(struct fake *f)
{
	uint32_t stream = started(f);
	fake_data(f, stream, WIRE_STDOUT, 0, "so far", 6);
	fake_drain(f);
	Cove__Wire__Exited e = COVE__WIRE__EXITED__INIT;
	e.cause = COVE_CAUSE_TIMED_OUT;
	e.code = 137;
	e.signal = 9;
	e.has_signal = e.has_stdout_total = true;
	e.stdout_total = 6;
	fake_send(f, stream, WIRE_EXITED, &e.base);
	until_gone(f);
}

static void test_timeout(void)
{
	struct fake f;
	struct cove_error err = COVE_ERROR_INIT;
	cove_output *out = NULL;
	cove_sandbox *s = fake_start(&f, script_timeout, NULL);
	CHECK_INT(cove_exec(s, true_argv, EXEC(.timeout_ms = 250), &out, &err), ==, COVE_E_TIMEOUT);
	CHECK_CONTAINS(err.message, "250 ms");
	CHECK(out);
	CHECK_STR(out->stdout_data, "so far");
	CHECK_INT(out->exit.cause, ==, COVE_CAUSE_TIMED_OUT);
	cove_output_free(out);
	fake_end(&f, s);
}

/* ---- many at once ---- */

#define THREADS 8
#define ROUNDS	150

/* Answers when all threads wait, the last one first: readers and sleepers change all the time. */
static void script_echo_all(struct fake *f)
{
	struct {
		uint32_t stream;
		char text[32];
	} waiting[THREADS];
	unsigned n = 0;
	struct wire_event event;
	while (fake_next(f, &event)) {
		if (event.kind != WIRE_EVENT_MESSAGE)
			continue;
		Cove__Wire__Exec *m = (Cove__Wire__Exec *)wire_message_unpack(
			&cove__wire__exec__descriptor, event.data, event.size);
		CHECK(m && m->n_argv == 2);
		waiting[n].stream = event.stream;
		snprintf(waiting[n].text, sizeof(waiting[n].text), "%.*s", (int)m->argv[1].len,
			 m->argv[1].data);
		wire_message_free(&m->base);
		if (++n < THREADS)
			continue;
		while (n > 0) {
			n--;
			fake_started(f, waiting[n].stream);
			fake_exited(f, waiting[n].stream, strlen(waiting[n].text), 0);
			fake_data(f, waiting[n].stream, WIRE_STDOUT, 0, waiting[n].text,
				  strlen(waiting[n].text));
		}
	}
}

struct worker {
	pthread_t thread;
	cove_sandbox *sandbox;
	unsigned number;
};

static void *work(void *data)
{
	struct worker *w = data;
	for (unsigned i = 0; i < ROUNDS; i++) {
		char text[32];
		struct cove_error err = COVE_ERROR_INIT;
		cove_output *out;
		snprintf(text, sizeof(text), "%u.%u", w->number, i);
		CHECK_COVE(cove_exec(w->sandbox, (const char *const[]){ "echo", text, NULL }, NULL,
				     &out, &err),
			   &err);
		CHECK_STR(out->stdout_data, text);
		cove_output_free(out);
	}
	return NULL;
}

static void test_threads(void)
{
	struct fake f;
	struct worker workers[THREADS];
	cove_sandbox *s = fake_start(&f, script_echo_all, NULL);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .sandbox = s, .number = i };
		CHECK_INT(pthread_create(&workers[i].thread, NULL, work, &workers[i]), ==, 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	fake_end(&f, s);
}

/* Different ends at different times, with bulk in both directions on one of them. */
static void *work_cat(void *data)
{
	cove_sandbox *s = data;
	_cleanup_free_ uint8_t *bytes = malloc(BULK / 10);
	pattern(bytes, 0, BULK / 10);
	struct cove_error err = COVE_ERROR_INIT;
	cove_output *out;
	CHECK_COVE(cove_exec(s, true_argv,
			     EXEC(.stdin_mode = COVE_STDIN_BYTES, .stdin_data = bytes,
				  .stdin_bytes = BULK / 10, .output_limit_bytes = UINT64_MAX),
			     &out, &err),
		   &err);
	CHECK_INT(out->stdout_bytes, ==, BULK / 10);
	CHECK(memcmp(out->stdout_data, bytes, BULK / 10) == 0);
	cove_output_free(out);
	return NULL;
}

/* Many cats at once, whose data comes in pieces, in turn. */
static void script_cats(struct fake *f)
{
	struct {
		uint64_t received, total;
	} cats[64] = { { 0, 0 } };
	struct wire_event event;
	while (fake_next(f, &event)) {
		uint32_t stream = event.stream;
		CHECK_INT(stream, <, ARRAY_SIZE(cats));
		if (event.kind == WIRE_EVENT_MESSAGE) {
			cats[stream].total = UINT64_MAX;
			fake_started(f, stream);
		} else if (event.kind == WIRE_EVENT_EOF) {
			cats[stream].total = event.offset;
		} else if (event.kind == WIRE_EVENT_DATA) {
			fake_data(f, stream, WIRE_STDOUT, event.offset, event.data, event.size);
			cats[stream].received += event.size;
			CHECK_OK(wire_link_consumed(f->link, stream, WIRE_STDIN, event.size));
		}
		if (event.kind == WIRE_EVENT_DATA && cats[stream].received == cats[stream].total)
			fake_exited(f, stream, cats[stream].total, 0);
	}
}

static void test_threads_bulk(void)
{
	struct fake f;
	pthread_t threads[4];
	cove_sandbox *s = fake_start(&f, script_cats, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
		CHECK_INT(pthread_create(&threads[i], NULL, work_cat, s), ==, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	fake_end(&f, s);
}

/* All of them learn of the end, at once, wherever they wait. */
static void script_dies_when_all_wait(struct fake *f)
{
	for (unsigned i = 0; i < THREADS; i++)
		started(f);
}

static void *work_lost(void *data)
{
	run_fails(data, NULL, COVE_E_LOST, "its supervisor ended");
	return NULL;
}

static void test_threads_lost(void)
{
	struct fake f;
	pthread_t threads[THREADS];
	cove_sandbox *s = fake_start(&f, script_dies_when_all_wait, NULL);
	for (unsigned i = 0; i < THREADS; i++)
		CHECK_INT(pthread_create(&threads[i], NULL, work_lost, s), ==, 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	fake_end(&f, s);
}

/* More than the queue of requests may hold: those who come late wait, nobody is refused. */
#define LARGE	      (1u << 20)
#define LARGE_THREADS 24
static atomic_int n_large;

static void script_large(struct fake *f)
{
	int fd = *(int *)f->data;
	char c;
	for (unsigned i = 0; i < LARGE_THREADS; i++)
		CHECK_INT(read(fd, &c, 1), ==, 1);
	for (unsigned i = 0; i < LARGE_THREADS; i++) {
		uint32_t stream;
		Cove__Wire__Exec *m = fake_expect_exec(f, &stream);
		CHECK_INT(m->n_env, ==, 1);
		CHECK_INT(m->env[0].len, ==, LARGE + 2);
		wire_message_free(&m->base);
		fake_started(f, stream);
		fake_exited(f, stream, 0, 0);
	}
	until_gone(f);
}

struct large_worker {
	cove_sandbox *sandbox;
	int fd;
	char *value;
};

static void *work_large(void *data)
{
	struct large_worker *w = data;
	CHECK_INT(write(w->fd, "x", 1), ==, 1);
	cove_output_free(run(w->sandbox, EXEC(.env = (const char *const[]){ w->value, NULL })));
	atomic_fetch_add(&n_large, 1);
	return NULL;
}

static void test_large_requests(void)
{
	struct fake f;
	int fds[2];
	pthread_t threads[LARGE_THREADS];
	CHECK_SYS(pipe2(fds, O_CLOEXEC));
	cove_sandbox *s = fake_start(&f, script_large, &fds[0]);
	_cleanup_free_ char *value = malloc(4 * LARGE);
	memset(value, 'v', 4 * LARGE);
	value[1] = '=';
	value[LARGE + 2] = 0;

	struct large_worker w = { s, fds[1], value };
	for (unsigned i = 0; i < LARGE_THREADS; i++)
		CHECK_INT(pthread_create(&threads[i], NULL, work_large, &w), ==, 0);
	for (unsigned i = 0; i < LARGE_THREADS; i++)
		pthread_join(threads[i], NULL);
	CHECK_INT(atomic_load(&n_large), ==, LARGE_THREADS);

	/* What execve() would not take is not even sent. */
	struct cove_error err = COVE_ERROR_INIT;
	cove_output *out;
	value[LARGE + 2] = 'v';
	value[4 * LARGE - 1] = 0;
	CHECK_INT(cove_exec(s, (const char *const[]){ "x", value, NULL }, NULL, &out, &err), ==,
		  COVE_E_START);
	CHECK_INT(err.stage, ==, COVE_STAGE_REQUEST);
	CHECK_INT(err.os_errno, ==, E2BIG);
	fake_end(&f, s);
	close(fds[0]);
	close(fds[1]);
}

/* ---- the process itself ---- */

static cove_process *start(cove_sandbox *s, const struct cove_exec_options *options)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_process *p;
	CHECK_COVE(cove_exec_stream(s, true_argv, options, &p, &err), &err);
	return p;
}

#define PIPE EXEC(.stdin_mode = COVE_STDIN_PIPE)

static const struct cove_event *receive(cove_process *p, enum cove_event_kind kind)
{
	const struct cove_event *event = NULL;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_process_recv(p, &event, -1, &err), &err);
	CHECK(event);
	CHECK_STR(cove_event_name(event->kind), cove_event_name(kind));
	return event;
}

static void receive_nothing_more(cove_process *p)
{
	const struct cove_event *event;
	CHECK_INT(cove_process_recv(p, &event, -1, NULL), ==, 0);
	CHECK_INT(cove_process_recv(p, &event, 0, NULL), ==, 0);
	CHECK_INT(cove_process_try_recv(p, &event, NULL), ==, 0);
}

static void script_events(struct fake *f)
{
	uint32_t stream = started(f);
	fake_data(f, stream, WIRE_STDOUT, 0, "ab", 2);
	fake_drain(f);
	fake_data(f, stream, WIRE_STDERR, 0, "cd", 2);
	fake_drain(f);
	fake_data(f, stream, WIRE_STDOUT, 2, "ef", 2);
	fake_data(f, stream, WIRE_STDOUT, 4, "gh", 2);
	fake_drain(f);
	fake_exited(f, stream, 6, 2);
	fake_until_closed(f, stream);
	until_gone(f);
}

static void test_events(void)
{
	struct fake f;
	cove_sandbox *s = fake_start(&f, script_events, NULL);
	cove_process *p = start(s, NULL);
	const struct cove_event *event = receive(p, COVE_EVENT_STARTED);
	CHECK_INT(event->pid, ==, 42);
	CHECK_STR(event->id, "s1");
	size_t n = 0;
	char text[16];
	do {
		CHECK_INT(cove_process_recv(p, &event, -1, NULL), ==, 1);
		if (event->kind == COVE_EVENT_EXITED)
			break;
		CHECK_INT(event->kind, ==,
			  strchr("cd", *(const char *)event->data) ? COVE_EVENT_STDERR
								   : COVE_EVENT_STDOUT);
		memcpy(text + n, event->data, event->bytes);
		n += event->bytes;
	} while (true);
	CHECK_MEM(text, n, "abcdefgh", 8);
	CHECK_INT(event->stdout_total, ==, 6);
	receive_nothing_more(p);
	CHECK_INT(cove_process_kill(p, NULL), ==, COVE_E_STATE);
	CHECK_INT(cove_process_signal(p, SIGTERM, NULL), ==, COVE_E_STATE);
	CHECK(!cove_process_free(p));
	fake_end(&f, s);
}

/* Back and forth far more often than the order is remembered, before anything is received. */
#define CHANGES 3000

static void script_zigzag(struct fake *f)
{
	uint32_t stream = started(f);
	for (unsigned i = 0; i < CHANGES; i++) {
		fake_data(f, stream, WIRE_STDOUT + i % 2, i / 2, &(uint8_t){ (uint8_t)(i / 2) }, 1);
		fake_drain(f);
	}
	fake_exited(f, stream, CHANGES / 2, CHANGES / 2);
	until_gone(f);
}

static void test_zigzag(void)
{
	struct fake f;
	cove_sandbox *s = fake_start(&f, script_zigzag, NULL);
	cove_process *p = start(s, NULL);
	const struct cove_event *event = receive(p, COVE_EVENT_STARTED);
	/* Everything is read from the socket before the first byte is taken out. */
	connection_lock(s->connection);
	struct process *process = (struct process *)p;
	while (!process_complete(process))
		connection_wait(s->connection, &process->stream, STREAM_ALL, DEADLINE_NEVER);
	connection_unlock(s->connection);

	size_t n[2] = { 0, 0 };
	while (cove_process_recv(p, &event, -1, NULL) == 1 && event->kind != COVE_EVENT_EXITED) {
		unsigned i = event->kind == COVE_EVENT_STDOUT ? 0 : 1;
		for (size_t k = 0; k < event->bytes; k++)
			CHECK_INT(((const uint8_t *)event->data)[k], ==, (uint8_t)(n[i] + k));
		n[i] += event->bytes;
	}
	CHECK_INT(event->kind, ==, COVE_EVENT_EXITED);
	CHECK_INT(n[0], ==, CHANGES / 2);
	CHECK_INT(n[1], ==, CHANGES / 2);
	cove_process_free(p);
	fake_end(&f, s);
}

static void script_waits_for_kill(struct fake *f)
{
	uint32_t stream = started(f);
	struct wire_event event;

	CHECK_INT(fake_expect(f, WIRE_SIGNAL), ==, stream);
	fake_ack(f, stream, 1, 0);
	CHECK_INT(fake_expect(f, WIRE_SIGNAL), ==, stream);
	fake_ack(f, stream, 2, COVE_E_STATE);
	CHECK_INT(fake_expect(f, WIRE_KILL), ==, stream);
	/* The end comes before the answer to what caused it. */
	fake_exited(f, stream, 0, 0);
	fake_ack(f, stream, 3, 0);
	while (fake_next(f, &event))
		continue;
}

static void test_signals(void)
{
	struct fake f;
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = fake_start(&f, script_waits_for_kill, NULL);
	cove_process *p = start(s, NULL);
	const struct cove_event *event;
	receive(p, COVE_EVENT_STARTED);
	CHECK_INT(cove_process_recv(p, &event, 20, &err), ==, COVE_E_TIMEOUT);
	CHECK_INT(cove_process_recv(p, &event, 0, &err), ==, COVE_E_TIMEOUT);
	CHECK_INT(cove_process_signal(p, 0, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_process_signal(p, 65, &err), ==, COVE_E_INVALID);
	CHECK_COVE(cove_process_signal(p, SIGUSR1, &err), &err);
	CHECK_INT(cove_process_signal(p, SIGUSR1, &err), ==, COVE_E_STATE);
	CHECK_COVE(cove_process_kill(p, &err), &err);
	CHECK_INT(cove_process_kill(p, &err), ==, COVE_E_STATE);
	CHECK_CONTAINS(err.message, "has ended");
	receive(p, COVE_EVENT_EXITED);
	cove_process_free(p);
	fake_end(&f, s);
}

static void script_reads_some(struct fake *f)
{
	uint32_t stream = started(f);
	struct wire_event event;
	uint64_t received = 0;
	while (received < BULK / 10 + 5) {
		CHECK(fake_next(f, &event));
		CHECK_INT(event.kind, ==, WIRE_EVENT_DATA);
		CHECK_INT(event.offset, ==, received);
		received += event.size;
		CHECK_OK(wire_link_consumed(f->link, stream, WIRE_STDIN, event.size));
	}
	CHECK(fake_next(f, &event));
	CHECK_INT(event.kind, ==, WIRE_EVENT_EOF);
	CHECK_INT(event.offset, ==, received);
	fake_exited(f, stream, 0, 0);
	fake_until_closed(f, stream);

	/* One that stops reading while a writer waits. */
	stream = started(f);
	CHECK(fake_next(f, &event));
	CHECK_INT(event.kind, ==, WIRE_EVENT_DATA);
	Cove__Wire__StdinError e = COVE__WIRE__STDIN_ERROR__INIT;
	e.os_errno = EPIPE;
	fake_send(f, stream, WIRE_STDIN_ERROR, &e.base);
	fake_until_closed(f, stream);

	/* One that ends while a writer waits. */
	stream = started(f);
	fake_exited(f, stream, 0, 0);
	fake_until_closed(f, stream);
	/* And one whose sandbox does. */
	started(f);
}

static void test_stdin_pipe(void)
{
	struct fake f;
	struct cove_error err = COVE_ERROR_INIT;
	_cleanup_free_ uint8_t *bytes = calloc(1, BULK / 10);
	cove_sandbox *s = fake_start(&f, script_reads_some, NULL);

	cove_process *p = start(s, PIPE);
	cove_stdin *in = cove_process_take_stdin(p);
	CHECK(!cove_process_take_stdin(p));
	CHECK_COVE(cove_stdin_write(in, "a", 1, &err), &err);
	CHECK_COVE(cove_stdin_write(in, "", 0, &err), &err);
	CHECK_COVE(cove_stdin_write(in, bytes, BULK / 10, &err), &err);
	CHECK_COVE(cove_stdin_write(in, "wxyz", 4, &err), &err);
	CHECK_COVE(cove_stdin_close(in, &err), &err);
	CHECK_COVE(cove_stdin_close(in, &err), &err);
	CHECK_INT(cove_stdin_write(in, "a", 1, &err), ==, COVE_E_STATE);
	receive(p, COVE_EVENT_STARTED);
	receive(p, COVE_EVENT_EXITED);
	cove_stdin_free(in);
	cove_process_free(p);

	p = start(s, PIPE);
	in = cove_process_take_stdin(p);
	CHECK_INT(cove_stdin_write(in, bytes, BULK / 10, &err), ==, COVE_E_SYSTEM);
	CHECK_INT(err.os_errno, ==, EPIPE);
	CHECK_INT(cove_stdin_write(in, "a", 1, &err), ==, COVE_E_SYSTEM);
	receive(p, COVE_EVENT_STARTED);
	const struct cove_event *event = receive(p, COVE_EVENT_STDIN_ERROR);
	CHECK_INT(event->os_errno, ==, EPIPE);
	cove_stdin_free(in);
	cove_process_free(p);

	p = start(s, PIPE);
	in = cove_process_take_stdin(p);
	CHECK_INT(cove_stdin_write(in, bytes, BULK / 10, &err), ==, COVE_E_STATE);
	CHECK_COVE(cove_stdin_close(in, &err), &err);
	receive(p, COVE_EVENT_STARTED);
	receive(p, COVE_EVENT_EXITED);
	cove_stdin_free(in);
	cove_process_free(p);

	p = start(s, PIPE);
	in = cove_process_take_stdin(p);
	CHECK_INT(cove_stdin_write(in, bytes, BULK / 10, &err), ==, COVE_E_LOST);
	event = receive(p, COVE_EVENT_STARTED);
	event = receive(p, COVE_EVENT_LOST);
	CHECK_INT(event->error->code, ==, COVE_E_LOST);
	receive_nothing_more(p);
	cove_stdin_free(in);
	cove_process_free(p);
	fake_end(&f, s);
}

/* ---- signals of the host's, memory ---- */

static void on_alarm(int signal)
{
	(void)signal;
}

/* A program whose signals are not restarted notices nothing. */
static void test_interrupted(void)
{
	struct fake f;
	cove_sandbox *s = fake_start(&f, script_cat, NULL);
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval often = { { 0, 500 }, { 0, 500 } }, never = { { 0, 0 }, { 0, 0 } };
	CHECK_SYS(sigaction(SIGALRM, &action, NULL));
	CHECK_SYS(setitimer(ITIMER_REAL, &often, NULL));
	work_cat(s);
	CHECK_SYS(setitimer(ITIMER_REAL, &never, NULL));
	fake_end(&f, s);
}

static void script_short(struct fake *f)
{
	struct wire_event event;
	while (fake_next(f, &event)) {
		if (event.kind != WIRE_EVENT_MESSAGE || event.type != WIRE_EXEC)
			continue;
		fake_started(f, event.stream);
		fake_data(f, event.stream, WIRE_STDOUT, 0, "out", 3);
		fake_data(f, event.stream, WIRE_STDERR, 0, "err", 3);
		fake_exited(f, event.stream, 3, 3);
	}
}

static void test_without_memory(void)
{
	struct cove_rlimit limit = { COVE_RLIMIT_NOFILE, 10, 10 };
	for (unsigned long n = 1;; n++) {
		struct fake f;
		struct cove_error err = COVE_ERROR_INIT;
		cove_output *out = NULL;
		cove_sandbox *s = fake_start(&f, script_short, NULL);
		failing_alloc_arm(n);
		int r = cove_exec(s, true_argv,
				  EXEC(.rlimits = &limit, .n_rlimits = 1,
				       .stdin_mode = COVE_STDIN_BYTES, .stdin_data = "x",
				       .stdin_bytes = 1),
				  &out, &err);
		bool failed = failing_alloc_disarm();
		if (!failed || r == 0) {
			CHECK_COVE(r, &err);
			CHECK_STR(out->stdout_data, "out");
			CHECK_STR(out->stderr_data, "err");
			cove_output_free(out);
		} else {
			/* A message that could not be unpacked is one that cannot be read. */
			CHECK(r == COVE_E_NO_MEMORY || r == COVE_E_PROTOCOL);
			CHECK(!out);
		}
		fake_end(&f, s);
		if (!failed)
			break;
		CHECK_INT(n, <, 1000);
	}
}

/* ---- requests to the supervisor ---- */

static void send_info(struct fake *f, uint32_t stream, enum cove_sandbox_state state)
{
	Cove__Wire__SandboxInfo m = COVE__WIRE__SANDBOX_INFO__INIT;
	m.name = (char *)"fake";
	m.state = state;
	m.image = (char *)"busybox";
	if (state == COVE_SANDBOX_ENDED) {
		m.has_end_cause = true;
		m.end_cause = COVE_END_STOPPED;
		m.end_text = (char *)"stopped";
	}
	fake_send(f, stream, WIRE_SANDBOX, &m.base);
}

static void script_stops(struct fake *f)
{
	struct wire_event event;
	uint32_t waiting = fake_expect(f, WIRE_WAIT);
	fake_until_closed(f, waiting);
	uint32_t stream = fake_expect(f, WIRE_INFO);
	send_info(f, stream, COVE_SANDBOX_RUNNING);
	fake_until_closed(f, stream);

	CHECK(fake_next(f, &event));
	CHECK_INT(event.type, ==, WIRE_STOP);
	Cove__Wire__StopRequest *m = (Cove__Wire__StopRequest *)wire_message_unpack(
		&cove__wire__stop_request__descriptor, event.data, event.size);
	CHECK_INT(m->grace_ms, ==, 10000);
	CHECK(!m->kill);
	wire_message_free(&m->base);
	send_info(f, event.stream, COVE_SANDBOX_ENDED);
	fake_goodbye(f, COVE_END_STOPPED, "stopped");
}

static void script_stop_refused(struct fake *f)
{
	uint32_t stream = fake_expect(f, WIRE_STOP);
	fake_failed(f, stream, WIRE_REFUSED, COVE_E_STATE, "not now");
	fake_until_closed(f, stream);
	stream = fake_expect(f, WIRE_STOP);
	CHECK_OK(wire_link_send(f->link, stream, WIRE_SANDBOX, "\xff\xff", 2));
	fake_until_closed(f, stream);
	fake_expect(f, WIRE_STOP);
	fake_goodbye(f, COVE_END_KILLED, "killed");
}

static void test_requests(void)
{
	struct fake f;
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_sandbox_info *info;
	cove_sandbox *s = fake_start(&f, script_stops, NULL);
	s->info = calloc(1, sizeof(*s->info));
	CHECK_INT(cove_sandbox_wait(s, 10, &info, &err), ==, COVE_E_TIMEOUT);
	CHECK_INT(cove_sandbox_wait(s, 0, &info, &err), ==, COVE_E_TIMEOUT);
	CHECK_COVE(cove_sandbox_stop(s, NULL, &err), &err);
	for (int timeout = -1; timeout < 2; timeout++) {
		CHECK_COVE(cove_sandbox_wait(s, timeout, &info, &err), &err);
		CHECK_INT(info->state, ==, COVE_SANDBOX_ENDED);
		CHECK_INT(info->end_cause, ==, COVE_END_STOPPED);
		CHECK_STR(info->end_text, "stopped");
		CHECK_STR(info->image, "busybox");
		cove_sandbox_info_free(info);
	}
	CHECK_COVE(cove_sandbox_stop(s, NULL, &err), &err);
	CHECK_COVE(cove_sandbox_kill(s, &err), &err);
	fake_end(&f, s);

	s = fake_start(&f, script_stop_refused, NULL);
	s->info = calloc(1, sizeof(*s->info));
	CHECK_INT(cove_sandbox_stop(s, NULL, &err), ==, COVE_E_STATE);
	CHECK_CONTAINS(err.message, "not now");
	CHECK_INT(cove_sandbox_stop(s, NULL, &err), ==, COVE_E_PROTOCOL);
	CHECK_COVE(cove_sandbox_kill(s, &err), &err);
	CHECK_COVE(cove_sandbox_wait(s, -1, &info, &err), &err);
	CHECK_INT(info->end_cause, ==, COVE_END_KILLED);
	cove_sandbox_info_free(info);
	fake_end(&f, s);
}

static void script_cuts_off(struct fake *f)
{
	fake_expect(f, WIRE_WAIT);
	fake_goodbye(f, COVE_END_NONE, "it does not read its messages");
}

/* A client that was cut off does not know of any end. */
static void test_cut_off(void)
{
	struct fake f;
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_sandbox_info *info;
	cove_sandbox *s = fake_start(&f, script_cuts_off, NULL);
	s->info = calloc(1, sizeof(*s->info));
	CHECK_INT(cove_sandbox_wait(s, -1, &info, &err), ==, COVE_E_LOST);
	CHECK_CONTAINS(err.message, "cut us off: it does not read its messages");
	CHECK_INT(cove_sandbox_wait(s, 0, &info, &err), ==, COVE_E_LOST);
	CHECK_INT(cove_sandbox_stop(s, NULL, &err), ==, COVE_E_LOST);
	CHECK_INT(cove_sandbox_kill(s, &err), ==, COVE_E_LOST);
	fake_end(&f, s);
}

static void script_reads_nothing(struct fake *f)
{
	char c;
	CHECK_INT(read(*(int *)f->data, &c, 1), ==, 0);
}

/* A request has its limit also where it cannot even be sent. */
static void test_no_room(void)
{
	struct fake f;
	int fds[2];
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_sandbox_info *info;
	CHECK_SYS(pipe2(fds, O_CLOEXEC));
	cove_sandbox *s = fake_start(&f, script_reads_nothing, &fds[0]);
	s->info = calloc(1, sizeof(*s->info));
	_cleanup_free_ char *zeros = calloc(1, LARGE);
	uint32_t stream;
	connection_lock(s->connection);
	for (size_t n = LARGE; n > 0; n /= 2)
		while (wire_link_open(connection_link(s->connection), WIRE_EXEC, zeros, n, NULL,
				      &stream) == 0)
			;
	connection_unlock(s->connection);
	CHECK_INT(cove_sandbox_wait(s, 50, &info, &err), ==, COVE_E_TIMEOUT);
	close(fds[1]);
	fake_end(&f, s);
	close(fds[0]);
}

static const struct tap_test tests[] = {
	{ "a command", test_hello },
	{ "the end overtakes the data", test_overtaking },
	{ "violations", test_violations },
	{ "failures to start", test_failures },
	{ "lost", test_lost },
	{ "a broken link", test_broken_link },
	{ "cat", test_cat, .timeout_s = 60 },
	{ "standard input that is not read", test_stdin_not_read },
	{ "a session that was there before", test_resumed },
	{ "output limits", test_limits, .timeout_s = 60 },
	{ "timeout", test_timeout },
	{ "threads", test_threads, .timeout_s = 60 },
	{ "threads with bulk data", test_threads_bulk, .timeout_s = 60 },
	{ "threads of a sandbox that dies", test_threads_lost },
	{ "large requests", test_large_requests, .timeout_s = 60 },
	{ "events", test_events },
	{ "zigzag", test_zigzag },
	{ "signals and kill", test_signals },
	{ "a pipe for standard input", test_stdin_pipe, .timeout_s = 60 },
	{ "interrupted by signals", test_interrupted, .timeout_s = 60 },
	{ "without memory", test_without_memory, .timeout_s = 60 },
	{ "stop, kill and wait", test_requests },
	{ "cut off", test_cut_off },
	{ "no room for a request", test_no_room },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
