/* SPDX-License-Identifier: Apache-2.0 */
/* Coming and going: what a session does without its viewers, and for those who come back. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cove/cove.h"
#include "harness/agent-client.h"
#include "harness/tap.h"
#include "vm/rounds.h"

enum {
	START = COVE__WIRE__ATTACH__FROM__START_OF_RING,
	NOW = COVE__WIRE__ATTACH__FROM__NOW,
};

static struct agent_stream *attach(struct agent_client *c, const char *id, int from, bool write,
				   bool lossy)
{
	Cove__Wire__Attach m = COVE__WIRE__ATTACH__INIT;
	m.id = wire_string(id);
	m.has_from = true;
	m.from = from;
	m.has_write = m.write = write;
	m.has_lossy = m.lossy = lossy;
	return agent_attach(c, &m);
}

static const char *text_of(const struct agent_stream *s)
{
	return s->out[0].data ? (const char *)s->out[0].data : "";
}

static bool is_running(struct agent_client *c, const char *id)
{
	struct agent_stream *list = agent_list(c);
	bool running = !agent_listed(list, id)->exited;
	agent_free(list);
	return running;
}

/* ---- while nobody looks ---- */

/* A program on a terminal goes on, is read, and gets what was typed before everybody left. */
static void test_terminal_goes_on(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "t", .tty = true, .pipe = true, .open = true };
	struct agent_stream *s = agent_sh(
		c, "stty -echo; echo up; read a; echo $a; seq 1 20000; read b; echo $b; cat", &run);
	AGENT_UNTIL(c, s->out[0].size == 4);
	agent_write(s, "one\ntwo\n", 8, false);
	CHECK_INT(agent_flush(s, 8), ==, 0);
	agent_close(s);
	/* up, one, the numbers, two: with a carriage return each. */
	uint64_t total = 4 + 5 + (108894 + 20000) + 5;
	uint64_t seen = 0;
	while (seen < total) {
		struct agent_stream *list = agent_list(c);
		seen = agent_listed(list, "t")->stdout_total;
		agent_free(list);
	}
	CHECK_INT(seen, ==, total);
	s = attach(c, "t", START, true, false);
	AGENT_UNTIL(c, s->out[0].received == total);
	CHECK_INT(s->out[0].gap, ==, 0);
	CHECK_CONTAINS(text_of(s), "up\r\none\r\n1\r\n");
	CHECK_CONTAINS(text_of(s), "\r\n20000\r\ntwo\r\n");
	agent_write(s, "three\n", 6, true);
	agent_wait_end(s);
	CHECK_CONTAINS(text_of(s), "two\r\nthree\r\n");
	agent_client_stop(c);
}

/* The first byte of what ends at once, also when who started it has gone by then. */
static void test_first_byte(void)
{
	struct agent_client *c = agent_client_start(agent_cgroup());
	size_t rounds = rounds_or(200);
	for (size_t i = 0; i < rounds; i++) {
		char id[32];
		snprintf(id, sizeof(id), "f%zu", i);
		struct agent_run run = { .id = id, .tty = i % 2, .linger_ms = -1 };
		struct agent_stream *s =
			agent_run(c, (const char *[]){ "printf", "x", NULL }, &run);
		if (i % 3 == 0)
			agent_wait_started(s);
		if (i % 3 == 1)
			agent_client_idle(c, 1);
		agent_free(s);
		s = attach(c, id, START, true, false);
		agent_wait_end(s);
		CHECK_STR(text_of(s), "x");
		CHECK_INT(s->totals[0], ==, 1);
		CHECK_INT(agent_collect(s), ==, 0);
		agent_free(s);
	}
	agent_client_stop(c);
}

/* ---- what STARTED says ---- */

static void check_size(struct agent_stream *s, unsigned rows, unsigned cols)
{
	agent_wait_started(s);
	CHECK_INT(s->rows, ==, rows);
	CHECK_INT(s->cols, ==, cols);
}

static void test_size(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = {
		.id = "size", .tty = true, .rows = 33, .cols = 99, .pipe = true, .open = true
	};
	struct agent_stream *s = agent_sh(
		c,
		"echo up; read x; stty rows 7 cols 8; echo set; read x; exec <&- >&- 2>&-; exec sleep 600",
		&run);
	check_size(s, 33, 99);
	check_size(attach(c, "size", NOW, true, false), 33, 99);
	struct agent_stream *other = attach(c, "size", NOW, true, false);
	CHECK_INT(agent_resize(other, 40, 50), ==, 0);
	check_size(attach(c, "size", NOW, false, false), 40, 50);
	check_size(agent_sh(c, "again", &run), 40, 50);
	/* By its own programs, */
	agent_write(s, "\n", 1, false);
	AGENT_UNTIL(c, strstr(text_of(s), "set"));
	const Cove__Wire__Session *listed = agent_listed(agent_list(c), "size");
	CHECK_INT(listed->rows, ==, 7);
	CHECK_INT(listed->cols, ==, 8);
	CHECK_INT(agent_resize(other, 9, 9), ==, 0);
	check_size(attach(c, "size", NOW, false, false), 9, 9);
	/* and as it was when it was there last. */
	CHECK_INT(agent_resize(other, 60, 70), ==, 0);
	agent_write(s, "\n", 1, false);
	AGENT_UNTIL(c, s->out[0].eof);
	check_size(attach(c, "size", NOW, false, false), 60, 70);
	CHECK_INT(agent_kill(s), ==, 0);
	AGENT_UNTIL(c, s->exited);
	check_size(attach(c, "size", NOW, false, false), 60, 70);

	check_size(agent_sh(c, "true", NULL), 0, 0);
	run = (struct agent_run){ .tty = true };
	check_size(agent_sh(c, "true", &run), 24, 80);
	agent_client_stop(c);
}

static void test_ends(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "e", .pipe = true, .open = true };
	struct agent_stream *s = agent_sh(c, "printf 12345; printf 678 >&2; read x; echo", &run);
	AGENT_UNTIL(c, s->out[0].size == 5 && s->out[1].size == 3);
	CHECK_INT(s->ends[0] + s->ends[1], ==, 0); /* there was nothing */
	for (int i = 0; i < 4; i++) {
		if (i == 2) {
			agent_write(s, "\n", 1, true);
			agent_wait_end(s);
		}
		struct agent_stream *v = attach(c, "e", i % 2 ? NOW : START, false, false);
		agent_wait_started(v);
		CHECK_INT(v->ends[0], ==, i < 2 ? 5 : 6);
		CHECK_INT(v->ends[1], ==, 3);
		CHECK_INT(v->offsets[0], ==, i % 2 ? v->ends[0] : 0);
	}
	agent_client_stop(c);
}

/* ---- those who do not read ---- */

/* They hold up their own command only, and everybody goes on when they do, or have gone. */
static void test_stalled(void)
{
	enum { N = 3000000, WINDOW = WIRE_INITIAL_WINDOW, RING = 256 * 1024 };
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "held", .pipe = true, .open = true };
	struct agent_stream *s = agent_sh(
		c, "read x; head -c 262144 /dev/zero; read x; head -c 2737856 /dev/zero", &run);
	s->out[0].discard = true;
	struct agent_stream *v[3];
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		v[i] = attach(c, "held", START, false, i == 2);
		v[i]->out[0].discard = v[i]->out[0].stalled = true;
		agent_wait_started(v[i]);
	}
	agent_write(s, "\n", 1, false);
	for (size_t i = 0; i < ARRAY_SIZE(v); i++)
		AGENT_UNTIL(c, v[i]->out[0].received == WINDOW);
	agent_write(s, "\n", 1, false);
	AGENT_UNTIL(c, s->out[0].received == WINDOW + RING);
	agent_client_idle(c, 50);
	CHECK_INT(s->out[0].received, ==, WINDOW + RING);
	CHECK(is_running(c, "held"));
	struct agent_stream *other = agent_do(c, "head -c 3000000 /dev/zero", NULL);
	CHECK_INT(other->out[0].received, ==, N);
	agent_unstall(v[0]);
	agent_client_idle(c, 50);
	CHECK(is_running(c, "held"));
	agent_close(v[1]);
	agent_wait_end(s);
	agent_wait_end(v[0]);
	CHECK_INT(v[0]->out[0].received, ==, N);
	/* The lossy one was not waited for, and is told exactly what it has missed. */
	uint64_t kept = agent_listed(agent_list(c), "held")->stdout_start;
	CHECK_INT(kept, >, WINDOW + RING);
	agent_unstall(v[2]);
	agent_wait_end(v[2]);
	CHECK_INT(v[2]->out[0].jumps, ==, 1);
	CHECK_INT(v[2]->out[0].gap, ==, kept - WINDOW);
	CHECK_INT(v[2]->out[0].received, ==, N - (kept - WINDOW));
	agent_client_stop(c);
}

/* ---- who may ---- */

static void test_read_only(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "r", .tty = true, .pipe = true, .open = true };
	struct agent_stream *s = agent_sh(c, "stty -echo; echo up; cat", &run);
	AGENT_UNTIL(c, s->out[0].size == 4);
	struct agent_stream *v = attach(c, "r", NOW, false, false);
	agent_wait_started(v);
	CHECK_INT(agent_signal(v, SIGTERM), ==, COVE_E_DENIED);
	CHECK_INT(agent_kill(v), ==, COVE_E_DENIED);
	CHECK_INT(agent_resize(v, 5, 5), ==, COVE_E_DENIED);
	CHECK_INT(agent_close_output(v, WIRE_STDOUT), ==, COVE_E_DENIED);
	CHECK_INT(agent_flush(v, 0), ==, COVE_E_DENIED);
	CHECK_INT(agent_collect(v), ==, COVE_E_DENIED);
	agent_write(v, "\003\004no\n", 5, true);
	AGENT_UNTIL(c, v->stdin_errors == 1);
	CHECK_INT(v->stdin_errno, ==, EPERM);
	agent_client_idle(c, 20);
	check_size(attach(c, "r", NOW, false, false), 24, 80);
	agent_write(s, "yes\n", 4, true);
	agent_wait_end(s);
	CHECK_STR(text_of(s), "up\r\nyes\r\n");
	CHECK_INT(agent_collect(v), ==, COVE_E_DENIED);
	agent_client_stop(c);
}

/* Whoever they are; and each that goes makes room for one. */
static void test_viewers_max(void)
{
	enum { MAX_VIEWERS = 16 };
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "v" };
	struct agent_stream *v[MAX_VIEWERS];
	for (size_t i = 0; i < MAX_VIEWERS; i++) {
		v[i] = i % 2 ? attach(c, "v", NOW, false, i % 3) : agent_sh(c, "sleep 600", &run);
		agent_wait_started(v[i]);
	}
	for (size_t i = 0; i < MAX_VIEWERS; i++) {
		struct agent_stream *more[] = { attach(c, "v", NOW, true, true),
						agent_sh(c, "sleep 600", &run) };
		for (size_t k = 0; k < ARRAY_SIZE(more); k++) {
			agent_wait_failed(more[k]);
			CHECK_INT(more[k]->error.code, ==, COVE_E_LIMIT);
			CHECK_CONTAINS(more[k]->error.message, "'v'");
		}
		agent_close(v[i]);
		v[i] = i % 2 ? agent_sh(c, "sleep 600", &run) : attach(c, "v", NOW, true, false);
		agent_wait_started(v[i]);
	}
	CHECK(is_running(c, "v"));
	agent_client_stop(c);
}

/* ---- kill_on_disconnect ---- */

static void test_kill_on_disconnect(void)
{
	struct agent_client *c = agent_client_start(agent_cgroup());
	struct agent_run run = { .id = "starters", .kill_on_disconnect = true };
	struct agent_stream *a = agent_sh(c, "exec sleep 600", &run);
	struct agent_stream *b = agent_sh(c, "exec sleep 600", &run);
	struct agent_stream *v = attach(c, "starters", NOW, true, false);
	agent_wait_started(v);
	/* While one of them is there; */
	agent_close(a);
	CHECK(is_running(c, "starters"));
	a = agent_sh(c, "exec sleep 600", &run);
	agent_close(b);
	CHECK(is_running(c, "starters"));
	/* those who look have no say, come or gone. */
	agent_close(attach(c, "starters", NOW, true, false));
	CHECK(is_running(c, "starters"));
	agent_close(a);
	agent_wait_end(v);
	CHECK_INT(v->cause, ==, COVE_CAUSE_KILLED);
	CHECK_INT(v->signal, ==, SIGKILL);

	/* Gone before it was answered. */
	run.id = "quick";
	agent_close(agent_sh(c, "exec sleep 600", &run));
	CHECK_WITHIN(!is_running(c, "quick"), 10000);

	/* Its end comes first: what it left behind is meant to stay, */
	run.id = "left";
	a = agent_sh(c, "sleep 600 & echo up", &run);
	agent_wait_end(a);
	agent_close(a);
	v = attach(c, "left", NOW, true, false);
	agent_wait_started(v);
	struct agent_stream *list = agent_list(c);
	CHECK(agent_listed(list, "left")->has_processes);
	CHECK_INT(agent_kill(v), ==, 0);
	/* unless it is waited for as the command is. */
	run.id = "waited-for";
	run.wait_eof = true;
	a = agent_sh(c, "sleep 600 & echo up; exit 5", &run);
	v = attach(c, "waited-for", NOW, true, false);
	AGENT_UNTIL(c, a->out[0].size == 3);
	CHECK_WITHIN(agent_count_children(c) == 0 || agent_count_children(c) == 1, 10000);
	agent_client_idle(c, 100);
	CHECK(!v->exited);
	agent_close(a);
	agent_wait_end(v);
	CHECK_INT(v->code, ==, 5);
	AGENT_UNTIL(c, v->out[0].eof);
	CHECK_WITHIN(agent_count_children(c) == 0, 10000);
	agent_client_stop(c);
}

/* ---- for ever ---- */

/* One round of somebody who comes and goes, in one of several ways. */
static void come_and_go(struct agent_client *c, struct agent_stream *s, size_t i)
{
	struct agent_stream *v = attach(c, "for-ever", i % 2 ? NOW : START, i % 3, i % 5 == 0);
	switch (i % 8) {
	case 0:
		break; /* before the answer */
	case 1:
	case 2:
		agent_wait_started(v);
		v->out[0].stalled = true;
		break;
	case 3:
		agent_wait_started(v);
		agent_mute(v);
		break;
	case 4:
		agent_wait_started(v);
		agent_send_flush(v, 1 + i % 2);
		break;
	case 5:
		agent_wait_started(v);
		agent_write(v, "x", 1, false);
		break;
	default:
		AGENT_UNTIL(c, v->started && (i % 2 || v->out[0].next == s->out[0].next));
		agent_resize(v, 20 + i % 10, 80);
		break;
	}
	agent_free(v);
}

/* Ten thousand times, on a terminal that says something all the time: memory and descriptors stay. */
static void test_rounds(void)
{
	enum { WARM_UP = 1000, MIB = 1024 * 1024 };
	struct agent_client *c = agent_client_start(agent_cgroup());
	struct agent_run run = { .id = "for-ever", .tty = true, .pipe = true, .open = true };
	struct agent_stream *s = agent_sh(c, "stty raw -echo; echo up; exec cat", &run);
	s->out[0].discard = true;
	AGENT_UNTIL(c, s->out[0].received == 3);
	size_t rounds = rounds_or(10000);
	size_t rss = 0;
	unsigned fds = agent_count_fds(c);
	for (size_t i = 0; i < WARM_UP + rounds; i++) {
		if (i == WARM_UP)
			rss = agent_rss_bytes(c);
		come_and_go(c, s, i);
	}
	struct agent_stream *list = agent_list(c);
	CHECK_INT(agent_listed(list, "for-ever")->viewers, ==, 1);
	tap_note("%zu rounds: %zd KiB more", rounds,
		 ((ssize_t)agent_rss_bytes(c) - (ssize_t)rss) / 1024);
	CHECK_INT(agent_count_fds(c), ==, fds);
	CHECK_RSS_BELOW(c, rss + MIB / 2);
	CHECK_INT(agent_kill(s), ==, 0);
	agent_wait_end(s);
	agent_client_stop(c);
}

static const struct tap_test tests[] = {
	{ "terminal goes on", test_terminal_goes_on },
	{ "first byte", test_first_byte, .timeout_s = 600 },
	{ "size", test_size },
	{ "ends", test_ends },
	{ "stalled", test_stalled },
	{ "read only", test_read_only },
	{ "viewers max", test_viewers_max },
	{ "kill on disconnect", test_kill_on_disconnect },
	{ "rounds", test_rounds, .timeout_s = 600 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
