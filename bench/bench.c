/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The benchmark: everything measured from outside, through libcove and the command, with the
 * baselines in the same run on the same machine.
 *
 *	bench [--full] [--json FILE]
 */

#include <cove/cove.h>
#include <err.h>
#include <fcntl.h>
#include <getopt.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/macro.h"
#include "samples.h"

#define IMAGE	    "busybox"
#define GUEST_SPAWN "/tmp/guest-spawn"
#define ARGV(...)   ((const char *const[]){ __VA_ARGS__, NULL })

static struct samples vmm_version = { .name = "baseline: qemu-system-x86_64 --version",
				      .unit = "ms" };
static struct samples create_cold = { .name = "create, cold boot, until it takes commands",
				      .unit = "ms" };
static struct samples cli_run = { .name = "cove run busybox true, cold boot, removed after",
				  .unit = "ms" };
static struct samples stop = { .name = "stop in order (flushed, powered off, removed)",
			       .unit = "ms" };
static struct samples guest_spawn = { .name = "baseline: posix_spawn + wait of true in the guest",
				      .unit = "ms" };
static struct samples exec_true = { .name = "exec of true, warm", .unit = "ms" };
static struct samples guest_pipe = { .name = "baseline: dd | cat in the guest", .unit = "MB/s" };
static struct samples out_rate = { .name = "stdout, into the caller's memory", .unit = "MB/s" };
static struct samples in_rate = { .name = "stdin, out of the caller's memory", .unit = "MB/s" };

static double ms_since(uint64_t start_ns)
{
	return (double)(clock_monotonic_ns() - start_ns) / 1e6;
}

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

static cove_sandbox *create(void)
{
	struct cove_error error;
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	options.image = IMAGE;
	cove_sandbox *sandbox;
	if (cove_sandbox_create(NULL, &options, &sandbox, &error) < 0)
		errx(1, "create: %s", error.message);
	return sandbox;
}

static cove_output *run(cove_sandbox *sandbox, const char *const *argv,
			const struct cove_exec_options *options)
{
	struct cove_error error;
	cove_output *out;
	if (cove_exec(sandbox, argv, options, &out, &error) < 0)
		errx(1, "%s: %s", argv[0], error.message);
	if (!cove_exit_success(&out->exit))
		errx(1, "%s: %s %d: %s", argv[0], cove_cause_name(out->exit.cause), out->exit.code,
		     out->stderr_data);
	return out;
}

static void measure_start(const char *cove, int rounds)
{
	for (int i = 0; i < rounds * 3; i++)
		run_program(ARGV("qemu-system-x86_64", "--version"), &vmm_version);
	for (int i = 0; i < rounds; i++) {
		uint64_t start = clock_monotonic_ns();
		cove_sandbox *sandbox = create();
		samples_add(&create_cold, ms_since(start));
		start = clock_monotonic_ns();
		struct cove_error error;
		if (cove_sandbox_stop(sandbox, NULL, &error) < 0)
			errx(1, "stop: %s", error.message);
		samples_add(&stop, ms_since(start));
		cove_sandbox_free(sandbox);
	}
	for (int i = 0; i < rounds; i++)
		run_program(ARGV(cove, "run", IMAGE, "true"), &cli_run);
}

static void put_guest_spawn(cove_sandbox *sandbox)
{
	_cleanup_free_ char *program = NULL;
	size_t size;
	int r = fd_read_file(AT_FDCWD, GUEST_SPAWN_FILE, 64 << 20, false, &program, &size);
	if (r < 0)
		errx(1, "%s: %s", GUEST_SPAWN_FILE, strerror(-r));
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.stdin_mode = COVE_STDIN_BYTES;
	options.stdin_data = program;
	options.stdin_bytes = size;
	cove_output_free(run(sandbox,
			     ARGV("sh", "-c", "cat >" GUEST_SPAWN "; chmod 755 " GUEST_SPAWN),
			     &options));
}

/* Both sides in turns, so that what else the machine does hits both. */
static void measure_exec(cove_sandbox *sandbox, int rounds)
{
	const int batch = 50;
	cove_output_free(run(sandbox, ARGV("true"), NULL));
	for (int i = 0; i < rounds / batch; i++) {
		cove_output *out = run(sandbox, ARGV(GUEST_SPAWN, "50", "/bin/true"), NULL);
		char *p = (char *)out->stdout_data;
		for (int k = 0; k < batch; k++)
			samples_add(&guest_spawn, (double)strtoll(p, &p, 10) / 1e6);
		cove_output_free(out);
		for (int k = 0; k < batch; k++) {
			uint64_t start = clock_monotonic_ns();
			cove_output_free(run(sandbox, ARGV("/bin/true"), NULL));
			samples_add(&exec_true, ms_since(start));
		}
	}
}

static void measure_streams(cove_sandbox *sandbox, int rounds, size_t bytes)
{
	_cleanup_free_ char *data = calloc(1, bytes);
	if (!data)
		err(1, "calloc");
	char script[128];
	double mb = (double)bytes / 1e6;

	for (int i = 0; i < rounds; i++) {
		snprintf(script, sizeof(script),
			 "dd if=/dev/zero bs=64k count=%zu 2>/dev/null | cat >/dev/null",
			 bytes >> 16);
		uint64_t start = clock_monotonic_ns();
		cove_output_free(run(sandbox, ARGV("sh", "-c", script), NULL));
		samples_add(&guest_pipe, mb / ms_since(start) * 1e3);

		struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
		options.output_limit_bytes = UINT64_MAX;
		snprintf(script, sizeof(script), "count=%zu", bytes >> 16);
		start = clock_monotonic_ns();
		cove_output *out =
			run(sandbox, ARGV("dd", "if=/dev/zero", "bs=64k", script), &options);
		samples_add(&out_rate, mb / ms_since(start) * 1e3);
		if (out->stdout_bytes != bytes)
			errx(1, "%zu bytes of %zu came back", out->stdout_bytes, bytes);
		cove_output_free(out);

		options.stdin_mode = COVE_STDIN_BYTES;
		options.stdin_data = data;
		options.stdin_bytes = bytes;
		start = clock_monotonic_ns();
		cove_output_free(run(sandbox, ARGV("sh", "-c", "cat >/dev/null"), &options));
		samples_add(&in_rate, mb / ms_since(start) * 1e3);
	}
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "full", no_argument, NULL, 'f' },
		{ "json", required_argument, NULL, 'j' },
		{ 0 },
	};
	bool full = false;
	const char *json = NULL;
	for (int c; (c = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
		if (c == 'f')
			full = true;
		else if (c == 'j')
			json = optarg;
		else
			return 2;
	}

	samples_print_header();
	measure_start(COVE_PROGRAM, full ? 20 : 5);
	samples_print(&vmm_version, NULL, NULL);
	samples_print(&create_cold, &vmm_version, NULL);
	samples_print(&cli_run, &vmm_version, NULL);
	samples_print(&stop, NULL, "<= 1000");

	cove_sandbox *sandbox = create();
	put_guest_spawn(sandbox);
	measure_exec(sandbox, full ? 2000 : 500);
	samples_print(&guest_spawn, NULL, NULL);
	samples_print(&exec_true, &guest_spawn, "<= 1.25x");
	measure_streams(sandbox, full ? 5 : 2, full ? (size_t)1 << 30 : (size_t)200 << 20);
	samples_print(&guest_pipe, NULL, NULL);
	samples_print(&out_rate, &guest_pipe, ">= 200 MB/s");
	samples_print(&in_rate, &guest_pipe, ">= 200 MB/s");
	cove_sandbox_free(sandbox);

	if (json) {
		struct samples *all[] = { &vmm_version, &create_cold, &cli_run,
					  &stop,	&guest_spawn, &exec_true,
					  &guest_pipe,	&out_rate,    &in_rate };
		FILE *f = fopen(json, "we");
		if (!f)
			err(1, "%s", json);
		samples_write_json(f, all, ARRAY_SIZE(all));
		if (fclose(f) != 0)
			err(1, "%s", json);
	}
	return 0;
}
