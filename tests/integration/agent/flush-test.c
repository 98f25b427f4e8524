/* SPDX-License-Identifier: Apache-2.0 */
/* FLUSH: whether stdin has come, said once, in every way that it can end. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "cove/cove.h"
#include "harness/agent-client.h"
#include "harness/tap.h"

#define MUCH 1000000

static uint8_t bytes[MUCH];

static struct agent_stream *attach(struct agent_client *c, const char *id, bool write)
{
	Cove__Wire__Attach m = COVE__WIRE__ATTACH__INIT;
	m.id = wire_string(id);
	m.has_write = m.write = write;
	return agent_attach(c, &m);
}

/* A command that does not read its stdin until go_on(), and then does that. */
static struct agent_stream *start_waiting(struct agent_client *c, const char *id, const char *then)
{
	char script[300];
	CHECK_SYS(mkfifo(tap_path("%s", id), 0600));
	snprintf(script, sizeof(script), "echo up; read x <%s; %s", tap_path("%s", id), then);
	struct agent_run run = { .id = id, .pipe = true, .open = true };
	struct agent_stream *s = agent_sh(c, script, &run);
	AGENT_UNTIL(c, s->out[0].size == 3);
	return s;
}

static void go_on(const char *id)
{
	_cleanup_close_ int fd = open(tap_path("%s", id), O_WRONLY | O_CLOEXEC);
	CHECK_SYS(fd);
	CHECK_OK(fd_write_full(fd, "\n", 1));
}

static void check_pending(struct agent_stream *s, unsigned acks)
{
	agent_client_idle(s->client, 50);
	CHECK_INT(s->acks, ==, acks);
}

static void check_refused(struct agent_stream *s, int code, int os_errno)
{
	CHECK_INT(s->ack_error.code, ==, code);
	CHECK_INT(s->ack_error.os_errno, ==, os_errno);
	CHECK_CONTAINS(s->ack_error.message, s->session);
}

static void test_arrives(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .pipe = true, .open = true };
	struct agent_stream *s = agent_run(c, (const char *[]){ "cat", NULL }, &run);
	CHECK_INT(agent_flush(s, 0), ==, 0);
	agent_write(s, "0123456789", 10, false);
	CHECK_INT(agent_flush(s, 10), ==, 0);
	CHECK_INT(agent_flush(s, 3), ==, 0);
	/* What was not written yet is waited for. */
	agent_send_flush(s, 15);
	check_pending(s, 3);
	agent_write(s, "abcd", 4, false);
	check_pending(s, 3);
	agent_write(s, "e", 1, false);
	agent_wait_acks(s, 4);
	CHECK_INT(s->ack_error.code, ==, 0);
	/* Control overtakes data: the end is said, then this is asked, then comes the data. */
	CHECK_INT(s->refused, ==, 0);
	agent_send_flush(s, 15 + MUCH);
	agent_write_end_first(s, bytes, MUCH);
	agent_wait_acks(s, 5);
	CHECK_INT(s->ack_error.code, ==, 0);
	agent_wait_end(s);
	CHECK_INT(s->totals[0], ==, 15 + MUCH);
	CHECK_INT(agent_flush(s, 15 + MUCH), ==, 0); /* as it did */

	/* Without stdin nothing has to come. */
	s = agent_sh(c, "exec sleep 600", NULL);
	CHECK_INT(agent_flush(s, 0), ==, 0);
	CHECK_INT(agent_flush(s, 1), ==, COVE_E_SYSTEM);
	check_refused(s, COVE_E_SYSTEM, EPIPE);
	CHECK_INT(agent_kill(s), ==, 0);
	agent_client_stop(c);
}

/* The agent takes a window ahead of a command that does not read; the rest waits. */
static void test_waits_for_the_reader(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_stream *s = start_waiting(c, "stopped", "exec cat");
	struct agent_stream *other = attach(c, "stopped", true);
	agent_wait_started(other);
	s->out[0].discard = true;
	agent_write(s, bytes, MUCH, true);
	CHECK_INT(agent_flush(s, WIRE_INITIAL_WINDOW), ==, 0);
	agent_send_flush(s, MUCH);
	check_pending(s, 1);
	/* One at a time, on a stream; the other one is not touched. */
	Cove__Wire__Flush m = COVE__WIRE__FLUSH__INIT;
	m.request = 77;
	agent_send(s, WIRE_FLUSH, &m.base);
	agent_wait_acks(s, 2);
	CHECK_INT(s->last_ack, ==, 77);
	check_refused(s, COVE_E_LIMIT, EBUSY);
	CHECK_INT(agent_flush(other, 0), ==, 0);
	check_pending(s, 2);
	go_on(s->session);
	agent_wait_acks(s, 3);
	CHECK_INT(s->last_ack, ==, 2);
	CHECK_INT(s->ack_error.code, ==, 0);
	agent_wait_end(s);
	CHECK_INT(s->totals[0], ==, MUCH + 3);
	agent_client_stop(c);
}

/* What has come is the command's, whatever becomes of who sent it. */
static void test_then_leave(void)
{
	enum { N = 200000 };
	struct agent_client *c = agent_client_start(NULL);
	struct agent_stream *s = start_waiting(c, "left", "head -c 200000 | wc -c; exec cat");
	agent_write(s, bytes, N, false);
	CHECK_INT(agent_flush(s, N), ==, 0);
	agent_close(s);
	s = attach(c, "left", true);
	agent_wait_started(s);
	go_on(s->session);
	AGENT_UNTIL(c, s->out[0].data && strstr((char *)s->out[0].data, "200000\n"));
	/* And its stdin is open still. */
	agent_write(s, "more\n", 5, true);
	CHECK_INT(agent_flush(s, 5), ==, 0);
	agent_wait_end(s);
	CHECK_CONTAINS((char *)s->out[0].data, "200000\nmore\n");
	agent_client_stop(c);
}

/* ---- what will not come ---- */

static void test_not_read(void)
{
	enum { ENOUGH = 200000 };
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "deaf", .pipe = true, .open = true };
	struct agent_stream *s = agent_sh(c, "exec <&-; echo up; exec sleep 600", &run);
	AGENT_UNTIL(c, s->out[0].size == 3);
	CHECK_INT(agent_flush(s, 0), ==, 0);
	/* Refused is not come, */
	agent_write(s, "x", 1, false);
	CHECK_INT(agent_flush(s, 1), ==, COVE_E_SYSTEM);
	check_refused(s, COVE_E_SYSTEM, EPIPE);
	CHECK_INT(s->stdin_errors, ==, 1);
	/* for others either. */
	struct agent_stream *other = attach(c, "deaf", true);
	agent_wait_started(other);
	CHECK_INT(agent_flush(other, 1), ==, COVE_E_SYSTEM);
	CHECK_INT(agent_kill(s), ==, 0);

	/* It stops reading when some of it has come. */
	s = start_waiting(c, "deafened", "exec <&-; echo closed; exec sleep 600");
	other = attach(c, "deafened", true);
	struct agent_stream *idle = attach(c, "deafened", true);
	agent_wait_started(other);
	agent_wait_started(idle);
	/* All of it, so that nothing but the failure can be what is answered to. */
	agent_write(s, bytes, ENOUGH, false);
	CHECK_INT(agent_flush(s, ENOUGH), ==, 0);
	agent_send_flush(s, ENOUGH + 1);
	agent_send_flush(idle, 5);
	check_pending(s, 1);
	go_on(s->session);
	agent_wait_acks(s, 2);
	agent_wait_acks(idle, 1);
	check_refused(s, COVE_E_SYSTEM, EPIPE);
	check_refused(idle, COVE_E_SYSTEM, EPIPE);
	CHECK(!s->exited);
	CHECK_INT(agent_kill(s), ==, 0);
	agent_client_stop(c);
}

static void test_closed_in_order(void)
{
	struct agent_client *c = agent_client_start(NULL);
	for (int i = 0; i < 2; i++) {
		/* With bytes that wait, or none: the end is behind them, or has been. */
		struct agent_stream *s = start_waiting(c, i ? "b" : "a", "exec cat");
		struct agent_stream *other = attach(c, s->session, true);
		agent_wait_started(other);
		agent_send_flush(other, 1);
		agent_write(s, bytes, i ? 100000 : 0, true);
		agent_wait_acks(other, 1);
		check_refused(other, COVE_E_SYSTEM, EPIPE);
		CHECK_INT(agent_flush(s, i ? 100000 : 0), ==, 0);
		/* Not beyond one's own end either. */
		CHECK_INT(agent_flush(s, 100001), ==, COVE_E_SYSTEM);
		go_on(s->session);
		agent_wait_end(s);
		CHECK_INT(s->code, ==, 0);
		agent_wait_end(other);
	}
	agent_client_stop(c);
}

static void test_ended(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "e", .pipe = true, .open = true };
	for (int tty = 0; tty < 2; tty++) {
		run.tty = tty;
		run.id = tty ? "tty" : "pipe";
		struct agent_stream *s = agent_sh(c, "read x; exit 3", &run);
		agent_wait_started(s);
		struct agent_stream *other = attach(c, run.id, true);
		agent_send_flush(other, 5);
		check_pending(other, 0);
		agent_write(s, "x\n", 2, false);
		CHECK_INT(agent_flush(s, 2), ==, 0);
		/* Told before the end is, after which nobody may be listening. */
		AGENT_UNTIL(c, other->exited);
		CHECK_INT(other->acks, ==, 1);
		CHECK(!other->acked_after_end);
		check_refused(other, COVE_E_STATE, 0);
		agent_wait_end(s);
		CHECK_INT(agent_flush(s, 2), ==, 0);
		CHECK_INT(agent_flush(s, 3), ==, COVE_E_STATE);
		CHECK_INT(agent_flush(other, 0), ==, 0);
	}
	agent_client_stop(c);
}

static void test_denied(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "d", .pipe = true, .open = true };
	struct agent_stream *s = agent_sh(c, "exec sleep 600", &run);
	struct agent_stream *viewer = attach(c, "d", false);
	agent_wait_started(viewer);
	CHECK_INT(agent_flush(viewer, 0), ==, COVE_E_DENIED);
	CHECK_INT(agent_flush(viewer, 1), ==, COVE_E_DENIED);
	CHECK_INT(agent_kill(s), ==, 0);
	agent_client_stop(c);
}

/* Whoever asked goes, or the link does: nobody is answered, and nothing is left. */
static void test_dropped(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_stream *s = start_waiting(c, "drop", "exec cat");
	unsigned fds = agent_count_fds(c);
	for (int i = 0; i < 100; i++) {
		struct agent_stream *other = attach(c, "drop", true);
		agent_wait_started(other);
		agent_send_flush(other, 5);
		agent_close(other);
	}
	agent_send_flush(s, 5);
	agent_client_resync(c);
	s = attach(c, "drop", true);
	agent_wait_started(s);
	CHECK_INT(agent_count_fds(c), ==, fds);
	go_on(s->session);
	agent_write(s, "fine\n", 5, true);
	CHECK_INT(agent_flush(s, 5), ==, 0);
	agent_wait_end(s);
	CHECK_STR((char *)s->out[0].data, "up\nfine\n");
	agent_client_stop(c);
}

/* ---- who starts it again ---- */

/*
 * STARTED says which stdin has come; who leaves that out has not written less of it. So the end that
 * the first one did not come to say can be said by the second.
 */
static void test_started_again(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .id = "again", .pipe = true, .open = true };
	struct agent_stream *first = agent_sh(c, "cat; echo end", &run);
	agent_write(first, "0123456789", 10, false);
	CHECK_INT(agent_flush(first, 10), ==, 0);
	agent_close(first);
	struct agent_stream *second = agent_sh(c, "none", &run);
	agent_wait_started(second);
	CHECK_INT(second->stdin_offset, ==, 10);
	CHECK_INT(agent_flush(second, 10), ==, 0);
	agent_send_flush(second, 12);
	check_pending(second, 1);
	/* A third one, that does not skip, gets there first. */
	struct agent_stream *third = agent_sh(c, "none", &run);
	agent_wait_started(third);
	agent_write(third, "0123456789ab", 12, false);
	agent_wait_acks(second, 2);
	CHECK_INT(second->ack_error.code, ==, 0);
	second->in_offset = 12;
	agent_write(second, "", 0, true);
	agent_wait_end(second);
	CHECK_STR((char *)second->out[0].data, "0123456789abend\n");
	agent_client_stop(c);
}

static const struct tap_test tests[] = {
	{ "arrives", test_arrives },
	{ "waits for the reader", test_waits_for_the_reader },
	{ "then leave", test_then_leave },
	{ "not read", test_not_read },
	{ "closed in order", test_closed_in_order },
	{ "ended", test_ended },
	{ "denied", test_denied },
	{ "dropped", test_dropped },
	{ "started again", test_started_again },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
