/* SPDX-License-Identifier: Apache-2.0 */

/* Synchronisation: the start, every way of losing the place, and getting it back. */

#include <errno.h>

#include "base/macro.h"
#include "harness/tap.h"
#include "pair.h"
#include "wire/link-internal.h"

#define SYNC_FRAME_SIZE (WIRE_HEADER_SIZE + WIRE_SYNC_SIZE)

static void expect_sync_frame(struct raw_link *raw, uint64_t nonce)
{
	uint8_t payload[WIRE_SYNC_SIZE];
	memcpy(payload, wire_sync_magic, WIRE_SYNC_MAGIC_SIZE);
	wire_put_u64(payload + WIRE_SYNC_MAGIC_SIZE, nonce);
	raw_expect_frame(raw, WIRE_SYNC, 0, 0, payload, sizeof(payload));
}

/* SYNC, HELLO, and nothing else. */
static void expect_answer(struct raw_link *raw, uint64_t nonce)
{
	raw_collect(raw);
	expect_sync_frame(raw, nonce);
	raw_expect_frame(raw, WIRE_HELLO, 0, 0, "\x08\x01", 2);
	CHECK_INT(raw->out.size, ==, 0);
}

static size_t make_sync(uint8_t *to, uint64_t nonce)
{
	wire_header_encode(&(struct wire_header){ .length = WIRE_SYNC_SIZE, .type = WIRE_SYNC },
			   to);
	memcpy(to + WIRE_HEADER_SIZE, wire_sync_magic, WIRE_SYNC_MAGIC_SIZE);
	wire_put_u64(to + WIRE_HEADER_SIZE + WIRE_SYNC_MAGIC_SIZE, nonce);
	return SYNC_FRAME_SIZE;
}

static void test_start(void)
{
	struct raw_link raw;
	raw_init(&raw, WIRE_INITIATOR, NULL);
	expect_answer(&raw, RAW_NONCE);
	raw_expect_nothing(&raw);
	raw_handshake(&raw);
	raw_done(&raw);

	/* A responder says nothing before it is asked. */
	raw_init(&raw, WIRE_RESPONDER, NULL);
	CHECK(!wire_link_wants_output(raw.link));
	raw_sync(&raw, 77);
	raw_expect(&raw, WIRE_EVENT_SYNCED, NULL);
	expect_answer(&raw, 77);
	raw_hello(&raw, 1);
	raw_expect(&raw, WIRE_EVENT_HELLO, NULL);
	raw_done(&raw);
}

static void test_options(void)
{
	struct wire_link *link = NULL;
	char software[LINK_SOFTWARE_MAX + 2];
	memset(software, 'x', sizeof(software));
	software[sizeof(software) - 1] = 0;
	struct wire_link_options o = { .role = WIRE_INITIATOR };
	CHECK_INT(wire_link_new(&o, &link), ==, -EINVAL);
	o.role = WIRE_RESPONDER;
	o.nonce = 1;
	CHECK_INT(wire_link_new(&o, &link), ==, -EINVAL);
	o.nonce = 0;
	o.software = software;
	CHECK_INT(wire_link_new(&o, &link), ==, -EINVAL);
	o.software = software + 1;
	CHECK_OK(wire_link_new(&o, &link));
	CHECK(!wire_link_free(link));
	CHECK(!wire_link_free(NULL));
}

/* Garbage before the SYNC, of every length, and cut at every place; also one that looks like it. */
static void test_hunting(void)
{
	static uint8_t bytes[4 * SYNC_FRAME_SIZE];
	for (unsigned garbage = 0; garbage < 64; garbage++) {
		size_t n = 0;
		for (; n < garbage; n++)
			bytes[n] = (uint8_t)(garbage % 3 == 0 ? n : 0);
		if (garbage % 3 == 1) {
			/*
			 * The first part of a SYNC, then the whole. (A responder cannot know that a
			 * nonce is none. It will miss HELLO then, and ask.)
			 */
			make_sync(bytes, 1);
			n = garbage % (garbage % 2 ? SYNC_FRAME_SIZE : SYNC_FRAME_SIZE - 8);
		}
		n += make_sync(bytes + n, RAW_NONCE);
		for (size_t cut = 1; cut < n; cut++) {
			struct raw_link raw;
			raw_init(&raw, garbage % 2 ? WIRE_INITIATOR : WIRE_RESPONDER, NULL);
			raw_feed(&raw, bytes, cut);
			raw_expect_nothing(&raw);
			raw_feed(&raw, bytes + cut, n - cut);
			raw_expect(&raw, WIRE_EVENT_SYNCED, NULL);
			raw_expect_nothing(&raw);
			raw_hello(&raw, 1);
			raw_expect(&raw, WIRE_EVENT_HELLO, NULL);
			raw_done(&raw);
		}
	}
}

/* A responder discards for as long as it takes; an initiator gives up. */
static void test_hunting_long(void)
{
	static const uint8_t garbage[40000] = { 24, 0, 0, 0, 1, 0 };
	struct raw_link raw;
	size_t n = 0;
	raw_init(&raw, WIRE_RESPONDER, NULL);
	for (; n < 2 * WIRE_HUNT_MAX; n += sizeof(garbage)) {
		raw_feed(&raw, garbage, sizeof(garbage));
		raw_expect_nothing(&raw);
	}
	raw_sync(&raw, 5);
	raw_expect(&raw, WIRE_EVENT_SYNCED, NULL);
	raw_done(&raw);

	raw_init(&raw, WIRE_INITIATOR, NULL);
	for (n = 0; n + sizeof(garbage) < WIRE_HUNT_MAX; n += sizeof(garbage)) {
		raw_feed(&raw, garbage, sizeof(garbage));
		raw_expect_nothing(&raw);
	}
	raw_feed(&raw, garbage, sizeof(garbage));
	raw_expect_error(&raw, -EPROTO, "no answer to SYNC");
	/* It may try again. */
	CHECK_OK(wire_link_resync(raw.link, 99));
	raw_feed(&raw, garbage, sizeof(garbage));
	raw_expect_nothing(&raw);
	raw_done(&raw);

	/* SYNCs of others count. */
	raw_init(&raw, WIRE_INITIATOR, NULL);
	for (n = 0; n + SYNC_FRAME_SIZE <= WIRE_HUNT_MAX; n += SYNC_FRAME_SIZE) {
		raw_sync(&raw, 5);
		raw_expect_nothing(&raw);
	}
	raw_sync(&raw, 5);
	raw_sync(&raw, 5);
	raw_expect_error(&raw, -EPROTO, "no answer to SYNC");
	raw_done(&raw);
}

static void test_nonces(void)
{
	struct raw_link raw;
	/* Answers to earlier questions. */
	raw_init(&raw, WIRE_INITIATOR, NULL);
	raw_sync(&raw, 1);
	raw_hello(&raw, 1);
	raw_sync(&raw, RAW_NONCE + 1);
	raw_expect_nothing(&raw);
	raw_handshake(&raw);
	raw_sync(&raw, RAW_NONCE);
	raw_expect_error(&raw, -EPROTO, "SYNC that nobody asked for");
	raw_done(&raw);

	raw_init(&raw, WIRE_RESPONDER, NULL);
	raw_sync(&raw, 0);
	raw_expect_nothing(&raw);
	raw_handshake(&raw);
	raw_sync(&raw, 0);
	raw_expect_error(&raw, -EPROTO, "SYNC without a nonce");
	raw_done(&raw);
}

static void test_hello(void)
{
	static const struct {
		uint8_t type;
		const char *payload;
		size_t size;
		int code;
		const char *error;
	} firsts[] = {
		{ WIRE_PING, "12345678", 8, -EPROTO, "PING before HELLO" },
		{ WIRE_GOODBYE, "", 0, -EPROTO, "GOODBYE before HELLO" },
		{ WIRE_HELLO, "", 0, -EPROTO, "cannot be read" },
		{ WIRE_HELLO, "\xff", 1, -EPROTO, "cannot be read" },
		{ WIRE_HELLO, "\x12\x01x", 3, -EPROTO, "cannot be read" },
		{ WIRE_HELLO, "\x08\x02", 2, -EPROTONOSUPPORT, "version 2" },
		{ WIRE_HELLO, "\x08\x00", 2, -EPROTONOSUPPORT, "version 0" },
	};
	struct raw_link raw;
	for (unsigned role = 0; role < 2; role++) {
		for (size_t i = 0; i < ARRAY_SIZE(firsts); i++) {
			raw_init(&raw, role ? WIRE_INITIATOR : WIRE_RESPONDER, NULL);
			raw_sync(&raw, RAW_NONCE);
			raw_expect(&raw, WIRE_EVENT_SYNCED, NULL);
			raw_frame(&raw, firsts[i].type, 0, 0, firsts[i].payload, firsts[i].size);
			raw_expect_error(&raw, firsts[i].code, firsts[i].error);
			/* The peer gets our version all the same, to say the same. */
			expect_answer(&raw, RAW_NONCE);
			raw_done(&raw);
		}
	}
	raw_init(&raw, WIRE_RESPONDER, NULL);
	raw_sync(&raw, RAW_NONCE);
	raw_expect(&raw, WIRE_EVENT_SYNCED, NULL);
	raw_frame(&raw, WIRE_EXEC, 0, 1, NULL, 0);
	raw_expect_error(&raw, -EPROTO, "EXEC before HELLO");
	raw_done(&raw);
}

/* ---- a link in use ---- */

static char data[100000];

static void check_fresh(struct raw_link *raw)
{
	CHECK_INT(raw->link->n_streams, ==, 0);
	CHECK_INT(raw->link->rx_unfinished, ==, 0);
	CHECK_INT(raw->link->tx_unfinished, ==, 0);
	CHECK_INT(wire_link_send(raw->link, 1, WIRE_SIGNAL, NULL, 0), <, 0);
}

/* The initiator starts anew while the responder is in the middle of all kinds of things. */
static void test_peer_restarts(void)
{
	for (unsigned state = 0; state < 5; state++) {
		struct raw_source source = { .data = data, .size = sizeof(data) };
		struct raw_link raw;
		raw_bring_up(&raw, WIRE_RESPONDER, &source, 3);
		switch (state) {
		case 1:
			CHECK_OK(wire_link_send(raw.link, 1, WIRE_STARTED, data, 1000));
			CHECK_OK(wire_link_send_fragment(raw.link, 2, WIRE_SESSIONS, data, 70000,
							 false));
			break;
		case 2:
			wire_link_ready(raw.link, 1, WIRE_STDOUT);
			wire_link_ready(raw.link, 2, WIRE_STDERR);
			break;
		case 3:
			raw_frame(&raw, WIRE_SIGNAL, WIRE_FLAG_MORE, 1, "ab", 2);
			raw_frame(&raw, WIRE_EXEC, WIRE_FLAG_MORE, 9, "ab", 2);
			raw_expect_nothing(&raw);
			break;
		case 4: /* restarted twice */
			raw_sync(&raw, 11);
			raw_expect(&raw, WIRE_EVENT_SYNCED, NULL);
			break;
		default:
			break;
		}
		raw_sync(&raw, 12);
		raw_expect(&raw, WIRE_EVENT_SYNCED, NULL);
		check_fresh(&raw);
		expect_answer(&raw, 12);
		CHECK_INT(source.peeked, ==, 0);
		raw_hello(&raw, 1);
		raw_expect(&raw, WIRE_EVENT_HELLO, NULL);
		/* Ids begin again. */
		raw_frame(&raw, WIRE_EXEC, 0, 1, NULL, 0);
		raw_expect(&raw, WIRE_EVENT_MESSAGE, NULL);
		raw_done(&raw);
	}
}

/* A frame of which a part was written is finished: the peer, too, may still be in its place. */
static void test_finishes_frame(void)
{
	for (unsigned bulk = 0; bulk < 2; bulk++) {
		for (size_t sent = 1; sent < 1012; sent += 10) {
			struct raw_source source = { .data = data, .size = 992 };
			struct raw_link raw;
			struct iovec iov[16];
			raw_bring_up(&raw, WIRE_RESPONDER, &source, 3);
			if (bulk) {
				wire_link_ready(raw.link, 1, WIRE_STDOUT);
			} else {
				CHECK_OK(wire_link_send(raw.link, 1, WIRE_STARTED, data, 1000));
				CHECK_OK(wire_link_send(raw.link, 2, WIRE_STARTED, data, 1000));
			}
			CHECK_INT(wire_link_output(raw.link, iov, 16), >, 0);
			CHECK_OK(buffer_append(&raw.out, iov[0].iov_base, sent));
			wire_link_sent(raw.link, sent);
			raw_sync(&raw, 12);
			raw_expect(&raw, WIRE_EVENT_SYNCED, NULL);
			check_fresh(&raw);
			raw_collect(&raw);
			if (bulk) {
				uint8_t payload[1000] = { 0 };
				CHECK_INT(source.consumed, ==, 1);
				raw_expect_frame(&raw, WIRE_DATA, 1, 1, payload, 1000);
			} else {
				raw_expect_frame(&raw, WIRE_STARTED, 0, 1, data, 1000);
			}
			expect_answer(&raw, 12);
			raw_done(&raw);
		}
	}
}

/* The responder loses its place: what comes is no frame. */
static void test_responder_lost(void)
{
	struct raw_link raw;
	raw_bring_up(&raw, WIRE_RESPONDER, NULL, 3);
	CHECK_OK(wire_link_send(raw.link, 1, WIRE_STARTED, data, 10));
	raw_feed(&raw, "what is this, a frame?", 22);
	raw_expect_error(&raw, -EPROTO, "not a frame");
	CHECK_INT(wire_link_resync(raw.link, 5), ==, -EINVAL);
	CHECK_OK(wire_link_resync(raw.link, 0));
	check_fresh(&raw);
	raw_collect(&raw);
	expect_sync_frame(&raw, 0); /* and no HELLO */
	CHECK_INT(raw.out.size, ==, 0);
	raw_expect_nothing(&raw);
	CHECK(wire_link_wants_input(raw.link));
	/* The initiator goes on for a while, then answers. */
	raw_frame(&raw, WIRE_SIGNAL, 0, 1, "x", 1);
	raw_expect_nothing(&raw);
	raw_sync(&raw, 13);
	raw_expect(&raw, WIRE_EVENT_SYNCED, NULL);
	expect_answer(&raw, 13);
	raw_hello(&raw, 1);
	raw_expect(&raw, WIRE_EVENT_HELLO, NULL);
	raw_done(&raw);
}

/* The place lost may be just where a SYNC begins. */
static void test_sync_within_garbage(void)
{
	for (size_t n = 1; n < 40; n++) {
		uint8_t bytes[40 + SYNC_FRAME_SIZE];
		struct raw_link raw;
		raw_bring_up(&raw, WIRE_RESPONDER, NULL, 3);
		memset(bytes, 0xff, n);
		make_sync(bytes + n, 21);
		raw_feed(&raw, bytes, n + SYNC_FRAME_SIZE);
		raw_expect_error(&raw, -EPROTO, "not a frame");
		CHECK_OK(wire_link_resync(raw.link, 0));
		raw_expect(&raw, WIRE_EVENT_SYNCED, NULL);
		/* The call for a SYNC is not needed any more and was not sent. */
		expect_answer(&raw, 21);
		raw_done(&raw);
	}
}

static void test_initiator_is_asked(void)
{
	for (unsigned hunting = 0; hunting < 2; hunting++) {
		struct raw_source source = { .data = data, .size = sizeof(data) };
		struct raw_link raw;
		if (hunting) {
			raw_init(&raw, WIRE_INITIATOR, &source);
			raw_feed(&raw, "abc", 3);
		} else {
			raw_bring_up(&raw, WIRE_INITIATOR, &source, 3);
			wire_link_ready(raw.link, 1, WIRE_STDIN);
		}
		raw_sync(&raw, 0);
		raw_frame(&raw, WIRE_EXITED, 0, 1, "x", 1);
		raw_expect(&raw, WIRE_EVENT_RESYNC_WANTED, NULL);
		raw_expect_nothing(&raw);
		/* Whatever comes. */
		raw_feed(&raw, "garbage", 7);
		raw_sync(&raw, 0);
		raw_expect_nothing(&raw);
		/* No data goes to one who would not know where it belongs. */
		raw_collect(&raw);
		CHECK_INT(source.peeked, ==, 0);
		raw.out.size = 0;

		CHECK_INT(wire_link_resync(raw.link, 0), ==, -EINVAL);
		CHECK_OK(wire_link_resync(raw.link, 31));
		check_fresh(&raw);
		expect_answer(&raw, 31);
		raw_sync(&raw, RAW_NONCE);
		raw_expect_nothing(&raw);
		raw_sync(&raw, 31);
		raw_expect(&raw, WIRE_EVENT_SYNCED, NULL);
		raw_hello(&raw, 1);
		raw_expect(&raw, WIRE_EVENT_HELLO, NULL);
		raw_done(&raw);
	}
}

/* An initiator that got garbage; streams may be opened again before the answer is there. */
static void test_initiator_lost(void)
{
	struct raw_link raw;
	uint32_t stream;
	raw_bring_up(&raw, WIRE_INITIATOR, NULL, 3);
	raw_feed(&raw, "no frame at all", 15);
	raw_expect_error(&raw, -EPROTO, "not a frame");
	/* A last word still gets out. */
	CHECK_OK(wire_link_goodbye(raw.link, "bye", 3));
	raw_collect(&raw);
	raw_expect_frame(&raw, WIRE_GOODBYE, 0, 0, "bye", 3);

	CHECK_OK(wire_link_resync(raw.link, 41));
	CHECK_OK(wire_link_open(raw.link, WIRE_ATTACH, "a", 1, NULL, &stream));
	CHECK_INT(stream, ==, 1);
	raw_collect(&raw);
	expect_sync_frame(&raw, 41);
	raw_expect_frame(&raw, WIRE_HELLO, 0, 0, "\x08\x01", 2);
	raw_expect_frame(&raw, WIRE_ATTACH, 0, 1, "a", 1);
	raw_frame(&raw, WIRE_EXITED, 0, 1, "old", 3);
	raw_sync(&raw, 41);
	raw_hello(&raw, 1);
	raw_frame(&raw, WIRE_STARTED, 0, 1, "new", 3);
	raw_expect(&raw, WIRE_EVENT_SYNCED, NULL);
	raw_expect(&raw, WIRE_EVENT_HELLO, NULL);
	struct wire_event event;
	raw_expect(&raw, WIRE_EVENT_MESSAGE, &event);
	CHECK_MEM(event.data, event.size, "new", 3);
	raw_done(&raw);
}

/* ---- two engines ---- */

/* Moves what one has written to the other; the events are counted by kind. */
static void move(struct wire_link *from, struct wire_link *to, unsigned counts[16], int *ret)
{
	struct iovec iov[16];
	struct wire_event event;
	int n;
	*ret = 0;
	while ((n = wire_link_output(from, iov, 16)) > 0) {
		uint8_t *p;
		size_t room, k = MIN(iov[0].iov_len, (size_t)50);
		wire_link_input(to, &p, &room);
		CHECK_INT(room, >=, k);
		memcpy(p, iov[0].iov_base, k);
		wire_link_sent(from, k);
		wire_link_received(to, k);
		while ((*ret = wire_link_next(to, &event)) > 0)
			counts[event.kind]++;
		if (*ret < 0)
			return;
	}
}

/*
 * Both ends in use; then garbage of every length gets into the pipe in each direction. Whoever
 * finds it starts the link again, and in the end both are in order.
 */
static void test_garbage_between(void)
{
	for (unsigned direction = 0; direction < 2; direction++) {
		for (size_t garbage = 1; garbage < 200; garbage++) {
			struct raw_source source = { .data = data, .size = sizeof(data) };
			struct raw_link i, r;
			uint32_t stream;
			unsigned counts[16] = { 0 };
			int e1, e2;
			raw_init(&i, WIRE_INITIATOR, &source);
			raw_init(&r, WIRE_RESPONDER, NULL);
			CHECK_OK(wire_link_open(i.link, WIRE_EXEC, "x", 1, NULL, &stream));
			wire_link_ready(i.link, stream, WIRE_STDIN);
			move(i.link, r.link, counts, &e1);
			move(r.link, i.link, counts, &e2);
			CHECK_INT(e1, ==, 0);
			CHECK_INT(e2, ==, 0);

			struct raw_link *victim = direction ? &r : &i;
			uint8_t *p;
			size_t room;
			wire_link_input(victim->link, &p, &room);
			for (size_t k = 0; k < garbage; k++)
				p[k] = (uint8_t)(garbage * 7 + k * k);
			wire_link_received(victim->link, garbage);
			memset(counts, 0, sizeof(counts));

			/* Each side sends until the other has noticed. */
			uint64_t nonce = 100;
			for (unsigned round = 0; round < 50 && counts[WIRE_EVENT_HELLO] < 2;
			     round++) {
				if (wire_link_ping(i.link, 1) < 0 || wire_link_ping(r.link, 1) < 0)
					CHECK(false);
				unsigned wanted = counts[WIRE_EVENT_RESYNC_WANTED];
				move(i.link, r.link, counts, &e1);
				if (e1 < 0)
					CHECK_OK(wire_link_resync(r.link, 0));
				move(r.link, i.link, counts, &e2);
				if (e2 < 0 || counts[WIRE_EVENT_RESYNC_WANTED] > wanted)
					CHECK_OK(wire_link_resync(i.link, ++nonce));
			}
			CHECK_INT(counts[WIRE_EVENT_HELLO], ==, 2);
			CHECK_INT(i.link->state, ==, LINK_UP);
			CHECK_INT(r.link->state, ==, LINK_UP);
			raw_done(&i);
			raw_done(&r);
		}
	}
}

/* The first initiator is gone with half a frame written; another one takes over. */
static void test_another_initiator(void)
{
	for (size_t cut = 1; cut < 136; cut++) {
		struct raw_link first, second, r;
		struct wire_event event;
		uint32_t stream;
		uint8_t *p;
		size_t room;
		raw_init(&first, WIRE_INITIATOR, NULL);
		raw_init(&r, WIRE_RESPONDER, NULL);
		CHECK_OK(wire_link_open(first.link, WIRE_EXEC, data, 78, NULL, &stream));
		raw_collect(&first);
		CHECK_INT(first.out.size, >=, cut);
		raw_feed(&r, buffer_front(&first.out), cut);
		while (wire_link_next(r.link, &event) > 0)
			;
		raw_done(&first);

		raw_init(&second, WIRE_INITIATOR, NULL);
		CHECK_OK(wire_link_resync(second.link, 1000));
		unsigned counts[16] = { 0 };
		int e = 0;
		uint64_t nonce = 1000;
		for (unsigned round = 0; round < 5 && second.link->state != LINK_UP; round++) {
			/* An owner that gets no answer in time tries again. */
			if (round > 0)
				CHECK_OK(wire_link_resync(second.link, ++nonce));
			move(second.link, r.link, counts, &e);
			if (e < 0) {
				CHECK_OK(wire_link_resync(r.link, 0));
				wire_link_input(r.link, &p, &room);
			}
			move(r.link, second.link, counts, &e);
			CHECK_INT(e, ==, 0);
		}
		CHECK_INT(second.link->state, ==, LINK_UP);
		raw_done(&second);
		raw_done(&r);
	}
}

static const struct tap_test tests[] = {
	{ "the start", test_start },
	{ "options", test_options },
	{ "hunting", test_hunting },
	{ "hunting for long", test_hunting_long },
	{ "nonces", test_nonces },
	{ "hello", test_hello },
	{ "the peer restarts", test_peer_restarts },
	{ "a frame is finished first", test_finishes_frame },
	{ "the responder lost its place", test_responder_lost },
	{ "a SYNC within garbage", test_sync_within_garbage },
	{ "the initiator is asked", test_initiator_is_asked },
	{ "the initiator lost its place", test_initiator_lost },
	{ "garbage between two engines", test_garbage_between },
	{ "another initiator takes over", test_another_initiator },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
