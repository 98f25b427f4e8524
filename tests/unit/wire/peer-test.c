/* SPDX-License-Identifier: Apache-2.0 */

/* A peer that breaks the rules, or goes to their limits: each rule of docs/protocol.md. */

#include <errno.h>

#include "base/macro.h"
#include "harness/tap.h"
#include "pair.h"
#include "wire/link-internal.h"

#define I_IS WIRE_INITIATOR
#define R_IS WIRE_RESPONDER

/* One frame that is refused by an engine which has streams 1 and 2 open, of EXEC. */
struct bad_frame {
	const char *name;
	enum wire_role role; /* of the engine */
	uint8_t type;
	uint8_t flags;
	uint32_t stream;
	uint32_t size;
	const char *payload; /* NULL: zeros */
	const char *error;
};

#define OFFSET_0 "\0\0\0\0\0\0\0\0"
#define ONES	 "\377\377\377\377\377\377\377\377"

static const struct bad_frame bad_frames[] = {
	{ "unknown type", R_IS, 200, 0, 0, 0, NULL, "type 200" },
	{ "type 0", R_IS, 0, 0, 0, 0, NULL, "type 0" },

	{ "SYNC of a wrong size", R_IS, WIRE_SYNC, 0, 0, 8, NULL, "SYNC has a wrong length" },
	{ "SYNC without magic", R_IS, WIRE_SYNC, 0, 0, 24, NULL, "without its magic" },
	{ "SYNC on a stream", R_IS, WIRE_SYNC, 0, 1, 24, NULL, "wrong stream" },
	{ "SYNC with flags", R_IS, WIRE_SYNC, 1, 0, 24, NULL, "flags" },
	{ "a second HELLO", R_IS, WIRE_HELLO, 0, 0, 2, "\x08\x01", "second HELLO" },
	{ "HELLO in fragments", R_IS, WIRE_HELLO, WIRE_FLAG_MORE, 0, 2, "\x08\x01", "flags" },
	{ "PING of a wrong size", R_IS, WIRE_PING, 0, 0, 7, NULL, "wrong length" },
	{ "PONG of a wrong size", I_IS, WIRE_PONG, 0, 0, 9, NULL, "wrong length" },
	{ "PING on a stream", R_IS, WIRE_PING, 0, 1, 8, NULL, "wrong stream" },
	{ "GOODBYE on a stream", R_IS, WIRE_GOODBYE, 0, 1, 0, NULL, "wrong stream" },
	{ "GOODBYE with flags", R_IS, WIRE_GOODBYE, WIRE_FLAG_MORE, 0, 1, NULL, "flags" },

	{ "DATA on stream 0", R_IS, WIRE_DATA, 0, 0, 9, NULL, "wrong stream" },
	{ "EXEC on stream 0", R_IS, WIRE_EXEC, 0, 0, 9, NULL, "wrong stream" },
	{ "DATA without an offset", R_IS, WIRE_DATA, 0, 1, 7, NULL, "wrong length" },
	{ "DATA without data", R_IS, WIRE_DATA, 0, 1, 8, NULL, "wrong length" },
	{ "DATA on channel 3", R_IS, WIRE_DATA, 3, 1, 9, NULL, "wrong channel" },
	{ "DATA with unknown flags", R_IS, WIRE_DATA, 4, 1, 9, NULL, "flags" },
	{ "DATA with MORE", R_IS, WIRE_DATA, WIRE_FLAG_MORE, 1, 9, NULL, "flags" },
	{ "DATA on stdout to a responder", R_IS, WIRE_DATA, 1, 1, 9, NULL, "wrong channel" },
	{ "DATA on stderr to a responder", R_IS, WIRE_DATA, 2, 1, 9, NULL, "wrong channel" },
	{ "DATA on stdin to an initiator", I_IS, WIRE_DATA, 0, 1, 9, NULL, "wrong channel" },
	{ "DATA past the end of offsets", R_IS, WIRE_DATA, 0, 1, 10, ONES "ab", "offset" },
	{ "DATA on a stream never opened", R_IS, WIRE_DATA, 0, 3, 9, NULL, "not open" },
	{ "DATA to an initiator, never opened", I_IS, WIRE_DATA, 1, 3, 9, NULL, "not open" },

	{ "CREDIT of a wrong size", R_IS, WIRE_CREDIT, 1, 1, 8, NULL, "wrong length" },
	{ "CREDIT of nothing", R_IS, WIRE_CREDIT, 1, 1, 4, NULL, "credit for 0" },
	{ "CREDIT for the own channel", R_IS, WIRE_CREDIT, 0, 1, 4, "\1\0\0\0", "wrong channel" },
	{ "CREDIT for the own channels", I_IS, WIRE_CREDIT, 1, 1, 4, "\1\0\0\0", "wrong channel" },
	{ "CREDIT over the top", R_IS, WIRE_CREDIT, 1, 1, 4, "\1\0\14\0", "credit for 786433" },
	{ "CREDIT of 4 GiB", I_IS, WIRE_CREDIT, 0, 1, 4, ONES, "credit for 4294967295" },

	{ "EOF of a wrong size", R_IS, WIRE_EOF, 0, 1, 4, NULL, "wrong length" },
	{ "EOF of the other's channel", R_IS, WIRE_EOF, 1, 1, 8, NULL, "wrong channel" },
	{ "EOF of no channel", I_IS, WIRE_EOF, 3, 1, 8, NULL, "wrong channel" },
	{ "EOF at no offset", I_IS, WIRE_EOF, 1, 1, 8, ONES, "impossible end" },

	{ "CLOSE with a payload", R_IS, WIRE_CLOSE, 0, 1, 1, NULL, "wrong length" },
	{ "CLOSE with flags", R_IS, WIRE_CLOSE, 1, 1, 0, NULL, "flags" },
	{ "CLOSE of a stream never opened", R_IS, WIRE_CLOSE, 0, 9, 0, NULL, "not open" },
	{ "CLOSE by the responder", I_IS, WIRE_CLOSE, 0, 1, 0, NULL, "cannot close" },

	{ "a reply from the initiator", R_IS, WIRE_STARTED, 0, 1, 0, NULL, "wrong side" },
	{ "a request from the responder", I_IS, WIRE_EXEC, 0, 3, 0, NULL, "wrong side" },
	{ "a signal from the responder", I_IS, WIRE_SIGNAL, 0, 1, 0, NULL, "wrong side" },
	{ "a message with a channel", R_IS, WIRE_SIGNAL, 1, 1, 0, NULL, "flags" },
	{ "an empty fragment", R_IS, WIRE_SIGNAL, WIRE_FLAG_MORE, 1, 0, NULL, "wrong length" },
	{ "a message on no stream", R_IS, WIRE_SIGNAL, 0, 3, 1, NULL, "not open" },
	{ "a stream opened again", R_IS, WIRE_EXEC, 0, 2, 0, NULL, "out of place" },
	{ "a lower id", R_IS, WIRE_EXEC, 0, 1, 0, NULL, "out of place" },
};

static void test_bad_frames(void)
{
	static const uint8_t zeros[64];
	for (size_t i = 0; i < ARRAY_SIZE(bad_frames); i++) {
		const struct bad_frame *b = &bad_frames[i];
		tap_note("%s", b->name);
		struct raw_link raw;
		raw_bring_up(&raw, b->role, NULL, 2);
		raw_frame(&raw, b->type, b->flags, b->stream,
			  b->payload ? (void *)b->payload : zeros, b->size);
		raw_expect_error(&raw, -EPROTO, b->error);
		raw_done(&raw);
	}
}

/* A bad header is refused before its payload has come. */
static void test_bad_header(void)
{
	static const uint8_t headers[][WIRE_HEADER_SIZE] = {
		{ 9, 0, 1, 0, WIRE_DATA, 0, 0, 0, 1 }, { 9, 0, 0, 0x80, WIRE_DATA, 0, 0, 0, 1 },
		{ 9, 0, 0, 0, WIRE_DATA, 0, 1, 0, 1 }, { 9, 0, 0, 0, WIRE_DATA, 0, 0, 1, 1 },
		{ 9, 0, 0, 0, 99, 0, 0, 0, 1 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		struct raw_link raw;
		raw_bring_up(&raw, WIRE_RESPONDER, NULL, 2);
		raw_feed(&raw, headers[i], WIRE_HEADER_SIZE);
		raw_expect_error(&raw, -EPROTO, "not a frame");
		raw_done(&raw);
	}
}

/* ---- channels ---- */

static void feed_data(struct raw_link *raw, unsigned channel, uint64_t offset, size_t n)
{
	static uint8_t payload[WIRE_PAYLOAD_MAX];
	wire_put_u64(payload, offset);
	raw_frame(raw, WIRE_DATA, (uint8_t)channel, 1, payload, WIRE_DATA_PREFIX + n);
}

static void feed_u64(struct raw_link *raw, uint8_t type, unsigned channel, uint64_t value)
{
	uint8_t payload[8];
	wire_put_u64(payload, value);
	raw_frame(raw, type, (uint8_t)channel, 1, payload, 8);
}

static void feed_credit(struct raw_link *raw, unsigned channel, uint32_t n)
{
	uint8_t payload[4];
	wire_put_u32(payload, n);
	raw_frame(raw, WIRE_CREDIT, (uint8_t)channel, 1, payload, 4);
}

static void test_window(void)
{
	struct raw_link raw;
	struct wire_event event;
	raw_bring_up(&raw, WIRE_INITIATOR, NULL, 2);
	uint64_t offset = 0;
	for (; offset < WIRE_INITIAL_WINDOW; offset += WIRE_DATA_MAX) {
		feed_data(&raw, WIRE_STDOUT, offset, WIRE_DATA_MAX);
		raw_expect(&raw, WIRE_EVENT_DATA, &event);
		CHECK_INT(event.offset, ==, offset);
		CHECK_INT(event.size, ==, WIRE_DATA_MAX);
	}
	/* The other channel has its own. */
	feed_data(&raw, WIRE_STDERR, 0, 1);
	raw_expect(&raw, WIRE_EVENT_DATA, NULL);
	feed_data(&raw, WIRE_STDOUT, offset, 1);
	raw_expect_error(&raw, -EPROTO, "credit for 0");
	raw_done(&raw);
}

/* Credit goes back in quarters of the window, and only what was used up. */
static void test_credit_goes_back(void)
{
	struct raw_link raw;
	uint8_t n[4];
	raw_bring_up(&raw, WIRE_INITIATOR, NULL, 2);
	for (uint64_t offset = 0; offset < WIRE_INITIAL_WINDOW; offset += WIRE_DATA_MAX) {
		feed_data(&raw, WIRE_STDOUT, offset, WIRE_DATA_MAX);
		raw_expect(&raw, WIRE_EVENT_DATA, NULL);
	}
	CHECK_OK(wire_link_consumed(raw.link, 1, WIRE_STDOUT, WIRE_INITIAL_WINDOW / 4 - 1));
	CHECK(!wire_link_wants_output(raw.link));
	CHECK_OK(wire_link_consumed(raw.link, 1, WIRE_STDOUT, 101));
	raw_collect(&raw);
	wire_put_u32(n, WIRE_INITIAL_WINDOW / 4 + 100);
	raw_expect_frame(&raw, WIRE_CREDIT, WIRE_STDOUT, 1, n, 4);
	CHECK_INT(raw.out.size, ==, 0);

	feed_data(&raw, WIRE_STDOUT, WIRE_INITIAL_WINDOW, WIRE_INITIAL_WINDOW / 4);
	raw_expect(&raw, WIRE_EVENT_DATA, NULL);
	feed_data(&raw, WIRE_STDOUT, WIRE_INITIAL_WINDOW / 4 * 5, 101);
	raw_expect_error(&raw, -EPROTO, "credit for 100");
	raw_done(&raw);
}

static void test_grant(void)
{
	struct raw_link raw;
	uint8_t n[4];
	raw_bring_up(&raw, WIRE_INITIATOR, NULL, 2);
	CHECK_INT(wire_link_grant(raw.link, 1, WIRE_STDOUT,
				  WIRE_WINDOW_MAX - WIRE_INITIAL_WINDOW + 1),
		  ==, -EINVAL);
	CHECK_OK(wire_link_grant(raw.link, 1, WIRE_STDOUT, WIRE_WINDOW_MAX - WIRE_INITIAL_WINDOW));
	CHECK_INT(wire_link_grant(raw.link, 1, WIRE_STDOUT, 1), ==, -EINVAL);
	CHECK_INT(wire_link_grant(raw.link, 1, WIRE_STDERR, 0), ==, -EINVAL);
	CHECK_INT(wire_link_grant(raw.link, 1, WIRE_STDIN, 1), ==, -EINVAL);
	CHECK_INT(wire_link_grant(raw.link, 1, 3, 1), ==, -EINVAL);
	CHECK_INT(wire_link_grant(raw.link, 3, WIRE_STDOUT, 1), ==, -ENOENT);
	/* Not more than was received. */
	CHECK_INT(wire_link_consumed(raw.link, 1, WIRE_STDOUT, 1), ==, -EINVAL);
	CHECK_INT(wire_link_consumed(raw.link, 1, WIRE_STDIN, 1), ==, -EINVAL);
	CHECK_INT(wire_link_consumed(raw.link, 1, 77, 1), ==, -EINVAL);
	CHECK_INT(wire_link_consumed(raw.link, 3, WIRE_STDOUT, 1), ==, -ENOENT);
	/* Also while what was used up is not given back yet. */
	feed_data(&raw, WIRE_STDOUT, 0, 10);
	raw_expect(&raw, WIRE_EVENT_DATA, NULL);
	CHECK_OK(wire_link_consumed(raw.link, 1, WIRE_STDOUT, 4));
	CHECK_INT(wire_link_consumed(raw.link, 1, WIRE_STDOUT, 7), ==, -EINVAL);
	CHECK_INT(wire_link_grant(raw.link, 1, WIRE_STDOUT, 7), ==, -EINVAL);
	raw_collect(&raw);
	wire_put_u32(n, WIRE_WINDOW_MAX - WIRE_INITIAL_WINDOW);
	raw_expect_frame(&raw, WIRE_CREDIT, WIRE_STDOUT, 1, n, 4);
	CHECK_INT(raw.out.size, ==, 0);

	uint64_t offset = 10;
	for (; offset < WIRE_WINDOW_MAX - WIRE_DATA_MAX; offset += WIRE_DATA_MAX) {
		feed_data(&raw, WIRE_STDOUT, offset, WIRE_DATA_MAX);
		raw_expect(&raw, WIRE_EVENT_DATA, NULL);
	}
	feed_data(&raw, WIRE_STDOUT, offset, WIRE_DATA_MAX - 9);
	raw_expect_error(&raw, -EPROTO, "65527 bytes of data, but credit for 65526");
	raw_done(&raw);
}

/* A jump is a gap; back is refused. */
static void test_offsets(void)
{
	struct raw_link raw;
	struct wire_event event;
	raw_bring_up(&raw, WIRE_INITIATOR, NULL, 2);
	feed_data(&raw, WIRE_STDOUT, 1000, 10);
	raw_expect(&raw, WIRE_EVENT_DATA, &event);
	CHECK_INT(event.offset, ==, 1000);
	feed_data(&raw, WIRE_STDOUT, 1010, 10);
	raw_expect(&raw, WIRE_EVENT_DATA, NULL);
	feed_data(&raw, WIRE_STDOUT, (uint64_t)1 << 63, 10);
	raw_expect(&raw, WIRE_EVENT_DATA, &event);
	CHECK(event.offset == (uint64_t)1 << 63);
	feed_data(&raw, WIRE_STDERR, UINT64_MAX - 9, 9);
	raw_expect(&raw, WIRE_EVENT_DATA, NULL);
	feed_data(&raw, WIRE_STDOUT, 1020, 10);
	raw_expect_error(&raw, -EPROTO, "offset");
	raw_done(&raw);

	/* Nor by one byte. */
	raw_bring_up(&raw, WIRE_INITIATOR, NULL, 2);
	feed_data(&raw, WIRE_STDOUT, 0, 10);
	raw_expect(&raw, WIRE_EVENT_DATA, NULL);
	feed_data(&raw, WIRE_STDOUT, 9, 10);
	raw_expect_error(&raw, -EPROTO, "offset");
	raw_done(&raw);
}

/* EOF comes before the data that it counts; none comes after. */
static void test_eof(void)
{
	struct raw_link raw;
	struct wire_event event;
	raw_bring_up(&raw, WIRE_INITIATOR, NULL, 2);
	feed_data(&raw, WIRE_STDOUT, 0, 10);
	raw_expect(&raw, WIRE_EVENT_DATA, NULL);
	feed_u64(&raw, WIRE_EOF, WIRE_STDOUT, 20);
	raw_expect(&raw, WIRE_EVENT_EOF, &event);
	CHECK_INT(event.offset, ==, 20);
	CHECK_INT(event.channel, ==, WIRE_STDOUT);
	feed_data(&raw, WIRE_STDOUT, 10, 10);
	raw_expect(&raw, WIRE_EVENT_DATA, NULL);
	feed_data(&raw, WIRE_STDERR, 20, 10);
	raw_expect(&raw, WIRE_EVENT_DATA, NULL);
	feed_data(&raw, WIRE_STDOUT, 20, 1);
	raw_expect_error(&raw, -EPROTO, "offset");
	raw_done(&raw);

	raw_bring_up(&raw, WIRE_INITIATOR, NULL, 2);
	feed_u64(&raw, WIRE_EOF, WIRE_STDERR, 20);
	raw_expect(&raw, WIRE_EVENT_EOF, NULL);
	feed_data(&raw, WIRE_STDERR, 11, 10);
	raw_expect_error(&raw, -EPROTO, "offset");
	raw_done(&raw);

	raw_bring_up(&raw, WIRE_INITIATOR, NULL, 2);
	feed_data(&raw, WIRE_STDOUT, 11, 10);
	raw_expect(&raw, WIRE_EVENT_DATA, NULL);
	feed_u64(&raw, WIRE_EOF, WIRE_STDOUT, 20);
	raw_expect_error(&raw, -EPROTO, "impossible end");
	raw_done(&raw);

	raw_bring_up(&raw, WIRE_INITIATOR, NULL, 2);
	feed_u64(&raw, WIRE_EOF, WIRE_STDOUT, 20);
	raw_expect(&raw, WIRE_EVENT_EOF, NULL);
	feed_u64(&raw, WIRE_EOF, WIRE_STDOUT, 20);
	raw_expect_error(&raw, -EPROTO, "impossible end");
	raw_done(&raw);
}

/* After EOF credit still goes back while bytes are missing, and not for nothing after. */
static void test_credit_after_eof(void)
{
	struct raw_link raw;
	raw_bring_up(&raw, WIRE_INITIATOR, NULL, 2);
	feed_u64(&raw, WIRE_EOF, WIRE_STDOUT, (uint64_t)WIRE_DATA_MAX * 2);
	raw_expect(&raw, WIRE_EVENT_EOF, NULL);
	feed_data(&raw, WIRE_STDOUT, 0, WIRE_DATA_MAX);
	raw_expect(&raw, WIRE_EVENT_DATA, NULL);
	CHECK_OK(wire_link_consumed(raw.link, 1, WIRE_STDOUT, WIRE_DATA_MAX));
	CHECK(wire_link_wants_output(raw.link));
	raw_collect(&raw);
	feed_data(&raw, WIRE_STDOUT, WIRE_DATA_MAX, WIRE_DATA_MAX);
	raw_expect(&raw, WIRE_EVENT_DATA, NULL);
	CHECK_OK(wire_link_consumed(raw.link, 1, WIRE_STDOUT, WIRE_DATA_MAX));
	CHECK(!wire_link_wants_output(raw.link));
	raw_done(&raw);
}

static void test_sender_waits_for_credit(void)
{
	static char data[WIRE_INITIAL_WINDOW + 100];
	struct raw_source source = { .data = data, .size = sizeof(data) };
	struct raw_link raw;
	raw_bring_up(&raw, WIRE_RESPONDER, &source, 2);
	wire_link_ready(raw.link, 1, WIRE_STDOUT);
	raw_collect(&raw);
	CHECK_INT(source.size, ==, 100);
	CHECK_INT(wire_link_credit(raw.link, 1, WIRE_STDOUT), ==, 0);
	CHECK_INT(wire_link_credit(raw.link, 1, WIRE_STDERR), ==, WIRE_INITIAL_WINDOW);
	CHECK_INT(wire_link_credit(raw.link, 1, WIRE_STDIN), ==, 0);
	CHECK_INT(wire_link_credit(raw.link, 9, WIRE_STDOUT), ==, 0);

	/* Nothing is asked for while nothing may be sent. */
	unsigned peeked = source.peeked;
	wire_link_ready(raw.link, 1, WIRE_STDOUT);
	CHECK(!wire_link_wants_output(raw.link));
	raw_collect(&raw);
	CHECK_INT(source.peeked, ==, peeked);

	/* Credit is enough of a reason to be asked again, exactly as far as it goes. */
	feed_credit(&raw, WIRE_STDOUT, 60);
	raw_expect(&raw, WIRE_EVENT_CREDIT, NULL);
	CHECK(wire_link_wants_output(raw.link));
	raw_collect(&raw);
	CHECK_INT(source.size, ==, 40);
	feed_credit(&raw, WIRE_STDOUT, WIRE_WINDOW_MAX);
	raw_expect(&raw, WIRE_EVENT_CREDIT, NULL);
	raw_collect(&raw);
	CHECK_INT(source.size, ==, 0);
	CHECK_INT(wire_link_credit(raw.link, 1, WIRE_STDOUT), ==, WIRE_WINDOW_MAX - 40);
	CHECK(!wire_link_wants_output(raw.link));
	feed_credit(&raw, WIRE_STDOUT, 41);
	raw_expect_error(&raw, -EPROTO, "credit for 41");
	raw_done(&raw);
}

/* ---- streams ---- */

static void test_ids(void)
{
	struct raw_link raw;
	struct wire_event event;
	raw_bring_up(&raw, WIRE_RESPONDER, NULL, 2);
	raw_frame(&raw, WIRE_INFO, 0, 1000, "x", 1);
	raw_expect(&raw, WIRE_EVENT_MESSAGE, &event);
	CHECK(event.opens && !event.userdata);
	CHECK_INT(event.stream, ==, 1000);
	raw_frame(&raw, WIRE_INFO, 0, UINT32_MAX, NULL, 0);
	raw_expect(&raw, WIRE_EVENT_MESSAGE, NULL);

	/* Closed, it cannot be opened again, nor used. */
	raw_frame(&raw, WIRE_CLOSE, 0, 1000, NULL, 0);
	raw_expect(&raw, WIRE_EVENT_CLOSE, &event);
	CHECK_INT(event.stream, ==, 1000);
	CHECK_INT(wire_link_send(raw.link, 1000, WIRE_SANDBOX, "x", 1), ==, -ENOENT);
	raw_collect(&raw);
	raw_expect_frame(&raw, WIRE_CLOSE, 0, 1000, NULL, 0);
	raw_frame(&raw, WIRE_INFO, 0, 1000, NULL, 0);
	raw_expect_error(&raw, -EPROTO, "INFO opens stream 1000 after 4294967295");
	raw_done(&raw);
}

static void test_too_many_streams(void)
{
	struct raw_link raw;
	uint32_t stream;
	raw_init_options(&raw,
			 &(struct wire_link_options){ .role = WIRE_RESPONDER, .max_streams = 3 });
	raw_handshake(&raw);
	for (uint32_t i = 1; i <= 3; i++) {
		raw_frame(&raw, WIRE_EXEC, 0, i, NULL, 0);
		raw_expect(&raw, WIRE_EVENT_MESSAGE, NULL);
	}
	raw_frame(&raw, WIRE_CLOSE, 0, 2, NULL, 0);
	raw_expect(&raw, WIRE_EVENT_CLOSE, NULL);
	raw_frame(&raw, WIRE_EXEC, 0, 4, NULL, 0);
	raw_expect(&raw, WIRE_EVENT_MESSAGE, NULL);
	raw_frame(&raw, WIRE_EXEC, 0, 5, NULL, 0);
	raw_expect_error(&raw, -EPROTO, "more than 3 streams");
	raw_done(&raw);

	raw_init_options(&raw,
			 &(struct wire_link_options){ .role = WIRE_INITIATOR, .max_streams = 2 });
	raw_handshake(&raw);
	CHECK_OK(wire_link_open(raw.link, WIRE_EXEC, NULL, 0, NULL, &stream));
	CHECK_OK(wire_link_open(raw.link, WIRE_EXEC, NULL, 0, NULL, &stream));
	CHECK_INT(wire_link_open(raw.link, WIRE_EXEC, NULL, 0, NULL, &stream), ==, -ENOBUFS);
	/* It counts until the peer has closed it, too. */
	wire_link_close(raw.link, 1);
	CHECK_INT(wire_link_open(raw.link, WIRE_EXEC, NULL, 0, NULL, &stream), ==, -ENOBUFS);
	raw_frame(&raw, WIRE_CLOSE, 0, 1, NULL, 0);
	raw_expect_nothing(&raw);
	CHECK_OK(wire_link_open(raw.link, WIRE_EXEC, NULL, 0, NULL, &stream));
	CHECK_INT(stream, ==, 3);
	raw_done(&raw);
}

/* What crosses an initiator's CLOSE is ignored, whatever it says about the stream. */
static void test_closing(void)
{
	static char data[100];
	struct raw_source source = { .data = data, .size = sizeof(data) };
	struct raw_link raw;
	raw_bring_up(&raw, WIRE_INITIATOR, &source, 2);
	wire_link_ready(raw.link, 1, WIRE_STDIN);
	wire_link_close(raw.link, 1);
	wire_link_close(raw.link, 1);
	raw_collect(&raw);
	raw_expect_frame(&raw, WIRE_CLOSE, 0, 1, NULL, 0);
	CHECK_INT(raw.out.size, ==, 0);
	CHECK_INT(source.peeked, ==, 0);

	CHECK_INT(wire_link_send(raw.link, 1, WIRE_SIGNAL, NULL, 0), ==, -ENOENT);
	CHECK_INT(wire_link_send_eof(raw.link, 1, WIRE_STDIN, 0), ==, -ENOENT);
	CHECK_INT(wire_link_consumed(raw.link, 1, WIRE_STDOUT, 1), ==, -ENOENT);
	CHECK_INT(wire_link_grant(raw.link, 1, WIRE_STDOUT, 1), ==, -ENOENT);
	CHECK_INT(wire_link_credit(raw.link, 1, WIRE_STDIN), ==, 0);
	wire_link_ready(raw.link, 1, WIRE_STDIN);
	CHECK(!wire_link_wants_output(raw.link));

	for (unsigned i = 0; i < 6; i++) {
		feed_data(&raw, WIRE_STDOUT, i, WIRE_DATA_MAX);
		feed_u64(&raw, WIRE_EOF, WIRE_STDOUT, i);
		feed_credit(&raw, WIRE_STDIN, UINT32_MAX);
		raw_frame(&raw, WIRE_EXITED, WIRE_FLAG_MORE, 1, "x", 1);
		raw_frame(&raw, WIRE_STARTED, 0, 1, "x", 1);
		raw_expect_nothing(&raw);
	}
	raw_frame(&raw, WIRE_CLOSE, 0, 1, NULL, 0);
	raw_expect_nothing(&raw);
	CHECK_INT(raw.link->n_streams, ==, 1);
	/* But nothing after the answer. */
	raw_frame(&raw, WIRE_EXITED, 0, 1, "x", 1);
	raw_expect_error(&raw, -EPROTO, "EXITED on stream 1, which is not open");
	raw_done(&raw);
}

/* A malformed frame is one on a stream that is being closed, too. */
static void test_closing_malformed(void)
{
	struct raw_link raw;
	raw_bring_up(&raw, WIRE_INITIATOR, NULL, 2);
	wire_link_close(raw.link, 1);
	raw_frame(&raw, WIRE_CREDIT, 0, 1, "123", 3);
	raw_expect_error(&raw, -EPROTO, "wrong length");
	raw_done(&raw);
}

/* ---- messages ---- */

static void test_fragments(void)
{
	struct raw_link raw;
	struct wire_event event;
	raw_bring_up(&raw, WIRE_RESPONDER, NULL, 2);
	raw_frame(&raw, WIRE_SIGNAL, WIRE_FLAG_MORE, 1, "ab", 2);
	raw_expect_nothing(&raw);
	/* Another stream in between, also in fragments. */
	raw_frame(&raw, WIRE_KILL, WIRE_FLAG_MORE, 2, "12", 2);
	raw_frame(&raw, WIRE_SIGNAL, WIRE_FLAG_MORE, 1, "cd", 2);
	raw_frame(&raw, WIRE_KILL, 0, 2, "34", 2);
	raw_frame(&raw, WIRE_SIGNAL, 0, 1, "e", 1);
	raw_expect(&raw, WIRE_EVENT_MESSAGE, &event);
	CHECK_INT(event.type, ==, WIRE_KILL);
	CHECK_INT(event.stream, ==, 2);
	CHECK_MEM(event.data, event.size, "1234", 4);
	raw_expect(&raw, WIRE_EVENT_MESSAGE, &event);
	CHECK_INT(event.type, ==, WIRE_SIGNAL);
	CHECK(!event.opens);
	CHECK_MEM(event.data, event.size, "abcde", 5);
	CHECK_INT(raw.link->rx_unfinished, ==, 0);

	/* The last may be empty. */
	raw_frame(&raw, WIRE_SIGNAL, WIRE_FLAG_MORE, 1, "ab", 2);
	raw_frame(&raw, WIRE_SIGNAL, 0, 1, NULL, 0);
	raw_expect(&raw, WIRE_EVENT_MESSAGE, &event);
	CHECK_MEM(event.data, event.size, "ab", 2);

	/* A request in fragments opens its stream once it is whole. */
	raw_frame(&raw, WIRE_EXEC, WIRE_FLAG_MORE, 7, "ab", 2);
	raw_expect_nothing(&raw);
	raw_frame(&raw, WIRE_EXEC, 0, 7, "cd", 2);
	raw_expect(&raw, WIRE_EVENT_MESSAGE, &event);
	CHECK(event.opens);
	CHECK_MEM(event.data, event.size, "abcd", 4);
	raw_done(&raw);
}

/* Between fragments comes nothing else on the stream but CLOSE. */
static void test_between_fragments(void)
{
	static const struct {
		uint8_t type;
		uint8_t flags;
		const char *payload;
		size_t size;
	} others[] = {
		{ WIRE_KILL, 0, "x", 1 },     { WIRE_DATA, 0, OFFSET_0 "x", 9 },
		{ WIRE_EOF, 0, OFFSET_0, 8 }, { WIRE_CREDIT, 1, "\1\0\0\0", 4 },
		{ WIRE_EXEC, 0, "x", 1 },
	};
	struct raw_link raw;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		raw_bring_up(&raw, WIRE_RESPONDER, NULL, 2);
		raw_frame(&raw, WIRE_SIGNAL, WIRE_FLAG_MORE, 1, "ab", 2);
		raw_frame(&raw, others[i].type, others[i].flags, 1, others[i].payload,
			  others[i].size);
		raw_expect_error(&raw, -EPROTO, "out of place");
		raw_done(&raw);
	}

	raw_bring_up(&raw, WIRE_RESPONDER, NULL, 2);
	raw_frame(&raw, WIRE_SIGNAL, WIRE_FLAG_MORE, 1, "ab", 2);
	raw_frame(&raw, WIRE_CLOSE, 0, 1, NULL, 0);
	raw_expect(&raw, WIRE_EVENT_CLOSE, NULL);
	CHECK_INT(raw.link->rx_unfinished, ==, 0);
	/* Of a request that was never whole nobody has heard. */
	raw_frame(&raw, WIRE_EXEC, WIRE_FLAG_MORE, 7, "ab", 2);
	raw_frame(&raw, WIRE_CLOSE, 0, 7, NULL, 0);
	raw_expect_nothing(&raw);
	CHECK_INT(raw.link->rx_unfinished, ==, 0);
	CHECK_INT(raw.link->n_streams, ==, 1);
	raw_collect(&raw);
	raw_expect_frame(&raw, WIRE_CLOSE, 0, 1, NULL, 0);
	raw_expect_frame(&raw, WIRE_CLOSE, 0, 7, NULL, 0);
	raw_frame(&raw, WIRE_EXEC, 0, 7, "cd", 2);
	raw_expect_error(&raw, -EPROTO, "opens stream 7 after 7");
	raw_done(&raw);
}

static void test_too_long(void)
{
	static uint8_t part[WIRE_PAYLOAD_MAX];
	struct raw_link raw;
	raw_init(&raw, WIRE_RESPONDER, NULL);
	raw_handshake(&raw);
	size_t size = 0;
	while (size + sizeof(part) <= WIRE_MESSAGE_MAX) {
		raw_frame(&raw, WIRE_EXEC, WIRE_FLAG_MORE, 1, part, sizeof(part));
		raw_expect_nothing(&raw);
		size += sizeof(part);
	}
	raw_frame(&raw, WIRE_EXEC, WIRE_FLAG_MORE, 1, part, WIRE_MESSAGE_MAX - size);
	raw_expect_nothing(&raw);
	raw_frame(&raw, WIRE_EXEC, 0, 1, part, 1);
	raw_expect_error(&raw, -EPROTO, "EXEC is longer than 3145728 bytes");
	raw_done(&raw);
}

static void test_too_many_unfinished(void)
{
	static uint8_t part[WIRE_DATA_MAX];
	struct raw_link raw;
	raw_init(&raw, WIRE_RESPONDER, NULL);
	raw_handshake(&raw);
	for (uint32_t i = 1; i <= WIRE_REASSEMBLY_MAX / WIRE_DATA_MAX; i++) {
		raw_frame(&raw, WIRE_EXEC, WIRE_FLAG_MORE, i, part, sizeof(part));
		raw_expect_nothing(&raw);
	}
	/* One of them may go away, and then there is room again. */
	raw_frame(&raw, WIRE_CLOSE, 0, 5, NULL, 0);
	raw_frame(&raw, WIRE_EXEC, WIRE_FLAG_MORE, 1000, part, sizeof(part));
	raw_expect_nothing(&raw);
	raw_frame(&raw, WIRE_EXEC, 0, 1, part, 1);
	raw_expect_error(&raw, -EPROTO, "more than 8388608 bytes of unfinished messages");
	raw_done(&raw);
}

/* ---- floods ---- */

/* Who pings and does not read gets PONGs up to a point, and is then not read any more. */
static void test_ping_flood(void)
{
	struct raw_link raw;
	raw_bring_up(&raw, WIRE_RESPONDER, NULL, 2);
	bool stopped = false;
	for (unsigned i = 0; i < WIRE_CONTROL_QUEUE_HIGH / 20 * 3; i++) {
		raw_frame(&raw, WIRE_PING, 0, 0, OFFSET_0, 8);
		raw_expect_nothing(&raw);
		stopped = stopped || !wire_link_wants_input(raw.link);
	}
	CHECK(stopped);
	CHECK_INT(wire_link_queued(raw.link), <, WIRE_CONTROL_QUEUE_HIGH + 20);
	raw_collect(&raw);
	CHECK(wire_link_wants_input(raw.link));
	CHECK_INT(wire_link_queued(raw.link), ==, 0);
	raw_done(&raw);
}

/* As much control output as there may be. */
static void bring_up_responder_full(struct raw_link *raw, const uint8_t part[WIRE_MESSAGE_MAX])
{
	raw_bring_up(raw, WIRE_RESPONDER, NULL, 2);
	int r;
	while ((r = wire_link_send(raw->link, 1, WIRE_SESSIONS, part, WIRE_MESSAGE_MAX)) == 0)
		;
	CHECK_INT(r, ==, -ENOBUFS);
	while ((r = wire_link_send(raw->link, 1, WIRE_SESSIONS, part, 1)) == 0)
		;
	CHECK_INT(r, ==, -ENOBUFS);
	CHECK_INT(wire_link_queued(raw->link), <=, WIRE_CONTROL_QUEUE_MAX);
}

/*
 * The answers to CLOSE cannot be left out. There is room for those to all that was read before the
 * owner was told to stop; one that reads on is stopped by the engine.
 */
static void test_close_flood(void)
{
	struct raw_link raw;
	struct wire_event event;
	static uint8_t part[WIRE_MESSAGE_MAX];
	int r;
	bring_up_responder_full(&raw, part);
	CHECK(!wire_link_wants_input(raw.link));
	CHECK_INT(wire_link_ping(raw.link, 1), ==, -ENOBUFS);
	CHECK_INT(wire_link_grant(raw.link, 1, WIRE_STDIN, 1), ==, -ENOBUFS);

	uint32_t stream = 3;
	size_t fed = 0;
	for (; fed < LINK_INPUT_SIZE; fed += (size_t)2 * WIRE_HEADER_SIZE, stream++) {
		raw_frame(&raw, WIRE_EXEC, 0, stream, NULL, 0);
		raw_frame(&raw, WIRE_CLOSE, 0, stream, NULL, 0);
		raw_expect(&raw, WIRE_EVENT_MESSAGE, NULL);
		raw_expect(&raw, WIRE_EVENT_CLOSE, NULL);
	}
	do {
		raw_frame(&raw, WIRE_EXEC, 0, stream, NULL, 0);
		raw_frame(&raw, WIRE_CLOSE, 0, stream++, NULL, 0);
		raw_expect(&raw, WIRE_EVENT_MESSAGE, NULL);
		r = wire_link_next(raw.link, &event);
	} while (r == 1);
	CHECK_INT(r, ==, -ENOBUFS);
	CHECK_INT(wire_link_next(raw.link, &event), ==, -ENOBUFS);
	CHECK_INT(wire_link_queued(raw.link), <=, WIRE_CONTROL_QUEUE_MAX + LINK_CONTROL_RESERVE);
	raw_collect(&raw);
	raw_expect(&raw, WIRE_EVENT_CLOSE, NULL);
	raw_done(&raw);
}

static const struct tap_test tests[] = {
	{ "frames that are refused", test_bad_frames },
	{ "headers that are refused", test_bad_header },
	{ "the window is overrun", test_window },
	{ "credit goes back", test_credit_goes_back },
	{ "credit is granted", test_grant },
	{ "offsets", test_offsets },
	{ "EOF", test_eof },
	{ "credit after EOF", test_credit_after_eof },
	{ "a sender waits for credit", test_sender_waits_for_credit },
	{ "ids", test_ids },
	{ "too many streams", test_too_many_streams },
	{ "a stream that is being closed", test_closing },
	{ "a malformed frame on it", test_closing_malformed },
	{ "fragments", test_fragments },
	{ "between fragments", test_between_fragments },
	{ "a message too long", test_too_long },
	{ "too much unfinished", test_too_many_unfinished },
	{ "a flood of pings", test_ping_flood },
	{ "a flood of closes", test_close_flood },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
