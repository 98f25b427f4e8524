/* SPDX-License-Identifier: Apache-2.0 */

/* Live streams: every kind of event, and bytes that are the same on both sides in every mode. */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "pattern.h"
#include "stream.h"
#include "vm.h"

/* ---- events ---- */

static void test_events(void)
{
	cove_sandbox *sandbox = vm_create("events", "busybox", NULL);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	int mark;
	options.user_data = &mark;

	/* Each line waits for the one before to be received, so that the order is known. */
	cove_process *p = stream_shell(sandbox,
				       "step() { until [ -e /tmp/$1 ]; do usleep 5000; done; }\n"
				       "echo $$; step 1; echo two >&2; step 2; echo three; exit 3",
				       &options);
	CHECK(cove_process_user_data(p) == &mark);
	struct seen seen = { 0 };
	char pid[32];
	CHECK(seen_next(&seen, p));
	CHECK_INT(seen.n[COVE_EVENT_STARTED], ==, 1);
	const char *id;
	CHECK_OK(cove_process_id(p, &id, NULL));
	CHECK_STR(id, seen.id);

	/* It is that process, in the guest: what the shell says of itself, and what others see. */
	snprintf(pid, sizeof(pid), "%d\n", seen.pid);
	seen_until(&seen, p, "\n");
	CHECK_STR(seen_stdout(&seen), pid);
	char script[64];
	snprintf(script, sizeof(script), "tr '\\0' ' ' </proc/%d/cmdline | grep -c step", seen.pid);
	CHECK_INT(vm_number(sandbox, script), >, 0);

	vm_number(sandbox, "touch /tmp/1");
	while (seen.err.size < 4)
		CHECK(seen_next(&seen, p));
	CHECK_STR(seen_stdout(&seen), pid);
	CHECK_STR(seen_stderr(&seen), "two\n");
	vm_number(sandbox, "touch /tmp/2");
	seen_until(&seen, p, "three\n");
	CHECK_STR(seen_stderr(&seen), "two\n");
	seen_to_end(&seen, p);
	CHECK_INT(seen.exit.cause, ==, COVE_CAUSE_EXITED);
	CHECK_INT(seen.exit.code, ==, 3);
	CHECK(seen.exit.elapsed_ns > 0 && seen.exit.ended_ns > seen.exit.started_ns);
	CHECK_INT(seen.totals[0], ==, strlen(pid) + 6);
	CHECK_INT(seen.totals[1], ==, 4);

	/* What the end was can be asked again; there is nothing left to act on. */
	struct cove_exit ended;
	CHECK_OK(cove_process_wait(p, 0, &ended, NULL));
	CHECK_INT(ended.code, ==, 3);
	CHECK_INT(cove_process_signal(p, SIGTERM, NULL), ==, COVE_E_STATE);
	CHECK_INT(cove_process_kill(p, NULL), ==, COVE_E_STATE);
	cove_process_free(p);
	seen_done(&seen);

	/* Streams are apart, and each is in order, however they alternate. */
	p = stream_shell(sandbox,
			 "i=0; while [ $i -lt 300 ]; do echo $i; echo e$i >&2; i=$((i+1)); done",
			 NULL);
	seen_to_end(&seen, p);
	char expected[2][4096] = { "", "" };
	for (int i = 0, n = 0, m = 0; i < 300; i++) {
		n += snprintf(expected[0] + n, sizeof(expected[0]) - (size_t)n, "%d\n", i);
		m += snprintf(expected[1] + m, sizeof(expected[1]) - (size_t)m, "e%d\n", i);
	}
	CHECK_STR(seen_stdout(&seen), expected[0]);
	CHECK_STR(seen_stderr(&seen), expected[1]);
	seen_done(&seen);
	cove_process_free(p);
	cove_sandbox_free(sandbox);
}

static void expect_failed(cove_process *p, int code, enum cove_stage stage, int os_errno)
{
	struct seen seen = { 0 };
	seen_to_end(&seen, p);
	CHECK_INT(seen.n[COVE_EVENT_FAILED], ==, 1);
	CHECK_INT(seen.error.code, ==, code);
	CHECK_INT(seen.error.stage, ==, stage);
	if (os_errno)
		CHECK_INT(seen.error.os_errno, ==, os_errno);

	/* The other ways to ask for the end say the same. */
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_exit ended;
	CHECK_INT(cove_process_wait(p, -1, &ended, &err), ==, code);
	CHECK_STR(err.message, seen.error.message);
	CHECK_INT(cove_process_kill(p, NULL), <, 0);
	cove_process_free(p);
	seen_done(&seen);
}

static void test_failed(void)
{
	cove_sandbox *sandbox = vm_create("failed", "busybox", NULL);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	expect_failed(stream_exec(sandbox, ARGV("no-such-program"), NULL), COVE_E_START,
		      COVE_STAGE_EXEC, ENOENT);
	expect_failed(stream_exec(sandbox, ARGV("/etc"), NULL), COVE_E_START, COVE_STAGE_EXEC,
		      EACCES);
	options.cwd = "/no/such/folder";
	options.tty = true;
	options.stdin_mode = COVE_STDIN_PIPE;
	expect_failed(stream_shell(sandbox, "true", &options), COVE_E_START, COVE_STAGE_CWD,
		      ENOENT);
	expect_failed(stream_open(sandbox, "no-such-session", NULL), COVE_E_NOT_FOUND,
		      COVE_STAGE_NONE, 0);

	/* stdin of what does not start is an error, not a wait. */
	cove_process *p = stream_exec(sandbox, ARGV("no-such-program"), &options);
	cove_stdin *in = cove_process_take_stdin(p);
	CHECK(in != NULL);
	static char much[4 << 20];
	CHECK_INT(cove_stdin_write(in, much, sizeof(much), NULL), <, 0);
	cove_stdin_free(in);
	cove_process_free(p);

	/* A bad option starts nothing, and returns nothing. */
	struct cove_error err = COVE_ERROR_INIT;
	cove_process *none = NULL;
	options = (struct cove_exec_options)COVE_EXEC_OPTIONS_INIT;
	options.rows = 24;
	CHECK_INT(cove_shell_stream(sandbox, "true", &options, &none, &err), ==, COVE_E_INVALID);
	CHECK(none == NULL);
	cove_sandbox_free(sandbox);
}

static void test_stdin_error(void)
{
	cove_sandbox *sandbox = vm_create("stdin-error", "busybox", NULL);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.stdin_mode = COVE_STDIN_PIPE;
	static char much[4 << 20];
	struct cove_error err = COVE_ERROR_INIT;
	struct seen seen = { 0 };

	cove_process *p = stream_shell(sandbox,
				       "exec <&-; echo closed; until [ -e /tmp/go ]; do "
				       "usleep 5000; done; echo after; exit 6",
				       &options);
	cove_stdin *in = cove_process_take_stdin(p);
	CHECK(cove_process_take_stdin(p) == NULL);
	seen_until(&seen, p, "closed\n");
	/* What is not read does not block for ever, and it is said which way. */
	CHECK_INT(cove_stdin_write(in, much, sizeof(much), &err), ==, COVE_E_SYSTEM);
	CHECK_INT(err.os_errno, ==, EPIPE);
	CHECK_INT(cove_stdin_write(in, "x", 1, &err), ==, COVE_E_SYSTEM);
	while (!seen.n[COVE_EVENT_STDIN_ERROR])
		CHECK(seen_next(&seen, p));
	CHECK_INT(seen.stdin_errno, ==, EPIPE);
	vm_number(sandbox, "touch /tmp/go");
	stream_expect(p, &seen, COVE_CAUSE_EXITED, 6, "closed\nafter\n", "");
	CHECK_INT(cove_stdin_write(in, "x", 1, &err), <, 0);
	cove_stdin_free(in);
	cove_sandbox_free(sandbox);
}

static void test_lost(void)
{
	cove_sandbox *sandbox = vm_create("lost", "busybox", NULL);
	struct seen seen = { 0 };
	cove_process *p = stream_shell(sandbox, "echo here; sleep 1000", NULL);
	seen_until(&seen, p, "here\n");
	cove_control *control = cove_process_control(p);
	CHECK_OK(cove_sandbox_kill(sandbox, NULL));
	seen_to_end(&seen, p);
	CHECK_INT(seen.n[COVE_EVENT_LOST], ==, 1);
	CHECK_INT(seen.error.code, ==, COVE_E_LOST);
	CHECK_INT(cove_control_kill(control, NULL), <, 0);
	struct cove_exit ended;
	CHECK_INT(cove_process_wait(p, -1, &ended, NULL), ==, COVE_E_LOST);
	cove_control_unref(control);
	cove_process_free(p);
	cove_sandbox_free(sandbox);
}

/* ---- all bytes ---- */

static char all[256];

static void expect_all(cove_process *p, struct seen *seen, size_t stream, size_t times)
{
	seen_to_end(seen, p);
	const struct buffer *b = stream ? &seen->err : &seen->out;
	CHECK_INT(b->size, ==, times * sizeof(all));
	for (size_t i = 0; i < times; i++)
		CHECK_MEM(buffer_front(b) + i * sizeof(all), sizeof(all), all, sizeof(all));
	CHECK_INT(seen->exit.code, ==, 0);
	seen_done(seen);
	cove_process_free(p);
}

static void test_all_bytes(void)
{
	cove_sandbox *sandbox = vm_create("all-bytes", "busybox", NULL);
	vm_put_helper(sandbox);
	struct seen seen = { 0 };
	struct cove_error err = COVE_ERROR_INIT;
	for (int i = 0; i < 256; i++)
		all[i] = (char)i;

	/* From stdin, all at once or byte by byte, to each of the outputs. */
	for (int stream = 0; stream < 2; stream++) {
		struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
		options.stdin_mode = COVE_STDIN_BYTES;
		options.stdin_data = all;
		options.stdin_bytes = sizeof(all);
		cove_process *p = stream_shell(sandbox, stream ? "cat >&2" : "cat", &options);
		expect_all(p, &seen, (size_t)stream, 1);

		options = (struct cove_exec_options)COVE_EXEC_OPTIONS_INIT;
		options.stdin_mode = COVE_STDIN_PIPE;
		p = stream_shell(sandbox, stream ? "cat >&2" : "cat", &options);
		cove_stdin *in = cove_process_take_stdin(p);
		CHECK_COVE(cove_stdin_write(in, all, sizeof(all), &err), &err);
		for (size_t i = 0; i < sizeof(all); i++)
			CHECK_COVE(cove_stdin_write(in, all + i, 1, &err), &err);
		CHECK_COVE(cove_stdin_write(in, all, 0, &err), &err); /* not the end */
		CHECK_COVE(cove_stdin_write(in, all, sizeof(all), &err), &err);
		CHECK_COVE(cove_stdin_close(in, &err), &err);
		CHECK_COVE(cove_stdin_close(in, &err), &err);
		CHECK_INT(cove_stdin_write(in, all, 1, &err), ==, COVE_E_STATE);
		expect_all(p, &seen, (size_t)stream, 3);
		cove_stdin_free(in);
	}

	/* A raw terminal changes nothing, both ways; it has no end of file but the command's. */
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.tty = true;
	options.stdin_mode = COVE_STDIN_PIPE;
	cove_process *p = stream_exec(sandbox, ARGV(VM_HELPER, "echo"), &options);
	cove_stdin *in = cove_process_take_stdin(p);
	seen_until(&seen, p, "ready");
	for (int times = 1; times <= 2; times++) {
		size_t part = times == 1 ? sizeof(all) : 1;
		for (size_t i = 0; i < sizeof(all); i += part)
			CHECK_COVE(cove_stdin_write(in, all + i, part, &err), &err);
		while (seen.out.size < 5 + sizeof(all) * (size_t)times)
			CHECK(seen_next(&seen, p));
		CHECK_MEM(buffer_front(&seen.out) + seen.out.size - sizeof(all), sizeof(all), all,
			  sizeof(all));
	}
	CHECK_OK(cove_process_kill(p, NULL));
	stream_expect(p, &seen, COVE_CAUSE_KILLED, 137, NULL, "");
	cove_stdin_free(in);
	cove_sandbox_free(sandbox);
}

/* ---- lengths of stdin ---- */

#define BULK 100000000u
#define SEED 11u

struct writer {
	cove_stdin *in;
	size_t size;
	struct cove_error err;
};

static void *write_flow(void *data)
{
	struct writer *w = data;
	static char block[300000]; /* no multiple of anything */
	for (size_t done = 0; done < w->size;) {
		size_t part = MIN(w->size - done, sizeof(block));
		flow_fill(block, part, SEED, done);
		if (cove_stdin_write(w->in, block, part, &w->err) < 0)
			return NULL;
		done += part;
	}
	w->in = cove_stdin_free(w->in); /* closes it */
	return NULL;
}

/* `cat`, written by a thread of its own, received here. */
static void stdin_by_thread(cove_sandbox *sandbox, size_t size)
{
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.stdin_mode = COVE_STDIN_PIPE;
	cove_process *p = stream_shell(sandbox, "cat; echo that is all >&2; exit 4", &options);
	struct writer writer = { .in = cove_process_take_stdin(p), .size = size };
	pthread_t thread;
	CHECK_INT(pthread_create(&thread, NULL, write_flow, &writer), ==, 0);

	struct seen seen = { 0 };
	uint64_t start = clock_monotonic_ms();
	seen_to_end(&seen, p);
	CHECK_INT(pthread_join(thread, NULL), ==, 0);
	CHECK_STR(writer.err.message, "");
	tap_note("%zu bytes through cat, with a thread: %llu ms", size,
		 (unsigned long long)(clock_monotonic_ms() - start));
	CHECK_INT(seen.out.size, ==, size);
	CHECK_INT(flow_check(buffer_front(&seen.out), size, SEED, 0), ==, size);
	stream_expect(p, &seen, COVE_CAUSE_EXITED, 4, NULL, "that is all\n");
}

/* The same from an event loop: nothing waits but the loop. */
static void stdin_by_loop(cove_sandbox *sandbox, size_t size)
{
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.stdin_mode = COVE_STDIN_PIPE;
	options.flags = COVE_EXEC_NONBLOCK;
	cove_process *p = stream_shell(sandbox, "cat; echo that is all >&2; exit 4", &options);
	cove_stdin *in = cove_process_take_stdin(p);

	struct seen seen = { 0 };
	struct cove_error err = COVE_ERROR_INIT;
	static char block[100000];
	size_t done = 0;
	uint64_t start = clock_monotonic_ms();
	while (!seen.over) {
		int r = 0;
		while (in && r >= 0) {
			size_t part = MIN(size - done, sizeof(block)), taken = 0;
			if (part == 0) {
				CHECK_COVE(cove_stdin_close(in, &err), &err);
				in = cove_stdin_free(in);
				break;
			}
			flow_fill(block, part, SEED, done);
			r = cove_stdin_try_write(in, block, part, &taken, &err);
			CHECK(r == 0 || r == COVE_E_AGAIN);
			if (r == 0)
				CHECK(taken >= 1 && taken <= part);
			done += taken;
		}
		cove_process *ready;
		stream_turn(sandbox, &ready, 1);
		const struct cove_event *event;
		while ((r = cove_process_try_recv(p, &event, &err)) > 0)
			seen_add(&seen, event);
		CHECK_INT(r, ==, seen.over ? 0 : COVE_E_AGAIN);
	}
	tap_note("%zu bytes through cat, by an event loop: %llu ms", size,
		 (unsigned long long)(clock_monotonic_ms() - start));
	CHECK_INT(seen.out.size, ==, size);
	CHECK_INT(flow_check(buffer_front(&seen.out), size, SEED, 0), ==, size);
	stream_expect(p, &seen, COVE_CAUSE_EXITED, 4, NULL, "that is all\n");
}

static void test_stdin_lengths(void)
{
	cove_sandbox *sandbox = vm_create("stdin-lengths", "busybox", NULL);
	for (size_t size = 0; size <= 1; size++) {
		stdin_by_thread(sandbox, size);
		stdin_by_loop(sandbox, size);
	}
	stdin_by_thread(sandbox, BULK);
	stdin_by_loop(sandbox, BULK);

	/* Nothing written at all, nor taken: letting go of the process leaves it waiting. */
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.stdin_mode = COVE_STDIN_PIPE;
	cove_process *p = stream_exec(sandbox, ARGV("cat"), &options);
	cove_stdin_free(cove_process_take_stdin(p));
	stream_expect(p, NULL, COVE_CAUSE_EXITED, 0, "", "");
	/* And without a pipe there is nothing to take. */
	p = stream_exec(sandbox, ARGV("cat"), NULL);
	CHECK(cove_process_take_stdin(p) == NULL);
	stream_expect(p, NULL, COVE_CAUSE_EXITED, 0, "", "");
	cove_sandbox_free(sandbox);
}

/* ---- how to take it ---- */

static void test_collect_and_wait(void)
{
	cove_sandbox *sandbox = vm_create("collect", "busybox", NULL);
	struct cove_error err = COVE_ERROR_INIT;
	struct seen seen = { 0 };

	/* What was received is not collected again. */
	cove_process *p = stream_shell(
		sandbox, "echo first; until [ -e /tmp/go ]; do usleep 5000; done; echo second",
		NULL);
	seen_until(&seen, p, "first\n");
	seen_done(&seen);
	vm_number(sandbox, "touch /tmp/go");
	cove_output *out;
	CHECK_COVE(cove_process_collect(p, &out, &err), &err);
	CHECK_STR(out->stdout_data, "second\n");
	CHECK_INT(out->stdout_total, ==, 13);
	CHECK(cove_exit_success(&out->exit));
	cove_output_free(out);
	cove_process_free(p);

	/* Waiting takes no output: a gigabyte of it is no obstacle, and not transferred. */
	p = stream_shell(sandbox, "dd if=/dev/zero bs=1M count=1024 2>/dev/null; exit 9", NULL);
	struct cove_exit ended;
	uint64_t start = clock_monotonic_ms();
	CHECK_COVE(cove_process_wait(p, -1, &ended, &err), &err);
	tap_note("1 GiB discarded in %llu ms", (unsigned long long)(clock_monotonic_ms() - start));
	CHECK_INT(ended.code, ==, 9);
	CHECK_COVE(cove_process_wait(p, -1, &ended, &err), &err);
	CHECK_INT(ended.code, ==, 9);
	cove_process_free(p);

	p = stream_exec(sandbox, ARGV("sleep", "1000"), NULL);
	CHECK_INT(cove_process_wait(p, 0, &ended, &err), ==, COVE_E_TIMEOUT);
	CHECK_INT(cove_process_wait(p, 50, &ended, &err), ==, COVE_E_TIMEOUT);
	const struct cove_event *event;
	CHECK(seen_next(&seen, p)); /* STARTED is no output */
	CHECK_INT(cove_process_recv(p, &event, 20, &err), ==, COVE_E_TIMEOUT);
	CHECK_OK(cove_process_kill(p, NULL));
	CHECK_COVE(cove_process_wait(p, -1, &ended, &err), &err);
	CHECK_INT(ended.cause, ==, COVE_CAUSE_KILLED);
	cove_process_free(p);

	/* The limit kills, in a stream as in a buffered call. */
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.output_limit_bytes = 100000;
	options.output_policy = COVE_OUTPUT_KILL;
	p = stream_exec(sandbox, ARGV("cat", "/dev/zero"), &options);
	stream_expect(p, NULL, COVE_CAUSE_OUTPUT_LIMIT, 137, NULL, NULL);
	cove_sandbox_free(sandbox);
}

static const struct tap_test tests[] = {
	{ "events", test_events, .timeout_s = 60 },
	{ "failed", test_failed, .timeout_s = 60 },
	{ "stdin that is not read", test_stdin_error, .timeout_s = 60 },
	{ "lost", test_lost, .timeout_s = 60 },
	{ "all bytes, every way", test_all_bytes, .timeout_s = 60 },
	{ "0 bytes, 1 byte, 100 MB of stdin", test_stdin_lengths, .timeout_s = 180 },
	{ "collect and wait", test_collect_and_wait, .timeout_s = 90 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
