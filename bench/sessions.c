/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Coming back to a session: by a handle that is there, by a connection of its own, as another process
 * does it, and with all of the output that is kept by default.
 *
 * The baseline is, as for keystrokes, the cheapest request that the agent answers.
 */
#include <err.h>
#include <stdio.h>

#include "bench.h"

#define SESSION	   "bench-come-back"
#define ROWS	   24
#define COLS	   80
#define KEPT_BYTES (256u * 1024)

static struct samples ping = { .name = "baseline: the agent answers, a terminal idle", .unit = "ms" };
static struct samples again = { .name = "come back to a session: its first byte", .unit = "ms" };
static struct samples connected = { .name = "the same from another process (connect first)",
				    .unit = "ms" };
static struct samples replayed = { .name = "come back to a session: 256 KiB of replay",
				   .unit = "ms" };

/* Opens the session, takes n bytes, and leaves. */
static void come_back(cove_sandbox *sandbox, size_t n)
{
	struct cove_error error;
	cove_process *process;
	if (cove_process_open(sandbox, SESSION, NULL, &process, &error) < 0)
		errx(1, "open: %s", error.message);
	guest_await_bytes(process, n);
	cove_process_free(process);
}

static void ask(cove_process *process)
{
	struct cove_error error;
	if (cove_process_resize(process, ROWS, COLS, &error) < 0)
		errx(1, "resize: %s", error.message);
}

static void connect_and_come_back(const char *name)
{
	struct cove_error error;
	cove_sandbox *sandbox;
	if (cove_sandbox_connect(name, &sandbox, &error) < 0)
		errx(1, "connect: %s", error.message);
	come_back(sandbox, 1);
	cove_sandbox_free(sandbox);
}

#define MEASURE(samples, call)                                                                     \
	do {                                                                                       \
		uint64_t start_ns = clock_monotonic_ns();                                          \
		call;                                                                              \
		samples_add((samples), ms_since(start_ns));                                        \
	} while (0)

void bench_sessions(cove_sandbox *sandbox, bool full)
{
	int rounds = full ? 2000 : 300;
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.id = SESSION;
	options.tty = true;
	options.rows = ROWS;
	options.cols = COLS;
	cove_process *process = guest_stream(
		sandbox, ARGV("sh", "-c", "head -c 1000000 /dev/zero; exec sleep 1000"), &options);
	guest_await_bytes(process, 1000000);

	for (int i = 0; i < rounds; i++) {
		MEASURE(&ping, ask(process));
		MEASURE(&again, come_back(sandbox, 1));
		MEASURE(&connected, connect_and_come_back(cove_sandbox_name(sandbox)));
		MEASURE(&replayed, come_back(sandbox, KEPT_BYTES));
	}
	guest_end(process);

	samples_print(&ping, NULL, NULL);
	samples_print(&again, &ping, NULL);
	samples_print(&connected, &ping, NULL);
	samples_print(&replayed, &ping, NULL);
}
