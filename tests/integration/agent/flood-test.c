/* SPDX-License-Identifier: Apache-2.0 */
/* Requests without end, answers that nobody reads, and messages that say nothing. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/session.h"
#include "cove/cove.h"
#include "harness/agent-client.h"
#include "harness/tap.h"

/* Answers a hundred times as large as their questions, of which many come at once: one by one. */
static void test_lists(void)
{
	enum { SESSIONS = 100, LISTS = 100 };
	struct agent_client *c = agent_client_start(NULL);
	static char word[4000];
	memset(word, 'w', sizeof(word) - 1);
	for (int i = 0; i < SESSIONS; i++) {
		struct agent_stream *s = agent_run(c, (const char *[]){ "true", word, NULL }, NULL);
		agent_wait_end(s);
		agent_close(s);
	}
	struct agent_run run = { .pipe = true, .open = true };
	struct agent_stream *witness = agent_sh(c, "exec cat", &run);
	agent_wait_started(witness);

	static struct agent_stream *lists[LISTS];
	const Cove__Wire__SessionListRequest m = COVE__WIRE__SESSION_LIST_REQUEST__INIT;
	for (int i = 0; i < LISTS; i++)
		lists[i] = agent_open(c, WIRE_SESSION_LIST, &m.base);
	agent_write(witness, "x", 1, true);
	for (int i = 0; i < LISTS; i++) {
		AGENT_UNTIL(c, lists[i]->listed);
		agent_close(lists[i]);
	}
	CHECK_INT(agent_client_resyncs(c), ==, 0);
	CHECK_RSS_BELOW(c, 16 * 1024 * 1024);
	agent_wait_end(witness);
	CHECK_STR((char *)witness->out[0].data, "x");
	agent_client_stop(c);
}

/*
 * A crowd of small requests, more than the buffer they are read into holds, whose answers nobody takes
 * for a while: none is lost, and the link is not taken for ended because there is no room to read.
 */
static void test_full_buffer(void)
{
	enum { SESSIONS = 200, SIGNALS = 20000 };
	struct agent_client *c = agent_client_start(NULL);
	static char word[2000];
	memset(word, 'w', sizeof(word) - 1);
	for (int i = 0; i < SESSIONS; i++) {
		struct agent_stream *s = agent_run(c, (const char *[]){ "true", word, NULL }, NULL);
		agent_wait_end(s);
		agent_close(s);
	}
	struct agent_run run = { .pipe = true, .open = true };
	struct agent_stream *witness = agent_sh(c, "exec cat", &run);
	agent_wait_started(witness);
	Cove__Wire__Signal signal = COVE__WIRE__SIGNAL__INIT;
	const Cove__Wire__SessionListRequest list = COVE__WIRE__SESSION_LIST_REQUEST__INIT;
	struct agent_stream *lists[8];
	CHECK_SYS(kill(agent_client_pid(c), SIGSTOP));
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		lists[i] = agent_open(c, WIRE_SESSION_LIST, &list.base);
	for (int i = 0; i < SIGNALS; i++) {
		signal.request = (uint32_t)i;
		signal.signal = SIGCONT;
		agent_send(witness, WIRE_SIGNAL, &signal.base);
	}
	CHECK_SYS(kill(agent_client_pid(c), SIGCONT));
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		AGENT_UNTIL(c, lists[i]->listed);
	agent_wait_acks(witness, SIGNALS);
	CHECK_INT(witness->refused, ==, 0);
	agent_write(witness, "x", 1, true);
	agent_wait_end(witness);
	CHECK_STR((char *)witness->out[0].data, "x");
	CHECK_INT(agent_client_resyncs(c), ==, 0);
	agent_client_stop(c);
}

/* Many starts at once do not keep a time limit from being kept, nor others waiting. */
static void test_starts(void)
{
	enum { N = 400 };
	struct agent_client *c = agent_client_start(agent_cgroup());
	static struct agent_stream *s[N];
	struct agent_run run = { .timeout_ms = 20 };
	struct agent_stream *limited = agent_sh(c, "exec sleep 600", &run);
	agent_wait_started(limited);
	CHECK_SYS(kill(agent_client_pid(c), SIGSTOP));
	for (int i = 0; i < N; i++)
		s[i] = agent_run(c, (const char *[]){ "sleep", "600", NULL }, NULL);
	agent_client_idle(c, 30);
	CHECK_SYS(kill(agent_client_pid(c), SIGCONT));
	AGENT_UNTIL(c, limited->exited);
	unsigned started = 0;
	for (int i = 0; i < N; i++)
		started += s[i]->started;
	tap_note("%u of %d had started when the time was over", started, N);
	CHECK_INT(started, <, N / 2);
	for (int i = 0; i < N; i++)
		agent_wait_started(s[i]);
	agent_client_stop(c);
}

/* Requests that cannot be read have no number to be answered by: they cost their stream. */
static void test_unreadable(void)
{
	static const uint8_t types[] = { WIRE_SIGNAL,	    WIRE_KILL,	WIRE_RESIZE,
					 WIRE_CLOSE_OUTPUT, WIRE_FLUSH, WIRE_COLLECT };
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "witness", .pipe = true, .open = true };
	struct agent_stream *witness = agent_sh(c, "exec cat", &run);
	agent_wait_started(witness);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		Cove__Wire__Attach m = COVE__WIRE__ATTACH__INIT;
		m.id = wire_string("witness");
		m.has_write = m.write = true;
		struct agent_stream *s = agent_attach(c, &m);
		agent_wait_started(s);
		s->garbled = true;
		agent_send_raw(s, types[i], "\x08", 1);
		/* What follows is ignored, and leaves the witness alone. */
		agent_write(s, "x", 1, true);
		AGENT_UNTIL(c, s->failed);
		CHECK_INT(s->error.code, ==, COVE_E_PROTOCOL);
		agent_close(s);
	}
	agent_write(witness, "still there\n", 12, true);
	agent_wait_end(witness);
	CHECK_STR((char *)witness->out[0].data, "still there\n");

	/* Who wanted the command to go with its stream gets that. */
	run = (struct agent_run){ .id = "goes", .kill_on_disconnect = true };
	struct agent_stream *s = agent_sh(c, "exec sleep 60", &run);
	agent_wait_started(s);
	s->garbled = true;
	agent_send_raw(s, WIRE_KILL, "", 0);
	AGENT_UNTIL(c, s->failed);
	Cove__Wire__Attach m = COVE__WIRE__ATTACH__INIT;
	m.id = wire_string("goes");
	s = agent_attach(c, &m);
	agent_wait_end(s);
	CHECK_INT(s->cause, ==, COVE_CAUSE_KILLED);
	CHECK_INT(agent_client_resyncs(c), ==, 0);
	agent_client_stop(c);
}

/*
 * Stdin that found no room is missing, and so nothing of that stream comes after it: the command gets
 * a beginning of what was sent, never something with a hole in it. Streams that come and go with
 * their windows full are how there is no room.
 */
static void test_stdin_without_room(void)
{
	enum { WINDOW = WIRE_INITIAL_WINDOW, STREAMS = SESSION_INPUT_MAX / WINDOW + 8 };
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "full", .pipe = true, .open = true };
	struct agent_stream *s =
		agent_sh(c, "trap : USR1; sleep 600 & echo up; wait; kill $!; exec tr -d x", &run);
	AGENT_UNTIL(c, s->out[0].size == 3);
	static uint8_t bytes[WINDOW + 1000];
	memset(bytes, 'x', sizeof(bytes));
	Cove__Wire__Attach m = COVE__WIRE__ATTACH__INIT;
	m.id = wire_string("full");
	m.has_write = m.write = true;
	struct agent_stream *v = NULL;
	unsigned refused = 0;
	for (unsigned i = 0; i < STREAMS; i++) {
		v = agent_attach(c, &m);
		agent_wait_started(v);
		agent_write(v, bytes, WINDOW, false);
		AGENT_UNTIL(c, v->in_size == 0);
		agent_wait_end(agent_sh(c, "true", NULL));
		refused += v->stdin_errors;
		if (i + 1 < STREAMS)
			agent_close(v);
	}
	CHECK_INT(refused, >, 4);
	CHECK_INT(v->stdin_errno, ==, ENOBUFS);
	CHECK_RSS_BELOW(c, SESSION_INPUT_MAX + 8 * 1024 * 1024);

	CHECK_INT(agent_signal(s, SIGUSR1), ==, 0);
	agent_client_idle(c, 300);
	/* There is room now, for others. */
	agent_write(v, "hole", 4, false);
	agent_write(s, "end", 3, true);
	agent_wait_end(s);
	CHECK_STR((char *)s->out[0].data, "up\nend");
	CHECK_INT(agent_client_resyncs(c), ==, 0);
	agent_client_stop(c);
}

/* Those that can be remembered are answered when it is done, the others at once. */
static void test_kills(void)
{
	enum { MORE = 6, N = SESSION_KILLS_MAX + MORE };
	struct agent_client *c = agent_client_start(agent_cgroup());
	struct agent_stream *s = agent_sh(c, "sleep 600 & exec sleep 600", NULL);
	agent_wait_started(s);
	/* All of them at once: a tree is empty before one can send that many. */
	CHECK_SYS(kill(agent_client_pid(c), SIGSTOP));
	Cove__Wire__Kill m = COVE__WIRE__KILL__INIT;
	for (unsigned i = 0; i < N; i++) {
		m.request = i;
		agent_send(s, WIRE_KILL, &m.base);
	}
	CHECK_SYS(kill(agent_client_pid(c), SIGCONT));
	agent_wait_acks(s, N);
	CHECK_INT(s->refused, ==, MORE);
	CHECK_INT(s->last_ack, ==, SESSION_KILLS_MAX - 1);
	CHECK_INT(s->ack_error.code, ==, 0);
	agent_wait_end(s);
	CHECK_INT(s->cause, ==, COVE_CAUSE_KILLED);
	agent_client_stop(c);
}

static const struct tap_test tests[] = {
	{ "lists", test_lists },   { "full buffer", test_full_buffer },
	{ "starts", test_starts }, { "unreadable requests", test_unreadable },
	{ "kills", test_kills },   { "stdin without room", test_stdin_without_room },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
