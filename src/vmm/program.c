/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/program.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"

#define FIRST_FD 3 /* after input, output, errors */

/* ---- finding ---- */

static int find_in(const char *folder, size_t n, const char *name, char **ret)
{
	_cleanup_free_ char *path = NULL;
	if (asprintf(&path, "%.*s/%s", (int)n, folder, name) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	struct stat st;
	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || access(path, X_OK) < 0)
		return -ENOENT;
	*ret = TAKE_PTR(path);
	return 0;
}

int program_find(const char *name, char **ret)
{
	const char *path = getenv("PATH");
	const char *const lists[] = { path ? path : "", "/usr/bin:/usr/sbin:/sbin" };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		for (const char *p = lists[i]; *p;) {
			size_t n = strcspn(p, ":");
			/* A relative entry would mean another program in every folder. */
			int r = *p == '/' ? find_in(p, n, name, ret) : -ENOENT;
			if (r != -ENOENT)
				return r;
			p += n + (p[n] == ':');
		}
	}
	return -ENOENT;
}

/* ---- the child, between fork and exec: system calls only, the parent may have threads ---- */

static void child_fails(const char *program, const char *step) __attribute__((noreturn));
static void child_fails(const char *program, const char *step)
{
	const char *const parts[] = { program, ": ", step, ": ", error_errno_text(errno), "\n" };
	struct iovec v[ARRAY_SIZE(parts)];
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		v[i] = (struct iovec){ .iov_base = (void *)(uintptr_t)parts[i],
				       .iov_len = strlen(parts[i]) };
	ssize_t n = writev(STDERR_FILENO, v, ARRAY_SIZE(parts));
	(void)n;
	_exit(127);
}

static void child_signals(void)
{
	for (int i = 1; i < NSIG; i++) {
		struct sigaction action = { .sa_handler = SIG_DFL };
		sigaction(i, &action, NULL); /* those that cannot be changed need not be */
	}
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int child_user(const struct program_user *user)
{
	if (!user->change)
		return 0;
	if (setgroups(user->groups_n, user->groups) < 0 ||
	    setresgid(user->gid, user->gid, user->gid) < 0 ||
	    setresuid(user->uid, user->uid, user->uid) < 0)
		return -errno;
	return 0;
}

/*
 * First everything above all targets, then down to where it belongs: whatever numbers the parent
 * had, 0 to 2 included, no dup2() overwrites what a later one needs.
 */
static int child_descriptors(const struct program_start *start)
{
	int above = FIRST_FD + PROGRAM_FDS_MAX, high[PROGRAM_FDS_MAX];

	int output = fcntl(start->output_fd, F_DUPFD_CLOEXEC, above);
	if (output < 0)
		return -errno;
	for (size_t i = 0; i < start->fds_n; i++) {
		high[i] = start->fds[i] < 0 ? -1 : fcntl(start->fds[i], F_DUPFD_CLOEXEC, above);
		if (start->fds[i] >= 0 && high[i] < 0)
			return -errno;
	}
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0)
		null = fcntl(null, F_DUPFD_CLOEXEC, above);
	if (null < 0)
		return -errno;

	if (dup2(null, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
	    dup2(output, STDERR_FILENO) < 0)
		return -errno;
	for (size_t i = 0; i < start->fds_n; i++) {
		int target = FIRST_FD + (int)i;
		if (high[i] < 0)
			close(target);
		else if (dup2(high[i], target) < 0)
			return -errno;
	}
	/* Also what the parent itself was given without close-on-exec. */
	if (close_range(FIRST_FD + (unsigned)start->fds_n, ~0u, 0) < 0)
		return -errno;
	return 0;
}

static void child(const struct program_start *start, pid_t parent) __attribute__((noreturn));
static void child(const struct program_start *start, pid_t parent)
{
	static char *const environment[] = {
		(char *)(uintptr_t) "PATH=/usr/bin:/bin",
		(char *)(uintptr_t) "LC_ALL=C",
		NULL,
	};
	const char *program = start->argv[0];

	child_signals();
	if (child_descriptors(start) < 0)
		child_fails(program, "passing descriptors");
	setsid(); /* a terminal's ^C is for the one who typed it, not for a machine */
	/* Guest memory does not belong into a core file. */
	if (setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 }) < 0)
		child_fails(program, "limiting core files");
	/* Any folder may be closed to the user that we become. */
	if (chdir("/") < 0)
		child_fails(program, "entering /");
	if (child_user(&start->user) < 0)
		child_fails(program, "changing the user");
	/* After the change of user, which clears it. A parent that died before is one that changed:
	 * then nobody is left to be told. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		child_fails(program, "asking for the parent's end");
	if (getppid() != parent)
		_exit(127);
	execve(program, start->argv, environment);
	child_fails(program, "execve");
}

/* ---- the parent ---- */

int program_spawn(const struct program_start *start, pid_t *ret)
{
	if (start->fds_n > PROGRAM_FDS_MAX)
		return -EINVAL;

	/* No handler of ours may run in the child, where it would act on shared descriptors. */
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before); /* fails only for a bad SIG_BLOCK */
	pid_t parent = getpid(), pid = fork();
	int r = pid < 0 ? -errno : 0;
	if (pid == 0)
		child(start, parent);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r < 0)
		return r;
	*ret = pid;
	return 0;
}

int program_wait(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* 1 when fd is readable or at its end, 0 at the time `end`, or a negative errno. */
static int wait_readable(int fd, uint64_t end)
{
	for (;;) {
		uint64_t now = clock_monotonic_ms();
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int r = poll(&p, 1, now < end ? (int)(end - now) : 0);
		if (r >= 0 || errno != EINTR)
			return r < 0 ? -errno : r;
	}
}

/* Until the end of what fd gives; more than fits is read and dropped. */
static int read_all(int fd, uint64_t end, char *buffer, size_t size)
{
	size_t n = 0;
	for (;;) {
		int r = wait_readable(fd, end);
		if (r <= 0)
			return r < 0 ? r : -ETIMEDOUT;
		char chunk[4096];
		ssize_t k = read(fd, chunk, sizeof(chunk));
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0) {
			buffer[n] = 0;
			return k < 0 ? -errno : 0;
		}
		size_t keep = MIN((size_t)k, size - 1 - n);
		memcpy(buffer + n, chunk, keep);
		n += keep;
	}
}

int program_run(char *const *argv, const struct program_user *user, uint64_t timeout_ms,
		char *buffer, size_t size)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	_cleanup_close_ int output = ends[0], input = ends[1];

	pid_t pid;
	struct program_start start = { .argv = argv, .output_fd = input };
	if (user)
		start.user = *user;
	int r = program_spawn(&start, &pid);
	if (r < 0)
		return r;
	input = fd_close(input);

	uint64_t end = clock_monotonic_ms() + timeout_ms;
	_cleanup_close_ int pid_fd = pidfd_open(pid, 0);
	r = pid_fd < 0 ? -errno : read_all(output, end, buffer, size);
	if (r >= 0) {
		r = wait_readable(pid_fd, end);
		r = r > 0 ? 0 : r < 0 ? r : -ETIMEDOUT;
	}
	if (r < 0)
		kill(pid, SIGKILL);
	int status = program_wait(pid);
	return r < 0 ? r : status;
}
