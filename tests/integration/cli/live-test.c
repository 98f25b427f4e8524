/* SPDX-License-Identifier: Apache-2.0 */
/* `cove exec` and its like as part of a pipeline: output and stdin while the command runs. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "harness/tap.h"
#include "integration/cli/command.h"

#define TIMEOUT_S 120
#define MIB	  (1024u * 1024)
/*
 * What `cove` may need, however much goes through it: the library's windows of 1 MiB for each stream,
 * twice, and itself. A sanitizer keeps what is freed.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEMORY_MAX (1024u * MIB)
#else
#define MEMORY_MAX (24u * MIB)
#endif

/* Runs a script of this machine, in which $COVE is cove. */
static void sh(struct command *c, const char *script)
{
	CHECK_SYS(setenv("COVE", command_build_path("cove"), 1));
	COMMAND(c, "sh", "-c", script);
}

/* Reads exactly n bytes of a stream that does not end before. */
static void read_exactly(int fd, char *buffer, size_t n)
{
	CHECK_OK(fd_read_full(fd, buffer, n));
}

/* Each line is here before the next one is written. */
static void test_live_output(void)
{
	_cleanup_(command_done) struct command c = { 0 }, other = { 0 };

	command_create_box(IMAGE);
	COVE_START(&c, "shell", "box",
		   "echo one; echo two >&2; until [ -e $T/live ]; do sleep 0.01; done;"
		   " rm $T/live; printf three; exit 4");
	command_expect(&c, "one\n");
	command_expect_err(&c, "two\n");
	COVE(&other, "shell", "box", "touch $T/live");
	CHECK_COMMAND(&other, 0, "", "");
	command_finish(&c);
	CHECK_COMMAND(&c, 4, "three", "");
	command_remove_box();
}

/* A line goes in and comes back before the next one. */
static void test_echo(void)
{
	_cleanup_(command_done) struct command c = { 0 };
	char line[32];

	command_create_box(IMAGE);
	COVE_START_PIPED(&c, "exec", "-i", "box", "cat");
	for (int i = 0; i < 100; i++) {
		snprintf(line, sizeof(line), "line %d\n", i);
		command_write(&c, line, strlen(line));
		command_expect(&c, line);
	}
	command_finish(&c); /* closes its stdin */
	CHECK_COMMAND(&c, 0, "", "");

	/* It starts without a byte of stdin, and does not wait for the end of it. */
	COVE_START_PIPED(&c, "shell", "-i", "box", "echo up; read a; echo $a; exit 5");
	command_expect(&c, "up\n");
	command_write(&c, "word\n", 5);
	command_expect(&c, "word\n");
	int in = dup(c.in_fd); /* still open when all is over */
	CHECK_SYS(in);
	command_finish(&c);
	close(in);
	CHECK_COMMAND(&c, 5, "", "");
	command_remove_box();
}

static void write_file(const char *path, size_t size)
{
	_cleanup_free_ char *data = malloc(size + 1);
	CHECK(data);
	for (size_t i = 0; i < size; i++)
		data[i] = (char)(i ^ i >> 8 ^ i >> 16);
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, path, data, size, 0600));
}

static void test_amounts(void)
{
	static const size_t sizes[] = { 0, 1, 256, 65537, 100000000 };
	_cleanup_(command_done) struct command c = { 0 };
	char script[128];

	command_create_box(IMAGE);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		tap_note("%zu bytes", sizes[i]);
		write_file(tap_path("in"), sizes[i]);
		sh(&c, "cd $COVE_HOME; $COVE exec -i box cat <in | cmp - in");
		CHECK_COMMAND(&c, 0, "", "");
		snprintf(script, sizeof(script), "cat $COVE_HOME/in | $COVE exec -i box wc -c");
		sh(&c, script);
		CHECK_COMMAND(&c, 0, NULL, "");
		CHECK_INT(atoll(c.out), ==, sizes[i]);
	}
	/* Both ways, on stderr */
	sh(&c, "cd $COVE_HOME; $COVE exec -i box sh -c 'cat >&2' <in 2>&1 >/dev/null | cmp - in");
	CHECK_COMMAND(&c, 0, "", "");
	command_remove_box();
}

static void test_kinds_of_stdin(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	sh(&c, "$COVE exec -i box cat </dev/null");
	CHECK_COMMAND(&c, 0, "", "");
	sh(&c, "$COVE exec -i box cat <&-");
	CHECK_COMMAND(&c, 0, "", "");
	sh(&c, "$COVE exec -i box cat <$COVE_HOME");
	CHECK_COMMAND(&c, 125, "", "cove: exec: cannot read stdin: Is a directory\n");
	/* Without -i it is not touched. */
	sh(&c, "(echo a; echo b) | (read x; $COVE exec box cat; read y; echo $x$y)");
	CHECK_COMMAND(&c, 0, "ab\n", "");
	sh(&c, "$COVE exec box cat <$COVE_HOME");
	CHECK_COMMAND(&c, 0, "", "");
	/* Others share the pipe, and made it nonblocking. */
	int fds[2];
	CHECK_SYS(pipe2(fds, O_CLOEXEC));
	CHECK_OK(fd_set_nonblocking(fds[0], true));
	command_start_from(&c, fds[0],
			   (const char *const[]){ "cove", "exec", "-i", "box", "cat", NULL });
	CHECK_OK(fd_write_full(fds[1], "a\n", 2));
	command_expect(&c, "a\n");
	close(fds[1]);
	close(fds[0]);
	command_finish(&c);
	CHECK_COMMAND(&c, 0, "", "");
	command_remove_box();
}

static void test_terminal(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	CHECK_SYS(master);
	CHECK_SYS(grantpt(master));
	CHECK_SYS(unlockpt(master));
	int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	CHECK_SYS(slave);
	command_start_from(&c, slave,
			   (const char *const[]){ "cove", "exec", "-i", "box", "cat", NULL });
	CHECK_OK(fd_write_full(master, "line\n", 5));
	command_expect(&c, "line\n");
	CHECK_OK(fd_write_full(master, "more\n\4", 6)); /* Ctrl-D */
	command_finish(&c);
	CHECK_COMMAND(&c, 0, "more\n", "");
	close(slave);
	close(master);
	command_remove_box();
}

/* The command reads less than there is. */
static void test_unread_stdin(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	write_file(tap_path("in"), 20 * MIB);
	sh(&c, "yes | $COVE exec -i box head -n 1");
	CHECK_COMMAND(&c, 0, "y\n", "");
	sh(&c, "$COVE exec -i box sh -c 'exit 3' <$COVE_HOME/in");
	CHECK_COMMAND(&c, 3, "", "");
	sh(&c, "yes | $COVE exec -i box true");
	CHECK_COMMAND(&c, 0, "", "");
	sh(&c, "$COVE exec -i box sh -c 'head -c 5 >/dev/null; exec <&-; sleep 0.2; echo out' "
	       "<$COVE_HOME/in");
	CHECK_COMMAND(&c, 0, "out\n", "");

	/* Who feeds it learns that nobody reads any more, while the command goes on. */
	CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
	COVE_START_PIPED(&c, "shell", "-i", "--id", "deaf", "box",
			 "exec <&-; echo closed; exec sleep 600");
	command_expect(&c, "closed\n");
	unsigned long long deadline = tap_deadline(COMMAND_WAIT_MS);
	while (write(c.in_fd, "x", 1) == 1)
		CHECK(tap_before(deadline));
	CHECK_INT(errno, ==, EPIPE);
	CHECK_SYS(kill(c.pid, SIGTERM));
	command_finish(&c);
	CHECK_COMMAND(&c, 143, "", "");
	command_remove_box();
}

/* Reads this, at one's own pace. */
static void read_slowly(struct command *c, const char *expected, size_t size)
{
	_cleanup_free_ char *buffer = malloc(MIB);
	size_t offset = 0;

	CHECK(buffer);
	for (size_t chunk = 1; offset < size; chunk *= 3) {
		/* 1 byte, 3, 9 … 1 MiB; and each time not before the writer is held up. */
		size_t n = MIN(size - offset, chunk < MIB ? chunk : (size_t)MIB);
		if (chunk < MIB)
			command_wait_blocked(c);
		else
			chunk = MIB;
		read_exactly(c->out_fd, buffer, n);
		CHECK_INT(memcmp(buffer, expected + offset, n), ==, 0);
		offset += n;
		if (offset < size / 2) /* it runs still */
			CHECK_INT(command_peak_bytes(c), <, MEMORY_MAX);
	}
}

static void test_slow_reader(void)
{
	_cleanup_(command_done) struct command c = { 0 }, local = { 0 };

	command_create_box(IMAGE);
	COMMAND(&local, "seq", "1", "5000000");
	CHECK_INT(local.out_size, >, 30 * MIB);
	COVE_START(&c, "shell", "box", "seq 1 5000000; echo end >&2; exit 9");
	read_slowly(&c, local.out, local.out_size);
	command_finish(&c);
	CHECK_COMMAND(&c, 9, "", "end\n");
	command_remove_box();
}

/* Gigabytes, were it let: memory stays as it is. */
static void test_endless(void)
{
	_cleanup_(command_done) struct command c = { 0 };
	_cleanup_free_ char *buffer = malloc(MIB);

	CHECK(buffer);
	command_create_box(IMAGE);
	COVE_START(&c, "exec", "box", "cat", "/dev/zero");
	for (int i = 0; i < 300; i++)
		read_exactly(c.out_fd, buffer, MIB);
	CHECK_INT(command_peak_bytes(&c), <, MEMORY_MAX);
	command_close_out(&c);
	command_finish(&c);
	CHECK_COMMAND(&c, 141, NULL, "");
	command_remove_box();
}

/* stdin goes on while nobody reads stdout. */
static void test_stdin_while_blocked(void)
{
	_cleanup_(command_done) struct command c = { 0 }, other = { 0 };
	_cleanup_free_ char *data = calloc(1, MIB);

	CHECK(data);
	command_create_box(IMAGE);
	COVE_START_PIPED(&c, "shell", "-i", "box",
			 "yes & head -c 20971520 >/dev/null; touch $T/in; read word;"
			 " kill $!; echo $word >&2");
	command_wait_blocked(&c);
	for (int i = 0; i < 20; i++)
		command_write(&c, data, MIB);
	COVE(&other, "shell", "box", "until [ -e $T/in ]; do sleep 0.01; done; rm $T/in");
	CHECK_COMMAND(&other, 0, "", "");
	command_write(&c, "word\n", 5);
	command_finish(&c);
	CHECK_COMMAND(&c, 0, NULL, "word\n");
	CHECK_INT(c.out_size, >, 65536);
	command_remove_box();
}

/* As in any pipeline whose end has seen enough. */
static void test_closed_output(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	sh(&c, "($COVE exec box yes; echo $? >&2) | head -n 1");
	CHECK_COMMAND(&c, 0, "y\n", "141\n");
	CHECK_STR(c.err, "141\n"); /* and nothing else */
	sh(&c, "trap '' PIPE; ($COVE exec box yes; echo $? >&2) | head -n 1");
	CHECK_COMMAND(&c, 0, "y\n", NULL);
	CHECK_STR(c.err, "141\n");
	sh(&c, "($COVE exec box sh -c 'yes >&2' 2>&1 >/dev/null; echo $? >&3) 3>&2 | head -n 1");
	CHECK_COMMAND(&c, 0, "y\n", "141\n");
	CHECK_STR(c.err, "141\n");

	/* Who does not care goes on, and what it says elsewhere is shown. */
	COVE_START(&c, "shell", "box",
		   "trap '' PIPE; echo first; while echo more 2>/dev/null; do sleep 0.01; done;"
		   " echo still here >&2; sleep 0.1; echo and now >&2; exit 5");
	command_expect(&c, "first\n");
	command_close_out(&c);
	command_expect_err(&c, "still here\n");
	command_finish(&c);
	CHECK_COMMAND(&c, 5, NULL, "and now\n");

	/* The other way round */
	COVE_START(&c, "shell", "box",
		   "trap '' PIPE; exec 3>&2; while echo more >&3; do sleep 0.01; done 2>&-;"
		   " echo fine; exit 6");
	command_expect_err(&c, "more\n");
	c.err_fd = fd_close(c.err_fd);
	command_finish(&c);
	CHECK_COMMAND(&c, 6, "fine\n", NULL);
	command_remove_box();
}

static void test_bad_output(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	sh(&c, "$COVE exec box yes >/dev/full");
	CHECK_COMMAND(&c, 125, "", NULL);
	CHECK_STR(c.err, "cove: exec: cannot write to stdout: No space left on device\n");
	/* The rest is still shown, and its status is not taken for success. */
	sh(&c, "$COVE shell box 'trap \"\" PIPE; echo out; echo err >&2' >/dev/full");
	CHECK_COMMAND(&c, 125, "", "err\n");
	sh(&c, "$COVE exec box sh -c 'echo err >&2; echo out' 2>/dev/full");
	CHECK_COMMAND(&c, 125, "out\n", "");
	sh(&c, "$COVE exec box echo x >&-");
	CHECK_COMMAND(&c, 125, "", "cannot write to stdout: Bad file descriptor");
	sh(&c, "$COVE exec box sh -c 'echo out; exit 3' 2>&-");
	CHECK_COMMAND(&c, 3, "out\n", "");
	sh(&c, "$COVE exec box sh -c 'exit 3' <&- >&- 2>&-");
	CHECK_COMMAND(&c, 3, "", "");
	sh(&c, "$COVE exec -i box cat </dev/null >&- 2>&-");
	CHECK_COMMAND(&c, 0, "", "");
	command_remove_box();
}

static void test_policies(void)
{
	_cleanup_(command_done) struct command c = { 0 }, other = { 0 }, local = { 0 };

	command_create_box(IMAGE);
	COVE(&c, "shell", "--output-limit", "10", "--output-policy", "head", "box",
	     "echo 1234567890123; echo err >&2; exit 3");
	CHECK_COMMAND(&c, 3, "1234567890", "err\n");
	CHECK_CONTAINS(c.err, "stdout was cut by --output-limit: the first 10 of 14 bytes\n");
	CHECK(!strstr(c.err, "stderr was"));
	/* The command is not told, and runs to its end. */
	COVE(&c, "shell", "--output-limit", "10", "--output-policy", "head", "box",
	     "seq 1 1000000 && echo all >&2");
	CHECK_COMMAND(&c, 0, "1\n2\n3\n4\n5\n", "all\n");

	COMMAND(&local, "seq", "1", "3000000");
	COVE_START_PIPED(&c, "shell", "-i", "--output-limit", "1M", "--output-policy", "tail",
			 "box", "seq 1 3000000; touch $T/tail; read x");
	COVE(&other, "shell", "box", "until [ -e $T/tail ]; do sleep 0.01; done; rm $T/tail");
	CHECK_COMMAND(&other, 0, "", "");
	CHECK_INT(command_peak_bytes(&c), <, MEMORY_MAX);
	command_finish(&c);
	CHECK_COMMAND(&c, 1, NULL, "stdout was cut by --output-limit: the last 1048576 of");
	CHECK_MEM(c.out, c.out_size, local.out + local.out_size - MIB, (size_t)MIB);
	/* Sizes around the first allocation, and one that is never filled. */
	static const char *const sizes[] = { "1", "65535", "65536", "65537", "100000", "1T" };
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t limit = strcmp(sizes[i], "1T") ? (size_t)atol(sizes[i]) : local.out_size;
		tap_note("%s", sizes[i]);
		COVE(&c, "exec", "--output-policy=tail", "--output-limit", sizes[i], "box", "seq",
		     "1", "3000000");
		CHECK_COMMAND(&c, 0, NULL, NULL);
		CHECK_MEM(c.out, c.out_size, local.out + local.out_size - limit, limit);
	}
	COVE(&c, "exec", "--output-limit", "1000", "box", "yes");
	CHECK_COMMAND(&c, 137, NULL, "wrote more than 1000 (--output-limit)");
	COVE(&c, "exec", "--output-policy", "tail", "box", "true");
	CHECK_COMMAND(&c, 125, "", "--output-policy needs --output-limit");
	command_remove_box();
}

/* What goes on in the background still comes, as it is written. */
static void test_background(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	COVE_START_PIPED(&c, "shell", "-i", "--wait-eof", "box",
			 "exec 3<&0; (read x <&3; echo $x; read x <&3; echo $x) & echo hi; exit 3");
	command_expect(&c, "hi\n");
	command_write(&c, "one\n", 4);
	command_expect(&c, "one\n");
	command_write(&c, "two\n", 4);
	command_finish(&c);
	CHECK_COMMAND(&c, 3, "two\n", "");

	/* A time limit with an open stdin, and with nobody reading */
	COVE_START_PIPED(&c, "exec", "-i", "--timeout", "300ms", "box", "cat");
	command_write(&c, "so far\n", 7);
	command_expect(&c, "so far\n");
	int in = dup(c.in_fd);
	command_finish(&c);
	close(in);
	CHECK_COMMAND(&c, 124, "", "killed at its timeout");
	command_remove_box();
}

/* A session that is there already: what is kept of it, and what is not. */
static void test_replay(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	for (int i = 0; i < 2; i++) {
		COVE(&c, "exec", "--id", "seq", "--replay", "4K", "box", "seq", "1", "200000");
		CHECK_COMMAND(&c, 0, NULL, i ? "are not kept any more (--replay)" : "");
		CHECK_CONTAINS(c.out, "\n199999\n200000\n");
	}
	/* The last 4 KiB, and what was in the pipe when it ended. */
	CHECK_INT(c.out_size, <, MIB);
	COVE(&c, "exec", "--replay", "1K", "box", "true");
	CHECK_COMMAND(&c, 125, "", "--replay 1K: the least is 4K");
	command_remove_box();
}

static void test_run(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	COVE_START_PIPED(&c, "run", "-i", IMAGE, "sh", "-c", "echo up; read x; echo $x; exit 3");
	command_expect(&c, "up\n");
	command_write(&c, "word\n", 5);
	int in = dup(c.in_fd);
	command_finish(&c);
	close(in);
	CHECK_COMMAND(&c, 3, "word\n", "");
	sh(&c, "($COVE run " IMAGE " yes; echo $? >&2) | head -n 1");
	CHECK_COMMAND(&c, 0, "y\n", "141\n");
	COVE(&c, "ls", "-aq");
	CHECK_COMMAND(&c, 0, "", "");
}

static const struct tap_test tests[] = {
	{ "live output", test_live_output, .timeout_s = TIMEOUT_S },
	{ "a line in, a line out", test_echo, .timeout_s = TIMEOUT_S },
	{ "0 bytes to 100 MB of stdin", test_amounts, .timeout_s = TIMEOUT_S },
	{ "kinds of stdin", test_kinds_of_stdin, .timeout_s = TIMEOUT_S },
	{ "a terminal as stdin", test_terminal, .timeout_s = TIMEOUT_S },
	{ "stdin that is not read", test_unread_stdin, .timeout_s = TIMEOUT_S },
	{ "a slow reader", test_slow_reader, .timeout_s = TIMEOUT_S },
	{ "endless output", test_endless, .timeout_s = TIMEOUT_S },
	{ "stdin while stdout is blocked", test_stdin_while_blocked, .timeout_s = TIMEOUT_S },
	{ "closed output", test_closed_output, .timeout_s = TIMEOUT_S },
	{ "output that cannot be written", test_bad_output, .timeout_s = TIMEOUT_S },
	{ "output limits", test_policies, .timeout_s = TIMEOUT_S },
	{ "background output", test_background, .timeout_s = TIMEOUT_S },
	{ "what is kept of a session", test_replay, .timeout_s = TIMEOUT_S },
	{ "run", test_run, .timeout_s = TIMEOUT_S },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
