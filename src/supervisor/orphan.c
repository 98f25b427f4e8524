/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor/orphan.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

static void end_likewise(int status) __attribute__((noreturn));
static void end_likewise(int status)
{
	if (WIFSIGNALED(status)) {
		/* Whatever core there is to be is the supervisor's. */
		struct rlimit none = { 0, 0 };
		(void)setrlimit(RLIMIT_CORE, &none);
		signal(WTERMSIG(status), SIG_DFL);
		raise(WTERMSIG(status));
	}
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

static void stand_for(pid_t supervisor, int fd) __attribute__((noreturn));
static void stand_for(pid_t supervisor, int fd)
{
	char let_go;
	ssize_t n;
	int status = 0;
	if (chdir("/") < 0) /* the creator's working directory is not ours to hold on to */
		_exit(1);
	while ((n = read(fd, &let_go, 1)) < 0 && errno == EINTR)
		continue;
	if (n > 0)
		_exit(0);
	while (waitpid(supervisor, &status, 0) < 0 && errno == EINTR)
		continue;
	end_likewise(status);
}

int orphan_start(int socket, int *ret_fd)
{
	int fds[2];
	pid_t parent = getpid();
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid_t pid = fork();
	if (pid < 0) {
		int r = -errno;
		fd_close(fds[0]);
		fd_close(fds[1]);
		return r;
	}
	if (pid > 0) {
		close(fds[1]);
		close(socket);
		stand_for(pid, fds[0]);
	}
	close(fds[0]);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1); /* or it was killed before it could count */
	(void)setsid();
	*ret_fd = fds[1];
	return 0;
}

int orphan_let_go(int fd)
{
	if (fd < 0)
		return -1;
	/* First: its end is not ours any more. */
	(void)prctl(PR_SET_PDEATHSIG, 0);
	while (write(fd, "", 1) < 0 && errno == EINTR)
		continue;
	return fd_close(fd);
}
