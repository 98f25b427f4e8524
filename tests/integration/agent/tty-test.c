/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on a terminal. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cove/cove.h"
#include "harness/agent-client.h"
#include "harness/tap.h"

static void check_output(struct agent_stream *s, const char *text)
{
	CHECK_STR(s->out[0].data ? (const char *)s->out[0].data : "", text);
}

static void test_size(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .tty = true, .rows = 33, .cols = 99 };
	for (int i = 0; i < 20; i++) {
		struct agent_stream *s =
			agent_run(c, (const char *[]){ "stty", "size", NULL }, &run);
		agent_wait_end(s);
		check_output(s, "33 99\r\n");
		CHECK(s->tty);
	}
	run = (struct agent_run){ .tty = true };
	struct agent_stream *s =
		agent_do(c, "stty size; echo $TERM; echo err >&2; ps -o tty= $$", &run);
	CHECK_CONTAINS((char *)s->out[0].data, "24 80\r\nxterm\r\nerr\r\npts/");
	CHECK_INT(s->totals[1], ==, 0);
	run.env = (const char *[]){ "TERM=dumb", NULL };
	s = agent_do(c, "echo $TERM; tty -s && echo yes; echo >/dev/tty", &run);
	check_output(s, "dumb\r\nyes\r\n\r\n");
	agent_client_stop(c);
}

static void test_resize(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .tty = true, .rows = 1, .cols = 1 };
	struct agent_stream *s =
		agent_sh(c, "trap 'stty size' WINCH; echo up; while :; do sleep 0.02; done", &run);
	AGENT_UNTIL(c, s->out[0].size >= 4);
	CHECK_INT(agent_resize(s, 40, 50), ==, 0);
	AGENT_UNTIL(c, strstr((char *)s->out[0].data, "40 50\r\n"));
	CHECK_INT(agent_resize(s, 0, 50), ==, COVE_E_INVALID);
	CHECK_INT(agent_resize(s, 65536, 50), ==, COVE_E_INVALID);

	/* A flood is answered, one by one, and leaves nothing behind. */
	size_t rss = agent_rss_bytes(c);
	unsigned acks = s->acks;
	Cove__Wire__Resize m = COVE__WIRE__RESIZE__INIT;
	for (unsigned i = 0; i < 20000; i++) {
		m.request = i;
		m.rows = m.cols = 10 + i % 100;
		agent_send(s, WIRE_RESIZE, &m.base);
	}
	agent_wait_acks(s, acks + 20000);
	CHECK_RSS_BELOW(c, rss + 4 * 1024 * 1024);
	CHECK_INT(agent_kill(s), ==, 0);
	agent_wait_end(s);
	CHECK_INT(agent_resize(s, 10, 10), ==, COVE_E_STATE);
	agent_client_stop(c);
}

static void test_eof(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .tty = true, .pipe = true, .in = "line\n", .in_size = 5 };
	struct agent_stream *s = agent_do(c, "cat; echo after", &run);
	check_output(s, "line\r\nline\r\nafter\r\n");

	/* Closing types a character, and that is all: another viewer can go on. */
	run = (struct agent_run){ .tty = true, .pipe = true, .open = true, .id = "t" };
	s = agent_sh(c, "stty -echo; echo up; cat; echo again; cat", &run);
	AGENT_UNTIL(c, s->out[0].size == 4);
	agent_write(s, "", 0, true);
	AGENT_UNTIL(c, strstr((char *)s->out[0].data, "again"));
	Cove__Wire__Attach m = COVE__WIRE__ATTACH__INIT;
	m.id = wire_string("t");
	m.has_write = m.write = true;
	struct agent_stream *other = agent_attach(c, &m);
	agent_write(other, "more\n", 5, true);
	agent_wait_end(other);
	check_output(other, "up\r\nagain\r\nmore\r\n");

	/* Not in canonical mode: nothing is typed. */
	run = (struct agent_run){ .tty = true, .pipe = true, .open = true };
	s = agent_sh(c, "stty raw -echo; echo up; dd bs=1 count=2 2>/dev/null | od -An -tx1", &run);
	AGENT_UNTIL(c, s->out[0].size == 3);
	agent_write(s, "ab", 2, true);
	agent_wait_end(s);
	CHECK_CONTAINS((char *)s->out[0].data, "61 62");
	agent_client_stop(c);
}

static void test_keyboard_signal(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .tty = true, .pipe = true, .open = true };
	/* The terminal's foreground group gets it, and the shell goes on. */
	struct agent_stream *s = agent_run(
		c,
		(const char *[]){ "sh", "-i", "-m", "-c",
				  "trap : INT; sh -c 'echo up; exec sleep 60'; echo after $?",
				  NULL },
		&run);
	AGENT_UNTIL(c, s->out[0].data && strstr((char *)s->out[0].data, "up"));
	CHECK_INT(agent_signal(s, SIGINT), ==, 0);
	agent_wait_end(s);
	CHECK_CONTAINS((char *)s->out[0].data, "after 130");
	CHECK_INT(s->cause, ==, COVE_CAUSE_EXITED);

	/* And so does what is typed. */
	s = agent_sh(c, "echo up; exec sleep 60", &run);
	AGENT_UNTIL(c, s->out[0].size >= 4);
	agent_write(s, "\003", 1, false);
	agent_wait_end(s);
	CHECK_INT(s->signal, ==, SIGINT);
	CHECK_INT(s->cause, ==, COVE_CAUSE_SIGNALED);
	agent_client_stop(c);
}

/* Nobody reads, somebody types: neither stops the agent. */
static void test_blocked_terminal(void)
{
	struct agent_client *c = agent_client_start(NULL);
	static uint8_t keys[300000];
	memset(keys, 'k', sizeof(keys));
	struct agent_run run = {
		.tty = true, .pipe = true, .in = keys, .in_size = sizeof(keys), .timeout_ms = 700
	};
	struct agent_stream *s = agent_sh(c, "stty raw; exec sleep 60", &run);
	s->out[0].stalled = true;
	for (int i = 0; i < 10; i++)
		agent_wait_end(agent_sh(c, "true", NULL));
	AGENT_UNTIL(c, s->exited);
	CHECK_INT(s->cause, ==, COVE_CAUSE_TIMED_OUT);
	agent_client_stop(c);
}

static const struct tap_test tests[] = {
	{ "size", test_size },
	{ "resize", test_resize },
	{ "EOF", test_eof },
	{ "keyboard signal", test_keyboard_signal },
	{ "blocked terminal", test_blocked_terminal },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
