/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes wrong once in a thousand times: many short commands, on a machine that is busy, and what
 * comes after their end. COVE_TEST_ROUNDS says how often.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cove/cove.h"
#include "harness/agent-client.h"
#include "harness/tap.h"
#include "vm/rounds.h"

#define AT_ONCE 8

/* A session that floods, and processes that compute: everybody else is late. */
struct load {
	struct agent_stream *flood;
	struct agent_stream *spin;
};

static struct load start_load(struct agent_client *c)
{
	struct load load = {
		.flood = agent_run(c, (const char *[]){ "cat", "/dev/zero", NULL }, NULL),
		.spin = agent_sh(c, "while :; do :; done & while :; do :; done", NULL),
	};
	load.flood->out[0].discard = true;
	AGENT_UNTIL(c, load.flood->out[0].received > 0 && load.spin->started);
	return load;
}

static void stop_load(const struct load *load)
{
	CHECK_INT(agent_kill(load->flood), ==, 0);
	CHECK_INT(agent_kill(load->spin), ==, 0);
	AGENT_UNTIL(load->flood->client, load->flood->exited && load->spin->exited);
}

/* ---- the last bytes ---- */

struct short_command {
	struct agent_stream *stream;
	size_t size;
};

/* It writes digits, the last of which is not like the others, in one write or several, and ends. */
static struct short_command start_short(struct agent_client *c, size_t i)
{
	static const size_t sizes[] = { 1, 7, 4096, 4097, 70000 };
	struct short_command ret = { .size = sizes[i % ARRAY_SIZE(sizes)] };
	char width[16];
	snprintf(width, sizeof(width), "%zu", ret.size);
	const char *const argv[] = { "printf", "%0*d", width, "5", NULL };
	struct agent_run run = { .tty = i / ARRAY_SIZE(sizes) % 2, .linger_ms = i % 3 ? 0 : -1 };
	ret.stream = agent_run(c, argv, &run);
	return ret;
}

static void finish_short(const struct short_command *command)
{
	struct agent_stream *s = command->stream;
	agent_wait_end(s);
	CHECK_INT(s->code, ==, 0);
	CHECK_INT(s->totals[0], ==, command->size);
	CHECK_INT(s->out[0].size, ==, command->size);
	CHECK_INT(s->out[0].data[command->size - 1], ==, '5');
	agent_close(s);
}

static void test_last_bytes(void)
{
	struct agent_client *c = agent_client_start(agent_cgroup());
	struct load load = start_load(c);
	struct short_command commands[AT_ONCE];
	size_t rounds = rounds_or(1000);
	for (size_t i = 0; i < rounds; i += AT_ONCE) {
		for (size_t k = 0; k < AT_ONCE; k++)
			commands[k] = start_short(c, i + k);
		for (size_t k = 0; k < AT_ONCE; k++)
			finish_short(&commands[k]);
	}
	stop_load(&load);
	agent_client_stop(c);
}

/* ---- the last bytes of stdin ---- */

/* Exactly what was written arrives, and then the end; what the command says after that comes. */
static void test_short_stdin(void)
{
	struct agent_client *c = agent_client_start(agent_cgroup());
	struct load load = start_load(c);
	struct agent_stream *s[AT_ONCE];
	size_t rounds = rounds_or(400);
	for (size_t i = 0; i < rounds; i += AT_ONCE) {
		for (size_t k = 0; k < AT_ONCE; k++) {
			struct agent_run run = { .pipe = true, .in = "0123456789" };
			run.in_size = (i + k) % 11;
			s[k] = agent_sh(c, "cat; echo end", &run);
		}
		for (size_t k = 0; k < AT_ONCE; k++) {
			char expected[16];
			snprintf(expected, sizeof(expected), "%.*send\n", (int)((i + k) % 11),
				 "0123456789");
			agent_wait_end(s[k]);
			CHECK_STR((char *)s[k]->out[0].data, expected);
			CHECK_INT(s[k]->stdin_errors, ==, 0);
			agent_close(s[k]);
		}
	}
	stop_load(&load);
	agent_client_stop(c);
}

/* ---- after the end ---- */

/* The end does not wait for a background child; what it still says is there for everybody. */
static void test_background_child(void)
{
	struct agent_client *c = agent_client_start(agent_cgroup());
	size_t rounds = rounds_or(100);
	for (size_t i = 0; i < rounds; i++) {
		struct agent_run run = { .pipe = true, .open = true, .linger_ms = i % 2 ? 0 : -1 };
		/* The child goes on when it is told to. */
		struct agent_stream *s = agent_sh(
			c, "exec 3<&0; (read x <&3; echo $x; exec sleep 600) & echo hi; exit 3",
			&run);
		agent_wait_end(s);
		CHECK_INT(s->code, ==, 3);
		CHECK_INT(s->cause, ==, COVE_CAUSE_EXITED);
		CHECK_STR((char *)s->out[0].data, "hi\n");
		CHECK_INT(s->totals[0], ==, 3);
		CHECK_INT(s->elapsed_ns, <, 5000000000);

		agent_write(s, "late\n", 5, true);
		AGENT_UNTIL(c, s->out[0].size == 8);
		Cove__Wire__Attach m = COVE__WIRE__ATTACH__INIT;
		m.id = wire_string(s->session);
		struct agent_stream *later = agent_attach(c, &m);
		AGENT_UNTIL(c, later->exited && later->out[0].size == 8);
		CHECK_STR((char *)s->out[0].data, "hi\nlate\n");
		CHECK_STR((char *)later->out[0].data, "hi\nlate\n");
		CHECK_INT(later->totals[0], ==, 8); /* so it knows that this is all, for now */

		CHECK_INT(agent_kill(s), ==, 0);
		AGENT_UNTIL(c, s->out[0].eof && later->out[0].eof);
		CHECK_INT(later->out[0].total, ==, 8);
		agent_close(s);
		agent_close(later);
	}
	agent_client_stop(c);
}

/* Kill and timeout against an end that comes by itself: one end, one cause, nothing left. */
static void test_end_against_kill(void)
{
	struct agent_client *c = agent_client_start(agent_cgroup());
	agent_wait_end(agent_sh(c, "true", NULL));
	size_t rounds = rounds_or(300);
	for (size_t i = 0; i < rounds; i++) {
		struct agent_run run = { .timeout_ms = 1 + i % 3, .tty = i % 2 };
		struct agent_stream *s = agent_sh(c, "sleep 0.001; sleep 600 & exit 3", &run);
		agent_wait_started(s);
		int r = agent_kill(s);
		CHECK(r == 0 || r == COVE_E_STATE);
		agent_wait_end(s);
		CHECK(s->cause == COVE_CAUSE_KILLED || s->cause == COVE_CAUSE_TIMED_OUT ||
		      s->cause == COVE_CAUSE_EXITED);
		/* A limit that was passed is named also where the command was just faster. */
		CHECK(s->code == 3 || (s->cause != COVE_CAUSE_EXITED && s->code == 137));
		CHECK(s->cause != COVE_CAUSE_KILLED || s->code == 137);
		if (r != 0) /* it was over before: and then nothing is left to be killed */
			CHECK_INT(agent_kill(s), ==, COVE_E_STATE);
		agent_close(s);
	}
	AGENT_UNTIL(c, agent_count_children(c) == 0);
	agent_client_stop(c);
}

/* An output that is closed while it is written to, and while its command ends. */
static void test_close_output(void)
{
	struct agent_client *c = agent_client_start(agent_cgroup());
	size_t rounds = rounds_or(300);
	for (size_t i = 0; i < rounds; i++) {
		struct agent_run run = { .kill_tree_on_exit = true };
		struct agent_stream *s = agent_sh(
			c, i % 2 ? "printf %070000d 5; exit 3" : "printf %05d 5; exit 3", &run);
		if (i % 3)
			agent_wait_started(s);
		CHECK_INT(agent_close_output(s, WIRE_STDOUT), ==, 0);
		AGENT_UNTIL(c, s->exited && s->out[0].eof && s->out[0].next == s->out[0].total);
		CHECK_INT(s->totals[0], ==, s->out[0].total);
		CHECK_INT(s->out[0].received, ==, s->out[0].total);
		CHECK(s->code == 3 || s->signal == SIGPIPE);
		agent_close(s);
	}
	agent_client_stop(c);
}

static const struct tap_test tests[] = {
	{ "last bytes", test_last_bytes, .timeout_s = 600 },
	{ "short stdin", test_short_stdin, .timeout_s = 600 },
	{ "background child", test_background_child, .timeout_s = 600 },
	{ "end against kill", test_end_against_kill, .timeout_s = 600 },
	{ "close output", test_close_output, .timeout_s = 600 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
