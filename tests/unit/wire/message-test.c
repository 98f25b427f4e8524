/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/message.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "base/macro.h"
#include "harness/tap.h"
#include "pair.h"

static void test_send_and_unpack(void)
{
	struct raw_link i, r;
	struct wire_event event;
	uint32_t stream;
	raw_init(&i, WIRE_INITIATOR, NULL);
	raw_init(&r, WIRE_RESPONDER, NULL);

	ProtobufCBinaryData argv[] = { wire_string("echo"), wire_bytes("a\0b", 3),
				       wire_string("") };
	Cove__Wire__Exec exec = COVE__WIRE__EXEC__INIT;
	exec.argv = argv;
	exec.n_argv = ARRAY_SIZE(argv);
	exec.cwd = wire_string("/");
	exec.has_cwd = true;
	CHECK_OK(wire_open_message(i.link, WIRE_EXEC, &exec.base, NULL, &stream));
	raw_collect(&i);
	raw_feed(&r, buffer_front(&i.out), i.out.size);
	raw_expect(&r, WIRE_EVENT_SYNCED, NULL);
	raw_expect(&r, WIRE_EVENT_HELLO, NULL);
	raw_expect(&r, WIRE_EVENT_MESSAGE, &event);
	{
		_cleanup_(wire_message_freep) ProtobufCMessage *m =
			wire_message_unpack(&cove__wire__exec__descriptor, event.data, event.size);
		CHECK(m);
		const Cove__Wire__Exec *got = (const Cove__Wire__Exec *)m;
		CHECK_INT(got->n_argv, ==, 3);
		CHECK_MEM(got->argv[1].data, got->argv[1].len, "a\0b", 3);
		CHECK_INT(got->argv[2].len, ==, 0);
		CHECK(got->has_cwd && !got->has_user);
	}
	Cove__Wire__Started started = COVE__WIRE__STARTED__INIT;
	started.id = wire_string("s1");
	started.pid = 3;
	CHECK_OK(wire_send_message(r.link, stream, WIRE_STARTED, &started.base));
	CHECK_INT(wire_send_message(r.link, 99, WIRE_STARTED, &started.base), ==, -ENOENT);
	raw_done(&i);
	raw_done(&r);
}

static void test_too_large(void)
{
	struct raw_link i;
	uint32_t stream;
	static char text[WIRE_MESSAGE_MAX + 1];
	raw_init(&i, WIRE_INITIATOR, NULL);
	ProtobufCBinaryData argv = wire_bytes(text, sizeof(text));
	Cove__Wire__Exec exec = COVE__WIRE__EXEC__INIT;
	exec.argv = &argv;
	exec.n_argv = 1;
	CHECK_INT(wire_open_message(i.link, WIRE_EXEC, &exec.base, NULL, &stream), ==, -EMSGSIZE);
	argv.len = WIRE_MESSAGE_MAX - 10;
	CHECK_OK(wire_open_message(i.link, WIRE_EXEC, &exec.base, NULL, &stream));
	raw_done(&i);
}

static ProtobufCMessage *unpack_fields(const char *field, size_t size, size_t times)
{
	uint8_t *p = malloc(size * times);
	CHECK(p);
	for (size_t i = 0; i < times; i++)
		memcpy(p + i * size, field, size);
	ProtobufCMessage *m = wire_message_unpack(&cove__wire__exec__descriptor, p, size * times);
	free(p);
	return m;
}

/*
 * The most that execve() takes can be asked for. What asks for much more memory than its size
 * cannot: empty arguments, unknown fields, nested messages.
 */
static void test_amplification(void)
{
	/* 2 MiB of one-letter arguments as the kernel counts: the string, its NUL, its pointer. */
	ProtobufCMessage *m = unpack_fields("\x12\x01x", 3, 2 * 1024 * 1024 / 10);
	CHECK(m);
	CHECK_INT(((Cove__Wire__Exec *)m)->n_argv, ==, 2 * 1024 * 1024 / 10);
	wire_message_free(m);
	/* Long ones, up to the longest message. */
	static char field[65540] = "\x12\xf0\xff\x03";
	m = unpack_fields(field, 65536 - 16 + 4, WIRE_MESSAGE_MAX / 65540);
	CHECK(m);
	wire_message_free(m);

	CHECK(!unpack_fields("\x12", 2, WIRE_MESSAGE_MAX / 2));
	CHECK(!unpack_fields("\xfa\x06", 3, WIRE_MESSAGE_MAX / 3));
	CHECK(!unpack_fields("\x5a\x06\x08\x01\x10\x01\x18\x01", 8, WIRE_MESSAGE_MAX / 8));
}

static void test_malformed(void)
{
	static const struct {
		const char *bytes;
		size_t size;
	} bad[] = {
		{ "\xff", 1 },
		{ "\x12\x05"
		  "ab",
		  4 },
		{ "\x12\xff\xff\xff\xff\x7f", 6 },
		{ "\x0a\x80", 2 },
		{ "\x00\x00", 2 },
		{ "\x5a\x00", 2 },
		{ "\x5a\x02\x08\x01", 4 },
		{ "\x13", 1 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		tap_note("%zu", i);
		CHECK(!wire_message_unpack(&cove__wire__exec__descriptor, bad[i].bytes,
					   bad[i].size));
	}
	/* Nothing at all is an Exec without fields, but not a Started, which requires some. */
	ProtobufCMessage *m = wire_message_unpack(&cove__wire__exec__descriptor, NULL, 0);
	CHECK(m);
	wire_message_free(m);
	CHECK(!wire_message_unpack(&cove__wire__started__descriptor, NULL, 0));
	CHECK(!wire_message_free(NULL));
}

static void test_fields(void)
{
	char *s;
	CHECK_INT(wire_string(NULL).len, ==, 0);
	CHECK_INT(wire_bytes(NULL, 7).len, ==, 0);
	ProtobufCBinaryData b = wire_string("abc");
	CHECK_OK(wire_bytes_to_string(&b, &s));
	CHECK_STR(s, "abc");
	free(s);
	b = (ProtobufCBinaryData){ 0 };
	CHECK_OK(wire_bytes_to_string(&b, &s));
	CHECK_STR(s, "");
	free(s);
	b = wire_bytes("a\0c", 3);
	CHECK_INT(wire_bytes_to_string(&b, &s), ==, -EINVAL);

	char **strv;
	ProtobufCBinaryData list[] = { wire_string("x"), wire_string(""), wire_string("yz") };
	CHECK_OK(wire_bytes_to_strv(list, 3, &strv));
	CHECK_STR(strv[0], "x");
	CHECK_STR(strv[1], "");
	CHECK_STR(strv[2], "yz");
	CHECK(!strv[3]);
	CHECK(!wire_strv_free(strv));
	CHECK_OK(wire_bytes_to_strv(NULL, 0, &strv));
	CHECK(!strv[0]);
	wire_strv_free(strv);
	list[1] = b;
	CHECK_INT(wire_bytes_to_strv(list, 3, &strv), ==, -EINVAL);
	CHECK(!wire_strv_free(NULL));
}

/* ---- errors ---- */

static void test_failure_round_trip(void)
{
	struct raw_link i, r;
	struct wire_event event;
	uint32_t stream;
	raw_init(&i, WIRE_INITIATOR, NULL);
	raw_init(&r, WIRE_RESPONDER, NULL);
	raw_handshake(&i);
	raw_handshake(&r);
	CHECK_OK(wire_link_open(i.link, WIRE_EXEC, NULL, 0, NULL, &stream));
	raw_frame(&r, WIRE_EXEC, 0, stream, NULL, 0);
	raw_expect(&r, WIRE_EVENT_MESSAGE, NULL);
	for (int stage = COVE_STAGE_NONE; stage <= COVE_STAGE_EXEC; stage++) {
		struct cove_error sent = { .code = COVE_E_START,
					   .os_errno = stage * 10,
					   .stage = stage,
					   .origin = stage % 3,
					   .message = "no such f\xc3\xaele" };
		CHECK_OK(wire_send_failure(r.link, stream, WIRE_FAILED, &sent));
		raw_collect(&r);
		raw_feed(&i, buffer_front(&r.out), r.out.size);
		buffer_consume(&r.out, r.out.size);
		raw_expect(&i, WIRE_EVENT_MESSAGE, &event);
		_cleanup_(wire_message_freep) ProtobufCMessage *m = wire_message_unpack(
			&cove__wire__failure__descriptor, event.data, event.size);
		CHECK(m);
		struct cove_error got = COVE_ERROR_INIT;
		CHECK_INT(wire_failure_to_error((const Cove__Wire__Failure *)m, &got), ==,
			  COVE_E_START);
		CHECK_MEM(&got, sizeof(got), &sent, sizeof(sent));
	}
	raw_done(&i);
	raw_done(&r);
}

static void test_hostile_failure(void)
{
	static const int codes[] = { 0, 1, 5, INT_MAX, INT_MIN, -4711 };
	Cove__Wire__Failure f = COVE__WIRE__FAILURE__INIT;
	struct cove_error err;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		f.code = codes[i];
		CHECK_INT(wire_failure_to_error(&f, &err), ==, COVE_E_PROTOCOL);
		CHECK_INT(err.code, ==, COVE_E_PROTOCOL);
		CHECK_STR(err.message, "");
		CHECK_INT(wire_failure_to_error(&f, NULL), ==, COVE_E_PROTOCOL);
	}
	char text[2000];
	memset(text, 'x', sizeof(text));
	memcpy(text, "a\nb\x1b[2J\0c\x7f", 9);
	f.code = COVE_E_START;
	f.has_os_errno = f.has_stage = f.has_origin = f.has_text = true;
	f.os_errno = UINT32_MAX;
	f.stage = 77;
	f.origin = UINT32_MAX;
	f.text = wire_bytes(text, sizeof(text));
	CHECK_INT(wire_failure_to_error(&f, &err), ==, COVE_E_START);
	CHECK_INT(err.os_errno, ==, 0);
	CHECK_INT(err.stage, ==, 0);
	CHECK_INT(err.origin, ==, 0);
	CHECK_INT(strlen(err.message), ==, COVE_ERROR_MESSAGE_MAX - 1);
	for (const char *p = err.message; *p; p++)
		CHECK((unsigned char)*p >= 0x20 && *p != 0x7f);
}

static const struct tap_test tests[] = {
	{ "there and back", test_send_and_unpack },
	{ "too large to send", test_too_large },
	{ "amplification", test_amplification },
	{ "malformed", test_malformed },
	{ "fields", test_fields },
	{ "failures there and back", test_failure_round_trip },
	{ "failures from a hostile peer", test_hostile_failure },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
