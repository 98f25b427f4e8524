/* SPDX-License-Identifier: Apache-2.0 */

/*
 * QEMU as a child process.
 *
 * It gets everything as open descriptors: three socket pairs (the agent's port, QMP, the console),
 * a pipe for its own messages, and the files. Then nothing has to be named, waited for, or cleaned
 * up after a crash. Whatever way one side ends, the other sees its sockets end.
 *
 *	supervisor ──── bwrap ──── qemu		confined; vmm.pid is bwrap
 *	supervisor ──── qemu			not confined
 *
 * bwrap only waits. Each of the three dies with the one to its left (PR_SET_PDEATHSIG), and bwrap
 * ends when QEMU does, so killing any of them, or the supervisor, ends all.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "vmm/arguments.h"
#include "vmm/confine.h"
#include "vmm/overlay.h"
#include "vmm/program.h"
#include "vmm/vmm.h"

/* SIGKILL ends a process at once, unless it hangs in the kernel; that is not waited for forever. */
#define GONE_TIMEOUT_MS 3000

#define CHANNELS 3 /* MACHINE_FD_AGENT, _QMP, _CONSOLE */
#define FILES	 4 /* MACHINE_FD_BASE_DISK, _OVERLAY, _KERNEL, _INITRAMFS */
_Static_assert(MACHINE_FD_END - MACHINE_FD_AGENT == CHANNELS + FILES, "all are one or the other");

struct launch {
	const struct vmm_config *config;
	char *qemu;
	char *bwrap;		   /* NULL: not confined */
	int fds[CHANNELS + FILES]; /* the child's ends, at MACHINE_FD_* - MACHINE_FD_AGENT */
	int output_fd;		   /* the child's end of stderr_fd */
	struct vmm vmm;
};

#define INDEX(fd) ((fd)-MACHINE_FD_AGENT)

/* ---- what is needed ---- */

static int find(const char *program, const char *package, char **ret, struct cove_error *err)
{
	int r = program_find(program, ret);
	if (r == -ENOENT)
		return error_set(err, COVE_E_MISSING,
				 "%s is not installed (Debian package %s: apt install %s)", program,
				 package, package);
	if (r < 0)
		return error_set_errno(err, COVE_E_NO_MEMORY, r, "looking for %s", program);
	return 0;
}

int vmm_check(struct cove_error *err)
{
	_cleanup_free_ char *qemu = NULL;
	return find("qemu-system-x86_64", "qemu-system-x86", &qemu, err);
}

static int check_config(const struct vmm_config *config, struct cove_error *err)
{
	if (!config->kernel || !config->initramfs || !config->base_disk || !config->overlay)
		return error_set(err, COVE_E_INVALID,
				 "a machine needs kernel, initramfs and disks");
	if (config->cpus == 0 || config->memory_bytes == 0)
		return error_set(err, COVE_E_INVALID, "a machine needs processors and memory");
	return 0;
}

/* ---- descriptors ---- */

static void launch_close_theirs(struct launch *l)
{
	for (size_t i = 0; i < ARRAY_SIZE(l->fds); i++)
		l->fds[i] = fd_close(l->fds[i]);
	l->output_fd = fd_close(l->output_fd);
}

static void launch_init(struct launch *l, const struct vmm_config *config)
{
	*l = (struct launch){ .config = config, .output_fd = -1, .vmm = VMM_INIT };
	for (size_t i = 0; i < ARRAY_SIZE(l->fds); i++)
		l->fds[i] = -1;
}

static void launch_done(struct launch *l)
{
	launch_close_theirs(l);
	vmm_done(&l->vmm);
	free(l->qemu);
	free(l->bwrap);
}

static int open_channels(struct launch *l)
{
	int *const ours[CHANNELS] = {
		[INDEX(MACHINE_FD_AGENT)] = &l->vmm.agent_fd,
		[INDEX(MACHINE_FD_QMP)] = &l->vmm.qmp_fd,
		[INDEX(MACHINE_FD_CONSOLE)] = &l->vmm.console_fd,
	};
	for (size_t i = 0; i < CHANNELS; i++) {
		int ends[2];
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
			return -errno;
		*ours[i] = ends[0];
		l->fds[i] = ends[1];
		/* Ours only: flags belong to an end, and QEMU sets its own. */
		int r = fd_set_nonblocking(ends[0], true);
		if (r < 0)
			return r;
	}

	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	l->vmm.stderr_fd = ends[0];
	l->output_fd = ends[1];
	return fd_set_nonblocking(ends[0], true);
}

static int open_files(struct launch *l, struct cove_error *err)
{
	const struct {
		enum machine_fd fd;
		const char *path;
		int flags;
	} files[FILES] = {
		{ MACHINE_FD_BASE_DISK, l->config->base_disk, O_RDONLY },
		{ MACHINE_FD_OVERLAY, l->config->overlay, O_RDWR },
		{ MACHINE_FD_KERNEL, l->config->kernel, O_RDONLY },
		{ MACHINE_FD_INITRAMFS, l->config->initramfs, O_RDONLY },
	};
	for (size_t i = 0; i < FILES; i++) {
		int fd = open(files[i].path, files[i].flags | O_CLOEXEC | O_NOCTTY);
		if (fd < 0)
			return error_set_errno(err, COVE_E_SYSTEM, errno, "%s cannot be opened",
					       files[i].path);
		l->fds[INDEX(files[i].fd)] = fd;
	}
	int r = overlay_check(l->fds[INDEX(MACHINE_FD_OVERLAY)]);
	if (r < 0)
		return error_set_errno(err, COVE_E_SYSTEM, r, "%s is not a disk overlay of Cove",
				       l->config->overlay);
	return 0;
}

/* ---- starting ---- */

static int spawn(struct launch *l)
{
	/* bubblewrap resolves paths after it has changed folders. */
	_cleanup_free_ char *kernel = realpath(l->config->kernel, NULL);
	_cleanup_free_ char *initramfs = realpath(l->config->initramfs, NULL);
	if (!kernel || !initramfs)
		return -errno;
	struct vmm_config config = *l->config;
	config.kernel = kernel;
	config.initramfs = initramfs;

	struct program_start start = {
		.fds = l->fds,
		.fds_n = ARRAY_SIZE(l->fds),
		.output_fd = l->output_fd,
	};
	confine_user(config.accel, &start.user);

	/* Without a namespace of its own QEMU can use /proc, and so needs no permission either. */
	char kernel_fd[32], initramfs_fd[32];
	snprintf(kernel_fd, sizeof(kernel_fd), "/proc/self/fd/%d", MACHINE_FD_KERNEL);
	snprintf(initramfs_fd, sizeof(initramfs_fd), "/proc/self/fd/%d", MACHINE_FD_INITRAMFS);
	struct machine_files files = { .kernel = kernel_fd, .initramfs = initramfs_fd };

	_cleanup_(arguments_done) struct arguments a = { 0 };
	if (l->bwrap) {
		enum confine_give give = confine_give(&config, &start.user);
		arguments_confine(&a, l->bwrap, &config, give);
		files = arguments_confined_files;
		if (give == CONFINE_BIND) {
			l->fds[INDEX(MACHINE_FD_KERNEL)] =
				fd_close(l->fds[INDEX(MACHINE_FD_KERNEL)]);
			l->fds[INDEX(MACHINE_FD_INITRAMFS)] =
				fd_close(l->fds[INDEX(MACHINE_FD_INITRAMFS)]);
		}
	}
	arguments_add(&a, "%s", l->qemu);
	arguments_machine(&a, &config, &files, config.accel == VMM_ACCEL_TCG ? vmm_tsc_khz() : 0);
	if (a.error)
		return a.error;
	start.argv = a.v;
	return program_spawn(&start, &l->vmm.pid);
}

/* Until QMP's greeting can be read. -ECHILD: QEMU ended instead. */
static int wait_until_up(const struct vmm *vmm)
{
	uint64_t end = clock_monotonic_ms() + VMM_UP_TIMEOUT_MS;
	for (;;) {
		struct pollfd p[] = {
			{ .fd = vmm->qmp_fd, .events = POLLIN },
			{ .fd = vmm->pid_fd, .events = POLLIN },
		};
		uint64_t now = clock_monotonic_ms();
		int r = poll(p, ARRAY_SIZE(p), now < end ? (int)(end - now) : 0);
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r == 0)
			return -ETIMEDOUT;
		if (r > 0 && p[1].revents)
			return -ECHILD;
		if (r > 0 && p[0].revents) {
			char c;
			ssize_t n = recv(vmm->qmp_fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
			if (n > 0)
				return 0;
			/* Its end is closed, so it is about to end. */
			p[1].revents = 0;
			r = poll(&p[1], 1, GONE_TIMEOUT_MS);
			return r > 0 ? -ECHILD : -ETIMEDOUT;
		}
	}
}

/* The end of what the child had to say, as one line: a hint follows an error on a line of its own. */
static void last_words(const struct vmm *vmm, char *text, size_t size)
{
	size_t n = 0;
	for (;;) {
		if (n == size - 1) { /* the end is what matters */
			memmove(text, text + size / 2, n - size / 2);
			n -= size / 2;
		}
		ssize_t k = read(vmm->stderr_fd, text + n, size - 1 - n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			break;
		n += (size_t)k;
	}
	while (n > 0 && text[n - 1] == '\n')
		n--;
	text[n] = 0;
	for (char *p = text; (p = strchr(p, '\n'));)
		*p = ' ';
}

/* One try. ret_refused: it was bubblewrap that said no, in these words. */
static int launch(struct launch *l, char *ret_refused, size_t refused_size, struct cove_error *err)
{
	*ret_refused = 0;
	int r = open_files(l, err);
	if (r < 0)
		return r;
	r = open_channels(l);
	if (r < 0)
		return error_set_errno(err, COVE_E_SYSTEM, r, "making QEMU's sockets");
	r = spawn(l);
	if (r < 0)
		return error_set_errno(err, COVE_E_SYSTEM, r, "starting QEMU");
	launch_close_theirs(l);

	l->vmm.pid_fd = pidfd_open(l->vmm.pid, 0);
	if (l->vmm.pid_fd < 0)
		return error_set_errno(err, COVE_E_SYSTEM, errno, "watching QEMU");
	r = wait_until_up(&l->vmm);
	if (r == 0) {
		l->vmm.confined = l->bwrap != NULL;
		return 0;
	}

	char words[COVE_ERROR_MESSAGE_MAX];
	last_words(&l->vmm, words, sizeof(words));
	if (r == -ETIMEDOUT)
		return error_set(err, COVE_E_BOOT, "QEMU is not up after %d s%s%s",
				 VMM_UP_TIMEOUT_MS / 1000, *words ? ": " : "", words);
	if (r != -ECHILD)
		return error_set_errno(err, COVE_E_SYSTEM, r, "waiting for QEMU");
	if (!strncmp(words, "bwrap: ", 7))
		snprintf(ret_refused, refused_size, "%.*s", (int)refused_size - 1, words);
	return error_set(err, COVE_E_BOOT, "QEMU did not start: %s",
			 *words ? words : "it ended without a message");
}

/* The bubblewrap to use, or why there is none. */
static int find_bwrap(const char *qemu, char **ret, char *reason, size_t size)
{
	/* Only /usr is there inside. */
	if (strncmp(qemu, "/usr/", 5) != 0) {
		snprintf(reason, size, "%s is not below /usr", qemu);
		return -EXDEV;
	}
	int r = program_find("bwrap", ret);
	if (r < 0)
		snprintf(reason, size, "bwrap is not installed (Debian package bubblewrap)");
	return r;
}

/* One start, confined or not. *reason is set, to one line, when the confinement is what failed. */
static int start(const struct vmm_config *config, bool confined, struct vmm *ret, char *reason,
		 size_t size, struct cove_error *err)
{
	_cleanup_(launch_done) struct launch l;
	launch_init(&l, config);
	*reason = 0;
	int r = find("qemu-system-x86_64", "qemu-system-x86", &l.qemu, err);
	if (r < 0)
		return r;
	if (confined) {
		r = find_bwrap(l.qemu, &l.bwrap, reason, size);
		if (r < 0)
			return error_set(err, r == -ENOENT ? COVE_E_MISSING : COVE_E_UNSUPPORTED,
					 "QEMU cannot be confined: %s", reason);
	}
	r = launch(&l, reason, size, err);
	if (r < 0 && *reason)
		return error_set(err, COVE_E_UNSUPPORTED, "QEMU cannot be confined: %s", reason);
	if (r < 0)
		return r;
	*ret = l.vmm;
	l.vmm = (struct vmm)VMM_INIT;
	return 0;
}

int vmm_start(const struct vmm_config *config, struct vmm *ret, struct cove_error *err)
{
	char reason[sizeof(ret->unconfined_reason)] = "it was not asked for";
	enum confine_mode mode;
	int r = check_config(config, err);
	if (r >= 0)
		r = confine_mode(config, &mode, err);
	if (r < 0)
		return r;

	if (mode != CONFINE_OFF) {
		r = start(config, true, ret, reason, sizeof(reason), err);
		/* Only bubblewrap's own refusal is a reason to go on without it. */
		if (r >= 0 || mode == CONFINE_REQUIRED || !*reason)
			return r;
	}

	struct vmm vmm;
	char unused[sizeof(reason)];
	r = start(config, false, &vmm, unused, sizeof(unused), err);
	if (r < 0)
		return r;
	memcpy(vmm.unconfined_reason, reason, sizeof(reason));
	*ret = vmm;
	return 0;
}

/* ---- ending ---- */

/* Until nobody has the other end of the pipe: bwrap's death reaches QEMU a moment later. */
static void wait_until_gone(int stderr_fd)
{
	uint64_t end = clock_monotonic_ms() + GONE_TIMEOUT_MS;
	for (;;) {
		uint64_t now = clock_monotonic_ms();
		struct pollfd p = { .fd = stderr_fd, .events = POLLIN };
		int r = poll(&p, 1, now < end ? (int)(end - now) : 0);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return;
		char rest[4096];
		ssize_t n = read(stderr_fd, rest, sizeof(rest));
		if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
			return;
	}
}

void vmm_done(struct vmm *vmm)
{
	if (vmm->pid > 0) {
		/* The group has QEMU in it, too: it need not wait to be told of bwrap's death. */
		kill(-vmm->pid, SIGKILL);
		kill(vmm->pid, SIGKILL);
		program_wait(vmm->pid);
		wait_until_gone(vmm->stderr_fd);
	}
	fd_close(vmm->pid_fd);
	fd_close(vmm->agent_fd);
	fd_close(vmm->qmp_fd);
	fd_close(vmm->console_fd);
	fd_close(vmm->stderr_fd);
	*vmm = (struct vmm)VMM_INIT;
}
