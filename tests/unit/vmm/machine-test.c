/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The real thing: QEMU, bubblewrap, and the guest's kernel, with an initramfs that is empty. So the
 * kernel boots, finds nothing to run, and panics, which is all that is wanted of it here.
 */
#include "harness/tap.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "vmm/program.h"
#include "vmm/vmm.h"

#define NOBODY 65534

#define BOOT_MS 90000 /* 2 s alone on an idle machine */
#define GONE_MS 3000  /* what is promised: "nothing left running within 3 s" */

static char kernel[PATH_MAX], initramfs[64], base_disk[64], overlay[64];

static struct vmm_config config(void)
{
	return (struct vmm_config){
		.accel = VMM_ACCEL_TCG,
		.kernel = kernel,
		.initramfs = initramfs,
		.cpus = 1,
		.memory_bytes = 128ull << 20,
		.base_disk = base_disk,
		.overlay = overlay,
		.confine = true,
	};
}

static void write_file(const char *path, const void *data, size_t n)
{
	_cleanup_close_ int fd = (int)CHECK_SYS(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	CHECK_OK(fd_write_full(fd, data, n));
}

/* Files in the test's own folder, which is closed to others; the kernel where the build has it. */
static void prepare(void)
{
	/* The end of a cpio archive, and nothing before it. */
	static const char empty[] = "0707010000000000000000000000000000000000000001"
				    "000000000000000000000000000000000000000000000000"
				    "0000000B00000000TRAILER!!!\0\0\0";
	umask(022);
	snprintf(kernel, sizeof(kernel), "%s/guest/vmlinuz", getenv("COVE_BUILD_DIR"));
	snprintf(initramfs, sizeof(initramfs), "%s", tap_path("initramfs"));
	snprintf(base_disk, sizeof(base_disk), "%s", tap_path("base.ext4"));
	snprintf(overlay, sizeof(overlay), "%s", tap_path("overlay.qcow2"));
	write_file(initramfs, empty, sizeof(empty));
	write_file(base_disk, "", 0);
	CHECK_SYS(truncate(base_disk, 1 << 20));
	_cleanup_close_ int dir = (int)CHECK_SYS(open(tap_dir(), O_PATH | O_CLOEXEC));
	CHECK_OK(vmm_overlay_create(dir, "overlay.qcow2", NULL));
}

static struct vmm start(const struct vmm_config *c)
{
	struct vmm vmm = VMM_INIT;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(vmm_start(c, &vmm, &err), &err);
	return vmm;
}

/* ---- looking at processes ---- */

static char *proc_read(pid_t pid, const char *name)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	char *text;
	CHECK_OK(fd_read_file(AT_FDCWD, path, 1 << 20, true, &text, NULL));
	return text;
}

/* QEMU itself: the only child of bwrap, or the process that was started. */
static pid_t qemu_pid(const struct vmm *vmm)
{
	if (!vmm->confined)
		return vmm->pid;
	char name[64];
	snprintf(name, sizeof(name), "task/%d/children", (int)vmm->pid);
	_cleanup_free_ char *children = proc_read(vmm->pid, name);
	pid_t pid = (pid_t)strtol(children, NULL, 10);
	CHECK_INT(pid, >, 0);
	return pid;
}

static bool gone(int pid_fd)
{
	struct pollfd p = { .fd = pid_fd, .events = POLLIN };
	return CHECK_SYS(poll(&p, 1, GONE_MS)) > 0;
}

/* ---- following a machine to its end ---- */

struct story {
	char console[65536];
	size_t console_n;
	char shutdown[64]; /* the reason in the SHUTDOWN event */
	bool ready, ended;
};

static void follow_qmp(struct vmm *vmm, struct qmp *qmp, struct story *story, const char *command)
{
	char data[4096];
	ssize_t n;
	while ((n = read(vmm->qmp_fd, data, sizeof(data))) > 0) {
		CHECK_OK(qmp_input(qmp, data, (size_t)n));
		struct qmp_event event;
		int r;
		while ((r = qmp_next(qmp, &event)) > 0) {
			if (event.kind == QMP_EVENT_READY) {
				story->ready = true;
				if (command)
					CHECK_OK(qmp_command(qmp, command, NULL, NULL));
			}
			if (event.kind == QMP_EVENT_EVENT && !strcmp(event.name, "SHUTDOWN"))
				snprintf(story->shutdown, sizeof(story->shutdown), "%s",
					 event.reason);
		}
		CHECK_INT(r, ==, 0);
		const void *out;
		size_t size;
		qmp_output(qmp, &out, &size);
		if (size)
			CHECK_INT(send(vmm->qmp_fd, out, size, MSG_NOSIGNAL), ==, size);
		qmp_sent(qmp, size);
	}
	CHECK(n == 0 || errno == EAGAIN || errno == ECONNRESET); /* it ended with ours unread */
}

static void follow_console(struct vmm *vmm, struct story *story)
{
	ssize_t n;
	while ((n = read(vmm->console_fd, story->console + story->console_n,
			 sizeof(story->console) - 1 - story->console_n)) > 0)
		story->console_n += (size_t)n;
	CHECK(n == 0 || errno == EAGAIN || errno == ECONNRESET);
}

/* Until QEMU has ended, with `command` given as soon as QMP takes one. */
static void follow(struct vmm *vmm, struct story *story, const char *command)
{
	_cleanup_(qmp_freep) struct qmp *qmp = qmp_new();
	CHECK(qmp);
	memset(story, 0, sizeof(*story));
	while (!story->ended) {
		struct pollfd p[] = {
			{ .fd = vmm->pid_fd, .events = POLLIN },
			{ .fd = vmm->qmp_fd, .events = POLLIN },
			{ .fd = vmm->console_fd, .events = POLLIN },
		};
		CHECK_INT(poll(p, ARRAY_SIZE(p), BOOT_MS), >, 0);
		story->ended = p[0].revents != 0;
		follow_qmp(vmm, qmp, story, command);
		follow_console(vmm, story);
	}
}

/* ---- tests ---- */

static void check_boot(void)
{
	prepare();
	struct vmm_config c = config();
	struct vmm vmm = start(&c);
	static struct story story;
	follow(&vmm, &story, NULL);
	CHECK(story.ready);
	CHECK_CONTAINS(story.console, "Kernel panic - not syncing");
	CHECK_STR(story.shutdown, "guest-reset");
	vmm_done(&vmm);
	CHECK_INT(vmm.pid, ==, 0);
	CHECK_INT(waitpid(-1, NULL, WNOHANG), ==, -1);
}

static void test_panic(void)
{
	setenv("COVE_CONFINE", "required", 1);
	check_boot();
}

static void test_panic_unconfined(void)
{
	setenv("COVE_CONFINE", "off", 1);
	check_boot();
}

static void test_quit(void)
{
	prepare();
	struct vmm_config c = config();
	struct vmm vmm = start(&c);
	static struct story story;
	follow(&vmm, &story, "quit");
	CHECK_STR(story.shutdown, "host-qmp-quit");
	CHECK_INT(program_wait(vmm.pid), ==, 0);
	vmm.pid = 0; /* reaped */
	vmm_done(&vmm);
}

/* The value of "Name:\t…\n" in /proc/PID/status. */
static void check_status(const char *status, const char *line)
{
	char wanted[128];
	snprintf(wanted, sizeof(wanted), "\n%s\n", line);
	CHECK_CONTAINS(status, wanted);
}

static bool same_namespace(pid_t pid, const char *name)
{
	char path[64];
	struct stat ours, theirs;
	snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
	CHECK_SYS(stat(path, &ours));
	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, name);
	CHECK_SYS(stat(path, &theirs));
	return ours.st_ino == theirs.st_ino;
}

/* The names in a folder of a process's root, sorted as they come, with " " in between. */
static void check_only(pid_t pid, const char *folder, const char *const *allowed)
{
	char path[128];
	snprintf(path, sizeof(path), "/proc/%d/root%s", (int)pid, folder);
	_cleanup_closedir_ DIR *dir = opendir(path);
	CHECK(dir);
	struct dirent *entry;
	while ((entry = readdir(dir))) {
		bool known = entry->d_name[0] == '.';
		for (size_t i = 0; allowed[i]; i++)
			known = known || !strcmp(entry->d_name, allowed[i]);
		if (!known)
			tap_fail(__FILE__, __LINE__, "%s has %s in it", path, entry->d_name);
	}
}

static void check_descriptors(pid_t pid)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	_cleanup_closedir_ DIR *dir = opendir(path);
	CHECK(dir);
	unsigned inherited = 0;
	struct dirent *entry;
	while ((entry = readdir(dir))) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		char target[PATH_MAX];
		ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
		CHECK_SYS(n);
		target[n] = 0;
		if (!strcmp(target, "/dev/zero"))
			tap_fail(__FILE__, __LINE__, "descriptor %s is %s", entry->d_name, target);
		inherited += atoi(entry->d_name) <= 9;
	}
	CHECK_INT(inherited, >=, 3);
}

/* What a QEMU that its guest has taken over has to work with. */
static void check_confined(void)
{
	static const char *const root[] = { "usr",     "lib",	    "lib64", "dev",
					    "vmlinuz", "initramfs", NULL };
	static const char *const devices[] = { "null", NULL };
	/* Without close-on-exec, as a careless parent may leave it. */
	int leaked = (int)CHECK_SYS(open("/dev/zero", O_RDONLY)); /* NOLINT(android-cloexec-open) */

	setenv("COVE_CONFINE", "required", 1);
	struct vmm_config c = config();
	struct vmm vmm = start(&c);
	CHECK(vmm.confined);
	CHECK_STR(vmm.unconfined_reason, "");
	pid_t pid = qemu_pid(&vmm);
	/* QMP greets while the rest is still being made; its answer comes after that. */
	CHECK_OK(fd_set_nonblocking(vmm.qmp_fd, false));
	static const char enter[] = "{\"execute\": \"qmp_capabilities\"}\n";
	char answer[4096];
	CHECK_INT(read(vmm.qmp_fd, answer, sizeof(answer)), >, 0);
	CHECK_OK(fd_write_full(vmm.qmp_fd, enter, sizeof(enter) - 1));
	CHECK_INT(read(vmm.qmp_fd, answer, sizeof(answer)), >, 0);

	_cleanup_free_ char *status = proc_read(pid, "status");
	check_status(status, "CapEff:\t0000000000000000");
	check_status(status, "CapBnd:\t0000000000000000");
	check_status(status, "NoNewPrivs:\t1");
	check_status(status, "Seccomp:\t2");
	/* Of the host, not only inside: never root, otherwise who started it. */
	char uids[64];
	unsigned uid = geteuid() == 0 ? NOBODY : geteuid();
	snprintf(uids, sizeof(uids), "Uid:\t%u\t%u\t%u\t%u", uid, uid, uid, uid);
	check_status(status, uids);

	static const char *const namespaces[] = { "user", "mnt", "pid",	  "net",
						  "ipc",  "uts", "cgroup" };
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++)
		CHECK(!same_namespace(pid, namespaces[i]));
	if (geteuid() == 0) { /* only root may look into another's root */
		check_only(pid, "/", root);
		check_only(pid, "/dev", devices);
		check_descriptors(pid);
	}
	_cleanup_free_ char *mounts = proc_read(pid, "mounts");
	for (char *line = strtok(mounts, "\n"); line; line = strtok(NULL, "\n")) {
		tap_note("%s", line);
		if (!strstr(line, " /dev/null "))
			CHECK(strstr(line, " ro,"));
	}
	vmm_done(&vmm);
	close(leaked);
}

static void become_nobody(void)
{
	if (geteuid() != 0)
		return;
	const char *const files[] = { tap_dir(), initramfs, base_disk, overlay };
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		CHECK_SYS(chown(files[i], NOBODY, NOBODY));
	/* The build may be where only root can go. */
	const char *copy = tap_path("kernel");
	_cleanup_close_ int in = (int)CHECK_SYS(open(kernel, O_RDONLY | O_CLOEXEC));
	_cleanup_close_ int out = (int)CHECK_SYS(open(copy, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	struct stat st;
	CHECK_SYS(fstat(in, &st));
	CHECK_INT(sendfile(out, in, NULL, (size_t)st.st_size), ==, st.st_size);
	snprintf(kernel, sizeof(kernel), "%s", copy);
	CHECK_SYS(setresgid(NOBODY, NOBODY, NOBODY));
	CHECK_SYS(setresuid(NOBODY, NOBODY, NOBODY));
	CHECK_SYS(prctl(PR_SET_DUMPABLE, 1)); /* as after a login: /proc/self is one's own */
}

static void test_confinement(void)
{
	prepare();
	check_confined();
}

static void test_confinement_user(void)
{
	prepare();
	become_nobody();
	check_confined();
}

/* Killing any of the processes ends all of them. `which`: 0 is ours (bwrap or QEMU), 1 is QEMU. */
static void check_kill(int which)
{
	struct vmm_config c = config();
	struct vmm vmm = start(&c);
	pid_t pid = qemu_pid(&vmm);
	_cleanup_close_ int qemu_fd = (int)CHECK_SYS(pidfd_open(pid, 0));
	CHECK_SYS(kill(which == 0 ? vmm.pid : pid, SIGKILL));
	CHECK(gone(qemu_fd));
	CHECK(gone(vmm.pid_fd));
	vmm_done(&vmm);
}

/* A "supervisor" that starts a machine, tells the pids, and is killed. */
static void check_parent_killed(void)
{
	int ends[2];
	CHECK_SYS(pipe2(ends, O_CLOEXEC));
	pid_t supervisor = (pid_t)CHECK_SYS(fork());
	if (supervisor == 0) {
		struct vmm_config c = config();
		struct vmm vmm = start(&c);
		pid_t pids[2] = { vmm.pid, qemu_pid(&vmm) };
		CHECK_OK(fd_write_full(ends[1], pids, sizeof(pids)));
		for (;;)
			pause();
	}
	close(ends[1]);
	pid_t pids[2];
	CHECK_OK(fd_read_full(ends[0], pids, sizeof(pids)));
	close(ends[0]);
	_cleanup_close_ int outer = (int)CHECK_SYS(pidfd_open(pids[0], 0));
	_cleanup_close_ int inner = (int)CHECK_SYS(pidfd_open(pids[1], 0));
	CHECK_SYS(kill(supervisor, SIGKILL));
	CHECK(gone(outer));
	CHECK(gone(inner));
	CHECK_INT(program_wait(supervisor), ==, 128 + SIGKILL);
}

static void check_deaths(void)
{
	static const char *const modes[] = { "required", "off" };
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		setenv("COVE_CONFINE", modes[i], 1);
		check_kill(0);
		check_kill(1);
		check_parent_killed();
	}
}

static void test_deaths(void)
{
	prepare();
	check_deaths();
}

static void test_deaths_user(void)
{
	prepare();
	become_nobody();
	check_deaths();
}

/* vmm_done() returns when nothing is left, not when it has been told to go. */
static void test_done(void)
{
	static const char *const modes[] = { "required", "off" };
	prepare();
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		setenv("COVE_CONFINE", modes[i], 1);
		struct vmm_config c = config();
		struct vmm vmm = start(&c);
		pid_t pid = qemu_pid(&vmm);
		_cleanup_close_ int qemu_fd = (int)CHECK_SYS(pidfd_open(pid, 0));
		vmm_done(&vmm);
		struct pollfd p = { .fd = qemu_fd, .events = POLLIN };
		CHECK_INT(poll(&p, 1, 100), ==, 1); /* its descriptors are closed; now it exits */
		vmm_done(&vmm);			    /* and again is fine */
	}
}

static void check_error(const struct vmm_config *c, int code, const char *text)
{
	struct vmm vmm = VMM_INIT;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_INT(vmm_start(c, &vmm, &err), ==, code);
	tap_note("%s", err.message);
	CHECK_CONTAINS(err.message, text);
	CHECK_INT(vmm.pid, ==, 0);
	CHECK_INT(vmm.agent_fd, ==, -1);
	CHECK_INT(waitpid(-1, NULL, WNOHANG), ==, -1);
}

static void test_errors(void)
{
	prepare();
	struct vmm_config c = config();
	c.overlay = "/nowhere/overlay";
	check_error(&c, COVE_E_SYSTEM, "/nowhere/overlay cannot be opened: No such file");
	c = config();
	c.overlay = initramfs;
	check_error(&c, COVE_E_SYSTEM, "is not a disk overlay of Cove");
	c = config();
	c.kernel = NULL;
	check_error(&c, COVE_E_INVALID, "kernel");
	c = config();
	c.cpus = 0;
	check_error(&c, COVE_E_INVALID, "processors");
	setenv("COVE_CONFINE", "yes", 1);
	c = config();
	check_error(&c, COVE_E_INVALID, "COVE_CONFINE is \"yes\"");
}

/* What QEMU finds wrong after it greeted comes by stderr_fd, and its end. */
static void test_qemu_says_why(void)
{
	prepare();
	static const char *const modes[] = { "required", "off" };
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		setenv("COVE_CONFINE", modes[i], 1);
		struct vmm_config c = config();
		struct vmm first = start(&c), second = VMM_INIT;
		struct cove_error err = COVE_ERROR_INIT;
		/* The overlay is in use. */
		int r = vmm_start(&c, &second, &err);
		if (r == 0) {
			CHECK(gone(second.pid_fd));
			ssize_t n = read(second.stderr_fd, err.message, sizeof(err.message) - 1);
			err.message[n > 0 ? n : 0] = 0;
		} else {
			CHECK_INT(r, ==, COVE_E_BOOT);
		}
		CHECK_CONTAINS(err.message, "Failed to get \"write\" lock");
		vmm_done(&second);
		vmm_done(&first);
	}
}

static void fake_bwrap(const char *script)
{
	const char *path = tap_path("bin/bwrap");
	if (access(tap_path("bin"), F_OK) < 0)
		CHECK_SYS(mkdir(tap_path("bin"), 0755));
	unlink(path);
	write_file(path, script, strlen(script));
	CHECK_SYS(chmod(path, 0755));
	CHECK_SYS(chmod(tap_dir(), 0755)); /* as whoever it is run */
	setenv("PATH", tap_path("bin"), 1);
}

static void test_bwrap_refuses(void)
{
	prepare();
	fake_bwrap("#!/bin/sh\n"
		   "echo 'bwrap: No permissions to create a new namespace' >&2\n"
		   "exit 1\n");
	struct vmm_config c = config();
	setenv("COVE_CONFINE", "required", 1);
	check_error(&c, COVE_E_UNSUPPORTED,
		    "QEMU cannot be confined: bwrap: No permissions to create a new namespace");
	unsetenv("COVE_CONFINE");
	struct vmm vmm = start(&c);
	CHECK(!vmm.confined);
	CHECK_STR(vmm.unconfined_reason, "bwrap: No permissions to create a new namespace");
	_cleanup_free_ char *status = proc_read(vmm.pid, "status");
	if (geteuid() == 0) /* never root's rights, confined or not */
		check_status(status, "Uid:\t65534\t65534\t65534\t65534");
	vmm_done(&vmm);

	/* Only a refusal of bubblewrap's own is a reason to go on without it. */
	fake_bwrap("#!/bin/sh\necho 'something else' >&2\nexit 1\n");
	check_error(&c, COVE_E_BOOT, "QEMU did not start: something else");
	fake_bwrap("#!/bin/sh\nexit 1\n");
	check_error(&c, COVE_E_BOOT, "it ended without a message");
}

/* Where root's own user is the only one who can reach the kernel. */
static void test_unreachable_kernel(void)
{
	prepare();
	setenv("COVE_CONFINE", "required", 1);
	const char *copy = tap_path("kernel");
	_cleanup_free_ char *data = NULL;
	size_t n;
	CHECK_OK(fd_read_file(AT_FDCWD, kernel, 64 << 20, false, &data, &n));
	write_file(copy, data, n);
	snprintf(kernel, sizeof(kernel), "%s", copy);
	CHECK_SYS(chmod(tap_dir(), 0700));
	struct vmm_config c = config();
	struct vmm vmm = start(&c);
	CHECK(vmm.confined);
	static struct story story;
	follow(&vmm, &story, NULL);
	CHECK_CONTAINS(story.console, "Kernel panic - not syncing");
	vmm_done(&vmm);
}

static const struct tap_test tests[] = {
	{ "boots, panics, ends", test_panic, .timeout_s = 100 },
	{ "boots, panics, ends, unconfined", test_panic_unconfined, .timeout_s = 100 },
	{ "quits when told", test_quit },
	{ "what QEMU is confined to", test_confinement },
	{ "what QEMU is confined to, as a user", test_confinement_user },
	{ "each death is everybody's", test_deaths, .timeout_s = 60 },
	{ "each death is everybody's, as a user", test_deaths_user, .timeout_s = 60 },
	{ "done leaves nothing", test_done },
	{ "errors", test_errors },
	{ "QEMU says why", test_qemu_says_why },
	{ "bubblewrap refuses", test_bwrap_refuses },
	{ "a kernel only root can reach", test_unreachable_kernel, .timeout_s = 100 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
