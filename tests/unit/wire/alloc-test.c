/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The N-th allocation fails, for every N: each call says -ENOMEM, has changed nothing, and does its
 * work when it is called again.
 */

#include <errno.h>

#include "base/macro.h"
#include "harness/failing-alloc.h"
#include "harness/tap.h"
#include "pair.h"
#include "wire/link-internal.h"
#include "wire/message.h"

static void test_new(void)
{
	for (unsigned role = 0; role < 2; role++) {
		struct wire_link_options o = { .role = role ? WIRE_RESPONDER : WIRE_INITIATOR,
					       .nonce = role ? 0 : 1,
					       .software = "x" };
		for (unsigned long n = 1;; n++) {
			struct wire_link *link = NULL;
			failing_alloc_arm(n);
			int r = wire_link_new(&o, &link);
			if (!failing_alloc_disarm()) {
				CHECK_OK(r);
				CHECK_INT(n, >, 5);
				wire_link_free(link);
				break;
			}
			CHECK_INT(r, ==, -ENOMEM);
			CHECK(!link);
		}
	}
}

/* Calls again while memory fails; failures that are taken for granted (larger tables) are not seen. */
#define RETRY(n, r, call)                                                                          \
	do {                                                                                       \
		failing_alloc_arm(n);                                                              \
		(r) = (call);                                                                      \
		if (failing_alloc_disarm()) {                                                      \
			failures++;                                                                \
			if ((r) == -ENOMEM)                                                        \
				(r) = (call);                                                      \
		}                                                                                  \
	} while (0)

/* A conversation of all that allocates, each call with its n-th allocation failing. */
static unsigned conversation(unsigned long n)
{
	static char data[100000];
	unsigned failures = 0;
	struct raw_link i, r;
	struct wire_event event;
	uint32_t stream;
	int x;
	raw_init(&i, WIRE_INITIATOR, NULL);
	raw_init(&r, WIRE_RESPONDER, NULL);
	for (unsigned k = 0; k < 40; k++) {
		RETRY(n, x, wire_link_open(i.link, WIRE_EXEC, data, k * 2000, NULL, &stream));
		CHECK_OK(x);
		CHECK_INT(stream, ==, k + 1);
		RETRY(n, x, wire_link_send(i.link, stream, WIRE_SIGNAL, "x", 1));
		CHECK_OK(x);
	}
	for (uint32_t k = 1; k <= 40; k++)
		wire_link_close(i.link, k);
	raw_collect(&i);

	unsigned counts[16] = { 0 };
	while (r.out.size < i.out.size) { /* out.size of r: what it has read */
		size_t k = MIN((size_t)50000, i.out.size - r.out.size);
		raw_feed(&r, buffer_front(&i.out) + r.out.size, k);
		r.out.size += k;
		do {
			RETRY(n, x, wire_link_next(r.link, &event));
			CHECK_OK(x);
			if (x == 0)
				break;
			counts[event.kind]++;
			if (event.kind == WIRE_EVENT_MESSAGE && event.type == WIRE_EXEC) {
				CHECK_INT(event.size, ==, (event.stream - 1) * 2000);
				RETRY(n, x,
				      wire_link_send(r.link, event.stream, WIRE_STARTED, data,
						     1000));
				CHECK_OK(x);
			}
		} while (true);
	}
	r.out.size = 0;
	CHECK_INT(counts[WIRE_EVENT_SYNCED], ==, 1);
	CHECK_INT(counts[WIRE_EVENT_HELLO], ==, 1);
	CHECK_INT(counts[WIRE_EVENT_MESSAGE], ==, 80);
	CHECK_INT(counts[WIRE_EVENT_CLOSE], ==, 40);
	CHECK_INT(r.link->n_streams, ==, 0);
	CHECK_INT(r.link->rx_unfinished, ==, 0);

	raw_collect(&r);
	raw_feed(&i, buffer_front(&r.out), r.out.size);
	do {
		RETRY(n, x, wire_link_next(i.link, &event));
		CHECK_OK(x);
	} while (x > 0);
	CHECK_INT(i.link->n_streams, ==, 0);
	raw_done(&i);
	raw_done(&r);
	return failures;
}

static void test_conversation(void)
{
	CHECK_INT(conversation(1), >, 50);
	unsigned long n = 2;
	while (conversation(n) > 0)
		n++;
	CHECK_INT(n, >, 2);
}

/* CLOSE cannot fail: it is sent once there is memory. */
static void test_close(void)
{
	struct raw_link raw;
	uint32_t stream;
	raw_init(&raw, WIRE_INITIATOR, NULL);
	raw_handshake(&raw);
	CHECK_OK(wire_link_open(raw.link, WIRE_EXEC, NULL, 0, NULL, &stream));
	CHECK_OK(wire_link_open(raw.link, WIRE_EXEC, NULL, 0, NULL, &stream));
	raw_collect(&raw);
	buffer_consume(&raw.out, raw.out.size);
	buffer_done(&raw.link->control);
	failing_alloc_arm_from(1);
	wire_link_close(raw.link, 2);
	CHECK(wire_link_wants_output(raw.link));
	struct iovec iov[16];
	CHECK_INT(wire_link_output(raw.link, iov, 16), ==, 0);
	wire_link_close(raw.link, 1);
	CHECK(failing_alloc_disarm());
	raw_collect(&raw);
	raw_expect_frame(&raw, WIRE_CLOSE, 0, 2, NULL, 0);
	raw_expect_frame(&raw, WIRE_CLOSE, 0, 1, NULL, 0);
	CHECK(!wire_link_wants_output(raw.link));
	raw_done(&raw);
}

static void test_resync(void)
{
	struct raw_link raw;
	struct wire_event event;
	raw_init(&raw, WIRE_INITIATOR, NULL);
	raw_handshake(&raw);
	buffer_done(&raw.link->control);
	failing_alloc_arm(1);
	CHECK_INT(wire_link_resync(raw.link, 5), ==, -ENOMEM);
	CHECK(failing_alloc_disarm());
	CHECK_INT(wire_link_next(raw.link, &event), ==, -ENOMEM);
	CHECK_OK(wire_link_resync(raw.link, 5));
	raw_sync(&raw, 5);
	raw_expect(&raw, WIRE_EVENT_SYNCED, NULL);
	raw_done(&raw);

	/* A SYNC that cannot be answered is not lost. */
	raw_init(&raw, WIRE_RESPONDER, NULL);
	raw_handshake(&raw);
	buffer_done(&raw.link->control);
	raw_sync(&raw, 6);
	failing_alloc_arm_from(1);
	CHECK_INT(wire_link_next(raw.link, &event), ==, -ENOMEM);
	CHECK_INT(wire_link_next(raw.link, &event), ==, -ENOMEM);
	CHECK(failing_alloc_disarm());
	raw_expect(&raw, WIRE_EVENT_SYNCED, NULL);
	raw_done(&raw);
}

/* Nor is credit. */
static void test_credit(void)
{
	static uint8_t payload[WIRE_PAYLOAD_MAX];
	uint8_t n[4];
	struct raw_link raw;
	uint32_t stream;
	raw_init(&raw, WIRE_INITIATOR, NULL);
	raw_handshake(&raw);
	CHECK_OK(wire_link_open(raw.link, WIRE_EXEC, NULL, 0, NULL, &stream));
	raw_collect(&raw);
	buffer_consume(&raw.out, raw.out.size);
	raw_frame(&raw, WIRE_DATA, 1, 1, payload, sizeof(payload));
	raw_expect(&raw, WIRE_EVENT_DATA, NULL);
	buffer_done(&raw.link->control);
	failing_alloc_arm(1);
	CHECK_INT(wire_link_consumed(raw.link, 1, WIRE_STDOUT, WIRE_DATA_MAX), ==, -ENOMEM);
	CHECK(failing_alloc_disarm());
	CHECK_OK(wire_link_consumed(raw.link, 1, WIRE_STDOUT, 0));
	raw_collect(&raw);
	wire_put_u32(n, WIRE_DATA_MAX);
	raw_expect_frame(&raw, WIRE_CREDIT, 1, 1, n, 4);
	raw_done(&raw);
}

/* ---- messages ---- */

static void test_messages(void)
{
	ProtobufCBinaryData fields[] = { wire_string("a"), wire_string("bc") };
	Cove__Wire__Exec exec = COVE__WIRE__EXEC__INIT;
	exec.argv = fields;
	exec.n_argv = 2;
	uint8_t packed[64];
	size_t size = cove__wire__exec__pack(&exec, packed);

	for (unsigned long n = 1;; n++) {
		ProtobufCMessage *m = NULL;
		failing_alloc_arm(n);
		int r = message_unpack(&cove__wire__exec__descriptor, packed, size, &m);
		if (!failing_alloc_disarm()) {
			CHECK_OK(r);
			CHECK_INT(n, >, 3);
			wire_message_free(m);
			break;
		}
		CHECK_INT(r, ==, -ENOMEM);
	}
	for (unsigned long n = 1;; n++) {
		char **strv = NULL;
		failing_alloc_arm(n);
		int r = wire_bytes_to_strv(fields, 2, &strv);
		if (!failing_alloc_disarm()) {
			CHECK_OK(r);
			CHECK_INT(n, ==, 4);
			CHECK_STR(strv[1], "bc");
			wire_strv_free(strv);
			break;
		}
		CHECK_INT(r, ==, -ENOMEM);
		CHECK(!strv);
	}
	struct raw_link raw;
	raw_init(&raw, WIRE_INITIATOR, NULL);
	for (unsigned long n = 1;; n++) {
		uint32_t stream;
		buffer_done(&raw.link->control);
		failing_alloc_arm(n);
		int r = wire_open_message(raw.link, WIRE_EXEC, &exec.base, NULL, &stream);
		if (!failing_alloc_disarm()) {
			CHECK_OK(r);
			CHECK_INT(n, >, 2);
			break;
		}
		CHECK_INT(r, ==, -ENOMEM);
		CHECK_INT(raw.link->n_streams, ==, 0);
	}
	raw_done(&raw);
}

static const struct tap_test tests[] = {
	{ "a new link", test_new }, { "a conversation", test_conversation },
	{ "close", test_close },    { "resync", test_resync },
	{ "credit", test_credit },  { "messages", test_messages },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
