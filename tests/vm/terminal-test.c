/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What people do in terminals, through `cove exec -it` and `cove shell` in a real machine: keys,
 * colours, sizes, job control. The terminal is an emulator; what the programs show is compared, cell
 * by cell, with what they show on this machine without Cove, where that is the same program.
 */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "seat.h"

/*
 * It says when it is there: a line that is typed while a shell gives its own settings of the terminal
 * up may be read only with the next one. That is the kernel's, with and without Cove.
 */
#define CAT "sh -c 'echo up; exec cat'"

/* ---- editors ---- */

static void edit(struct twins *t, cove_sandbox *box, const char *const *argv, const char *at_start,
		 const char *normal, bool bracketed)
{
	twins_run(t, NULL, argv);
	twins_same(t, at_start);
	twins_type(t, "ihello\rwrold", "wrold");
	twins_key(t, TERMINAL_LEFT);
	twins_key(t, TERMINAL_LEFT);
	twins_key(t, TERMINAL_LEFT);
	twins_type(t, "\033", normal);
	twins_type(t, "xp", "world");
	twins_key(t, TERMINAL_UP);
	twins_type(t, "A there", "hello there");
	twins_type(t, "\033", normal);
	twins_type(t, "yyjp", "world\nhello there\n");
	twins_type(t, "ix\303\244\342\202\254", "x\303\244\342\202\254");
	twins_type(t, "\033", normal);
	if (bracketed) {
		twins_type(t, "Go", "INSERT");
		twins_paste(t, "  indented\n    pasted\n");
		twins_same(t, "    pasted");
		twins_type(t, "\033", "pasted");
		twins_resize(t, 15, 50);
		twins_same(t, "pasted");
		twins_resize(t, 24, 80);
		twins_same(t, "pasted");
	}
	terminal_type(t->guest, ":wq\r");
	terminal_type(t->host, ":wq\r");
	CHECK_INT(terminal_wait_exit(t->host), ==, 0);
	seat_check_end(t->guest, 0);

	char *written;
	CHECK_OK(fd_read_file(AT_FDCWD, tap_path("notes"), 1 << 20, true, &written, NULL));
	CHECK_CONTAINS(written, "hello there\nworld\n");
	CHECK_CONTAINS(written, "x\303\244\342\202\254");
	seat_check_file(box, "notes", written);
	free(written);
}

static void test_vi(void)
{
	cove_sandbox *box = seat_box("python");
	struct twins t = twins_new(24, 80);
	edit(&t, box, ARGV("vim", "notes"), "\"notes\" [New]", "All", true);
	twins_done(&t);
	cove_sandbox_free(box);
}

/* BusyBox' own ones, which are there without an image of one's own. */
static void test_busybox(void)
{
	cove_sandbox *box = seat_box("busybox");
	struct twins t = twins_new(24, 80);
	edit(&t, box, ARGV("busybox", "vi", "notes"), "- notes", "- notes", false);

	char text[8192], *p = text;
	for (int i = 1; i <= 300; i++)
		p += sprintf(p, "this is line %d\n", i);
	seat_put_file(box, "text", text);
	seat_put_own_file("text", text);
	twins_run(&t, NULL, ARGV("busybox", "less", "text"));
	twins_same(&t, "this is line 23");
	twins_type(&t, " ", "this is line 46");
	twins_type(&t, "/line 200\r", "this is line 200");
	twins_type(&t, "G", "this is line 300");
	terminal_type(t.guest, "q");
	seat_check_end(t.guest, 0);
	terminal_type(t.host, "q");
	CHECK_INT(terminal_wait_exit(t.host), ==, 0);
	twins_done(&t);

	struct terminal *term = seat_new(24, 80);
	SEAT_COVE(term, "exec", "-it", "box", "top", "-d", "1");
	terminal_wait_text(term, "COMMAND");
	TERMINAL_WAIT(term, terminal_find(term, "Mem: ", NULL) == 0);
	terminal_type(term, "q");
	CHECK_INT(terminal_wait_exit(term), ==, 0);
	term = terminal_free(term);

	/*
	 * ash: job control, history by the arrow, line editing. Not in the first line: it asks where
	 * the cursor is, and takes the answer "1;5R" and the keys after it for one that is unknown.
	 */
	term = seat_new(24, 80);
	SEAT_COVE(term, "shell", "box");
	terminal_wait_row(term, 5, "~ #");
	terminal_type(term, CAT "\r");
	TERMINAL_WAIT(term, terminal_modes(term).row == 7);
	terminal_type(term, "a\r");
	terminal_wait_row(term, 8, "a");
	terminal_type(term, "\032");
	terminal_wait_row(term, 9,
			  "^Z[1]+  Stopped                    sh -c \"echo up; exec cat\"");
	terminal_wait_row(term, 10, "~ #");
	terminal_type(term, "fg\r");
	terminal_wait_row(term, 11, "sh -c \"echo up; exec cat\"");
	terminal_type(term, "b\r");
	terminal_wait_row(term, 13, "b");
	terminal_type(term, "\003");
	terminal_wait_row(term, 15, "~ #");
	terminal_key(term, TERMINAL_UP);
	terminal_wait_row(term, 15, "~ # fg");
	terminal_type(term, "\025exit 3\r");
	seat_check_end(term, 3);
	term = terminal_free(term);
	cove_sandbox_free(box);
}

/* ---- pagers and lists ---- */

static void test_less(void)
{
	cove_sandbox *box = seat_box("python");
	char text[32768], *p = text;
	for (int i = 1; i <= 500; i++)
		p += sprintf(p, "\033[%dmthis\033[0m is line %d, %0*d\n", 31 + i % 6, i,
			     20 + i % 20, i);
	seat_put_file(box, "text", text);
	seat_put_own_file("text", text);
	struct twins t = twins_new(24, 80);
	twins_run(&t, ARGV("LESSHISTFILE=-"), ARGV("less", "-R", "text"));
	twins_same(&t, "is line 23,");
	CHECK_INT(terminal_cell(t.guest, 0, 0).fg, ==, 2); /* 32 is green */
	twins_type(&t, " ", "is line 46,");
	twins_type(&t, "/line 200\r", "is line 200,");
	seat_wait_reading(box, "less");
	twins_resize(&t, 40, 100);
	twins_same(&t, "is line 238,");
	seat_wait_reading(box, "less");
	twins_resize(&t, 12, 30);
	twins_same(&t, "is line 200,");
	twins_key(&t, TERMINAL_DOWN);
	twins_same(&t, "is line 201,");
	twins_key(&t, TERMINAL_PAGE_UP);
	twins_same(&t, "is line 199,");
	twins_type(&t, "G", "is line 500,");
	twins_type(&t, "h", "SUMMARY");
	terminal_type(t.guest, "qq");
	seat_check_end(t.guest, 0);
	twins_done(&t);
	cove_sandbox_free(box);
}

static void test_top(void)
{
	cove_sandbox *box = seat_box("python");
	struct terminal *t = seat_new(24, 80);
	SEAT_COVE(t, "exec", "-it", "box", "top", "-d", "0.3");
	terminal_wait_text(t, "PID USER");
	CHECK_INT(terminal_find(t, "top - ", NULL), ==, 0);
	int header = terminal_find(t, "PID USER", NULL);
	CHECK_INT(header, ==, 6);
	CHECK(terminal_cell(t, 6, 10).reverse);
	TERMINAL_WAIT(t, terminal_row(t, 7)[0] != 0);

	/* It draws itself again, and the numbers change: the agent's clock does not stand still. */
	char before[8192];
	snprintf(before, sizeof(before), "%s", terminal_screen(t));
	TERMINAL_WAIT(t, strcmp(before, terminal_screen(t)) != 0 &&
				 terminal_find(t, "PID USER", NULL) == 6);
	terminal_resize(t, 10, 60);
	TERMINAL_WAIT(t, terminal_row(t, 9)[0] && terminal_find(t, "PID USER", NULL) == 6);
	terminal_type(t, "q");
	seat_check_end(t, 0);
	t = terminal_free(t);
	cove_sandbox_free(box);
}

static void test_colours(void)
{
	cove_sandbox *box = seat_box("python");
	struct twins t = twins_new(12, 60);
	twins_run(
		&t, NULL,
		ARGV("sh", "-c",
		     "mkdir t; cd t; mkdir d; touch f; chmod 755 f; ln -s nowhere l; ls --color=always; "
		     "tput bold; tput setaf 1; tput setab 4; echo red; tput sgr0; tput smul; echo "
		     "line; tput rmul; tput rev; echo rev; tput sgr0; printf '\\033[38;5;200mpink "
		     "\\033[48;2;1;2;3mtrue\\033[0m\\n'; tput cup 10 30; printf end"));
	CHECK_INT(terminal_wait_exit(t.host), ==, 0);
	twins_same(&t, "end");
	seat_check_end(t.guest, 0);
	int col, row = terminal_find(t.guest, "red", &col);
	struct terminal_cell c = terminal_cell(t.guest, (unsigned)row, (unsigned)col);
	CHECK(c.bold);
	CHECK_INT(c.fg, ==, 1);
	CHECK_INT(c.bg, ==, 4);
	row = terminal_find(t.guest, "pink true", &col);
	CHECK_INT(terminal_cell(t.guest, (unsigned)row, (unsigned)col).fg, ==, 200);
	c = terminal_cell(t.guest, (unsigned)row, (unsigned)col + 5);
	CHECK_INT(c.bg, ==, TERMINAL_RGB(1, 2, 3));
	twins_done(&t);
	cove_sandbox_free(box);
}

/* ---- shells and the like ---- */

static void test_python(void)
{
	cove_sandbox *box = seat_box("python");
	struct terminal *t = seat_new(24, 80);
	SEAT_COVE(t, "exec", "-it", "box", "python3", "-q");
	terminal_wait_row(t, 0, ">>>");
	terminal_type(t, "prin(1+1)");
	for (int i = 0; i < 5; i++)
		terminal_key(t, TERMINAL_LEFT);
	terminal_type(t, "t");
	terminal_wait_row(t, 0, ">>> print(1+1)");
	terminal_type(t, "\r");
	terminal_wait_row(t, 1, "2");
	terminal_wait_row(t, 2, ">>>");
	terminal_key(t, TERMINAL_UP);
	terminal_wait_row(t, 2, ">>> print(1+1)");
	terminal_type(t, "\025for i in range(2):\r    '\303\244' * (i + 1)\r\r");
	terminal_wait_row(t, 5, "'\303\244'");
	terminal_wait_row(t, 7, ">>>");
	terminal_type(t, "import time; print('now'); time.sleep(1000)\r");
	terminal_wait_row(t, 8, "now");
	terminal_type(t, "\003");
	terminal_wait_text(t, "KeyboardInterrupt");
	terminal_wait_row(t, 12, ">>>");
	terminal_type(t, "input('? ').upper()\r");
	terminal_wait_row(t, 13, "?");
	terminal_type(t, "abc\r");
	terminal_wait_row(t, 15, ">>>");
	terminal_type(t, "import os; os.get_terminal_size(), os.isatty(0), os.isatty(2)\r");
	terminal_wait_row(t, 17, ">>>");
	terminal_type(t, "\004");
	CHECK_INT(terminal_wait_exit(t), ==, 0);
	terminal_wait_screen(
		t, ">>> print(1+1)\n2\n>>> for i in range(2):\n...     '\303\244' * (i + 1)\n...\n"
		   "'\303\244'\n'\303\244\303\244'\n"
		   ">>> import time; print('now'); time.sleep(1000)\nnow\n"
		   "^CTraceback (most recent call last):\n"
		   "  File \"<stdin>\", line 1, in <module>\nKeyboardInterrupt\n"
		   ">>> input('? ').upper()\n? abc\n'ABC'\n"
		   ">>> import os; os.get_terminal_size(), os.isatty(0), os.isatty(2)\n"
		   "(os.terminal_size(columns=80, lines=24), True, True)\n>>>\n\n\n\n\n\n\n");
	terminal_check_restored(t);
	t = terminal_free(t);
	cove_sandbox_free(box);
}

static void test_job_control(void)
{
	cove_sandbox *box = seat_box("python");
	struct twins t = twins_new(30, 80);
	twins_run(&t, ARGV("PS1=$ ", "HISTFILE="), ARGV("bash", "--norc"));
	twins_same(&t, "$");
	/* A key is for who is there: so it says that it is. */
	twins_type(&t, "sh -c 'echo a; exec sleep 1000'\r", "\na\n");
	twins_type(&t, "\032",
		   "[1]+  Stopped                 sh -c 'echo a; exec sleep 1000'\n$\n");
	twins_type(&t, CAT "\r", "\nup\n");
	twins_type(&t, "b\r", "b\nb\n");
	twins_type(&t, "\032", "[2]+  Stopped                 " CAT "\n$\n");
	twins_type(&t, "jobs\r", "jobs\n[1]-  Stopped");
	twins_type(&t, "bg %1\r", "[1]- sh -c 'echo a; exec sleep 1000' &\n$\n");
	twins_type(&t, "jobs\r",
		   "[1]-  Running                 sh -c 'echo a; exec sleep 1000' &\n");
	twins_type(&t, "fg\r", "fg\n" CAT "\n");
	twins_type(&t, "c\r", "c\nc\n");
	twins_type(&t, "\003", "^C\n$\n");
	twins_type(&t, "echo code $?\r", "code 130\n$\n");
	/* That it was terminated is said after this command, or after the next one. */
	twins_type(&t, "kill %1; wait\r\rclear; echo clean\r", "clean\n$\n");
	twins_type(&t, CAT "\r", "\nup\n");
	twins_type(&t, "d\r", "d\nd\n");
	twins_type(&t, "\034", "^\\Quit");
	twins_type(&t, "echo code $?\r", "code 131\n$\n");
	twins_type(&t, "clear; echo cleared\r", "cleared\n$\n");
	twins_type(&t, CAT "\r", "\nup\n");
	twins_type(&t, "line\r", "line\nline\n");
	twins_type(&t, "\032", "Stopped                 " CAT "\n$\n");
	twins_type(&t, "fg\r", "fg\n" CAT "\n");
	twins_type(&t, "again\r", "again\nagain\n");
	twins_type(&t, "\004", "again\n$\n");
	twins_type(&t, "trap 'stty size' WINCH\r", "WINCH\n$\n");
	twins_resize(&t, 20, 60);
	twins_type(&t, "\r", "20 60\n");
	twins_type(&t, "echo $LINES x $COLUMNS\r", "\n20 x 60\n$\n");
	twins_type(&t, "vi\177\177printf 'a\\tb\\n'\001true; \005; read x\r", "a       b\n");
	twins_type(&t, "no\177\177yes\r", "yes\n$\n");
	twins_type(&t, "echo $x; exit 3\r", "yes\nexit\n");
	CHECK_INT(terminal_wait_exit(t.host), ==, 3);
	seat_check_end(t.guest, 3);
	twins_done(&t);
	cove_sandbox_free(box);
}

/* The size is right from the first moment, and follows. */
static void test_size(void)
{
	cove_sandbox *box = seat_box("busybox");
	struct terminal *t = seat_new(17, 71);
	SEAT_COVE(
		t, "exec", "-it", "box", "sh", "-c",
		"trap 'stty size' WINCH; trap 'exit 7' INT; stty size; while :; do usleep 10000; done");
	terminal_wait_row(t, 0, "17 71");
	terminal_resize(t, 33, 133);
	terminal_wait_row(t, 1, "33 133");
	for (unsigned i = 1; i <= 50; i++)
		terminal_resize(t, 10 + i % 20, 100 + i);
	terminal_wait_text(t, "20 150");
	terminal_resize(t, 30, 100);
	terminal_wait_text(t, "30 100");
	terminal_type(t, "\003");
	seat_check_end(t, 7);
	t = terminal_free(t);

	/* A new sandbox by `run`, a terminal that is not 80 columns wide. */
	t = seat_new(9, 99);
	SEAT_COVE(t, "run", "-it", "busybox", "stty", "size");
	CHECK_INT(terminal_wait_exit(t), ==, 0);
	CHECK(terminal_has_text(t, "9 99")); /* after some lines about the boot, if it takes long */
	terminal_check_restored(t);
	t = terminal_free(t);
	cove_sandbox_free(box);
}

static const struct tap_test tests[] = {
	{ "vi", test_vi, .timeout_s = 240 },
	{ "busybox", test_busybox, .timeout_s = 240 },
	{ "less", test_less, .timeout_s = 240 },
	{ "top", test_top, .timeout_s = 240 },
	{ "colours", test_colours, .timeout_s = 240 },
	{ "python", test_python, .timeout_s = 240 },
	{ "size", test_size, .timeout_s = 240 },
	{ "job control", test_job_control, .timeout_s = 240 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
