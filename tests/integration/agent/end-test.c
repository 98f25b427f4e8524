/* SPDX-License-Identifier: Apache-2.0 */
/* How commands end: causes, limits, what is left behind, and that nothing is waited for in vain. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/session.h"
#include "base/clock.h"
#include "base/fd.h"
#include "cove/cove.h"
#include "harness/agent-client.h"
#include "harness/tap.h"

static uint64_t now(void)
{
	return clock_monotonic_ms();
}

/* The pid in a file that a command writes when it is up. */
static pid_t read_pid(const char *path)
{
	char *text = NULL;
	CHECK_WITHIN(fd_read_file(AT_FDCWD, path, 100, false, &text, NULL) >= 0 &&
			     (strchr(text, '\n') || (free(text), false)),
		     5000);
	pid_t pid = atoi(text);
	free(text);
	CHECK_INT(pid, >, 1);
	return pid;
}

static void test_causes(void)
{
	CHECK_INT(SESSION_EXITED, ==, COVE_CAUSE_EXITED);
	CHECK_INT(SESSION_SIGNALED, ==, COVE_CAUSE_SIGNALED);
	CHECK_INT(SESSION_TIMED_OUT, ==, COVE_CAUSE_TIMED_OUT);
	CHECK_INT(SESSION_OOM_KILLED, ==, COVE_CAUSE_OOM_KILLED);
	CHECK_INT(SESSION_KILLED, ==, COVE_CAUSE_KILLED);
	CHECK_INT(SESSION_OUTPUT_LIMIT, ==, COVE_CAUSE_OUTPUT_LIMIT);
	CHECK_INT(SESSION_STOPPED, ==, COVE_CAUSE_STOPPED);

	struct agent_client *c = agent_client_start(agent_cgroup());
	struct agent_stream *s = agent_do(c, "exit 137", NULL);
	CHECK_INT(s->cause, ==, COVE_CAUSE_EXITED);
	CHECK_INT(s->code, ==, 137);
	CHECK_INT(s->signal, ==, 0);
	s = agent_do(c, "exit 124", NULL);
	CHECK_INT(s->cause, ==, COVE_CAUSE_EXITED);
	CHECK_INT(s->code, ==, 124);

	s = agent_do(c, "kill -KILL $$", NULL);
	CHECK_INT(s->cause, ==, COVE_CAUSE_SIGNALED);
	CHECK_INT(s->signal, ==, SIGKILL);
	CHECK_INT(s->code, ==, 137);

	struct agent_run run = { .timeout_ms = 100 };
	s = agent_do(c, "echo early; sleep 30", &run);
	CHECK_INT(s->cause, ==, COVE_CAUSE_TIMED_OUT);
	CHECK_INT(s->signal, ==, SIGKILL);
	CHECK_STR((char *)s->out[0].data, "early\n");

	s = agent_sh(c, "sleep 30", NULL);
	agent_wait_started(s);
	CHECK_INT(agent_kill(s), ==, 0);
	agent_wait_end(s);
	CHECK_INT(s->cause, ==, COVE_CAUSE_KILLED);

	s = agent_sh(c, "sleep 30", NULL);
	agent_wait_started(s);
	CHECK_INT(agent_signal(s, SIGTERM), ==, 0);
	agent_wait_end(s);
	CHECK_INT(s->cause, ==, COVE_CAUSE_KILLED);
	CHECK_INT(s->signal, ==, SIGTERM);

	run = (struct agent_run){ .output_kill_bytes = 100000 };
	s = agent_do(c, "exec cat /dev/zero", &run);
	CHECK_INT(s->cause, ==, COVE_CAUSE_OUTPUT_LIMIT);
	CHECK_INT(s->totals[0], >, 100000);
	agent_client_stop(c);
}

/* Passing the limit counts even when the command was quicker than its judge. */
static void test_output_limit_of_a_quick_command(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .output_kill_bytes = 10 };
	for (int i = 0; i < 50; i++) {
		struct agent_stream *s = agent_do(c, "echo 0123456789; exit 0", &run);
		CHECK_INT(s->cause, ==, COVE_CAUSE_OUTPUT_LIMIT);
		CHECK_INT(s->totals[0], ==, 11);
	}
	run.output_kill_bytes = 11;
	struct agent_stream *s = agent_do(c, "echo 0123456789", &run);
	CHECK_INT(s->cause, ==, COVE_CAUSE_EXITED);
	agent_client_stop(c);
}

static void test_background_child(void)
{
	struct agent_client *c = agent_client_start(agent_cgroup());
	uint64_t before = now();
	struct agent_stream *s = agent_do(c, "sleep 600 & echo hi; exit 3", NULL);
	CHECK_INT(now() - before, <, 5000);
	CHECK_INT(s->code, ==, 3);
	CHECK_STR((char *)s->out[0].data, "hi\n");
	CHECK(!s->out[0].eof);
	/* It lives, and can be killed through the session that has ended. */
	CHECK_INT(agent_count_children(c), ==, 1);
	CHECK_INT(agent_kill(s), ==, 0);
	AGENT_UNTIL(c, s->out[0].eof && s->out[1].eof);
	CHECK_INT(s->out[0].total, ==, 3);
	CHECK_INT(agent_count_children(c), ==, 0);
	CHECK_INT(agent_kill(s), ==, COVE_E_STATE);
	CHECK_INT(agent_signal(s, SIGTERM), ==, COVE_E_STATE);

	/* No linger at all. */
	struct agent_run run = { .linger_ms = -1, .kill_on_disconnect = true };
	s = agent_do(c, "sleep 600 & echo hi", &run);
	CHECK_STR((char *)s->out[0].data, "hi\n");
	agent_kill(s);

	/* What it writes later is still there. */
	s = agent_do(c, "(sleep 0.3; echo late) & echo early", NULL);
	CHECK_STR((char *)s->out[0].data, "early\n");
	CHECK_INT(s->totals[0], ==, 6);
	AGENT_UNTIL(c, s->out[0].eof);
	CHECK_STR((char *)s->out[0].data, "early\nlate\n");

	/* Waiting for it is an option, and so is ending it. */
	run = (struct agent_run){ .wait_eof = true };
	s = agent_do(c, "(sleep 0.3; echo late) & echo early; exit 4", &run);
	CHECK_STR((char *)s->out[0].data, "early\nlate\n");
	CHECK_INT(s->totals[0], ==, 11);
	CHECK_INT(s->code, ==, 4);
	run = (struct agent_run){ .kill_tree_on_exit = true };
	before = now();
	s = agent_do(c, "sleep 600 & echo hi; exit 4", &run);
	CHECK_INT(now() - before, <, 5000);
	CHECK_INT(s->code, ==, 4);
	CHECK_INT(s->cause, ==, COVE_CAUSE_EXITED);
	CHECK(s->out[0].eof);
	CHECK_INT(agent_count_children(c), ==, 0);
	agent_client_stop(c);
}

/* The timeout also ends the wait for a background child. */
static void test_timeout_while_waiting_for_eof(void)
{
	struct agent_client *c = agent_client_start(agent_cgroup());
	struct agent_run run = { .wait_eof = true, .timeout_ms = 200 };
	struct agent_stream *s = agent_do(c, "sleep 600 & exit 0", &run);
	CHECK_INT(s->cause, ==, COVE_CAUSE_TIMED_OUT);
	CHECK(s->out[0].eof);
	agent_client_stop(c);
}

static void test_whole_tree(void)
{
	const char *cgroup = agent_cgroup();
	if (!cgroup)
		return; /* agent_cgroup() has said so; the machine always has one, see tests/vm */
	struct agent_client *c = agent_client_start(cgroup);
	char script[800];
	snprintf(script, sizeof(script),
		 "(sleep 900 &); setsid sh -c 'setsid sleep 901 & echo $! >%s/hidden' & "
		 "trap '' TERM; echo out; sleep 902",
		 tap_dir());
	struct agent_run run = { .timeout_ms = 1000,
				 .timeout_signal = SIGTERM,
				 .timeout_grace_ms = 200 };
	uint64_t before = now();
	struct agent_stream *s = agent_do(c, script, &run);
	CHECK_INT(now() - before, >=, 1200);
	CHECK_INT(now() - before, <, 2500);
	CHECK_INT(s->cause, ==, COVE_CAUSE_TIMED_OUT);
	CHECK_INT(s->signal, ==, SIGKILL);
	CHECK_STR((char *)s->out[0].data, "out\n");
	CHECK(kill(read_pid(tap_path("hidden")), 0) < 0 && errno == ESRCH);
	CHECK_INT(agent_count_children(c), ==, 0);
	agent_client_stop(c);
}

static void test_timeout_signal_obeyed(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .timeout_ms = 200,
				 .timeout_signal = SIGTERM,
				 .timeout_grace_ms = 10000 };
	struct agent_stream *s =
		agent_do(c, "trap 'echo bye; exit 9' TERM; while :; do sleep 0.05; done", &run);
	CHECK_INT(s->cause, ==, COVE_CAUSE_TIMED_OUT);
	CHECK_INT(s->code, ==, 9);
	CHECK_STR((char *)s->out[0].data, "bye\n");
	agent_client_stop(c);
}

/* A viewer that takes nothing, a command that is blocked by it: on time, exit and all. */
static void test_timeout_while_blocked(void)
{
	struct agent_client *c = agent_client_start(agent_cgroup());
	struct agent_run run = { .timeout_ms = 500, .pipe = true, .open = true };
	uint64_t before = now();
	struct agent_stream *s = agent_sh(c, "exec cat /dev/zero", &run);
	s->out[0].stalled = true;
	s->out[0].discard = true;
	AGENT_UNTIL(c, s->exited);
	CHECK_INT(now() - before, >=, 500);
	CHECK_INT(now() - before, <, 2500);
	CHECK_INT(s->cause, ==, COVE_CAUSE_TIMED_OUT);
	CHECK_INT(s->totals[0], >, s->out[0].received);
	agent_unstall(s);
	agent_wait_end(s);
	CHECK_INT(s->out[0].received, ==, s->totals[0]);
	CHECK_INT(s->out[0].gap, ==, 0);
	agent_client_stop(c);
}

/* And one that reads nothing, with its stdin full and open. */
static void test_timeout_while_stdin_is_full(void)
{
	struct agent_client *c = agent_client_start(agent_cgroup());
	static uint8_t bytes[1000000];
	for (int tty = 0; tty < 2; tty++) {
		struct agent_run run = { .timeout_ms = 300,
					 .pipe = true,
					 .in = bytes,
					 .in_size = sizeof(bytes),
					 .open = true,
					 .tty = tty };
		uint64_t before = now();
		struct agent_stream *s = agent_sh(c, "exec sleep 600", &run);
		agent_wait_end(s);
		CHECK_INT(now() - before, <, 2300);
		CHECK_INT(s->cause, ==, COVE_CAUSE_TIMED_OUT);
		CHECK_INT(s->code, ==, 137);
	}
	agent_client_stop(c);
}

/* An end is told to a viewer that has stopped reading, with exact totals, and the rest follows. */
static void test_end_overtakes_data(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_stream *s = agent_sh(c, "head -c 500000 /dev/zero; exit 6", NULL);
	s->out[0].stalled = true;
	AGENT_UNTIL(c, s->out[0].received == WIRE_INITIAL_WINDOW);
	/* Ring and pipe hold the rest, and the command is done writing. */
	AGENT_UNTIL(c, s->exited);
	CHECK_INT(s->code, ==, 6);
	CHECK_INT(s->totals[0], ==, 500000);
	agent_unstall(s);
	agent_wait_end(s);
	CHECK_INT(s->out[0].received, ==, 500000);
	agent_client_stop(c);
}

/* The same when the end is that of the pipe, and of a child in the background. */
static void test_end_of_the_pipe_overtakes_data(void)
{
	/* A small ring, and what fits into the pipe behind it in any case. */
	enum { RING = 4096, N = WIRE_INITIAL_WINDOW + 50000 };
	struct agent_client *c = agent_client_start(agent_cgroup());
	struct agent_run run = { .wait_eof = true, .replay_bytes = RING };
	char script[64];
	snprintf(script, sizeof(script), "head -c %d /dev/zero & exit 6", N);
	struct agent_stream *s = agent_sh(c, script, &run);
	s->out[0].stalled = true;
	AGENT_UNTIL(c, s->exited);
	CHECK_INT(s->code, ==, 6);
	CHECK_INT(s->totals[0], ==, N);
	CHECK(s->out[0].eof);
	CHECK_INT(s->out[0].received, <=, WIRE_INITIAL_WINDOW);
	agent_unstall(s);
	agent_wait_end(s);
	CHECK_INT(s->out[0].received, ==, N);
	agent_client_stop(c);
}

/* Commands that are stopped are killed, and end on time, like others. */
static void test_stopped(void)
{
	struct agent_client *c = agent_client_start(agent_cgroup());
	static const char script[] = "sh -c 'echo up; kill -STOP $$' & sleep 0.1; kill -STOP $$";
	struct agent_run run = { .timeout_ms = 600,
				 .timeout_signal = SIGTERM,
				 .timeout_grace_ms = 200 };
	struct agent_stream *limited = agent_sh(c, script, &run);
	struct agent_stream *killed = agent_sh(c, script, NULL);
	AGENT_UNTIL(c, killed->out[0].size == 3 && limited->out[0].size == 3);
	agent_client_idle(c, 200);
	CHECK_INT(agent_kill(killed), ==, 0);
	agent_wait_end(killed);
	CHECK_INT(killed->cause, ==, COVE_CAUSE_KILLED);
	agent_wait_end(limited);
	CHECK_INT(limited->cause, ==, COVE_CAUSE_TIMED_OUT);
	CHECK_INT(limited->signal, ==, SIGKILL);
	CHECK_INT(limited->elapsed_ns / 1000000, >=, 800);
	CHECK_INT(limited->elapsed_ns / 1000000, <, 5000);
	AGENT_UNTIL(c, killed->out[0].eof && limited->out[0].eof);
	CHECK_INT(agent_count_children(c), ==, 0);
	agent_client_stop(c);
}

static void test_signals(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_stream *s =
		agent_sh(c, "trap 'echo usr1' USR1; echo up; while :; do sleep 0.02; done", NULL);
	AGENT_UNTIL(c, s->out[0].size >= 3);
	CHECK_INT(agent_signal(s, SIGUSR1), ==, 0);
	AGENT_UNTIL(c, s->out[0].size >= 8);
	CHECK_STR((char *)s->out[0].data, "up\nusr1\n");
	CHECK_INT(agent_signal(s, 0), ==, COVE_E_INVALID);
	CHECK_INT(agent_signal(s, 65), ==, COVE_E_INVALID);
	CHECK_INT(agent_signal(s, 4000000000u), ==, COVE_E_INVALID);
	CHECK_INT(agent_resize(s, 10, 10), ==, COVE_E_STATE); /* no terminal */

	/* A signal that is asked for but does not end it does not explain another end. */
	CHECK_INT(agent_signal(s, SIGKILL), ==, 0);
	agent_wait_end(s);
	CHECK_INT(s->cause, ==, COVE_CAUSE_KILLED);
	CHECK_INT(s->signal, ==, SIGKILL);
	CHECK_INT(agent_signal(s, SIGKILL), ==, COVE_E_STATE);
	agent_client_stop(c);
}

static void test_orphans_are_reaped(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_stream *s =
		agent_do(c, "for i in 1 2 3 4 5 6 7 8 9; do (true & true &) ; done; exit 8", NULL);
	CHECK_INT(s->code, ==, 8);
	CHECK_WITHIN(agent_count_children(c) == 0, 5000);
	agent_client_stop(c);
}

/* A command that ends while others do, a hundred times: the status is its own. */
static void test_statuses(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_stream *s[100];
	char script[100];
	for (int i = 0; i < 100; i++) {
		snprintf(script, sizeof(script), "(exit 77 &); exit %d", i);
		s[i] = agent_sh(c, script, NULL);
	}
	for (int i = 0; i < 100; i++) {
		agent_wait_end(s[i]);
		CHECK_INT(s[i]->code, ==, i);
	}
	agent_client_stop(c);
}

static void test_disconnect(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "stays" };
	struct agent_stream *stays = agent_sh(c, "echo up; sleep 0.3; echo done", &run);
	run = (struct agent_run){ .id = "goes", .kill_on_disconnect = true };
	struct agent_stream *goes = agent_sh(c, "echo up; sleep 60", &run);
	AGENT_UNTIL(c, stays->out[0].size && goes->out[0].size);
	/* Started again, while the first connection was not known to be broken. */
	run = (struct agent_run){ .id = "again", .pipe = true, .open = true };
	run.kill_on_disconnect = true;
	struct agent_stream *first = agent_sh(c, "echo up; read x; exit 3", &run);
	struct agent_stream *second = agent_sh(c, "echo up; read x; exit 3", &run);
	AGENT_UNTIL(c, first->out[0].size && second->out[0].size);
	agent_close(first);
	agent_close(stays);
	agent_close(goes);

	Cove__Wire__Attach attach = COVE__WIRE__ATTACH__INIT;
	attach.id = wire_string("stays");
	struct agent_stream *s = agent_attach(c, &attach);
	agent_wait_end(s);
	CHECK_INT(s->cause, ==, COVE_CAUSE_EXITED);
	CHECK_STR((char *)s->out[0].data, "up\ndone\n");
	attach.id = wire_string("goes");
	s = agent_attach(c, &attach);
	agent_wait_end(s);
	CHECK_INT(s->cause, ==, COVE_CAUSE_KILLED);
	CHECK(!second->exited);
	agent_close(second);
	attach.id = wire_string("again");
	s = agent_attach(c, &attach);
	agent_wait_end(s);
	CHECK_INT(s->cause, ==, COVE_CAUSE_KILLED);
	agent_client_stop(c);
}

static void test_shutdown(void)
{
	struct agent_client *c = agent_client_start(agent_cgroup());
	struct agent_stream *polite = agent_sh(
		c, "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done", NULL);
	struct agent_stream *stubborn =
		agent_sh(c, "trap '' TERM; echo up; while :; do sleep 0.02; done", NULL);
	AGENT_UNTIL(c, polite->out[0].size && stubborn->out[0].size);

	Cove__Wire__Shutdown m = COVE__WIRE__SHUTDOWN__INIT;
	m.has_grace_ms = true;
	m.grace_ms = 300;
	struct agent_stream *down = agent_open(c, WIRE_SHUTDOWN, &m.base);
	agent_wait_end(polite);
	CHECK(!down->down);
	CHECK_INT(polite->cause, ==, COVE_CAUSE_STOPPED);
	CHECK_INT(polite->code, ==, 0);
	CHECK_STR((char *)polite->out[0].data, "up\nbye\n");

	/* Nothing new is started meanwhile. */
	struct agent_stream *late = agent_sh(c, "true", NULL);
	agent_wait_failed(late);
	CHECK_INT(late->error.code, ==, COVE_E_STATE);

	agent_wait_end(stubborn);
	CHECK_INT(stubborn->cause, ==, COVE_CAUSE_STOPPED);
	CHECK_INT(stubborn->signal, ==, SIGKILL);
	AGENT_UNTIL(c, down->down);
	agent_client_stop(c);
}

/* With nothing to wait for it does not wait. */
static void test_shutdown_at_once(void)
{
	struct agent_client *c = agent_client_start(NULL);
	agent_do(c, "true", NULL);
	uint64_t before = now();
	Cove__Wire__Shutdown m = COVE__WIRE__SHUTDOWN__INIT;
	struct agent_stream *down = agent_open(c, WIRE_SHUTDOWN, &m.base);
	AGENT_UNTIL(c, down->down);
	CHECK_INT(now() - before, <, 1000);
	agent_client_stop(c);
}

static const struct tap_test tests[] = {
	{ "causes", test_causes },
	{ "output limit of a quick command", test_output_limit_of_a_quick_command },
	{ "background child", test_background_child },
	{ "timeout while waiting for EOF", test_timeout_while_waiting_for_eof },
	{ "whole tree", test_whole_tree },
	{ "timeout signal obeyed", test_timeout_signal_obeyed },
	{ "timeout while blocked", test_timeout_while_blocked },
	{ "timeout while stdin is full", test_timeout_while_stdin_is_full },
	{ "end overtakes data", test_end_overtakes_data },
	{ "end of the pipe overtakes data", test_end_of_the_pipe_overtakes_data },
	{ "stopped", test_stopped },
	{ "signals", test_signals },
	{ "orphans are reaped", test_orphans_are_reaped },
	{ "statuses", test_statuses },
	{ "disconnect", test_disconnect },
	{ "shutdown", test_shutdown },
	{ "shutdown at once", test_shutdown_at_once },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
