/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

/*
 * The parts of the benchmark, one per subject, and what they share. Each prints its rows with the
 * baselines of the same run. Whatever fails ends the program.
 */

#include <cove/cove.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/macro.h"
#include "samples.h"

#define IMAGE	  "busybox"
#define ARGV(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* `full`: as many and as much as it takes for figures to be kept; else for a look. */
void bench_start(bool full);
void bench_exec(cove_sandbox *sandbox, bool full);
void bench_keystroke(cove_sandbox *sandbox, bool full);
void bench_sessions(cove_sandbox *sandbox, bool full);
void bench_streams(cove_sandbox *sandbox, bool full);
void bench_memory(bool full);

static inline double ms_since(uint64_t start_ns)
{
	return (double)(clock_monotonic_ns() - start_ns) / 1e6;
}

/* ---- guest.c: sandboxes and commands that have to succeed ---- */

cove_sandbox *guest_create(const struct cove_sandbox_options *options); /* NULL: defaults */
/* Runs to the end; it has to end with 0. */
cove_output *guest_run(cove_sandbox *sandbox, const char *const *argv,
		       const struct cove_exec_options *options);
/* Copies a program of the host to path. */
void guest_put(cove_sandbox *sandbox, const char *program, const char *path);
cove_process *guest_stream(cove_sandbox *sandbox, const char *const *argv,
			   const struct cove_exec_options *options);
/*
 * The next event of a command that must not have ended: EXITED, if it is with 0, FAILED and LOST
 * only where `may_end`. NULL after the last one.
 */
const struct cove_event *guest_event(cove_process *process, bool may_end);
/* Up to n bytes of stdout have come. */
void guest_await_bytes(cove_process *process, size_t n);
/* Kills it, waits, frees it. */
void guest_end(cove_process *process);

/* ---- bare.c: a machine like a sandbox's, with nothing in it but pipes and the port ---- */

struct bare;

struct bare *bare_start(void);
struct bare *bare_stop(struct bare *b);
/* How long it takes for n bytes from a command's stdout to here, from here to one's stdin. */
double bare_out_ms(struct bare *b, uint64_t n);
double bare_in_ms(struct bare *b, uint64_t n);
/* A byte there and back. */
double bare_ping_ms(struct bare *b);

#endif
