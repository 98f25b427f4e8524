/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "vmm/program.h"

static int shell(const char *script, char *output, size_t size, uint64_t timeout_ms)
{
	char *argv[] = { (char *)(uintptr_t) "/bin/sh", (char *)(uintptr_t) "-c",
			 (char *)(uintptr_t)script, NULL };
	return program_run(argv, NULL, timeout_ms, output, size);
}

static void make_file(const char *path, mode_t mode)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
	CHECK_SYS(fd);
}

static void test_find(void)
{
	_cleanup_free_ char *path = NULL, *own = NULL;
	CHECK_INT(program_find("no-such-program", &path), ==, -ENOENT);
	CHECK(!path);
	CHECK_OK(program_find("sh", &path));
	CHECK(path[0] == '/');

	/* In the order of PATH; without what is no program; never in a relative folder. */
	CHECK_SYS(mkdir(tap_path("a"), 0755));
	CHECK_SYS(mkdir(tap_path("a/tool"), 0755));
	CHECK_SYS(mkdir(tap_path("b"), 0755));
	make_file(tap_path("b/tool"), 0644);
	CHECK_SYS(mkdir(tap_path("c"), 0755));
	make_file(tap_path("c/tool"), 0755);
	CHECK_SYS(chdir(tap_path("c")));
	char list[512];
	snprintf(list, sizeof(list), ".::%s:%s:%s", tap_path("a"), tap_path("b"), "/nowhere");
	setenv("PATH", list, 1);
	CHECK_INT(program_find("tool", &own), ==, -ENOENT);
	snprintf(list, sizeof(list), ":%s:%s:%s", tap_path("a"), tap_path("b"), tap_path("c"));
	setenv("PATH", list, 1);
	CHECK_OK(program_find("tool", &own));
	CHECK_STR(own, tap_path("c/tool"));

	/* A user's PATH has no /usr/sbin. */
	_cleanup_free_ char *mke2fs = NULL;
	unsetenv("PATH");
	CHECK_OK(program_find("mke2fs", &mke2fs));
}

static void test_run(void)
{
	char output[64];
	CHECK_INT(shell("echo out; echo err >&2; exit 3", output, sizeof(output), 10000), ==, 3);
	CHECK_STR(output, "out\nerr\n");
	CHECK_INT(shell("kill -9 $$", output, sizeof(output), 10000), ==, 128 + SIGKILL);
	CHECK_STR(output, "");

	/* More output than is kept: the start of it. */
	char few[4];
	CHECK_INT(shell("i=0; while [ $i -lt 20000 ]; do echo abcdefgh; i=$((i+1)); done", few,
			sizeof(few), 20000),
		  ==, 0);
	CHECK_STR(few, "abc");
}

static void test_deadline(void)
{
	char output[64];
	CHECK_INT(shell("exec sleep 100", output, sizeof(output), 50), ==, -ETIMEDOUT);
	CHECK_INT(shell("exec sleep 100 >&- 2>&-", output, sizeof(output), 50), ==, -ETIMEDOUT);
	CHECK_INT(waitpid(-1, NULL, WNOHANG), ==, -1);
}

static void test_cannot_start(void)
{
	char *argv[] = { (char *)(uintptr_t) "/nowhere/program", NULL };
	char output[128];
	CHECK_INT(program_run(argv, NULL, 10000, output, sizeof(output)), ==, 127);
	CHECK_STR(output, "/nowhere/program: execve: No such file or directory\n");
}

/* Whatever the parent blocks, ignores, has open or has in its environment stays there. */
static void test_clean_child(void)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	sigset_t all, before;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	setenv("LD_PRELOAD", "/nowhere.so", 1);
	setenv("SECRET", "1", 1);
	/* Without close-on-exec, as a careless parent may leave it. */
	int leaked = (int)CHECK_SYS(open("/dev/zero", O_RDONLY)); /* NOLINT(android-cloexec-open) */
	CHECK_SYS(dup2(leaked, 100));

	char output[2048];
	CHECK_INT(shell("grep -E '^(SigBlk|SigIgn|SigCgt):' /proc/self/status; env | sort; "
			"ls /proc/self/fd | tr '\\n' ' '; pwd; ulimit -c",
			output, sizeof(output), 10000),
		  ==, 0);
	CHECK_CONTAINS(output, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
	CHECK_CONTAINS(output, "LC_ALL=C\nPATH=/usr/bin:/bin\nPWD=/\n");
	/* 3 is ls reading the folder. */
	CHECK_CONTAINS(output, "\n0 1 2 3 /\n0\n");
	CHECK(!strstr(output, "SECRET"));
	CHECK(!strstr(output, "LD_PRELOAD"));

	sigset_t now;
	sigprocmask(SIG_SETMASK, &before, &now);
	CHECK(sigismember(&now, SIGUSR1) == 1); /* the parent's own mask is as it was */
	close(leaked);
	close(100);
}

/* Descriptors arrive where they belong even when the parent's are all in each other's way. */
static void test_descriptors(void)
{
	int files[4], fds[] = { -1, -1, -1, -1 };
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_close_ int fd =
			open(tap_path("%zu", i), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		char c = (char)('a' + i);
		CHECK_OK(fd_write_full(fd, &c, 1));
		CHECK_SYS(lseek(fd, 0, SEEK_SET));
		files[i] = TAKE_FD(fd);
	}
	int ends[2];
	CHECK_SYS(pipe2(ends, O_CLOEXEC));
	int output_end = (int)CHECK_SYS(fcntl(ends[0], F_DUPFD_CLOEXEC, 50));

	pid_t middle = (pid_t)CHECK_SYS(fork());
	if (middle == 0) {
		/* a becomes 3 but is 6, b becomes 4 but is 0, none at 5, d becomes 6 but is 3;
		 * the output is 4 */
		int high[5];
		for (size_t i = 0; i < 4; i++)
			high[i] = fcntl(files[i], F_DUPFD, 40);
		high[4] = fcntl(ends[1], F_DUPFD, 40);
		dup2(high[0], 6);
		dup2(high[1], 0);
		dup2(high[3], 3);
		dup2(high[4], 4);
		fds[0] = 6;
		fds[1] = 0;
		fds[3] = 3;
		char *argv[] = {
			(char *)(uintptr_t) "/bin/sh", (char *)(uintptr_t) "-c",
			(char *)(uintptr_t) "cat <&3; cat <&4; [ -e /proc/$$/fd/5 ] && echo 5; "
					    "cat <&6; [ -e /proc/$$/fd/7 ] && echo 7; cat; echo .",
			NULL
		};
		pid_t pid;
		struct program_start start = {
			.argv = argv, .fds = fds, .fds_n = ARRAY_SIZE(fds), .output_fd = 4
		};
		_exit(program_spawn(&start, &pid) < 0 ? 1 : program_wait(pid));
	}
	close(ends[1]);
	close(ends[0]);
	char text[16] = "";
	size_t n = 0;
	for (ssize_t k; (k = read(output_end, text + n, sizeof(text) - 1 - n)) > 0;)
		n += (size_t)k;
	CHECK_STR(text, "abd.\n");
	CHECK_INT(program_wait(middle), ==, 0);
	close(output_end);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		close(files[i]);
}

static void test_user(void)
{
	if (geteuid() != 0)
		return; /* only root can become another */
	char *argv[] = { (char *)(uintptr_t) "/bin/sh", (char *)(uintptr_t) "-c",
			 (char *)(uintptr_t) "id -u; id -g; id -G", NULL };
	struct program_user user = {
		.change = true, .uid = 65534, .gid = 65534, .groups = { 12 }, .groups_n = 1
	};
	char output[128];
	CHECK_INT(program_run(argv, &user, 10000, output, sizeof(output)), ==, 0);
	CHECK_STR(output, "65534\n65534\n65534 12\n");
}

/* The program goes with its parent, also when it runs as somebody else. */
static void check_dies_with_parent(const struct program_user *user)
{
	int ends[2];
	CHECK_SYS(pipe2(ends, O_CLOEXEC));
	pid_t parent = (pid_t)CHECK_SYS(fork());
	if (parent == 0) {
		char *argv[] = { (char *)(uintptr_t) "/bin/sh", (char *)(uintptr_t) "-c",
				 (char *)(uintptr_t) "echo up; exec sleep 1000", NULL };
		pid_t pid;
		struct program_start start = { .argv = argv, .output_fd = ends[1], .user = *user };
		if (program_spawn(&start, &pid) == 0)
			pause();
		_exit(1);
	}
	close(ends[1]);
	char text[3];
	CHECK_OK(fd_read_full(ends[0], text, sizeof(text)));
	CHECK_SYS(kill(parent, SIGKILL));
	CHECK_INT(program_wait(parent), ==, 128 + SIGKILL);
	CHECK_INT(read(ends[0], text, 1), ==, 0); /* the last holder of the other end is gone */
	close(ends[0]);
}

static void test_parent_dies(void)
{
	check_dies_with_parent(&(struct program_user){ 0 });
	if (geteuid() == 0)
		check_dies_with_parent(
			&(struct program_user){ .change = true, .uid = 65534, .gid = 65534 });
}

static const struct tap_test tests[] = {
	{ "finding", test_find },
	{ "output and status", test_run },
	{ "a deadline", test_deadline },
	{ "no such program", test_cannot_start },
	{ "nothing is inherited", test_clean_child },
	{ "descriptors", test_descriptors },
	{ "another user", test_user },
	{ "it dies with its parent", test_parent_dies },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
