/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Sessions outlive those who look at them: handles from other connections, output of the past, of
 * background children, what ended, and ids that mean one run for ever.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "pattern.h"
#include "rounds.h"
#include "stream.h"
#include "vm.h"

/* A handle of its own on the sandbox, as another process would have. */
static cove_sandbox *connect_again(const cove_sandbox *sandbox)
{
	cove_sandbox *other;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_sandbox_connect(cove_sandbox_name(sandbox), &other, &err), &err);
	return other;
}

#define UNTIL(file) "until [ -e /tmp/" file " ]; do usleep 5000; done; "

static void touch(cove_sandbox *sandbox, const char *file)
{
	char script[64];
	snprintf(script, sizeof(script), "touch /tmp/%s; echo 0", file);
	vm_number(sandbox, script);
}

/* ---- the end and what comes after it ---- */

static void test_background(void)
{
	cove_sandbox *sandbox = vm_create("later", "busybox", NULL);
	cove_sandbox *other = connect_again(sandbox);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	struct seen seen = { 0 };

	/* The end is the leader's; what holds the pipe makes it wait linger_ms, not longer. */
	uint64_t start = clock_monotonic_ms();
	options.id = "leader";
	cove_process *p = stream_shell(
		sandbox, "(" UNTIL("1") "echo late; " UNTIL("2") ") & echo hi; exit 3", &options);
	stream_expect(p, NULL, COVE_CAUSE_EXITED, 3, "hi\n", "");
	CHECK_INT(clock_monotonic_ms() - start, <, 10000); /* the child waits for us */

	/* What the background child writes later is there for who looks then. */
	touch(sandbox, "1");
	struct seen later = { 0 };
	bool found = false;
	uint64_t until = clock_monotonic_ms() + PATIENCE_MS;
	while (!found && clock_monotonic_ms() < until) {
		p = stream_open(other, "leader", NULL);
		seen_to_end(&later, p);
		CHECK_INT(later.exit.code, ==, 3);
		found = strcmp(seen_stdout(&later), "hi\nlate\n") == 0;
		seen_done(&later);
		cove_process_free(p);
	}
	CHECK(found);
	touch(sandbox, "2");

	/* Or waits for the end of the pipe, or for a longer time. */
	options = (struct cove_exec_options)COVE_EXEC_OPTIONS_INIT;
	options.wait_eof = true;
	p = stream_shell(sandbox, "(" UNTIL("3") "echo late) & echo early", &options);
	seen_until(&seen, p, "early\n");
	touch(other, "3");
	stream_expect(p, &seen, COVE_CAUSE_EXITED, 0, "early\nlate\n", "");
	options.wait_eof = false;
	options.linger_ms = PATIENCE_MS;
	p = stream_shell(sandbox, "(" UNTIL("4") "echo late) & echo early", &options);
	seen_until(&seen, p, "early\n");
	touch(other, "4");
	stream_expect(p, &seen, COVE_CAUSE_EXITED, 0, "early\nlate\n", "");

	/* The end comes to a viewer that was there all the time as well. */
	options = (struct cove_exec_options)COVE_EXEC_OPTIONS_INIT;
	options.id = "watched";
	p = stream_shell(sandbox, "echo 1; " UNTIL("5") "echo 2; exit 6", &options);
	seen_until(&seen, p, "1\n");
	cove_process *viewer = stream_open(other, "watched", NULL);
	seen_until(&later, viewer, "1\n");
	touch(sandbox, "5");
	stream_expect(viewer, &later, COVE_CAUSE_EXITED, 6, "1\n2\n", "");
	stream_expect(p, &seen, COVE_CAUSE_EXITED, 6, "1\n2\n", "");
	cove_sandbox_free(other);
	cove_sandbox_free(sandbox);
}

/* ---- opening what ended ---- */

static void expect_from(cove_sandbox *sandbox, const struct cove_open_options *options,
			const char *out, uint64_t offset)
{
	struct seen seen = { 0 };
	cove_process *p = stream_open(sandbox, "past", options);
	seen_to_end(&seen, p);
	CHECK_INT(seen.exit.code, ==, 8);
	CHECK_STR(seen_stdout(&seen), out);
	CHECK_STR(seen_stderr(&seen), options->no_output ? "" : seen_stderr(&seen));
	CHECK_INT(seen.totals[0], ==, 10);
	CHECK_INT(seen.totals[1], ==, 4);
	CHECK_INT(seen.n[COVE_EVENT_GAP], ==, 0);
	if (*out)
		CHECK_INT(seen.offsets[0] - seen.out.size, ==, offset);
	seen_done(&seen);
	cove_process_free(p);
}

static void test_open_after_the_end(void)
{
	cove_sandbox *sandbox = vm_create("past", "busybox", NULL);
	vm_put_helper(sandbox);
	cove_sandbox *other = connect_again(sandbox);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	struct cove_error err = COVE_ERROR_INIT;
	options.id = "past";
	cove_process *p =
		stream_shell(sandbox, "printf 0123456789; echo err >&2; exit 8", &options);
	stream_expect(p, NULL, COVE_CAUSE_EXITED, 8, "0123456789", "err\n");

	struct cove_open_options open = COVE_OPEN_OPTIONS_INIT;
	expect_from(other, &open, "0123456789", 0);
	open.from = COVE_FROM_OFFSET;
	open.stdout_offset = 7;
	open.stderr_offset = 4;
	expect_from(other, &open, "789", 7);
	open.stdout_offset = 10;
	expect_from(other, &open, "", 10);
	open = (struct cove_open_options)COVE_OPEN_OPTIONS_INIT;
	open.from = COVE_FROM_NOW;
	expect_from(other, &open, "", 0);
	open.from = COVE_FROM_START;
	open.no_output = true;
	expect_from(other, &open, "", 0);
	open.no_output = false;
	open.read_only = true;
	expect_from(other, &open, "0123456789", 0);

	/* Past the end is a mistake, and said. */
	struct seen seen = { 0 };
	open = (struct cove_open_options)COVE_OPEN_OPTIONS_INIT;
	open.from = COVE_FROM_OFFSET;
	open.stdout_offset = 11;
	p = stream_open(other, "past", &open);
	seen_to_end(&seen, p);
	CHECK_INT(seen.n[COVE_EVENT_FAILED], ==, 1);
	CHECK_INT(seen.error.code, ==, COVE_E_INVALID);
	seen_done(&seen);
	cove_process_free(p);

	/* What the ring does not hold any more is one gap, and the rest is right. */
	options.id = "long";
	options.replay_bytes = 4096;
	cove_output_free(vm_exec(sandbox, ARGV(VM_HELPER, "flow", "3", "100000"), &options));
	p = stream_open(other, "long", NULL);
	seen_to_end(&seen, p);
	CHECK_INT(seen.n[COVE_EVENT_GAP], ==, 1);
	CHECK_INT(seen.out.size, >=, 4096); /* it had not been sent when the command ended */
	CHECK_INT(seen.missing, ==, 100000 - seen.out.size);
	CHECK_INT(flow_check(buffer_front(&seen.out), seen.out.size, 3, seen.missing), ==,
		  seen.out.size);
	seen_done(&seen);
	cove_process_free(p);

	/* Only looking is only looking. */
	options = (struct cove_exec_options)COVE_EXEC_OPTIONS_INIT;
	options.id = "running";
	options.stdin_mode = COVE_STDIN_PIPE;
	cove_process *own = stream_exec(sandbox, ARGV("cat"), &options);
	struct seen its = { 0 };
	CHECK(seen_next(&its, own)); /* it is there, for others as well */
	open = (struct cove_open_options)COVE_OPEN_OPTIONS_INIT;
	open.read_only = true;
	p = stream_open(other, "running", &open);
	CHECK(cove_process_take_stdin(p) == NULL);
	CHECK_INT(cove_process_signal(p, SIGTERM, &err), ==, COVE_E_DENIED);
	CHECK_INT(cove_process_kill(p, &err), ==, COVE_E_DENIED);
	cove_process_free(p);

	/* Others may write and end it, and see what comes of it. */
	open.read_only = false;
	open.from = COVE_FROM_NOW;
	p = stream_open(other, "running", &open);
	cove_stdin *in = cove_process_take_stdin(p);
	stream_type(in, "from elsewhere\n");
	seen_until(&seen, p, "from elsewhere\n");
	CHECK_COVE(cove_stdin_close(in, &err), &err);
	cove_stdin_free(in);
	stream_expect(p, &seen, COVE_CAUSE_EXITED, 0, "from elsewhere\n", "");
	stream_expect(own, &its, COVE_CAUSE_EXITED, 0, "from elsewhere\n", "");
	cove_sandbox_free(other);
	cove_sandbox_free(sandbox);
}

/* ---- slow viewers ---- */

/* One that is stalled makes a lossless session wait; a lossy one misses bytes, and is told. */
static void test_stalled_viewers(void)
{
	cove_sandbox *sandbox = vm_create("stalled", "busybox", NULL);
	vm_put_helper(sandbox);
	cove_sandbox *other = connect_again(sandbox);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	struct seen seen = { 0 };
	options.id = "flowing";
	options.stdin_mode = COVE_STDIN_PIPE;

	/* Stalled, lossy: the first reader gets all of 32 MiB. */
	cove_process *p =
		stream_shell(sandbox, "read line; exec " VM_HELPER " flow 9 33554432", &options);
	cove_stdin *in = cove_process_take_stdin(p);
	CHECK(seen_next(&seen, p));
	struct cove_open_options open = COVE_OPEN_OPTIONS_INIT;
	open.lossy = true;
	cove_process *lossy = stream_open(other, "flowing", &open);
	struct seen lost = { 0 };
	CHECK(seen_next(&lost, lossy));
	stream_type(in, "go\n");
	seen_to_end(&seen, p);
	CHECK_INT(seen.exit.code, ==, 0);
	CHECK_INT(seen.out.size, ==, 33554432);
	CHECK_INT(flow_check(buffer_front(&seen.out), seen.out.size, 9, 0), ==, seen.out.size);
	seen_done(&seen);
	cove_process_free(p);
	cove_stdin_free(in);

	/* It missed some, and knows how much; what it has is right up to the first gap. */
	seen_to_end(&lost, lossy);
	CHECK_INT(lost.n[COVE_EVENT_GAP], >=, 1);
	CHECK_INT(lost.missing + lost.out.size, ==, 33554432);
	CHECK_INT(lost.exit.code, ==, 0);
	tap_note("the lossy viewer missed %llu bytes in %u gaps", (unsigned long long)lost.missing,
		 lost.n[COVE_EVENT_GAP]);
	seen_done(&lost);
	cove_process_free(lossy);

	/* Stalled, lossless: it holds the command up, but neither other sessions nor the kill. */
	options.id = "held";
	options.stdin_mode = COVE_STDIN_NULL;
	p = stream_exec(sandbox, ARGV(VM_HELPER, "flow", "9", "100000000000"), &options);
	CHECK(seen_next(&seen, p));
	cove_process *stalled = stream_open(other, "held", NULL);
	CHECK_INT(vm_number(sandbox, "echo 5"), ==, 5);
	CHECK_INT(vm_number(other, "echo 6"), ==, 6);
	uint64_t start = clock_monotonic_ms();
	CHECK_OK(cove_process_kill(p, NULL));
	CHECK_INT(clock_monotonic_ms() - start, <, 3000);
	seen_to_end(&seen, p);
	CHECK_INT(seen.exit.cause, ==, COVE_CAUSE_KILLED);
	CHECK_INT(flow_check(buffer_front(&seen.out), seen.out.size, 9, 0), ==, seen.out.size);
	seen_done(&seen);
	cove_process_free(p);
	struct cove_exit ended;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_process_wait(stalled, PATIENCE_MS, &ended, &err), &err);
	CHECK_INT(ended.cause, ==, COVE_CAUSE_KILLED);
	cove_process_free(stalled);
	cove_sandbox_free(other);
	cove_sandbox_free(sandbox);
}

/* ---- letting go ---- */

static void test_free_lets_it_run(void)
{
	cove_sandbox *sandbox = vm_create("letting-go", "busybox", NULL);
	vm_put_helper(sandbox);
	cove_sandbox *other = connect_again(sandbox);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.id = "on-its-own";

	/* Far more than windows and pipes hold: nobody reads it, and it does not wait. */
	cove_process *p = stream_shell(other, VM_HELPER " flow 1 20000000; touch /tmp/done; exit 9",
				       &options);
	struct seen seen = { 0 };
	CHECK(seen_next(&seen, p));
	seen_done(&seen);
	cove_process_free(p);
	cove_sandbox_free(other);
	vm_number(sandbox, UNTIL("done") "echo 0");
	p = stream_open(sandbox, "on-its-own", NULL);
	seen_to_end(&seen, p);
	CHECK_INT(seen.exit.code, ==, 9);
	CHECK_INT(seen.totals[0], ==, 20000000);
	CHECK_INT(seen.out.size + seen.missing, ==, 20000000);
	CHECK_INT(flow_check(buffer_front(&seen.out), seen.out.size, 1, seen.missing), ==,
		  seen.out.size);
	seen_done(&seen);
	cove_process_free(p);

	/* The sandbox's handle goes first: the others are cut off, and still there. */
	other = connect_again(sandbox);
	options.id = "left";
	options.stdin_mode = COVE_STDIN_PIPE;
	p = stream_exec(other, ARGV("cat"), &options);
	CHECK(seen_next(&seen, p));
	cove_control *control = cove_process_control(p);
	cove_stdin *in = cove_process_take_stdin(p);
	cove_sandbox_free(other);
	CHECK_INT(cove_control_kill(control, NULL), ==, COVE_E_LOST);
	seen_to_end(&seen, p);
	CHECK_INT(seen.error.code, ==, COVE_E_LOST);
	CHECK_INT(cove_stdin_write(in, "x", 1, NULL), <, 0);
	cove_control_unref(control);
	cove_stdin_free(in);
	cove_process_free(p);
	seen_done(&seen);

	/* The command itself runs on. */
	p = stream_open(sandbox, "left", NULL);
	in = cove_process_take_stdin(p);
	stream_type(in, "again\n");
	seen_until(&seen, p, "again\n");
	CHECK_OK(cove_process_kill(p, NULL));
	stream_expect(p, &seen, COVE_CAUSE_KILLED, 137, NULL, "");
	cove_stdin_free(in);
	cove_sandbox_free(sandbox);
}

/* ---- ids ---- */

/* An id is one run for ever: while it runs, when it has ended, and when it is forgotten. */
static void test_ids(void)
{
	cove_sandbox *sandbox = vm_create("ids", "busybox", NULL);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	struct cove_error err = COVE_ERROR_INIT;
	struct seen seen = { 0 };
	options.id = "once";
	cove_process *first =
		stream_shell(sandbox, "echo first $$; " UNTIL("end") "echo end; exit 3", &options);
	seen_until(&seen, first, "\n");
	char text[64];
	snprintf(text, sizeof(text), "first %d\nend\n", seen.pid);

	cove_process *second = stream_shell(sandbox, "echo second; exit 4", &options);
	touch(sandbox, "end");
	stream_expect(second, NULL, COVE_CAUSE_EXITED, 3, text, "");
	stream_expect(first, &seen, COVE_CAUSE_EXITED, 3, text, "");
	second = stream_shell(sandbox, "echo second; exit 4", &options);
	stream_expect(second, NULL, COVE_CAUSE_EXITED, 3, text, "");

	/* 1,024 ended ones are kept, so after these it is known only as one that was there. */
	uint64_t start = clock_monotonic_ms();
	struct cove_exec_options many = COVE_EXEC_OPTIONS_INIT;
	size_t rounds = 1100;
	for (size_t i = 0; i < rounds; i++) {
		char id[32], script[64], expected[32];
		snprintf(id, sizeof(id), "id-%zu", i);
		snprintf(script, sizeof(script), "echo %zu", i);
		snprintf(expected, sizeof(expected), "%zu\n", i);
		many.id = id;
		cove_process *p = stream_exec(sandbox, ARGV("echo", script + 5), &many);
		stream_expect(p, NULL, COVE_CAUSE_EXITED, 0, expected, "");
	}
	tap_note("%zu streams one after the other: %llu ms", rounds,
		 (unsigned long long)(clock_monotonic_ms() - start));
	second = stream_shell(sandbox, "echo second; exit 4", &options);
	seen_to_end(&seen, second);
	CHECK_INT(seen.n[COVE_EVENT_FAILED], ==, 1);
	CHECK_INT(seen.error.code, ==, COVE_E_GONE);
	seen_done(&seen);
	cove_process_free(second);
	second = stream_open(sandbox, "once", NULL);
	seen_to_end(&seen, second);
	CHECK_INT(seen.error.code, ==, COVE_E_GONE);
	seen_done(&seen);
	cove_process_free(second);

	/* No option gets around it. */
	cove_output *out = NULL;
	CHECK_INT(cove_shell(sandbox, "echo second", &options, &out, &err), ==, COVE_E_GONE);
	CHECK(out == NULL);
	cove_sandbox_free(sandbox);
}

static const struct tap_test tests[] = {
	{ "background children and the end", test_background, .timeout_s = 90 },
	{ "opening what has ended", test_open_after_the_end, .timeout_s = 60 },
	{ "stalled viewers", test_stalled_viewers, .timeout_s = 90 },
	{ "freed handles", test_free_lets_it_run, .timeout_s = 60 },
	{ "an id is one run", test_ids, .timeout_s = 120 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
