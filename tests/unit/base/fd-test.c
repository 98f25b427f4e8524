/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "harness/failing-alloc.h"
#include "harness/short-io.h"
#include "harness/tap.h"

static void put(const char *path, const char *text)
{
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, path, text, strlen(text), 0600));
}

static void test_flags(void)
{
	_cleanup_close_ int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	CHECK_OK(fd_set_nonblocking(fd, true));
	CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
	CHECK_INT(fcntl(fd, F_GETFL) & O_ACCMODE, ==, O_RDWR);
	CHECK_OK(fd_set_nonblocking(fd, false));
	CHECK(!(fcntl(fd, F_GETFL) & O_NONBLOCK));
	CHECK_OK(fd_set_cloexec(fd, false));
	CHECK_INT(fcntl(fd, F_GETFD), ==, 0);
	CHECK_OK(fd_set_cloexec(fd, true));
	CHECK_INT(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
	CHECK_INT(fd_set_nonblocking(-1, true), ==, -EBADF);
	CHECK_INT(fd_set_cloexec(-1, true), ==, -EBADF);
}

static void test_close(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	errno = ENOTTY;
	CHECK_INT(fd_close(fd), ==, -1);
	CHECK_INT(fcntl(fd, F_GETFD), ==, -1);
	errno = ENOTTY;
	CHECK_INT(fd_close(-1), ==, -1);
	CHECK_INT(fd_close(fd), ==, -1); /* fails inside */
	CHECK_INT(errno, ==, ENOTTY);
}

static void test_full(void)
{
	int p[2];
	CHECK_SYS(pipe2(p, O_CLOEXEC));
	char out[3000], in[3000];
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (char)(i * 7);

	short_io_arm();
	CHECK_OK(fd_write_full(p[1], out, sizeof(out)));
	CHECK_OK(fd_read_full(p[0], in, sizeof(in)));
	CHECK_INT(short_io_disarm(), >, 1000);
	CHECK_MEM(in, sizeof(in), out, sizeof(out));

	CHECK_OK(fd_write_full(p[1], "abc", 3));
	p[1] = fd_close(p[1]);
	CHECK_OK(fd_read_full(p[0], in, 0));
	CHECK_INT(fd_read_full(p[0], in, 4), ==, -ENODATA);
	CHECK_INT(fd_read_full(p[0], in, 1), ==, -ENODATA);
	close(p[0]);
	CHECK_INT(fd_read_full(p[0], in, 1), ==, -EBADF);
	CHECK_INT(fd_write_full(p[0], in, 1), ==, -EBADF);
}

static void test_read_file(void)
{
	_cleanup_free_ char *text = NULL, *big = malloc(100000);
	size_t size = 77;
	put(tap_path("f"), "hello");
	CHECK_OK(fd_read_file(AT_FDCWD, tap_path("f"), 5, false, &text, &size));
	CHECK_STR(text, "hello");
	CHECK_INT(size, ==, 5);

	/* A failure leaves what is there. */
	char *untouched = (char *)"mine";
	size = 77;
	CHECK_INT(fd_read_file(AT_FDCWD, tap_path("f"), 4, false, &untouched, &size), ==, -EFBIG);
	CHECK_INT(fd_read_file(AT_FDCWD, tap_path("g"), 4, false, &untouched, &size), ==, -ENOENT);
	CHECK_INT(fd_read_file(AT_FDCWD, tap_dir(), 4, false, &untouched, &size), ==, -EINVAL);
	CHECK_INT(fd_read_file(AT_FDCWD, tap_dir(), 4, true, &untouched, &size), <, 0);
	CHECK_SYS(mkfifo(tap_path("fifo"), 0600));
	CHECK_INT(fd_read_file(AT_FDCWD, tap_path("fifo"), 4, false, &untouched, &size), ==,
		  -EINVAL);
	CHECK_STR(untouched, "mine");
	CHECK_INT(size, ==, 77);

	/* With bytes of every kind, and with read() at its worst. */
	for (size_t i = 0; i < 100000; i++)
		big[i] = (char)(i % 251);
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, tap_path("big"), big, 100000, 0600));
	_cleanup_free_ char *again = NULL;
	short_io_arm();
	CHECK_OK(fd_read_file(AT_FDCWD, tap_path("big"), 100000, false, &again, &size));
	CHECK_INT(short_io_disarm(), >, 10000);
	CHECK_MEM(again, size, big, 100000);
	CHECK_INT(again[size], ==, 0);
}

/* Files whose size says nothing. */
static void test_read_file_without_size(void)
{
	_cleanup_free_ char *text = NULL, *more = NULL;
	size_t size;
	CHECK_OK(fd_read_file(AT_FDCWD, "/proc/self/status", 1 << 20, false, &text, &size));
	CHECK_INT(size, ==, strlen(text));
	CHECK_CONTAINS(text, "Pid:");
	CHECK_INT(fd_read_file(AT_FDCWD, "/proc/self/status", 10, false, &more, &size), ==, -EFBIG);
	CHECK_INT(fd_read_file(AT_FDCWD, "/dev/zero", 100000, true, &more, &size), ==, -EFBIG);
	CHECK_OK(fd_read_file(AT_FDCWD, "/dev/null", 0, true, &more, &size));
	CHECK_INT(size, ==, 0);
}

static void test_read_file_no_memory(void)
{
	for (unsigned long n = 1;; n++) {
		_cleanup_free_ char *text = NULL;
		failing_alloc_arm(n);
		int r = fd_read_file(AT_FDCWD, "/proc/kallsyms", 200000000, false, &text, NULL);
		if (!failing_alloc_disarm()) {
			CHECK_OK(r);
			CHECK_INT(n, >, 2);
			return;
		}
		CHECK_INT(r, ==, -ENOMEM);
		CHECK(!text);
	}
}

static unsigned entries_of(const char *path)
{
	_cleanup_closedir_ DIR *dir = opendir(path);
	CHECK(dir);
	unsigned n = 0;
	while (readdir(dir))
		n++;
	return n - 2;
}

static void test_write_file_atomic(void)
{
	_cleanup_close_ int dir = open(tap_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	CHECK_OK(fd_write_file_atomic(dir, "f", "one", 3, 0640));
	CHECK_OK(fd_write_file_atomic(dir, "f", "two!", 4, 0640));
	CHECK_OK(fd_read_file(dir, "f", 100, false, &text, NULL));
	CHECK_STR(text, "two!");
	struct stat st;
	CHECK_SYS(fstatat(dir, "f", &st, 0));
	CHECK_INT(st.st_mode & 0777 & ~0640, ==, 0);
	CHECK_INT(entries_of(tap_dir()), ==, 1); /* no temporary file is left */

	CHECK_INT(fd_write_file_atomic(dir, "no/f", "x", 1, 0600), ==, -ENOENT);
	CHECK_SYS(mkdirat(dir, "folder", 0700));
	CHECK_INT(fd_write_file_atomic(dir, "folder", "x", 1, 0600), ==, -EISDIR);
	CHECK_INT(entries_of(tap_dir()), ==, 2);

	char name[5000];
	memset(name, 'x', sizeof(name));
	name[sizeof(name) - 1] = 0;
	CHECK_INT(fd_write_file_atomic(dir, name, "x", 1, 0600), ==, -ENAMETOOLONG);
}

static void test_write_file_full_disk(void)
{
	/* The bytes do not fit: the old file stays, and nothing else. A limit stands in for a disk.
	 */
	put(tap_path("f"), "old");
	pid_t pid = fork();
	if (pid == 0) {
		signal(SIGXFSZ, SIG_IGN);
		struct rlimit limit = { 10, 10 };
		setrlimit(RLIMIT_FSIZE, &limit);
		char data[20] = "";
		_exit(fd_write_file_atomic(AT_FDCWD, tap_path("f"), data, 20, 0600) == -EFBIG ? 0
											      : 1);
	}
	int status;
	CHECK_INT(waitpid(pid, &status, 0), ==, pid);
	CHECK_INT(status, ==, 0);
	CHECK_INT(entries_of(tap_dir()), ==, 1);
	_cleanup_free_ char *text = NULL;
	CHECK_OK(fd_read_file(AT_FDCWD, tap_path("f"), 100, false, &text, NULL));
	CHECK_STR(text, "old");
}

static void test_write_string(void)
{
	put(tap_path("f"), "abcdef");
	CHECK_OK(fd_write_string(AT_FDCWD, tap_path("f"), "xy"));
	_cleanup_free_ char *text = NULL;
	CHECK_OK(fd_read_file(AT_FDCWD, tap_path("f"), 100, false, &text, NULL));
	CHECK_STR(text, "xycdef");
	CHECK_INT(fd_write_string(AT_FDCWD, tap_path("g"), "x"), ==, -ENOENT);
}

static void test_mkdir_parents(void)
{
	struct stat st;
	CHECK_OK(fd_mkdir_parents(tap_path("a/b/c"), 0700));
	CHECK_OK(fd_mkdir_parents(tap_path("a/b/c"), 0700));
	CHECK_OK(fd_mkdir_parents(tap_path("a//b/d/"), 0700));
	CHECK_SYS(stat(tap_path("a/b/d"), &st));
	CHECK_INT(st.st_mode & 0777, ==, 0700);
	CHECK_OK(fd_mkdir_parents("/", 0700));

	put(tap_path("f"), "");
	CHECK_INT(fd_mkdir_parents(tap_path("f"), 0700), ==, -EEXIST);
	CHECK_INT(fd_mkdir_parents(tap_path("f/g"), 0700), <, 0);
	CHECK_SYS(symlink("a", tap_path("link")));
	CHECK_OK(fd_mkdir_parents(tap_path("link/e"), 0700));
	CHECK_SYS(access(tap_path("a/e"), F_OK));

	failing_alloc_arm(1);
	CHECK_INT(fd_mkdir_parents(tap_path("g"), 0700), ==, -ENOMEM);
	CHECK(failing_alloc_disarm());
}

static void test_remove_tree(void)
{
	/* Links to what is outside: themselves removed, what they point to not. */
	CHECK_OK(fd_mkdir_parents(tap_path("keep"), 0700));
	put(tap_path("keep/file"), "x");
	CHECK_OK(fd_mkdir_parents(tap_path("t/a/b/c"), 0700));
	put(tap_path("t/a/file"), "x");
	CHECK_SYS(symlink("../../keep", tap_path("t/a/folder-link")));
	CHECK_SYS(symlink("../../keep/file", tap_path("t/a/file-link")));
	CHECK_SYS(symlink("nowhere", tap_path("t/dangling")));
	CHECK_SYS(mkfifo(tap_path("t/fifo"), 0600));

	_cleanup_close_ int dir = open(tap_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_OK(fd_remove_tree(dir, "t"));
	CHECK_SYS(access(tap_path("keep/file"), F_OK));
	CHECK_INT(entries_of(tap_dir()), ==, 1);
	CHECK_INT(fd_remove_tree(dir, "t"), ==, -ENOENT);

	/* The name itself may be a link, or a plain file. */
	CHECK_SYS(symlink("keep", tap_path("link")));
	CHECK_OK(fd_remove_tree(dir, "link"));
	CHECK_SYS(access(tap_path("keep/file"), F_OK));
	CHECK_OK(fd_remove_tree(AT_FDCWD, tap_path("keep/file")));
	CHECK_OK(fd_remove_tree(dir, "keep"));
	CHECK_INT(entries_of(tap_dir()), ==, 0);
}

static void test_remove_tree_depth(void)
{
	/* Deeper than is followed: an error, with the stack and the descriptors intact. */
	_cleanup_close_ int dir = open(tap_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int here = dup(dir);
	for (int i = 0; i < 300; i++) {
		CHECK_SYS(mkdirat(here, "d", 0700));
		int next = openat(here, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		CHECK_SYS(next);
		close(here);
		here = next;
	}
	close(here);
	CHECK_INT(fd_remove_tree(dir, "d"), ==, -ELOOP);
	CHECK_OK(fd_remove_tree(AT_FDCWD,
				tap_path("d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/"
					 "d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d")));
	CHECK_OK(fd_remove_tree(dir, "d"));
}

static const struct tap_test tests[] = {
	{ "flags", test_flags },
	{ "close keeps errno", test_close },
	{ "all bytes, over short counts and EINTR", test_full },
	{ "read a file", test_read_file },
	{ "read a file that has no size", test_read_file_without_size },
	{ "read a file without memory", test_read_file_no_memory },
	{ "write a file whole or not at all", test_write_file_atomic },
	{ "write a file that does not fit", test_write_file_full_disk },
	{ "write a string", test_write_string },
	{ "mkdir -p", test_mkdir_parents },
	{ "rm -r does not follow links", test_remove_tree },
	{ "rm -r is bounded", test_remove_tree_depth },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
