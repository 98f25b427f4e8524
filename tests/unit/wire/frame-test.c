/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/frame.h"

#include <errno.h>

#include "base/macro.h"
#include "harness/tap.h"

static const struct {
	const char *name;
	uint8_t number;
	enum wire_scope scope;
	enum wire_direction direction;
	bool opens;
} types[] = {
#define ROW(name, number, scope, direction, opens, message)                                        \
	{ #name, number, WIRE_SCOPE_##scope, WIRE_##direction, opens },
	WIRE_TYPE_LIST(ROW)
#undef ROW
};

static void test_types(void)
{
	for (unsigned i = 0; i < 256; i++) {
		const struct wire_type_info *info = wire_type_info((uint8_t)i);
		bool known = false;
		for (size_t k = 0; k < ARRAY_SIZE(types); k++) {
			if (types[k].number != i)
				continue;
			CHECK(!known); /* no number twice */
			known = true;
			CHECK_STR(info->name, types[k].name);
			CHECK_INT(info->scope, ==, types[k].scope);
			CHECK_INT(info->direction, ==, types[k].direction);
			CHECK_INT(info->opens, ==, types[k].opens);
			CHECK(!info->opens || info->direction == WIRE_TO_RESPONDER);
		}
		CHECK_INT(info->known, ==, known);
	}
}

static void test_round_trip(void)
{
	static const uint32_t lengths[] = { 0, 1, 255, 256, 65535, 65536, WIRE_PAYLOAD_MAX };
	static const uint32_t streams[] = { 0, 1, 0x01020304, UINT32_MAX };
	for (size_t t = 0; t < ARRAY_SIZE(types); t++) {
		for (size_t l = 0; l < ARRAY_SIZE(lengths); l++) {
			for (size_t s = 0; s < ARRAY_SIZE(streams); s++) {
				struct wire_header in = { .length = lengths[l],
							  .type = types[t].number,
							  .flags = (uint8_t)(t * 37),
							  .stream = streams[s] };
				struct wire_header out;
				uint8_t bytes[WIRE_HEADER_SIZE];
				wire_header_encode(&in, bytes);
				CHECK_OK(wire_header_decode(bytes, &out));
				CHECK_INT(out.length, ==, in.length);
				CHECK_INT(out.type, ==, in.type);
				CHECK_INT(out.flags, ==, in.flags);
				CHECK_INT(out.stream, ==, in.stream);
			}
		}
	}
}

static void test_refused(void)
{
	const struct wire_header good = { .length = 3, .type = WIRE_DATA, .stream = 7 };
	struct wire_header h = { .length = 99 };
	uint8_t bytes[WIRE_HEADER_SIZE];

	wire_header_encode(&good, bytes);
	bytes[6] = 1;
	CHECK_INT(wire_header_decode(bytes, &h), ==, -EPROTO);
	wire_header_encode(&good, bytes);
	bytes[7] = 0x80;
	CHECK_INT(wire_header_decode(bytes, &h), ==, -EPROTO);

	struct wire_header bad = good;
	bad.length = WIRE_PAYLOAD_MAX + 1;
	wire_header_encode(&bad, bytes);
	CHECK_INT(wire_header_decode(bytes, &h), ==, -EPROTO);
	bad.length = UINT32_MAX;
	wire_header_encode(&bad, bytes);
	CHECK_INT(wire_header_decode(bytes, &h), ==, -EPROTO);

	for (unsigned i = 0; i < 256; i++) {
		bad = good;
		bad.type = (uint8_t)i;
		wire_header_encode(&bad, bytes);
		if (!wire_type_info((uint8_t)i)->known)
			CHECK_INT(wire_header_decode(bytes, &h), ==, -EPROTO);
	}
	CHECK_INT(h.length, ==, 99); /* left alone */
}

static void test_numbers(void)
{
	uint8_t p[8];
	wire_put_u64(p, 0x8877665544332211);
	for (unsigned i = 0; i < 8; i++)
		CHECK_INT(p[i], ==, 0x11 * (i + 1));
	CHECK(wire_get_u64(p) == 0x8877665544332211);
	CHECK(wire_get_u32(p + 4) == 0x88776655);
	wire_put_u32(p, UINT32_MAX);
	CHECK(wire_get_u32(p) == UINT32_MAX);
}

static const struct tap_test tests[] = {
	{ "types", test_types },
	{ "headers there and back", test_round_trip },
	{ "headers that are refused", test_refused },
	{ "numbers", test_numbers },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
