/* SPDX-License-Identifier: Apache-2.0 */

/* Creators that are killed at any moment, and those that are careless with their children. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "box.h"
#include "harness/tap.h"
#include "vm/rounds.h"

/* ---- what is left ---- */

/* Started with our COVE_HOME: supervisors, those that stand for them, machines. */
static bool is_ours(int proc, const char *pid)
{
	char path[64], home[512];
	size_t size;
	_cleanup_free_ char *environment = NULL;
	snprintf(home, sizeof(home), "COVE_HOME=%s", getenv("COVE_HOME"));
	snprintf(path, sizeof(path), "%.20s/environ", pid);
	if (atoi(pid) <= 0 || atoi(pid) == getpid() ||
	    fd_read_file(proc, path, 1024 * 1024, true, &environment, &size) < 0)
		return false;
	for (const char *p = environment; p < environment + size; p += strlen(p) + 1)
		if (strcmp(p, home) == 0)
			return true;
	return false;
}

static unsigned count_processes(void)
{
	unsigned n = 0;
	DIR *dir = opendir("/proc");
	CHECK(dir);
	struct dirent *entry;
	while ((entry = readdir(dir)))
		n += is_ours(dirfd(dir), entry->d_name);
	closedir(dir);
	return n;
}

static bool has_sandbox(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_sandbox_info *info;
	int r = cove_sandbox_inspect("a", &info, &err);
	if (r == 0)
		cove_sandbox_info_free(info);
	return r != COVE_E_NOT_FOUND;
}

static void check_nothing_left(void)
{
	CHECK_WITHIN(count_processes() == 0, 10000);
	CHECK(!has_sandbox());
}

/* ---- killed at any moment ---- */

enum kind { ATTACHED, DETACHED, LET_GO, KINDS };

static void create_in(enum kind kind)
{
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	struct cove_error err = COVE_ERROR_INIT;
	options.detached = kind == DETACHED;
	cove_sandbox *s = box_create("a", &options);
	if (kind == LET_GO)
		CHECK_COVE(cove_sandbox_detach(s, NULL, &err), &err);
	if (kind == ATTACHED)
		cove_sandbox_free(s);
}

static void wait_us(uint64_t us)
{
	struct timespec t = { .tv_sec = (time_t)(us / 1000000),
			      .tv_nsec = (long)(us % 1000000) * 1000 };
	nanosleep(&t, NULL);
}

/* False: it is not there, or not yet. */
static bool end_sandbox(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s;
	if (cove_sandbox_connect("a", &s, &err) < 0)
		return false;
	(void)!cove_sandbox_kill(s, &err);
	cove_sandbox_free(s);
	return true;
}

static void test_killed(void)
{
	size_t rounds = rounds_or(45);
	uint64_t longest_us = 1;
	srandom((unsigned)getpid());
	for (size_t i = 0; i < rounds; i++) {
		enum kind kind = (enum kind)(i % KINDS);
		uint64_t begin = clock_monotonic_ns();
		pid_t pid = (pid_t)CHECK_SYS(fork());
		if (pid == 0) {
			create_in(kind);
			_exit(0);
		}
		/* The first of each kind says how long it takes. */
		if (i >= KINDS) {
			wait_us((uint64_t)random() % longest_us);
			CHECK_SYS(kill(pid, SIGKILL));
		}
		CHECK_INT(waitpid(pid, NULL, 0), ==, pid);
		uint64_t took_us = (clock_monotonic_ns() - begin) / 1000;
		if (i < KINDS)
			longest_us = MAX(longest_us, took_us);

		/* All of it, or nothing: what can be reached, or ends. */
		CHECK_WITHIN(count_processes() == 0 || (kind != ATTACHED && end_sandbox()), 10000);
		check_nothing_left();
	}
}

/* ---- careless creators ---- */

static void reap_all(int number)
{
	int saved = errno;
	(void)number;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	errno = saved;
}

/* Whoever reaps children that are not his, or has the kernel do it, does no harm. */
static void test_reaped_by_others(void)
{
	for (int i = 0; i < 2; i++) {
		struct cove_error err = COVE_ERROR_INIT;
		struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
		signal(SIGCHLD, i ? reap_all : SIG_IGN);
		cove_sandbox *s = box_create("a", NULL);
		box_prints(s, "echo here", NULL, "here\n");
		box_stop(s);
		check_nothing_left();

		s = box_create("a", NULL);
		CHECK_COVE(cove_sandbox_detach(s, NULL, &err), &err);
		cove_sandbox_free(s);
		CHECK(has_sandbox());
		CHECK_COVE(cove_sandbox_connect("a", &s, &err), &err);
		CHECK_COVE(cove_sandbox_kill(s, &err), &err);
		cove_sandbox_free(s);
		check_nothing_left();

		options.detached = true;
		s = box_create("a", &options);
		CHECK_COVE(cove_sandbox_kill(s, &err), &err);
		cove_sandbox_free(s);
		check_nothing_left();
		CHECK_INT(waitpid(-1, NULL, WNOHANG), ==, -1);
	}
	signal(SIGCHLD, SIG_DFL);
}

/* ---- what it holds ---- */

static bool leads_to(int proc, const char *pid, const char *what)
{
	char path[64], target[512];
	snprintf(path, sizeof(path), "%.20s/cwd", pid);
	ssize_t n = readlinkat(proc, path, target, sizeof(target) - 1);
	target[MAX(n, 0)] = 0;
	return strcmp(target, what) == 0;
}

static unsigned count_inside(const char *folder)
{
	unsigned n = 0;
	DIR *dir = opendir("/proc");
	CHECK(dir);
	struct dirent *entry;
	while ((entry = readdir(dir)))
		n += is_ours(dirfd(dir), entry->d_name) &&
		     leads_to(dirfd(dir), entry->d_name, folder);
	closedir(dir);
	return n;
}

/* Neither the creator's pipes nor its working directory: it may have gone on to others. */
static void test_holds_nothing(void)
{
	int fds[2];
	char byte;
	/* Not close-on-exec: as a program that knows nothing of us. */
	CHECK_SYS(pipe(fds)); /* NOLINT(android-cloexec-pipe) */
	cove_sandbox *s = box_create("a", NULL);
	CHECK_INT(count_processes(), >, 1);
	close(fds[1]);
	struct pollfd p = { .fd = fds[0], .events = POLLIN };
	CHECK_INT(poll(&p, 1, 5000), ==, 1);
	CHECK_INT(read(fds[0], &byte, 1), ==, 0);
	close(fds[0]);
	_cleanup_free_ char *cwd = getcwd(NULL, 0);
	CHECK(cwd);
	CHECK_INT(count_inside(cwd), ==, 0);
	cove_sandbox_free(s);
	check_nothing_left();
}

static const struct tap_test tests[] = {
	{ "killed at any moment", test_killed, .timeout_s = 600 },
	{ "children that others reap", test_reaped_by_others },
	{ "what is held on to", test_holds_nothing },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
