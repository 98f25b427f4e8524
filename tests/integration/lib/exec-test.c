/* SPDX-License-Identifier: Apache-2.0 */

/* Commands through every layer but the virtual machine. */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "box.h"
#include "harness/tap.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define BULK (10u << 20)
#else
#define BULK (100u << 20)
#endif

/* ---- ends ---- */

static void test_plain(void)
{
	cove_sandbox *s = box_create("a", NULL);
	cove_output *out = box_exec(s, ARGV("echo", "hello", ""), NULL);
	CHECK_STR(out->stdout_data, "hello \n");
	CHECK_INT(out->stdout_total, ==, 7);
	CHECK(cove_exit_success(&out->exit));
	CHECK_INT(out->pid, >, 0);
	CHECK_INT(strlen(out->id), >, 0);
	CHECK_INT(out->exit.elapsed_ns, >, 0);
	CHECK_INT(out->exit.ended_ns, >=, out->exit.started_ns);
	CHECK_INT(out->exit.max_rss_bytes, >, 0);
	CHECK(!out->limited);
	cove_output_free(out);

	out = box_shell(s, "echo out; echo err >&2; exit 3", NULL);
	CHECK_STR(out->stdout_data, "out\n");
	CHECK_STR(out->stderr_data, "err\n");
	CHECK_INT(out->exit.code, ==, 3);
	CHECK(!cove_exit_success(&out->exit));
	cove_output_free(out);
	box_stop(s);
}

/* They must not look alike. */
static void test_causes(void)
{
	static const struct {
		const char *script;
		enum cove_cause cause;
		int code, signal;
	} cases[] = {
		{ "exit 0", COVE_CAUSE_EXITED, 0, 0 },
		{ "exit 137", COVE_CAUSE_EXITED, 137, 0 },
		{ "exit 124", COVE_CAUSE_EXITED, 124, 0 },
		{ "exit 255", COVE_CAUSE_EXITED, 255, 0 },
		{ "kill -9 $$", COVE_CAUSE_SIGNALED, 137, SIGKILL },
		{ "kill -15 $$", COVE_CAUSE_SIGNALED, 143, SIGTERM },
	};
	cove_sandbox *s = box_create("a", NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		cove_output *out = box_shell(s, cases[i].script, NULL);
		CHECK_INT(out->exit.cause, ==, cases[i].cause);
		CHECK_INT(out->exit.code, ==, cases[i].code);
		CHECK_INT(out->exit.signal, ==, cases[i].signal);
		cove_output_free(out);
	}

	cove_output *out =
		box_shell(s, "while :; do echo 0123456789; done",
			  EXEC(.output_limit_bytes = 100000, .output_policy = COVE_OUTPUT_KILL));
	CHECK_INT(out->exit.cause, ==, COVE_CAUSE_OUTPUT_LIMIT);
	CHECK_INT(out->stdout_bytes + out->stderr_bytes, <=, 100000);
	CHECK_INT(out->stdout_total, >, 100000);
	CHECK(out->limited);
	cove_output_free(out);
	box_stop(s);
}

static void test_timeout(void)
{
	cove_sandbox *s = box_create("a", NULL);
	struct cove_error err = COVE_ERROR_INIT;
	cove_output *out = NULL;
	uint64_t begin = clock_monotonic_ms();
	CHECK_INT(cove_shell(s, "echo before; sleep 100 & trap '' TERM; sleep 100; echo after",
			     EXEC(.timeout_ms = 300), &out, &err),
		  ==, COVE_E_TIMEOUT);
	CHECK_INT(clock_monotonic_ms() - begin, >=, 300);
	CHECK_INT(clock_monotonic_ms() - begin, <, 1300);
	CHECK_CONTAINS(err.message, "300 ms");
	CHECK(out);
	CHECK_INT(out->exit.cause, ==, COVE_CAUSE_TIMED_OUT);
	CHECK_STR(out->stdout_data, "before\n");
	cove_output_free(out);

	/* A signal first, and time to clean up. */
	out = NULL;
	CHECK_INT(cove_shell(s, "trap 'echo bye; exit 7' TERM; while :; do sleep 0.05; done",
			     EXEC(.timeout_ms = 300, .timeout_signal = SIGTERM,
				  .timeout_grace_ms = 20000),
			     &out, &err),
		  ==, COVE_E_TIMEOUT);
	CHECK_STR(out->stdout_data, "bye\n");
	CHECK_INT(out->exit.cause, ==, COVE_CAUSE_TIMED_OUT);
	CHECK_INT(clock_monotonic_ms() - begin, <, 10000);
	cove_output_free(out);
	box_prints(s, "echo fine", EXEC(.timeout_ms = 30000), "fine\n");
	box_stop(s);
}

static void test_background(void)
{
	cove_sandbox *s = box_create("a", NULL);
	uint64_t begin = clock_monotonic_ms();
	cove_output *out = box_shell(s, "sleep 600 & echo hi; exit 3", NULL);
	CHECK_INT(clock_monotonic_ms() - begin, <, 5000);
	CHECK_STR(out->stdout_data, "hi\n");
	CHECK_INT(out->exit.code, ==, 3);
	cove_output_free(out);

	box_prints(s, "(sleep 0.3; echo late) & echo now", EXEC(.wait_eof = true), "now\nlate\n");
	box_prints(s, "(sleep 20; echo late) & echo now", NULL, "now\n");

	char script[256];
	snprintf(script, sizeof(script), "sleep 600 & echo $! >%s", tap_path("pid"));
	box_prints(s, script, EXEC(.kill_tree_on_exit = true), "");
	snprintf(script, sizeof(script),
		 "p=$(cat %s); i=0; while kill -0 $p 2>/dev/null; do "
		 "i=$((i+1)); [ $i -gt 100 ] && exit 1; sleep 0.03; done; echo gone",
		 tap_path("pid"));
	box_prints(s, script, NULL, "gone\n");
	box_stop(s);
}

/* ---- starts ---- */

static void start_fails(cove_sandbox *s, const char *const *argv,
			const struct cove_exec_options *options, int stage, int os_errno)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_output *out = NULL;
	CHECK_INT(cove_exec(s, argv, options, &out, &err), ==, COVE_E_START);
	tap_note("%s", err.message);
	CHECK_INT(err.stage, ==, stage);
	CHECK_INT(err.os_errno, ==, os_errno);
	CHECK_INT(err.origin, ==, COVE_ORIGIN_GUEST);
	CHECK(!out);
}

static void test_start_failures(void)
{
	static const char elf[] = "\177ELF and then nothing of the kind";
	cove_sandbox *s = box_create("a", NULL);
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, tap_path("plain"), "x", 1, 0644));
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, tap_path("elf"), elf, sizeof(elf), 0755));
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, tap_path("script"), "#!/no/such\n", 11, 0755));

	start_fails(s, ARGV("no-such-command"), NULL, COVE_STAGE_EXEC, ENOENT);
	start_fails(s, ARGV("/no/such/command"), NULL, COVE_STAGE_EXEC, ENOENT);
	start_fails(s, ARGV(""), NULL, COVE_STAGE_EXEC, ENOENT);
	start_fails(s, ARGV(tap_dir()), NULL, COVE_STAGE_EXEC, EACCES);
	start_fails(s, ARGV(tap_path("plain")), NULL, COVE_STAGE_EXEC, EACCES);
	start_fails(s, ARGV(tap_path("elf")), NULL, COVE_STAGE_EXEC, ENOEXEC);
	start_fails(s, ARGV(tap_path("script")), NULL, COVE_STAGE_EXEC, ENOENT);
	start_fails(s, ARGV("true"), EXEC(.cwd = "/no/such/folder"), COVE_STAGE_CWD, ENOENT);
	start_fails(s, ARGV("true"), EXEC(.cwd = tap_path("plain")), COVE_STAGE_CWD, ENOTDIR);
	start_fails(s, ARGV("true"), EXEC(.user = "no-such-user"), COVE_STAGE_USER, ENOENT);
	start_fails(s, ARGV("true"), EXEC(.user = "root:no-such-group"), COVE_STAGE_GROUP, ENOENT);

	/* One argument longer than the kernel takes. */
	_cleanup_free_ char *longest = malloc(200001);
	memset(longest, 'x', 200000);
	longest[200000] = 0;
	start_fails(s, ARGV("true", longest), NULL, COVE_STAGE_EXEC, E2BIG);

	box_prints(s, "echo fine", NULL, "fine\n");
	box_stop(s);
}

static void test_no_shell(void)
{
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	options.shell = "/no/shell";
	cove_sandbox *s = box_create("a", &options);
	box_shell_fails(s, "true", COVE_E_START, "/no/shell");
	cove_output_free(box_exec(s, ARGV("true"), NULL));
	box_stop(s);

	options.shell = "/bin/echo";
	s = box_create("a", &options);
	box_prints(s, "a script", NULL, "-c a script\n");
	box_stop(s);
}

/* ---- the environment of a command ---- */

static void test_environment(void)
{
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	options.env = ARGV("A=sandbox", "B=sandbox", "C=sandbox", "STAGE=build");
	options.cwd = "/tmp";
	cove_sandbox *s = box_create("a", &options);
	box_prints(s, "echo \"$A $B ${C-unset} ${D-unset} $STAGE\"; pwd",
		   EXEC(.env = ARGV("B=call", "C", "D=")), "sandbox call unset  build\n/tmp\n");
	box_prints(s, "pwd", EXEC(.cwd = "/usr"), "/usr\n");
	/* Who this is: the agent of a normal user can be nobody else. */
	const struct passwd *self = getpwuid(geteuid());
	CHECK(self);
	char user[64], expected[512];
	snprintf(expected, sizeof(expected), "%s %s %s\n", self->pw_dir, self->pw_name,
		 self->pw_shell);
	box_prints(s, "echo $HOME $USER $SHELL", EXEC(.user = self->pw_name), expected);
	snprintf(user, sizeof(user), "%u:%u", self->pw_uid, self->pw_gid);
	snprintf(expected, sizeof(expected), "%u\n%u\n", self->pw_uid, self->pw_gid);
	box_prints(s, "id -u; id -g", EXEC(.user = user), expected);
	box_prints(s, "ulimit -Sn; ulimit -Hn",
		   EXEC(.rlimits = &(struct cove_rlimit){ COVE_RLIMIT_NOFILE, 1000, 1024 },
			.n_rlimits = 1),
		   "1000\n1024\n");

	/* Looked up in the PATH that the command will have. */
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, tap_path("tool"), "#!/bin/sh\necho tool\n", 20,
				      0755));
	char path[512];
	snprintf(path, sizeof(path), "PATH=%s", tap_dir());
	cove_output *out = box_exec(s, ARGV("tool"), EXEC(.env = ARGV(path)));
	CHECK_STR(out->stdout_data, "tool\n");
	cove_output_free(out);
	/* What is not UTF-8 passes through. */
	box_prints(s, "printf %s \"$X\"", EXEC(.env = ARGV("X=\xff\xfe")), "\xff\xfe");
	box_stop(s);
}

static void test_large_environment(void)
{
	cove_sandbox *s = box_create("a", NULL);
	static const char *env[1025];
	_cleanup_free_ char *strings = malloc(1024 * 1024);
	for (unsigned i = 0; i < 1024; i++) {
		char *string = strings + (size_t)i * 1024;
		memset(string, 'v', 1023);
		string[1023] = 0;
		memcpy(string, "V", 1);
		string[1 + snprintf(string + 1, 8, "%04u", i)] = '=';
		env[i] = string;
	}
	box_prints(s, "echo ${#V0000} ${#V1023}", EXEC(.env = env), "1017 1017\n");
	box_stop(s);
}

/* ---- standard input and output ---- */

static void test_stdin(void)
{
	cove_sandbox *s = box_create("a", NULL);
	_cleanup_free_ char *bytes = malloc(BULK);
	uint32_t random = 1;
	for (size_t i = 0; i < BULK; i++) {
		random = random * 1664525 + 1013904223;
		bytes[i] = (char)(random >> 24);
	}

	cove_output *out = box_exec(s, ARGV("cat"), NULL); /* null: ends at once */
	CHECK_INT(out->stdout_bytes, ==, 0);
	cove_output_free(out);

	static const size_t sizes[] = { 0, 1, 4096, 262144, 262145, 1000000, BULK };
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		out = box_exec(s, ARGV("cat"),
			       EXEC(.stdin_mode = COVE_STDIN_BYTES, .stdin_data = bytes,
				    .stdin_bytes = sizes[i], .output_limit_bytes = UINT64_MAX));
		CHECK(cove_exit_success(&out->exit));
		CHECK_INT(out->stdout_bytes, ==, sizes[i]);
		CHECK(memcmp(out->stdout_data, bytes, sizes[i]) == 0);
		cove_output_free(out);
	}

	/* Hashes, made there of what we sent and of what was in a file. */
	char script[256];
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, tap_path("bytes"), bytes, BULK, 0600));
	snprintf(script, sizeof(script), "sha256sum; sha256sum <%s", tap_path("bytes"));
	out = box_shell(
		s, script,
		EXEC(.stdin_mode = COVE_STDIN_BYTES, .stdin_data = bytes, .stdin_bytes = BULK));
	CHECK_INT(out->stdout_bytes, ==, 2 * 68);
	CHECK(memcmp(out->stdout_data, out->stdout_data + 68, 68) == 0);
	cove_output_free(out);

	/* One that stops reading: its output and exit are whole. */
	out = box_shell(
		s, "head -c 3; exec <&-; sleep 0.2; echo; exit 4",
		EXEC(.stdin_mode = COVE_STDIN_BYTES, .stdin_data = bytes, .stdin_bytes = BULK));
	CHECK_INT(out->stdout_bytes, ==, 4);
	CHECK_INT(out->exit.code, ==, 4);
	CHECK_INT(out->stdin_errno, ==, EPIPE);
	cove_output_free(out);
	box_stop(s);
}

static void test_output(void)
{
	cove_sandbox *s = box_create("a", NULL);
	cove_output *out =
		box_shell(s, "yes 0123456789abcde | head -c 50000000; echo the end >&2", NULL);
	CHECK_INT(out->stdout_bytes, ==, 50000000);
	CHECK_STR(out->stderr_data, "the end\n");
	CHECK(!out->limited);
	for (size_t i = 0; i < out->stdout_bytes; i += 16)
		CHECK(memcmp(out->stdout_data + i, "0123456789abcde\n", 16) == 0);
	cove_output_free(out);

	const char *script = "seq 1 1000000";
	out = box_shell(s, script,
			EXEC(.output_limit_bytes = 10, .output_policy = COVE_OUTPUT_HEAD));
	CHECK_STR(out->stdout_data, "1\n2\n3\n4\n5\n");
	CHECK_INT(out->stdout_total, ==, 6888896);
	CHECK(out->limited && cove_exit_success(&out->exit));
	cove_output_free(out);
	out = box_shell(s, script,
			EXEC(.output_limit_bytes = 8, .output_policy = COVE_OUTPUT_TAIL));
	CHECK_STR(out->stdout_data, "1000000\n");
	CHECK_INT(out->stdout_total, ==, 6888896);
	CHECK(out->limited && cove_exit_success(&out->exit));
	cove_output_free(out);
	box_stop(s);
}

static void test_text(void)
{
	cove_sandbox *s = box_create("a", NULL);
	struct cove_error err = COVE_ERROR_INIT;
	const char *text;
	cove_output *out = box_shell(s, "printf 'gr\\303\\274n\\n'; printf 'ab\\377c' >&2", NULL);
	CHECK_COVE(cove_output_text(out, &text, &err), &err);
	CHECK_STR(text, "gr\xc3\xbcn\n");
	CHECK_INT(cove_output_stderr_text(out, &text, &err), ==, COVE_E_ENCODING);
	CHECK_CONTAINS(err.message, "offset 2");
	cove_output_free(out);
	box_stop(s);
}

/* ---- sessions ---- */

static void test_same_id(void)
{
	cove_sandbox *s = box_create("a", NULL);
	char script[256];
	snprintf(script, sizeof(script), "echo ran >>%s; echo result; exit 5", tap_path("ran"));
	for (int i = 0; i < 2; i++) {
		cove_output *out = box_shell(s, script, EXEC(.id = "job-1"));
		CHECK_STR(out->id, "job-1");
		CHECK_STR(out->stdout_data, "result\n");
		CHECK_INT(out->exit.code, ==, 5);
		cove_output_free(out);
	}
	char *text;
	CHECK_OK(fd_read_file(AT_FDCWD, tap_path("ran"), 100, false, &text, NULL));
	CHECK_STR(text, "ran\n");
	free(text);
	box_stop(s);
}

struct worker {
	pthread_t thread;
	cove_sandbox *sandbox;
	unsigned number;
};

static void *work(void *data)
{
	struct worker *w = data;
	for (unsigned i = 0; i < 25; i++) {
		char script[128], expected[32];
		snprintf(script, sizeof(script), "cat; echo %u.%u; exit %u", w->number, i, i);
		snprintf(expected, sizeof(expected), "in%u.%u\n", w->number, i);
		cove_output *out = box_shell(
			w->sandbox, script,
			EXEC(.stdin_mode = COVE_STDIN_BYTES, .stdin_data = "in", .stdin_bytes = 2));
		CHECK_STR(out->stdout_data, expected);
		CHECK_INT(out->exit.code, ==, i);
		cove_output_free(out);
	}
	return NULL;
}

static void test_threads(void)
{
	struct worker workers[8];
	cove_sandbox *s = box_create("a", NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(workers); i++) {
		workers[i] = (struct worker){ .sandbox = s, .number = i };
		CHECK_INT(pthread_create(&workers[i].thread, NULL, work, &workers[i]), ==, 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(workers); i++)
		pthread_join(workers[i].thread, NULL);
	box_stop(s);
}

static const struct tap_test tests[] = {
	{ "plain", test_plain },
	{ "causes", test_causes },
	{ "timeout", test_timeout, .timeout_s = 60 },
	{ "background processes", test_background, .timeout_s = 60 },
	{ "failures to start", test_start_failures },
	{ "no shell, another shell", test_no_shell },
	{ "environment", test_environment },
	{ "1 MiB of environment", test_large_environment },
	{ "standard input", test_stdin, .timeout_s = 120 },
	{ "output", test_output, .timeout_s = 60 },
	{ "text", test_text },
	{ "the same id again", test_same_id },
	{ "threads", test_threads, .timeout_s = 60 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
