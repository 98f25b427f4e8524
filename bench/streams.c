/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Throughput of one command's stdout and stdin. The baseline is the bare path: the same commands on
 * the other end of a pipe, in a machine of the same kind, and between pipe and port a loop that only
 * copies (bare-path.c). What is missing to it is what frames, agent, supervisor and library cost.
 */
#include <err.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "bench.h"

#define CHUNK (64u << 10)

static struct samples bare_out = { .name = "baseline: pipe to port to nowhere", .unit = "MB/s" };
static struct samples bare_in = { .name = "baseline: from here to port to pipe", .unit = "MB/s" };
static struct samples out = { .name = "stdout, received and discarded", .unit = "MB/s" };
static struct samples in = { .name = "stdin, into cat >/dev/null", .unit = "MB/s" };
static struct samples kept = { .name = "stdout, into the caller's memory (cove_exec)",
			       .unit = "MB/s" };
static struct samples given = { .name = "stdin, out of the caller's memory (cove_exec)",
				.unit = "MB/s" };

static void measure_out(cove_sandbox *sandbox, size_t bytes)
{
	char count[32];
	snprintf(count, sizeof(count), "count=%zu", bytes / CHUNK);
	uint64_t start = clock_monotonic_ns(), got = 0;
	/* The pipe is its stdout. */
	cove_process *process =
		guest_stream(sandbox, ARGV("dd", "if=/dev/zero", "bs=64k", count), NULL);
	const struct cove_event *event;
	while ((event = guest_event(process, true)))
		if (event->kind == COVE_EVENT_STDOUT)
			got += event->bytes;
	samples_add(&out, (double)bytes / 1e3 / ms_since(start));
	if (got != bytes)
		errx(1, "%llu bytes of %zu came", (unsigned long long)got, bytes);
	cove_process_free(process);
}

static void measure_in(cove_sandbox *sandbox, size_t bytes)
{
	struct cove_error error;
	static const char data[CHUNK];
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.stdin_mode = COVE_STDIN_PIPE;
	uint64_t start = clock_monotonic_ns();
	cove_process *process =
		guest_stream(sandbox, ARGV("sh", "-c", "exec cat >/dev/null"), &options);
	cove_stdin *to = cove_process_take_stdin(process);
	for (size_t n = 0; n < bytes; n += CHUNK)
		if (cove_stdin_write(to, data, CHUNK, &error) < 0)
			errx(1, "write: %s", error.message);
	cove_stdin_free(to);
	while (guest_event(process, true))
		;
	samples_add(&in, (double)bytes / 1e3 / ms_since(start));
	cove_process_free(process);
}

/* The buffered calls are the same streams, and a copy. */
static void measure_exec(cove_sandbox *sandbox, size_t bytes)
{
	char count[32];
	snprintf(count, sizeof(count), "count=%zu", bytes / CHUNK);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.output_limit_bytes = UINT64_MAX;
	uint64_t start = clock_monotonic_ns();
	cove_output *o = guest_run(sandbox, ARGV("dd", "if=/dev/zero", "bs=64k", count), &options);
	samples_add(&kept, (double)bytes / 1e3 / ms_since(start));
	if (o->stdout_bytes != bytes)
		errx(1, "%zu bytes of %zu came", o->stdout_bytes, bytes);
	cove_output_free(o);

	_cleanup_free_ char *data = calloc(1, bytes);
	if (!data)
		err(1, "calloc");
	options.stdin_mode = COVE_STDIN_BYTES;
	options.stdin_data = data;
	options.stdin_bytes = bytes;
	start = clock_monotonic_ns();
	cove_output_free(guest_run(sandbox, ARGV("sh", "-c", "exec cat >/dev/null"), &options));
	samples_add(&given, (double)bytes / 1e3 / ms_since(start));
}

void bench_streams(cove_sandbox *sandbox, bool full)
{
	int rounds = full ? 5 : 3;
	size_t bytes = full ? (size_t)1 << 30 : (size_t)200 << 20;
	struct bare *bare = bare_start();
	for (int i = 0; i < rounds; i++) {
		samples_add(&bare_out, (double)bytes / 1e3 / bare_out_ms(bare, bytes));
		measure_out(sandbox, bytes);
		samples_add(&bare_in, (double)bytes / 1e3 / bare_in_ms(bare, bytes));
		measure_in(sandbox, bytes);
		measure_exec(sandbox, bytes / 4);
	}
	bare_stop(bare);

	samples_print(&bare_out, NULL, NULL);
	samples_print(&out, &bare_out, &(struct reach){ .min = 200, .min_ratio = 0.75 });
	samples_print(&kept, &bare_out, NULL);
	samples_print(&bare_in, NULL, NULL);
	samples_print(&in, &bare_in, &(struct reach){ .min_ratio = 0.75 });
	samples_print(&given, &bare_in, NULL);
}
