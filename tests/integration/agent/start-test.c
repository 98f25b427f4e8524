/* SPDX-License-Identifier: Apache-2.0 */
/* Starting commands: what they get, and every way in which it fails. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "cove/cove.h"
#include "harness/agent-client.h"
#include "harness/tap.h"

#define ARGV(...)                                                                                  \
	(const char *[])                                                                           \
	{                                                                                          \
		__VA_ARGS__, NULL                                                                  \
	}

static const char *make_file(const char *name, const char *text, mode_t mode)
{
	const char *path = tap_path("%s", name);
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, path, text, strlen(text), mode));
	CHECK_SYS(chmod(path, mode));
	return path;
}

static void check_output(struct agent_stream *s, const char *text)
{
	CHECK_STR(s->out[0].data ? (const char *)s->out[0].data : "", text);
}

/* ---- what a command gets ---- */

static void test_arguments(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_stream *s = agent_run(
		c, ARGV("printf", "[%s]", "a", "", "b c", "$HOME", "\xff\x01*", "-n"), NULL);
	agent_wait_end(s);
	check_output(s, "[a][][b c][$HOME][\xff\x01*][-n]");
	CHECK_INT(s->cause, ==, COVE_CAUSE_EXITED);
	CHECK_INT(s->code, ==, 0);
	CHECK_INT(s->pid, >, 1);
	CHECK(s->out[0].eof && s->out[1].eof);
	agent_client_stop(c);
}

static void test_environment(void)
{
	struct agent_client *c = agent_client_start(NULL);
	Cove__Wire__Start start = COVE__WIRE__START__INIT;
	ProtobufCBinaryData image[] = { wire_string("A=image"), wire_string("B=image"),
					wire_string("C=image"), wire_string("D=image") };
	ProtobufCBinaryData sandbox[] = { wire_string("B=sandbox"), wire_string("C=sandbox"),
					  wire_string("D") };
	start.image_env = image;
	start.n_image_env = ARRAY_SIZE(image);
	start.sandbox_env = sandbox;
	start.n_sandbox_env = ARRAY_SIZE(sandbox);
	struct agent_stream *started = agent_open(c, WIRE_START, &start.base);
	AGENT_UNTIL(c, started->ready);
	CHECK(started->kernel && started->kernel[0]);

	struct agent_run run = { .env = ARGV("C=call", "E=x=y", "LOGNAME", "F=") };
	struct agent_stream *s = agent_run(c, ARGV("env"), &run);
	agent_wait_end(s);
	const char *text = (const char *)s->out[0].data;
	CHECK_CONTAINS(text, "A=image\n");
	CHECK_CONTAINS(text, "B=sandbox\n");
	CHECK_CONTAINS(text, "C=call\n");
	CHECK(!strstr(text, "D="));
	CHECK_CONTAINS(text, "E=x=y\n");
	CHECK_CONTAINS(text, "F=\n");
	CHECK(!strstr(text, "LOGNAME="));
	CHECK(!strstr(text, "TERM="));
	CHECK(!strstr(text, "COVE_")); /* nothing of the agent's own */
	if (geteuid() == 0)
		CHECK_CONTAINS(text, "USER=root\n");
	CHECK_CONTAINS(text, "HOME=/");
	CHECK_CONTAINS(text, "SHELL=/");
	CHECK_CONTAINS(text, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n");

	/* A second START is refused. */
	started = agent_open(c, WIRE_START, &start.base);
	AGENT_UNTIL(c, started->not_ready);
	CHECK_INT(started->error.code, ==, COVE_E_STATE);
	agent_client_stop(c);
}

static void test_large_environment(void)
{
	enum { N = 1024, SIZE = 1024 };
	struct agent_client *c = agent_client_start(NULL);
	static char text[N][SIZE];
	static const char *env[N + 1];
	for (int i = 0; i < N; i++) {
		int n = snprintf(text[i], SIZE, "KEY%d=", i);
		memset(text[i] + n, 'v', (size_t)(SIZE - 1 - n));
		env[i] = text[i];
	}
	struct agent_run run = { .env = env };
	struct agent_stream *s = agent_do(c, "env | grep -c ^KEY; env | wc -c", &run);
	CHECK_INT(s->code, ==, 0);
	int keys, bytes;
	CHECK_INT(sscanf((char *)s->out[0].data, "%d %d", &keys, &bytes), ==, 2);
	CHECK_INT(keys, ==, N);
	CHECK_INT(bytes, >, N * SIZE - 1);
	agent_client_stop(c);
}

static void test_path(void)
{
	struct agent_client *c = agent_client_start(NULL);
	const char *dir = tap_path("bin");
	CHECK_SYS(mkdir(dir, 0755));
	make_file("bin/tool", "#!/bin/sh\necho tool of mine\n", 0755);
	char path[300];
	snprintf(path, sizeof(path), "PATH=/nonexistent:%s:/bin:/usr/bin", dir);
	struct agent_run run = { .env = ARGV(path) };
	struct agent_stream *s = agent_run(c, ARGV("tool"), &run);
	agent_wait_end(s);
	check_output(s, "tool of mine\n");

	/* An element that may not be entered, and files without an x bit, are passed over, but then
	   the answer is EACCES. */
	make_file("bin/plain", "text", 0644);
	s = agent_run(c, ARGV("plain"), &run);
	agent_wait_failed(s);
	CHECK_INT(s->error.os_errno, ==, EACCES);
	CHECK_CONTAINS(s->error.message, tap_path("bin/plain"));

	/* Without PATH there is nowhere to look; an empty element is the working directory. */
	run.env = ARGV("PATH");
	s = agent_run(c, ARGV("true"), &run);
	agent_wait_failed(s);
	CHECK_INT(s->error.os_errno, ==, ENOENT);
	run.env = ARGV("PATH=/nonexistent:");
	run.cwd = dir;
	s = agent_run(c, ARGV("tool"), &run);
	agent_wait_end(s);
	check_output(s, "tool of mine\n");

	/* No shell for what the kernel cannot execute. */
	make_file("bin/noexec", "echo hi\n", 0755);
	s = agent_run(c, ARGV("./noexec"), &run);
	agent_wait_failed(s);
	CHECK_INT(s->error.os_errno, ==, ENOEXEC);
	agent_client_stop(c);
}

static void test_shell_and_cwd(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .shell = true, .cwd = tap_dir() };
	struct agent_stream *s = agent_run(c, ARGV("echo $0,$1,$#; pwd", "zero", "one"), &run);
	agent_wait_end(s);
	char expected[200];
	snprintf(expected, sizeof(expected), "zero,one,1\n%s\n", tap_dir());
	check_output(s, expected);
	agent_client_stop(c);
}

/* The sandbox's shell alone reads commands from its stdin; on a terminal it is interactive. */
static void test_shell_alone(void)
{
	struct agent_client *c = agent_client_start(NULL);
	static const char script[] =
		"echo $0,$#; case $- in *i*) echo inter''active;; esac; exit 3\n";
	const char *const none[] = { NULL };
	struct agent_run run = {
		.shell = true, .pipe = true, .in = script, .in_size = sizeof(script) - 1
	};
	struct agent_stream *s = agent_run(c, none, &run);
	agent_wait_end(s);
	check_output(s, "/bin/sh,0\n");
	CHECK_INT(s->code, ==, 3);
	const Cove__Wire__Session *listed = agent_listed(agent_list(c), s->session);
	CHECK_INT(listed->n_argv, ==, 1);

	run.tty = true;
	s = agent_run(c, none, &run);
	agent_wait_end(s);
	CHECK_CONTAINS((char *)s->out[0].data, "/bin/sh,0\r\ninteractive\r\n");
	CHECK_INT(s->code, ==, 3);

	/* The one that START named. */
	Cove__Wire__Start start = COVE__WIRE__START__INIT;
	const char *shell = make_file("shell", "#!/bin/sh\necho mine,$0,$#\n", 0755);
	start.has_shell = true;
	start.shell = wire_string(shell);
	struct agent_stream *started = agent_open(c, WIRE_START, &start.base);
	AGENT_UNTIL(c, started->ready);
	run.tty = false;
	s = agent_run(c, none, &run);
	agent_wait_end(s);
	char expected[200];
	snprintf(expected, sizeof(expected), "mine,%s,0\n", shell);
	check_output(s, expected);

	/* No command and no shell is nothing to run. */
	s = agent_run(c, none, NULL);
	agent_wait_failed(s);
	CHECK_INT(s->error.os_errno, ==, EINVAL);
	CHECK_INT(s->error.stage, ==, COVE_STAGE_REQUEST);
	agent_client_stop(c);
}

static void test_clean_process(void)
{
	struct agent_client *c = agent_client_start(NULL);
	/* The agent got SIGUSR1 ignored; the command gets nothing ignored, blocked or left open. */
	struct agent_stream *s = agent_run(c, ARGV("cat", "/proc/self/status"), NULL);
	agent_wait_end(s);
	CHECK_CONTAINS((char *)s->out[0].data,
		       "SigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\n"
		       "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
		       "SigCgt:\t0000000000000000\n");

	s = agent_do(c, "ls /proc/self/fd | tr '\\n' ' '; umask", NULL);
	check_output(s, "0 1 2 3 0022\n"); /* 3 is the folder that ls reads */

	s = agent_do(c, "set -- $(cat /proc/$$/stat); echo $1 $5 $6", NULL);
	int pid, group, session;
	CHECK_INT(sscanf((char *)s->out[0].data, "%d %d %d", &pid, &group, &session), ==, 3);
	CHECK_INT(pid, ==, s->pid);
	CHECK_INT(group, ==, pid);
	CHECK_INT(session, ==, pid);

	s = agent_do(c, "ulimit -n; ulimit -Hn", NULL);
	CHECK_INT(atoi((char *)s->out[0].data), ==, 1024);
	agent_client_stop(c);
}

static void test_stdin_is_null(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_stream *s = agent_run(c, ARGV("cat"), NULL);
	agent_wait_end(s);
	CHECK_INT(s->code, ==, 0);
	CHECK_INT(s->totals[0], ==, 0);
	s = agent_do(c, "readlink /proc/self/fd/0", NULL);
	check_output(s, "/dev/null\n");
	agent_client_stop(c);
}

static void test_rlimits(void)
{
	struct agent_client *c = agent_client_start(NULL);
	Cove__Wire__Rlimit limits[] = { COVE__WIRE__RLIMIT__INIT, COVE__WIRE__RLIMIT__INIT,
					COVE__WIRE__RLIMIT__INIT };
	limits[0].resource = RLIMIT_NOFILE;
	limits[0].soft = 100;
	limits[0].hard = 200;
	limits[1].resource = RLIMIT_CORE;
	limits[1].soft = 0;
	limits[1].hard = UINT64_MAX;
	limits[2].resource = RLIMIT_CPU;
	limits[2].soft = 7;
	limits[2].hard = 9;
	struct agent_run run = { .rlimits = limits, .n_rlimits = 3 };
	struct agent_stream *s = agent_do(
		c, "ulimit -n; ulimit -Hn; ulimit -c; ulimit -Hc; ulimit -t; ulimit -Ht", &run);
	check_output(s, "100\n200\n0\nunlimited\n7\n9\n");
	agent_client_stop(c);
}

static void test_users(void)
{
	if (geteuid() != 0) {
		tap_note("needs root");
		return;
	}
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .user = "nobody" };
	struct agent_stream *s =
		agent_do(c, "id -u; id -un; echo $HOME $USER; echo x >/dev/stderr", &run);
	check_output(s, "65534\nnobody\n/nonexistent nobody\n");
	CHECK_INT(s->totals[1], ==, 2); /* the pipe can be opened by name */

	run.user = "12345:54321";
	s = agent_do(c, "id -u; id -g; id -G; echo $HOME,$USER", &run);
	check_output(s, "12345\n54321\n54321\n/,\n");
	run.user = "12345";
	s = agent_do(c, "id -u; id -g", &run);
	check_output(s, "12345\n0\n");
	run.user = ":daemon";
	s = agent_do(c, "id -u; id -gn", &run);
	check_output(s, "0\ndaemon\n");
	run.user = "root:1";
	s = agent_do(c, "id -u; id -g; grep ^CapEff /proc/self/status", &run);
	CHECK_CONTAINS((char *)s->out[0].data, "0\n1\nCapEff:\t");
	run.user = "65534";
	s = agent_do(c, "id -un; grep ^CapEff /proc/self/status", &run);
	check_output(s, "nobody\nCapEff:\t0000000000000000\n");
	agent_client_stop(c);
}

/* ---- failures ---- */

struct failure {
	const char *what;
	const char *const *argv;
	struct agent_run run;
	int stage;
	int os_errno;
	const char *text; /* must be named */
};

static void check_failure(struct agent_client *c, const struct failure *f)
{
	struct agent_stream *s = agent_run(c, f->argv, &f->run);
	agent_wait_failed(s);
	if (s->error.stage != f->stage || s->error.os_errno != f->os_errno ||
	    !strstr(s->error.message, f->text))
		tap_fail(__FILE__, __LINE__, "%s: stage %d errno %d: %s", f->what, s->error.stage,
			 s->error.os_errno, s->error.message);
	CHECK_INT(s->error.origin, ==, COVE_ORIGIN_GUEST);
	agent_close(s);
}

static char long_argument[140000];
static const char *long_environment[25];

static void check_failures(struct agent_client *c, unsigned rounds)
{
	static Cove__Wire__Rlimit above = COVE__WIRE__RLIMIT__INIT,
				  unknown = COVE__WIRE__RLIMIT__INIT,
				  too_much = COVE__WIRE__RLIMIT__INIT;
	above.resource = RLIMIT_NOFILE;
	above.soft = 2;
	above.hard = 1;
	unknown.resource = 77;
	too_much.resource = RLIMIT_NOFILE;
	too_much.soft = too_much.hard = UINT64_MAX;
	memset(long_argument, 'a', sizeof(long_argument) - 1);
	static char variable[120000];
	memset(variable, 'v', sizeof(variable) - 1);
	memcpy(variable, "V=", 2);
	/* Different keys, or only one of them would be left. */
	static char variables[24][120000];
	for (size_t i = 0; i < ARRAY_SIZE(variables); i++) {
		memcpy(variables[i], variable, sizeof(variable));
		variables[i][0] = (char)('A' + i);
		long_environment[i] = variables[i];
	}

	make_file("plain", "text", 0644);
	make_file("garbage", "\177ELFnonsense", 0755);
	make_file("orphan", "#!/no/such/interpreter\n", 0755);
	_cleanup_free_ char *dir = strdup(tap_dir()), *plain = strdup(tap_path("plain")),
			    *garbage = strdup(tap_path("garbage")),
			    *orphan = strdup(tap_path("orphan"));

	const struct failure list[] = {
		{ "missing file",
		  ARGV("/no/such/file"),
		  {},
		  COVE_STAGE_EXEC,
		  ENOENT,
		  "'/no/such/file'" },
		{ "not in PATH",
		  ARGV("no-such-file"),
		  {},
		  COVE_STAGE_EXEC,
		  ENOENT,
		  "'no-such-file' in PATH '/usr/local/sbin" },
		{ "empty name", ARGV(""), {}, COVE_STAGE_EXEC, ENOENT, "''" },
		{ "a folder", ARGV(dir), {}, COVE_STAGE_EXEC, EACCES, dir },
		{ "below a file", ARGV("/etc/passwd/x"), {}, COVE_STAGE_EXEC, ENOTDIR, "passwd/x" },
		{ "no x bit", ARGV(plain), {}, COVE_STAGE_EXEC, EACCES, plain },
		{ "bad ELF", ARGV(garbage), {}, COVE_STAGE_EXEC, ENOEXEC, garbage },
		{ "missing interpreter", ARGV(orphan), {}, COVE_STAGE_EXEC, ENOENT, "interpreter" },
		{ "long argument",
		  ARGV("true", long_argument),
		  {},
		  COVE_STAGE_EXEC,
		  E2BIG,
		  "'true'" },
		{ "long environment",
		  ARGV("true"),
		  { .env = long_environment },
		  COVE_STAGE_EXEC,
		  E2BIG,
		  "'true'" },
		{ "cwd missing",
		  ARGV("true"),
		  { .cwd = "/no/such" },
		  COVE_STAGE_CWD,
		  ENOENT,
		  "'/no/such'" },
		{ "cwd a file", ARGV("true"), { .cwd = plain }, COVE_STAGE_CWD, ENOTDIR, plain },
		{ "cwd relative", ARGV("true"), { .cwd = "tmp" }, COVE_STAGE_CWD, EINVAL, "'tmp'" },
		{ "unknown user",
		  ARGV("true"),
		  { .user = "nosuchuser" },
		  COVE_STAGE_USER,
		  ENOENT,
		  "'nosuchuser'" },
		{ "unknown group",
		  ARGV("true"),
		  { .user = "root:nosuchgroup" },
		  COVE_STAGE_GROUP,
		  ENOENT,
		  "'nosuchgroup'" },
		{ "empty group",
		  ARGV("true"),
		  { .user = "root:" },
		  COVE_STAGE_USER,
		  EINVAL,
		  "'root:'" },
		{ "soft above hard",
		  ARGV("true"),
		  { .rlimits = &above, .n_rlimits = 1 },
		  COVE_STAGE_RLIMIT,
		  EINVAL,
		  "soft limit above" },
		{ "unknown resource",
		  ARGV("true"),
		  { .rlimits = &unknown, .n_rlimits = 1 },
		  COVE_STAGE_RLIMIT,
		  EINVAL,
		  "77" },
		{ "rlimit refused",
		  ARGV("true"),
		  { .rlimits = &too_much, .n_rlimits = 1 },
		  COVE_STAGE_RLIMIT,
		  EPERM,
		  "nofile" },
		{ "no command",
		  (const char *[]){ NULL },
		  {},
		  COVE_STAGE_REQUEST,
		  EINVAL,
		  "no command" },
		{ "bad id", ARGV("true"), { .id = "no spaces" }, COVE_STAGE_REQUEST, EINVAL, "id" },
		{ "bad timeout signal",
		  ARGV("true"),
		  { .timeout_signal = 65 },
		  COVE_STAGE_REQUEST,
		  EINVAL,
		  "signal" },
		{ "large ring",
		  ARGV("true"),
		  { .replay_bytes = 1ull << 40 },
		  COVE_STAGE_REQUEST,
		  EINVAL,
		  "ring" },
		{ "terminal size",
		  ARGV("true"),
		  { .tty = true, .rows = 70000, .cols = 1 },
		  COVE_STAGE_REQUEST,
		  EINVAL,
		  "size" },
		{ "missing, on a terminal",
		  ARGV("/no/such/file"),
		  { .tty = true },
		  COVE_STAGE_EXEC,
		  ENOENT,
		  "no/such" },
		{ "missing, with a pipe",
		  ARGV("/no/such/file"),
		  { .pipe = true, .open = true },
		  COVE_STAGE_EXEC,
		  ENOENT,
		  "no/such" },
	};
	for (unsigned i = 0; i < rounds; i++)
		for (size_t k = 0; k < ARRAY_SIZE(list); k++)
			check_failure(c, &list[k]);
}

static void test_failures(void)
{
	struct agent_client *c = agent_client_start(agent_cgroup());
	check_failures(c, 1);

	/* No other outcome of a command is like it. */
	struct agent_stream *s = agent_do(c, "exit 127", NULL);
	CHECK_INT(s->code, ==, 127);
	CHECK_INT(s->cause, ==, COVE_CAUSE_EXITED);
	agent_client_stop(c);
}

/* The other way to make a process does the same. */
static void test_without_clone3(void)
{
	const char *cgroup = agent_cgroup();
	struct agent_client *c = agent_client_start_without(cgroup, SYS_clone3);
	check_failures(c, 1);
	struct agent_stream *s = agent_do(c, "cat /proc/self/cgroup; exit 3", NULL);
	CHECK_INT(s->code, ==, 3);
	if (cgroup)
		CHECK_CONTAINS((char *)s->out[0].data, "/cove-test-");
	s = agent_sh(c, "setsid sleep 60 & sleep 60", NULL);
	agent_wait_started(s);
	CHECK_INT(agent_kill(s), ==, 0);
	CHECK_INT(agent_count_children(c), ==, 0);
	agent_client_stop(c);
}

/* A process limit is checked when the user is left behind by execve. */
static void test_process_limit(void)
{
	if (geteuid() != 0) {
		tap_note("needs root");
		return;
	}
	struct agent_client *c = agent_client_start(NULL);
	Cove__Wire__Rlimit limit = COVE__WIRE__RLIMIT__INIT;
	limit.resource = RLIMIT_NPROC;
	/* There is one already, and there may be none. */
	struct agent_stream *one =
		agent_run(c, ARGV("sleep", "60"), &(struct agent_run){ .user = "12399" });
	agent_wait_started(one);
	limit.soft = limit.hard = 0;
	struct failure f = { "process limit",
			     ARGV("true"),
			     { .user = "12399", .rlimits = &limit, .n_rlimits = 1 },
			     COVE_STAGE_EXEC,
			     EAGAIN,
			     "true" };
	check_failure(c, &f);
	agent_client_stop(c);
}

static void test_no_descriptors(void)
{
	struct agent_client *c = agent_client_start(NULL);
	agent_wait_end(agent_run(c, ARGV("true"), NULL));
	struct rlimit few = { 72, 72 };
	CHECK_SYS(prlimit(agent_client_pid(c), RLIMIT_NOFILE, &few, NULL));
	struct failure f = { "no descriptors", ARGV("true"), {},
			     COVE_STAGE_STDIO, EMFILE,	     "descriptors" };
	for (int i = 0; i < 100; i++)
		check_failure(c, &f);
	f.run.tty = true;
	check_failure(c, &f);
	agent_client_stop(c);
}

static void test_nul_and_junk(void)
{
	struct agent_client *c = agent_client_start(NULL);
	Cove__Wire__Exec m = COVE__WIRE__EXEC__INIT;
	ProtobufCBinaryData nul[] = { wire_bytes("a\0b", 3) }, plain[] = { wire_string("true") };
	m.argv = nul;
	m.n_argv = 1;
	struct agent_stream *s = agent_open(c, WIRE_EXEC, &m.base);
	agent_wait_failed(s);
	CHECK_INT(s->error.stage, ==, COVE_STAGE_REQUEST);
	CHECK_INT(s->error.os_errno, ==, EINVAL);

	m.argv = plain;
	m.env = nul;
	m.n_env = 1;
	s = agent_open(c, WIRE_EXEC, &m.base);
	agent_wait_failed(s);
	CHECK_INT(s->error.stage, ==, COVE_STAGE_REQUEST);

	m.n_env = 0;
	m.has_cwd = true;
	m.cwd = wire_bytes("/\0x", 3);
	s = agent_open(c, WIRE_EXEC, &m.base);
	agent_wait_failed(s);
	CHECK_INT(s->error.stage, ==, COVE_STAGE_CWD);

	s = agent_open_raw(c, WIRE_EXEC, "\xff\xff\xff\xff", 4);
	agent_wait_failed(s);
	CHECK_INT(s->error.code, ==, COVE_E_PROTOCOL);
	agent_client_stop(c);
}

static void test_no_leaks(void)
{
	struct agent_client *c = agent_client_start(agent_cgroup());
	check_failures(c, 1);
	agent_wait_end(agent_run(c, ARGV("true"), NULL));
	agent_client_idle(c, 50);
	unsigned fds = agent_count_fds(c);
	size_t rss = agent_rss_bytes(c);
	check_failures(c, 80); /* some two thousand */
	CHECK_INT(agent_count_fds(c), ==, fds);
	CHECK_INT(agent_count_children(c), ==, 0);
	CHECK_RSS_BELOW(c, rss + 8 * 1024 * 1024);
	agent_client_stop(c); /* and no cgroup is left, or it could not be removed */
}

static const struct tap_test tests[] = {
	{ "arguments", test_arguments },
	{ "environment", test_environment },
	{ "large environment", test_large_environment },
	{ "PATH", test_path },
	{ "shell and cwd", test_shell_and_cwd },
	{ "shell alone", test_shell_alone },
	{ "clean process", test_clean_process },
	{ "stdin is /dev/null", test_stdin_is_null },
	{ "rlimits", test_rlimits },
	{ "users", test_users },
	{ "failures", test_failures },
	{ "without clone3", test_without_clone3 },
	{ "process limit", test_process_limit },
	{ "no descriptors", test_no_descriptors },
	{ "NULs and junk", test_nul_and_junk },
	{ "no leaks", test_no_leaks, .timeout_s = 60 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
