/* SPDX-License-Identifier: Apache-2.0 */

/* What goes between clients and guest, and what becomes of those on either side who misbehave. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "cove/types.h"
#include "peer.h"
#include "supervisor/limits.h"

static void start(struct supervised *s, const char *name)
{
	Cove__Wire__Create m = peer_create(name);
	m.has_detached = m.detached = true; /* so that the creator is a client like any other */
	supervised_create(s, name, &m);
}

static void stop(struct supervised *s, struct peer *p)
{
	Cove__Wire__StopRequest m = COVE__WIRE__STOP_REQUEST__INIT;
	m.has_kill = m.kill = true;
	free(peer_expect(p, peer_open(p, WIRE_STOP, &m.base), WIRE_SANDBOX));
	CHECK_INT(supervised_wait(s), ==, 0);
}

static void check_answers(struct peer *p)
{
	struct peer_stream *e = peer_exec(p, "exit", NULL);
	free(peer_expect(p, e->id, WIRE_STARTED));
	free(peer_expect(p, e->id, WIRE_EXITED));
	peer_close(p, e->id);
}

static void expect_totals(struct peer *p, struct peer_stream *e, uint64_t total)
{
	free(peer_expect(p, e->id, WIRE_STARTED));
	free(peer_expect(p, e->id, WIRE_EXITED));
	PEER_WAIT(p, e->eof[WIRE_STDOUT] && e->bytes[WIRE_STDOUT] >= total);
	CHECK_INT(e->bytes[WIRE_STDOUT], ==, total);
	CHECK_INT(e->next[WIRE_STDOUT], ==, total);
	CHECK_INT(e->totals[WIRE_STDOUT], ==, total);
	CHECK(!e->wrong);
}

static long long rss_kib(pid_t pid)
{
	char path[64], *text;
	long long kib = -1;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	CHECK_OK(fd_read_file(AT_FDCWD, path, 65536, true, &text, NULL));
	const char *line = strstr(text, "VmRSS:");
	if (line)
		kib = strtoll(line + 6, NULL, 10);
	free(text);
	return kib;
}

static unsigned count_fds(pid_t pid)
{
	char path[64];
	unsigned n = 0;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *dir = opendir(path);
	CHECK(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static bool is_cut_off(const struct peer *p)
{
	struct pollfd poll_fd = { .fd = p->fd };
	return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLHUP);
}

#ifdef __SANITIZE_ADDRESS__
#define CHECK_RSS(pid, limit_kib) (void)rss_kib(pid)
#else
#define CHECK_RSS(pid, limit_kib) CHECK_INT(rss_kib(pid), <=, limit_kib)
#endif

/* ---- what is passed on ---- */

static void send_stdin(struct peer *p, struct peer_stream *e, uint64_t n)
{
	e->stdin_left = n;
	e->stdin_eof = true;
	wire_link_ready(p->link, e->id, WIRE_STDIN);
}

static void test_echo(void)
{
	struct supervised s;
	start(&s, "echo");
	const uint64_t sizes[] = { 0, 1, 65536, 65537, 262144, 262145, 20 << 20 };
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct peer_stream *e = peer_exec(&s.creator, "cat", NULL);
		send_stdin(&s.creator, e, sizes[i]);
		expect_totals(&s.creator, e, sizes[i]);
		peer_close(&s.creator, e->id);
	}
	stop(&s, &s.creator);
	peer_done(&s.creator);
}

static void test_output(void)
{
	struct supervised s;
	start(&s, "spew");
	struct peer_stream *e = peer_exec(&s.creator, "spew", "200000000");
	expect_totals(&s.creator, e, 200000000);
	peer_close(&s.creator, e->id);
	stop(&s, &s.creator);
	peer_done(&s.creator);
}

static void test_many_streams(void)
{
	enum { CLIENTS = 4, STREAMS = 250 };
	struct supervised s;
	struct peer clients[CLIENTS];
	struct peer_stream *e[CLIENTS][STREAMS];
	start(&s, "many");
	for (int i = 0; i < CLIENTS; i++) {
		peer_connect(&clients[i], "many");
		for (int j = 0; j < STREAMS; j++) {
			e[i][j] = peer_exec(&clients[i], "cat", NULL);
			send_stdin(&clients[i], e[i][j],
				   UINT64_C(1000) * (unsigned)i + (unsigned)j);
		}
	}
	for (int i = 0; i < CLIENTS; i++)
		for (int j = 0; j < STREAMS; j++)
			expect_totals(&clients[i], e[i][j],
				      UINT64_C(1000) * (unsigned)i + (unsigned)j);
	for (int i = 0; i < CLIENTS; i++)
		peer_done(&clients[i]);
	stop(&s, &s.creator);
	peer_done(&s.creator);
}

static void test_big_message(void)
{
	struct supervised s;
	start(&s, "big");
	struct peer_stream *e = peer_exec(&s.creator, "big", NULL);
	ProtobufCMessage *m = peer_expect_message(&s.creator, e->id, WIRE_STARTED,
						  &cove__wire__started__descriptor);
	CHECK_INT(((const Cove__Wire__Started *)m)->id.len, ==, 2 * 1024 * 1024);
	wire_message_free(m);

	/* And the other way. */
	size_t size = 2 * 1024 * 1024;
	char *argument = malloc(size + 1);
	CHECK(argument);
	memset(argument, 'y', size);
	argument[size] = 0;
	e = peer_exec(&s.creator, "exit", argument);
	free(argument);
	free(peer_expect(&s.creator, e->id, WIRE_STARTED));
	stop(&s, &s.creator);
	peer_done(&s.creator);
}

static bool console_has(const char *text)
{
	char *data;
	if (fd_read_file(AT_FDCWD, tap_path("data/sandboxes/close/console.log"), 65536, false,
			 &data, NULL) < 0)
		return false;
	bool found = strstr(data, text) != NULL;
	free(data);
	return found;
}

/* The guest hears that a viewer has gone, whether it said so or just died. */
static void test_close(void)
{
	struct supervised s;
	struct peer other;
	start(&s, "close");
	struct peer_stream *one = peer_exec(&s.creator, "hold", NULL);
	free(peer_expect(&s.creator, one->id, WIRE_STARTED));
	peer_connect(&other, "close");
	struct peer_stream *two = peer_exec(&other, "hold", NULL);
	free(peer_expect(&other, two->id, WIRE_STARTED));
	struct peer_stream *three = peer_exec(&other, "hold", NULL);
	free(peer_expect(&other, three->id, WIRE_STARTED));

	/* The guest's numbers: 1 was START, so these are 2, 3, 4. */
	peer_close(&other, two->id);
	CHECK_WITHIN(console_has("closed 3\n"), 5000);
	peer_done(&other);
	CHECK_WITHIN(console_has("closed 4\n"), 5000);
	CHECK(!console_has("closed 2\n"));
	check_answers(&s.creator);
	stop(&s, &s.creator);
	peer_done(&s.creator);
}

/* Messages on a stream: the request arrives and its acknowledgement comes back. */
static void test_control(void)
{
	struct supervised s;
	start(&s, "control");
	struct peer_stream *hold = peer_exec(&s.creator, "hold", NULL);
	free(peer_expect(&s.creator, hold->id, WIRE_STARTED));
	Cove__Wire__Kill kill = COVE__WIRE__KILL__INIT;
	kill.request = 1;
	CHECK_OK(wire_send_message(s.creator.link, hold->id, WIRE_KILL, &kill.base));
	free(peer_expect(&s.creator, hold->id, WIRE_ACK));
	free(peer_expect(&s.creator, hold->id, WIRE_EXITED));
	stop(&s, &s.creator);
	peer_done(&s.creator);
}

/* The guest lost its place: what ran is lost to its viewers, and everything works again. */
static void test_resync(void)
{
	struct supervised s;
	struct peer other;
	struct cove_error err;
	start(&s, "resync");
	peer_connect(&other, "resync");
	struct peer_stream *hold = peer_exec(&other, "hold", NULL);
	free(peer_expect(&other, hold->id, WIRE_STARTED));
	for (int i = 0; i < 3; i++) {
		struct peer_stream *e = peer_exec(&s.creator, "resync", NULL);
		peer_expect_failure(&s.creator, e->id, WIRE_FAILED, &err);
		CHECK_INT(err.code, ==, COVE_E_LOST);
		peer_close(&s.creator, e->id);
	}
	peer_expect_failure(&other, hold->id, WIRE_FAILED, &err);
	CHECK_INT(err.code, ==, COVE_E_LOST);
	peer_close(&other, hold->id);
	check_answers(&other);
	check_answers(&s.creator);
	stop(&s, &s.creator);
	peer_done(&other);
	peer_done(&s.creator);
}

/* ---- clients that misbehave ---- */

/* One that does not read holds up nobody, and nothing grows without end for it. */
static void test_slow_client(void)
{
	struct supervised s;
	struct peer slow;
	start(&s, "slow");
	peer_connect(&slow, "slow");
	struct peer_stream *e[8];
	for (size_t i = 0; i < ARRAY_SIZE(e); i++) {
		e[i] = peer_exec(&slow, "spew", "1000000");
		free(peer_expect(&slow, e[i]->id, WIRE_STARTED));
	}
	struct peer_stream *fast = peer_exec(&s.creator, "spew", "50000000");
	expect_totals(&s.creator, fast, 50000000);
	check_answers(&s.creator);
	CHECK_RSS(s.pid, 4096 + 8 * (WIRE_INITIAL_WINDOW >> 10));

	/* It was only slow: all of it is there. */
	for (size_t i = 0; i < ARRAY_SIZE(e); i++) {
		PEER_WAIT(&slow, e[i]->eof[WIRE_STDOUT] && e[i]->bytes[WIRE_STDOUT] == 1000000);
		CHECK(!e[i]->wrong);
	}
	stop(&s, &s.creator);
	peer_done(&slow);
	peer_done(&s.creator);
}

/* How many of the streams are lost, or have everything. */
static unsigned settled(const struct peer *p, struct peer_stream **streams, size_t n,
			unsigned *ret_lost)
{
	unsigned whole = 0, lost = 0;
	for (size_t i = 0; i < n; i++)
		whole += streams[i]->bytes[WIRE_STDOUT] == 1000000;
	LIST_FOREACH (i, &p->messages)
		lost += LIST_ENTRY(i, struct peer_message, entry)->type == WIRE_FAILED;
	*ret_lost = lost;
	return whole + lost;
}

/* One who has asked for more than is kept for him loses what is too much, and no more. */
static void test_many_stalled_streams(void)
{
	enum { KEPT = 16 * 1024 * 1024, N = KEPT / WIRE_INITIAL_WINDOW + 16 };
	struct supervised s;
	struct peer stalled;
	struct peer_stream *e[N];
	struct cove_error err;
	unsigned lost;
	start(&s, "stalled");
	peer_connect(&stalled, "stalled");
	PEER_WAIT(&stalled, stalled.hello);
	for (size_t i = 0; i < N; i++)
		e[i] = peer_exec(&stalled, "spew", "1000000");
	peer_flush(&stalled);
	/* The guest sends in turn, so with this all of the windows are full. */
	struct peer_stream *other = peer_exec(&s.creator, "spew", "50000000");
	expect_totals(&s.creator, other, 50000000);
	CHECK_RSS(s.pid, 8192 + (KEPT >> 10));

	PEER_WAIT(&stalled, settled(&stalled, e, N, &lost) == N);
	tap_note("%u of %d streams lost", lost, N);
	CHECK_INT(lost, >, 0);
	CHECK_INT(lost, <=, 16 + 1); /* those that had no room for their last bytes */
	for (size_t i = 0; i < N; i++) {
		CHECK(!e[i]->wrong);
		free(peer_expect(&stalled, e[i]->id, WIRE_STARTED));
		free(peer_expect(&stalled, e[i]->id, WIRE_EXITED));
		if (e[i]->bytes[WIRE_STDOUT] == 1000000)
			continue;
		peer_expect_failure(&stalled, e[i]->id, WIRE_FAILED, &err);
		CHECK_INT(err.code, ==, COVE_E_LIMIT);
	}
	/* There is room again. */
	e[0] = peer_exec(&stalled, "spew", "1000000");
	expect_totals(&stalled, e[0], 1000000);
	stop(&s, &s.creator);
	peer_done(&stalled);
	peer_done(&s.creator);
}

static void test_garbage(void)
{
	struct supervised s;
	struct peer bad;
	uint8_t garbage[4096];
	start(&s, "garbage");
	for (size_t i = 0; i < sizeof(garbage); i++)
		garbage[i] = (uint8_t)(i * 7 + 1);
	peer_connect(&bad, "garbage");
	PEER_WAIT(&bad, bad.hello);
	CHECK_INT(send(bad.fd, garbage, sizeof(garbage), MSG_NOSIGNAL), ==, sizeof(garbage));
	peer_expect_close(&bad);
	CHECK(bad.goodbye); /* it is told what it did */
	CHECK_INT(bad.cause, ==, COVE_END_NONE);
	CHECK_CONTAINS(bad.text, "not a frame");
	peer_done(&bad);
	check_answers(&s.creator);
	stop(&s, &s.creator);
	peer_done(&s.creator);
}

static void test_no_hello(void)
{
	struct supervised s;
	struct peer silent;
	start(&s, "silent");
	peer_connect(&silent, "silent");
	struct wire_link *link = silent.link;
	struct iovec iov[16];
	while (wire_link_output(link, iov, 16) > 0) /* thrown away */
		wire_link_sent(link, iov[0].iov_len);
	peer_expect_close(&silent);
	peer_done(&silent);
	check_answers(&s.creator);
	stop(&s, &s.creator);
	peer_done(&s.creator);
}

static void test_forbidden_messages(void)
{
	struct supervised s;
	struct peer bad;
	uint32_t stream;
	start(&s, "forbidden");

	peer_connect(&bad, "forbidden");
	CHECK_OK(wire_link_open(bad.link, WIRE_SHUTDOWN, NULL, 0, NULL, &stream));
	peer_expect_close(&bad);
	CHECK_CONTAINS(bad.text, "not for clients");
	peer_done(&bad);

	peer_connect(&bad, "forbidden");
	Cove__Wire__WaitRequest wait = COVE__WIRE__WAIT_REQUEST__INIT;
	stream = peer_open(&bad, WIRE_WAIT, &wait.base);
	CHECK_OK(wire_link_send_eof(bad.link, stream, WIRE_STDIN, 0));
	peer_expect_close(&bad);
	CHECK_CONTAINS(bad.text, "not for");
	peer_done(&bad);

	peer_connect(&bad, "forbidden");
	stream = peer_open(&bad, WIRE_WAIT, &wait.base);
	CHECK_OK(wire_link_send(bad.link, stream, WIRE_KILL, NULL, 0));
	peer_expect_close(&bad);
	peer_done(&bad);

	check_answers(&s.creator);
	stop(&s, &s.creator);
	peer_done(&s.creator);
}

static void test_too_many_streams(void)
{
	struct supervised s;
	struct peer bad;
	start(&s, "streams");
	peer_connect(&bad, "streams");
	Cove__Wire__WaitRequest wait = COVE__WIRE__WAIT_REQUEST__INIT;
	for (unsigned i = 0; i <= CLIENT_STREAMS_MAX; i++)
		peer_open(&bad, WIRE_WAIT, &wait.base);
	peer_expect_close(&bad);
	CHECK_CONTAINS(bad.text, "streams");
	peer_done(&bad);
	check_answers(&s.creator);
	stop(&s, &s.creator);
	peer_done(&s.creator);
}

/* Requests without end by one that reads no answers. */
static void test_flood_of_requests(void)
{
	struct supervised s;
	struct peer bad;
	start(&s, "flood");
	peer_connect(&bad, "flood");
	PEER_WAIT(&bad, bad.hello);
	/* By hand: our own engine would keep account of streams whose end it does not hear of. */
	CHECK_OK(fd_set_nonblocking(bad.fd, false));
	bool cut_off = false;
	for (uint32_t stream = 1; stream < 1000000 && !cut_off; stream++) {
		uint8_t frames[2 * WIRE_HEADER_SIZE];
		struct wire_header info = { .type = WIRE_INFO, .stream = stream };
		struct wire_header close = { .type = WIRE_CLOSE, .stream = stream };
		wire_header_encode(&info, frames);
		wire_header_encode(&close, frames + WIRE_HEADER_SIZE);
		cut_off = send(bad.fd, frames, sizeof(frames), MSG_NOSIGNAL) < 0;
	}
	CHECK(cut_off);
	peer_done(&bad);
	check_answers(&s.creator);
	CHECK_RSS(s.pid, 8192);
	stop(&s, &s.creator);
	peer_done(&s.creator);
}

static void test_too_many_clients(void)
{
	struct supervised s;
	static struct peer clients[CLIENTS_MAX + 10];
	start(&s, "clients");
	unsigned fds = count_fds(s.pid);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		peer_connect(&clients[i], "clients");
		/* The creator is one of them. */
		if (i < CLIENTS_MAX - 1)
			PEER_WAIT(&clients[i], clients[i].hello);
		else
			peer_expect_close(&clients[i]);
	}
	check_answers(&clients[0]);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		peer_done(&clients[i]);
	CHECK_WITHIN(count_fds(s.pid) == fds, 5000);

	struct peer again;
	peer_connect(&again, "clients");
	check_answers(&again);
	peer_done(&again);
	stop(&s, &s.creator);
	peer_done(&s.creator);
}

/* More than a frozen guest takes, so that whoever has something for it has to wait. */
static void congest(struct peer *p)
{
	size_t size = 2 * 1024 * 1024;
	char *argument = malloc(size + 1);
	CHECK(argument);
	memset(argument, 'z', size);
	argument[size] = 0;
	for (int i = 0; i < 6; i++)
		peer_exec(p, "hold", argument);
	free(argument);
	for (int i = 0; i < 50; i++)
		peer_pump(p, clock_monotonic_ms() + 5);
}

/* A guest that does not take requests holds up who sends them, and not the one who ends it. */
static void test_frozen_guest(void)
{
	struct supervised s;
	struct peer other;
	start(&s, "frozen");
	peer_connect(&other, "frozen");
	PEER_WAIT(&other, other.hello);
	free(peer_expect(&s.creator, peer_exec(&s.creator, "freeze", NULL)->id, WIRE_STARTED));
	congest(&s.creator);
	CHECK(wire_link_wants_output(s.creator.link)); /* it was made to wait */
	CHECK_RSS(s.pid, 16384);
	stop(&s, &other);
	peer_done(&other);
	peer_done(&s.creator);
}

static long cpu_ticks(pid_t pid)
{
	char path[64], *text;
	long user = 0, system = 0;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	CHECK_OK(fd_read_file(AT_FDCWD, path, 65536, true, &text, NULL));
	const char *fields = strrchr(text, ')');
	CHECK(fields);
	CHECK_INT(sscanf(fields, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user,
			 &system),
		  ==, 2);
	free(text);
	return user + system;
}

/* A client that dies while it must wait for the guest, with unread output, does not keep us busy. */
static void test_dies_while_waiting(void)
{
	struct supervised s;
	struct peer other;
	start(&s, "spin");
	peer_connect(&other, "spin");
	PEER_WAIT(&other, other.hello);
	/* More than its socket holds. */
	for (int i = 0; i < 4; i++)
		peer_exec(&other, "spew", "1000000");
	peer_flush(&other);
	struct pollfd p = { .fd = other.fd, .events = POLLIN };
	CHECK_INT(poll(&p, 1, PEER_TIMEOUT_MS), ==, 1);
	free(peer_expect(&s.creator, peer_exec(&s.creator, "freeze", NULL)->id, WIRE_STARTED));
	congest(&s.creator);
	peer_exec(&other, "hold", NULL);
	peer_flush(&other);
	peer_done(&other);

	/* A round of the loop takes microseconds: what it does because of this is soon done. */
	uint64_t begin = clock_monotonic_ms();
	long ticks = cpu_ticks(s.pid), tick_ms = 1000 / sysconf(_SC_CLK_TCK);
	while (clock_monotonic_ms() < begin + 1000)
		peer_pump(&s.creator, begin + 1000);
	CHECK_INT((cpu_ticks(s.pid) - ticks) * tick_ms, <, 100);

	peer_connect(&other, "spin");
	stop(&s, &other);
	peer_done(&other);
	peer_done(&s.creator);
}

/* ---- guests that misbehave ---- */

static void test_hostile(void)
{
	static const struct {
		const char *command, *words;
	} cases[] = {
		{ "overrun", "credit" },
		{ "lie", "not a frame" },
		{ "ready", "not for a session" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct supervised s;
		struct peer other;
		start(&s, "hostile");
		peer_connect(&other, "hostile");
		PEER_WAIT(&other, other.hello);
		/* slow: what it takes must not become credit before the guest has overrun it. */
		peer_exec(&s.creator, cases[i].command, NULL)->slow = true;
		peer_expect_goodbye(&s.creator, COVE_END_GUEST_HOSTILE);
		CHECK_CONTAINS(s.creator.text, cases[i].words);
		peer_expect_goodbye(&other, COVE_END_GUEST_HOSTILE);
		CHECK_INT(supervised_wait(&s), ==, 0);
		peer_done(&other);
		peer_done(&s.creator);
	}
}

static void test_resync_too_often(void)
{
	struct supervised s;
	start(&s, "confused");
	for (int i = 0; i <= GUEST_RESYNC_MAX && !s.creator.closed; i++) {
		struct peer_stream *e = peer_exec(&s.creator, "resync", NULL);
		uint64_t end = peer_deadline();
		while (!s.creator.closed && list_empty(&s.creator.messages)) {
			CHECK(clock_monotonic_ms() < end);
			peer_pump(&s.creator, end);
		}
		if (!list_empty(&s.creator.messages))
			free(peer_expect(&s.creator, e->id, WIRE_FAILED));
	}
	peer_expect_goodbye(&s.creator, COVE_END_GUEST_HOSTILE);
	CHECK_INT(supervised_wait(&s), ==, 0);
	peer_done(&s.creator);
}

/* Messages without end: who does not read them is cut off, and the others do not notice. */
static void test_flood_of_messages(void)
{
	struct supervised s;
	struct peer victim;
	start(&s, "acks");
	peer_connect(&victim, "acks");
	struct peer_stream *acks = peer_exec(&victim, "acks", NULL);
	free(peer_expect(&victim, acks->id, WIRE_STARTED));
	free(peer_expect(&victim, acks->id, WIRE_ACK));
	/* From here on it reads nothing. */
	struct peer_stream *e = peer_exec(&s.creator, "spew", "1000000");
	expect_totals(&s.creator, e, 1000000);
	CHECK_WITHIN((check_answers(&s.creator), is_cut_off(&victim)), 10000);
	check_answers(&s.creator);
	CHECK_RSS(s.pid, 8192 + (CLIENT_QUEUE_MAX >> 10));
	peer_done(&victim);
	stop(&s, &s.creator);
	peer_done(&s.creator);
}

/* Bytes left out everywhere cost memory beyond the credit: the stream ends, nothing else. */
static void test_gaps(void)
{
	struct supervised s;
	struct peer viewer;
	struct cove_error err;
	start(&s, "gaps");
	peer_connect(&viewer, "gaps");
	struct peer_stream *e = peer_exec(&viewer, "gaps", NULL);
	free(peer_expect(&viewer, e->id, WIRE_STARTED));
	/* It does not read for a while: until the guest has come to the end of its credit. */
	struct peer_stream *fast = peer_exec(&s.creator, "spew", "20000000");
	expect_totals(&s.creator, fast, 20000000);
	peer_expect_failure(&viewer, e->id, WIRE_FAILED, &err);
	CHECK_INT(err.code, ==, COVE_E_LIMIT);
	CHECK(!e->wrong);
	peer_close(&viewer, e->id);
	check_answers(&viewer);
	peer_done(&viewer);
	stop(&s, &s.creator);
	peer_done(&s.creator);
}

/* ---- what it costs ---- */

static void test_small(void)
{
	struct supervised s;
	start(&s, "small");
	check_answers(&s.creator);
	tap_note("RSS: %lld KiB", rss_kib(s.pid));
	CHECK_RSS(s.pid, 4096);
	stop(&s, &s.creator);
	peer_done(&s.creator);
}

static const struct tap_test tests[] = {
	{ "echo", test_echo, .timeout_s = 60 },
	{ "much output", test_output, .timeout_s = 60 },
	{ "many streams of many clients", test_many_streams, .timeout_s = 60 },
	{ "messages larger than a frame", test_big_message },
	{ "the guest hears of closed streams", test_close },
	{ "requests on a stream", test_control },
	{ "the guest loses its place", test_resync },
	{ "a slow client", test_slow_client, .timeout_s = 60 },
	{ "many stalled streams", test_many_stalled_streams, .timeout_s = 60 },
	{ "garbage from a client", test_garbage },
	{ "a client without HELLO", test_no_hello },
	{ "messages that clients may not send", test_forbidden_messages },
	{ "too many streams", test_too_many_streams },
	{ "a flood of requests", test_flood_of_requests, .timeout_s = 60 },
	{ "too many clients", test_too_many_clients },
	{ "a frozen guest", test_frozen_guest },
	{ "a client that dies while it waits for one", test_dies_while_waiting },
	{ "hostile guests", test_hostile },
	{ "a guest that loses its place too often", test_resync_too_often },
	{ "a flood of messages from the guest", test_flood_of_messages, .timeout_s = 60 },
	{ "a guest that leaves out bytes everywhere", test_gaps },
	{ "it is small", test_small },
};

int main(int argc, char **argv)
{
	peer_use_fake_guest();
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
