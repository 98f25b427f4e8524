/* SPDX-License-Identifier: Apache-2.0 */
/* Results stay until somebody says that he has them, or they are too old; then they are gone. */
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

static struct agent_stream *attach(struct agent_client *c, const char *id, bool write, bool lossy)
{
	Cove__Wire__Attach m = COVE__WIRE__ATTACH__INIT;
	m.id = wire_string(id);
	m.has_write = m.write = write;
	m.has_lossy = m.lossy = lossy;
	return agent_attach(c, &m);
}

/* Whoever asks for it, in whatever way, is told that it was there. */
static void check_gone(struct agent_client *c, const char *id, const char *why)
{
	char text[80];
	snprintf(text, sizeof(text), "'%s'", id);
	struct agent_run run = { .id = id };
	struct agent_stream *s[] = {
		attach(c, id, true, false),
		attach(c, id, false, true),
		agent_sh(c, "echo again", &run),
	};
	for (size_t i = 0; i < ARRAY_SIZE(s); i++) {
		agent_wait_failed(s[i]);
		CHECK_INT(s[i]->error.code, ==, COVE_E_GONE);
		CHECK_CONTAINS(s[i]->error.message, text);
		CHECK_CONTAINS(s[i]->error.message, why);
		agent_free(s[i]);
	}
}

static void check_listed(struct agent_client *c, const char *id, bool collected, uint64_t start,
			 uint64_t total)
{
	struct agent_stream *list = agent_list(c);
	const Cove__Wire__Session *s = agent_listed(list, id);
	CHECK(s != NULL);
	CHECK_INT(s->collected, ==, collected);
	CHECK_INT(s->stdout_start, ==, start);
	CHECK_INT(s->stdout_total, ==, total);
	CHECK(s->exited != NULL);
	agent_free(list);
}

static uint64_t listed_start(struct agent_client *c, const char *id)
{
	struct agent_stream *list = agent_list(c);
	uint64_t start = agent_listed(list, id)->stdout_start;
	agent_free(list);
	return start;
}

static void test_collect(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "result", .pipe = true, .open = true };
	struct agent_stream *s = agent_sh(c, "echo hi; read x; exit 7", &run);
	struct agent_stream *viewer = attach(c, "result", false, false);
	agent_wait_started(viewer);
	/* It runs still. */
	CHECK_INT(agent_collect(s), ==, COVE_E_STATE);
	CHECK_CONTAINS(s->ack_error.message, "'result'");
	CHECK_INT(agent_collect(viewer), ==, COVE_E_DENIED);
	agent_write(s, "\n", 1, true);
	agent_wait_end(s);
	agent_wait_end(viewer);
	CHECK_INT(agent_collect(viewer), ==, COVE_E_DENIED);

	/* That it was sent, to whomever, changes nothing. */
	agent_close(s);
	agent_close(viewer);
	for (int i = 0; i < 3; i++) {
		s = i == 1 ? agent_sh(c, "", &run) : attach(c, "result", true, false);
		agent_wait_end(s);
		CHECK_INT(s->code, ==, 7);
		CHECK_STR((char *)s->out[0].data, "hi\n");
		if (i < 2)
			agent_close(s);
	}
	check_listed(c, "result", false, 0, 3);
	CHECK_INT(agent_collect(s), ==, 0);
	check_listed(c, "result", true, 3, 3);
	CHECK_INT(agent_collect(s), ==, 0); /* it is */
	check_gone(c, "result", "collected");
	CHECK_INT(agent_signal(s, SIGTERM), ==, COVE_E_STATE);
	agent_close(s);
	check_gone(c, "result", "collected");
	check_listed(c, "result", true, 3, 3);

	struct agent_stream *list = agent_list(c);
	const Cove__Wire__Session *m = agent_listed(list, "result");
	CHECK_INT(m->exited->code, ==, 7);
	CHECK_INT(m->viewers, ==, 0);
	CHECK_INT(m->n_argv, ==, 3);
	CHECK(!m->has_processes && !m->stdin_open);

	/* Others know nothing of it. */
	s = attach(c, "never", true, false);
	agent_wait_failed(s);
	CHECK_INT(s->error.code, ==, COVE_E_NOT_FOUND);
	CHECK_CONTAINS(s->error.message, "'never'");
	agent_client_stop(c);
}

/* Those who look get what they still have to get, and then it is dropped. */
static void test_while_others_look(void)
{
	enum { N = 900000, WINDOW = WIRE_INITIAL_WINDOW };
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "big", .replay_bytes = 1024 * 1024 };
	struct agent_stream *s = agent_sh(c, "seq 1 200000 | head -c 900000", &run);
	struct agent_stream *v[2];
	s->out[0].stalled = true;
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		v[i] = attach(c, "big", i == 0, i == 1);
		v[i]->out[0].stalled = true;
	}
	AGENT_UNTIL(c, s->exited && v[0]->exited && v[1]->exited && s->out[0].received == WINDOW &&
			       v[0]->out[0].received == WINDOW && v[1]->out[0].received == WINDOW);
	check_listed(c, "big", false, 0, N);
	CHECK_INT(agent_collect(v[0]), ==, 0);
	check_listed(c, "big", true, WINDOW, N);
	agent_unstall(s);
	agent_wait_end(s);
	CHECK_INT(agent_collect(s), ==, 0);
	check_listed(c, "big", true, WINDOW, N);
	agent_close(s);
	agent_unstall(v[0]);
	agent_wait_end(v[0]);
	check_listed(c, "big", true, WINDOW, N);
	agent_unstall(v[1]);
	agent_wait_end(v[1]);
	check_listed(c, "big", true, N, N);
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		CHECK_INT(v[i]->out[0].gap, ==, 0);
		CHECK_INT(v[i]->out[0].hash, ==, s->out[0].hash);
	}
	check_gone(c, "big", "collected");

	/* Who takes no output, or goes, needs none. */
	run.id = "muted";
	s = agent_sh(c, "seq 1 200000 | head -c 900000", &run);
	s->out[0].stalled = true;
	struct agent_stream *muted = attach(c, "muted", true, false);
	muted->out[0].stalled = true;
	agent_wait_started(muted);
	agent_mute(muted);
	AGENT_UNTIL(c, s->exited && muted->exited && s->out[0].received == WINDOW);
	CHECK_INT(agent_collect(muted), ==, 0);
	check_listed(c, "muted", true, WINDOW, N);
	agent_mute(s);
	check_listed(c, "muted", true, N, N);
	run.id = "goes";
	s = agent_sh(c, "seq 1 200000 | head -c 900000", &run);
	s->out[0].stalled = true;
	AGENT_UNTIL(c, s->exited && s->out[0].received == WINDOW);
	CHECK_INT(agent_collect(s), ==, 0);
	agent_close(s);
	check_listed(c, "goes", true, N, N);
	agent_client_stop(c);
}

/* The memory goes back, also where a ring was allowed to be large. */
static void test_memory(void)
{
	enum { MIB = 1024 * 1024 };
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "large", .replay_bytes = 40 * MIB };
	agent_wait_end(agent_sh(c, "true", NULL));
	size_t rss = agent_rss_bytes(c);
	struct agent_stream *s = agent_sh(c, "head -c 33554432 /dev/zero; sleep 600 & :", &run);
	s->out[0].discard = true;
	agent_wait_end(s);
	CHECK_INT(agent_rss_bytes(c), >, rss + 30 * MIB);
	CHECK_INT(agent_collect(s), ==, 0);
	CHECK_RSS_BELOW(c, rss + 2 * MIB);
	CHECK_INT(agent_kill(s), ==, 0);
	agent_client_stop(c);
}

/* So it does without: of what nobody looks at, not more than some MiB of output are kept. */
static void test_memory_of_results(void)
{
	enum { MIB = 1024 * 1024, N = 40 };
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .replay_bytes = 2 * MIB };
	struct agent_stream *s[N];
	agent_wait_end(agent_sh(c, "true", NULL));
	size_t rss = agent_rss_bytes(c);
	for (int i = 0; i < N; i++) {
		s[i] = agent_sh(c, "head -c 2000000 /dev/zero", &run);
		s[i]->out[0].discard = s[i]->out[0].stalled = true;
		AGENT_UNTIL(c, s[i]->exited);
	}
	CHECK_INT(agent_rss_bytes(c), >, rss + (size_t)N * 3 / 2 * MIB);
	for (int i = 0; i < N; i++)
		agent_close(s[i]);
	agent_list(c);
	CHECK_RSS_BELOW(c, rss + (size_t)12 * MIB);
	agent_client_stop(c);
}

/* What is left of its processes goes on, is read, can be killed, and ends some time. */
static void test_background(void)
{
	enum { LATE = 3000000 };
	struct agent_client *c = agent_client_start(NULL);
	char script[300];
	snprintf(script, sizeof(script),
		 "exec 3<&0; (read x <&3; head -c %d /dev/zero; echo done >%s/done; read x <&3) & "
		 "echo hi",
		 LATE, tap_dir());
	struct agent_run run = { .id = "bg", .pipe = true, .open = true };
	struct agent_stream *s = agent_sh(c, script, &run);
	agent_wait_end(s);
	CHECK_INT(agent_collect(s), ==, 0);
	struct agent_stream *list = agent_list(c);
	const Cove__Wire__Session *m = agent_listed(list, "bg");
	CHECK(m->collected && m->has_processes && m->stdin_open);
	CHECK_INT(m->stdout_start, ==, 3);

	/* Who looks gets what it says; then nobody looks, and it is not held up. */
	s->out[0].discard = true;
	s->out[0].stalled = true;
	agent_write(s, "\n", 1, false);
	AGENT_UNTIL(c, s->out[0].received == WIRE_INITIAL_WINDOW);
	agent_client_idle(c, 50);
	CHECK(access(tap_path("done"), F_OK) < 0);
	agent_close(s);
	CHECK_WITHIN(access(tap_path("done"), F_OK) == 0, 10000);
	CHECK_WITHIN(listed_start(c, "bg") == 3 + LATE, 10000); /* the rest was in the pipe */
	check_listed(c, "bg", true, 3 + LATE, 3 + LATE);
	check_gone(c, "bg", "collected");
	CHECK_RSS_BELOW(c, 8 * 1024 * 1024);

	/* Killing and collecting at once, whichever waits for what. */
	run = (struct agent_run){ .id = "kill" };
	s = agent_sh(c, "sleep 600 & echo hi", &run);
	struct agent_stream *other = attach(c, "kill", true, false);
	agent_wait_end(s);
	agent_wait_started(other);
	Cove__Wire__Kill kill = COVE__WIRE__KILL__INIT;
	agent_send(other, WIRE_KILL, &kill.base);
	agent_send_collect(s);
	agent_wait_acks(s, 1);
	agent_wait_acks(other, 1);
	CHECK_INT(s->ack_error.code, ==, 0);
	CHECK_INT(other->ack_error.code, ==, 0);
	AGENT_UNTIL(c, s->out[0].eof && other->out[0].eof);
	list = agent_list(c);
	m = agent_listed(list, "kill");
	CHECK(m->collected && !m->has_processes && !m->stdin_open);
	CHECK_INT(agent_kill(other), ==, COVE_E_STATE);
	agent_client_stop(c);
}

/* The link starts anew: nobody looks, and collected is collected. */
static void test_resync(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "r", .replay_bytes = 1024 * 1024 };
	struct agent_stream *s = agent_sh(c, "head -c 900000 /dev/zero", &run);
	s->out[0].stalled = true;
	AGENT_UNTIL(c, s->exited && s->out[0].received == WIRE_INITIAL_WINDOW);
	agent_client_resync(c);
	check_listed(c, "r", false, 0, 900000);
	s = attach(c, "r", true, false);
	s->out[0].stalled = true;
	AGENT_UNTIL(c, s->exited && s->out[0].received == WIRE_INITIAL_WINDOW);
	/* Asked for, and the answer lost: it is done or it is not, and can be asked again. */
	agent_send_collect(s);
	agent_client_resync(c);
	check_listed(c, "r", true, 900000, 900000);
	check_gone(c, "r", "collected");
	agent_client_stop(c);
}

/* ---- too many, too old ---- */

static void run_many(struct agent_client *c, const char *prefix, size_t n, bool collect)
{
	char id[32];
	struct agent_run run = { .id = id };
	for (size_t i = 0; i < n; i++) {
		snprintf(id, sizeof(id), "%s%zu", prefix, i);
		struct agent_stream *s = agent_run(c, (const char *[]){ "true", NULL }, &run);
		agent_wait_end(s);
		if (collect)
			CHECK_INT(agent_collect(s), ==, 0);
		agent_free(s);
	}
	agent_client_idle(c, 50);
}

static size_t count_listed(struct agent_client *c)
{
	struct agent_stream *list = agent_list(c);
	size_t n = agent_count_listed(list);
	agent_free(list);
	return n;
}

/* Entries count, collected or not; looking at one keeps it for whoever looks. */
static void test_too_many(void)
{
	struct agent_client *c = agent_client_start(agent_cgroup());
	struct agent_run run = { .id = "looked-at", .replay_bytes = 1024 * 1024 };
	struct agent_stream *s = agent_sh(c, "head -c 900000 /dev/zero", &run);
	s->out[0].stalled = true;
	AGENT_UNTIL(c, s->exited);
	run_many(c, "a", SESSIONS_KEPT_MAX / 2, true);
	unsigned fds = agent_count_fds(c);
	/* What was collected goes before what nobody has, however old that is. */
	run_many(c, "b", SESSIONS_KEPT_MAX / 2 + 10, false);
	CHECK_INT(count_listed(c), ==, SESSIONS_KEPT_MAX);
	check_gone(c, "a10", "not kept");
	check_gone(c, "a11", "collected");
	CHECK(agent_listed(agent_list(c), "looked-at"));
	run_many(c, "c", SESSIONS_KEPT_MAX / 2 - 11, false);
	CHECK_INT(count_listed(c), ==, SESSIONS_KEPT_MAX);
	CHECK(agent_listed(agent_list(c), "looked-at"));
	run_many(c, "d", 2, false);
	check_gone(c, "looked-at", "not kept");
	check_gone(c, "b0", "not kept");
	CHECK_INT(count_listed(c), ==, SESSIONS_KEPT_MAX);
	CHECK_INT(agent_collect(s), ==, 0); /* too late, and done */
	agent_unstall(s);
	agent_wait_end(s);
	CHECK_INT(s->out[0].received, ==, 900000);
	agent_close(s);
	check_gone(c, "looked-at", "not kept");
	CHECK_INT(agent_count_fds(c), ==, fds);
	CHECK_INT(agent_do(c, "exit 3", NULL)->code, ==, 3);
	agent_client_stop(c);
}

/* Here results are kept for 0.3 s. */
static void test_too_old(void)
{
	struct agent_client *c;
	char path[512];
	snprintf(path, sizeof(path), "%s/tests/integration/agent/cove-agent-forgetful",
		 getenv("COVE_BUILD_DIR"));
	CHECK_SYS(setenv("COVE_AGENT", path, 1));
	c = agent_client_start(NULL);
	for (int i = 0; i < 3; i++) {
		/* The first is looked at until the end: the others' time goes by all the same. */
		char id[16];
		snprintf(id, sizeof(id), "old%d", i);
		struct agent_run run = { .id = id, .replay_bytes = 1024 * 1024 };
		struct agent_stream *s = agent_sh(c, "head -c 900000 /dev/zero", &run);
		s->out[0].stalled = i == 0;
		s->out[0].discard = true;
		AGENT_UNTIL(c, s->exited);
		CHECK_INT(count_listed(c), ==, 1);
		if (i == 2)
			CHECK_INT(agent_collect(s), ==, 0);
		if (i > 0)
			agent_wait_end(s);
		CHECK_WITHIN(count_listed(c) == 0, 10000);
		check_gone(c, id, "not kept");
	}
	struct agent_run run = { .id = "runs" };
	struct agent_stream *s = agent_sh(c, "sleep 600 & echo hi", &run);
	agent_wait_end(s);
	CHECK_INT(agent_collect(s), ==, 0);
	agent_client_idle(c, 600); /* what goes on does not grow old, */
	check_listed(c, "runs", true, 3, 3);
	CHECK_INT(agent_kill(s), ==, 0); /* and what does not, does */
	CHECK_WITHIN(count_listed(c) == 0, 10000);
	check_gone(c, "runs", "not kept");
	agent_client_stop(c);
}

static const struct tap_test tests[] = {
	{ "collect", test_collect },
	{ "while others look", test_while_others_look },
	{ "memory", test_memory },
	{ "memory of results", test_memory_of_results },
	{ "background", test_background },
	{ "resync", test_resync },
	{ "too many", test_too_many, .timeout_s = 60 },
	{ "too old", test_too_old },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
