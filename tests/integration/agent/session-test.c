/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions outlive their streams: viewers, replay, lists, a link that starts again, and crowds. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/agent-client.h"
#include "harness/tap.h"

static struct agent_stream *attach(struct agent_client *c, const char *id, int from,
				   uint64_t offset)
{
	Cove__Wire__Attach m = COVE__WIRE__ATTACH__INIT;
	m.id = wire_string(id);
	m.has_from = true;
	m.from = from;
	m.has_stdout_offset = m.has_stderr_offset = from == COVE__WIRE__ATTACH__FROM__OFFSET;
	m.stdout_offset = offset;
	m.stderr_offset = 0;
	return agent_attach(c, &m);
}

static void test_replay(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "replay", .pipe = true, .open = true };
	struct agent_stream *first = agent_sh(c, "echo 012345; cat", &run);
	AGENT_UNTIL(c, first->out[0].size == 7);

	struct agent_stream *start =
		attach(c, "replay", COVE__WIRE__ATTACH__FROM__START_OF_RING, 0);
	struct agent_stream *middle = attach(c, "replay", COVE__WIRE__ATTACH__FROM__OFFSET, 3);
	struct agent_stream *end = attach(c, "replay", COVE__WIRE__ATTACH__FROM__NOW, 0);
	struct agent_stream *past = attach(c, "replay", COVE__WIRE__ATTACH__FROM__OFFSET, 8);
	agent_wait_failed(past);
	CHECK_INT(past->error.code, ==, COVE_E_INVALID);
	AGENT_UNTIL(c, start->out[0].size == 7 && middle->out[0].size == 4);
	CHECK(start->already_running);

	agent_write(first, "new\n", 4, true);
	agent_wait_end(first);
	agent_wait_end(start);
	agent_wait_end(middle);
	agent_wait_end(end);
	CHECK_STR((char *)start->out[0].data, "012345\nnew\n");
	CHECK_STR((char *)middle->out[0].data, "345\nnew\n");
	CHECK_INT(middle->out[0].gap, ==, 3);
	CHECK_STR((char *)end->out[0].data, "new\n");
	CHECK_INT(end->out[0].gap, ==, 7);

	/* The same after it has ended. */
	struct agent_stream *late = attach(c, "replay", COVE__WIRE__ATTACH__FROM__OFFSET, 7);
	agent_wait_end(late);
	CHECK_STR((char *)late->out[0].data, "new\n");
	CHECK_INT(late->totals[0], ==, 11);

	struct agent_stream *none = attach(c, "none", COVE__WIRE__ATTACH__FROM__NOW, 0);
	agent_wait_failed(none);
	CHECK_INT(none->error.code, ==, COVE_E_NOT_FOUND);
	CHECK_CONTAINS(none->error.message, "'none'");
	agent_client_stop(c);
}

/* A lossy viewer that stalls is overtaken; the lossless one gets everything at full speed. */
static void test_lossy(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "l", .pipe = true, .open = true };
	struct agent_stream *s = agent_sh(c, "read x; head -c 3000000 /dev/zero", &run);
	agent_wait_started(s);
	s->out[0].discard = true;
	Cove__Wire__Attach m = COVE__WIRE__ATTACH__INIT;
	m.id = wire_string("l");
	m.has_lossy = m.lossy = true;
	struct agent_stream *lossy = agent_attach(c, &m);
	lossy->out[0].stalled = true;
	agent_wait_started(lossy);
	agent_write(s, "go\n", 3, true);
	agent_wait_end(s);
	CHECK_INT(s->out[0].gap, ==, 0);
	CHECK_INT(s->out[0].received, ==, 3000000);
	agent_unstall(lossy);
	agent_wait_end(lossy);
	CHECK_INT(lossy->out[0].gap, >, 0);
	CHECK_INT(lossy->out[0].gap + lossy->out[0].received, ==, 3000000);
	agent_client_stop(c);
}

static void test_rights(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "r", .pipe = true, .open = true };
	struct agent_stream *s = agent_sh(c, "cat", &run);
	agent_wait_started(s);
	struct agent_stream *viewer = attach(c, "r", COVE__WIRE__ATTACH__FROM__NOW, 0);
	agent_wait_started(viewer);
	CHECK_INT(agent_signal(viewer, SIGTERM), ==, COVE_E_DENIED);
	CHECK_INT(agent_kill(viewer), ==, COVE_E_DENIED);
	CHECK_INT(agent_resize(viewer, 1, 1), ==, COVE_E_DENIED);
	static uint8_t much[1000000];
	agent_write(viewer, much, sizeof(much), true);
	AGENT_UNTIL(c, viewer->stdin_errors == 1 && viewer->in_size == 0);
	CHECK_INT(viewer->stdin_errno, ==, EPERM);

	Cove__Wire__Attach m = COVE__WIRE__ATTACH__INIT;
	m.id = wire_string("r");
	m.has_write = m.write = true;
	struct agent_stream *writer = agent_attach(c, &m);
	agent_wait_started(writer);
	agent_write(writer, "two\n", 4, false);
	AGENT_UNTIL(c, s->out[0].size == 4);
	agent_write(s, "one\n", 4, false);
	AGENT_UNTIL(c, s->out[0].size == 8);
	CHECK_STR((char *)s->out[0].data, "two\none\n");

	/* A stream that goes does not close stdin; an end does, whoever's it is. */
	agent_close(s);
	agent_write(writer, "three\n", 6, true);
	agent_wait_end(writer);
	CHECK_STR((char *)writer->out[0].data, "two\none\nthree\n");
	CHECK_INT(writer->code, ==, 0);
	agent_client_stop(c);
}

static void test_viewers_limit(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "v" };
	struct agent_stream *s = agent_sh(c, "sleep 60", &run);
	agent_wait_started(s);
	struct agent_stream *v = NULL;
	for (int i = 1; i < 16; i++) {
		v = attach(c, "v", COVE__WIRE__ATTACH__FROM__NOW, 0);
		agent_wait_started(v);
	}
	struct agent_stream *more = attach(c, "v", COVE__WIRE__ATTACH__FROM__NOW, 0);
	agent_wait_failed(more);
	CHECK_INT(more->error.code, ==, COVE_E_LIMIT);
	agent_close(v);
	agent_wait_started(attach(c, "v", COVE__WIRE__ATTACH__FROM__NOW, 0));
	agent_client_stop(c);
}

static void test_list(void)
{
	struct agent_client *c = agent_client_start(NULL);
	CHECK_INT(agent_list(c)->lists[0]->n_sessions, ==, 0);
	struct agent_run run = { .id = "running", .tty = true };
	agent_wait_started(agent_run(c, (const char *[]){ "sleep", "60", NULL }, &run));
	run = (struct agent_run){ .id = "ended" };
	agent_wait_end(agent_sh(c, "echo hi; exit 9", &run));

	struct agent_stream *list = agent_list(c);
	const Cove__Wire__Session *s = agent_listed(list, "running");
	CHECK(s && !s->exited && s->tty && s->pid > 1);
	CHECK_INT(s->viewers, ==, 1);
	CHECK_INT(s->n_argv, ==, 2);
	CHECK_MEM(s->argv[1].data, s->argv[1].len, "60", 2);
	s = agent_listed(list, "ended");
	CHECK(s && s->exited && !s->tty);
	CHECK_INT(s->exited->code, ==, 9);
	CHECK_INT(s->stdout_total, ==, 3);
	agent_client_stop(c);
}

/* Without a viewer the ring keeps the last bytes and the command is not held up. */
static void test_detached(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "d", .replay_bytes = 65536 };
	struct agent_stream *s = agent_sh(c, "sleep 0.2; seq 1 100000; exit 3", &run);
	agent_wait_started(s);
	agent_close(s);
	CHECK_WITHIN(agent_listed(agent_list(c), "d")->exited, 10000);
	s = attach(c, "d", COVE__WIRE__ATTACH__FROM__START_OF_RING, 0);
	agent_wait_end(s);
	CHECK_INT(s->code, ==, 3);
	CHECK_INT(s->totals[0], ==, 588895);
	CHECK_INT(s->out[0].next, ==, 588895);
	CHECK_INT(s->out[0].gap + s->out[0].size, ==, 588895);
	CHECK_INT(s->out[0].size, ==, 65536);
	CHECK_STR((char *)s->out[0].data + 65536 - 14, "\n99999\n100000\n");
	agent_client_stop(c);
}

/* Failed and lost links: sessions go on, and are there for the next. */
static void test_resync(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "keeps", .pipe = true, .open = true };
	struct agent_stream *s = agent_sh(c, "echo up; cat", &run);
	run.id = "goes";
	run.kill_on_disconnect = true;
	struct agent_stream *g = agent_sh(c, "echo up; cat", &run);
	AGENT_UNTIL(c, s->out[0].size == 3 && g->out[0].size == 3);

	for (int i = 0; i < 5; i++) {
		if (i % 2)
			agent_client_send_garbage(c, "\xff\xff\xff\xff\xff\xff garbage", 14);
		else
			agent_client_resync(c);
		Cove__Wire__Attach m = COVE__WIRE__ATTACH__INIT;
		m.id = wire_string("keeps");
		m.has_write = m.write = true;
		if (i % 2)
			AGENT_UNTIL(c, agent_client_resyncs(c) == (unsigned)(i + 1) / 2);
		s = agent_attach(c, &m);
		agent_wait_started(s);
		agent_write(s, "x", 1, i == 4);
		AGENT_UNTIL(c, s->out[0].size == 3 + (size_t)i + 1);
	}
	agent_wait_end(s);
	CHECK_STR((char *)s->out[0].data, "up\nxxxxx");
	s = attach(c, "goes", COVE__WIRE__ATTACH__FROM__NOW, 0);
	AGENT_UNTIL(c, s->exited);
	CHECK_INT(s->signal, ==, SIGKILL);
	agent_client_stop(c);
}

/* Frames that no peer should send, one after the other; the agent answers after each. */
static void test_malformed(void)
{
	static const struct {
		const char *bytes;
		size_t size;
	} frames[] = {
		{ "\xff\xff\xff\xff\x08\x01\0\0\1\0\0\0", 12 },		   /* too long */
		{ "\0\0\0\0\xf7\0\0\0\1\0\0\0", 12 },			   /* no such type */
		{ "\0\0\0\0\x10\0\1\0\1\0\0\0", 12 },			   /* zero is not */
		{ "\0\0\0\0\x10\x40\0\0\1\0\0\0", 12 },			   /* no such flag */
		{ "\0\0\0\0\x30\0\0\0\1\0\0\0", 12 },			   /* STARTED, from us */
		{ "\0\0\0\0\x20\0\0\0\x09\0\0\0", 12 },			   /* SIGNAL on no stream */
		{ "\x09\0\0\0\x08\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\0x", 21 }, /* DATA on none */
		{ "\0\0\0\0\x0b\0\0\0\0\0\0\0", 12 },			   /* CLOSE of the link */
		{ "\x18\0\0\0\x01\0\0\0\0\0\0\0abcdefghijklmnopqrstuvwx", 36 }, /* no SYNC */
	};
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "witness" };
	agent_wait_started(agent_sh(c, "sleep 60", &run));
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		agent_client_send_garbage(c, frames[i].bytes, frames[i].size);
		AGENT_UNTIL(c, agent_client_resyncs(c) == i + 1);
		struct agent_stream *s = agent_do(c, "echo alive", NULL);
		CHECK_STR((char *)s->out[0].data, "alive\n");
	}
	CHECK(!agent_listed(agent_list(c), "witness")->exited);

	/* Requests that are none, on the link as it should be. */
	struct agent_stream *s = agent_open_raw(c, WIRE_CREATE, "x", 1);
	AGENT_UNTIL(c, s->failed);
	CHECK_INT(s->error.code, ==, COVE_E_UNSUPPORTED);
	s = agent_open_raw(c, WIRE_ATTACH, "\x12", 1);
	AGENT_UNTIL(c, s->failed);
	s = agent_open_raw(c, WIRE_START, "\x12", 1);
	AGENT_UNTIL(c, s->failed);
	CHECK(s->not_ready);
	agent_client_stop(c);
}

/* A thousand ended sessions are kept and more are not, oldest out first; the others are over. */
static void test_kept(void)
{
	enum { N = 1100 };
	struct agent_client *c = agent_client_start(agent_cgroup());
	char id[16];
	struct agent_run run = { .id = id };
	for (int i = 0; i < N; i++) {
		snprintf(id, sizeof(id), "k%d", i);
		struct agent_stream *s = agent_run(c, (const char *[]){ "echo", "hi", NULL }, &run);
		agent_wait_end(s);
		agent_close(s);
	}
	agent_client_idle(c, 50);
	struct agent_stream *list = agent_list(c);
	size_t n = 0;
	for (unsigned i = 0; i < list->n_lists; i++)
		n += list->lists[i]->n_sessions;
	CHECK_INT(n, ==, 1024);
	CHECK(agent_listed(list, "k1099") && agent_listed(list, "k76") &&
	      !agent_listed(list, "k75"));
	struct agent_stream *s = attach(c, "k75", COVE__WIRE__ATTACH__FROM__NOW, 0);
	agent_wait_failed(s);
	CHECK_INT(s->error.code, ==, COVE_E_GONE);
	CHECK_CONTAINS(s->error.message, "'k75' has ended");
	CHECK_INT(agent_count_fds(c), <, 20 + 3 * 16); /* spare cgroups have three each */
	agent_client_stop(c);
}

/*
 * A thousand sessions at once, every other one on a terminal. Idle they are cheap; all of them work;
 * and nothing is left of them.
 */
static void test_crowd(void)
{
	enum { N = 1000, IDLE_BYTES = 32 * 1024 };
	static struct agent_stream *s[N];
	struct agent_client *c = agent_client_start(agent_cgroup());
	agent_wait_end(agent_sh(c, "true", NULL));
	unsigned fds = agent_count_fds(c);
	size_t rss = agent_rss_bytes(c);
	for (int i = 0; i < N; i++) {
		struct agent_run run = { .pipe = true, .open = true, .tty = i % 2 };
		s[i] = agent_run(c, (const char *[]){ "cat", NULL }, &run);
	}
	for (int i = 0; i < N; i++)
		agent_wait_started(s[i]);
	tap_note("an idle session: %zu bytes, %u descriptors", (agent_rss_bytes(c) - rss) / N,
		 (agent_count_fds(c) - fds) / N);
	CHECK_RSS_BELOW(c, rss + (size_t)N * IDLE_BYTES);

	/* Having said something they are not much dearer. */
	for (int i = 0; i < N; i++)
		agent_write(s[i], "hello\n", 6, false);
	for (int i = 0; i < N; i++)
		AGENT_UNTIL(c, s[i]->out[0].size >= 6);
	tap_note("one that has spoken: %zu bytes", (agent_rss_bytes(c) - rss) / N);
	CHECK_RSS_BELOW(c, rss + (size_t)N * IDLE_BYTES);

	for (int i = 0; i < N; i++)
		agent_write(s[i], "", 0, true);
	for (int i = 0; i < N; i++) {
		agent_wait_end(s[i]);
		CHECK_INT(s[i]->code, ==, 0);
		CHECK_STR((char *)s[i]->out[0].data, i % 2 ? "hello\r\nhello\r\n" : "hello\n");
		agent_close(s[i]);
	}
	/* Spare cgroups are kept, three descriptors each. */
	agent_wait_end(agent_sh(c, "true", NULL));
	CHECK_INT(agent_count_fds(c), <=, fds + 3 * 16);
	CHECK_INT(agent_count_children(c), ==, 0);
	tap_note("one that is over: %zu bytes", (agent_rss_bytes(c) - rss) / N);
	agent_client_stop(c);
}

static const struct tap_test tests[] = {
	{ "replay", test_replay },
	{ "detached", test_detached },
	{ "lossy", test_lossy },
	{ "rights", test_rights },
	{ "limit of viewers", test_viewers_limit },
	{ "list", test_list },
	{ "resync", test_resync },
	{ "malformed", test_malformed },
	{ "kept", test_kept, .timeout_s = 60 },
	{ "crowd", test_crowd, .timeout_s = 60 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
