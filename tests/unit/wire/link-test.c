/* SPDX-License-Identifier: Apache-2.0 */

/* The owner's side: what can be sent, in which order it leaves, and what is refused. */

#include "wire/link.h"

#include <errno.h>

#include "base/macro.h"
#include "harness/tap.h"
#include "pair.h"
#include "wire/link-internal.h"

static char data[WIRE_MESSAGE_MAX + 1];

static void bring_up(struct raw_link *raw, const struct wire_link_options *options,
		     unsigned streams)
{
	raw_init_options(raw, options);
	raw_handshake(raw);
	for (uint32_t i = 1; i <= streams; i++) {
		uint32_t id;
		if (options->role == WIRE_INITIATOR) {
			CHECK_OK(wire_link_open(raw->link, WIRE_EXEC, NULL, 0, NULL, &id));
		} else {
			raw_frame(raw, WIRE_EXEC, 0, i, NULL, 0);
			raw_expect(raw, WIRE_EVENT_MESSAGE, NULL);
		}
	}
	raw_collect(raw);
	buffer_consume(&raw->out, raw->out.size);
}

static void bring_up_responder(struct raw_link *raw, unsigned streams, struct raw_source *source)
{
	struct wire_link_options o = { .role = WIRE_RESPONDER, .userdata = source };
	bring_up(raw, &o, streams);
}

/* ---- messages ---- */

static void test_refused(void)
{
	struct raw_link raw;
	uint32_t stream = 77;
	bring_up_responder(&raw, 1, NULL);
	CHECK_INT(wire_link_open(raw.link, WIRE_EXEC, NULL, 0, NULL, &stream), ==, -EINVAL);
	CHECK_INT(wire_link_send(raw.link, 1, WIRE_SIGNAL, NULL, 0), ==, -EINVAL);
	CHECK_INT(wire_link_send(raw.link, 1, WIRE_EXEC, NULL, 0), ==, -EINVAL);
	CHECK_INT(wire_link_send(raw.link, 1, WIRE_DATA, data, 9), ==, -EINVAL);
	CHECK_INT(wire_link_send(raw.link, 1, WIRE_CLOSE, NULL, 0), ==, -EINVAL);
	CHECK_INT(wire_link_send(raw.link, 0, WIRE_HELLO, NULL, 0), ==, -EINVAL);
	CHECK_INT(wire_link_send(raw.link, 1, 250, NULL, 0), ==, -EINVAL);
	CHECK_INT(wire_link_send(raw.link, 2, WIRE_STARTED, NULL, 0), ==, -ENOENT);
	CHECK_INT(wire_link_send(raw.link, 0, WIRE_STARTED, NULL, 0), ==, -ENOENT);
	CHECK_INT(wire_link_send_eof(raw.link, 1, WIRE_STDIN, 0), ==, -EINVAL);
	CHECK_INT(wire_link_send_eof(raw.link, 1, 3, 0), ==, -EINVAL);
	CHECK_INT(wire_link_send_eof(raw.link, 1, WIRE_STDOUT, UINT64_MAX), ==, -EINVAL);
	CHECK_INT(wire_link_send_eof(raw.link, 2, WIRE_STDOUT, 0), ==, -ENOENT);
	wire_link_close(raw.link, 1); /* not a responder's */
	wire_link_ready(raw.link, 1, WIRE_STDIN);
	wire_link_ready(raw.link, 1, 99);
	wire_link_ready(raw.link, 2, WIRE_STDOUT);
	wire_link_set_userdata(raw.link, 2, data);
	CHECK_INT(wire_link_goodbye(raw.link, data, WIRE_DATA_MAX + 1), ==, -EMSGSIZE);
	CHECK(!wire_link_wants_output(raw.link));
	raw_done(&raw);

	bring_up(&raw, &(struct wire_link_options){ .role = WIRE_INITIATOR }, 1);
	CHECK_INT(wire_link_open(raw.link, WIRE_SIGNAL, NULL, 0, NULL, &stream), ==, -EINVAL);
	CHECK_INT(wire_link_open(raw.link, WIRE_STARTED, NULL, 0, NULL, &stream), ==, -EINVAL);
	CHECK_INT(wire_link_send(raw.link, 1, WIRE_STARTED, NULL, 0), ==, -EINVAL);
	CHECK_INT(wire_link_send_eof(raw.link, 1, WIRE_STDOUT, 0), ==, -EINVAL);
	CHECK_INT(wire_link_open(raw.link, WIRE_EXEC, data, WIRE_MESSAGE_MAX + 1, NULL, &stream),
		  ==, -EMSGSIZE);
	CHECK_INT(wire_link_send(raw.link, 1, WIRE_SIGNAL, data, WIRE_MESSAGE_MAX + 1), ==,
		  -EMSGSIZE);
	CHECK_INT(wire_link_open_fragment(raw.link, WIRE_EXEC, NULL, 0, false, NULL, &stream), ==,
		  -EINVAL);
	CHECK_INT(stream, ==, 77);
	CHECK(!wire_link_wants_output(raw.link));
	CHECK_INT(raw.link->n_streams, ==, 1);
	/* A request that failed used up no id. */
	CHECK_OK(wire_link_open(raw.link, WIRE_EXEC, NULL, 0, NULL, &stream));
	CHECK_INT(stream, ==, 2);
	raw.link->last_id = UINT32_MAX;
	CHECK_INT(wire_link_open(raw.link, WIRE_EXEC, NULL, 0, NULL, &stream), ==, -EOVERFLOW);
	raw_done(&raw);
}

static void test_cutting(void)
{
	static const size_t sizes[] = { 0, 1, 65535, 65536, 65537, 131072, 131073 };
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct raw_link raw;
		bring_up_responder(&raw, 1, NULL);
		CHECK_OK(wire_link_send(raw.link, 1, WIRE_SESSIONS, data, sizes[i]));
		raw_collect(&raw);
		size_t left = sizes[i];
		for (; left > WIRE_DATA_MAX; left -= WIRE_DATA_MAX)
			raw_expect_frame(&raw, WIRE_SESSIONS, WIRE_FLAG_MORE, 1, data,
					 WIRE_DATA_MAX);
		raw_expect_frame(&raw, WIRE_SESSIONS, 0, 1, data, left);
		CHECK_INT(raw.out.size, ==, 0);
		raw_done(&raw);
	}
}

static void test_fragments(void)
{
	struct raw_link raw;
	uint32_t stream;
	bring_up(&raw, &(struct wire_link_options){ .role = WIRE_INITIATOR }, 0);
	CHECK_OK(wire_link_open_fragment(raw.link, WIRE_EXEC, "abc", 3, false, NULL, &stream));
	CHECK_INT(raw.link->tx_unfinished, ==, 3);
	/* Nothing else may be sent on the stream in between. */
	CHECK_INT(wire_link_send(raw.link, stream, WIRE_SIGNAL, "x", 1), ==, -EINVAL);
	CHECK_INT(wire_link_send_eof(raw.link, stream, WIRE_STDIN, 0), ==, -EINVAL);
	CHECK_INT(wire_link_grant(raw.link, stream, WIRE_STDOUT, 1), ==, -EINVAL);
	CHECK_INT(wire_link_send_fragment(raw.link, stream, WIRE_EXEC, NULL, 0, false), ==,
		  -EINVAL);
	CHECK_OK(wire_link_send_fragment(raw.link, stream, WIRE_EXEC, "de", 2, false));
	CHECK_OK(wire_link_send_fragment(raw.link, stream, WIRE_EXEC, NULL, 0, true));
	CHECK_INT(raw.link->tx_unfinished, ==, 0);
	CHECK_INT(wire_link_send_fragment(raw.link, stream, WIRE_EXEC, "x", 1, true), ==, -EINVAL);
	CHECK_OK(wire_link_send(raw.link, stream, WIRE_SIGNAL, "x", 1));
	raw_collect(&raw);
	raw_expect_frame(&raw, WIRE_EXEC, WIRE_FLAG_MORE, stream, "abc", 3);
	raw_expect_frame(&raw, WIRE_EXEC, WIRE_FLAG_MORE, stream, "de", 2);
	raw_expect_frame(&raw, WIRE_EXEC, 0, stream, NULL, 0);
	raw_expect_frame(&raw, WIRE_SIGNAL, 0, stream, "x", 1);

	/* All fragments together are a message, and bounded as one. */
	CHECK_OK(wire_link_send_fragment(raw.link, stream, WIRE_SIGNAL, data, WIRE_MESSAGE_MAX - 1,
					 false));
	CHECK_INT(wire_link_send_fragment(raw.link, stream, WIRE_SIGNAL, data, 2, false), ==,
		  -EMSGSIZE);
	CHECK_OK(wire_link_send_fragment(raw.link, stream, WIRE_SIGNAL, data, 1, true));
	raw_done(&raw);
}

/* No more is let out unfinished than what a peer takes with a whole message on top. */
static void test_unfinished(void)
{
	struct raw_link raw, peer;
	uint32_t stream;
	int r;
	raw_init(&raw, WIRE_INITIATOR, NULL);
	raw_init(&peer, WIRE_RESPONDER, NULL);
	while ((r = wire_link_open_fragment(raw.link, WIRE_EXEC, data, 1000000, false, NULL,
					    &stream)) == 0)
		;
	CHECK_INT(r, ==, -ENOBUFS);
	CHECK_INT(stream, ==, LINK_UNFINISHED_MAX / 1000000);
	CHECK_INT(raw.link->n_streams, ==, stream);
	CHECK_OK(wire_link_open(raw.link, WIRE_EXEC, data, WIRE_MESSAGE_MAX, NULL, &stream));
	CHECK_OK(wire_link_send_fragment(raw.link, 1, WIRE_EXEC, data, WIRE_MESSAGE_MAX - 1000000,
					 true));
	/* Giving one up makes room. */
	CHECK_INT(raw.link->tx_unfinished, ==, 4000000);
	wire_link_close(raw.link, 2);
	CHECK_INT(raw.link->tx_unfinished, ==, 3000000);

	struct iovec iov[16];
	int n;
	while ((n = wire_link_output(raw.link, iov, 16)) > 0) {
		size_t k = MIN(iov[0].iov_len, (size_t)50000);
		raw_feed(&peer, iov[0].iov_base, k);
		wire_link_sent(raw.link, k);
		struct wire_event event;
		do
			CHECK_OK(r = wire_link_next(peer.link, &event));
		while (r > 0);
	}
	CHECK_INT(peer.link->rx_unfinished, ==, 3000000);
	raw_done(&raw);
	raw_done(&peer);
}

static void test_queue_full(void)
{
	struct raw_link raw;
	uint32_t stream;
	int r;
	bring_up(&raw, &(struct wire_link_options){ .role = WIRE_INITIATOR }, 0);
	CHECK(wire_link_wants_input(raw.link));
	while ((r = wire_link_open(raw.link, WIRE_EXEC, data, WIRE_MESSAGE_MAX, NULL, &stream)) ==
	       0)
		;
	CHECK_INT(r, ==, -ENOBUFS);
	CHECK(!wire_link_wants_input(raw.link));
	CHECK_INT(raw.link->n_streams, ==, stream);
	while ((r = wire_link_ping(raw.link, 1)) == 0)
		;
	CHECK_INT(r, ==, -ENOBUFS);
	CHECK_INT(wire_link_queued(raw.link), <=, WIRE_CONTROL_QUEUE_MAX);
	CHECK_INT(wire_link_queued(raw.link), >, WIRE_CONTROL_QUEUE_MAX - 100);

	/* Streams can be given up all the same. */
	for (uint32_t i = 1; i <= stream; i++)
		wire_link_close(raw.link, i);
	raw_collect(&raw);
	CHECK(!wire_link_wants_output(raw.link));
	size_t tail = (size_t)stream * WIRE_HEADER_SIZE;
	buffer_consume(&raw.out, raw.out.size - tail);
	for (uint32_t i = 1; i <= stream; i++)
		raw_expect_frame(&raw, WIRE_CLOSE, 0, i, NULL, 0);
	/* The memory is given back. */
	CHECK_INT(raw.link->control.allocated, <=, LINK_CONTROL_KEEP);
	raw_done(&raw);
}

static void test_eof(void)
{
	struct raw_source source = { .data = data, .size = 10 };
	struct raw_link raw;
	bring_up_responder(&raw, 1, &source);
	wire_link_ready(raw.link, 1, WIRE_STDOUT);
	raw_collect(&raw);
	CHECK_INT(wire_link_send_eof(raw.link, 1, WIRE_STDOUT, 9), ==, -EINVAL);
	CHECK_OK(wire_link_send_eof(raw.link, 1, WIRE_STDOUT, 10));
	CHECK_INT(wire_link_send_eof(raw.link, 1, WIRE_STDOUT, 10), ==, -EINVAL);
	CHECK_OK(wire_link_send_eof(raw.link, 1, WIRE_STDERR, 0));
	raw_done(&raw);
}

/* ---- order ---- */

/* Sources of several channels: each gives its channel's name, for as long as it has some. */
struct many {
	unsigned left[16]; /* by stream * 2 + (channel - 1): frames */
	unsigned consumed;
	size_t size;
};

static size_t many_peek(void *userdata, uint32_t stream, unsigned channel, size_t max,
			struct wire_chunk *ret)
{
	struct many *many = userdata;
	if (many->left[stream * 2 + channel - 1] == 0)
		return 0;
	size_t n = MIN(many->size, max);
	ret->offset = 0;
	ret->iov[0] = (struct iovec){ .iov_base = data, .iov_len = n / 2 };
	ret->iov[1] = (struct iovec){ .iov_base = data, .iov_len = n - n / 2 };
	return n;
}

static void many_consumed(void *userdata, uint32_t stream, unsigned channel, size_t n)
{
	struct many *many = userdata;
	CHECK_INT(n, ==, many->size);
	many->left[stream * 2 + channel - 1]--;
	many->consumed++;
}

static void many_init(struct raw_link *raw, struct many *many, unsigned streams)
{
	*raw = (struct raw_link){ 0 };
	buffer_init(&raw->out, SIZE_MAX / 2);
	struct wire_link_options o = { .role = WIRE_RESPONDER,
				       .userdata = many,
				       .source = { many_peek, many_consumed } };
	CHECK_OK(wire_link_new(&o, &raw->link));
	raw_handshake(raw);
	for (uint32_t i = 1; i <= streams; i++) {
		raw_frame(raw, WIRE_EXEC, 0, i, NULL, 0);
		raw_expect(raw, WIRE_EVENT_MESSAGE, NULL);
	}
}

static void test_turns(void)
{
	struct many many = { .left = { [2] = 3, [4] = 2, [5] = 1, [6] = 3 }, .size = 100 };
	static const uint8_t expected[] = { 2, 4, 5, 6, 2, 4, 6, 2, 6 };
	uint8_t payload[108] = { 0 };
	struct raw_link raw;
	many_init(&raw, &many, 3);
	for (uint32_t i = 2; i < 8; i++)
		wire_link_ready(raw.link, i / 2, i % 2 + 1);
	raw_collect(&raw);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		raw_expect_frame(&raw, WIRE_DATA, expected[i] % 2 + 1, expected[i] / 2, payload,
				 sizeof(payload));
	CHECK_INT(raw.out.size, ==, 0);
	raw_done(&raw);
}

/* A control message queued at any point leaves before the next frame of data. */
static void test_control_first(void)
{
	struct many many = { .left = { [2] = 2, [3] = 2 }, .size = 60000 };
	struct raw_link raw;
	struct iovec iov[16];
	many_init(&raw, &many, 2);
	wire_link_ready(raw.link, 1, WIRE_STDOUT);
	wire_link_ready(raw.link, 1, WIRE_STDERR);
	int n = wire_link_output(raw.link, iov, 16);
	CHECK_INT(n, >=, 2);
	/* A part of the first frame is out: its rest comes first, then control, then the second. */
	CHECK_OK(buffer_append(&raw.out, iov[0].iov_base, 5));
	wire_link_sent(raw.link, 5);
	CHECK_INT(many.consumed, ==, 1);
	CHECK_OK(wire_link_send(raw.link, 1, WIRE_EXITED, "bye", 3));
	raw_collect(&raw);
	static uint8_t payload[60008];
	raw_expect_frame(&raw, WIRE_DATA, 1, 1, payload, sizeof(payload));
	raw_expect_frame(&raw, WIRE_EXITED, 0, 1, "bye", 3);
	raw_expect_frame(&raw, WIRE_DATA, 2, 1, payload, sizeof(payload));
	raw_done(&raw);
}

/* What did not leave is not consumed: it is asked for again, and may be more by then. */
static void test_not_taken(void)
{
	static const char text[8] = { 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h' };
	struct raw_source source = { .data = text, .size = 4 };
	struct raw_link raw;
	struct iovec iov[16];
	bring_up_responder(&raw, 1, &source);
	wire_link_ready(raw.link, 1, WIRE_STDOUT);
	CHECK_INT(wire_link_output(raw.link, iov, 16), ==, 1);
	CHECK_INT(iov[0].iov_len, ==, 24);
	wire_link_sent(raw.link, 0);
	CHECK_INT(source.consumed, ==, 0);
	CHECK(wire_link_wants_output(raw.link));
	source.size = 8;
	raw_collect(&raw);
	uint8_t payload[16] = { 0 };
	memcpy(payload + 8, text, 8);
	raw_expect_frame(&raw, WIRE_DATA, 1, 1, payload, 16);
	CHECK_INT(source.consumed, ==, 1);
	/* Empty: asked once more, then not before it says so. */
	unsigned peeked = source.peeked;
	CHECK(!wire_link_wants_output(raw.link));
	raw_collect(&raw);
	CHECK_INT(source.peeked, ==, peeked);
	raw_done(&raw);
}

/* Small pieces leave as one iovec, large ones without being copied. */
static void test_gathering(void)
{
	struct many many = { .left = { [2] = 1, [3] = 1, [4] = 1 }, .size = 4096 };
	struct raw_link raw;
	struct iovec iov[16];
	many_init(&raw, &many, 3);
	CHECK_OK(wire_link_send(raw.link, 1, WIRE_STARTED, "x", 1));
	for (uint32_t i = 2; i < 8; i++)
		wire_link_ready(raw.link, i / 2, i % 2 + 1);
	CHECK_INT(wire_link_output(raw.link, iov, 16), ==, 1);
	wire_link_sent(raw.link, iov[0].iov_len);
	CHECK_INT(many.consumed, ==, 3);

	many = (struct many){ .left = { [2] = 1, [3] = 1 }, .size = 4097 };
	wire_link_ready(raw.link, 1, WIRE_STDOUT);
	wire_link_ready(raw.link, 1, WIRE_STDERR);
	CHECK_INT(wire_link_output(raw.link, iov, 16), ==, 6);
	CHECK(iov[1].iov_base == data);
	wire_link_sent(raw.link, 0);
	/* No frame is offered that does not fit into the array. */
	CHECK_INT(wire_link_output(raw.link, iov, 5), ==, 3);
	wire_link_sent(raw.link, 0);
	raw_done(&raw);
}

/* A frame has WIRE_DATA_MAX of data at most, whatever the source has. */
static void test_data_max(void)
{
	struct raw_source source = { .data = data, .size = 200000 };
	struct raw_link raw;
	bring_up_responder(&raw, 1, &source);
	wire_link_ready(raw.link, 1, WIRE_STDOUT);
	struct iovec iov[16];
	int n;
	while ((n = wire_link_output(raw.link, iov, 16)) > 0) {
		size_t size = 0;
		for (int i = 0; i < n; i++)
			size += iov[i].iov_len;
		CHECK_INT(size, <=, LINK_DATA_HEAD + WIRE_DATA_MAX);
		wire_link_sent(raw.link, size);
	}
	CHECK_INT(source.consumed, ==, 4);
	raw_done(&raw);
}

/* No DATA between the fragments of a message; it waits, and goes on by itself. */
static void test_data_between_fragments(void)
{
	struct raw_source source = { .data = data, .size = 10 };
	struct raw_link raw;
	uint8_t payload[18] = { 0 };
	bring_up_responder(&raw, 1, &source);
	CHECK_OK(wire_link_send_fragment(raw.link, 1, WIRE_SESSIONS, "ab", 2, false));
	wire_link_ready(raw.link, 1, WIRE_STDOUT);
	raw_collect(&raw);
	CHECK(!wire_link_wants_output(raw.link));
	CHECK_INT(source.peeked, ==, 0);
	CHECK_OK(wire_link_send_fragment(raw.link, 1, WIRE_SESSIONS, "cd", 2, true));
	raw_collect(&raw);
	raw_expect_frame(&raw, WIRE_SESSIONS, WIRE_FLAG_MORE, 1, "ab", 2);
	raw_expect_frame(&raw, WIRE_SESSIONS, 0, 1, "cd", 2);
	raw_expect_frame(&raw, WIRE_DATA, 1, 1, payload, 18);

	/* Also for a channel that was being sent when the message began. */
	source.size = 10;
	wire_link_ready(raw.link, 1, WIRE_STDOUT);
	CHECK_OK(wire_link_send_fragment(raw.link, 1, WIRE_SESSIONS, "ab", 2, false));
	source.peeked = 0;
	raw_collect(&raw);
	CHECK_INT(source.peeked, ==, 0);
	CHECK(!wire_link_wants_output(raw.link));
	CHECK_OK(wire_link_send_fragment(raw.link, 1, WIRE_SESSIONS, "cd", 2, true));
	raw_collect(&raw);
	CHECK_INT(source.size, ==, 0);
	raw_done(&raw);
}

/* ---- the rest ---- */

static void test_userdata(void)
{
	struct raw_link raw;
	struct wire_event event;
	static char a, b;
	uint32_t stream;
	bring_up(&raw, &(struct wire_link_options){ .role = WIRE_INITIATOR, .userdata = &b }, 0);
	CHECK_OK(wire_link_open(raw.link, WIRE_EXEC, NULL, 0, &a, &stream));
	raw_frame(&raw, WIRE_STARTED, 0, stream, NULL, 0);
	raw_expect(&raw, WIRE_EVENT_MESSAGE, &event);
	CHECK(event.userdata == &a);
	wire_link_set_userdata(raw.link, stream, NULL);
	raw_frame(&raw, WIRE_EXITED, 0, stream, NULL, 0);
	raw_expect(&raw, WIRE_EVENT_MESSAGE, &event);
	CHECK(!event.userdata);
	raw_done(&raw);

	bring_up_responder(&raw, 1, NULL);
	wire_link_set_userdata(raw.link, 1, &a);
	raw_frame(&raw, WIRE_CLOSE, 0, 1, NULL, 0);
	raw_expect(&raw, WIRE_EVENT_CLOSE, &event);
	CHECK(event.userdata == &a);
	raw_done(&raw);
}

static void test_ping(void)
{
	struct raw_link raw;
	struct wire_event event;
	bring_up_responder(&raw, 0, NULL);
	CHECK_OK(wire_link_ping(raw.link, 0x0102030405060708));
	raw_collect(&raw);
	raw_expect_frame(&raw, WIRE_PING, 0, 0, "\x08\7\6\5\4\3\2\1", 8);
	raw_frame(&raw, WIRE_PONG, 0, 0, "\x08\7\6\5\4\3\2\1", 8);
	raw_expect(&raw, WIRE_EVENT_PONG, &event);
	CHECK_INT(event.offset, ==, 0x0102030405060708);
	raw_done(&raw);
}

/* The table must find each of many streams, whatever their ids look like. */
static void test_many_ids(void)
{
	static const uint32_t strides[] = { 1, 16, 4096, 65536, 500000 };
	for (size_t s = 0; s < ARRAY_SIZE(strides); s++) {
		struct raw_link raw;
		bring_up_responder(&raw, 0, NULL);
		unsigned n = WIRE_STREAMS_MAX;
		for (uint32_t i = 1; i <= n; i++) {
			raw_frame(&raw, WIRE_EXEC, 0, i * strides[s], NULL, 0);
			raw_expect(&raw, WIRE_EVENT_MESSAGE, NULL);
		}
		for (uint32_t i = 1; i <= n; i++)
			CHECK(wire_link_credit(raw.link, i * strides[s], WIRE_STDOUT) > 0);
		size_t longest = 0;
		for (size_t b = 0; b < (size_t)1 << raw.link->bucket_bits; b++) {
			size_t length = 0;
			for (struct link_stream *p = raw.link->buckets[b]; p; p = p->next)
				length++;
			longest = MAX(longest, length);
		}
		CHECK_INT(longest, <, 64);
		for (uint32_t i = 1; i <= n; i += 2) {
			raw_frame(&raw, WIRE_CLOSE, 0, i * strides[s], NULL, 0);
			raw_expect(&raw, WIRE_EVENT_CLOSE, NULL);
		}
		for (uint32_t i = 1; i <= n; i++)
			CHECK_INT(wire_link_credit(raw.link, i * strides[s], WIRE_STDOUT) > 0, ==,
				  i % 2 == 0);
		raw_done(&raw);
	}
}

static const struct tap_test tests[] = {
	{ "calls that are refused", test_refused },
	{ "messages are cut", test_cutting },
	{ "fragments", test_fragments },
	{ "unfinished messages", test_unfinished },
	{ "the queue is full", test_queue_full },
	{ "EOF", test_eof },
	{ "channels take turns", test_turns },
	{ "control goes first", test_control_first },
	{ "what was not taken", test_not_taken },
	{ "gathering", test_gathering },
	{ "shorter frames", test_data_max },
	{ "data between fragments", test_data_between_fragments },
	{ "userdata", test_userdata },
	{ "ping", test_ping },
	{ "many streams", test_many_ids, .timeout_s = 60 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
