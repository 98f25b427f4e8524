/* SPDX-License-Identifier: Apache-2.0 */
/* Signals to `cove`, `cove kill` and `cove wait`. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "harness/tap.h"
#include "integration/cli/command.h"

#define TIMEOUT_S 120
#define GONE_MS	  3000

/* A script in the box, which fails when it does not give this. */
static void box_expect(const char *script, const char *out)
{
	_cleanup_(command_done) struct command c = { 0 };
	COVE(&c, "shell", "box", script);
	CHECK_COMMAND(&c, 0, out, "");
}

static void box_wait_for(const char *path)
{
	char script[128];
	snprintf(script, sizeof(script), "until [ -e %s ]; do sleep 0.01; done; rm %s", path, path);
	box_expect(script, "");
}

static bool box_has(const char *path)
{
	_cleanup_(command_done) struct command c = { 0 };
	COVE(&c, "exec", "box", "test", "-e", path);
	return c.status == 0;
}

static void test_ended_by_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		tap_note("signal %d", signals[i]);
		COVE_START(&c, "shell", "box", "echo up; exec sleep 600");
		command_expect(&c, "up\n");
		command_signal(&c, signals[i]);
		command_finish(&c);
		CHECK_COMMAND(&c, 128 + signals[i], "", "");
		/* It is the command that has ended, and cove after it. */
		COVE_START(&c, "shell", "box",
			   "trap 'echo caught; exit 3' INT TERM HUP QUIT; echo up;"
			   " while :; do sleep 0.01; done 2>/dev/null");
		command_expect(&c, "up\n");
		command_signal(&c, signals[i]);
		command_finish(&c);
		CHECK_COMMAND(&c, 3, "caught\n", "");
	}
	command_remove_box();
}

/* A command may live on, and each signal reaches it. */
static void test_handled_signals(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	COVE_START_PIPED(&c, "shell", "-i", "box",
			 "trap 'echo hup' HUP; trap 'echo term' TERM; echo up;"
			 " until [ \"$x\" ]; do read x; done; echo $x");
	command_expect(&c, "up\n");
	for (int i = 0; i < 10; i++) {
		command_signal(&c, SIGHUP);
		command_expect(&c, "hup\n");
		command_signal(&c, SIGTERM);
		command_expect(&c, "term\n");
	}
	command_write(&c, "word\n", 5);
	command_finish(&c);
	CHECK_COMMAND(&c, 0, "word\n", "");
	command_remove_box();
}

/* All at once: none is lost, and what the command says then is printed. */
static void test_many_signals(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	COVE_START(&c, "shell", "box",
		   "trap 'a=1' HUP; trap 'b=1' TERM; trap 'c=1' QUIT; echo up;"
		   " until [ \"$a$b$c\" = 111 ]; do sleep 0.01; done 2>/dev/null;"
		   " seq 1 100000");
	command_expect(&c, "up\n");
	command_signal(&c, SIGHUP);
	command_signal(&c, SIGTERM);
	command_signal(&c, SIGQUIT);
	command_finish(&c);
	CHECK_COMMAND(&c, 0, NULL, "");
	CHECK_INT(c.out_size, ==, 588895);
	command_remove_box();
}

/* With something in the background. That daemons go as well takes a machine: tests/vm. */
static const char stubborn[] = "trap '' INT TERM; sleep 600 & echo $!;"
			       " while :; do sleep 0.01; done 2>/dev/null";

/* Reads the process that was left in the background. */
static int read_pid(struct command *c)
{
	char text[16] = "";
	for (size_t n = 0; n < sizeof(text) - 1; n++) {
		CHECK_OK(fd_read_full(c->out_fd, text + n, 1));
		if (text[n] == '\n')
			break;
	}
	CHECK_INT(atoi(text), >, 1);
	return atoi(text);
}

/* Dead at once, and soon no zombie either. */
static bool box_has_process(int pid)
{
	char script[128];
	snprintf(script, sizeof(script), "kill -0 %d 2>/dev/null", pid);
	_cleanup_(command_done) struct command c = { 0 };
	COVE(&c, "shell", "box", script);
	return c.status == 0;
}

static void test_second_ctrl_c(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	COVE_START(&c, "shell", "box", stubborn);
	int pid = read_pid(&c);
	command_signal(&c, SIGINT);
	command_signal(&c, SIGINT);
	command_finish(&c);
	CHECK_COMMAND(&c, 137, "", "");
	CHECK_WITHIN(!box_has_process(pid), GONE_MS);

	/* Two that are further apart are two; other signals count for themselves. */
	COVE_START(&c, "shell", "box",
		   "trap 'n=$((n+1)); echo $n' INT; trap 'echo term' TERM; echo up;"
		   " while [ \"$n\" != 3 ]; do sleep 0.01; done 2>/dev/null; exit 4");
	command_expect(&c, "up\n");
	for (int i = 1; i <= 3; i++) {
		char text[16];
		unsigned long long apart = tap_deadline(1100);
		command_signal(&c, SIGINT);
		snprintf(text, sizeof(text), "%d\n", i);
		command_expect(&c, text);
		for (int k = 0; k < 2 && i < 3; k++) {
			command_signal(&c, SIGTERM);
			command_expect(&c, "term\n");
		}
		while (i < 3 && tap_before(apart))
			;
	}
	command_finish(&c);
	CHECK_COMMAND(&c, 4, "", "");
	command_remove_box();
}

/* What was ignored stays so: nohup. */
static void test_ignored_signals(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	CHECK_SYS(setenv("COVE", command_build_path("cove"), 1));
	command_start(&c, (const char *const[]){
				  "sh", "-c",
				  "trap '' HUP INT; exec \"$COVE\" shell box "
				  "'trap \"echo term; exit 4\" TERM; trap \"echo bad\" HUP INT;"
				  " echo up; while :; do sleep 0.01; done 2>/dev/null'",
				  NULL });
	command_expect(&c, "up\n");
	command_signal(&c, SIGHUP);
	command_signal(&c, SIGINT);
	command_signal(&c, SIGTERM);
	command_finish(&c);
	CHECK_COMMAND(&c, 4, "term\n", "");
	command_remove_box();
}

/* Ctrl-C arrives while nobody reads stdout, and no output is lost by it. */
static void test_ctrl_c_while_blocked(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	COVE_START(&c, "shell", "box", "trap 'touch $T/int; echo last words >&2; exit 3' INT; yes");
	command_wait_blocked(&c);
	command_signal(&c, SIGINT);
	box_wait_for("$T/int");
	command_finish(&c);
	CHECK_COMMAND(&c, 3, NULL, "last words\n");
	CHECK_INT(c.out_size, >, 65536);

	/* The second one kills. */
	COVE_START(&c, "shell", "box", "trap '' INT; yes");
	command_wait_blocked(&c);
	command_signal(&c, SIGINT);
	command_signal(&c, SIGINT);
	command_finish(&c);
	CHECK_COMMAND(&c, 137, NULL, "");

	/* The command is gone; who does not want to wait for its output does not have to. */
	COVE_START(&c, "shell", "--id", "short", "box", "head -c 200000 /dev/zero");
	command_wait_blocked(&c);
	_cleanup_(command_done) struct command wait = { 0 };
	COVE(&wait, "wait", "box", "short");
	CHECK_COMMAND(&wait, 0, "", "");
	command_signal(&c, SIGTERM);
	CHECK(tap_process_ends(c.pid, GONE_MS));
	command_finish(&c);
	CHECK_COMMAND(&c, 143, NULL, "");
	CHECK_INT(c.out_size, ==, 65536);
	command_remove_box();
}

static pid_t supervisor_of_box(void)
{
	_cleanup_(command_done) struct command c = { 0 };
	json_error_t error;

	COVE(&c, "inspect", "box");
	CHECK_COMMAND(&c, 0, NULL, "");
	json_t *info = json_loadb(c.out, c.out_size, 0, &error);
	pid_t pid = (pid_t)json_integer_value(json_object_get(info, "supervisor_pid"));
	json_decref(info);
	CHECK_INT(pid, >, 1);
	return pid;
}

/* Nothing answers: the user gets out all the same. */
static void test_stalled(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	pid_t supervisor = supervisor_of_box();
	for (int third = 0; third < 2; third++) {
		COVE_START(&c, "shell", "box", "echo up; sleep 600");
		command_expect(&c, "up\n");
		CHECK_SYS(kill(supervisor, SIGSTOP));
		unsigned long long start = tap_deadline(0);
		command_signal(&c, SIGINT);
		unsigned long long apart = tap_deadline(1100);
		while (tap_before(apart))
			;
		command_signal(&c, SIGINT); /* late, but the first has not been confirmed */
		if (third)
			CHECK_SYS(kill(c.pid, SIGINT));
		command_finish(&c);
		unsigned long long ms = tap_deadline(0) - start;
		CHECK_COMMAND(&c, 125, "", "cove: shell: the sandbox does not answer: ");
		CHECK_CONTAINS(c.err, "the command may be running still\n");
		CHECK_INT(ms, <, third ? 4000 : 9000);
		CHECK_SYS(kill(supervisor, SIGCONT));
		box_expect("true", "");
	}
	command_remove_box();
}

/* Ctrl-Z and fg. */
static void test_stopped(void)
{
	_cleanup_(command_done) struct command c = { 0 };
	int status;

	command_create_box(IMAGE);
	COVE_START_PIPED(&c, "exec", "-i", "box", "cat");
	command_write(&c, "one\n", 4);
	command_expect(&c, "one\n");
	CHECK_SYS(kill(c.pid, SIGTSTP));
	CHECK_INT(waitpid(c.pid, &status, WUNTRACED), ==, c.pid);
	CHECK(WIFSTOPPED(status));
	command_write(&c, "two\n", 4);
	CHECK_SYS(kill(c.pid, SIGCONT));
	command_expect(&c, "two\n");
	command_finish(&c);
	CHECK_COMMAND(&c, 0, "", "");
	command_remove_box();
}

/* What becomes of the command when cove is gone. */
static void test_disconnect(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	COVE_START(&c, "shell", "--id", "goes", "--kill-on-disconnect", "box",
		   "echo up; sleep 600");
	command_expect(&c, "up\n");
	CHECK_SYS(kill(c.pid, SIGKILL));
	command_finish(&c);
	COVE(&c, "wait", "box", "goes");
	CHECK_COMMAND(&c, 137, "", "");

	COVE_START(&c, "shell", "--id", "stays", "box",
		   "echo up; until [ -e $T/go ]; do sleep 0.01; done; rm $T/go; exit 7");
	command_expect(&c, "up\n");
	CHECK_SYS(kill(c.pid, SIGKILL));
	command_finish(&c);
	box_expect("touch $T/go", "");
	COVE(&c, "wait", "box", "stays");
	CHECK_COMMAND(&c, 7, "", "");
	command_remove_box();
}

static void test_kill(void)
{
	_cleanup_(command_done) struct command exec = { 0 }, c = { 0 };

	command_create_box(IMAGE);
	COVE_START(&exec, "shell", "--id", "one", "box", stubborn);
	int pid = read_pid(&exec);
	COVE(&c, "kill", "box", "one");
	CHECK_COMMAND(&c, 0, "", "");
	CHECK_WITHIN(!box_has_process(pid), GONE_MS);
	command_finish(&exec);
	CHECK_COMMAND(&exec, 137, "",
		      "cove: shell: the command was ended by signal 9, SIGKILL, through Cove\n");

	/* A signal is one, and does not touch what else there is, stdin included. */
	COVE_START_PIPED(
		&exec, "shell", "-i", "--id", "two", "box",
		"trap 'echo usr1' USR1; echo up; until [ \"$x\" ]; do read x; done; echo $x");
	command_expect(&exec, "up\n");
	static const char *const names[] = { "USR1", "sigusr1", "10" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		COVE(&c, "kill", "-s", names[i], "box", "two");
		CHECK_COMMAND(&c, 0, "", "");
		command_expect(&exec, "usr1\n");
	}
	command_write(&exec, "word\n", 5);
	command_finish(&exec);
	CHECK_COMMAND(&exec, 0, "word\n", "");

	static const struct {
		const char *argv[5];
		const char *message;
	} cases[] = {
		{ { "box", "two" }, "ended" },
		{ { "-s", "TERM", "box", "two" }, "ended" },
		{ { "box", "three" }, "three" },
		{ { "box", "no/id" }, "no/id" },
		{ { "none", "two" }, "no sandbox none" },
		{ { "-s", "NONE", "box", "two" }, "must be a signal" },
		{ { "-s", "0", "box", "two" }, "must be a signal" },
		{ { "box" }, "a session's id is needed" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *argv[8] = { "cove", "kill" };
		memcpy(argv + 2, cases[i].argv, sizeof(cases[i].argv));
		tap_note("case %zu", i);
		command_run(&c, argv);
		CHECK_COMMAND(&c, 125, "", cases[i].message);
		CHECK(strchr(c.err, '\n') == c.err + c.err_size - 1);
	}
	command_remove_box();
}

static void test_wait(void)
{
	_cleanup_(command_done) struct command exec = { 0 }, c = { 0 };
	struct command waiters[3] = { 0 };

	command_create_box(IMAGE);
	COVE_START_PIPED(&exec, "shell", "-i", "--id", "one", "box",
			 "echo up; read x; echo $x; exit 7");
	command_expect(&exec, "up\n");
	for (size_t i = 0; i < ARRAY_SIZE(waiters); i++)
		COVE_START(&waiters[i], "wait", "box", "one");
	command_signal(&waiters[0], SIGINT); /* ends it, and nothing else */
	command_finish(&waiters[0]);
	CHECK_COMMAND(&waiters[0], 130, "", "");
	command_write(&exec, "word\n", 5);
	command_finish(&exec);
	CHECK_COMMAND(&exec, 7, "word\n", "");
	for (size_t i = 0; i < ARRAY_SIZE(waiters); i++) {
		if (i) {
			command_finish(&waiters[i]);
			CHECK_COMMAND(&waiters[i], 7, "", "");
		}
		command_done(&waiters[i]);
	}
	COVE(&c, "wait", "box", "one"); /* later, too */
	CHECK_COMMAND(&c, 7, "", "");
	COVE(&c, "exec", "--id", "late", "--timeout", "100ms", "box", "sleep", "600");
	CHECK_COMMAND(&c, 124, "", NULL);
	COVE(&c, "wait", "box", "late");
	CHECK_COMMAND(&c, 124, "", "");
	COVE(&c, "shell", "--id", "kill", "box", "kill -9 $$");
	COVE(&c, "wait", "box", "kill");
	CHECK_COMMAND(&c, 137, "", "");
	COVE(&c, "wait", "box", "none");
	CHECK_COMMAND(&c, 125, "", "none");
	COVE(&c, "wait", "none", "one");
	CHECK_COMMAND(&c, 125, "", "no sandbox none");

	/* The end of the sandbox */
	COVE_START(&exec, "shell", "--id", "last", "box", "echo up; exec sleep 600");
	command_expect(&exec, "up\n");
	COVE_START(&waiters[0], "wait", "box");
	COVE_START(&waiters[1], "wait", "box");
	COVE(&c, "stop", "-t", "1", "box");
	CHECK_COMMAND(&c, 0, "box\n", "");
	command_finish(&exec);
	CHECK_COMMAND(&exec, 143, "", "its sandbox was stopped");
	for (int i = 0; i < 2; i++) {
		command_finish(&waiters[i]);
		CHECK_COMMAND(&waiters[i], 0, "stopped\n", "");
		command_done(&waiters[i]);
	}
	COVE(&c, "wait", "box");
	CHECK_COMMAND(&c, 0, "stopped\n", "");
	COVE(&c, "wait", "box", "last");
	CHECK_COMMAND(&c, 125, "", "cove: wait: ");
	command_remove_box();
	COVE(&c, "wait", "box");
	CHECK_COMMAND(&c, 125, "", "no sandbox box");
}

/* The command of `cove run` is told, then the sandbox goes. */
static void test_run(void)
{
	_cleanup_(command_done) struct command run = { 0 }, c = { 0 };

	COVE_START(&run, "run", "-n", "box", IMAGE, "sh", "-c",
		   "trap 'echo caught; exit 3' TERM; echo up;"
		   " while :; do sleep 0.01; done 2>/dev/null");
	command_expect(&run, "up\n");
	command_signal(&run, SIGTERM);
	command_finish(&run);
	CHECK_COMMAND(&run, 3, "caught\n", "");

	COVE_START(&run, "run", "-n", "box", IMAGE, "sh", "-c", "echo up; exec sleep 600");
	command_expect(&run, "up\n");
	command_signal(&run, SIGTERM);
	command_finish(&run);
	CHECK_COMMAND(&run, 143, "", "");

	COVE_START(&run, "run", "-n", "box", IMAGE, "sh", "-c", stubborn);
	read_pid(&run);
	command_signal(&run, SIGINT);
	command_signal(&run, SIGINT);
	command_finish(&run);
	CHECK_COMMAND(&run, 137, "", "");
	COVE(&c, "ls", "-aq");
	CHECK_COMMAND(&c, 0, "", "");
	CHECK(!box_has("/"));
}

static const struct tap_test tests[] = {
	{ "ended by signals", test_ended_by_signals, .timeout_s = TIMEOUT_S },
	{ "handled signals", test_handled_signals, .timeout_s = TIMEOUT_S },
	{ "many signals", test_many_signals, .timeout_s = TIMEOUT_S },
	{ "the second Ctrl-C", test_second_ctrl_c, .timeout_s = TIMEOUT_S },
	{ "ignored signals", test_ignored_signals, .timeout_s = TIMEOUT_S },
	{ "Ctrl-C while stdout is blocked", test_ctrl_c_while_blocked, .timeout_s = TIMEOUT_S },
	{ "a stalled sandbox", test_stalled, .timeout_s = TIMEOUT_S },
	{ "stopped and continued", test_stopped, .timeout_s = TIMEOUT_S },
	{ "cove is gone", test_disconnect, .timeout_s = TIMEOUT_S },
	{ "kill", test_kill, .timeout_s = TIMEOUT_S },
	{ "wait", test_wait, .timeout_s = TIMEOUT_S },
	{ "run", test_run, .timeout_s = TIMEOUT_S },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
