/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor/transcript.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "harness/failing-alloc.h"
#include "harness/tap.h"

static void add(struct transcript *t, const char *text)
{
	transcript_add(t, text, strlen(text));
}

static bool contains(const struct transcript *t, const char *text)
{
	char line[10];
	return transcript_find_line(t, text, line, sizeof(line));
}

static void check_lines(const struct transcript *t, size_t size, const char *expected)
{
	char lines[256];
	CHECK_INT(size, <=, sizeof(lines));
	memset(lines, 'x', sizeof(lines));
	transcript_last_lines(t, lines, size);
	CHECK_STR(lines, expected);
}

static void test_last_lines(void)
{
	struct transcript t;
	transcript_init(&t, 1000);
	check_lines(&t, 100, "");
	add(&t, "\r\n\n  \n");
	check_lines(&t, 100, "");
	add(&t, "one\r\n\r\n  two \n");
	check_lines(&t, 100, "one | two");
	add(&t, "three");
	check_lines(&t, 100, "one | two | three");
	check_lines(&t, sizeof("two | three") + 5, "two | three");
	check_lines(&t, sizeof("two | three"), "two | three");
	check_lines(&t, sizeof("two | three") - 1, "three");
	check_lines(&t, 4, "ree"); /* the end of a line that is too long */
	add(&t, "\na\033[31mred\xff\n");
	check_lines(&t, sizeof("a?[31mred?"), "a?[31mred?");
	transcript_done(&t);
}

static void check_found(const struct transcript *t, size_t size, const char *expected)
{
	char line[256];
	memset(line, 'x', sizeof(line));
	CHECK(transcript_find_line(t, "panic", line, size));
	CHECK_STR(line, expected);
}

static void test_find_line(void)
{
	char line[16] = "x";
	struct transcript t;
	transcript_init(&t, 1000);
	CHECK(!transcript_find_line(&t, "panic", line, sizeof(line)));
	CHECK_STR(line, "");
	add(&t, "no\r\n[ 1.2] pan");
	CHECK(!transcript_find_line(&t, "panic", line, sizeof(line)));
	add(&t, "ic");
	check_found(&t, 100, "panic");
	add(&t, " -\033\xff why\r\nRAX: 0\n--- end panic\n");
	check_found(&t, 100, "panic -?? why");
	check_found(&t, 8, "panic -");
	check_found(&t, 1, "");
	transcript_done(&t);
}

static void test_keeps_the_end(void)
{
	struct transcript t;
	transcript_init(&t, 10);
	for (int i = 0; i < 1000; i++)
		add(&t, "0123456");
	CHECK_INT(t.tail.size, ==, 10);
	CHECK_MEM(buffer_front(&t.tail), 10, "4560123456", 10);
	add(&t, "something longer than ten bytes");
	CHECK_MEM(buffer_front(&t.tail), 10, " ten bytes", 10);
	CHECK(contains(&t, "ten"));
	CHECK(!contains(&t, "longer"));
	transcript_done(&t);
	CHECK(!contains(&t, ""));
}

static void check_file(const char *expected)
{
	char *data;
	size_t size;
	CHECK_OK(fd_read_file(AT_FDCWD, tap_path("log"), 10000, false, &data, &size));
	CHECK_STR(data, expected);
	free(data);
}

static void test_file(void)
{
	struct transcript t;
	int dir = (int)CHECK_SYS(open(tap_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	transcript_init(&t, 10);
	CHECK_OK(transcript_open(&t, dir, "log", 12));
	add(&t, "first\n");
	check_file("first\n");
	add(&t, "second\n");
	check_file("first\nsecond\n[the rest is not kept]\n");
	add(&t, "third\n");
	check_file("first\nsecond\n[the rest is not kept]\n");
	CHECK(contains(&t, "third"));
	transcript_done(&t);

	/* A disk that is full costs the file, nothing else. */
	transcript_init(&t, 10);
	CHECK_SYS(symlink("/dev/full", tap_path("full")));
	CHECK_OK(transcript_open(&t, dir, "full", 100));
	add(&t, "text");
	CHECK_INT(t.fd, <, 0);
	CHECK(contains(&t, "text"));
	transcript_done(&t);
	CHECK_INT(transcript_open(&t, dir, "no/such/folder", 10), ==, -ENOENT);
	close(dir);
}

static void test_read(void)
{
	struct transcript t;
	int fds[2];
	transcript_init(&t, 100);
	CHECK_SYS(pipe2(fds, O_CLOEXEC | O_NONBLOCK));
	CHECK_INT(transcript_read(&t, fds[0]), ==, -EAGAIN);
	CHECK_INT(write(fds[1], "panic", 5), ==, 5);
	CHECK_INT(transcript_read(&t, fds[0]), ==, 5);
	close(fds[1]);
	CHECK_INT(transcript_read(&t, fds[0]), ==, 0);
	close(fds[0]);
	CHECK_INT(transcript_read(&t, -1), ==, -EBADF);
	CHECK(contains(&t, "panic"));
	transcript_done(&t);
}

static void test_no_memory(void)
{
	struct transcript t;
	transcript_init(&t, 5000);
	failing_alloc_arm(1);
	add(&t, "lost");
	CHECK(failing_alloc_disarm());
	add(&t, "kept");
	check_lines(&t, 100, "kept");
	transcript_done(&t);
}

static const struct tap_test tests[] = {
	{ "the last lines", test_last_lines },
	{ "a line", test_find_line },
	{ "the end is kept", test_keeps_the_end },
	{ "the file keeps the beginning", test_file },
	{ "reading", test_read },
	{ "no memory", test_no_memory },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
