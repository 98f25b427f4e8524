/* SPDX-License-Identifier: Apache-2.0 */
/* What a stream may ask about its output: where it begins, none of it, and an end of it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cove/cove.h"
#include "harness/agent-client.h"
#include "harness/tap.h"

static struct agent_stream *attach(struct agent_client *c, const char *id, int from,
				   uint64_t out_offset, uint64_t err_offset)
{
	Cove__Wire__Attach m = COVE__WIRE__ATTACH__INIT;
	m.id = wire_string(id);
	m.has_from = true;
	m.from = from;
	m.has_stdout_offset = m.has_stderr_offset = from == COVE__WIRE__ATTACH__FROM__OFFSET;
	m.stdout_offset = out_offset;
	m.stderr_offset = err_offset;
	return agent_attach(c, &m);
}

static const char *text_of(struct agent_stream *s, unsigned i)
{
	return s->out[i].data ? (const char *)s->out[i].data : "";
}

/* ---- where output begins ---- */

static void test_offsets(void)
{
	enum { START = COVE__WIRE__ATTACH__FROM__START_OF_RING };
	enum { NOW = COVE__WIRE__ATTACH__FROM__NOW };
	enum { OFFSET = COVE__WIRE__ATTACH__FROM__OFFSET };
	static const struct {
		int from;
		uint64_t asked[2];
		uint64_t begin[2];
	} cases[] = {
		{ START, { 0, 0 }, { 10000 - 4096, 0 } },  { NOW, { 0, 0 }, { 10000, 5 } },
		{ OFFSET, { 0, 0 }, { 10000 - 4096, 0 } }, { OFFSET, { 9999, 3 }, { 9999, 3 } },
		{ OFFSET, { 10000, 5 }, { 10000, 5 } },
	};
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "o", .pipe = true, .open = true, .replay_bytes = 4096 };
	struct agent_stream *s =
		agent_sh(c, "head -c 10000 /dev/zero; printf error >&2; read x", &run);
	AGENT_UNTIL(c, s->out[0].received == 10000 && s->out[1].received == 5);
	CHECK(!s->has_offsets); /* a new session begins at 0 */
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct agent_stream *v =
			attach(c, "o", cases[i].from, cases[i].asked[0], cases[i].asked[1]);
		agent_wait_started(v);
		CHECK(v->has_offsets);
		CHECK_INT(v->offsets[0], ==, cases[i].begin[0]);
		CHECK_INT(v->offsets[1], ==, cases[i].begin[1]);
		/* And that is where it does begin. */
		AGENT_UNTIL(c, v->offsets[0] + v->out[0].received == 10000 &&
				       v->offsets[1] + v->out[1].received == 5);
		agent_close(v);
	}
	/* Also for who starts it again, and when it has ended. */
	struct agent_stream *again = agent_sh(c, "no", &run);
	agent_wait_started(again);
	CHECK(again->has_offsets && again->already_running);
	CHECK_INT(again->offsets[0], ==, 10000 - 4096);
	agent_write(s, "\n", 1, true);
	agent_wait_end(s);
	struct agent_stream *late = attach(c, "o", NOW, 0, 0);
	agent_wait_started(late);
	CHECK_INT(late->offsets[0], ==, 10000);
	CHECK_INT(late->offsets[1], ==, 5);
	agent_client_stop(c);
}

/* ---- MUTE ---- */

/* Not read and not muted it would wait for ever. */
static void test_mute(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .pipe = true, .open = true };
	struct agent_stream *s =
		agent_sh(c, "head -c 5000000 /dev/zero; echo x >&2; read x; echo $x; exit 3", &run);
	s->out[0].stalled = true;
	AGENT_UNTIL(c, s->out[0].received == WIRE_INITIAL_WINDOW);
	agent_mute(s);
	agent_mute(s);	  /* again is nothing new */
	agent_unstall(s); /* credit is there, and nothing comes */
	agent_write(s, "go\n", 3, true);
	AGENT_UNTIL(c, s->exited);
	CHECK_INT(s->code, ==, 3);
	CHECK_INT(s->totals[0], ==, 5000003);
	CHECK_INT(s->totals[1], ==, 2);
	CHECK(s->out[0].eof && s->out[1].eof);
	CHECK_INT(s->out[0].total, ==, 5000003);
	CHECK_INT(s->out[0].received, ==, WIRE_INITIAL_WINDOW);
	CHECK_INT(s->out[1].received, ==, 0);

	/* The ring is there for others as ever. */
	struct agent_stream *late =
		attach(c, s->session, COVE__WIRE__ATTACH__FROM__START_OF_RING, 0, 0);
	agent_wait_end(late);
	CHECK_INT(late->out[0].next, ==, 5000003);
	agent_client_stop(c);
}

/* One that is muted holds nobody up, one that is not still does, and gets every byte. */
static void test_mute_one_of_two(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "two" };
	struct agent_stream *s = agent_sh(c, "head -c 3000000 /dev/zero", &run);
	agent_wait_started(s);
	struct agent_stream *other =
		attach(c, "two", COVE__WIRE__ATTACH__FROM__START_OF_RING, 0, 0);
	s->out[0].stalled = other->out[0].stalled = true;
	other->out[0].discard = true;
	agent_mute(s);
	AGENT_UNTIL(c, other->out[0].received == WIRE_INITIAL_WINDOW);
	agent_client_idle(c, 50);
	CHECK(!s->exited);
	agent_unstall(other);
	agent_wait_end(other);
	CHECK_INT(other->out[0].gap, ==, other->offsets[0]);
	AGENT_UNTIL(c, s->exited);
	CHECK_INT(s->out[0].received, <=, WIRE_INITIAL_WINDOW);
	agent_client_stop(c);
}

/* Nor does one that goes away hold anybody up. */
static void test_stalled_viewer_goes(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "two" };
	struct agent_stream *s = agent_sh(c, "head -c 3000000 /dev/zero", &run);
	agent_wait_started(s);
	struct agent_stream *other =
		attach(c, "two", COVE__WIRE__ATTACH__FROM__START_OF_RING, 0, 0);
	s->out[0].stalled = true;
	other->out[0].discard = true;
	agent_wait_started(other);
	AGENT_UNTIL(c, other->out[0].next > WIRE_INITIAL_WINDOW);
	agent_client_idle(c, 50);
	CHECK(!other->exited);
	agent_close(s);
	agent_wait_end(other);
	CHECK_INT(other->out[0].next, ==, 3000000);
	agent_client_stop(c);
}

/* A muted viewer can do everything else. */
static void test_mute_keeps_the_rest(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .pipe = true, .open = true, .tty = true };
	struct agent_stream *s = agent_sh(c, "exec sleep 60", &run);
	agent_wait_started(s);
	agent_mute(s);
	CHECK_INT(agent_resize(s, 5, 5), ==, 0);
	CHECK_INT(agent_signal(s, SIGCONT), ==, 0);
	agent_write(s, "typed\n", 6, false);
	CHECK_INT(agent_kill(s), ==, 0);
	AGENT_UNTIL(c, s->exited);
	CHECK_INT(s->cause, ==, COVE_CAUSE_KILLED);
	/* After the end it is fine as well, */
	agent_mute(s);
	/* and so is a stdin that is not read any more. */
	run = (struct agent_run){ .pipe = true, .open = true };
	s = agent_sh(c, "exec <&-; echo closed; sleep 0.3", &run);
	AGENT_UNTIL(c, s->out[0].size == 7);
	agent_mute(s);
	agent_write(s, "x", 1, false);
	AGENT_UNTIL(c, s->stdin_errors == 1 && s->exited);
	CHECK_INT(s->stdin_errno, ==, EPIPE);
	agent_client_stop(c);
}

/* On streams that are no session's, or failed, and with a payload nobody knows: nothing happens. */
static void test_mute_out_of_place(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_stream *s = agent_run(c, (const char *[]){ "/none", NULL }, NULL);
	agent_wait_failed(s);
	agent_mute(s);
	Cove__Wire__CloseOutput close = COVE__WIRE__CLOSE_OUTPUT__INIT;
	close.channel = WIRE_STDOUT;
	agent_send(s, WIRE_CLOSE_OUTPUT, &close.base);
	s = agent_attach(c, &(Cove__Wire__Attach)COVE__WIRE__ATTACH__INIT);
	agent_wait_failed(s);
	agent_mute(s);
	const Cove__Wire__SessionListRequest list = COVE__WIRE__SESSION_LIST_REQUEST__INIT;
	s = agent_open(c, WIRE_SESSION_LIST, &list.base);
	AGENT_UNTIL(c, s->listed);
	agent_mute(s);
	s = agent_sh(c, "head -c 1000000 /dev/zero; echo end >&2; sleep 0.1", NULL);
	agent_wait_started(s);
	agent_send_raw(s, WIRE_MUTE, "\xff\xff\xff", 3);
	AGENT_UNTIL(c, s->exited);
	CHECK_INT(s->code, ==, 0);
	CHECK_INT(agent_client_resyncs(c), ==, 0);
	agent_client_stop(c);
}

/* The machine's end does not wait for a viewer that will not take what is there. */
static void test_mute_and_shutdown(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_stream *s = agent_sh(c, "head -c 500000 /dev/zero; exec sleep 60", NULL);
	s->out[0].stalled = true;
	AGENT_UNTIL(c, s->out[0].received == WIRE_INITIAL_WINDOW);
	agent_mute(s);
	Cove__Wire__Shutdown m = COVE__WIRE__SHUTDOWN__INIT;
	struct agent_stream *down = agent_open(c, WIRE_SHUTDOWN, &m.base);
	AGENT_UNTIL(c, s->exited && down->down);
	CHECK_INT(s->cause, ==, COVE_CAUSE_STOPPED);
	agent_client_stop(c);
}

/* ---- CLOSE_OUTPUT ---- */

static void test_close_output(void)
{
	struct agent_client *c = agent_client_start(NULL);
	/* Who goes on writing gets SIGPIPE, */
	struct agent_stream *s = agent_run(c, (const char *[]){ "yes", NULL }, NULL);
	s->out[0].discard = true;
	AGENT_UNTIL(c, s->out[0].received > 100000);
	CHECK_INT(agent_close_output(s, WIRE_STDOUT), ==, 0);
	agent_wait_end(s);
	CHECK_INT(s->signal, ==, SIGPIPE);
	CHECK_INT(s->cause, ==, COVE_CAUSE_SIGNALED);
	CHECK(s->out[0].eof);
	CHECK_INT(s->out[0].total, ==, s->totals[0]);
	CHECK_INT(s->out[0].received, ==, s->totals[0]);
	CHECK_INT(s->out[0].gap, ==, 0);
	CHECK_INT(agent_close_output(s, WIRE_STDOUT), ==, 0); /* there is nothing to close */

	/* and who ignores that EPIPE; the other stream is not touched. */
	struct agent_run run = { .pipe = true, .open = true };
	s = agent_sh(c, "trap '' PIPE; echo before; read x; echo after || echo $? >&2", &run);
	AGENT_UNTIL(c, s->out[0].size == 7);
	CHECK_INT(agent_close_output(s, WIRE_STDOUT), ==, 0);
	CHECK_INT(agent_close_output(s, WIRE_STDOUT), ==, 0);
	AGENT_UNTIL(c, s->out[0].eof && !s->out[1].eof);
	agent_write(s, "\n", 1, true);
	agent_wait_end(s);
	CHECK_STR(text_of(s, 0), "before\n");
	CHECK_CONTAINS(text_of(s, 1), "1\n");
	CHECK_INT(s->code, ==, 0);

	/* The same for stderr. */
	s = agent_sh(c, "read x; echo out; echo err >&2; echo out", &run);
	agent_wait_started(s);
	CHECK_INT(agent_close_output(s, WIRE_STDERR), ==, 0);
	agent_write(s, "\n", 1, true);
	agent_wait_end(s);
	CHECK_INT(s->signal, ==, SIGPIPE);
	CHECK_INT(s->totals[1], ==, 0);
	agent_client_stop(c);
}

/* What was written before the close comes, also what nobody had read yet. */
static void test_close_output_keeps_what_was_written(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "w", .pipe = true, .open = true, .replay_bytes = 4096 };
	struct agent_stream *s = agent_sh(
		c, "head -c 300000 /dev/zero; echo done >&2; read x; sleep 600 & exit 5", &run);
	s->out[0].stalled = true;
	AGENT_UNTIL(c, s->out[1].size == 5);
	struct agent_stream *other = attach(c, "w", COVE__WIRE__ATTACH__FROM__NOW, 0, 0);
	agent_wait_started(other);
	CHECK_INT(agent_close_output(s, WIRE_STDOUT), ==, 0);
	AGENT_UNTIL(c, s->out[0].eof && other->out[0].eof); /* for all who look */
	CHECK_INT(s->out[0].total, ==, 300000);
	agent_unstall(s);
	AGENT_UNTIL(c, s->out[0].received == 300000);

	/* Nor is it read, or waited for, later: stderr closed as well, the end comes at once. */
	CHECK_INT(agent_close_output(s, WIRE_STDERR), ==, 0);
	agent_write(s, "\n", 1, true);
	agent_wait_end(s);
	CHECK_INT(s->code, ==, 5);
	CHECK_INT(s->elapsed_ns, <, 10000000000);
	CHECK_INT(agent_kill(s), ==, 0);
	agent_client_stop(c);
}

/* It can be what the end was waiting for. */
static void test_close_output_ends_a_wait(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .wait_eof = true };
	struct agent_stream *s = agent_sh(c, "sleep 600 & echo hi; exit 4", &run);
	AGENT_UNTIL(c, s->out[0].size == 3);
	agent_client_idle(c, 100);
	CHECK(!s->exited);
	CHECK_INT(agent_close_output(s, WIRE_STDOUT), ==, 0);
	CHECK(!s->exited);
	CHECK_INT(agent_close_output(s, WIRE_STDERR), ==, 0);
	agent_wait_end(s);
	CHECK_INT(s->code, ==, 4);
	CHECK_INT(agent_kill(s), ==, 0);
	agent_client_stop(c);
}

static void test_close_output_refused(void)
{
	static const unsigned channels[] = { WIRE_STDIN, 3, 4, 255, 0xffffffff };
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "r", .pipe = true, .open = true };
	struct agent_stream *s = agent_sh(c, "exec cat", &run);
	agent_wait_started(s);
	for (size_t i = 0; i < ARRAY_SIZE(channels); i++)
		CHECK_INT(agent_close_output(s, channels[i]), ==, COVE_E_INVALID);
	struct agent_stream *viewer = attach(c, "r", COVE__WIRE__ATTACH__FROM__NOW, 0, 0);
	agent_wait_started(viewer);
	CHECK_INT(agent_close_output(viewer, WIRE_STDOUT), ==, COVE_E_DENIED);
	CHECK_CONTAINS(viewer->ack_error.message, "session 'r'");
	agent_write(s, "still there\n", 12, true);
	agent_wait_end(s);
	CHECK_STR(text_of(s, 0), "still there\n");

	run = (struct agent_run){ .tty = true };
	s = agent_sh(c, "sleep 600", &run);
	agent_wait_started(s);
	CHECK_INT(agent_close_output(s, WIRE_STDOUT), ==, COVE_E_STATE);
	CHECK_INT(agent_close_output(s, WIRE_STDERR), ==, COVE_E_STATE);
	CHECK_INT(agent_kill(s), ==, 0);
	agent_client_stop(c);
}

/* A storm of output is closed without leaving anything behind. */
static void test_close_output_leaks_nothing(void)
{
	struct agent_client *c = agent_client_start(NULL);
	agent_wait_end(agent_sh(c, "true", NULL));
	unsigned fds = agent_count_fds(c);
	for (int i = 0; i < 20; i++) {
		struct agent_stream *s = agent_run(c, (const char *[]){ "yes", NULL }, NULL);
		s->out[0].stalled = true;
		AGENT_UNTIL(c, s->out[0].received == WIRE_INITIAL_WINDOW);
		agent_mute(s);
		CHECK_INT(agent_close_output(s, WIRE_STDOUT), ==, 0);
		AGENT_UNTIL(c, s->exited);
		CHECK_INT(s->signal, ==, SIGPIPE);
		agent_close(s);
	}
	agent_wait_end(agent_sh(c, "true", NULL));
	CHECK_INT(agent_count_fds(c), ==, fds);
	CHECK_RSS_BELOW(c, 32 * 1024 * 1024);
	agent_client_stop(c);
}

static const struct tap_test tests[] = {
	{ "offsets", test_offsets },
	{ "mute", test_mute },
	{ "mute one of two", test_mute_one_of_two },
	{ "stalled viewer goes", test_stalled_viewer_goes },
	{ "mute keeps the rest", test_mute_keeps_the_rest },
	{ "mute out of place", test_mute_out_of_place },
	{ "mute and shutdown", test_mute_and_shutdown },
	{ "close output", test_close_output },
	{ "close output keeps what was written", test_close_output_keeps_what_was_written },
	{ "close output ends a wait", test_close_output_ends_a_wait },
	{ "close output refused", test_close_output_refused },
	{ "close output leaks nothing", test_close_output_leaks_nothing },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
