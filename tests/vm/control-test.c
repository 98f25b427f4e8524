/* SPDX-License-Identifier: Apache-2.0 */

/* Driving commands that run: terminals, their size, signals, kill, closing their output. */

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "rounds.h"
#include "stream.h"
#include "vm.h"

/* What a kill or an exit may take on a busy machine: far more than it does, far less than a hang. */
#define AT_ONCE_MS 5000

/* ---- interactive programs ---- */

/* A shell on a terminal, driven by a program that reads its answers. */
static void test_interactive_shell(void)
{
	cove_sandbox *sandbox = vm_create("interactive", "busybox", NULL);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.tty = true;
	options.stdin_mode = COVE_STDIN_PIPE;
	options.env = ARGV("PS1=> ");
	struct seen seen = { 0 };

	cove_process *p = stream_exec(sandbox, ARGV("sh"), &options);
	cove_stdin *in = cove_process_take_stdin(p);
	seen_until(&seen, p, "> ");
	for (int i = 1; i <= 20; i++) {
		char line[64], answer[64];
		snprintf(line, sizeof(line), "echo =$((%d * 1001))=\n", i);
		snprintf(answer, sizeof(answer), "=%d=\r\n> ", i * 1001);
		stream_type(in, line);
		seen_until(&seen, p, answer);
	}
	/* Ctrl-C is typed: what runs ends, and the shell does not. It says itself that it does, by when
	   the shell has given it the terminal. */
	stream_type(in, "sh -c 'echo sleeps; exec sleep 1000'\n");
	seen_until(&seen, p, "\r\nsleeps\r\n");
	stream_type(in, "\003");
	stream_type(in, "echo still $((6*7))\n");
	seen_until(&seen, p, "still 42\r\n");
	stream_type(in, "exit 7\n");
	stream_expect(p, &seen, COVE_CAUSE_EXITED, 7, NULL, "");
	cove_stdin_free(in);

	/* Closing stdin types the end of file, in canonical mode only. */
	p = stream_shell(sandbox, "cat; echo the end", &options);
	in = cove_process_take_stdin(p);
	stream_type(in, "a line\n");
	cove_stdin_free(in);
	stream_expect(p, NULL, COVE_CAUSE_EXITED, 0, "a line\r\na line\r\nthe end\r\n", "");
	options.stdin_mode = COVE_STDIN_BYTES;
	options.stdin_data = "bytes\n";
	options.stdin_bytes = 6;
	p = stream_shell(sandbox, "stty -echo; cat; echo the end", &options);
	seen_to_end(&seen, p);
	CHECK_CONTAINS(seen_stdout(&seen), "bytes\r\nthe end\r\n");
	seen_done(&seen);
	cove_process_free(p);
	cove_sandbox_free(sandbox);
}

static void test_python(void)
{
	cove_sandbox *sandbox = vm_create("repl", "python", NULL);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.tty = true;
	options.stdin_mode = COVE_STDIN_PIPE;
	options.env = ARGV("TERM=dumb");
	struct seen seen = { 0 };

	cove_process *p = stream_exec(sandbox, ARGV("python", "-q"), &options);
	cove_stdin *in = cove_process_take_stdin(p);
	seen_until(&seen, p, ">>> ");
	stream_type(in, "x = 6\n");
	stream_type(in, "print('x is', x * 7)\n");
	seen_until(&seen, p, "x is 42\r\n");
	stream_type(in, "import sys; sys.exit(5)\n");
	stream_expect(p, &seen, COVE_CAUSE_EXITED, 5, NULL, "");
	cove_stdin_free(in);
	cove_sandbox_free(sandbox);
}

/* tail -f of a log that grows, ended from outside. */
static void test_growing_log(void)
{
	cove_sandbox *sandbox = vm_create("log", "busybox", NULL);
	struct seen seen = { 0 };
	vm_number(sandbox, "echo 0 | tee /tmp/log");
	cove_process *p = stream_exec(sandbox, ARGV("tail", "-f", "/tmp/log"), NULL);
	seen_until(&seen, p, "0\n");
	for (int i = 1; i <= 5; i++) {
		char script[64], line[32];
		snprintf(script, sizeof(script), "echo line %d >>/tmp/log; echo 0", i);
		snprintf(line, sizeof(line), "line %d\n", i);
		vm_number(sandbox, script);
		seen_until(&seen, p, line);
	}
	CHECK_OK(cove_process_kill(p, NULL));
	stream_expect(p, &seen, COVE_CAUSE_KILLED, 137,
		      "0\nline 1\nline 2\nline 3\nline 4\nline 5\n", "");
	cove_sandbox_free(sandbox);
}

/* ---- the terminal's size ---- */

static void test_resize(void)
{
	cove_sandbox *sandbox = vm_create("resize", "busybox", NULL);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	struct cove_error err = COVE_ERROR_INIT;
	struct seen seen = { 0 };

	options.tty = true;
	cove_process *p = stream_exec(sandbox, ARGV("stty", "size"), &options);
	stream_expect(p, NULL, COVE_CAUSE_EXITED, 0, "24 80\r\n", "");
	options.rows = 51;
	options.cols = 29999; /* its stty takes 30000 and more for a mistake */
	size_t rounds = rounds_or(100) / 5;
	for (size_t i = 0; i < rounds; i++) {
		p = stream_exec(sandbox, ARGV("stty", "size"), &options);
		stream_expect(p, NULL, COVE_CAUSE_EXITED, 0, "51 29999\r\n", "");
	}

	/* Told to the program; and of a flood of them the last one counts. */
	options.stdin_mode = COVE_STDIN_PIPE;
	p = stream_shell(sandbox,
			 "trap 'echo changed' WINCH; stty -echo; echo set; while :; do "
			 "read line; case $line in end) exit 0;; ?*) stty size;; esac; done",
			 &options);
	cove_stdin *in = cove_process_take_stdin(p);
	seen_until(&seen, p, "set\r\n");
	CHECK_COVE(cove_process_resize(p, 33, 44, &err), &err);
	stream_type(in, "size\n");
	seen_until(&seen, p, "changed\r\n");
	seen_until(&seen, p, "33 44\r\n");
	long long agent = vm_agent_kib(sandbox);
	uint64_t start = clock_monotonic_ms();
	for (unsigned i = 1; i <= 2000; i++)
		CHECK_COVE(cove_process_resize(p, i, i + 1, &err), &err);
	tap_note("2000 confirmed resizes: %llu ms",
		 (unsigned long long)(clock_monotonic_ms() - start));
	stream_type(in, "size\n");
	seen_until(&seen, p, "2000 2001\r\n");
	CHECK_INT(vm_agent_kib(sandbox), <=, agent + 256);

	CHECK_INT(cove_process_resize(p, 0, 80, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_process_resize(p, 24, 65536, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_process_close_output(p, COVE_STDOUT, &err), ==, COVE_E_STATE);
	stream_type(in, "end\n");
	cove_stdin_free(in);
	seen_to_end(&seen, p);
	CHECK_INT(cove_process_resize(p, 24, 80, &err), ==, COVE_E_STATE);
	seen_done(&seen);
	cove_process_free(p);

	p = stream_exec(sandbox, ARGV("sleep", "1000"), NULL);
	CHECK_INT(cove_process_resize(p, 24, 80, &err), ==, COVE_E_STATE); /* no terminal */
	CHECK_OK(cove_process_kill(p, NULL));
	stream_expect(p, NULL, COVE_CAUSE_KILLED, 137, "", "");

	/* A flood that waits for no answers: what is refused is refused, and the last one counts. */
	options.flags = COVE_EXEC_NONBLOCK;
	p = stream_shell(sandbox, "read line; stty size", &options);
	CHECK(seen_next(&seen, p));
	unsigned last = 0;
	for (unsigned i = 0; i < 50000; i++) {
		int r = cove_process_resize(p, 1 + i % 20011, 7, &err);
		CHECK(r == 0 || r == COVE_E_AGAIN);
		if (r == 0)
			last = 1 + i % 20011;
	}
	in = cove_process_take_stdin(p);
	stream_type(in, "go\n");
	cove_stdin_free(in);
	char text[32];
	snprintf(text, sizeof(text), "\n%u 7\r\n", last);
	seen_to_end(&seen, p);
	CHECK_CONTAINS(seen_stdout(&seen), text);
	CHECK_INT(vm_agent_kib(sandbox), <=, agent + 512);
	seen_done(&seen);
	cove_process_free(p);
	cove_sandbox_free(sandbox);
}

/* ---- signals and kill ---- */

struct signaller {
	cove_control *control;
	int result;
};

static void *send_usr1(void *data)
{
	struct signaller *s = data;
	s->result = cove_control_signal(s->control, SIGUSR1, NULL);
	s->control = cove_control_unref(s->control);
	return NULL;
}

static void test_signals(void)
{
	cove_sandbox *sandbox = vm_create("signals", "busybox", NULL);
	struct cove_error err = COVE_ERROR_INIT;
	struct seen seen = { 0 };

	/* Through a control handle of another thread, to a trap. */
	cove_process *p = stream_shell(sandbox,
				       "trap 'echo got it; exit 5' USR1; echo ready; "
				       "while :; do usleep 5000; done",
				       NULL);
	seen_until(&seen, p, "ready\n");
	CHECK_INT(cove_process_signal(p, 0, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_process_signal(p, 65, &err), ==, COVE_E_INVALID);
	struct signaller s = { .control = cove_process_control(p) };
	pthread_t thread;
	CHECK_INT(pthread_create(&thread, NULL, send_usr1, &s), ==, 0);
	cove_control *control = cove_process_control(p);
	/* The whole group got it: the shell says how its usleep ended. */
	stream_expect(p, &seen, COVE_CAUSE_EXITED, 5, "ready\ngot it\n", NULL);
	CHECK_INT(pthread_join(thread, NULL), ==, 0);
	CHECK_INT(s.result, ==, 0);

	/* The control outlives the process; there is nothing left to signal. */
	const char *id;
	CHECK_COVE(cove_control_id(control, &id, &err), &err);
	CHECK(id[0] != 0);
	CHECK_INT(cove_control_signal(control, SIGTERM, &err), <, 0);
	CHECK_INT(cove_control_kill(control, &err), <, 0);
	cove_control_unref(control);

	/* A signal that ends it was asked for: killed, not signaled. */
	p = stream_exec(sandbox, ARGV("sleep", "1000"), NULL);
	CHECK_COVE(cove_process_signal(p, SIGTERM, &err), &err);
	stream_expect(p, NULL, COVE_CAUSE_KILLED, 128 + SIGTERM, "", "");

	/* Stopped and continued. */
	p = stream_shell(sandbox, "echo 1; until [ -e /tmp/go ]; do usleep 5000; done; echo 2",
			 NULL);
	seen_until(&seen, p, "1\n");
	CHECK_COVE(cove_process_signal(p, SIGSTOP, &err), &err);
	char script[96];
	snprintf(script, sizeof(script), "grep -c '^State:.T' /proc/%d/status", seen.pid);
	CHECK_INT(vm_number(sandbox, script), ==, 1);
	CHECK_COVE(cove_process_signal(p, SIGCONT, &err), &err);
	vm_number(sandbox, "touch /tmp/go; echo 0");
	stream_expect(p, &seen, COVE_CAUSE_EXITED, 0, "1\n2\n", "");

	/* With a terminal, a keyboard's signals go to what is in the foreground. */
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.tty = true;
	options.stdin_mode = COVE_STDIN_PIPE;
	p = stream_exec(sandbox, ARGV("sh", "-i"), &options);
	cove_stdin *in = cove_process_take_stdin(p);
	stream_type(in, "(echo in the $((1+1))nd; exec sleep 1000)\n");
	seen_until(&seen, p, "in the 2nd\r\n");
	CHECK_COVE(cove_process_signal(p, SIGINT, &err), &err);
	stream_type(in, "echo status $?\n");
	seen_until(&seen, p, "status 130\r\n");
	stream_type(in, "exit 3\n");
	stream_expect(p, &seen, COVE_CAUSE_EXITED, 3, NULL, "");
	cove_stdin_free(in);
	cove_sandbox_free(sandbox);
}

/* Two daemons, one of them an orphan in a session of its own, and all deaf to SIGTERM. */
#define TREE                                                                                       \
	"rm -f /tmp/up.*; trap '' TERM HUP; "                                                      \
	"(setsid sh -c 'touch /tmp/up.1; exec sleep 900' &); "                                     \
	"setsid sh -c 'sleep 901 & touch /tmp/up.2; exec sleep 902' & "                            \
	"until [ -e /tmp/up.1 ] && [ -e /tmp/up.2 ]; do usleep 5000; done; echo ready; "
#define TREE_COUNT "ps -o comm | grep -cx sleep || true"

static void test_kill_tree(void)
{
	cove_sandbox *sandbox = vm_create("kill-tree", "busybox", NULL);
	struct cove_error err = COVE_ERROR_INIT;
	struct seen seen = { 0 };

	cove_process *p = stream_shell(sandbox, TREE "sleep 903", NULL);
	seen_until(&seen, p, "ready\n");
	CHECK_WITHIN(vm_number(sandbox, TREE_COUNT) >= 3, AT_ONCE_MS);
	uint64_t start = clock_monotonic_ms();
	CHECK_COVE(cove_process_kill(p, &err), &err);
	/* Confirmed means confirmed: not one of them is there now. */
	CHECK_INT(vm_number(sandbox, TREE_COUNT), ==, 0);
	CHECK_INT(clock_monotonic_ms() - start, <, AT_ONCE_MS);
	stream_expect(p, &seen, COVE_CAUSE_KILLED, 137, "ready\n", "");

	/* What it leaves running is left alone by default. */
	p = stream_shell(sandbox, TREE "exit 4", NULL);
	seen_to_end(&seen, p);
	CHECK_INT(seen.exit.code, ==, 4);
	CHECK_WITHIN(vm_number(sandbox, TREE_COUNT) >= 3, AT_ONCE_MS);
	seen_done(&seen);
	cove_process_free(p);
	vm_number(sandbox, "killall -9 sleep; echo 0");
	CHECK_WITHIN(vm_number(sandbox, TREE_COUNT) == 0, AT_ONCE_MS);

	/* Or it goes by itself, with the option. */
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.kill_tree_on_exit = true;
	p = stream_shell(sandbox, TREE "exit 4", &options);
	stream_expect(p, NULL, COVE_CAUSE_EXITED, 4, "ready\n", "");
	CHECK_INT(vm_number(sandbox, TREE_COUNT), ==, 0);

	/* And when nobody is there any more. */
	options = (struct cove_exec_options)COVE_EXEC_OPTIONS_INIT;
	options.kill_on_disconnect = true;
	p = stream_shell(sandbox, TREE "sleep 903", &options);
	seen_until(&seen, p, "ready\n");
	seen_done(&seen);
	cove_process_free(p);
	CHECK_WITHIN(vm_number(sandbox, TREE_COUNT) == 0, AT_ONCE_MS);
	cove_sandbox_free(sandbox);
}

static void test_close_output(void)
{
	cove_sandbox *sandbox = vm_create("close-output", "busybox", NULL);
	struct cove_error err = COVE_ERROR_INIT;
	struct seen seen = { 0 };

	/* Like `yes | head`: it is told by SIGPIPE. */
	cove_process *p = stream_exec(sandbox, ARGV("yes"), NULL);
	seen_until(&seen, p, "y\ny\n");
	CHECK_COVE(cove_process_close_output(p, COVE_STDOUT, &err), &err);
	seen_to_end(&seen, p);
	CHECK_INT(seen.exit.cause, ==, COVE_CAUSE_SIGNALED);
	CHECK_INT(seen.exit.signal, ==, SIGPIPE);
	CHECK_INT(seen.exit.code, ==, 141);
	seen_done(&seen);
	cove_process_free(p);

	/* The other stream goes on. */
	p = stream_shell(sandbox,
			 "trap '' PIPE; echo begin; until ! echo more; do usleep 1000; done "
			 "2>/dev/null; echo told >&2; exit 3",
			 NULL);
	seen_until(&seen, p, "begin\n");
	CHECK_COVE(cove_process_close_output(p, COVE_STDOUT, &err), &err);
	stream_expect(p, &seen, COVE_CAUSE_EXITED, 3, NULL, "told\n");
	cove_sandbox_free(sandbox);
}

static const struct tap_test tests[] = {
	{ "a shell on a terminal", test_interactive_shell, .timeout_s = 60 },
	{ "python on a terminal", test_python, .timeout_s = 60 },
	{ "tail -f, ended by kill", test_growing_log, .timeout_s = 60 },
	{ "resize", test_resize, .timeout_s = 300 },
	{ "signals", test_signals, .timeout_s = 60 },
	{ "kill of the whole tree", test_kill_tree, .timeout_s = 60 },
	{ "closing the output", test_close_output, .timeout_s = 60 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
