/* SPDX-License-Identifier: Apache-2.0 */

/* One descriptor for all commands of a sandbox. */

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "harness/tap.h"
#include "lib/connection-internal.h"
#include "lib/sandbox.h"
#include "live.h"
#include "wire/frame.h"

#define NONBLOCK	 .flags = COVE_EXEC_NONBLOCK
#define PROCESSES	 200
#define DISPATCH_DEFAULT 16

/* A process of the loop: what it has received so far. */
struct job {
	cove_process *process;
	unsigned number;
	bool started;
	bool ended;
	enum cove_event_kind end;
	uint64_t received[2];
};

static cove_process *start_job(cove_sandbox *s, struct job *job)
{
	job->process = live_start(s, EXEC(NONBLOCK, .user_data = job));
	return job->process;
}

static bool wait_for_loop(cove_sandbox *s, int timeout_ms)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct pollfd fd = { .fd = cove_sandbox_fd(s, &err), .events = cove_sandbox_events(s) };
	CHECK_COVE(fd.fd, &err);
	CHECK_INT(fd.events, ==, POLLIN);
	return CHECK_SYS(poll(&fd, 1, timeout_ms)) == 1;
}

static void take_events(struct job *job)
{
	const struct cove_event *event;
	struct cove_error err = COVE_ERROR_INIT;
	int r;
	while ((r = cove_process_try_recv(job->process, &event, &err)) > 0) {
		CHECK(!job->ended);
		CHECK_INT(job->started, ==, event->kind != COVE_EVENT_STARTED);
		job->started = true;
		if (event->kind == COVE_EVENT_STDOUT || event->kind == COVE_EVENT_STDERR) {
			unsigned i = event->kind == COVE_EVENT_STDERR;
			CHECK_INT(event->offset, ==, job->received[i]);
			job->received[i] += event->bytes;
		}
		if (event->kind == COVE_EVENT_EXITED || event->kind == COVE_EVENT_LOST) {
			job->ended = true;
			job->end = event->kind;
		}
	}
	CHECK(r == 0 ? job->ended : r == COVE_E_AGAIN);
}

/* Until n of them have ended; max at a time. How many times it was told of something. */
static unsigned run_loop(cove_sandbox *s, unsigned n, size_t max)
{
	cove_process *ready[PROCESSES];
	unsigned told = 0;
	while (n > 0) {
		struct cove_error err = COVE_ERROR_INIT;
		CHECK(wait_for_loop(s, 10000));
		int k = CHECK_COVE(cove_sandbox_dispatch(s, ready, max, &err), &err);
		CHECK_INT(k, <=, max);
		for (int i = 0; i < k; i++) {
			struct job *job = cove_process_user_data(ready[i]);
			bool had_ended = job->ended;
			CHECK(ready[i] == job->process);
			take_events(job);
			n -= job->ended && !had_ended;
			told++;
		}
	}
	return told;
}

/* ---- many at once ---- */

/* Each gives its number twice, in pieces, mixed with those of the others. */
static void script_many(struct fake *f)
{
	static const uint8_t bytes[100];
	uint32_t streams[PROCESSES];
	for (unsigned i = 0; i < PROCESSES; i++)
		streams[i] = live_started(f);
	for (unsigned k = 0; k < 10; k++)
		for (unsigned i = 0; i < PROCESSES; i++) {
			fake_data(f, streams[i], WIRE_STDOUT, 100 * k, bytes, 100);
			fake_data(f, streams[i], WIRE_STDERR, 50 * k, bytes, 50);
		}
	for (unsigned i = 0; i < PROCESSES; i++)
		fake_exited(f, streams[i], 1000, 500);
	live_until_gone(f);
}

static void test_many(void)
{
	static const size_t sizes[] = { PROCESSES, DISPATCH_DEFAULT, 1 };
	for (unsigned k = 0; k < ARRAY_SIZE(sizes); k++) {
		struct fake f;
		static struct job jobs[PROCESSES];
		memset(jobs, 0, sizeof(jobs));
		cove_sandbox *s = fake_start(&f, script_many, NULL);
		int fd = cove_sandbox_fd(s, NULL);
		for (unsigned i = 0; i < PROCESSES; i++)
			start_job(s, &jobs[i]);
		run_loop(s, PROCESSES, sizes[k]);
		CHECK_INT(cove_sandbox_fd(s, NULL), ==, fd);
		for (unsigned i = 0; i < PROCESSES; i++) {
			CHECK_INT(jobs[i].end, ==, COVE_EVENT_EXITED);
			CHECK_INT(jobs[i].received[0], ==, 1000);
			CHECK_INT(jobs[i].received[1], ==, 500);
			cove_process_free(jobs[i].process);
		}
		/* With one thread and room for all, nothing was spent on waking it. */
		if (sizes[k] == PROCESSES)
			CHECK(!s->connection->loop.signalled);
		/* Nothing is left to be told of, but the answers to CLOSE, to nobody. */
		cove_process *ready[1];
		do
			CHECK_INT(cove_sandbox_dispatch(s, ready, 1, NULL), ==, 0);
		while (wait_for_loop(s, 20));
		fake_end(&f, s);
	}
}

/* ---- told once ---- */

static void script_one_by_one(struct fake *f)
{
	struct live_steps *steps = f->data;
	uint32_t a = live_started(f), b = live_started(f);
	live_print(f, a, WIRE_STDOUT, 0, "x");
	live_print(f, b, WIRE_STDOUT, 0, "x");
	live_pass(steps, 0);
	live_await(steps, 1);
	live_print(f, a, WIRE_STDOUT, 1, "y");
	live_pass(steps, 2);
	live_until_gone(f);
}

/* Told once of what is new, and not of those that are gone. */
static void test_once(void)
{
	struct fake f;
	struct live_steps *steps = live_steps_new();
	struct job jobs[2] = { { .number = 0 } };
	cove_process *ready[8];
	const struct cove_event *event;
	cove_sandbox *s = fake_start(&f, script_one_by_one, steps);
	start_job(s, &jobs[0]);
	start_job(s, &jobs[1]);
	live_await(steps, 0);
	CHECK(wait_for_loop(s, 10000));
	CHECK_INT(cove_sandbox_dispatch(s, ready, 0, NULL), ==, 0);
	CHECK(wait_for_loop(s, 10000));
	CHECK_INT(cove_sandbox_dispatch(s, ready, 8, NULL), ==, 2);
	CHECK(ready[0] == jobs[0].process && ready[1] == jobs[1].process);
	/* Taken or not. */
	CHECK(!wait_for_loop(s, 0));
	CHECK_INT(cove_sandbox_dispatch(s, ready, 8, NULL), ==, 0);
	take_events(&jobs[0]);
	live_pass(steps, 1);
	live_await(steps, 2);
	CHECK(wait_for_loop(s, 10000));
	CHECK_INT(cove_sandbox_dispatch(s, ready, 8, NULL), ==, 1);
	CHECK(ready[0] == jobs[0].process);
	CHECK_INT(cove_process_try_recv(jobs[0].process, &event, NULL), ==, 1);
	CHECK_INT(jobs[1].received[0], ==, 0);
	take_events(&jobs[1]);
	CHECK_INT(jobs[1].received[0], ==, 1);
	cove_process_free(jobs[0].process);
	cove_process_free(jobs[1].process);
	fake_end(&f, s);
	live_steps_free(steps);
}

static void test_freed(void)
{
	struct fake f;
	struct live_steps *steps = live_steps_new();
	struct job jobs[2] = { { .number = 0 } };
	cove_process *ready[8];
	cove_sandbox *s = fake_start(&f, script_one_by_one, steps);
	start_job(s, &jobs[0]);
	start_job(s, &jobs[1]);
	live_await(steps, 0);
	CHECK(wait_for_loop(s, 10000));
	CHECK_INT(cove_sandbox_dispatch(s, ready, 1, NULL), ==, 1);
	/* The other is in line. */
	CHECK(wait_for_loop(s, 10000));
	cove_process_free(jobs[1].process);
	CHECK_INT(cove_sandbox_dispatch(s, ready, 8, NULL), ==, 0);
	CHECK(!wait_for_loop(s, 0));
	cove_process_free(jobs[0].process);
	live_pass(steps, 1);
	fake_end(&f, s);
	live_steps_free(steps);
}

/* ---- with threads that wait on the same sandbox ---- */

#define ROUNDS 300

static void script_echo(struct fake *f)
{
	struct wire_event event;
	while (fake_next(f, &event)) {
		if (event.kind != WIRE_EVENT_MESSAGE || event.type != WIRE_EXEC)
			continue;
		fake_started(f, event.stream);
		fake_data(f, event.stream, WIRE_STDOUT, 0, "hello", 5);
		fake_exited(f, event.stream, 5, 0);
	}
}

struct thief {
	pthread_t thread;
	cove_sandbox *sandbox;
	atomic_bool *stop;
	unsigned rounds;
};

/* Whoever waits reads for all, the loop included. */
static void *steal(void *data)
{
	struct thief *thief = data;
	do {
		struct cove_error err = COVE_ERROR_INIT;
		cove_output *out;
		CHECK_COVE(cove_exec(thief->sandbox, (const char *const[]){ "x", NULL }, NULL, &out,
				     &err),
			   &err);
		CHECK_STR(out->stdout_data, "hello");
		cove_output_free(out);
		thief->rounds++;
	} while (!atomic_load(thief->stop));
	return NULL;
}

static void test_thieves(void)
{
	struct fake f;
	struct thief thieves[3];
	atomic_bool stop = false;
	cove_sandbox *s = fake_start(&f, script_echo, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(thieves); i++) {
		thieves[i] = (struct thief){ .sandbox = s, .stop = &stop };
		CHECK_INT(pthread_create(&thieves[i].thread, NULL, steal, &thieves[i]), ==, 0);
	}
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct job jobs[3] = { { .number = 0 } };
		for (unsigned k = 0; k < ARRAY_SIZE(jobs); k++)
			start_job(s, &jobs[k]);
		run_loop(s, ARRAY_SIZE(jobs), DISPATCH_DEFAULT);
		for (unsigned k = 0; k < ARRAY_SIZE(jobs); k++) {
			CHECK_INT(jobs[k].received[0], ==, 5);
			cove_process_free(jobs[k].process);
		}
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < ARRAY_SIZE(thieves); i++)
		pthread_join(thieves[i].thread, NULL);
	fake_end(&f, s);
}

/* The loop reads what a thread waits for, which must not sleep on. */
static void test_robbed(void)
{
	struct fake f;
	struct thief thief;
	atomic_bool stop = false;
	cove_process *ready[1];
	cove_sandbox *s = fake_start(&f, script_echo, NULL);
	thief = (struct thief){ .sandbox = s, .stop = &stop };
	CHECK_INT(pthread_create(&thief.thread, NULL, steal, &thief), ==, 0);
	for (unsigned i = 0; i < 20 * ROUNDS; i++)
		CHECK_INT(cove_sandbox_dispatch(s, ready, 1, NULL), ==, 0);
	atomic_store(&stop, true);
	pthread_join(thief.thread, NULL);
	CHECK_INT(thief.rounds, >, 0);
	fake_end(&f, s);
}

/* ---- no room ---- */

#define LARGE (1u << 20)

static void script_late_reader(struct fake *f)
{
	struct live_steps *steps = f->data;
	struct wire_event event;
	unsigned n = 0;
	live_await(steps, 0);
	while (fake_next(f, &event))
		if (event.kind == WIRE_EVENT_MESSAGE) {
			CHECK_INT(event.type, ==, WIRE_EXEC);
			fake_started(f, event.stream);
			fake_exited(f, event.stream, 0, 0);
			n++;
		}
	CHECK_INT(n, >=, 14);
}

/* A start that finds no room, and then the loop says when it does. */
static void test_start_again(void)
{
	struct fake f;
	struct live_steps *steps = live_steps_new();
	struct cove_error err = COVE_ERROR_INIT;
	static struct job jobs[100];
	cove_process *none = NULL;
	_cleanup_free_ char *large = malloc(LARGE);
	memset(large, 'x', LARGE - 1);
	large[LARGE - 1] = 0;
	const char *const argv[] = { "x", large, NULL };
	cove_sandbox *s = fake_start(&f, script_late_reader, steps);
	CHECK(!wait_for_loop(s, 0));
	unsigned n = 0;
	int r;
	while ((r = cove_exec_stream(s, argv, EXEC(NONBLOCK, .user_data = &jobs[n]),
				     &jobs[n].process, &err)) == 0)
		CHECK_INT(++n, <, ARRAY_SIZE(jobs));
	CHECK_INT(r, ==, COVE_E_AGAIN);
	CHECK_INT(n, >=, 14);
	CHECK(!wait_for_loop(s, 0));
	live_pass(steps, 0);
	while (cove_exec_stream(s, argv, EXEC(NONBLOCK, .user_data = &jobs[n]), &none, &err) ==
	       COVE_E_AGAIN) {
		cove_process *ready[1];
		CHECK(wait_for_loop(s, 10000));
		if (cove_sandbox_dispatch(s, ready, 1, NULL) == 1)
			take_events(cove_process_user_data(ready[0]));
	}
	jobs[n++].process = none;
	unsigned left = 0;
	for (unsigned i = 0; i < n; i++)
		left += !jobs[i].ended;
	run_loop(s, left, DISPATCH_DEFAULT);
	for (unsigned i = 0; i < n; i++)
		cove_process_free(jobs[i].process);
	fake_end(&f, s);
	live_steps_free(steps);
}

#define INPUT (3u << 20)

static void script_slow_reader(struct fake *f)
{
	struct live_steps *steps = f->data;
	uint32_t stream = live_started(f);
	struct wire_event event;
	uint64_t received = 0;
	live_await(steps, 0);
	while (received < INPUT) {
		CHECK(fake_next(f, &event));
		if (event.kind == WIRE_EVENT_EOF)
			continue;
		CHECK_INT(event.kind, ==, WIRE_EVENT_DATA);
		CHECK_INT(event.offset, ==, received);
		received += event.size;
		CHECK_OK(wire_link_consumed(f->link, stream, WIRE_STDIN, event.size));
	}
	fake_exited(f, stream, 0, 0);
	live_until_gone(f);
}

static void test_room(void)
{
	struct fake f;
	struct live_steps *steps = live_steps_new();
	struct job job = { .number = 0 };
	struct cove_error err = COVE_ERROR_INIT;
	_cleanup_free_ char *bytes = calloc(1, INPUT);
	size_t n, written = 0;
	unsigned told = 0;
	cove_sandbox *s = fake_start(&f, script_slow_reader, steps);
	CHECK(!wait_for_loop(s, 0));
	job.process =
		live_start(s, EXEC(NONBLOCK, .user_data = &job, .stdin_mode = COVE_STDIN_PIPE));
	cove_stdin *in = cove_process_take_stdin(job.process);
	while (written < INPUT) {
		int r = cove_stdin_try_write(in, bytes + written, INPUT - written, &n, &err);
		if (r == 0) {
			written += n;
			continue;
		}
		CHECK_INT(r, ==, COVE_E_AGAIN);
		live_pass(steps, 0);
		cove_process *ready[1];
		do
			CHECK(wait_for_loop(s, 10000));
		while (CHECK_COVE(cove_sandbox_dispatch(s, ready, 1, &err), &err) == 0);
		CHECK(ready[0] == job.process);
		take_events(&job);
		told++;
	}
	/* Half a buffer at a time, at the least. */
	CHECK_INT(told, <=, INPUT / (COVE_STDIN_BUFFER_BYTES / 2) + 2);
	CHECK_COVE(cove_stdin_close(in, &err), &err);
	run_loop(s, 1, DISPATCH_DEFAULT);
	cove_stdin_free(in);
	cove_process_free(job.process);
	fake_end(&f, s);
	live_steps_free(steps);
}

/* ---- requests ---- */

static void script_asked(struct fake *f)
{
	uint32_t stream;
	wire_message_free(&fake_expect_exec(f, &stream)->base);
	CHECK_INT(fake_expect(f, WIRE_SIGNAL), ==, stream);
	CHECK_INT(fake_expect(f, WIRE_RESIZE), ==, stream);
	CHECK_INT(fake_expect(f, WIRE_CLOSE_OUTPUT), ==, stream);
	CHECK_INT(fake_expect(f, WIRE_KILL), ==, stream);
	fake_started(f, stream);
	fake_ack(f, stream, 1, 0);
	fake_ack(f, stream, 2, COVE_E_STATE);
	fake_exited(f, stream, 0, 0);
	live_expect_close(f, stream);
	live_until_gone(f);
}

/* They only send; and know of an end that is known. */
static void test_requests(void)
{
	struct fake f;
	struct job job = { .number = 0 };
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = fake_start(&f, script_asked, NULL);
	cove_process *p = start_job(s, &job);
	CHECK_INT(cove_process_signal(p, 99, &err), ==, COVE_E_INVALID);
	CHECK_COVE(cove_process_signal(p, 10, &err), &err);
	CHECK_COVE(cove_process_resize(p, 10, 10, &err), &err);
	CHECK_COVE(cove_process_close_output(p, COVE_STDERR, &err), &err);
	CHECK_COVE(cove_process_kill(p, &err), &err);
	run_loop(s, 1, DISPATCH_DEFAULT);
	CHECK_INT(cove_process_kill(p, &err), ==, COVE_E_STATE);
	cove_process_free(p);
	fake_end(&f, s);
}

/* ---- a peer that never stops ---- */

#define FLOODS 20

static void script_flood(struct fake *f)
{
	static uint8_t bytes[WIRE_DATA_MAX];
	uint32_t streams[FLOODS];
	for (unsigned i = 0; i < FLOODS; i++)
		streams[i] = live_started(f);
	for (unsigned k = 0; k < WIRE_INITIAL_WINDOW / sizeof(bytes); k++)
		for (unsigned i = 0; i < FLOODS; i++) {
			fake_data(f, streams[i], WIRE_STDOUT, k * sizeof(bytes), bytes,
				  sizeof(bytes));
			fake_data(f, streams[i], WIRE_STDERR, k * sizeof(bytes), bytes,
				  sizeof(bytes));
		}
	live_until_gone(f);
}

/* One call reads a bounded amount, however much is there. */
static void test_flood(void)
{
	struct fake f;
	static struct job jobs[FLOODS];
	cove_process *ready[FLOODS];
	const uint64_t all = 2ull * FLOODS * WIRE_INITIAL_WINDOW;
	uint64_t total = 0;
	cove_sandbox *s = fake_start(&f, script_flood, NULL);
	for (unsigned i = 0; i < FLOODS; i++)
		start_job(s, &jobs[i]);
	while (total < all) {
		CHECK(wait_for_loop(s, 10000));
		int n = CHECK_COVE(cove_sandbox_dispatch(s, ready, FLOODS, NULL), NULL);
		uint64_t before = total;
		for (int i = 0; i < n; i++) {
			struct job *job = cove_process_user_data(ready[i]);
			total -= job->received[0] + job->received[1];
			take_events(job);
			total += job->received[0] + job->received[1];
		}
		CHECK_INT(total - before, <=, (2u << 20));
	}
	for (unsigned i = 0; i < FLOODS; i++)
		cove_process_free(jobs[i].process);
	fake_end(&f, s);
}

/* ---- the end of the sandbox ---- */

static void script_dies(struct fake *f)
{
	for (unsigned i = 0; i < PROCESSES; i++)
		live_started(f);
}

static void script_breaks(struct fake *f)
{
	for (unsigned i = 0; i < PROCESSES; i++)
		live_started(f);
	CHECK_SYS(write(f->fd, "garbage on the line", 19));
	live_until_gone(f);
}

static void test_end(void)
{
	static void (*const scripts[])(struct fake * f) = { script_dies, script_breaks };
	static const int codes[] = { COVE_E_LOST, COVE_E_PROTOCOL };
	for (unsigned k = 0; k < ARRAY_SIZE(scripts); k++) {
		struct fake f;
		static struct job jobs[PROCESSES];
		cove_process *ready[1];
		memset(jobs, 0, sizeof(jobs));
		struct cove_error err = COVE_ERROR_INIT;
		cove_sandbox *s = fake_start(&f, scripts[k], NULL);
		for (unsigned i = 0; i < PROCESSES; i++)
			start_job(s, &jobs[i]);
		run_loop(s, PROCESSES, DISPATCH_DEFAULT);
		for (unsigned i = 0; i < 2; i++) {
			CHECK(wait_for_loop(s, 0));
			CHECK_INT(cove_sandbox_dispatch(s, ready, 1, &err), ==, codes[k]);
		}
		for (unsigned i = 0; i < PROCESSES; i++) {
			CHECK_INT(jobs[i].end, ==, COVE_EVENT_LOST);
			cove_process_free(jobs[i].process);
		}
		cove_process *p;
		CHECK_INT(cove_exec_stream(s, (const char *const[]){ "x", NULL }, EXEC(NONBLOCK),
					   &p, &err),
			  ==, codes[k]);
		fake_end(&f, s);
	}
}

/* Told by somebody else's reading, and of an end that came before anybody asked. */
static void test_late_fd(void)
{
	struct fake f;
	struct job job = { .number = 0 };
	cove_process *ready[1];
	cove_sandbox *s = fake_start(&f, script_echo, NULL);
	start_job(s, &job);
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_process_wait(job.process, -1, NULL, &err), &err);
	CHECK(wait_for_loop(s, 0));
	CHECK_INT(cove_sandbox_dispatch(s, ready, 1, NULL), ==, 1);
	CHECK(ready[0] == job.process);
	take_events(&job);
	CHECK(job.ended);
	cove_process_free(job.process);
	fake_end(&f, s);

	s = fake_start(&f, live_until_gone, NULL);
	connection_lock(s->connection);
	shutdown(s->connection->fd, SHUT_RDWR);
	connection_unlock(s->connection);
	CHECK_INT(cove_sandbox_dispatch(s, ready, 1, NULL), ==, COVE_E_LOST);
	CHECK(wait_for_loop(s, 0));
	fake_end(&f, s);
}

static const struct tap_test tests[] = {
	{ "many processes", test_many, .timeout_s = 60 },
	{ "told once", test_once },
	{ "a process that is freed", test_freed },
	{ "threads that read for the loop", test_thieves, .timeout_s = 60 },
	{ "a loop that reads for threads", test_robbed, .timeout_s = 60 },
	{ "no room to start", test_start_again, .timeout_s = 60 },
	{ "room to write", test_room, .timeout_s = 60 },
	{ "requests that are only sent", test_requests },
	{ "a flood", test_flood },
	{ "the end", test_end },
	{ "a descriptor asked for late", test_late_fd },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
