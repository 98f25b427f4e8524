/* SPDX-License-Identifier: Apache-2.0 */

/* The terminal of the tests: what it shows of a program, and does to it, is what a real one does. */

#include "harness/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define SH(script) ((const char *const[]){ "sh", "-c", script, NULL })

static void test_screen(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(5, 20);
	terminal_run(t,
		     SH("stty size; tty >/dev/null && printf 'a b  \\n\\303\\244\\342\\202\\254x';"
			"exit 7"));
	CHECK_INT(terminal_wait_exit(t), ==, 7);
	CHECK_STR(terminal_screen(t), "5 20\na b\n\303\244\342\202\254x\n\n\n");
	CHECK_STR(terminal_row(t, 1), "a b");
	int col;
	CHECK_INT(terminal_find(t, "x", &col), ==, 2);
	CHECK_INT(col, ==, 2);
	CHECK(!terminal_has_text(t, "y"));
	struct terminal_modes m = terminal_modes(t);
	CHECK_INT(m.row, ==, 2);
	CHECK_INT(m.col, ==, 3);
	CHECK_INT(terminal_bytes(t), ==, 19);
	terminal_check_restored(t);
}

static void test_attributes(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(5, 20);
	terminal_run(t, SH("printf 'n\\033[1;31mr\\033[0;7mv\\033[0;38;5;200;44mi"
			   "\\033[0;38;2;1;2;3;4mt\\033[0m\\033]0;title\\007\\007'"));
	CHECK_INT(terminal_wait_exit(t), ==, 0);
	struct terminal_cell c = terminal_cell(t, 0, 0);
	CHECK_STR(c.text, "n");
	CHECK_INT(c.fg, ==, TERMINAL_DEFAULT_COLOUR);
	CHECK_INT(c.bg, ==, TERMINAL_DEFAULT_COLOUR);
	CHECK(!c.bold && !c.reverse && !c.underline);
	c = terminal_cell(t, 0, 1);
	CHECK(c.bold);
	CHECK_INT(c.fg, ==, 1);
	CHECK(terminal_cell(t, 0, 2).reverse);
	c = terminal_cell(t, 0, 3);
	CHECK_INT(c.fg, ==, 200);
	CHECK_INT(c.bg, ==, 4);
	c = terminal_cell(t, 0, 4);
	CHECK_INT(c.fg, ==, TERMINAL_RGB(1, 2, 3));
	CHECK(c.underline);
	CHECK_STR(terminal_cell(t, 4, 19).text, "");
	CHECK_STR(terminal_title(t), "title");
	CHECK_INT(terminal_bells(t), ==, 1);
}

/* What is switched on is seen, and to leave it so is noticed. */
static void test_modes(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(5, 20);
	terminal_run(t,
		     SH("stty raw -echo; printf 'main\\033[?1049h\\033[?25l\\033[?1000h\\033[?2004h"
			"\\033[?1h\\033=\\033[?1004hsecond'; read x; printf '\\033[?1049l\\033[?25h"
			"\\033[?1000l\\033[?2004l\\033[?1l\\033>\\033[?1004l'; stty sane"));
	terminal_wait_text(t, "second");
	struct terminal_modes m = terminal_modes(t);
	CHECK(m.alternate && !m.cursor_visible && m.mouse && m.paste && m.focus &&
	      m.application_cursor && m.application_keypad);
	CHECK(!terminal_has_text(t, "main"));
	CHECK(!terminal_termios_same(t));
	struct termios raw = terminal_termios(t);
	CHECK_INT(raw.c_lflag & (ICANON | ISIG), ==, 0);

	terminal_type(t, "\n");
	CHECK_INT(terminal_wait_exit(t), ==, 0);
	CHECK_STR(terminal_row(t, 0), "main");
	terminal_dump(t);
	m = terminal_modes(t);
	CHECK(!m.alternate && m.cursor_visible && !m.mouse && !m.paste && !m.focus &&
	      !m.application_cursor && !m.application_keypad);
}

static int fails_unless_restored(void *data)
{
	terminal_check_restored((struct terminal *)data);
	return 0;
}

static void check_noticed(const char *script)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(5, 20);
	terminal_run(t, SH(script));
	CHECK_INT(terminal_wait_exit(t), ==, 0);
	pid_t pid = fork();
	CHECK_SYS(pid);
	if (pid == 0)
		_exit(fails_unless_restored(t));
	int status;
	CHECK_SYS(waitpid(pid, &status, 0));
	CHECK(WIFEXITED(status));
	CHECK_INT(WEXITSTATUS(status), ==, 1);
}

static void test_not_restored(void)
{
	check_noticed("stty -echo");
	check_noticed("stty intr ^X");
	check_noticed("printf '\\033[?1049h'");
	check_noticed("printf '\\033[?25l'");
	check_noticed("printf '\\033[?1002h'");
	check_noticed("printf '\\033[?2004h'");
	check_noticed("printf '\\033[?1h'");
}

static void test_keys(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(10, 40);
	terminal_run(t,
		     SH("stty -icanon -echo; echo up; head -c 3 | od -An -c; printf '\\033[?1h'; "
			"echo app; head -c 3 | od -An -c; head -c 5 | od -An -c;"
			"printf '\\033[?2004h'; echo on; head -c 17 | od -An -c"));
	terminal_wait_text(t, "up");
	terminal_key(t, TERMINAL_UP);
	terminal_wait_text(t, "033   [   A");
	terminal_wait_text(t, "app");
	terminal_key(t, TERMINAL_UP);
	terminal_wait_text(t, "033   O   A");
	terminal_paste(t,
		       "1\n\035 2"); /* a carriage return, which the terminal makes a newline of */
	terminal_wait_text(t, "1  \\n 035       2");
	terminal_wait_text(t, "on");
	terminal_paste(t, "1\n\035 2");
	terminal_wait_text(t, "033   [   2   0   0   ~");
	CHECK_INT(terminal_wait_exit(t), ==, 0);
	CHECK(terminal_has_text(t, "033   [   2   0   1"));
}

/* Questions are answered, and that is written down. */
static void test_answers(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(5, 20);
	size_t n;
	terminal_answers(t, &n);
	CHECK_INT(n, ==, 0);
	terminal_run(t, SH("stty raw -echo; printf 'ab\\033[6n'; head -c 6 | tr '\\033' E"));
	CHECK_INT(terminal_wait_exit(t), ==, 0);
	CHECK_STR(terminal_answers(t, &n), "\033[1;3R");
	CHECK_INT(n, ==, 6);
	CHECK_STR(terminal_row(t, 0), "abE[1;3R");
	CHECK_STR(terminal_log(t, NULL), "ab\033[6nE[1;3R");
	terminal_forget(t);
	CHECK_STR(terminal_answers(t, &n), "");
	CHECK_STR(terminal_log(t, &n), "");
	CHECK_INT(terminal_bytes(t), ==, 12);
}

static void test_resize(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(5, 20);
	terminal_run(t, SH("trap 'stty size' WINCH; echo up; while :; do sleep 0.01; done"));
	terminal_wait_text(t, "up");
	terminal_resize(t, 7, 33);
	terminal_wait_row(t, 1, "7 33");
	terminal_free(t);
	t = terminal_new(5, 20);
	terminal_run(t, SH("echo hello"));
	CHECK_INT(terminal_wait_exit(t), ==, 0);
	terminal_wait_screen(t, "hello\n\n\n\n\n");
	terminal_resize(t, 3, 10);
	terminal_wait_screen(t, "hello\n\n\n");
}

/* Job control, as in front of a shell. */
static void test_stop(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(5, 20);
	terminal_run(t, (const char *const[]){ "cat", NULL });
	terminal_type(t, "up\n");
	terminal_wait_row(t, 1, "up");
	terminal_type(t, "\032");
	CHECK_INT(terminal_wait_stopped(t), ==, SIGTSTP);
	CHECK(!terminal_running(t));
	terminal_continue(t, true);
	terminal_type(t, "x\n");
	terminal_wait_row(t, 3, "x"); /* after the echo of ^Z and x in row 2 */
	terminal_type(t, "\032");
	CHECK_INT(terminal_wait_stopped(t), ==, SIGTSTP);
	terminal_continue(t, false);
	CHECK_INT(terminal_wait_stopped(t), ==, SIGTTIN); /* it is in the background, and reads */
	terminal_continue(t, true);
	terminal_type(t, "\003");
	CHECK_INT(terminal_wait_exit(t), ==, 128 + SIGINT);
}

static volatile sig_atomic_t hung_up;

static void on_hangup(int signal)
{
	hung_up = signal;
}

static int wait_for_hangup(void *data)
{
	int *fds = data;
	signal(SIGHUP, on_hangup);
	CHECK_INT(write(STDOUT_FILENO, "up", 2), ==, 2);
	/* Its descriptors are there, and the test's end closes when this process ends. */
	while (!hung_up)
		poll(NULL, 0, -1);
	char c;
	CHECK_INT(read(STDIN_FILENO, &c, 1), <=, 0);
	CHECK_INT(write(fds[1], "hangup", 6), ==, 6);
	return 9;
}

static void test_function_and_hangup(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(5, 20);
	int fds[2];
	CHECK_SYS(pipe2(fds, O_CLOEXEC));
	terminal_run_function(t, wait_for_hangup, fds);
	terminal_wait_text(t, "up");
	close(fds[1]);
	terminal_hangup(t);
	char text[16];
	CHECK_INT(read(fds[0], text, sizeof(text)), ==, 6);
	CHECK_INT(terminal_wait_exit(t), ==, 9);
	CHECK_INT(read(fds[0], text, sizeof(text)), ==, 0);
	close(fds[0]);
}

/* A second program, on a terminal that is put back; the environment; a descriptor of one's own. */
static void test_programs(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(6, 60);
	setenv("GONE", "x", 1);
	setenv("COLORTERM", "x", 1);
	terminal_run_program(
		t, &(struct terminal_program){
			   .argv = SH("echo $TERM ${GONE-unset} $A ${COLORTERM-unset}; stty raw"),
			   .env = (const char *const[]){ "GONE", "A=1", NULL } });
	CHECK_INT(terminal_wait_exit(t), ==, 0);
	CHECK(!terminal_termios_same(t));
	CHECK_STR(terminal_row(t, 0), "xterm-256color unset 1 unset");

	int fds[2];
	CHECK_SYS(pipe2(fds, O_CLOEXEC));
	terminal_run_program(
		t, &(struct terminal_program){
			   .argv = SH("test -t 0 && ! test -t 1 && echo out && kill -9 $$"),
			   .fds = (const int[]){ -1, fds[1], -1 } });
	CHECK_INT(terminal_wait_exit(t), ==, 128 + SIGKILL);
	CHECK(terminal_termios_same(t));
	CHECK_STR(terminal_row(t, 1), "");
	close(fds[1]);
	char text[16];
	CHECK_INT(read(fds[0], text, sizeof(text)), ==, 4);
	close(fds[0]);

	terminal_run(t, (const char *const[]){ "/nowhere/program", NULL });
	CHECK_INT(terminal_wait_exit(t), ==, 127);
	CHECK(terminal_has_text(t, "No such file"));
}

/* More than a pty takes, both ways; and the end of it is there when the program has ended. */
static void test_much(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(3, 20);
	static char text[100000];
	memset(text, 'x', sizeof(text));
	terminal_run(t, SH("stty raw -echo; echo up; head -c 100000; printf '\\r\\nend'"));
	terminal_wait_text(t, "up");
	terminal_write(t, text, sizeof(text));
	CHECK_INT(terminal_wait_exit(t), ==, 0);
	CHECK_STR(terminal_row(t, 2), "end");
	CHECK_INT(terminal_bytes(t), ==, sizeof(text) + 3 + 5);
	for (int i = 0; i < 200; i++) {
		terminal_run(t, SH("printf '\\033[2J\\033[Hlast'"));
		CHECK_INT(terminal_wait_exit(t), ==, 0);
		CHECK_STR(terminal_row(t, 0), "last");
		terminal_run(t, SH("printf '\\033[2J\\033[Hnext'"));
		CHECK_INT(terminal_wait_exit(t), ==, 0);
		CHECK_STR(terminal_row(t, 0), "next");
	}
}

/* Freed while its program runs, ignores what it can, or is stopped: nothing is left. */
static void test_free(void)
{
	static const char *const scripts[] = {
		"trap '' HUP TERM INT; echo up; while :; do sleep 0.1; done",
		"echo up; kill -STOP $$",
		"exec yes",
	};
	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		_cleanup_(terminal_freep) struct terminal *t = terminal_new(5, 20);
		terminal_run(t, SH(scripts[i]));
		terminal_wait_text(t, i == 2 ? "y" : "up"); /* that one is soon out of sight */
		if (i == 1)
			CHECK_INT(terminal_wait_stopped(t), ==, SIGSTOP);
		pid_t pid = terminal_pid(t);
		t = terminal_free(t);
		CHECK(tap_process_ends(pid, TAP_STRAGGLER_MS));
	}
}

static const struct tap_test tests[] = {
	{ "screen", test_screen },
	{ "attributes", test_attributes },
	{ "modes", test_modes },
	{ "not restored", test_not_restored },
	{ "keys", test_keys },
	{ "answers", test_answers },
	{ "resize", test_resize },
	{ "stop", test_stop },
	{ "function and hangup", test_function_and_hangup },
	{ "programs", test_programs },
	{ "much", test_much },
	{ "free", test_free },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
