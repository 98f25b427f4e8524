/* SPDX-License-Identifier: Apache-2.0 */
/* `cove` on a terminal: -t, -it, `shell`, `attach`, and leaving and coming back. */
#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "harness/tap.h"
#include "harness/terminal.h"
#include "integration/cli/command.h"

#define TIMEOUT_S 120
#define ROWS	  30
#define COLS	  100
#define DETACH	  "\035" /* ctrl-] */

/* `cove` with these, in the terminal. */
#define TYPE(t, ...)                                                                               \
	terminal_run((t), (const char *const[]){ command_build_path("cove"), __VA_ARGS__, NULL })

/*
 * Answers each line, and says its size at first and when that changes. It looks at the size instead of
 * waiting for SIGWINCH, which a shell may lose while it handles one; and a read that times out gives
 * it parts of lines.
 */
#define ECHO                                                                                       \
	"bash", "-c",                                                                              \
		"while :; do"                                                                      \
		" size=$(stty size); [ \"$size\" = \"$was\" ] || echo \"size $size\"; was=$size;"  \
		" read -t 0.02 -r part; got=$?; line=$line$part;"                                  \
		" [ $got -gt 128 ] && continue; [ $got != 0 ] && break;"                           \
		" [ \"$line\" = quit ] && exit 7; echo \"<$line>\"; line=;"                        \
		" done; echo over"

static long long inspect(const char *field)
{
	_cleanup_(command_done) struct command c = { 0 };
	json_error_t error;

	COVE(&c, "inspect", "box");
	CHECK_COMMAND(&c, 0, NULL, "");
	json_t *info = json_loadb(c.out, c.out_size, 0, &error);
	long long value = json_integer_value(json_object_get(info, field));
	json_decref(info);
	return value;
}

static void check_sessions(const char *ids)
{
	_cleanup_(command_done) struct command c = { 0 };
	COVE(&c, "sessions", "-q", "box");
	CHECK_COMMAND(&c, 0, ids, "");
}

/* Of the only session. */
static bool has_viewers(void)
{
	_cleanup_(command_done) struct command c = { 0 };
	COVE(&c, "sessions", "--json", "box");
	CHECK_COMMAND(&c, 0, NULL, "");
	return !strstr(c.out, "\"viewers\": 0,");
}

static bool no_sandbox(void)
{
	_cleanup_(command_done) struct command c = { 0 };
	COVE(&c, "ls", "-aq");
	CHECK_COMMAND(&c, 0, NULL, "");
	return !c.out_size;
}

static void check_end(struct terminal *t, int status)
{
	int got = terminal_wait_exit(t);
	if (got != status)
		terminal_dump(t);
	CHECK_INT(got, ==, status);
	terminal_check_restored(t);
}

static void test_exec(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(ROWS, COLS);

	command_create_box(IMAGE);
	TYPE(t, "exec", "-it", "box", ECHO);
	terminal_wait_text(t, "size 30 100");
	terminal_type(t, "hello\r");
	terminal_wait_text(t, "<hello>");
	terminal_resize(t, 20, 60);
	terminal_wait_text(t, "size 20 60");
	terminal_type(t, "quit\r");
	check_end(t, 7);
	CHECK(!terminal_has_text(t, "cove: ")); /* nothing to say */

	/* Ctrl-C and Ctrl-D are the command's. */
	TYPE(t, "exec", "-it", "box", "sh", "-c", "echo up; exec sleep 600");
	terminal_wait_text(t, "up");
	terminal_type(t, "\003");
	check_end(t, 130);
	CHECK(!terminal_has_text(t, "cove: "));
	TYPE(t, "exec", "-it", "box", "sh", "-c", "echo ready; cat");
	terminal_wait_text(t, "ready");
	terminal_type(t, "word\r\004");
	check_end(t, 0);
	TYPE(t, "exec", "-it", "box", "sh", "-c", "kill -9 $$");
	check_end(t, 137);
	CHECK(terminal_has_text(t, "cove: exec: the command was ended by signal 9, SIGKILL"));
	TYPE(t, "exec", "-it", "--timeout", "50ms", "box", "sleep", "600");
	check_end(t, 124);
	CHECK(terminal_has_text(t, "killed at its timeout"));

	/* What cannot be started. */
	TYPE(t, "exec", "-it", "box", "no-such-command");
	check_end(t, 127);
	TYPE(t, "exec", "-it", "box", "/etc");
	check_end(t, 126);
	TYPE(t, "exec", "-it", "-w", "/nope", "box", "true");
	check_end(t, 125);
	CHECK(terminal_has_text(t, "working directory"));
	command_remove_box();
}

/* Left, and come back to by another process, from a window of another size. */
static void test_detach(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(ROWS, COLS);

	command_create_box(IMAGE);
	TYPE(t, "exec", "-it", "--id", "s3", "box", ECHO);
	terminal_wait_text(t, "size 30 100");
	terminal_type(t, "one\r");
	terminal_wait_text(t, "<one>");
	terminal_type(t, DETACH);
	check_end(t, 0);
	/* On a line of its own. */
	TERMINAL_WAIT(t, terminal_find(t, "detached", NULL) >= 0);
	CHECK_STR(terminal_row(t, (unsigned)terminal_find(t, "detached", NULL)),
		  "cove: exec: detached; \"cove attach box s3\" comes back to it");
	check_sessions("s3\n");

	_cleanup_(terminal_freep) struct terminal *other = terminal_new(25, 90);
	TYPE(other, "attach", "box", "s3");
	terminal_wait_text(other, "<one>");
	terminal_wait_text(other, "size 25 90");
	terminal_type(other, "two\r");
	terminal_wait_text(other, "<two>");
	terminal_type(other, DETACH);
	check_end(other, 0);
	CHECK(terminal_has_text(other,
				"cove: attach: detached; \"cove attach box s3\" comes back to it"));

	/* The only one there is; other keys; from now on. */
	_cleanup_(terminal_freep) struct terminal *third = terminal_new(ROWS, COLS);
	TYPE(third, "attach", "--since", "now", "--detach-keys", "ctrl-p,ctrl-q", "--detach-keys",
	     "@", "box");
	terminal_wait_text(third, "size 30 100");
	CHECK(!terminal_has_text(third, "<two>"));
	terminal_type(third, "@");
	check_end(third, 0);
	TYPE(third, "attach", "--detach-keys", "ctrl-p,ctrl-q", "box");
	terminal_wait_text(third, "<two>");
	terminal_type(third, "@" DETACH "\r");
	terminal_wait_text(third, "<@");
	terminal_type(third, "quit\r");
	check_end(third, 7);

	/* It is over, and is shown as it was. */
	_cleanup_(terminal_freep) struct terminal *after = terminal_new(ROWS, COLS);
	TYPE(after, "attach", "box", "s3");
	check_end(after, 7);
	CHECK(terminal_has_text(after, "<one>") && terminal_has_text(after, "<two>"));
	command_remove_box();
}

static void test_kill_on_disconnect(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(ROWS, COLS);
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	TYPE(t, "exec", "-it", "--kill-on-disconnect", "--id", "k", "box", ECHO);
	terminal_wait_text(t, "size");
	terminal_type(t, DETACH);
	check_end(t, 0);
	CHECK(terminal_has_text(t, "detached, and the command was killed (--kill-on-disconnect)"));
	COVE(&c, "wait", "box", "k");
	CHECK_COMMAND(&c, 137, "", "");
	command_remove_box();
}

/* With a terminal, without anybody at it; later, somebody comes. */
static void test_detached_start(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(ROWS, COLS);
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	COVE(&c, "exec", "-dit", "--id", "d", "box", ECHO);
	CHECK_COMMAND(&c, 0, "d\n", "");
	COVE_START(&c, "logs", "-f", "box", "d");
	command_expect(&c, "size 24 80\r\n");
	CHECK_SYS(kill(c.pid, SIGKILL));
	command_finish(&c);
	TYPE(t, "attach", "box", "d");
	terminal_wait_text(t, "size 24 80");
	terminal_wait_text(t, "size 30 100");
	terminal_type(t, "quit\r");
	check_end(t, 7);
	COVE(&c, "logs", "box", "d");
	CHECK_COMMAND(&c, 0, NULL, "");
	CHECK_CONTAINS(c.out, "size 24 80\r\n");

	/* Of the size of this terminal, if there is one. */
	TYPE(t, "exec", "-dit", "--id", "e", "box", ECHO);
	check_end(t, 0);
	COVE(&c, "logs", "-f", "--since", "0", "box", "d");
	COVE(&c, "sessions", "box");
	CHECK_CONTAINS(c.out, "100x30");
	command_remove_box();
}

/* Of one that is over: from an offset, and what is not kept any more. */
static void test_kept(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(ROWS, COLS);
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	COVE(&c, "exec", "-dt", "--id", "k", "--replay", "4K", "box", "sh", "-c",
	     "until [ -e $T/gate ]; do sleep 0.01; done; seq 1 2000; exit 3");
	CHECK_COMMAND(&c, 0, "k\n", "");
	/* Not before the one who has started it is gone. */
	CHECK_WITHIN(!has_viewers(), COMMAND_WAIT_MS);
	COVE(&c, "shell", "box", "touch $T/gate");
	COVE(&c, "wait", "box", "k");
	CHECK_COMMAND(&c, 3, "", "");
	TYPE(t, "attach", "--since", "10887", "box", "k");
	check_end(t, 3);
	CHECK_STR(terminal_row(t, 0), "2000");
	CHECK_STR(terminal_row(t, 1), "");
	TYPE(t, "attach", "box", "k");
	check_end(t, 3);
	CHECK(terminal_has_text(t, "cove: attach: 6797 bytes of its output are not kept any more"));
	CHECK(terminal_has_text(t, "1990"));
	command_remove_box();
}

/* Only looking: nothing typed arrives, and Ctrl-C is for the one who looks. */
static void test_read_only(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(ROWS, COLS);
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	COVE(&c, "exec", "-dit", "--id", "d", "box", ECHO);
	TYPE(t, "attach", "--read-only", "box", "d");
	terminal_wait_text(t, "size 24 80");
	terminal_type(t, "quit\r\003");
	check_end(t, 0);
	check_sessions("d\n");
	CHECK(!terminal_has_text(t, "size 30 100"));
	command_remove_box();
}

/* What is wrong is said before anything is started. */
static void test_refused(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(ROWS, COLS);
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	COVE(&c, "exec", "-it", "--id", "x", "box", "true");
	CHECK_COMMAND(&c, 125, "",
		      "cove: exec: stdin is not a terminal (without --tty, the command gets it as "
		      "it is)\n");
	COVE(&c, "exec", "-t", "--id", "x", "box", "true");
	CHECK_COMMAND(&c, 125, "", "cove: exec: stdout is not a terminal");
	COVE(&c, "shell", "box");
	CHECK_COMMAND(
		&c, 125, "",
		"cove: shell: stdin is not a terminal (a script can be given as an argument)");
	TYPE(t, "exec", "-it", "--detach-keys", "ctrl-", "--id", "x", "box", "true");
	check_end(t, 125);
	CHECK(terminal_has_text(t, "cove: exec: --detach-keys: "));
	TYPE(t, "shell", "--detach-keys", "a,,b", "box");
	check_end(t, 125);
	COVE(&c, "wait", "box", "x");
	CHECK_COMMAND(&c, 125, "", "x"); /* it never was */
	COVE(&c, "sessions", "-aq", "box");
	CHECK_COMMAND(&c, 0, "", "");
	command_remove_box();

	/* Nor is a sandbox made: the image is not even looked for. */
	COVE(&c, "run", "-it", "no-such-image", "true");
	CHECK_COMMAND(&c, 125, "", "cove: run: stdin is not a terminal");
	COVE(&c, "run", "-t", "no-such-image", "true");
	CHECK_COMMAND(&c, 125, "", "cove: run: stdout is not a terminal");
	TYPE(t, "run", "-it", "--detach-keys", "ctrl-", "no-such-image", "true");
	check_end(t, 125);
	CHECK(terminal_has_text(t, "cove: run: --detach-keys: "));
	CHECK(no_sandbox());
}

/* What takes the sandbox away gives the terminal back. */
static void test_lost(void)
{
	static const char *const victims[] = { "supervisor_pid", "vmm_pid" };

	for (size_t i = 0; i < ARRAY_SIZE(victims); i++) {
		_cleanup_(terminal_freep) struct terminal *t = terminal_new(ROWS, COLS);
		_cleanup_(command_done) struct command c = { 0 };

		tap_note("%s", victims[i]);
		command_create_box(IMAGE);
		TYPE(t, "exec", "-it", "box", "sh", "-c",
		     "printf '\\033[?1049h\\033[?25lfull screen'; exec sleep 600");
		terminal_wait_text(t, "full screen");
		CHECK(!terminal_termios_same(t));
		CHECK_SYS(kill((pid_t)inspect(victims[i]), SIGKILL));
		check_end(t, 125);
		CHECK(terminal_has_text(t,
					i ? "cove: exec: the sandbox box is gone: QEMU was killed"
					  : "cove: exec: the sandbox box is gone: its supervisor"));
		COVE(&c, "rm", "-f", "box");
		CHECK_COMMAND(&c, 0, "box\n", "");
	}
}

/* cove itself is told to go: the command stays, and its terminal is as it was. */
static void test_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

	command_create_box(IMAGE);
	for (size_t i = 0; i <= ARRAY_SIZE(signals); i++) {
		_cleanup_(terminal_freep) struct terminal *t = terminal_new(ROWS, 90 + (unsigned)i);
		char text[32];

		if (i == 0)
			TYPE(t, "exec", "-it", "--id", "s", "box", ECHO);
		else
			TYPE(t, "attach", "box", "s");
		snprintf(text, sizeof(text), "size 30 %zu", 90 + i);
		terminal_wait_text(t, text);
		if (i == ARRAY_SIZE(signals)) {
			terminal_type(t, "quit\r");
			check_end(t, 7);
			break;
		}
		CHECK_SYS(kill(terminal_pid(t), signals[i]));
		check_end(t, 128 + signals[i]);
		CHECK(terminal_has_text(t, "detached; \"cove attach box s\" comes back to it"));
	}
	command_remove_box();
}

/* Its window is closed; or what it writes to. */
static void test_gone(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(ROWS, COLS);
	_cleanup_(terminal_freep) struct terminal *other = terminal_new(ROWS, COLS);
	char script[PATH_MAX + 64];

	command_create_box(IMAGE);
	TYPE(t, "exec", "-it", "--id", "s", "box", ECHO);
	terminal_wait_text(t, "size 30 100");
	terminal_hangup(t);
	CHECK_INT(terminal_wait_exit(t), ==, 128 + SIGHUP);
	TYPE(other, "attach", "box");
	terminal_wait_text(other, "size 30 100");
	terminal_type(other, "quit\r");
	check_end(other, 7);

	snprintf(script, sizeof(script),
		 "%s exec -it --id y box yes | head -n 1;"
		 " echo ${PIPESTATUS[0]}",
		 command_build_path("cove"));
	_cleanup_(terminal_freep) struct terminal *pipe = terminal_new(ROWS, COLS);
	terminal_run(pipe, (const char *const[]){ "bash", "-c", script, NULL });
	check_end(pipe, 0);
	CHECK(terminal_has_text(pipe, "nobody reads the output any more; the command goes on"));
	CHECK(terminal_has_text(pipe, "141"));
	check_sessions("y\n");

	/* It ends with its sandbox, and there is nothing to say. */
	snprintf(script, sizeof(script), "%s run -it %s yes | head -n 1; echo ${PIPESTATUS[0]}",
		 command_build_path("cove"), IMAGE);
	_cleanup_(terminal_freep) struct terminal *run = terminal_new(ROWS, COLS);
	terminal_run(run, (const char *const[]){ "bash", "-c", script, NULL });
	check_end(run, 0);
	CHECK(terminal_has_text(run, "y"));
	CHECK(terminal_has_text(run, "141"));
	CHECK(!terminal_has_text(run, "goes on"));
	command_remove_box();
}

/* Stopped by a signal, and continued: the terminal is the shell's in between. */
static void test_stopped(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(ROWS, COLS);

	command_create_box(IMAGE);
	TYPE(t, "exec", "-it", "box", ECHO);
	terminal_wait_text(t, "size 30 100");
	CHECK_SYS(kill(terminal_pid(t), SIGTSTP));
	CHECK_INT(terminal_wait_stopped(t), ==, SIGTSTP);
	CHECK(terminal_termios_same(t));
	terminal_resize(t, 31, 90);
	terminal_continue(t, true);
	terminal_wait_text(t, "size 31 90");
	terminal_type(t, "quit\r");
	check_end(t, 7);
	command_remove_box();
}

static void test_shell(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(ROWS, COLS);
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	TYPE(t, "shell", "-e", "PS1=prompt> ", "box");
	terminal_wait_text(t, "prompt>");
	terminal_type(t, "echo $((6 * 7)) $(stty size)\r");
	terminal_wait_text(t, "42 30 100");
	terminal_type(t, "exit 5\r");
	check_end(t, 5);
	/* Detached from, it waits for us. */
	TYPE(t, "shell", "-e", "PS1=again> ", "box");
	terminal_wait_text(t, "again>");
	terminal_type(t, "x=kept\r" DETACH);
	check_end(t, 0);
	TYPE(t, "attach", "box");
	terminal_type(t, "echo \"[$x]\"\r");
	terminal_wait_text(t, "[kept]");
	terminal_type(t, "exit\r");
	check_end(t, 0);

	/* A script on the terminal. */
	TYPE(t, "shell", "-it", "box", "read x; echo \"<$x>\"; exit 6");
	terminal_type(t, "typed\r");
	terminal_wait_text(t, "<typed>");
	check_end(t, 6);
	command_remove_box();
}

/* Shown on this terminal, and nothing typed. */
static void test_tty_alone(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(ROWS, COLS);

	command_create_box(IMAGE);
	TYPE(t, "exec", "-t", "box", "sh", "-c",
	     "trap 'echo size $(stty size)' WINCH; echo size $(stty size);"
	     " [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && read x; echo end of file: $?;"
	     " until [ -e $T/go ]; do sleep 0.01; done; exit 3");
	terminal_wait_text(t, "size 30 100");
	terminal_wait_text(t, "end of file: 1");
	CHECK(terminal_termios_same(t)); /* this one is not touched */
	for (unsigned i = 0; i < 5; i++) {
		char text[32];
		snprintf(text, sizeof(text), "size %u 70", 20 + i);
		terminal_resize(t, 20 + i, 70);
		terminal_wait_text(t, text);
	}
	_cleanup_(command_done) struct command c = { 0 };
	COVE(&c, "shell", "box", "touch $T/go");
	check_end(t, 3);

	/* Ctrl-C is a signal here, and passed on. */
	TYPE(t, "exec", "-t", "box", "sh", "-c", "echo up; exec sleep 600");
	terminal_wait_text(t, "up");
	terminal_type(t, "\003");
	check_end(t, 130);
	CHECK(!terminal_has_text(t, "cove: "));
	command_remove_box();
}

/* The sandbox goes on with the command, for those who come back, and not longer. */
static void test_run(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(ROWS, COLS);

	TYPE(t, "run", "-it", "-n", "box", "--id", "main", IMAGE, ECHO);
	terminal_wait_text(t, "size 30 100");
	terminal_type(t, "one\r");
	terminal_wait_text(t, "<one>");
	terminal_type(t, DETACH);
	check_end(t, 0);
	CHECK(terminal_has_text(t,
				"cove: run: detached; \"cove attach box main\" comes back to it"));
	TYPE(t, "attach", "box");
	terminal_type(t, "two\r");
	terminal_wait_text(t, "<two>");
	CHECK(!no_sandbox());
	terminal_type(t, "quit\r");
	check_end(t, 7);
	CHECK_WITHIN(no_sandbox(), COMMAND_WAIT_MS);

	/* Not detached, it ends with cove. */
	TYPE(t, "run", "-it", "-n", "box", IMAGE, "sh", "-c", "echo up; exit 4");
	terminal_wait_text(t, "up");
	check_end(t, 4);
	CHECK(no_sandbox());
	TYPE(t, "run", "-it", "-n", "box", IMAGE, "sh", "-c", "echo start; exec sleep 600");
	terminal_wait_text(t, "start");
	CHECK_SYS(kill(terminal_pid(t), SIGTERM));
	check_end(t, 143);
	CHECK(terminal_has_text(t, "and the sandbox with it"));
	CHECK(no_sandbox());
	TYPE(t, "run", "-it", "-n", "box", IMAGE, "sh", "-c", "echo other; exec sleep 600");
	terminal_wait_text(t, "other");
	CHECK_SYS(kill(terminal_pid(t), SIGKILL));
	CHECK_INT(terminal_wait_exit(t), ==, 137);
	CHECK_WITHIN(no_sandbox(), COMMAND_WAIT_MS);
	TYPE(t, "run", "-it", "--kill-on-disconnect", IMAGE, "sh", "-c", "echo last; sleep 600");
	terminal_wait_text(t, "last");
	terminal_type(t, DETACH);
	check_end(t, 0);
	CHECK(no_sandbox());
	TYPE(t, "run", "-it", IMAGE, "no-such-command");
	check_end(t, 127);
	CHECK(no_sandbox());
	TYPE(t, "run", "-it", "-n", "box", IMAGE, "sh", "-c", "echo doomed; exec sleep 600");
	terminal_wait_text(t, "doomed");
	CHECK_SYS(kill((pid_t)inspect("vmm_pid"), SIGKILL));
	check_end(t, 125);
	CHECK(terminal_has_text(t, "cove: run: the sandbox box is gone: "));
	CHECK_WITHIN(no_sandbox(), COMMAND_WAIT_MS);
}

static const struct tap_test tests[] = {
	{ "exec -it", test_exec, TIMEOUT_S },
	{ "detach and attach", test_detach, TIMEOUT_S },
	{ "detach with --kill-on-disconnect", test_kill_on_disconnect, TIMEOUT_S },
	{ "exec -dit", test_detached_start, TIMEOUT_S },
	{ "attach to what is over", test_kept, TIMEOUT_S },
	{ "attach --read-only", test_read_only, TIMEOUT_S },
	{ "refused before anything is started", test_refused, TIMEOUT_S },
	{ "the sandbox dies", test_lost, TIMEOUT_S },
	{ "signals to cove", test_signals, TIMEOUT_S },
	{ "what it is shown on goes away", test_gone, TIMEOUT_S },
	{ "stopped and continued", test_stopped, TIMEOUT_S },
	{ "shell", test_shell, TIMEOUT_S },
	{ "exec -t", test_tty_alone, TIMEOUT_S },
	{ "run -it", test_run, TIMEOUT_S },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
