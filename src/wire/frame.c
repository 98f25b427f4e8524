/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/frame.h"

#include <errno.h>

/* Random bytes, once and for all: that no data has them by chance is the whole point. */
const uint8_t wire_sync_magic[WIRE_SYNC_MAGIC_SIZE] = {
	0xc0, 0x7e, 0x9d, 0x1b, 0x5a, 0xe3, 0x84, 0x36,
	0xf1, 0x2f, 0xb8, 0x69, 0x03, 0xd4, 0x4e, 0xa7,
};

static const struct wire_type_info types[256] = {
#define WIRE_TYPE_INFO(type_name, number, type_scope, type_direction, type_opens, message)         \
	[number] = {                                                                               \
		.name = #type_name,                                                                \
		.scope = WIRE_SCOPE_##type_scope,                                                  \
		.direction = WIRE_##type_direction,                                                \
		.opens = (type_opens),                                                             \
		.known = true,                                                                     \
	},
	WIRE_TYPE_LIST(WIRE_TYPE_INFO)
#undef WIRE_TYPE_INFO
};

const struct wire_type_info *wire_type_info(uint8_t type)
{
	return &types[type];
}

void wire_header_encode(const struct wire_header *h, uint8_t ret[WIRE_HEADER_SIZE])
{
	wire_put_u32(ret, h->length);
	ret[4] = h->type;
	ret[5] = h->flags;
	ret[6] = 0;
	ret[7] = 0;
	wire_put_u32(ret + 8, h->stream);
}

int wire_header_decode(const uint8_t bytes[WIRE_HEADER_SIZE], struct wire_header *ret)
{
	struct wire_header h = {
		.length = wire_get_u32(bytes),
		.type = bytes[4],
		.flags = bytes[5],
		.stream = wire_get_u32(bytes + 8),
	};
	if (h.length > WIRE_PAYLOAD_MAX || !types[h.type].known || bytes[6] || bytes[7])
		return -EPROTO;
	*ret = h;
	return 0;
}
