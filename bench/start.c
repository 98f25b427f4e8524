/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes: how long until one takes commands, and until it is gone. */
#include <err.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static struct samples vmm_version = { .name = "baseline: qemu-system-x86_64 --version",
				      .unit = "ms" };
static struct samples create_cold = { .name = "create, cold boot, until it takes commands",
				      .unit = "ms" };
static struct samples cli_run = { .name = "cove run busybox true, cold boot, removed after",
				  .unit = "ms" };
static struct samples stop = { .name = "stop in order (flushed, powered off, removed)",
			       .unit = "ms" };

static void run_program(const char *const *argv, struct samples *s)
{
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	uint64_t start = clock_monotonic_ns();
	pid_t pid;
	int status;
	int r = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)argv, environ);
	if (r != 0)
		errx(1, "%s: %s", argv[0], strerror(r));
	if (waitpid(pid, &status, 0) < 0 || status != 0)
		errx(1, "%s failed", argv[0]);
	samples_add(s, ms_since(start));
	posix_spawn_file_actions_destroy(&actions);
}

void bench_start(bool full)
{
	int rounds = full ? 20 : 3;
	for (int i = 0; i < rounds * 3; i++)
		run_program(ARGV("qemu-system-x86_64", "--version"), &vmm_version);
	for (int i = 0; i < rounds; i++) {
		uint64_t start = clock_monotonic_ns();
		cove_sandbox *sandbox = guest_create(NULL);
		samples_add(&create_cold, ms_since(start));
		start = clock_monotonic_ns();
		struct cove_error error;
		if (cove_sandbox_stop(sandbox, NULL, &error) < 0)
			errx(1, "stop: %s", error.message);
		samples_add(&stop, ms_since(start));
		cove_sandbox_free(sandbox);
	}
	for (int i = 0; i < rounds; i++)
		run_program(ARGV(COVE_PROGRAM, "run", IMAGE, "true"), &cli_run);

	samples_print(&vmm_version, NULL, NULL);
	samples_print(&create_cold, &vmm_version, NULL);
	samples_print(&cli_run, &vmm_version, NULL);
	samples_print(&stop, NULL, &(struct reach){ .max = 1000 });
}
