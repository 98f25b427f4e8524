/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/paths.h"
#include "lib/connection.h"

/* The number under which the supervisor finds its socket. */
#define SUPERVISOR_FD	   3
#define SUPERVISOR_FD_TEXT "3"

/* From SIGKILL to the end of a process, at most: it has memory to give back, no more. */
#define KILL_TAKES_MS 5000

static int prepare_files(posix_spawn_file_actions_t *files, int fd)
{
	/* First of all, since our fd may be one of 0, 1, 2. On itself it loses close-on-exec. */
	int r = posix_spawn_file_actions_adddup2(files, fd, SUPERVISOR_FD);
	for (int i = 0; r == 0 && i < 3; i++)
		r = posix_spawn_file_actions_addopen(files, i, "/dev/null", O_RDWR, 0);
	if (r == 0) /* the caller's program may have opened its own without O_CLOEXEC */
		r = posix_spawn_file_actions_addclosefrom_np(files, SUPERVISOR_FD + 1);
	return r;
}

static int prepare_attributes(posix_spawnattr_t *attributes)
{
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	int r = posix_spawnattr_setsigmask(attributes, &none);
	if (r == 0)
		r = posix_spawnattr_setsigdefault(attributes, &all);
	/* A session of its own: what is typed on our terminal is not for it. */
	if (r == 0)
		r = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK |
								 POSIX_SPAWN_SETSIGDEF |
								 POSIX_SPAWN_SETSID);
	return r;
}

static int spawn(const char *path, int fd, pid_t *ret)
{
	char *argv[] = { (char *)path, (char *)"--fd", (char *)SUPERVISOR_FD_TEXT,
			 (char *)"--orphan", NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;

	int r = posix_spawn_file_actions_init(&files);
	if (r)
		return r;
	r = posix_spawnattr_init(&attributes);
	if (r) {
		posix_spawn_file_actions_destroy(&files);
		return r;
	}
	r = prepare_files(&files, fd);
	if (r == 0)
		r = prepare_attributes(&attributes);
	if (r == 0)
		r = posix_spawn(ret, path, &files, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	return r;
}

int supervisor_start(int fd, struct supervisor *ret, struct cove_error *err)
{
	_cleanup_free_ char *path = NULL;
	int r = paths_libexec("cove-supervisor", &path);
	if (r < 0)
		return error_set_errno(err, COVE_E_SYSTEM, r,
				       "cannot tell where the supervisor is");

	pid_t pid = 0;
	r = spawn(path, fd, &pid);
	if (r)
		return error_set_errno(err,
				       r == ENOENT || r == EACCES ? COVE_E_MISSING : COVE_E_SYSTEM,
				       r, "cannot start %s", path);
	supervisor_watch(pid, ret);
	if (ret->pid_fd < 0) { /* no descriptor free: do not start what cannot be reaped */
		r = errno;
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			continue;
		return error_set_errno(err, COVE_E_SYSTEM, r, "cannot watch the supervisor");
	}
	ret->child = true;
	return 0;
}

void supervisor_watch(pid_t pid, struct supervisor *ret)
{
	*ret = (struct supervisor)SUPERVISOR_NONE;
	if (pid <= 0)
		return;
	int fd = pidfd_open(pid, 0); /* close-on-exec by itself */
	if (fd >= 0)
		*ret = (struct supervisor){ .pid = pid, .pid_fd = fd };
}

static bool ended(const struct supervisor *s, uint64_t deadline)
{
	struct pollfd poll_fd = { .fd = s->pid_fd, .events = POLLIN };
	for (;;) {
		uint64_t now = deadline == DEADLINE_NEVER ? 0 : clock_monotonic_ns();
		uint64_t left = now < deadline ? deadline - now : 0;
		struct timespec timeout = {
			.tv_sec = (time_t)(left / 1000000000),
			.tv_nsec = (long)(left % 1000000000),
		};
		int n = ppoll(&poll_fd, 1, deadline == DEADLINE_NEVER ? NULL : &timeout, NULL);
		if (n > 0)
			return true;
		if (n == 0)
			return false;
		if (errno != EINTR)
			return true; /* nothing more can be learned */
	}
}

bool supervisor_wait(const struct supervisor *s, uint64_t deadline, int *ret_status)
{
	if (ret_status)
		*ret_status = 0;
	if (s->pid_fd < 0)
		return true;
	if (!ended(s, deadline))
		return false;
	if (!s->child)
		return true;

	/* By descriptor: should somebody else have reaped it, its number may be another's by now. */
	siginfo_t info = { 0 };
	if (waitid(P_PIDFD, (id_t)s->pid_fd, &info, WEXITED) == 0 && ret_status)
		*ret_status = info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8
							 : info.si_status & 0x7f;
	return true;
}

void supervisor_end(const struct supervisor *s, uint64_t deadline)
{
	if (supervisor_wait(s, deadline, NULL))
		return;
	(void)pidfd_send_signal(s->pid_fd, SIGKILL, NULL, 0);
	supervisor_wait(s, deadline_after_ms(KILL_TAKES_MS), NULL);
}

void supervisor_done(struct supervisor *s)
{
	fd_close(s->pid_fd);
	*s = (struct supervisor)SUPERVISOR_NONE;
}
