/* SPDX-License-Identifier: Apache-2.0 */
/* One id is one run, whoever asks for it, and how often. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "cove/cove.h"
#include "harness/agent-client.h"
#include "harness/tap.h"

#define ARGV(...)                                                                                  \
	(const char *[])                                                                           \
	{                                                                                          \
		__VA_ARGS__, NULL                                                                  \
	}

static void check_output(struct agent_stream *s, const char *text)
{
	CHECK_STR(s->out[0].data ? (const char *)s->out[0].data : "", text);
}

static void test_same_id(void)
{
	struct agent_client *c = agent_client_start(NULL);
	char script[400];
	snprintf(script, sizeof(script), "echo run >>%s/count; echo out; sleep 0.3; exit 5",
		 tap_dir());
	struct agent_run run = { .id = "job-1" };
	struct agent_stream *a = agent_sh(c, script, &run), *b = agent_sh(c, script, &run);
	agent_wait_end(a);
	agent_wait_end(b);
	CHECK_STR(a->session, "job-1");
	CHECK_STR(b->session, "job-1");
	CHECK(!a->already_running);
	CHECK(b->already_running);
	CHECK_INT(a->pid, ==, b->pid);
	check_output(b, "out\n");
	CHECK_INT(b->code, ==, 5);

	/* And once it has ended, its result. */
	struct agent_stream *s = agent_sh(c, script, &run);
	agent_wait_end(s);
	CHECK(s->already_running);
	CHECK_INT(s->code, ==, 5);
	check_output(s, "out\n");
	char *count;
	CHECK_OK(fd_read_file(AT_FDCWD, tap_path("count"), 100, false, &count, NULL));
	CHECK_STR(count, "run\n");
	free(count);

	/* Ids that the agent makes keep clear of those that callers made. */
	run.id = "s2";
	agent_wait_end(agent_sh(c, "true", &run));
	struct agent_stream *t = agent_sh(c, "true", NULL);
	agent_wait_end(t);
	CHECK(strcmp(t->session, "s2") != 0);

	/* Collected: the id stays used. */
	CHECK_INT(agent_collect(s), ==, 0);
	run.id = "job-1";
	s = agent_sh(c, script, &run);
	agent_wait_failed(s);
	CHECK_INT(s->error.code, ==, COVE_E_GONE);
	CHECK_INT(s->error.stage, ==, COVE_STAGE_REQUEST);
	agent_client_stop(c);
}

/* An id names what ran, and what could not be started did not run. */
static void test_same_id_after_failure(void)
{
	struct agent_client *c = agent_client_start(NULL);
	static const struct agent_run bad[] = {
		{ .id = "again", .cwd = "/no/such" },
		{ .id = "again", .user = "nosuchuser" },
		{ .id = "again", .tty = true, .rows = 70000 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		/* Two at once: each is a try of its own. */
		struct agent_stream *a = agent_run(c, ARGV("true"), &bad[i]),
				    *b = agent_run(c, ARGV("/no/such/file"), &bad[i]);
		agent_wait_failed(a);
		agent_wait_failed(b);
		CHECK_INT(a->error.code, ==, COVE_E_START);
		CHECK_INT(b->error.code, ==, COVE_E_START);
	}
	Cove__Wire__Attach attach = COVE__WIRE__ATTACH__INIT;
	attach.id = wire_string("again");
	struct agent_stream *s = agent_attach(c, &attach);
	agent_wait_failed(s);
	CHECK_INT(s->error.code, ==, COVE_E_NOT_FOUND);
	struct agent_run run = { .id = "again" };
	struct agent_stream *a = agent_sh(c, "exec /no/such", &bad[0]),
			    *b = agent_do(c, "exit 4", &run);
	agent_wait_failed(a);
	CHECK(!b->already_running);
	CHECK_INT(b->code, ==, 4);
	agent_client_stop(c);
}

/* Whoever starts it again sends its stdin again, and the command reads it once. */
static void test_same_stdin(void)
{
	enum { SIZE = 3000000, N = 3 };
	struct agent_client *c = agent_client_start(NULL);
	_cleanup_free_ uint8_t *in = malloc(SIZE);
	CHECK(in != NULL);
	for (uint32_t i = 0; i < SIZE; i++)
		in[i] = (uint8_t)(i * 2654435761u >> 13);
	struct agent_run run = { .id = "once", .pipe = true, .in = in, .in_size = SIZE };
	struct agent_stream *s[N];
	for (int i = 0; i < N; i++)
		s[i] = agent_run(c, ARGV("cat"), &run);
	for (int i = 0; i < N; i++) {
		agent_wait_end(s[i]);
		CHECK_INT(s[i]->totals[0], ==, SIZE);
		CHECK_INT(s[i]->stdin_errors, ==, 0);
	}
	CHECK_MEM(s[0]->out[0].data, s[0]->out[0].size, in, SIZE);

	/* What the first one learnt of its stdin, the others do, too, also after the end. */
	run.id = "unread";
	for (int i = 0; i < N; i++) {
		s[i] = agent_run(c, ARGV("true"), &run);
		AGENT_UNTIL(c, s[i]->exited && s[i]->stdin_errors == 1);
		CHECK_INT(s[i]->stdin_errno, ==, EPIPE);
	}
	agent_client_stop(c);
}

static const struct tap_test tests[] = {
	{ "same id", test_same_id },
	{ "same id after a failure", test_same_id_after_failure },
	{ "same id, with stdin", test_same_stdin },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
