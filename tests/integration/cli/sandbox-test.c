/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `cove` with sandboxes, as a user sees it: statuses, bytes, messages, lists. Compiled twice: for a
 * supervisor whose guest is a process of the host, and for the real thing (tests/vm).
 */
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "harness/tap.h"
#include "integration/cli/command.h"

#define TIMEOUT_S 240 /* of emulated boots, on a busy machine */
#define GONE_MS	  3000
#define CREATE_MS 60000

/* `cove create -n box`. $T begins the names of a test's own files: the guest may be this host. */
static void box_create(void)
{
	_cleanup_(command_done) struct command c = { 0 };
	char variable[64];

	snprintf(variable, sizeof(variable), "T=/tmp/cove-%d", (int)getpid());
	COVE(&c, "create", "-n", "box", "-e", "STAGE=build", "-e", variable, "-w", "/tmp", IMAGE);
	CHECK_COMMAND(&c, 0, "box\n", "");
}

static void box_remove(void)
{
	_cleanup_(command_done) struct command c = { 0 };
	COVE(&c, "rm", "--force", "box");
	CHECK_COMMAND(&c, 0, "box\n", "");
	COVE(&c, "ls", "-aq");
	CHECK_COMMAND(&c, 0, "", "");
}

static void test_run(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	COVE(&c, "run", "-e", "A=1", "-w", "/tmp", IMAGE, "sh", "-c",
	     "echo $A; pwd; echo oops >&2; exit 7");
	CHECK_COMMAND(&c, 7, "1\n/tmp\n", "oops\n");
	CHECK_STR(c.err, "oops\n"); /* and nothing of ours */
	COVE(&c, "ls", "-aq");
	CHECK_COMMAND(&c, 0, "", "");
}

/* Every ending has its status, and a line where the status could mean several things. */
static void test_statuses(void)
{
	static const struct {
		const char *argv[8]; /* after "exec" and its name where the options are none */
		int status;
		const char *out;
		const char *err; /* part of it; "" for nothing at all */
	} cases[] = {
		{ { "box", "true" }, 0, "", "" },
		{ { "box", "sh", "-c", "exit 7" }, 7, "", "" },
		{ { "box", "sh", "-c", "exit 124" }, 124, "", "" },
		{ { "box", "sh", "-c", "exit 137" }, 137, "", "" },
		{ { "box", "sh", "-c", "exit 255" }, 255, "", "" },
		{ { "box", "sh", "-c", "kill -9 $$" }, 137, "", "ended by signal 9, SIGKILL" },
		{ { "box", "sh", "-c", "kill -TERM $$" }, 143, "", "ended by signal 15, SIGTERM" },
		{ { "--timeout", "300ms", "box", "sh", "-c", "echo so far; sleep 600" },
		  124,
		  "so far\n",
		  "killed at its timeout" },
		{ { "--output-limit", "10", "box", "sh", "-c", "echo 1234567890123; sleep 600" },
		  137,
		  NULL,
		  "wrote more than 10" },
		{ { "box", "/tmp" }, 126, "", "Permission denied [guest, at exec]" },
		{ { "box", "/etc/passwd" }, 126, "", "Permission denied [guest, at exec]" },
		{ { "box", "no-such-program" }, 127, "", "no-such-program" },
		{ { "box", "/no/such/program" }, 127, "", "[guest, at exec]" },
		{ { "box", "--cpus", "true" }, 127, "", "options of cove come before" },
		{ { "-w", "/no/such/dir", "box", "true" }, 125, "", "[guest, at cwd]" },
		{ { "-u", "no-such-user", "box", "true" }, 125, "", "[guest, at user]" },
		{ { "none", "true" }, 125, "", "no sandbox none" },
	};
	_cleanup_(command_done) struct command c = { 0 };

	box_create();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *argv[11] = { "cove", "exec" };
		memcpy(argv + 2, cases[i].argv, sizeof(cases[i].argv));
		tap_note("case %zu", i);
		command_run(&c, argv);
		CHECK_COMMAND(&c, cases[i].status, cases[i].out, cases[i].err);
		if (c.err_size) /* one line */
			CHECK(strchr(c.err, '\n') == c.err + c.err_size - 1);
	}
	box_remove();
}

/* All bytes come through, and a large amount of them. */
static void test_bytes(void)
{
	static const char script[] = "i=0; while [ $i -lt 256 ]; do"
				     " printf \"\\\\$(printf %03o $i)\"; i=$((i+1)); done";
	_cleanup_(command_done) struct command c = { 0 };
	char all[256];

	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	box_create();
	COVE(&c, "shell", "box", script);
	CHECK_COMMAND(&c, 0, NULL, "");
	CHECK_MEM(c.out, c.out_size, all, sizeof(all));

	COVE(&c, "shell", "box", "head -c 20000000 /dev/zero; head -c 1000000 /dev/zero >&2");
	CHECK_COMMAND(&c, 0, NULL, NULL);
	CHECK_INT(c.out_size, ==, 20000000);
	CHECK_INT(c.err_size, ==, 1000000);

	COMMAND(&c, "sh", "-c", "\"$1\" exec box echo >/dev/full", "sh",
		command_build_path("cove"));
	CHECK_COMMAND(&c, 125, "", "cannot write to stdout: No space left on device");

	COVE(&c, "exec", "--output-limit", "3", "--output-policy", "head", "box", "echo", "12345");
	CHECK_COMMAND(&c, 0, "123", "cut by --output-limit: the first 3 of 6 bytes");
	COVE(&c, "exec", "--output-limit", "3", "--output-policy", "tail", "box", "echo", "12345");
	CHECK_COMMAND(&c, 0, "45\n", "the last 3 of 6 bytes");
	box_remove();
}

static void test_surroundings(void)
{
	_cleanup_(command_done) struct command c = { 0 };
	const char *file = tap_path("env");

	CHECK_OK(fd_write_file_atomic(AT_FDCWD, file, "STAGE=file\nTWO=2\nGONE\n", 22, 0600));
	CHECK_SYS(setenv("HERE", "host", 1));
	CHECK_SYS(unsetenv("GONE"));
	box_create();
	COVE(&c, "shell", "box", "echo $STAGE; pwd");
	CHECK_COMMAND(&c, 0, "build\n/tmp\n", "");
	COVE(&c, "shell", "-w", "/", "-e", "STAGE=test", "-e", "HERE", "box",
	     "echo $STAGE $HERE; pwd");
	CHECK_COMMAND(&c, 0, "test host\n/\n", "");
	COVE(&c, "shell", "-e", "TWO=22", "--env-file", file, "box",
	     "echo $STAGE $TWO ${GONE-none}");
	CHECK_COMMAND(&c, 0, "file 22 none\n", "");
	COVE(&c, "exec", "-e", "A=1", "-e", "A=2", "box", "sh", "-c", "echo $A; env | grep -c ^A=");
	CHECK_COMMAND(&c, 0, "2\n1\n", "");
	COVE(&c, "exec", "--rlimit", "nofile=77:99", "box", "sh", "-c", "ulimit -n; ulimit -Hn");
	CHECK_COMMAND(&c, 0, "77\n99\n", "");
	COVE(&c, "exec", "box", "cat"); /* stdin is empty */
	CHECK_COMMAND(&c, 0, "", "");
	/* Arguments arrive as they are. */
	COVE(&c, "exec", "box", "printf", "[%s]", "-n", "--", "a b", "", "$HOME", "*");
	CHECK_COMMAND(&c, 0, "[-n][--][a b][][$HOME][*]", "");
	box_remove();
}

/* The same id runs once. */
static void test_id(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	box_create();
	for (int i = 0; i < 2; i++) {
		COVE(&c, "shell", "--id", "once", "box", "echo x >>$T-once; wc -l <$T-once");
		CHECK_COMMAND(&c, 0, "1\n", "");
	}
	COVE(&c, "shell", "box", "rm $T-once");
	CHECK_COMMAND(&c, 0, "", "");
	box_remove();
}

/* What a command leaves running. */
static void test_left_running(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	box_create();
	COVE(&c, "shell", "box", "sleep 600 & echo hi; exit 3");
	CHECK_COMMAND(&c, 3, "hi\n", "");
	COVE(&c, "shell", "--wait-eof", "box", "(sleep 0.2; echo late) & echo early");
	CHECK_COMMAND(&c, 0, "early\nlate\n", "");
	COVE(&c, "shell", "--kill-tree-on-exit", "--wait-eof", "box", "sleep 600 & echo hi");
	CHECK_COMMAND(&c, 0, "hi\n", "");
	box_remove();
}

static json_t *read_json(const struct command *c)
{
	json_error_t error;
	json_t *value = json_loadb(c->out, c->out_size, 0, &error);
	if (!value)
		tap_fail(__FILE__, __LINE__, "no JSON: %s: \"%.200s\"", error.text, c->out);
	return value;
}

static const char *string_of(const json_t *object, const char *field)
{
	const char *text = json_string_value(json_object_get(object, field));
	CHECK(text);
	return text;
}

/* create, ls, inspect, stop, rm: what each says at each time. */
static void test_life(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	box_create();
	COVE(&c, "create", "-n", "box", IMAGE);
	CHECK_COMMAND(&c, 125, "", "(`cove ls --all` lists the sandboxes)");

	COVE(&c, "ls", "-q");
	CHECK_COMMAND(&c, 0, "box\n", "");
	COVE(&c, "ls");
	CHECK_COMMAND(&c, 0, NULL, "");
	CHECK_CONTAINS(c.out, "NAME ");
	CHECK_CONTAINS(c.out, "\nbox   " IMAGE " ");
	CHECK_CONTAINS(c.out, "  running  1     512M    ");
	COVE(&c, "ls", "--json");
	CHECK_COMMAND(&c, 0, NULL, "");
	json_t *list = read_json(&c);
	CHECK_INT(json_array_size(list), ==, 1);
	CHECK_STR(string_of(json_array_get(list, 0), "name"), "box");
	json_decref(list);

	COVE(&c, "inspect", "box");
	CHECK_COMMAND(&c, 0, NULL, "");
	json_t *info = read_json(&c);
	CHECK_STR(string_of(info, "state"), "running");
	CHECK_STR(string_of(info, "image"), IMAGE);
	CHECK_STR(string_of(info, "hostname"), "box");
	CHECK_STR(string_of(info, "end_cause"), "none");
	CHECK(json_is_true(json_object_get(info, "detached")));
	CHECK(json_is_true(json_object_get(info, "persistent")));
	CHECK(json_is_null(json_object_get(info, "ended")));
	CHECK_INT(strlen(string_of(info, "created")), ==, strlen("2025-02-03T04:05:06.789Z"));
	pid_t supervisor = (pid_t)json_integer_value(json_object_get(info, "supervisor_pid"));
	CHECK_SYS(kill(supervisor, 0));
	json_decref(info);

	COVE(&c, "rm", "box");
	CHECK_COMMAND(&c, 125, "", "(--force kills it first)");
	COVE(&c, "stop", "-t", "1", "box");
	CHECK_COMMAND(&c, 0, "box\n", "");
	CHECK(tap_process_ends(supervisor, GONE_MS));
	COVE(&c, "stop", "box"); /* has ended: success */
	CHECK_COMMAND(&c, 0, "box\n", "");
	COVE(&c, "exec", "box", "true");
	CHECK_COMMAND(&c, 125, "", "cove: exec: ");
	COVE(&c, "ls", "-q");
	CHECK_COMMAND(&c, 0, "", "");
	COVE(&c, "ls", "-a");
	CHECK_CONTAINS(c.out, "ended (stopped)");
	COVE(&c, "inspect", "box");
	CHECK_COMMAND(&c, 0, NULL, "");
	info = read_json(&c);
	CHECK_STR(string_of(info, "state"), "ended");
	CHECK_STR(string_of(info, "end_cause"), "stopped");
	CHECK(json_is_string(json_object_get(info, "ended")));
	json_decref(info);

	COVE(&c, "rm", "none", "box");
	CHECK_COMMAND(&c, 125, "box\n", "no sandbox none");
	COVE(&c, "inspect", "box");
	CHECK_COMMAND(&c, 125, "", "no sandbox box");
}

/* stop -t 0 is at once, whatever runs. */
static void test_stop_now(void)
{
	_cleanup_(command_done) struct command exec = { 0 }, c = { 0 };

	box_create();
	command_start(&exec,
		      (const char *const[]){ "cove", "shell", "box",
					     "trap '' TERM; echo up >$T-up; sleep 600", NULL });
	COVE(&c, "shell", "box", "until [ -e $T-up ]; do sleep 0.01; done; rm $T-up");
	CHECK_COMMAND(&c, 0, "", "");
	COVE(&c, "stop", "-t", "0", "box");
	CHECK_COMMAND(&c, 0, "box\n", "");
	command_finish(&exec);
	CHECK_INT(exec.status, ==, 125); /* how the command ended nobody knows */
	CHECK_CONTAINS(exec.err, "cove: shell: ");
	box_remove();
}

static bool listed(void)
{
	struct command c = { 0 };
	COVE(&c, "ls", "-q");
	bool found = c.out_size > 0;
	command_done(&c);
	return found;
}

/* Whatever ends `cove run`, its sandbox ends too. */
static void check_run_ended_by(int signal)
{
	_cleanup_(command_done) struct command run = { 0 }, c = { 0 };

	command_start(&run, (const char *const[]){ "cove", "run", "-n", "box", IMAGE, "sleep",
						   "600", NULL });
	CHECK_WITHIN(listed(), CREATE_MS);
	CHECK_SYS(kill(run.pid, signal));
	command_finish(&run);
	CHECK_INT(run.status, ==, 128 + signal);
	CHECK_WITHIN(!listed(), GONE_MS);
	COVE(&c, "inspect", "box");
	CHECK_COMMAND(&c, 125, "", "no sandbox box");
}

static void test_interrupted(void)
{
	check_run_ended_by(SIGINT);
	check_run_ended_by(SIGTERM);
	check_run_ended_by(SIGKILL);
}

/* Nobody reads the output to its end: no message, and the sandbox goes. */
static void test_closed_pipe(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	COMMAND(&c, "sh", "-c", "\"$1\" run " IMAGE " seq 100000 | head -n 1", "sh",
		command_build_path("cove"));
	CHECK_COMMAND(&c, 0, "1\n", "");
	CHECK_WITHIN(!listed(), GONE_MS);

	/* Where SIGPIPE is ignored, too. */
	COMMAND(&c, "sh", "-c", "trap '' PIPE; \"$1\" run " IMAGE " seq 100000 | head -n 1", "sh",
		command_build_path("cove"));
	CHECK_COMMAND(&c, 0, "1\n", "");
	CHECK_WITHIN(!listed(), GONE_MS);
}

/* Refused with one line, at once, and nothing is left of it. */
static void test_bad_input(void)
{
	static const char *const cases[][7] = {
		{ "run", "no-such-image", "true" },
		{ "run", "No/Such", "true" },
		{ "run", "", "true" },
		{ "run", IMAGE },
		{ "run", "--cpus", "0", IMAGE, "true" },
		{ "run", "--cpus", "two", IMAGE, "true" },
		{ "run", "--memory", "1", IMAGE, "true" },
		{ "run", "--memory", "9999T", IMAGE, "true" },
		{ "run", "-n", "../up", IMAGE, "true" },
		{ "run", "-n", "UPPER", IMAGE, "true" },
		{ "run", "--hostname", "a b", IMAGE, "true" },
		{ "run", "--hostname", "", IMAGE, "true" },
		{ "run", "-w", "relative", IMAGE, "true" },
		{ "run", "-u", ":", IMAGE, "true" },
		{ "run", "-e", "=x", IMAGE, "true" },
		{ "run", "--env-file", "/no/such/file", IMAGE, "true" },
		{ "run", "--timeout", "-1", IMAGE, "true" },
		{ "run", "--rlimit", "nofile=2:1", IMAGE, "true" },
		{ "run", "--rlimit", "fish=1", IMAGE, "true" },
		{ "run", "--id", "a b", IMAGE, "true" },
		{ "run", "--shell", "sh", IMAGE, "true" },
		{ "run", "--tty", IMAGE, "true" },
		{ "create", "no-such-image" },
		{ "create", IMAGE, "true" },
		{ "exec", "no-such-box", "true" },
		{ "shell", "no-such-box", "true" },
		{ "exec", "../box", "true" },
		{ "inspect", "no-such-box" },
		{ "inspect", "../box" },
		{ "stop", "no-such-box" },
		{ "stop", "-t", "soon", "no-such-box" },
		{ "rm", "no-such-box" },
		{ "rm", "-f", "../box" },
	};
	_cleanup_(command_done) struct command c = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *argv[9] = { "cove" };
		memcpy(argv + 1, cases[i], sizeof(cases[i]));
		tap_note("cove %s %s %s", argv[1], argv[2], argv[3] ? argv[3] : "");
		command_run(&c, argv);
		CHECK_COMMAND(&c, 125, "", "cove: ");
		CHECK(strchr(c.err, '\n') == c.err + c.err_size - 1);
	}
	COVE(&c, "ls", "-aq");
	CHECK_COMMAND(&c, 0, "", "");
	COMMAND(&c, "find", tap_dir(), "-not", "-type", "d");
	CHECK_COMMAND(&c, 0, "", "");
}

/* The options of `cove image` reach the program that does it. */
static void test_images(void)
{
	_cleanup_(command_done) struct command c = { 0 };
	const char *folder = tap_path("root");

	CHECK_SYS(unsetenv("COVE_LIBEXEC_DIR")); /* it is beside cove */
	CHECK_OK(fd_mkdir_parents(tap_path("root/bin"), 0755));
	COVE(&c, "image", "rm", "none");
	CHECK_COMMAND(&c, 125, "", "cove: image rm: ");
	CHECK_CONTAINS(c.err, "none");
	COVE(&c, "image", "import", "own", "/no/such/source");
	CHECK_COMMAND(&c, 125, "", "/no/such/source");
	COVE(&c, "image", "import", "own", folder, "--size", "32M", "-e", "A=1", "-e",
	     "B=two words", "-w", "/bin", "--user=1000:1000", "--shell", "/bin/own");
	CHECK_COMMAND(&c, 0, "own\n", "");
	COVE(&c, "image", "import", "own", folder);
	CHECK_COMMAND(&c, 125, "", "own");
	COVE(&c, "image", "ls");
	CHECK_CONTAINS(c.out, "\nown ");
	COVE(&c, "image", "inspect", "--json", "own");
	CHECK_COMMAND(&c, 0, NULL, "");
	json_t *image = read_json(&c), *config = json_object_get(image, "config");
	CHECK_INT(json_integer_value(json_object_get(image, "disk_bytes")), ==, 32 << 20);
	CHECK_STR(string_of(config, "WorkingDir"), "/bin");
	CHECK_STR(string_of(config, "User"), "1000:1000");
	CHECK_STR(string_of(config, "Shell"), "/bin/own");
	json_t *env = json_object_get(config, "Env");
	CHECK_INT(json_array_size(env), ==, 2);
	CHECK_STR(json_string_value(json_array_get(env, 1)), "B=two words");
	json_decref(image);

	COVE(&c, "image", "import", "--replace", "own", folder);
	CHECK_COMMAND(&c, 0, "own\n", "");
	COVE(&c, "image", "ls", "--json");
	CHECK_COMMAND(&c, 0, NULL, "");
	json_decref(read_json(&c));
	COVE(&c, "image", "rm", "own");
	CHECK_COMMAND(&c, 0, "own\n", "");
	COVE(&c, "image", "inspect", "own");
	CHECK_COMMAND(&c, 125, "", "own");
}

static const struct tap_test tests[] = {
	{ "bad input", test_bad_input, .timeout_s = TIMEOUT_S },
	{ "images", test_images, .timeout_s = TIMEOUT_S },
	{ "run", test_run, .timeout_s = TIMEOUT_S },
	{ "exit statuses", test_statuses, .timeout_s = TIMEOUT_S },
	{ "bytes", test_bytes, .timeout_s = TIMEOUT_S },
	{ "surroundings", test_surroundings, .timeout_s = TIMEOUT_S },
	{ "an id runs once", test_id, .timeout_s = TIMEOUT_S },
	{ "what is left running", test_left_running, .timeout_s = TIMEOUT_S },
	{ "the life of a sandbox", test_life, .timeout_s = TIMEOUT_S },
	{ "stop at once", test_stop_now, .timeout_s = TIMEOUT_S },
	{ "run is interrupted", test_interrupted, .timeout_s = TIMEOUT_S },
	{ "nobody reads", test_closed_pipe, .timeout_s = TIMEOUT_S },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
