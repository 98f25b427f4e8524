/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What goes wrong once in a thousand times, a thousand times: the last bytes, and every request that
 * meets the end of the command on its way. Either answer may be right; that there is one, and that
 * the two fit, must be. COVE_TEST_ROUNDS makes it more.
 */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "pattern.h"
#include "rounds.h"
#include "stream.h"
#include "vm.h"

/* How often, unless COVE_TEST_ROUNDS says it: what CI has time for. */
#define ROUNDS	     300
#define ROUNDS_BYTES 1000

static uint64_t seed; /* of this run: said, so that it can be tried again */

static cove_sandbox *begin(const char *name)
{
	const char *text = getenv("COVE_TEST_SEED");
	seed = text ? strtoull(text, NULL, 10) : clock_realtime_ns();
	tap_note("COVE_TEST_SEED=%llu", (unsigned long long)seed);
	cove_sandbox *sandbox = vm_create(name, "busybox", NULL);
	vm_put_helper(sandbox);
	return sandbox;
}

/* 0 to below n, another for each round. */
static uint64_t luck(size_t round, uint64_t n)
{
	return pattern_mix(seed + round * 1000003) % n;
}

static void spin_us(uint64_t us)
{
	uint64_t until = clock_monotonic_ns() + us * 1000;
	while (clock_monotonic_ns() < until)
		;
}

/* A command that ends by itself after some of the time that a request takes. */
static cove_process *start_short(cove_sandbox *sandbox, size_t round,
				 const struct cove_exec_options *options)
{
	char us[32];
	snprintf(us, sizeof(us), "%llu", (unsigned long long)luck(round, 3000));
	return stream_exec(sandbox, ARGV("usleep", us), options);
}

struct tally {
	unsigned exited, ended; /* by itself; by what was asked for */
	/* What is asked for comes so late at most. Follows the results: both are to come about. */
	uint64_t latest_us;
};

#define TALLY_INIT                                                                                 \
	{                                                                                          \
		.latest_us = 8000                                                                  \
	}

/*
 * The end was its own, with code 0, or that of what was asked for, with this cause and code. r: what
 * the request said.
 */
static void check_either(struct seen *seen, int r, enum cove_cause cause, int code,
			 struct tally *tally)
{
	CHECK_STR(seen->error.message, "");
	bool exited = seen->exit.cause == COVE_CAUSE_EXITED && seen->exit.code == 0;
	bool ended = seen->exit.cause == cause && seen->exit.code == code;
	/* A limit that was passed is named also where the command was just faster than the kill. */
	if (cause == COVE_CAUSE_TIMED_OUT && seen->exit.cause == cause)
		ended = seen->exit.code == code || seen->exit.code == 0;
	if (!exited && !ended)
		tap_note("it ended: %s, %d; the request said %d", cove_cause_name(seen->exit.cause),
			 seen->exit.code, r);
	CHECK(exited || ended);
	CHECK(r == 0 || r == COVE_E_STATE);
	if (r == COVE_E_STATE)
		CHECK(exited);
	*(exited ? &tally->exited : &tally->ended) += 1;
	tally->latest_us += exited ? -(tally->latest_us / 16) : tally->latest_us / 16 + 16;
	seen_done(seen);
}

static void end_either(cove_process *p, int r, enum cove_cause cause, int code, struct tally *tally)
{
	struct seen seen = { 0 };
	seen_to_end(&seen, p);
	check_either(&seen, r, cause, code, tally);
	cove_process_free(p);
}

static void say(const struct tally *tally, const char *what)
{
	tap_note("%u exited, %u were %s", tally->exited, tally->ended, what);
	/* Both ends of the race were seen, else it was none. */
	CHECK_INT(tally->exited, >, 0);
	CHECK_INT(tally->ended, >, 0);
}

/* ---- the last bytes ---- */

#define AT_ONCE 8

struct run {
	cove_process *process;
	size_t round;
	uint64_t seed, sizes[2], done[2];
};

static void start_run(cove_sandbox *sandbox, struct run *run, size_t round)
{
	*run = (struct run){ .round = round, .seed = seed + round };
	unsigned bits = (unsigned)luck(round, 18);
	run->sizes[0] = pattern_mix(~run->seed) & (((uint64_t)1 << bits) - 1);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.flags = COVE_EXEC_NONBLOCK;
	options.user_data = run;
	options.tty = round % 2;
	if (!options.tty && round % 4 == 0)
		run->sizes[1] = run->sizes[0] / 3;
	char text[3][32];
	snprintf(text[0], sizeof(text[0]), "%llu", (unsigned long long)run->seed);
	for (size_t i = 0; i < 2; i++)
		snprintf(text[i + 1], sizeof(text[0]), "%llu", (unsigned long long)run->sizes[i]);
	run->process = stream_exec(sandbox, ARGV(VM_HELPER, "pattern", text[0], text[1], text[2]),
				   &options);
}

static void check_output(struct run *run, const struct cove_event *event)
{
	static unsigned char block[1 << 18];
	size_t i = event->kind == COVE_EVENT_STDERR;
	CHECK_INT(event->offset, ==, run->done[i]);
	CHECK_INT(event->bytes, <=, sizeof(block));
	pattern_fill(block, event->bytes, i ? ~run->seed : run->seed, run->done[i]);
	CHECK_MEM(event->data, event->bytes, block, event->bytes);
	run->done[i] += event->bytes;
}

/* Its events so far. True: it has ended. */
static bool receive_run(struct run *run)
{
	const struct cove_event *event;
	struct cove_error err = COVE_ERROR_INIT;
	int r;
	while ((r = cove_process_try_recv(run->process, &event, &err)) > 0) {
		switch (event->kind) {
		case COVE_EVENT_STARTED:
			break;
		case COVE_EVENT_STDOUT:
		case COVE_EVENT_STDERR:
			check_output(run, event);
			break;
		case COVE_EVENT_EXITED:
			if (run->done[0] != run->sizes[0])
				tap_note("round %zu: %llu of %llu bytes", run->round,
					 (unsigned long long)run->done[0],
					 (unsigned long long)run->sizes[0]);
			CHECK_INT(event->exit.code, ==, run->seed % 100);
			CHECK_INT(run->done[0], ==, run->sizes[0]);
			CHECK_INT(run->done[1], ==, run->sizes[1]);
			break;
		default:
			tap_fail(__FILE__, __LINE__, "round %zu: %s", run->round,
				 cove_event_name(event->kind));
		}
	}
	if (r != COVE_E_AGAIN)
		CHECK_COVE(r, &err);
	return r == 0;
}

static void test_last_bytes(void)
{
	cove_sandbox *sandbox = begin("last-bytes");
	size_t rounds = rounds_or(ROUNDS_BYTES), started = 0, ended = 0;
	static struct run runs[AT_ONCE];
	while (started < MIN(rounds, (size_t)AT_ONCE)) {
		start_run(sandbox, &runs[started], started);
		started++;
	}
	while (ended < rounds) {
		cove_process *ready[AT_ONCE];
		size_t n = stream_turn(sandbox, ready, ARRAY_SIZE(ready));
		for (size_t i = 0; i < n; i++) {
			struct run *run = cove_process_user_data(ready[i]);
			if (!receive_run(run))
				continue;
			cove_process_free(run->process);
			ended++;
			if (started < rounds)
				start_run(sandbox, run, started++);
		}
	}
	cove_sandbox_free(sandbox);
}

/* A background child that holds the pipe, eight at a time. */
static void test_background(void)
{
	cove_sandbox *sandbox = begin("background");
	size_t rounds = rounds_or(ROUNDS);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.linger_ms = 10;
	uint64_t slowest = 0;
	for (size_t i = 0; i < rounds;) {
		cove_process *p[AT_ONCE];
		size_t n = MIN((size_t)AT_ONCE, rounds - i);
		uint64_t start = clock_monotonic_ms();
		for (size_t k = 0; k < n; k++)
			p[k] = stream_shell(sandbox, "sleep 600 & echo hi; exit 3", &options);
		for (size_t k = 0; k < n; k++)
			stream_expect(p[k], NULL, COVE_CAUSE_EXITED, 3, "hi\n", "");
		slowest = MAX(slowest, clock_monotonic_ms() - start);
		i += n;
		if (i % 400 < AT_ONCE) /* they are not to fill the machine */
			vm_number(sandbox, "killall -9 sleep 2>/dev/null; echo 0");
	}
	tap_note("the slowest %d took %llu ms", AT_ONCE, (unsigned long long)slowest);
	CHECK_INT(slowest, <, 10000);
	cove_sandbox_free(sandbox);
}

/* ---- requests that meet the end ---- */

static void test_kill(void)
{
	cove_sandbox *sandbox = begin("kill");
	size_t rounds = rounds_or(ROUNDS);
	struct tally tally = TALLY_INIT;
	for (size_t i = 0; i < rounds; i++) {
		cove_process *p = start_short(sandbox, i, NULL);
		spin_us(luck(~i, tally.latest_us));
		end_either(p, cove_process_kill(p, NULL), COVE_CAUSE_KILLED, 137, &tally);
	}
	say(&tally, "killed");
	CHECK_INT(vm_number(sandbox, "ps -o comm | grep -cx usleep || true"), ==, 0);
	cove_sandbox_free(sandbox);
}

static void test_signal(void)
{
	cove_sandbox *sandbox = begin("signal");
	size_t rounds = rounds_or(ROUNDS);
	struct tally tally = TALLY_INIT;
	for (size_t i = 0; i < rounds; i++) {
		cove_process *p = start_short(sandbox, i, NULL);
		spin_us(luck(~i, tally.latest_us));
		int r = cove_process_signal(p, SIGTERM, NULL);
		end_either(p, r, COVE_CAUSE_KILLED, 128 + SIGTERM, &tally);
	}
	say(&tally, "signalled");
	cove_sandbox_free(sandbox);
}

static void test_timeout(void)
{
	cove_sandbox *sandbox = begin("timeout");
	size_t rounds = rounds_or(ROUNDS);
	struct tally tally = TALLY_INIT;
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	for (size_t i = 0; i < rounds; i++) {
		options.timeout_ms = 1 + luck(~i, tally.latest_us) / 1000;
		cove_process *p = start_short(sandbox, i, &options);
		end_either(p, 0, COVE_CAUSE_TIMED_OUT, 137, &tally);
	}
	say(&tally, "timed out");
	cove_sandbox_free(sandbox);
}

struct killer {
	cove_control *control;
	uint64_t delay_us;
	int result;
};

static void *kill_later(void *data)
{
	struct killer *k = data;
	spin_us(k->delay_us);
	k->result = cove_control_kill(k->control, NULL);
	k->control = cove_control_unref(k->control);
	return NULL;
}

/* By another thread while this one receives, or has let go of the handle. */
static void test_kill_by_thread(void)
{
	cove_sandbox *sandbox = begin("kill-thread");
	size_t rounds = rounds_or(ROUNDS);
	struct tally tally = TALLY_INIT;
	for (size_t i = 0; i < rounds; i++) {
		cove_process *p = start_short(sandbox, i, NULL);
		struct killer k = { cove_process_control(p), luck(~i, tally.latest_us), 1 };
		pthread_t thread;
		CHECK_INT(pthread_create(&thread, NULL, kill_later, &k), ==, 0);
		if (i % 4 == 0) {
			spin_us(luck(i, 6000));
			cove_process_free(p);
			CHECK_INT(pthread_join(thread, NULL), ==, 0);
			CHECK_INT(k.result, !=, 1);
			continue;
		}
		struct seen seen = { 0 };
		seen_to_end(&seen, p);
		CHECK_INT(pthread_join(thread, NULL), ==, 0);
		check_either(&seen, k.result, COVE_CAUSE_KILLED, 137, &tally);
		cove_process_free(p);
	}
	say(&tally, "killed");
	CHECK_WITHIN(vm_number(sandbox, "ps -o comm | grep -cx usleep || true") == 0, 5000);
	cove_sandbox_free(sandbox);
}

static void test_stdin_close(void)
{
	cove_sandbox *sandbox = begin("stdin-close");
	size_t rounds = rounds_or(ROUNDS);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.stdin_mode = COVE_STDIN_PIPE;
	unsigned refused = 0;
	for (size_t i = 0; i < rounds; i++) {
		struct seen seen = { 0 };
		bool reads = i % 2;
		cove_process *p = reads ? stream_exec(sandbox, ARGV("cat"), &options)
					: start_short(sandbox, i, &options);
		cove_stdin *in = cove_process_take_stdin(p);
		if (i % 3 == 0)
			CHECK(seen_next(&seen, p));
		struct cove_error err = COVE_ERROR_INIT;
		struct cove_exit ended;
		if (i % 4 == 2) /* so that the end is seen here, if it is there */
			(void)cove_process_wait(p, (int)luck(~i, 12), &ended, NULL);
		else
			spin_us(luck(~i, 10000));
		int r = cove_stdin_write(in, "last words", 10, &err);
		if (reads)
			CHECK_COVE(r, &err);
		CHECK(r == 0 || r == COVE_E_STATE || r == COVE_E_SYSTEM);
		refused += r < 0;
		if (i % 5)
			(void)cove_stdin_close(in, NULL);
		cove_stdin_free(in);
		stream_expect(p, &seen, COVE_CAUSE_EXITED, 0, reads ? "last words" : "", "");
	}
	tap_note("%u writes came too late", refused);
	cove_sandbox_free(sandbox);
}

/* Freed at any time: what it had asked for happens, and can be asked for again. */
static void test_free(void)
{
	cove_sandbox *sandbox = begin("free");
	size_t rounds = rounds_or(ROUNDS);
	long long fds = vm_open_fds(getpid());
	for (size_t i = 0; i < rounds; i++) {
		char id[32], script[64], expected[32];
		snprintf(id, sizeof(id), "free-%zu", i);
		snprintf(script, sizeof(script), "free %zu", i);
		snprintf(expected, sizeof(expected), "free %zu\n", i);
		struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
		options.id = id;
		options.stdin_mode = i % 2 ? COVE_STDIN_PIPE : COVE_STDIN_NULL;
		cove_process *p = stream_exec(sandbox, ARGV("echo", script), &options);
		cove_stdin *in = i % 4 == 1 ? cove_process_take_stdin(p) : NULL;
		cove_control *control = i % 3 ? NULL : cove_process_control(p);
		struct seen seen = { 0 };
		for (uint64_t n = luck(i, 3); n > 0 && !seen.over; n--)
			CHECK(seen_next(&seen, p));
		seen_done(&seen);
		spin_us(luck(~i, 8000));
		cove_process_free(p);
		cove_stdin_free(in);
		cove_control_unref(control);
		p = stream_open(sandbox, id, NULL);
		stream_expect(p, NULL, COVE_CAUSE_EXITED, 0, expected, "");
	}
	CHECK_INT(vm_open_fds(getpid()), ==, fds);
	cove_sandbox_free(sandbox);
}

/* ---- what does not start ---- */

static void test_failures(void)
{
	static const char *const wrong[] = { "no-such-program", "/etc", "/etc/passwd", "" };
	cove_sandbox *sandbox = begin("no-start");
	size_t rounds = rounds_or(ROUNDS);
	long long fds = vm_open_fds(getpid()), agent_fds = 0;
	long long agent_kib = 0;
	for (size_t i = 0; i < rounds + 100; i++) {
		struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
		options.tty = i % 2;
		options.stdin_mode = i % 3 ? COVE_STDIN_PIPE : COVE_STDIN_NULL;
		options.cwd = i % 5 ? "/" : "/nowhere";
		cove_process *p = stream_exec(sandbox, ARGV(wrong[i % 4], "x"), &options);
		cove_stdin *in = i % 2 ? cove_process_take_stdin(p) : NULL;
		if (in)
			(void)cove_stdin_write(in, "x", 1, NULL);
		if (i % 7 == 0) {
			cove_process_free(p);
			cove_stdin_free(in);
			continue;
		}
		struct seen seen = { 0 };
		seen_to_end(&seen, p);
		CHECK_INT(seen.n[COVE_EVENT_FAILED], ==, 1);
		CHECK_INT(seen.error.code, ==, COVE_E_START);
		CHECK_INT(seen.error.stage, ==, i % 5 ? COVE_STAGE_EXEC : COVE_STAGE_CWD);
		seen_done(&seen);
		cove_process_free(p);
		cove_stdin_free(in);
		if (i == 100) { /* caches are full */
			agent_fds = vm_number(sandbox, "ls /proc/1/fd | wc -l");
			agent_kib = vm_agent_kib(sandbox);
		}
	}
	CHECK_WITHIN(vm_number(sandbox, "ls /proc/1/fd | wc -l") <= agent_fds, 5000);
	CHECK_INT(vm_agent_kib(sandbox), <=, agent_kib + 256);
	CHECK_INT(vm_open_fds(getpid()), ==, fds);
	cove_sandbox_free(sandbox);
}

static const struct tap_test tests[] = {
	{ "the last bytes, pipe and terminal", test_last_bytes, .timeout_s = 1800 },
	{ "a background child holds the pipe", test_background, .timeout_s = 1800 },
	{ "kill and exit", test_kill, .timeout_s = 1800 },
	{ "kill by another thread and exit", test_kill_by_thread, .timeout_s = 1800 },
	{ "signal and exit", test_signal, .timeout_s = 1800 },
	{ "timeout and exit", test_timeout, .timeout_s = 1800 },
	{ "end of stdin and exit", test_stdin_close, .timeout_s = 1800 },
	{ "free and exit", test_free, .timeout_s = 1800 },
	{ "failed starts", test_failures, .timeout_s = 1800 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
