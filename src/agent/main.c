/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cove-agent, the guest's PID 1. The order of a machine's life:
 *
 *	boot             below: the same for every machine, up to waiting for START.
 *	                 A template is a machine stopped at exactly that wait.
 *	START            start.c: entropy, clock, names, root filesystem. Then READY.
 *	EXEC, ATTACH, …  requests.c, session*.c
 *	SHUTDOWN         shutdown.c: commands, disk, DOWN. Then the power goes, below.
 *
 * `cove-agent --fd N [--cgroup DIR]` serves the link on descriptor N as an ordinary process, which
 * ends when the link does: no mounts, and commands run on the host. That is for tests.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/boot.h"
#include "agent/log.h"
#include "base/error.h"

#include "agent/poison.h"

static struct agent agent;

/* Everything up to the point where the machine waits for its job. */
static int boot(struct cove_error *err)
{
	int cgroups_fd, devices_fd, port_fd;

	int r = boot_mount_kernel_filesystems(err);
	if (r < 0)
		return r;
	boot_open_console();
	r = boot_make_cgroups(&cgroups_fd, err);
	if (r >= 0)
		r = boot_raise_loopback(err);
	if (r >= 0)
		r = boot_listen_for_devices(&devices_fd, err);
	if (r >= 0)
		r = boot_load_modules(err);
	if (r >= 0)
		r = boot_open_port(devices_fd, &port_fd, err);
	if (r < 0)
		return r;
	close(devices_fd);

	r = agent_init(&agent, true);
	if (r >= 0) {
		cgroups_init(&agent.cgroups, cgroups_fd);
		cgroups_prepare(&agent.cgroups);
		r = server_init(&agent, port_fd);
	}
	return r < 0 ? error_set_errno(err, COVE_E_BOOT, r, "starting to serve") : 0;
}

/* PID 1 may not return: the kernel would panic, and the host would not know why. */
static void run_machine(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	if (boot(&err) < 0) {
		agent_log("boot failed: %s", err.message);
	} else {
		int r = agent_run(&agent);
		if (r < 0)
			agent_log("the event loop has ended: %s", error_errno_text(-r));
	}
	sync();
	reboot(RB_POWER_OFF);
	reboot(RB_AUTOBOOT); /* where there is no way to turn it off; the host takes it as that */
	for (;;)
		pause();
}

static int run_process(int fd, const char *cgroup_dir)
{
	int r = agent_init(&agent, false);
	if (r >= 0 && cgroup_dir) {
		int cgroups_fd = open(cgroup_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = cgroups_fd < 0 ? -errno : 0;
		cgroups_init(&agent.cgroups, cgroups_fd);
	}
	if (r >= 0)
		r = server_init(&agent, fd);
	agent.has_job = true; /* START is not waited for */
	if (r >= 0)
		r = agent_run(&agent);
	if (r < 0)
		agent_log("%s", error_errno_text(-r));
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int usage(void)
{
	agent_log("usage: cove-agent --fd N [--cgroup DIR]");
	return 2;
}

int main(int argc, char **argv)
{
	const char *cgroup_dir = NULL;
	long fd = -1;

	error_set_origin(COVE_ORIGIN_GUEST);
	if (getpid() == 1)
		run_machine();

	for (int i = 1; i < argc; i += 2) {
		char *end;
		if (i + 1 == argc)
			return usage();
		if (strcmp(argv[i], "--cgroup") == 0) {
			cgroup_dir = argv[i + 1];
		} else if (strcmp(argv[i], "--fd") == 0) {
			fd = strtol(argv[i + 1], &end, 10);
			if (*end || fd < 0 || fd > INT_MAX)
				return usage();
		} else {
			return usage();
		}
	}
	return fd < 0 ? usage() : run_process((int)fd, cgroup_dir);
}
