/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

#define EXIT_SKIPPED 77

/* Shared by the runner and the test's process. */
struct shared {
	char skip_reason[256];
};

static struct shared *shared;
static char test_dir[64];

/* ---- time ---- */

static unsigned long long now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned long long)t.tv_sec * 1000 + (unsigned long long)t.tv_nsec / 1000000;
}

unsigned long long tap_deadline(int timeout_ms)
{
	return now_ms() + (unsigned long long)timeout_ms;
}

bool tap_before(unsigned long long deadline)
{
	if (now_ms() >= deadline)
		return false;
	nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	return true;
}

bool tap_process_ends(pid_t pid, int timeout_ms)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return true;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	unsigned long long end = tap_deadline(timeout_ms);
	for (;;) {
		unsigned long long now = now_ms();
		int r = poll(&p, 1, now < end ? (int)(end - now) : 0);
		if (r >= 0 || errno != EINTR)
			return r > 0;
	}
}

/* ---- what a test says ---- */

const char *tap_dir(void)
{
	return test_dir;
}

const char *tap_path(const char *format, ...)
{
	static char paths[8][PATH_MAX];
	static unsigned next;

	char *path = paths[next++ % ARRAY_SIZE(paths)];
	int k = snprintf(path, PATH_MAX, "%s/", test_dir);
	va_list args;
	va_start(args, format);
	vsnprintf(path + k, (size_t)(PATH_MAX - k), format, args);
	va_end(args);
	return path;
}

static void note(const char *before, const char *format, va_list args)
{
	char text[2048];
	vsnprintf(text, sizeof(text), format, args);
	/* One write a line: several processes may talk at once. */
	dprintf(STDERR_FILENO, "# %s%s\n", before, text);
}

void tap_note(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	note("", format, args);
	va_end(args);
}

void tap_skip(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(shared->skip_reason, sizeof(shared->skip_reason), format, args);
	va_end(args);
	_exit(EXIT_SKIPPED);
}

void tap_fail(const char *file, int line, const char *format, ...)
{
	char where[PATH_MAX];
	snprintf(where, sizeof(where), "%s:%d: ", file, line);
	va_list args;
	va_start(args, format);
	note(where, format, args);
	va_end(args);
	_exit(1); /* not exit(): nothing that a failed test left half-done is to be looked at */
}

void tap_check_str(const char *file, int line, const char *what, const char *a, const char *b)
{
	if (a == b || (a && b && !strcmp(a, b)))
		return;
	tap_fail(file, line, "%s is %s%s%s, not %s%s%s", what, a ? "\"" : "", a ? a : "NULL",
		 a ? "\"" : "", b ? "\"" : "", b ? b : "NULL", b ? "\"" : "");
}

void tap_check_contains(const char *file, int line, const char *what, const char *text,
			const char *part)
{
	if (!text || !strstr(text, part))
		tap_fail(file, line, "%s has no \"%s\" in it: \"%s\"", what, part,
			 text ? text : "NULL");
}

void tap_check_mem(const char *file, int line, const char *what, const void *a, const void *b,
		   size_t n)
{
	const uint8_t *p = a, *q = b;
	for (size_t i = 0; i < n; i++)
		if (p[i] != q[i])
			tap_fail(file, line, "%s differs at byte %zu of %zu: 0x%02x, not 0x%02x",
				 what, i, n, p[i], q[i]);
}

long long tap_check_ok(const char *file, int line, const char *what, long long r)
{
	if (r < 0)
		tap_fail(file, line, "%s gives %lld: %s", what, r,
			 r >= -4095 ? strerror((int)-r) : "?");
	return r;
}

long long tap_check_sys(const char *file, int line, const char *what, long long r)
{
	if (r < 0)
		tap_fail(file, line, "%s gives %lld: %s", what, r, strerror(errno));
	return r;
}

long long tap_check_cove(const char *file, int line, const char *what, long long r,
			 const struct cove_error *err)
{
	if (r < 0)
		tap_fail(file, line, "%s gives %lld: %s", what, r, err->message);
	return r;
}

/* ---- descriptors ---- */

#define FDS_MAX 512 /* those above are not compared; no test holds so many for long */

struct fd_set_snapshot {
	char *targets[FDS_MAX];
};

static void fds_take(struct fd_set_snapshot *s)
{
	memset(s, 0, sizeof(*s));
	for (int fd = 0; fd < FDS_MAX; fd++) {
		char link[64], target[PATH_MAX];
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		ssize_t n = readlink(link, target, sizeof(target) - 1);
		if (n >= 0) {
			target[n] = 0;
			s->targets[fd] = strdup(target);
		}
	}
}

static void fds_free(struct fd_set_snapshot *s)
{
	for (int fd = 0; fd < FDS_MAX; fd++)
		free(s->targets[fd]);
}

static bool fds_compare(const struct fd_set_snapshot *before, const struct fd_set_snapshot *after)
{
	bool equal = true;
	for (int fd = 0; fd < FDS_MAX; fd++) {
		const char *a = before->targets[fd], *b = after->targets[fd];
		if (a == b || (a && b && !strcmp(a, b)))
			continue;
		tap_note("descriptor %d was %s, is %s after the test", fd, a ? a : "closed",
			 b ? b : "closed");
		equal = false;
	}
	return equal;
}

/* ---- one test ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)ftw;
	/* A folder that a test made unreadable is still to be removed. */
	if (type == FTW_DNR)
		return chmod(path, 0700) < 0 ? -1
					     : nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	(void)st;
	return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

static int make_dir(void)
{
	/* Not TMPDIR: the path of a socket below this must fit into 108 bytes. */
	snprintf(test_dir, sizeof(test_dir), "/tmp/cove-test-XXXXXX");
	if (!mkdtemp(test_dir))
		return -errno;
	setenv("COVE_HOME", test_dir, 1);
	return 0;
}

static void remove_dir(void)
{
	if (nftw(test_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0)
		tap_note("%s cannot be removed: %s", test_dir, strerror(errno));
}

static void run_body(const struct tap_test *test)
{
	struct fd_set_snapshot before, after;
	fds_take(&before);
	test->run();
	fds_take(&after);
	bool equal = test->keeps_fds || fds_compare(&before, &after);
	fds_free(&before);
	fds_free(&after);
	if (!equal)
		_exit(1);
}

/* Waits for any child until the deadline. The pid, 0 when the time is up, -1 without children. */
static pid_t wait_child(int *ret_status, unsigned long long deadline)
{
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD); /* blocked in the runner, so it is kept until waited for */
	for (;;) {
		pid_t pid = waitpid(-1, ret_status, WNOHANG);
		if (pid != 0)
			return pid < 0 && errno == EINTR ? 0 : pid;
		unsigned long long now = now_ms();
		if (now >= deadline)
			return 0;
		unsigned long long left = deadline - now;
		sigtimedwait(&child, NULL,
			     &(struct timespec){ .tv_sec = (time_t)(left / 1000),
						 .tv_nsec = (long)(left % 1000) * 1000000 });
	}
}

/*
 * The runner is a child subreaper, so whatever the test left behind is its child now, or below one.
 * Those that do not end by themselves in time are named and killed, which moves their children up,
 * until none is left.
 */
static bool reap_stragglers(int grace_ms)
{
	unsigned long long deadline = tap_deadline(grace_ms);
	bool clean = true;
	for (;;) {
		int status;
		pid_t pid = wait_child(&status, deadline);
		if (pid < 0)
			return clean;
		if (pid > 0)
			continue;

		char path[64], list[4096] = "";
		snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
		_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, list, sizeof(list) - 1);
		if (n <= 0) {
			tap_note("processes were left behind that cannot be listed");
			return false;
		}
		for (char *p = strtok(list, " "); p; p = strtok(NULL, " ")) {
			char name[32] = "?";
			snprintf(path, sizeof(path), "/proc/%s/comm", p);
			_cleanup_close_ int comm = open(path, O_RDONLY | O_CLOEXEC);
			ssize_t k = comm < 0 ? -1 : read(comm, name, sizeof(name) - 1);
			if (k > 0)
				name[k - 1] = 0;
			tap_note("left running: process %s (%s)", p, name);
			kill((pid_t)strtol(p, NULL, 10), SIGKILL);
		}
		clean = false;
		deadline = tap_deadline(1000);
	}
}

enum outcome { PASSED, FAILED, SKIPPED };

static enum outcome run_forked(const struct tap_test *test)
{
	unsigned timeout_s = test->timeout_s ? test->timeout_s : TAP_TIMEOUT_S;
	int r = make_dir();
	if (r < 0) {
		tap_note("no folder for the test: %s", strerror(-r));
		return FAILED;
	}
	shared->skip_reason[0] = 0;

	pid_t child = fork();
	if (child < 0) {
		tap_note("fork: %s", strerror(errno));
		remove_dir();
		return FAILED;
	}
	if (child == 0) {
		setpgid(0, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a killed runner leaves no test behind */
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		dup2(STDERR_FILENO, STDOUT_FILENO);
		run_body(test);
		exit(0); /* not _exit(): leak checkers run now */
	}
	setpgid(child, child);

	unsigned long long deadline = tap_deadline((int)timeout_s * 1000);
	enum outcome outcome = FAILED;
	int status;
	pid_t pid;
	do
		pid = wait_child(&status, deadline);
	while (pid > 0 && pid != child);

	if (pid != child) {
		tap_note("\"%s\" is not done after %u s", test->name, timeout_s);
		kill(-child, SIGKILL);
	} else if (WIFSIGNALED(status)) {
		tap_note("\"%s\" was ended by signal %d (%s)", test->name, WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	} else if (WEXITSTATUS(status) == EXIT_SKIPPED) {
		outcome = SKIPPED;
	} else if (WEXITSTATUS(status) == 0) {
		outcome = PASSED;
	} else {
		tap_note("\"%s\" ended with status %d", test->name, WEXITSTATUS(status));
	}

	/* After a failure nothing is promised: no point in waiting. */
	if (!reap_stragglers(outcome == PASSED ? TAP_STRAGGLER_MS : 0) && outcome == PASSED)
		outcome = FAILED;
	remove_dir();
	return outcome;
}

/* ---- all of them ---- */

static bool selected(const char *name, char **parts, int n)
{
	for (int i = 0; i < n; i++)
		if (strstr(name, parts[i]))
			return true;
	return n == 0;
}

/*
 * glibc's posix_spawn, which make uses, leaves its two internal signals ignored in the child, and
 * its sigaction() does not let one change that.
 */
static void restore_internal_signals(void)
{
	/* The kernel's struct sigaction, all zero: SIG_DFL, no flags, an empty mask. */
	static const unsigned long none[4];
	for (int signal = 32; signal <= 33; signal++)
		syscall(SYS_rt_sigaction, signal, none, NULL, 8);
}

int tap_run(int argc, char **argv, const struct tap_test *tests, size_t n)
{
	bool list = false, here = false;
	int first = 1;
	for (; first < argc && argv[first][0] == '-'; first++) {
		list = list || !strcmp(argv[first], "-l");
		here = here || !strcmp(argv[first], "-n");
	}

	setvbuf(stdout, NULL, _IOLBF, 0);
	restore_internal_signals();
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	if (shared == MAP_FAILED)
		return 1;

	size_t count = 0, failed = 0, i;
	for (i = 0; i < n; i++)
		count += selected(tests[i].name, argv + first, argc - first);
	if (!list)
		printf("1..%zu\n", count);

	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	if (!here) {
		sigprocmask(SIG_BLOCK, &child, NULL);
		prctl(PR_SET_CHILD_SUBREAPER, 1);
	}

	size_t number = 0;
	for (i = 0; i < n; i++) {
		if (!selected(tests[i].name, argv + first, argc - first))
			continue;
		number++;
		if (list) {
			printf("%s\n", tests[i].name);
			continue;
		}
		enum outcome outcome = PASSED;
		if (here) {
			CHECK_OK(make_dir());
			run_body(&tests[i]);
			remove_dir();
		} else {
			outcome = run_forked(&tests[i]);
		}
		printf("%s %zu - %s%s%s\n", outcome == FAILED ? "not ok" : "ok", number,
		       tests[i].name, outcome == SKIPPED ? " # SKIP " : "",
		       outcome == SKIPPED ? shared->skip_reason : "");
		failed += outcome == FAILED;
	}
	return failed ? 1 : 0;
}
