/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key is pressed, and its echo comes back: through the library, the supervisor, the port, the
 * agent, a terminal, `cat`, and all the way back. Alone, and beside a session that streams at full
 * rate, one whose output nobody reads, and one that does not read its stdin.
 *
 * The baseline is the cheapest request that the agent answers: setting a terminal to the size that it
 * has. Nothing is started or woken in the guest for it, so it is what a ping from client to agent
 * costs.
 */
#include <err.h>
#include <pthread.h>
#include <stdatomic.h>

#include "bench.h"

#define ROWS 24
#define COLS 80

static struct samples ping = { .name = "baseline: the agent answers (resize)", .unit = "ms" };
static struct samples echo_idle = { .name = "echo of a keystroke, idle", .unit = "ms" };
static struct samples ping_busy = { .name = "baseline: the agent answers, beside a flood",
				    .unit = "ms" };
static struct samples echo_busy = { .name = "echo of a keystroke, beside a flood and two stalls",
				    .unit = "ms" };
static struct samples flood_rate = { .name = "the flood meanwhile", .unit = "MB/s" };

/* A session that answers each byte with that byte. */
struct echo {
	cove_process *process;
	cove_stdin *in;
};

static struct echo echo_start(cove_sandbox *sandbox)
{
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.stdin_mode = COVE_STDIN_PIPE;
	options.tty = true;
	options.rows = ROWS;
	options.cols = COLS;
	struct echo e;
	/* Without the terminal's own echo: what answers is the program. */
	e.process =
		guest_stream(sandbox, ARGV("sh", "-c", "stty raw -echo; echo; exec cat"), &options);
	e.in = cove_process_take_stdin(e.process);
	guest_await_bytes(e.process, 1);
	return e;
}

static void echo_end(struct echo *e)
{
	cove_stdin_free(e->in);
	guest_end(e->process);
}

static void press(struct echo *e, struct samples *s)
{
	struct cove_error error;
	uint64_t start = clock_monotonic_ns();
	if (cove_stdin_write(e->in, "k", 1, &error) < 0)
		errx(1, "write: %s", error.message);
	guest_await_bytes(e->process, 1);
	samples_add(s, ms_since(start));
}

static void ask(struct echo *e, struct samples *s)
{
	struct cove_error error;
	uint64_t start = clock_monotonic_ns();
	if (cove_process_resize(e->process, ROWS, COLS, &error) < 0)
		errx(1, "resize: %s", error.message);
	samples_add(s, ms_since(start));
}

static void measure(struct echo *e, struct samples *echo, struct samples *baseline, int rounds)
{
	for (int i = 0; i < rounds; i++) {
		ask(e, baseline);
		press(e, echo);
	}
}

static atomic_bool flooding;
static atomic_ullong flooded;

/* Receives all that there is, until told to end. */
static void *drink(void *process)
{
	while (flooding) {
		const struct cove_event *event = guest_event(process, false);
		if (event->kind == COVE_EVENT_STDOUT)
			flooded += event->bytes;
	}
	return NULL;
}

/* Its stdin takes no more. */
static cove_stdin *fill(cove_process *process)
{
	struct cove_error error;
	static const char data[COVE_STDIN_BUFFER_BYTES];
	cove_stdin *in = cove_process_take_stdin(process);
	size_t n;
	int r;
	while ((r = cove_stdin_try_write(in, data, sizeof(data), &n, &error)) == 0)
		;
	if (r != COVE_E_AGAIN)
		errx(1, "stdin: %s", error.message);
	return in;
}

static void measure_busy(cove_sandbox *sandbox, struct echo *e, int rounds)
{
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.stdin_mode = COVE_STDIN_PIPE;
	cove_process *flood = guest_stream(sandbox, ARGV("cat", "/dev/zero"), NULL);
	cove_process *unread = guest_stream(sandbox, ARGV("cat", "/dev/zero"), NULL);
	cove_process *unreading = guest_stream(sandbox, ARGV("sleep", "1000"), &options);
	cove_stdin *in = fill(unreading);

	pthread_t thread;
	flooding = true;
	guest_await_bytes(flood, 1 << 20);
	if (pthread_create(&thread, NULL, drink, flood) != 0)
		errx(1, "no thread");
	uint64_t start = clock_monotonic_ns();
	flooded = 0;
	measure(e, &echo_busy, &ping_busy, rounds);
	samples_add(&flood_rate, (double)flooded / 1e3 / ms_since(start));
	flooding = false;
	pthread_join(thread, NULL);

	cove_stdin_free(in);
	guest_end(flood);
	guest_end(unread);
	guest_end(unreading);
}

void bench_keystroke(cove_sandbox *sandbox, bool full)
{
	int rounds = full ? 3000 : 500;
	struct echo e = echo_start(sandbox);
	measure(&e, &echo_idle, &ping, rounds);
	measure_busy(sandbox, &e, rounds);
	echo_end(&e);

	samples_print(&ping, NULL, NULL);
	samples_print(&echo_idle, &ping, &(struct reach){ .max_ratio = 3 });
	samples_print(&ping_busy, NULL, NULL);
	samples_print(&echo_busy, &ping_busy, &(struct reach){ .max_p99 = 10 });
	samples_print(&flood_rate, NULL, NULL);
}
