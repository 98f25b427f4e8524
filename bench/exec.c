/* SPDX-License-Identifier: Apache-2.0 */
/* Commands: how long the shortest one takes, one at a time and many at once. */
#include <err.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define GUEST_SPAWN "/tmp/guest-spawn"
#define BATCH	    50
#define AT_ONCE	    8

static struct samples guest_spawn = { .name = "baseline: posix_spawn + wait of true in the guest",
				      .unit = "ms" };
static struct samples exec_true = { .name = "exec of true, warm", .unit = "ms" };
static struct samples rate_alone = { .name = "baseline: execs of true, one at a time",
				     .unit = "/s" };
static struct samples rate_at_once = { .name = "execs of true, 8 at a time", .unit = "/s" };

static void run_alone(cove_sandbox *sandbox)
{
	uint64_t batch_start = clock_monotonic_ns();
	for (int k = 0; k < BATCH; k++) {
		uint64_t start = clock_monotonic_ns();
		cove_output_free(guest_run(sandbox, ARGV("/bin/true"), NULL));
		samples_add(&exec_true, ms_since(start));
	}
	samples_add(&rate_alone, BATCH / ms_since(batch_start) * 1e3);
}

/* True when that was its last event. */
static bool has_ended(cove_process *process)
{
	struct cove_error error;
	const struct cove_event *event;
	int r;
	while ((r = cove_process_try_recv(process, &event, &error)) > 0)
		if (event->kind >= COVE_EVENT_EXITED &&
		    (event->kind != COVE_EVENT_EXITED || !cove_exit_success(&event->exit)))
			errx(1, "true: %s", cove_event_name(event->kind));
	if (r < 0 && r != COVE_E_AGAIN)
		errx(1, "%s", error.message);
	return r == 0;
}

/* From one thread: as one ends, the next is started. */
static void run_at_once(cove_sandbox *sandbox)
{
	struct cove_error error;
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.flags = COVE_EXEC_NONBLOCK;
	struct pollfd p = { .fd = cove_sandbox_fd(sandbox, &error) };
	if (p.fd < 0)
		errx(1, "%s", error.message);

	uint64_t start = clock_monotonic_ns();
	for (int started = 0, ended = 0; ended < BATCH;) {
		for (; started < BATCH && started - ended < AT_ONCE; started++)
			guest_stream(sandbox, ARGV("/bin/true"), &options);
		p.events = cove_sandbox_events(sandbox);
		poll(&p, 1, -1);
		cove_process *ready[AT_ONCE];
		int n = cove_sandbox_dispatch(sandbox, ready, AT_ONCE, &error);
		if (n < 0)
			errx(1, "%s", error.message);
		for (int i = 0; i < n; i++)
			if (has_ended(ready[i])) {
				cove_process_free(ready[i]);
				ended++;
			}
	}
	samples_add(&rate_at_once, BATCH / ms_since(start) * 1e3);
}

static void run_in_guest(cove_sandbox *sandbox)
{
	char count[16];
	snprintf(count, sizeof(count), "%d", BATCH);
	cove_output *out = guest_run(sandbox, ARGV(GUEST_SPAWN, count, "/bin/true"), NULL);
	char *p = (char *)out->stdout_data;
	for (int k = 0; k < BATCH; k++)
		samples_add(&guest_spawn, (double)strtoll(p, &p, 10) / 1e6);
	cove_output_free(out);
}

/* All of it in turns, so that what else the machine does hits each. */
void bench_exec(cove_sandbox *sandbox, bool full)
{
	int rounds = full ? 40 : 10;
	guest_put(sandbox, GUEST_SPAWN_FILE, GUEST_SPAWN);
	cove_output_free(guest_run(sandbox, ARGV("true"), NULL));
	for (int i = 0; i < rounds; i++) {
		run_in_guest(sandbox);
		run_alone(sandbox);
		run_at_once(sandbox);
	}
	samples_print(&guest_spawn, NULL, NULL);
	samples_print(&exec_true, &guest_spawn,
		      &(struct reach){ .max_ratio = 1.25, .max_p99_ratio = 3 });
	samples_print(&rate_alone, NULL, NULL);
	samples_print(&rate_at_once, &rate_alone, &(struct reach){ .min_ratio = 1 });
}
