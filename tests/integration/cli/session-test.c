/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands that are left to themselves and come back to: `cove exec -d`, `attach` without a terminal,
 * `sessions`, `logs` and `wait --collect`. With terminals: terminal-test.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "harness/tap.h"
#include "integration/cli/command.h"

#define TIMEOUT_S 150

/* The id that a `cove exec -d` has printed, without its newline. */
static const char *take_id(const struct command *c, char *buffer, size_t size)
{
	CHECK_COMMAND(c, 0, NULL, "");
	CHECK_INT(c->out_size, >, 1);
	CHECK_INT(c->out_size, <=, size);
	CHECK(strchr(c->out, '\n') == c->out + c->out_size - 1);
	memcpy(buffer, c->out, c->out_size);
	buffer[c->out_size - 1] = 0;
	return buffer;
}

/* A script of this machine, in which $COVE is cove. c: NULL if nobody wants to know what it wrote. */
static void host(struct command *c, const char *script)
{
	_cleanup_(command_done) struct command own = { 0 };
	CHECK_SYS(setenv("COVE", command_build_path("cove"), 1));
	COMMAND(c ? c : &own, "bash", "-c", script);
}

/* A file of the guest, which is one of the test's folder, appears. */
static void wait_for_file(const char *name)
{
	CHECK_WITHIN(access(tap_path("%s", name), F_OK) == 0, COMMAND_WAIT_MS);
}

static void make_file(const char *name)
{
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, tap_path("%s", name), "", 0, 0600));
}

/* The session's entry in `cove sessions`. */
static json_t *session(const char *id)
{
	_cleanup_(command_done) struct command c = { 0 };
	json_t *found = NULL, *entry;
	json_error_t error;
	size_t i;

	COVE(&c, "sessions", "--all", "--json", "box");
	CHECK_COMMAND(&c, 0, NULL, "");
	json_t *list = json_loads(c.out, 0, &error);
	CHECK(json_is_array(list));
	json_array_foreach(list, i,
			   entry) if (!strcmp(json_string_value(json_object_get(entry, "id")), id))
		found = json_incref(entry);
	json_decref(list);
	CHECK(found);
	return found;
}

static bool session_is(const char *id, const char *field, const char *value)
{
	json_t *entry = session(id), *got = json_object_get(entry, field);
	char text[64] = "?";

	if (json_is_integer(got))
		snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(got));
	else if (json_is_boolean(got))
		snprintf(text, sizeof(text), "%s", json_is_true(got) ? "true" : "false");
	else if (json_is_string(got))
		snprintf(text, sizeof(text), "%s", json_string_value(got));
	json_decref(entry);
	return !strcmp(text, value);
}

#define LEAVE(c, ...) COVE(c, "exec", "-d", __VA_ARGS__)

/*
 * Session a, which does nothing before the one that has started it is gone: who looks may have more
 * kept than --replay.
 */
static void leave_gated(const char *replay, const char *script)
{
	_cleanup_(command_done) struct command c = { 0 };
	char gated[256];

	CHECK_INT(snprintf(gated, sizeof(gated), "until [ -e $T/gate ]; do sleep 0.01; done; %s",
			   script),
		  <, sizeof(gated));
	LEAVE(&c, "--id", "a", "--replay", replay, "box", "sh", "-c", gated);
	CHECK_WITHIN(session_is("a", "viewers", "0"), COMMAND_WAIT_MS);
	make_file("gate");
}

static void test_detached(void)
{
	static const char *const nowhere[] = { ">/dev/full", ">&-", "" };
	_cleanup_(command_done) struct command c = { 0 };
	char id[80];

	command_create_box(IMAGE);
	LEAVE(&c, "box", "sh", "-c", "echo out; echo err >&2; cat; exit 3");
	take_id(&c, id, sizeof(id));
	COVE(&c, "wait", "box", id);
	CHECK_COMMAND(&c, 3, "", "");
	COVE(&c, "logs", "box", id);
	CHECK_COMMAND(&c, 0, "out\n", "err\n");
	COVE(&c, "attach", "box", id);
	CHECK_COMMAND(&c, 3, "out\n", "err\n");
	COVE(&c, "attach", "--since", "1:2", "box", id);
	CHECK_COMMAND(&c, 3, "ut\n", "r\n");
	CHECK_STR(c.err, "r\n");

	/* It has not ended when cove has. The id is the one that was asked for. */
	COVE(&c, "shell", "-d", "--id", "mine", "box", "until [ -e $T/go ]; do sleep 0.01; done");
	CHECK_COMMAND(&c, 0, "mine\n", "");
	CHECK(session_is("mine", "state", "running"));
	make_file("go");
	COVE(&c, "wait", "box", "mine");
	CHECK_COMMAND(&c, 0, "", "");
	/* Again, it is the same run. */
	COVE(&c, "shell", "-d", "--id", "mine", "box", "exit 9");
	CHECK_COMMAND(&c, 0, "mine\n", "");
	COVE(&c, "wait", "box", "mine");
	CHECK_COMMAND(&c, 0, "", "");

	/* Its id is said where somebody reads it. */
	for (size_t i = 0; i < ARRAY_SIZE(nowhere); i++) {
		char script[PATH_MAX + 128];
		snprintf(script, sizeof(script),
			 "read go; exec %s exec -d --id said%zu box sleep 600 %s",
			 command_build_path("cove"), i, nowhere[i]);
		command_start_piped(&c, (const char *const[]){ "bash", "-c", script, NULL });
		command_close_out(&c);
		command_write(&c, "go\n", 3);
		command_finish(&c);
		snprintf(script, sizeof(script), " (the session said%zu goes on)\n", i);
		CHECK_COMMAND(&c, 125, "", script);
		snprintf(script, sizeof(script), "said%zu", i);
		CHECK(session_is(script, "state", "running"));
	}

	/* What could not be started has no id. */
	LEAVE(&c, "box", "no-such-command");
	CHECK_COMMAND(&c, 127, "", "no-such-command");
	LEAVE(&c, "box", "/etc");
	CHECK_COMMAND(&c, 126, "", "[guest, at exec]");
	LEAVE(&c, "-w", "/nope", "box", "true");
	CHECK_COMMAND(&c, 125, "", "[guest, at cwd]");
	LEAVE(&c, "nobox", "true");
	CHECK_COMMAND(&c, 125, "", "cove: exec: ");

	/* Its own limits hold without us. */
	LEAVE(&c, "--timeout", "50ms", "--id", "slow", "box", "sleep", "600");
	CHECK_COMMAND(&c, 0, "slow\n", "");
	COVE(&c, "wait", "box", "slow");
	CHECK_COMMAND(&c, 124, "", "");
	LEAVE(&c, "--output-limit", "1K", "--id", "wordy", "box", "yes");
	COVE(&c, "attach", "--since", "now", "box", "wordy");
	CHECK_COMMAND(&c, 137, NULL, "it wrote more than it may");
	command_remove_box();
}

static void test_open_stdin(void)
{
	_cleanup_(command_done) struct command c = { 0 }, viewer = { 0 };

	command_create_box(IMAGE);
	/* Our stdin is not read, and its end is not the command's. */
	host(&c, "(echo a; echo b) | (read x; $COVE exec -di --id cat box cat; read y; echo $x$y)");
	CHECK_COMMAND(&c, 0, "cat\nab\n", "");
	CHECK(session_is("cat", "stdin_open", "true"));

	/* Viewers come and go, and it stays open: without -i, and killed with it. */
	COVE_START_PIPED(&viewer, "attach", "-i", "box", "cat");
	command_write(&viewer, "one\n", 4);
	command_expect(&viewer, "one\n");
	CHECK_SYS(kill(viewer.pid, SIGKILL));
	command_finish(&viewer);
	COVE_START(&viewer, "attach", "box", "cat");
	command_expect(&viewer, "one\n");
	CHECK_SYS(kill(viewer.pid, SIGKILL));
	command_finish(&viewer);
	CHECK_WITHIN(session_is("cat", "viewers", "0"), COMMAND_WAIT_MS);
	CHECK(session_is("cat", "stdin_open", "true"));

	/* And what somebody else types is seen by who only looks. */
	COVE_START(&viewer, "attach", "--read-only", "--since", "now", "box", "cat");
	CHECK_WITHIN(session_is("cat", "viewers", "1"), COMMAND_WAIT_MS);
	COVE_START_PIPED(&c, "attach", "-i", "--since", "4", "box");
	command_write(&c, "two\n", 4);
	command_finish(&c); /* closes its stdin, and so the command's */
	CHECK_COMMAND(&c, 0, "two\n", "");
	command_finish(&viewer);
	CHECK_COMMAND(&viewer, 0, "two\n", "");
	CHECK(session_is("cat", "stdin_open", "false"));

	COVE(&c, "attach", "--read-only", "-i", "box", "cat");
	CHECK_COMMAND(&c, 125, "", "--interactive: not with --read-only");
	command_remove_box();
}

/* Which one is meant, where none is named. */
static void test_choice(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	COVE(&c, "attach", "box");
	CHECK_COMMAND(&c, 125, "", "no command runs in box");
	LEAVE(&c, "--id", "past", "box", "true");
	COVE(&c, "wait", "box", "past");
	LEAVE(&c, "-i", "--id", "one", "box", "sh", "-c", "echo first; read x");
	COVE(&c, "attach", "-i", "box");
	CHECK_COMMAND(&c, 1, "first\n", "");

	LEAVE(&c, "--id", "two", "box", "sleep", "600");
	LEAVE(&c, "--id", "three", "box", "sleep", "600");
	COVE(&c, "attach", "box");
	CHECK_COMMAND(&c, 125, "", "2 commands run in box, say which one: two, three\n");
	/* The only one with a terminal. */
	LEAVE(&c, "-t", "--id", "tty", "box", "sh", "-c",
	      "stty size; until [ -e $T/end ]; do sleep 0.01; done; exit 5");
	CHECK(session_is("tty", "tty", "true"));
	COVE_START(&c, "attach", "--read-only", "box");
	command_expect(&c, "24 80\r\n");
	make_file("end");
	command_finish(&c);
	CHECK_COMMAND(&c, 5, "", "");
	host(&c, "exec $COVE attach box tty </dev/null");
	CHECK_COMMAND(&c, 125, "", "tty has a terminal, and stdin is none");
	command_remove_box();
}

static void test_viewer(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	/* Signals are the command's. */
	LEAVE(&c, "--id", "trap", "box", "sh", "-c",
	      "trap 'echo caught; exit 3' INT; echo up; while :; do sleep 0.01; done");
	COVE_START(&c, "attach", "box", "trap");
	command_expect(&c, "up\n");
	command_signal(&c, SIGINT);
	command_finish(&c);
	CHECK_COMMAND(&c, 3, "caught\n", NULL);

	/* Not of those who only look. */
	LEAVE(&c, "--id", "ro", "box", "sh", "-c", "echo up; exec sleep 600");
	COVE_START(&c, "attach", "--read-only", "box", "ro");
	command_expect(&c, "up\n");
	CHECK_SYS(kill(c.pid, SIGINT));
	command_finish(&c);
	CHECK_COMMAND(&c, 130, "", "");
	CHECK(session_is("ro", "state", "running"));

	/* Who has seen enough leaves the output to the others. */
	LEAVE(&c, "--id", "seq", "box", "sh", "-c", "seq 1 20000; echo end; exit 7");
	host(&c, "$COVE attach box seq | head -n 1; echo ${PIPESTATUS[0]};"
		 " $COVE wait box seq; echo $?");
	CHECK_COMMAND(&c, 0, "1\n141\n7\n", "");
	COVE(&c, "attach", "box", "seq");
	CHECK_COMMAND(&c, 7, NULL, "");
	CHECK_INT(c.out_size, ==, 108894 + 4);

	/* From an offset; and of what is not there. */
	COVE(&c, "attach", "--since", "108890", "box", "seq");
	CHECK_COMMAND(&c, 7, "000\nend\n", "");
	COVE(&c, "attach", "--since", "now", "box", "seq");
	CHECK_COMMAND(&c, 7, "", "");
	COVE(&c, "attach", "--since", "108899", "box", "seq");
	CHECK_COMMAND(&c, 125, "", "cove: attach: ");
	COVE(&c, "attach", "box", "never");
	CHECK_COMMAND(&c, 125, "", "never");
	COVE(&c, "attach", "--detach-keys", "ctrl-", "box", "seq");
	CHECK_COMMAND(&c, 125, "", "--detach-keys: ");
	command_remove_box();
}

static void test_sessions(void)
{
	_cleanup_(command_done) struct command c = { 0 };
	const char *rest;

	command_create_box(IMAGE);
	COVE(&c, "sessions", "box");
	CHECK_COMMAND(&c, 0, "SESSION  STATE  TTY  VIEWERS  AGE  COMMAND\n", "");
	COVE(&c, "sessions", "--json", "box");
	CHECK_COMMAND(&c, 0, "[]\n", "");

	LEAVE(&c, "--id", "ended", "box", "sh", "-c", "exit 3");
	COVE(&c, "wait", "box", "ended");
	LEAVE(&c, "--id", "shot", "box", "sh", "-c", "kill -9 $$");
	COVE(&c, "wait", "box", "shot");
	/* NOLINTNEXTLINE(misc-misleading-bidirectional): that it must not mislead is the test */
	LEAVE(&c, "-t", "--id", "runs", "box", "sh", "-c", "sleep 600", "",
	      "\033[31m\302\233x\177\233\377\300\233\355\240\200\342\200\256€");
	COVE(&c, "sessions", "-q", "box");
	CHECK_COMMAND(&c, 0, "runs\n", "");
	COVE(&c, "sessions", "-aq", "box");
	CHECK_COMMAND(&c, 0, "ended\nshot\nruns\n", "");
	COVE(&c, "sessions", "-a", "box");
	CHECK_COMMAND(&c, 0, NULL, "");
	CHECK_CONTAINS(c.out, "\nended    exited 3       -      0        0s   sh -c exit 3\n");
	CHECK_CONTAINS(c.out, "\nshot     signaled KILL  -      0        0s   sh -c kill -9 $$\n");
	/* What the terminal would take for more than text is made harmless. */
	rest = strstr(c.out, "\nruns ");
	CHECK(rest);
	CHECK_STR(rest, "\nruns     running        80x24  0        0s   "
			"sh -c sleep 600 '' ?[31m??x???????????€\n");

	/* A long command is one line. */
	LEAVE(&c, "--id", "long", "box", "sh", "-c", "exec sleep 600",
	      "äöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöüäöü");
	COVE(&c, "sessions", "box");
	CHECK_CONTAINS(c.out, "sh -c exec sleep 600 äöüäöüäöüäöüäöüäöüäöü…\n");
	command_remove_box();
}

static void test_sessions_json(void)
{
	static const char *const fields[] = {
		"id",		"state",	 "pid",		 "argv",
		"tty",		"rows",		 "cols",	 "started",
		"viewers",	"has_processes", "stdin_open",	 "stdout_start",
		"stdout_total", "stderr_start",	 "stderr_total", "exit"
	};
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	leave_gated("4K", "seq 1 2000; printf x >&2; exit 4");
	COVE(&c, "wait", "box", "a");
	json_t *entry = session("a");
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		CHECK(json_object_get(entry, fields[i]));
	CHECK_INT(json_object_size(entry), ==, ARRAY_SIZE(fields));
	json_t *exit = json_object_get(entry, "exit");
	CHECK_STR(json_string_value(json_object_get(exit, "cause")), "exited");
	CHECK_INT(json_integer_value(json_object_get(exit, "code")), ==, 4);
	CHECK_INT(json_integer_value(json_object_get(entry, "stdout_total")), ==, 8893);
	CHECK_INT(json_integer_value(json_object_get(entry, "stdout_start")), ==, 8893 - 4096);
	CHECK_INT(json_integer_value(json_object_get(entry, "stderr_total")), ==, 1);
	json_decref(entry);

	LEAVE(&c, "--id", "b", "box", "sh", "-c", "sleep 600", "\302\233", "\377");
	entry = session("b");
	CHECK(json_is_null(json_object_get(entry, "exit")));
	CHECK_STR(json_string_value(json_array_get(json_object_get(entry, "argv"), 0)), "sh");
	json_decref(entry);
	COVE(&c, "sessions", "--json", "box");
	CHECK(!strchr(c.out, '\302') && !strchr(c.out, '\233'));
	command_remove_box();
}

/* What `seq 1 n` prints from an offset on. */
static char *seq_from(unsigned n, size_t offset)
{
	char *text = malloc((size_t)n * 12), *end = text;
	CHECK(text);
	for (unsigned i = 1; i <= n; i++)
		end += sprintf(end, "%u\n", i);
	memmove(text, text + offset, (size_t)(end - text) - offset + 1);
	return text;
}

static void test_logs(void)
{
	_cleanup_(command_done) struct command c = { 0 }, other = { 0 };

	command_create_box(IMAGE);
	/* Of one that runs, up to now; both streams. */
	LEAVE(&c, "-i", "--id", "run", "--replay", "1M", "box", "sh", "-c",
	      "seq 1 100000; seq 1 50000 >&2; touch $T/written; read x; echo $x; exit 3");
	wait_for_file("written");
	_cleanup_free_ char *out = seq_from(100000, 0), *err = seq_from(50000, 0);
	COVE(&c, "logs", "box", "run");
	CHECK_COMMAND(&c, 0, out, NULL);
	CHECK_STR(c.err, err);
	COVE(&c, "logs", "--since", "588890:288890", "box", "run");
	CHECK_COMMAND(&c, 0, "0000\n", "000\n");
	COVE(&c, "logs", "--since", "588895:288894", "box", "run");
	CHECK_COMMAND(&c, 0, "", "");
	COVE(&c, "logs", "--since", "now", "box", "run");
	CHECK_COMMAND(&c, 0, "", "");
	COVE(&c, "logs", "--since", "588896", "box", "run");
	CHECK_COMMAND(&c, 125, "", "cove: logs: ");

	/* With -f, to the end, whatever its status; from now on, too. */
	COVE_START(&c, "logs", "-f", "--since", "588889:288894", "box", "run");
	command_expect(&c, "00000\n");
	COVE_START(&other, "logs", "-f", "--since", "now", "box", "run");
	CHECK_WITHIN(session_is("run", "viewers", "2"), COMMAND_WAIT_MS);
	host(NULL, "echo word | $COVE attach -i box run >/dev/null");
	command_finish(&c);
	CHECK_COMMAND(&c, 0, "word\n", "");
	command_finish(&other);
	CHECK_COMMAND(&other, 0, "word\n", "");
	COVE(&c, "logs", "-f", "--since", "588895:288894", "box", "run");
	CHECK_COMMAND(&c, 0, "word\n", "");
	COVE(&c, "logs", "box", "never");
	CHECK_COMMAND(&c, 125, "", "never");
	command_remove_box();
}

/* What was there when asked, and what came after: nothing between them, and nothing twice. */
static void test_logs_seam(void)
{
	_cleanup_(command_done) struct command start = { 0 };
	struct command c[8] = { 0 };
	_cleanup_free_ char *all = seq_from(30000, 0);

	command_create_box(IMAGE);
	LEAVE(&start, "--replay", "1M", "--id", "a", "box", "sh", "-c",
	      "i=0; while [ $i -lt 30000 ]; do i=$((i + 1)); echo $i; done; exit 3");
	CHECK_COMMAND(&start, 0, "a\n", "");
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		COVE_START(&c[i], "logs", "-f", "box", "a");
	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		command_finish(&c[i]);
		CHECK_COMMAND(&c[i], 0, all, "");
	}
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		command_done(&c[i]);
	command_remove_box();
}

/* Of what is not kept, exactly that much is said. */
static void test_logs_gap(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	leave_gated("4K", "seq 1 2000");
	COVE(&c, "wait", "box", "a");
	_cleanup_free_ char *kept = seq_from(2000, 8893 - 4096);
	COVE(&c, "logs", "--since", "100", "box", "a");
	CHECK_COMMAND(&c, 0, kept, "cove: logs: 4697 bytes of its stdout are not kept any more");
	COVE(&c, "logs", "box", "a");
	CHECK_COMMAND(&c, 0, kept, "cove: logs: 4797 bytes of its stdout are not kept any more");
	COVE(&c, "attach", "box", "a");
	CHECK_COMMAND(&c, 0, kept, "cove: attach: 4797 bytes of its stdout are not kept any more");
	command_remove_box();
}

/* A reader that is slow, or gone, is nothing to the command. */
static void test_logs_does_not_block(void)
{
	_cleanup_(command_done) struct command c = { 0 }, slow = { 0 };

	command_create_box(IMAGE);
	LEAVE(&c, "-i", "--id", "a", "--replay", "4M", "box", "sh", "-c",
	      "head -c 4000000 /dev/zero; touch $T/first; read x; head -c 40000000 /dev/zero; exit 6");
	wait_for_file("first");
	COVE_START(&slow, "logs", "-f", "box", "a");
	command_wait_blocked(&slow);
	host(&c, "echo | $COVE attach -i --lossy --since now box a >/dev/null");
	CHECK_COMMAND(&c, 6, NULL, NULL);
	/* All of the first part, and of the rest what is kept or said to be missing. */
	command_finish(&slow);
	CHECK_COMMAND(&slow, 0, NULL, NULL);
	size_t missing = 0;
	for (const char *line = slow.err; *line; line = strchr(line, '\n') + 1) {
		size_t n = 0;
		CHECK_INT(sscanf(line, "cove: logs: %zu bytes of its stdout", &n), ==, 1);
		missing += n;
	}
	CHECK_INT(missing, >, 0);
	CHECK_INT(slow.out_size + missing, ==, 44000000);
	CHECK_INT(slow.out_size, >=, 4000000);

	host(&c, "$COVE logs box a | head -c 1 | wc -c; echo ${PIPESTATUS[0]}");
	CHECK_COMMAND(&c, 0, "1\n0\n", "bytes of its stdout are not kept any more");
	command_remove_box();
}

static void test_collect(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	command_create_box(IMAGE);
	LEAVE(&c, "--id", "a", "box", "sh", "-c", "echo out; exit 3");
	COVE(&c, "wait", "box", "a");
	CHECK_COMMAND(&c, 3, "", "");
	COVE(&c, "wait", "--collect", "box", "a");
	CHECK_COMMAND(&c, 3, "", "");
	/* Gone is not the same as never there. */
	COVE(&c, "wait", "box", "a");
	CHECK_COMMAND(&c, 125, "", "cove: wait: ");
	_cleanup_free_ char *gone = strdup(c.err);
	COVE(&c, "wait", "box", "b");
	CHECK_COMMAND(&c, 125, "", "cove: wait: ");
	char *name = strstr(gone, "a");
	CHECK(name && strcmp(gone, c.err) != 0);
	tap_note("%s%s", gone, c.err);
	CHECK(!strstr(c.err, "collected") && strstr(gone, "collected"));

	COVE(&c, "wait", "--collect", "box", "a");
	CHECK_COMMAND(&c, 125, "", "collected");
	COVE(&c, "logs", "box", "a");
	CHECK_COMMAND(&c, 125, "", "collected");
	COVE(&c, "attach", "box", "a");
	CHECK_COMMAND(&c, 125, "", "collected");
	COVE(&c, "exec", "--id", "a", "box", "true");
	CHECK_COMMAND(&c, 125, "", "collected");
	COVE(&c, "sessions", "box");
	CHECK_COMMAND(&c, 0, "SESSION  STATE  TTY  VIEWERS  AGE  COMMAND\n", "");

	/* Of one that runs, it waits for the end first. */
	LEAVE(&c, "--id", "c", "box", "sh", "-c",
	      "until [ -e $T/go ]; do sleep 0.01; done; exit 2");
	COVE_START(&c, "wait", "--collect", "box", "c");
	CHECK_WITHIN(session_is("c", "viewers", "1"), COMMAND_WAIT_MS);
	make_file("go");
	command_finish(&c);
	CHECK_COMMAND(&c, 2, "", "");
	COVE(&c, "wait", "--collect", "box");
	CHECK_COMMAND(&c, 125, "", "--collect: only with a session's id");
	command_remove_box();
}

/* Two at once with the same id: one run, which both see. */
static void test_race(void)
{
	_cleanup_(command_done) struct command a = { 0 }, b = { 0 };

	command_create_box(IMAGE);
	for (int i = 0; i < 10; i++) {
		char id[16];
		snprintf(id, sizeof(id), "r%d", i);
		const char *const argv[] = { "cove",
					     "exec",
					     "--id",
					     id,
					     "box",
					     "sh",
					     "-c",
					     "echo run $$ >>$T/runs; echo out $$; echo err >&2;"
					     " exit 5",
					     NULL };
		command_start(&a, argv);
		command_start(&b, argv);
		command_finish(&a);
		command_finish(&b);
		CHECK_COMMAND(&a, 5, NULL, "err\n");
		CHECK_COMMAND(&b, 5, a.out, "err\n");
	}
	COVE(&a, "shell", "box", "wc -l <$T/runs");
	CHECK_COMMAND(&a, 0, "10\n", "");
	command_remove_box();
}

static bool no_sandbox(void)
{
	_cleanup_(command_done) struct command c = { 0 };
	COVE(&c, "ls", "-aq");
	CHECK_COMMAND(&c, 0, NULL, "");
	return !c.out_size;
}

/* The sandbox is there as long as the command, and goes with it. */
static void test_run_detached(void)
{
	_cleanup_(command_done) struct command c = { 0 };
	char go[300];

	CHECK_INT(snprintf(go, sizeof(go), "T=%s", tap_dir()), <, (int)sizeof(go));
	COVE(&c, "run", "-d", "-n", "box", "-e", go, "--id", "main", IMAGE, "sh", "-c",
	     "echo up; until [ -e $T/go ]; do sleep 0.01; done; exit 4");
	CHECK_COMMAND(&c, 0, "box\n", "");
	COVE(&c, "sessions", "-q", "box");
	CHECK_COMMAND(&c, 0, "main\n", "");
	COVE(&c, "inspect", "box");
	CHECK_CONTAINS(c.out, "\"until_session\": \"main\"");
	/* Others in it are no reason to stay. */
	LEAVE(&c, "box", "sleep", "600");
	COVE_START(&c, "wait", "box", "main");
	/* The supervisor is one, too. */
	CHECK_WITHIN(session_is("main", "viewers", "2"), COMMAND_WAIT_MS);
	make_file("go");
	command_finish(&c);
	CHECK_COMMAND(&c, 4, "", "");
	CHECK_WITHIN(no_sandbox(), COMMAND_WAIT_MS);

	/* One that is over in no time. */
	COVE(&c, "run", "-d", IMAGE, "true");
	CHECK_COMMAND(&c, 0, NULL, "");
	CHECK_WITHIN(no_sandbox(), COMMAND_WAIT_MS);
	/* What cannot be started leaves nothing. */
	COVE(&c, "run", "-d", IMAGE, "no-such-command");
	CHECK_COMMAND(&c, 127, "", "no-such-command");
	CHECK(no_sandbox());
}

/* Killed at any moment, it leaves nothing that would not end by itself. */
static void test_run_killed(void)
{
	_cleanup_(command_done) struct command c = { 0 };
	unsigned left = 0;

	for (int i = 0; i < 40; i++) {
		int delay_us = i * 2500;
		COVE_START(&c, "run", "-d", IMAGE, "sleep", "0.3");
		unsigned long long at = clock_monotonic_ns() + (unsigned long long)delay_us * 1000;
		while (clock_monotonic_ns() < at)
			;
		CHECK_SYS(kill(c.pid, SIGKILL));
		command_finish(&c);
		left += c.status == 0;
	}
	tap_note("%u of 40 were not killed in time", left);
	CHECK_WITHIN(no_sandbox(), COMMAND_WAIT_MS);
}

static const struct tap_test tests[] = {
	{ "exec -d", test_detached, TIMEOUT_S },
	{ "a stdin that stays open", test_open_stdin, TIMEOUT_S },
	{ "attach without a session's id", test_choice, TIMEOUT_S },
	{ "attach without a terminal", test_viewer, TIMEOUT_S },
	{ "sessions", test_sessions, TIMEOUT_S },
	{ "sessions --json", test_sessions_json, TIMEOUT_S },
	{ "logs", test_logs, TIMEOUT_S },
	{ "logs -f: before and after it was asked", test_logs_seam, TIMEOUT_S },
	{ "logs of what is not kept", test_logs_gap, TIMEOUT_S },
	{ "logs holds nothing up", test_logs_does_not_block, TIMEOUT_S },
	{ "wait --collect", test_collect, TIMEOUT_S },
	{ "two with the same id", test_race, TIMEOUT_S },
	{ "run -d", test_run_detached, TIMEOUT_S },
	{ "run -d is killed", test_run_killed, TIMEOUT_S },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
