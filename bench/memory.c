/* SPDX-License-Identifier: Apache-2.0 */
/* What a sandbox costs while it does nothing, and what each session that does nothing adds. */
#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "bench.h"

#define SESSIONS 1000

static struct samples agent_disk = { .name = "agent, on disk", .unit = "KiB" };
static struct samples agent_rss = { .name = "agent, idle: resident", .unit = "KiB" };
static struct samples supervisor_idle = { .name = "supervisor, idle: private", .unit = "KiB" };
static struct samples agent_session = { .name = "agent, per idle session of 1000", .unit = "KiB" };
static struct samples supervisor_session = { .name = "supervisor, per idle session",
					     .unit = "KiB" };

static double guest_number(cove_sandbox *sandbox, const char *script)
{
	cove_output *o = guest_run(sandbox, ARGV("sh", "-c", script), NULL);
	double value = strtod(o->stdout_data, NULL);
	cove_output_free(o);
	return value;
}

/*
 * Of /proc/PID/smaps_rollup, for what /proc/PID/status says is 64 pages late. The agent's anonymous
 * pages are its heap; those of its file are there once, however many sessions there are.
 */
static double agent_kib(cove_sandbox *sandbox, const char *what)
{
	char script[128];
	snprintf(script, sizeof(script), "sed -n 's/^%s:[^0-9]*//p' /proc/1/smaps_rollup", what);
	return guest_number(sandbox, script);
}

/* The sum of what is named so ("Private_Clean", "Private_Dirty") of a process of the host. */
static double private_kib(int pid)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	_cleanup_free_ char *text = NULL;
	int r = fd_read_file(AT_FDCWD, path, 1 << 20, true, &text, NULL);
	if (r < 0)
		errx(1, "%s: %s", path, strerror(-r));
	double sum = 0;
	for (const char *p = text; (p = strstr(p, "Private_"));) {
		p += strcspn(p, ":");
		sum += strtod(p + (*p == ':'), NULL);
	}
	return sum;
}

static double supervisor_private_kib(cove_sandbox *sandbox)
{
	struct cove_error error;
	struct cove_sandbox_info *info;
	if (cove_sandbox_inspect(cove_sandbox_name(sandbox), &info, &error) < 0)
		errx(1, "inspect: %s", error.message);
	double kib = private_kib(info->supervisor_pid);
	cove_sandbox_info_free(info);
	return kib;
}

/* Half of them with pipes, half with a terminal; all have started. */
static void start_sessions(cove_sandbox *sandbox, cove_process **processes)
{
	for (int i = 0; i < SESSIONS; i++) {
		struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
		options.stdin_mode = COVE_STDIN_PIPE;
		options.tty = i % 2;
		processes[i] = guest_stream(sandbox, ARGV("cat"), &options);
	}
	for (int i = 0; i < SESSIONS; i++)
		guest_event(processes[i], false);
}

void bench_memory(bool full)
{
	(void)full; /* it is what it is */
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	options.memory_bytes = (uint64_t)1 << 30; /* for the commands, not for the agent */
	cove_sandbox *sandbox = guest_create(&options);
	samples_add(&agent_disk, guest_number(sandbox, "wc -c </proc/1/exe") / 1024);
	samples_add(&agent_rss, agent_kib(sandbox, "Rss"));
	samples_add(&supervisor_idle, supervisor_private_kib(sandbox));

	static cove_process *processes[SESSIONS];
	double agent = agent_kib(sandbox, "Anonymous");
	start_sessions(sandbox, processes);
	samples_add(&agent_session, (agent_kib(sandbox, "Anonymous") - agent) / SESSIONS);
	samples_add(&supervisor_session,
		    (supervisor_private_kib(sandbox) - samples_median(&supervisor_idle)) /
			    SESSIONS);
	for (int i = 0; i < SESSIONS; i++)
		cove_process_free(processes[i]);
	cove_sandbox_free(sandbox);

	samples_print(&agent_disk, NULL, &(struct reach){ .max = 1536 });
	samples_print(&agent_rss, NULL, &(struct reach){ .max = 4096 });
	samples_print(&supervisor_idle, NULL, &(struct reach){ .max = 4096 });
	samples_print(&agent_session, NULL, &(struct reach){ .max = 32 });
	samples_print(&supervisor_session, NULL, NULL);
}
