/* SPDX-License-Identifier: Apache-2.0 */

/*
 * In the place of src/vmm: a "machine" that is a process. It runs cove-agent-host (or what
 * COVE_TEST_AGENT names) on a socket pair, so that everything above a virtual machine can be tested
 * without one. What happens to it looks as if it happened to QEMU:
 *
 *	the agent exits with 0		QMP says SHUTDOWN guest-shutdown, the machine ends
 *	it ends in any other way	its "console" says Kernel panic, QMP says guest-reset
 *	the machine is killed		all processes in it are gone at once (where the kernel lets
 *					us have a pid namespace)
 *
 * COVE_TEST_ACCEL=kvm makes the probe find KVM. COVE_TEST_BOOT=hang|exit|enospc makes the boot fail;
 * COVE_TEST_BOOT=hang-once only the first one.
 */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "vmm/vmm.h"

#define AGENT_FD 3

static bool is_set(const char *variable, const char *value)
{
	const char *text = getenv(variable);
	return text && !strcmp(text, value);
}

const char *vmm_accel_name(enum vmm_accel accel)
{
	return accel == VMM_ACCEL_KVM ? "kvm" : "tcg";
}

void vmm_accel_probe(struct vmm_accel_report *ret)
{
	*ret = (struct vmm_accel_report){ .reason = "this is a test" };
	if (is_set("COVE_TEST_ACCEL", "kvm"))
		ret->accel = VMM_ACCEL_KVM;
}

int vmm_check(_unused_ struct cove_error *err)
{
	return 0;
}

int vmm_overlay_create(int dir_fd, const char *name, struct cove_error *err)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set_errno(err, COVE_E_SYSTEM, errno, "making the overlay");
	close(fd);
	if (is_set("COVE_TEST_BOOT", "enospc"))
		return error_set_errno(err, COVE_E_SYSTEM, ENOSPC, "making the overlay");
	return 0;
}

/* ---- inside the machine ---- */

struct ends {
	int agent, qmp, console, output; /* ours: the supervisor has the others */
};

static void say(int fd, const char *text)
{
	if (fd_write_full(fd, text, strlen(text)) < 0)
		_exit(1); /* the supervisor has gone */
}

/* The greeting, and the answer to qmp_capabilities. */
static void speak_qmp(int fd)
{
	char line[512], answer[64];
	size_t n = 0;
	say(fd, "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n");
	while (n < sizeof(line) - 1 && read(fd, line + n, 1) == 1 && line[n] != '\n')
		n++;
	line[n] = 0;
	const char *id = strstr(line, "\"id\":");
	snprintf(answer, sizeof(answer), "{\"return\": {}, \"id\": %ld}\r\n",
		 id ? strtol(id + strlen("\"id\":"), NULL, 10) : 0);
	say(fd, answer);
}

static pid_t start_agent(const struct ends *ends)
{
	const char *program = getenv("COVE_TEST_AGENT");
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(ends->console, STDOUT_FILENO) < 0 || dup2(ends->console, STDERR_FILENO) < 0 ||
	    dup2(ends->agent, AGENT_FD) < 0)
		_exit(1);
	close_range(AGENT_FD + 1, ~0U, 0);
	if (!program || !*program)
		program = COVE_BUILD_ROOT "/cove-agent-host";
	execl(program, program, "--fd", "3", (char *)NULL);
	dprintf(STDERR_FILENO, "%s: %s\n", program, strerror(errno));
	_exit(127);
}

static void machine(const struct ends *given)
{
	/* Everything else of the supervisor's is not ours: its lock, its sockets. */
	struct ends e = {
		.agent = fcntl(given->agent, F_DUPFD, 100),
		.qmp = fcntl(given->qmp, F_DUPFD, 100),
		.console = fcntl(given->console, F_DUPFD, 100),
		.output = fcntl(given->output, F_DUPFD, 100),
	};
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0);
	signal(SIGPIPE, SIG_DFL);
	close_range(3, 99, 0);
	close_range((unsigned)e.output + 1, ~0U, 0);
	fcntl(e.agent, F_SETFL, 0);

	say(e.console, "Linux version 0.0 (a process)\r\n");
	if (is_set("COVE_TEST_BOOT", "exit")) {
		say(e.output, "qemu: this machine does not like you\n");
		_exit(1);
	}
	speak_qmp(e.qmp);
	if (is_set("COVE_TEST_BOOT", "hang")) {
		say(e.console, "Calibrating delay loop...\r\n");
		for (;;)
			pause();
	}

	pid_t agent = start_agent(&e), pid;
	int status;
	close(e.agent);
	while ((pid = waitpid(-1, &status, 0)) != agent)
		if (pid < 0 && errno != EINTR)
			_exit(1);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		say(e.qmp, "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, "
			   "\"reason\": \"guest-shutdown\"}}\r\n");
	} else {
		say(e.console, "[    1.0] Kernel panic - not syncing: Attempted to kill init!\r\n"
			       "RIP: 0033:0x4711\r\n---[ end Kernel panic - not syncing ]---\r\n");
		say(e.qmp, "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, "
			   "\"reason\": \"guest-reset\"}}\r\n");
	}
	_exit(0);
}

/* ---- outside ---- */

static void write_map(const char *file, unsigned id)
{
	char line[64];
	snprintf(line, sizeof(line), "%u %u 1", id, id);
	if (fd_write_string(AT_FDCWD, file, line) < 0)
		dprintf(STDERR_FILENO, "fake-vmm: %s: %s\n", file, strerror(errno));
}

/*
 * A fork whose child is the first of a pid namespace, so that nothing outlives it; in a user
 * namespace, too, where only that gives the right to it. Without either it is just a fork.
 */
static pid_t fork_into_namespace(void)
{
	unsigned uid = geteuid(), gid = getegid();
	bool own_users = uid != 0;
	unsigned long flags = CLONE_NEWPID | CLONE_NEWNS | (own_users ? CLONE_NEWUSER : 0);
	pid_t pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid < 0)
		return fork();
	if (pid > 0)
		return pid;
	if (own_users) {
		(void)!fd_write_string(AT_FDCWD, "/proc/self/setgroups", "deny");
		write_map("/proc/self/uid_map", uid);
		write_map("/proc/self/gid_map", gid);
	}
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		dprintf(STDERR_FILENO, "fake-vmm: no /proc: %s\n", strerror(errno));
	return 0;
}

static void close_all(struct ends *e)
{
	fd_close(e->agent);
	fd_close(e->qmp);
	fd_close(e->console);
	fd_close(e->output);
}

int vmm_start(_unused_ const struct vmm_config *config, struct vmm *ret, struct cove_error *err)
{
	static unsigned starts;
	int agent[2], qmp[2], console[2], output[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, agent) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, qmp) < 0 ||
	    pipe2(console, O_CLOEXEC) < 0 || pipe2(output, O_CLOEXEC) < 0)
		return error_set_errno(err, COVE_E_SYSTEM, errno, "making the machine's sockets");
	if (starts++ == 0 && is_set("COVE_TEST_BOOT", "hang-once"))
		setenv("COVE_TEST_BOOT", "hang", 1);
	else if (starts == 2)
		unsetenv("COVE_TEST_BOOT");

	struct ends ends = { agent[1], qmp[1], console[1], output[1] };
	pid_t pid = fork_into_namespace();
	if (pid == 0)
		machine(&ends);
	int error = errno;
	close_all(&ends);
	*ret = (struct vmm){
		.pid = pid,
		.pid_fd = pid > 0 ? pidfd_open(pid, 0) : -1,
		.agent_fd = agent[0],
		.qmp_fd = qmp[0],
		.console_fd = console[0],
		.stderr_fd = output[0],
	};
	if (pid < 0) {
		vmm_done(ret);
		return error_set_errno(err, COVE_E_SYSTEM, error, "fork");
	}
	const int fds[] = { ret->agent_fd, ret->qmp_fd, ret->console_fd, ret->stderr_fd };
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fd_set_nonblocking(fds[i], true);
	return 0;
}

void vmm_done(struct vmm *vmm)
{
	if (vmm->pid > 0) {
		kill(vmm->pid, SIGKILL);
		while (waitpid(vmm->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	fd_close(vmm->pid_fd);
	fd_close(vmm->agent_fd);
	fd_close(vmm->qmp_fd);
	fd_close(vmm->console_fd);
	fd_close(vmm->stderr_fd);
	*vmm = (struct vmm)VMM_INIT;
}
