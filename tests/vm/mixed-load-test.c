/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Who blocks, blocks itself: in one sandbox, over one connection, one session floods at full rate, one
 * is never read, two never read their stdin; meanwhile somebody types, and everything ends on time.
 */

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "pattern.h"
#include "stream.h"
#include "vm.h"

#define KEYSTROKES 400

/*
 * What is asserted of times is far above what they are (`make bench` measures that), and far below
 * what it would be if one session waited for another.
 */
#define KEYSTROKE_STALL_US 1000000
#define END_STALL_MS	   3000

#define TIMEOUT_MS 1500
#define SEED	   21u

struct flood {
	cove_process *process;
	uint64_t bytes;
	bool right, over;
	struct cove_exit exit;
	uint64_t total;
};

static void *receive_flood(void *data)
{
	struct flood *f = data;
	const struct cove_event *event;
	f->right = true;
	while (cove_process_recv(f->process, &event, PATIENCE_MS, NULL) > 0) {
		if (event->kind == COVE_EVENT_STDOUT) {
			f->right = f->right && event->offset == f->bytes &&
				   flow_check(event->data, event->bytes, SEED, f->bytes) ==
					   event->bytes;
			f->bytes += event->bytes;
		} else if (event->kind == COVE_EVENT_EXITED) {
			f->over = true;
			f->exit = event->exit;
			f->total = event->stdout_total;
		}
	}
	return NULL;
}

struct writer {
	cove_stdin *in;
	int result;
};

static void *write_for_ever(void *data)
{
	struct writer *w = data;
	static char block[1 << 20];
	do
		w->result = cove_stdin_write(w->in, block, sizeof(block), NULL);
	while (w->result == 0);
	return NULL;
}

/* Writes what is taken without waiting. */
static size_t write_until_again(cove_stdin *in)
{
	static char block[1 << 20];
	size_t all = 0, taken = 0;
	int r;
	while ((r = cove_stdin_try_write(in, block, sizeof(block), &taken, NULL)) == 0)
		all += taken;
	CHECK_INT(r, ==, COVE_E_AGAIN);
	return all;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

/* One key after the other, each of which must come back as it is before the next. */
static void type_keys(cove_process *p, cove_stdin *in, struct seen *seen, const char *when)
{
	static uint64_t us[KEYSTROKES];
	struct cove_error err = COVE_ERROR_INIT;
	for (size_t i = 0; i < KEYSTROKES; i++) {
		unsigned char key = (unsigned char)pattern_mix(i);
		size_t before = seen->out.size;
		uint64_t start = clock_monotonic_ns();
		CHECK_COVE(cove_stdin_write(in, &key, 1, &err), &err);
		while (seen->out.size == before)
			CHECK(seen_next(seen, p));
		us[i] = (clock_monotonic_ns() - start) / 1000;
		CHECK_INT(seen->out.size, ==, before + 1);
		CHECK_INT(buffer_front(&seen->out)[before], ==, key);
	}
	qsort(us, KEYSTROKES, sizeof(us[0]), compare_u64);
	tap_note("keystrokes %s: p50 %llu us, p99 %llu us, max %llu us", when,
		 (unsigned long long)us[KEYSTROKES / 2],
		 (unsigned long long)us[KEYSTROKES * 99 / 100],
		 (unsigned long long)us[KEYSTROKES - 1]);
	CHECK_INT(us[KEYSTROKES * 99 / 100], <=, KEYSTROKE_STALL_US);
}

static void check_timed_out(cove_process *p, const char *what)
{
	struct cove_exit ended;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_process_wait(p, PATIENCE_MS, &ended, &err), &err);
	tap_note("%s: timed out after %llu ms", what,
		 (unsigned long long)(ended.elapsed_ns / 1000000));
	CHECK_STR(cove_cause_name(ended.cause), "timed_out");
	CHECK_INT(ended.code, ==, 137);
	CHECK_INT(ended.elapsed_ns / 1000000, >=, TIMEOUT_MS);
	CHECK_INT(ended.elapsed_ns / 1000000, <=, TIMEOUT_MS + END_STALL_MS);
	cove_process_free(p);
}

/* Kills it, and waits until it is known to be dead. */
static void check_killed(cove_process *p, const char *what)
{
	struct cove_exit ended;
	struct cove_error err = COVE_ERROR_INIT;
	uint64_t start = clock_monotonic_ms();
	CHECK_COVE(cove_process_kill(p, &err), &err);
	CHECK_COVE(cove_process_wait(p, PATIENCE_MS, &ended, &err), &err);
	uint64_t ms = clock_monotonic_ms() - start;
	tap_note("%s: killed in %llu ms", what, (unsigned long long)ms);
	CHECK_STR(cove_cause_name(ended.cause), "killed");
	CHECK_INT(ended.code, ==, 137);
	CHECK_INT(ms, <=, END_STALL_MS);
	cove_process_free(p);
}

static void test_mixed(void)
{
	cove_sandbox *sandbox = vm_create("mixed", "busybox", NULL);
	vm_put_helper(sandbox);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	struct cove_error err = COVE_ERROR_INIT;
	const char *const *flow = ARGV(VM_HELPER, "flow", "21", "1000000000000");

	options.tty = true;
	options.stdin_mode = COVE_STDIN_PIPE;
	cove_process *typed = stream_exec(sandbox, ARGV(VM_HELPER, "echo"), &options);
	cove_stdin *keys = cove_process_take_stdin(typed);
	struct seen seen = { 0 };
	seen_until(&seen, typed, "ready");
	type_keys(typed, keys, &seen, "alone");

	/* Never received: with and without a time limit, pipe and terminal. */
	options.stdin_mode = COVE_STDIN_NULL;
	cove_process *stalled_tty = stream_exec(sandbox, flow, &options);
	options.tty = false;
	cove_process *stalled = stream_exec(sandbox, flow, &options);
	options.timeout_ms = TIMEOUT_MS;
	cove_process *stalled_limited = stream_exec(sandbox, flow, &options);

	/* Never read: a writer that waits, and one that does not. */
	options.stdin_mode = COVE_STDIN_PIPE;
	options.flags = COVE_EXEC_NONBLOCK;
	cove_process *unread_limited = stream_exec(sandbox, ARGV("sleep", "1000"), &options);
	cove_stdin *unread_in = cove_process_take_stdin(unread_limited);
	CHECK_INT(write_until_again(unread_in), >=, 1);
	options.flags = 0;
	options.timeout_ms = 0;
	cove_process *unread = stream_exec(sandbox, ARGV("sleep", "1000"), &options);
	struct writer writer = { .in = cove_process_take_stdin(unread) };
	pthread_t writing, flooding;
	CHECK_INT(pthread_create(&writing, NULL, write_for_ever, &writer), ==, 0);

	/* Received as fast as it comes. */
	uint64_t start = clock_monotonic_ms();
	struct flood flood = { .process = stream_exec(sandbox, flow, NULL) };
	CHECK_INT(pthread_create(&flooding, NULL, receive_flood, &flood), ==, 0);

	type_keys(typed, keys, &seen, "under load");
	CHECK_INT(vm_number(sandbox, "echo 3"), ==, 3);

	check_timed_out(stalled_limited, "output that is not received");
	check_timed_out(unread_limited, "stdin that is not read");
	size_t taken;
	CHECK_INT(cove_stdin_try_write(unread_in, "x", 1, &taken, &err), <, 0);
	CHECK_INT(err.code, !=, COVE_E_AGAIN);
	cove_stdin_free(unread_in);
	check_killed(stalled, "output that is not received");
	check_killed(stalled_tty, "a terminal that is not received");
	check_killed(unread, "stdin that is not read");
	CHECK_INT(pthread_join(writing, NULL), ==, 0);
	CHECK(writer.result == COVE_E_STATE || writer.result == COVE_E_SYSTEM);
	cove_stdin_free(writer.in);

	type_keys(typed, keys, &seen, "beside the flood");
	cove_control *control = cove_process_control(flood.process);
	CHECK_COVE(cove_control_kill(control, &err), &err);
	cove_control_unref(control);
	CHECK_INT(pthread_join(flooding, NULL), ==, 0);
	uint64_t ms = clock_monotonic_ms() - start;
	tap_note("the flood: %llu MiB in %llu ms", (unsigned long long)flood.bytes >> 20,
		 (unsigned long long)ms);
	CHECK(flood.right && flood.over);
	CHECK_INT(flood.exit.cause, ==, COVE_CAUSE_KILLED);
	CHECK_INT(flood.bytes, ==, flood.total);
	CHECK_INT(flood.bytes, >, 1 << 20);
	cove_process_free(flood.process);

	CHECK_COVE(cove_process_signal(typed, SIGTERM, &err), &err);
	CHECK_INT(seen.out.size, ==, 5 + 3 * KEYSTROKES);
	stream_expect(typed, &seen, COVE_CAUSE_KILLED, 128 + SIGTERM, NULL, "");
	cove_stdin_free(keys);
	cove_sandbox_free(sandbox);
}

static const struct tap_test tests[] = {
	{ "nobody waits for another", test_mixed, .timeout_s = 120 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
