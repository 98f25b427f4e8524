/* SPDX-License-Identifier: Apache-2.0 */
/* What the list of sessions says, and that saying it holds up nobody. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/session.h"
#include "cove/cove.h"
#include "harness/agent-client.h"
#include "harness/tap.h"

static const Cove__Wire__SessionListRequest request = COVE__WIRE__SESSION_LIST_REQUEST__INIT;

static void test_fields(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_stream *list = agent_list(c);
	CHECK_INT(list->n_lists, ==, 1);
	CHECK_INT(agent_count_listed(list), ==, 0);

	struct agent_run run = { .id = "tty", .tty = true, .rows = 12, .cols = 34 };
	struct agent_stream *tty = agent_sh(c, "echo up; exec sleep 600", &run);
	run = (struct agent_run){ .id = "pipe", .pipe = true, .open = true, .replay_bytes = 4096 };
	struct agent_stream *pipe =
		agent_sh(c, "head -c 10000 /dev/zero; printf error >&2; exec cat", &run);
	run = (struct agent_run){ .id = "none" };
	struct agent_stream *none = agent_sh(c, "sleep 600 & exit 9", &run);
	AGENT_UNTIL(c, tty->out[0].size == 4 && pipe->out[0].size == 10000 && none->exited &&
			       pipe->out[1].size == 5);

	list = agent_list(c);
	const Cove__Wire__Session *s = agent_listed(list, "tty");
	CHECK(s->tty && s->has_processes && s->stdin_open && !s->exited && !s->collected);
	CHECK_INT(s->rows, ==, 12);
	CHECK_INT(s->cols, ==, 34);
	CHECK_INT(s->stdout_total, ==, 4);
	s = agent_listed(list, "pipe");
	CHECK(!s->tty && s->has_processes && s->stdin_open && !s->exited && !s->collected);
	CHECK(!s->has_rows && !s->has_cols);
	CHECK_INT(s->stdout_start, ==, 10000 - 4096);
	CHECK_INT(s->stdout_total, ==, 10000);
	CHECK_INT(s->stderr_start, ==, 0);
	CHECK_INT(s->stderr_total, ==, 5);
	CHECK_INT(s->viewers, ==, 1);
	s = agent_listed(list, "none");
	CHECK(s->has_processes && !s->stdin_open && s->exited && !s->collected);
	CHECK_INT(s->exited->code, ==, 9);

	CHECK_INT(agent_resize(tty, 56, 78), ==, 0);
	agent_write(pipe, "", 0, true);
	agent_wait_end(pipe);
	CHECK_INT(agent_kill(none), ==, 0);
	CHECK_INT(agent_kill(tty), ==, 0);
	AGENT_UNTIL(c, tty->exited && tty->out[0].eof);
	agent_close(pipe);
	list = agent_list(c);
	s = agent_listed(list, "tty");
	CHECK(!s->has_processes && !s->stdin_open && s->exited);
	CHECK_INT(s->rows, ==, 56);
	CHECK_INT(s->cols, ==, 78);
	s = agent_listed(list, "pipe");
	CHECK(!s->has_processes && !s->stdin_open && s->exited);
	CHECK_INT(s->viewers, ==, 0);
	CHECK(!agent_listed(list, "none")->has_processes);
	agent_client_stop(c);
}

/* Ended sessions in the order of their start, `id` being a buffer of their ids. */
static void run_many(struct agent_client *c, unsigned n, const char *argument)
{
	char id[16];
	struct agent_run run = { .id = id };
	for (unsigned i = 0; i < n; i++) {
		snprintf(id, sizeof(id), "%u", i);
		struct agent_stream *s =
			agent_run(c, (const char *[]){ "true", argument, NULL }, &run);
		agent_wait_end(s);
		agent_free(s);
	}
}

/* Each session once, in the order of their start. Returns the bytes of all argv. */
static size_t check_order(const struct agent_stream *list, unsigned n)
{
	unsigned k = 0;
	size_t argv_bytes = 0;
	char id[16];
	for (unsigned i = 0; i < list->n_lists; i++)
		for (size_t j = 0; j < list->lists[i]->n_sessions && k < n; j++, k++) {
			const Cove__Wire__Session *s = list->lists[i]->sessions[j];
			size_t own = 0;
			for (size_t a = 0; a < s->n_argv; a++)
				own += s->argv[a].len;
			CHECK_INT(own, <=, SESSION_ARGV_MAX);
			argv_bytes += own;
			snprintf(id, sizeof(id), "%u", k);
			CHECK_MEM(s->id.data, s->id.len, id, strlen(id));
		}
	CHECK_INT(k, ==, n);
	return argv_bytes;
}

/* Many streams, on which a window of output each is to be sent. */
static void attach_many(struct agent_client *c)
{
	struct agent_run run = { .id = "data" };
	agent_free(agent_do(c, "head -c 262144 /dev/zero", &run));
	Cove__Wire__Attach m = COVE__WIRE__ATTACH__INIT;
	m.id = wire_string("data");
	for (unsigned i = 0; i < 16; i++)
		agent_attach(c, &m)->out[0].discard = true;
}

/*
 * A thousand of them are many messages, between which there is output, of whoever has some, however
 * many ask for lists at the same time. What is asked here is asked before anything is read, so that
 * there is output enough.
 */
static void test_holds_up_nobody(void)
{
	enum { SESSIONS = 640, MESSAGES = SESSIONS / 64, LISTS = 10 };
	struct agent_client *c = agent_client_start(agent_cgroup());
	struct agent_stream *list[LISTS];
	run_many(c, SESSIONS, NULL);
	attach_many(c);
	list[0] = agent_list(c);
	CHECK_INT(list[0]->n_lists, >=, MESSAGES);
	CHECK_INT(list[0]->list_end - list[0]->list_begin, >=, (MESSAGES - 1) * 4096);
	agent_client_stop(c);

	c = agent_client_start(agent_cgroup());
	run_many(c, SESSIONS, NULL);
	attach_many(c);
	for (unsigned i = 0; i < LISTS; i++)
		list[i] = agent_open(c, WIRE_SESSION_LIST, &request.base);
	uint64_t begin = UINT64_MAX, end = 0, last_begin = 0, first_end = UINT64_MAX;
	for (unsigned i = 0; i < LISTS; i++) {
		AGENT_UNTIL(c, list[i]->listed);
		check_order(list[i], SESSIONS);
		begin = MIN(begin, list[i]->list_begin);
		end = MAX(end, list[i]->list_end);
		last_begin = MAX(last_begin, list[i]->list_begin);
		first_end = MIN(first_end, list[i]->list_end);
	}
	CHECK_INT(last_begin, <, first_end); /* each of them a message in turn */
	CHECK_INT(end - begin, >=, LISTS * MESSAGES * 4096);
	agent_client_stop(c);
}

/* Long commands are shortened, each and all together. */
static void test_long_commands(void)
{
	enum { SESSIONS = 1024, LONG = 10000, ALL = 4 * 1024 * 1024 };
	struct agent_client *c = agent_client_start(agent_cgroup());
	static char argument[LONG + 1];
	memset(argument, 'a', LONG);
	run_many(c, SESSIONS, argument);
	size_t argv_bytes = check_order(agent_list(c), SESSIONS);
	CHECK_INT(argv_bytes, <=, ALL);
	CHECK_INT(argv_bytes, >, ALL / 2);
	size_t rss = agent_rss_bytes(c);
	for (int i = 0; i < 20; i++)
		agent_open(c, WIRE_SESSION_LIST, &request.base);
	check_order(agent_list(c), SESSIONS);
	CHECK_RSS_BELOW(c, rss + 2 * 1024 * 1024);
	agent_client_stop(c);
}

/* Sessions start and are forgotten while they are listed; who asked goes, or the link starts anew. */
static void test_changes(void)
{
	enum { ROUNDS = 40, PER_ROUND = 32 };
	struct agent_client *c = agent_client_start(agent_cgroup());
	run_many(c, 1024, NULL);
	size_t rss = agent_rss_bytes(c);
	char id[16];
	struct agent_run run = { .id = id };
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct agent_stream *list = agent_open(c, WIRE_SESSION_LIST, &request.base);
		for (unsigned k = 0; k < PER_ROUND; k++) {
			agent_free(agent_open(c, WIRE_SESSION_LIST, &request.base));
			snprintf(id, sizeof(id), "x%u", i * PER_ROUND + k);
			struct agent_stream *s =
				agent_run(c, (const char *[]){ "true", NULL }, &run);
			agent_wait_end(s);
			agent_free(s);
		}
		if (i % 10 == 9) {
			agent_open(c, WIRE_SESSION_LIST, &request.base);
			agent_client_resync(c);
			continue;
		}
		AGENT_UNTIL(c, list->listed);
		CHECK_INT(agent_count_listed(list), <=, 1024 + PER_ROUND);
		agent_free(list);
	}
	/* Nobody gets the answer to what was asked before, on a stream that has the same number. */
	for (unsigned i = 0; i < 10; i++) {
		agent_client_resync(c);
		agent_open(c, WIRE_SESSION_LIST, &request.base);
		agent_client_resync(c);
		agent_do(c, "true", NULL);
	}
	struct agent_stream *list = agent_list(c);
	CHECK(!agent_listed(list, "0"));
	CHECK_INT(agent_count_listed(list), >=, 1000);
	CHECK_RSS_BELOW(c, rss + 2 * 1024 * 1024);
	agent_client_stop(c);
}

/* Lists that are asked for and given up, faster than they are said, are not even remembered. */
static void test_given_up(void)
{
	enum { ROUNDS = 40, LISTS = 4000 };
	struct agent_client *c = agent_client_start(agent_cgroup());
	run_many(c, 64, NULL);
	size_t rss = 0;
	for (unsigned i = 0; i < ROUNDS; i++) {
		for (unsigned k = 0; k < LISTS; k++)
			agent_free(agent_open(c, WIRE_SESSION_LIST, &request.base));
		agent_free(agent_do(c, "true", NULL));
		if (i == 0)
			rss = agent_rss_bytes(c);
	}
	CHECK_RSS_BELOW(c, rss + 2 * 1024 * 1024);
	/* Nor does it take time to find that out. */
	unsigned long cpu = agent_cpu_ms(c);
	CHECK_INT(agent_count_listed(agent_list(c)), ==, 64 + ROUNDS);
	CHECK_INT(agent_cpu_ms(c) - cpu, <, 500);
	agent_client_stop(c);
}

static const struct tap_test tests[] = {
	{ "fields", test_fields },
	{ "holds up nobody", test_holds_up_nobody, .timeout_s = 60 },
	{ "long commands", test_long_commands, .timeout_s = 60 },
	{ "changes", test_changes, .timeout_s = 60 },
	{ "given up", test_given_up, .timeout_s = 60 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
