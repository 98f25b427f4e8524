/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#include "agent/poison.h"

/* The limits of descriptors that commands get: what systemd gives its services. */
#define COMMAND_NOFILE_SOFT 1024
#define COMMAND_NOFILE_HARD 1048576

/*
 * Commands get all signals at their defaults and unblocked. execve() leaves alone what is ignored,
 * so nothing is ignored here, not even what was inherited so. And there is no handler, which could
 * run in a child that shares the agent's memory: what is of interest is blocked, and read from a
 * descriptor. A blocked SIGPIPE is as good as an ignored one.
 */
static int set_signals(struct agent *agent)
{
	const struct sigaction action = { .sa_handler = SIG_DFL };
	for (int i = 1; i <= SIGRTMAX; i++)
		sigaction(i, &action, NULL); /* fails for SIGKILL, SIGSTOP and glibc's own */

	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGIO);
	sigaddset(&set, SIGPIPE);
	if (!agent->is_init)
		sigaddset(&set, SIGTERM);
	if (sigprocmask(SIG_SETMASK, &set, NULL) < 0)
		return -errno;
	sigdelset(&set, SIGPIPE);
	agent->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return agent->signal_fd < 0 ? -errno : 0;
}

/*
 * The agent is woken by everything that commands do: output, closed pipes, ends. As a batch process
 * it does not interrupt them for it, but runs when they wait or end, and then does it all in one
 * go; switching back and forth is what an emulated processor does worst (80 us each). Commands that
 * do not wait leave it the next tick, by its priority, so that it is not starved by any number of
 * them. Children start as everybody does.
 */
static int set_scheduling(void)
{
	const struct sched_param param = { 0 };
	if (sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &param) < 0 ||
	    setpriority(PRIO_PROCESS, 0, -20) < 0)
		return -errno;
	return 0;
}

/* As many descriptors as there may be for us; the usual number for commands. */
static int set_nofile(struct agent *agent)
{
	struct rlimit own;
	if (agent->is_init) {
		own.rlim_cur = own.rlim_max = COMMAND_NOFILE_HARD;
		if (setrlimit(RLIMIT_NOFILE, &own) < 0)
			return -errno;
	} else {
		if (getrlimit(RLIMIT_NOFILE, &own) < 0)
			return -errno;
		own.rlim_cur = own.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &own) < 0)
			return -errno;
	}
	agent->nofile.rlim_max = MIN(own.rlim_max, (rlim_t)COMMAND_NOFILE_HARD);
	agent->nofile.rlim_cur = MIN(own.rlim_max, (rlim_t)COMMAND_NOFILE_SOFT);
	return 0;
}

/* 0, 1 and 2 are something, so that no other descriptor gets their numbers. */
static int set_descriptors(struct agent *agent)
{
	do {
		agent->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (agent->null_fd < 0)
			return -errno;
	} while (agent->null_fd <= 2);
	/* What was inherited is nobody else's business. */
	syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
	return 0;
}

static void on_signal(void *userdata, unsigned events)
{
	struct agent *agent = userdata;
	struct signalfd_siginfo info;
	(void)events;

	if (read(agent->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD)
		reaper_run(agent);
	else if (info.ssi_signo == SIGIO)
		server_on_sigio(agent);
	else
		shutdown_begin(agent, 0, 0);
}

static int watch_signals(struct agent *agent)
{
	int r = watch_new(&agent->loop, agent->signal_fd, on_signal, agent, &agent->signals);
	if (r >= 0)
		watch_set(agent->signals, UV_READABLE);
	return r;
}

int agent_init(struct agent *agent, bool is_init)
{
	*agent = (struct agent){ .is_init = is_init, .null_fd = -1, .signal_fd = -1 };
	cgroups_init(&agent->cgroups, -1);
	list_init(&agent->listings);
	umask(022);
	/* A fixed threshold, so that the memory of large rings goes back when they do. */
	mallopt(M_MMAP_THRESHOLD, 128 * 1024);

	int r = set_signals(agent);
	if (r >= 0)
		r = set_nofile(agent);
	if (r >= 0)
		r = set_descriptors(agent);
	if (r >= 0 && is_init)
		r = set_scheduling();
	if (r >= 0 && !is_init && prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		r = -errno;
	if (r >= 0)
		r = uv_loop_init(&agent->loop);
	if (r >= 0)
		r = watch_signals(agent);
	if (r >= 0)
		r = sessions_init(agent);
	if (r >= 0)
		r = shutdown_init(agent);
	return r;
}

int agent_run(struct agent *agent)
{
	int r = uv_run(&agent->loop, UV_RUN_DEFAULT);
	cgroups_done(&agent->cgroups);
	if (agent->shutdown.phase == SHUTDOWN_DONE)
		return 0;
	return r < 0 ? r : -EPIPE; /* it has run out of things to wait for */
}
