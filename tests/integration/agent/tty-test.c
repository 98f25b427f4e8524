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
	enum { FLOOD = 100000 };
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .tty = true, .rows = 1, .cols = 1 };
	struct agent_stream *s =
		agent_sh(c, "trap 'stty size' WINCH; echo up; while :; do sleep 0.02; done", &run);
	AGENT_UNTIL(c, s->out[0].size >= 4);
	CHECK_INT(agent_resize(s, 40, 50), ==, 0);
	AGENT_UNTIL(c, strstr((char *)s->out[0].data, "40 50\r\n"));
	static const unsigned bad[][2] = {
		{ 0, 50 }, { 50, 0 }, { 65536, 50 }, { 50, 65536 }, { ~0u, ~0u }
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_INT(agent_resize(s, bad[i][0], bad[i][1]), ==, COVE_E_INVALID);
	CHECK_INT(agent_resize(s, 65535, 65535), ==, 0);
	AGENT_UNTIL(c, strstr((char *)s->out[0].data, "65535 65535\r\n"));

	/* A flood is answered, one by one, and leaves nothing behind. */
	size_t rss = agent_rss_bytes(c);
	unsigned acks = s->acks;
	Cove__Wire__Resize m = COVE__WIRE__RESIZE__INIT;
	for (unsigned i = 0; i < FLOOD; i++) {
		m.request = i;
		m.rows = m.cols = 10 + i % 100;
		agent_send(s, WIRE_RESIZE, &m.base);
	}
	agent_wait_acks(s, acks + FLOOD);
	CHECK_INT(s->last_ack, ==, FLOOD - 1);
	CHECK_RSS_BELOW(c, rss + 1024 * 1024);
	CHECK_INT(agent_kill(s), ==, 0);
	agent_wait_end(s);
	CHECK_INT(agent_resize(s, 10, 10), ==, COVE_E_STATE);

	/* Nor is there one to resize without a terminal, or where it was closed. */
	s = agent_sh(c, "exec sleep 60", NULL);
	agent_wait_started(s);
	CHECK_INT(agent_resize(s, 10, 10), ==, COVE_E_STATE);
	CHECK_INT(agent_kill(s), ==, 0);
	run = (struct agent_run){ .tty = true };
	s = agent_sh(c, "exec sleep 60 <&- >&- 2>&-", &run);
	AGENT_UNTIL(c, s->out[0].eof);
	CHECK_INT(agent_resize(s, 10, 10), ==, COVE_E_STATE);
	CHECK_INT(agent_signal(s, SIGINT), ==, 0);
	agent_wait_end(s);
	CHECK_INT(s->signal, ==, SIGINT);

	run = (struct agent_run){ .tty = true, .rows = 65536, .cols = 1 };
	s = agent_sh(c, "true", &run);
	agent_wait_failed(s);
	CHECK_INT(s->error.os_errno, ==, EINVAL);
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

	/* Not in canonical mode: nothing is typed, and what is typed next follows at once. */
	run = (struct agent_run){ .tty = true, .pipe = true, .open = true, .id = "raw" };
	s = agent_sh(c, "stty raw -echo; echo up; dd bs=1 count=3 2>/dev/null | od -An -tx1", &run);
	AGENT_UNTIL(c, s->out[0].size == 3);
	agent_write(s, "ab", 2, true);
	m.id = wire_string("raw");
	other = agent_attach(c, &m);
	agent_wait_started(other);
	agent_write(other, "c", 1, false);
	agent_wait_end(s);
	CHECK_CONTAINS((char *)s->out[0].data, "61 62 63");
	agent_client_stop(c);
}

/* Without stdin there is a terminal, at which nobody sits. */
static void test_nobody_types(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .tty = true };
	check_output(agent_do(c, "cat; tty -s && stty size; echo end", &run), "24 80\r\nend\r\n");
	check_output(agent_do(c, "read x || echo end", &run), "end\r\n");
	struct agent_stream *s = agent_run(c, (const char *[]){ "cat", NULL }, &run);
	agent_wait_end(s);
	CHECK_INT(s->code, ==, 0);
	CHECK_INT(s->totals[0], ==, 0);

	/* Somebody may come later. */
	run.id = "later";
	s = agent_sh(c, "cat; echo up; read x; echo $x", &run);
	AGENT_UNTIL(c, s->out[0].size == 4);
	Cove__Wire__Attach m = COVE__WIRE__ATTACH__INIT;
	m.id = wire_string("later");
	m.has_write = m.write = true;
	struct agent_stream *other = agent_attach(c, &m);
	agent_write(other, "here\n", 5, false);
	agent_wait_end(s);
	check_output(s, "up\r\nhere\r\nhere\r\n");
	agent_client_stop(c);
}

/* The end of stdin is one for whoever reads, whatever was typed before it. */
static void test_eof_within_a_line(void)
{
	static const struct {
		const char *typed;
		const char *output;
	} cases[] = {
		{ "", "" },
		{ "half", "half" },
		{ "line\n", "line\r\n" },
		{ "line\nhalf", "line\r\nhalf" },
		{ "line\r", "line\r\n" },
		{ "gone\025", "" },	   /* ^U: the line is erased */
		{ "gon\177\177\177", "" }, /* and so it is one by one */
		{ "gone\003", "" },	   /* ^C flushes what was typed */
		{ "half\004", "half" },	   /* ^D was typed already */
		{ "x\026\nhalf", "x\nhalf" },
	};
	struct agent_client *c = agent_client_start(NULL);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct agent_run run = { .tty = true, .pipe = true, .open = true };
		struct agent_stream *s =
			agent_sh(c, "stty -echo; trap '' INT; echo up; cat; echo end", &run);
		AGENT_UNTIL(c, s->out[0].size == 4);
		agent_write(s, cases[i].typed, strlen(cases[i].typed), true);
		agent_wait_end(s);
		char expected[64];
		snprintf(expected, sizeof(expected), "up\r\n%send\r\n", cases[i].output);
		/* The kernel writes a line break for a quoted newline as it does for others. */
		if (i + 1 < ARRAY_SIZE(cases))
			check_output(s, expected);
		else
			CHECK_CONTAINS((char *)s->out[0].data, "half");
	}
	agent_client_stop(c);
}

/* Where the terminal takes nothing for now, its end is typed later. */
static void test_eof_when_full(void)
{
	enum { N = 100000 };
	struct agent_client *c = agent_client_start(NULL);
	static char lines[N];
	for (size_t i = 0; i < N; i++)
		lines[i] = i % 50 == 49 ? '\n' : (char)('a' + i / 50 % 26);
	struct agent_run run = { .tty = true, .pipe = true, .open = true };
	struct agent_stream *s = agent_sh(
		c,
		"stty -echo; trap 'exec cat' USR1; (trap '' USR1; exec sleep 60) & echo up; wait",
		&run);
	AGENT_UNTIL(c, s->out[0].size == 4);
	agent_write(s, lines, N, true);
	AGENT_UNTIL(c, s->in_size == 0);
	/* Waiting costs nothing. */
	unsigned long cpu = agent_cpu_ms(c);
	agent_client_idle(c, 300);
	CHECK_INT(agent_cpu_ms(c) - cpu, <, 100);
	CHECK_INT(agent_signal(s, SIGUSR1), ==, 0);
	agent_wait_end(s);
	/* Every line arrived, once, and then the end. */
	CHECK_INT(s->code, ==, 0);
	const char *p = (char *)s->out[0].data + 4;
	for (size_t i = 0; i < N; i++) {
		CHECK(*p == '\r' ? p[1] == lines[i] : *p == lines[i]);
		p += *p == '\r' ? 2 : 1;
	}
	CHECK_INT(*p, ==, 0);
	agent_client_stop(c);
}

/* A line that is longer than a terminal's lines can be: the kernel cuts it, and we do not hang. */
static void test_long_line(void)
{
	enum { N = 100000, LINE_MAX_OF_LINUX = 4095 };
	struct agent_client *c = agent_client_start(NULL);
	static char line[N + 1];
	memset(line, 'l', N);
	line[N] = '\n';
	struct agent_run run = { .tty = true, .pipe = true, .open = true };
	struct agent_stream *s = agent_sh(c, "stty -echo; echo up; exec cat", &run);
	AGENT_UNTIL(c, s->out[0].size == 4);
	agent_write(s, line, sizeof(line), true);
	agent_wait_end(s);
	CHECK_INT(s->code, ==, 0);
	CHECK_INT(s->in_size, ==, 0);
	CHECK_INT(s->totals[0], <=, 4 + LINE_MAX_OF_LINUX + 2);
	CHECK_INT(s->totals[0], >=, 4 + LINE_MAX_OF_LINUX - 1);
	agent_client_stop(c);
}

/* In raw mode a terminal is as good as a pipe. */
static void test_raw_bytes(void)
{
	enum { N = 1024 * 1024 };
	struct agent_client *c = agent_client_start(NULL);
	uint8_t *bytes = malloc(N);
	CHECK(bytes != NULL);
	for (size_t i = 0; i < N; i++)
		bytes[i] = (uint8_t)(i < 256 ? i : i * 31 + i / 251);
	static const size_t sizes[] = { 1, 256, 4095, 4096, 4097, 65537, N };
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		char script[128];
		snprintf(script, sizeof(script), "stty raw -echo; echo up; exec head -c %zu",
			 sizes[i]);
		struct agent_run run = { .tty = true, .pipe = true, .open = true };
		struct agent_stream *s = agent_sh(c, script, &run);
		AGENT_UNTIL(c, s->out[0].size == 3);
		agent_write(s, bytes, sizes[i], false);
		agent_wait_end(s);
		CHECK_MEM(s->out[0].data + 3, s->out[0].size - 3, bytes, sizes[i]);
	}
	CHECK_RSS_BELOW(c, 8 * 1024 * 1024);
	free(bytes);
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

	/* So for the others that a keyboard sends; */
	static const int signals[] = { SIGQUIT, SIGTSTP };
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		s = agent_run(c,
			      (const char *[]){ "sh", "-i", "-m", "-c",
						"sh -c 'echo up; exec sleep 60'; echo after $?",
						NULL },
			      &run);
		AGENT_UNTIL(c, s->out[0].data && strstr((char *)s->out[0].data, "up"));
		CHECK_INT(agent_signal(s, signals[i]), ==, 0);
		char expected[32];
		snprintf(expected, sizeof(expected), "after %d", 128 + signals[i]);
		AGENT_UNTIL(c, strstr((char *)s->out[0].data, expected));
		agent_kill(s);
		AGENT_UNTIL(c, s->exited);
	}
	/* not for those that it does not send: they are for the command's own group. */
	s = agent_run(c,
		      (const char *[]){ "sh", "-i", "-m", "-c",
					"trap 'echo got it; kill %1' USR1; sh -c 'echo up; exec "
					"sleep 60' & wait; exit 3",
					NULL },
		      &run);
	AGENT_UNTIL(c, s->out[0].data && strstr((char *)s->out[0].data, "up"));
	CHECK_INT(agent_signal(s, SIGUSR1), ==, 0);
	agent_wait_end(s);
	CHECK_CONTAINS((char *)s->out[0].data, "got it");
	CHECK_INT(s->code, ==, 3);

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
	{ "nobody types", test_nobody_types },
	{ "EOF within a line", test_eof_within_a_line },
	{ "EOF when full", test_eof_when_full },
	{ "long line", test_long_line },
	{ "raw bytes", test_raw_bytes },
	{ "keyboard signal", test_keyboard_signal },
	{ "blocked terminal", test_blocked_terminal },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
