/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes in and out: all of them, in order, in bounded memory, and nobody waits for a stranger. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness/agent-client.h"
#include "harness/tap.h"

#define MIB (1024 * 1024)

static uint64_t hash_of(const uint8_t *p, size_t n)
{
	uint64_t h = 0xcbf29ce484222325u;
	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return h;
}

/* Bytes that are not the same at any two offsets that could be mistaken for one another. */
static uint8_t *make_bytes(size_t n)
{
	uint8_t *p = malloc(n + 1);
	CHECK(p != NULL);
	uint64_t x = 88172645463325252u;
	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = (uint8_t)x;
	}
	return p;
}

static void test_every_byte(void)
{
	struct agent_client *c = agent_client_start(NULL);
	uint8_t bytes[256];
	for (int i = 0; i < 256; i++)
		bytes[i] = (uint8_t)i;
	struct agent_run run = { .pipe = true, .in = bytes, .in_size = 256 };
	struct agent_stream *s = agent_do(c, "tee /dev/stderr", &run);
	CHECK_MEM(s->out[0].data, s->out[0].size, bytes, sizeof(bytes));
	CHECK_MEM(s->out[1].data, s->out[1].size, bytes, sizeof(bytes));
	agent_client_stop(c);
}

static void test_stdin_sizes(void)
{
	static const size_t sizes[] = { 0,     1,     4095,   4096,   4097,   65535,
					65536, 65537, 262144, 262145, 1000003 };
	struct agent_client *c = agent_client_start(NULL);
	uint8_t *bytes = make_bytes(1000003);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct agent_run run = { .pipe = true, .in = bytes, .in_size = sizes[i] };
		/* What comes after the end of stdin comes, too. */
		struct agent_stream *s = agent_do(c, "cat; echo end >&2", &run);
		CHECK_INT(s->totals[0], ==, sizes[i]);
		CHECK_MEM(s->out[0].size ? s->out[0].data : bytes, s->out[0].size, bytes, sizes[i]);
		CHECK_STR((char *)s->out[1].data, "end\n");
		CHECK_INT(s->stdin_errors, ==, 0);
	}
	free(bytes);
	agent_client_stop(c);
}

static void test_end_before_bytes(void)
{
	struct agent_client *c = agent_client_start(NULL);
	uint8_t *bytes = make_bytes(MIB);
	struct agent_run run = { .pipe = true, .open = true };
	struct agent_stream *s = agent_sh(c, "cat", &run);
	agent_write(s, bytes, 10, false);
	AGENT_UNTIL(c, s->out[0].size == 10);
	agent_write_end_first(s, bytes + 10, MIB - 10);
	agent_wait_end(s);
	CHECK_MEM(s->out[0].data, s->out[0].size, bytes, (size_t)MIB);
	free(bytes);
	agent_client_stop(c);
}

static void test_large_stdin(void)
{
	enum { N = 100 * MIB };
	struct agent_client *c = agent_client_start(NULL);
	uint8_t *bytes = make_bytes(N);
	struct agent_run run = { .pipe = true, .in = bytes, .in_size = N };
	struct agent_stream *s = agent_sh(c, "exec cat", &run);
	s->out[0].discard = true;
	agent_wait_end(s);
	CHECK_INT(s->out[0].received, ==, N);
	CHECK(s->out[0].hash == hash_of(bytes, N));
	CHECK_RSS_BELOW(c, 8 * MIB);
	free(bytes);
	agent_client_stop(c);
}

/* Slow readers and small windows: equal bytes, and the end after the last. */
static void test_slow_reader(void)
{
	struct agent_client *c = agent_client_start(NULL);
	uint8_t *bytes = make_bytes(3 * MIB);
	struct agent_run run = { .pipe = true, .in = bytes, .in_size = 3 * MIB };
	struct agent_stream *s = agent_sh(c, "exec cat", &run);
	while (s->out[0].received < 3 * MIB) {
		s->out[0].stalled = true;
		AGENT_UNTIL(c, s->out[0].owed > 100000 || s->out[0].received == 3 * MIB);
		agent_unstall(s);
	}
	agent_wait_end(s);
	CHECK_MEM(s->out[0].data, s->out[0].size, bytes, (size_t)3 * MIB);
	free(bytes);
	agent_client_stop(c);
}

/* The last bytes of short commands, over and over. */
static void test_last_bytes(void)
{
	struct agent_client *c = agent_client_start(NULL);
	for (int i = 0; i < 300; i++) {
		struct agent_run run = { .tty = i % 3 == 0 };
		struct agent_stream *s = agent_run(
			c, (const char *[]){ "printf", "%0*d", i % 2 ? "70000" : "7", "5", NULL },
			&run);
		agent_wait_end(s);
		CHECK_INT(s->totals[0], ==, i % 2 ? 70000 : 7);
		CHECK_INT(s->out[0].size, ==, i % 2 ? 70000 : 7);
		CHECK_INT(s->out[0].data[s->out[0].size - 1], ==, '5');
		agent_close(s);
	}
	agent_client_stop(c);
}

static void test_stdin_ignored(void)
{
	struct agent_client *c = agent_client_start(NULL);
	uint8_t *bytes = make_bytes(MIB);
	struct agent_run run = { .pipe = true, .in = bytes, .in_size = MIB };
	struct agent_stream *s = agent_sh(c, "exec sleep 60", &run);
	AGENT_UNTIL(c, s->in_size == MIB - WIRE_INITIAL_WINDOW - 65536 || s->in_size < MIB / 2 + 1);
	/* Its writer is held up; nobody else is. */
	for (int i = 0; i < 20; i++)
		agent_wait_end(agent_sh(c, "true", NULL));
	CHECK_INT(s->in_size, >, MIB / 2);
	CHECK_INT(agent_kill(s), ==, 0);
	agent_wait_end(s);
	free(bytes);
	agent_client_stop(c);
}

/* The size of the pipe that is a command's stdin or stdout. */
static int pipe_size(const struct agent_stream *s, int number)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)s->pid, number);
	int fd = open(path, (number ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_CLOEXEC);
	CHECK_SYS(fd);
	int size = fcntl(fd, F_GETPIPE_SZ);
	close(fd);
	return size;
}

/* Whoever reads much gets a larger pipe, but not too many at a time, and not who does not read. */
static void test_wide_stdin(void)
{
	enum { MAX = 16, N = MAX + 3 };
	struct agent_client *c = agent_client_start(NULL);
	uint8_t *bytes = make_bytes(MIB);
	struct agent_run run = { .pipe = true, .open = true };
	struct agent_stream *s[N], *idle = agent_sh(c, "exec sleep 60", &run);
	agent_wait_started(idle);
	agent_write(idle, bytes, MIB, false);
	for (int round = 0; round < 2; round++) {
		int wide = 0;
		for (int i = 0; i < N; i++) {
			s[i] = agent_run(c, (const char *[]){ "cat", NULL }, &run);
			s[i]->out[0].discard = true;
			agent_wait_started(s[i]);
			CHECK_INT(pipe_size(s[i], 0), ==, 65536);
			agent_write(s[i], bytes, MIB, false);
			AGENT_UNTIL(c, s[i]->out[0].received == MIB);
			wide += pipe_size(s[i], 0) == MIB;
		}
		CHECK_INT(wide, ==, MAX);
		CHECK_INT(pipe_size(idle, 0), ==, 65536);
		for (int i = 0; i < N; i++) {
			agent_write(s[i], "", 0, true);
			agent_wait_end(s[i]);
			CHECK(s[i]->out[0].hash == hash_of(bytes, MIB));
		}
	}
	CHECK_INT(agent_kill(idle), ==, 0);
	free(bytes);
	agent_client_stop(c);
}

/* The same for stdout: of those that are read, some, and of those that are not, none. */
static void test_wide_stdout(void)
{
	enum { MAX = 16, N = MAX + 3 };
	struct agent_client *c = agent_client_start(NULL);
	struct agent_stream *s[N], *unread;
	unread = agent_run(c, (const char *[]){ "cat", "/dev/zero", NULL }, NULL);
	unread->out[0].stalled = true;
	AGENT_UNTIL(c, unread->out[0].received == WIRE_INITIAL_WINDOW);
	for (int round = 0; round < 2; round++) {
		int wide = 0;
		for (int i = 0; i < N; i++) {
			s[i] = agent_run(c, (const char *[]){ "cat", "/dev/zero", NULL }, NULL);
			s[i]->out[0].discard = true;
			agent_wait_started(s[i]);
			CHECK_INT(pipe_size(s[i], 1), ==, 65536);
			AGENT_UNTIL(c, s[i]->out[0].received > 4 * MIB);
			s[i]->out[0].stalled = true;
			wide += pipe_size(s[i], 1) == MIB;
		}
		CHECK_INT(wide, ==, MAX);
		CHECK_INT(pipe_size(unread, 1), ==, 65536);
		/* What a killed command leaves in it comes all the same. */
		for (int i = 0; i < N; i++) {
			CHECK_INT(agent_kill(s[i]), ==, 0);
			AGENT_UNTIL(c, s[i]->exited);
			agent_unstall(s[i]);
			agent_wait_end(s[i]);
			CHECK_INT(s[i]->out[0].received, ==, s[i]->totals[0]);
			agent_close(s[i]);
		}
	}
	CHECK_INT(agent_kill(unread), ==, 0);
	agent_client_stop(c);
}

static void test_stdin_closed(void)
{
	struct agent_client *c = agent_client_start(NULL);
	uint8_t *bytes = make_bytes(5 * MIB);
	struct agent_run run = { .pipe = true, .in = bytes, .in_size = 5 * MIB };
	struct agent_stream *s = agent_do(c, "exec <&-; echo closed; sleep 0.5; echo done", &run);
	/* One event, the writer runs dry without a stall, and the output is whole. */
	CHECK_INT(s->in_size, ==, 0);
	CHECK_INT(s->stdin_errors, ==, 1);
	CHECK_INT(s->stdin_errno, ==, EPIPE);
	CHECK_STR((char *)s->out[0].data, "closed\ndone\n");
	CHECK_INT(s->code, ==, 0);
	free(bytes);
	agent_client_stop(c);
}

static void test_empty_writes_and_late_close(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .pipe = true, .open = true };
	struct agent_stream *s = agent_sh(c, "cat; echo end", &run);
	for (int i = 0; i < 3; i++) {
		agent_write(s, "ab", 2, false);
		AGENT_UNTIL(c, s->out[0].size == (size_t)(i + 1) * 2);
	}
	agent_write(s, "", 0, true);
	agent_wait_end(s);
	CHECK_STR((char *)s->out[0].data, "abababend\n");
	agent_client_stop(c);
}

/* A stalled viewer stops its command and nothing else. */
static void test_stalled_viewer(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_stream *stalled = agent_sh(c, "exec cat /dev/zero", NULL);
	stalled->out[0].stalled = true;
	AGENT_UNTIL(c, stalled->out[0].received == WIRE_INITIAL_WINDOW);
	size_t rss = agent_rss_bytes(c);
	for (int i = 0; i < 20; i++) {
		struct agent_stream *s = agent_do(c, "echo fine", NULL);
		CHECK_STR((char *)s->out[0].data, "fine\n");
	}
	CHECK_RSS_BELOW(c, rss + 2 * MIB);
	CHECK_INT(agent_kill(stalled), ==, 0);
	AGENT_UNTIL(c, stalled->exited);
	agent_client_stop(c);
}

/* stdout and stderr are two streams: one that is not read does not stop the other's bytes. */
static void test_two_streams(void)
{
	struct agent_client *c = agent_client_start(NULL);
	struct agent_stream *s = agent_sh(
		c, "head -c 3000000 /dev/zero & head -c 2000000 /dev/zero >&2; wait; exit 7", NULL);
	s->out[0].stalled = true;
	AGENT_UNTIL(c, s->out[1].received == 2000000);
	CHECK(!s->exited);
	agent_unstall(s);
	agent_wait_end(s);
	CHECK_INT(s->code, ==, 7);
	CHECK_INT(s->totals[0], ==, 3000000);
	CHECK_INT(s->totals[1], ==, 2000000);
	agent_client_stop(c);
}

/*
 * Floods make way for keys and their answers, and go on: also when there is no answer, when the
 * flood itself is typed to, and when it ends, or is closed, while it makes way.
 */
static void test_typing_beside_floods(void)
{
	enum { FLOODS = 3, KEYS = 200, STDIN = 20 * MIB };
	struct agent_client *c = agent_client_start(NULL);
	struct agent_run run = { .pipe = true, .open = true, .tty = true };
	struct agent_stream *flood[FLOODS], *echo, *silent;
	for (int i = 0; i < FLOODS; i++) {
		struct agent_run piped = { .pipe = true, .open = true };
		flood[i] = agent_run(c, (const char *[]){ "cat", "/dev/zero", NULL }, &piped);
		flood[i]->out[0].discard = true;
	}
	echo = agent_sh(c, "stty raw -echo; echo up; exec cat", &run);
	silent = agent_sh(c, "stty raw -echo; echo up; exec sleep 600", &run);
	for (int i = 0; i < FLOODS; i++)
		AGENT_UNTIL(c, flood[i]->out[0].received > 4 * MIB);
	AGENT_UNTIL(c, echo->out[0].size == 3 && silent->out[0].size == 3);

	/* And a flood of stdin, which comes over the link that the keys come over. */
	uint8_t *bytes = make_bytes(STDIN);
	struct agent_run piped = { .pipe = true, .in = bytes, .in_size = STDIN };
	struct agent_stream *in = agent_run(c, (const char *[]){ "cksum", NULL }, &piped);
	for (size_t i = 0; i < KEYS; i++) {
		agent_write(silent, "s", 1, false);
		agent_write(flood[i % FLOODS], "f", 1, false);
		agent_write(echo, "e", 1, false);
		AGENT_UNTIL(c, echo->out[0].size == 4 + i);
	}
	for (int i = 0; i < FLOODS; i++) {
		uint64_t before = flood[i]->out[0].received;
		agent_write(silent, "s", 1, false);
		AGENT_UNTIL(c, flood[i]->out[0].received > before + 4 * MIB);
		if (i > 0)
			CHECK_INT(agent_close_output(flood[i], WIRE_STDOUT), ==, 0);
		agent_write(silent, "s", 1, false);
		if (i == 0)
			CHECK_INT(agent_kill(flood[i]), ==, 0);
		agent_wait_end(flood[i]);
		CHECK_INT(flood[i]->signal, ==, i ? SIGPIPE : SIGKILL);
		CHECK_INT(flood[i]->out[0].gap, ==, 0);
	}
	agent_wait_end(in);
	CHECK_CONTAINS((char *)in->out[0].data, " 20971520\n");
	agent_write(echo, "e", 1, false);
	AGENT_UNTIL(c, echo->out[0].size == 4 + KEYS);
	free(bytes);
	CHECK_INT(agent_kill(silent), ==, 0);
	CHECK_INT(agent_kill(echo), ==, 0);
	agent_client_stop(c);
}

static void test_many_streams(void)
{
	enum { N = 20 };
	struct agent_client *c = agent_client_start(NULL);
	struct agent_stream *s[N];
	uint8_t *bytes = make_bytes(MIB);
	uint64_t hash = hash_of(bytes, MIB);
	struct agent_run run = { .pipe = true, .in = bytes, .in_size = MIB };
	for (int i = 0; i < N; i++) {
		s[i] = agent_sh(c, "exec cat", &run);
		s[i]->out[0].discard = true;
	}
	for (int i = 0; i < N; i++) {
		agent_wait_end(s[i]);
		CHECK_INT(s[i]->out[0].received, ==, MIB);
		CHECK(s[i]->out[0].hash == hash);
	}
	free(bytes);
	agent_client_stop(c);
}

static const struct tap_test tests[] = {
	{ "every byte", test_every_byte },
	{ "stdin sizes", test_stdin_sizes },
	{ "end before bytes", test_end_before_bytes },
	{ "large stdin", test_large_stdin, .timeout_s = 60 },
	{ "slow reader", test_slow_reader },
	{ "last bytes", test_last_bytes },
	{ "stdin ignored", test_stdin_ignored },
	{ "wide stdin", test_wide_stdin },
	{ "wide stdout", test_wide_stdout },
	{ "stdin closed", test_stdin_closed },
	{ "empty writes and late close", test_empty_writes_and_late_close },
	{ "stalled viewer", test_stalled_viewer },
	{ "two streams", test_two_streams },
	{ "typing beside floods", test_typing_beside_floods },
	{ "many streams", test_many_streams },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
