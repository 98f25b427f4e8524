/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz-link.h"

#include <string.h>

#include "wire/link-internal.h"

/* What the engine writes: whole, well-formed frames that its role may send. */
struct checker {
	uint8_t frame[LINK_FRAME_MAX];
	size_t have;
};

static void check_bytes(struct checker *c, enum wire_role role, const uint8_t *p, size_t n)
{
	while (n > 0) {
		struct wire_header h;
		size_t want = WIRE_HEADER_SIZE;
		if (c->have >= WIRE_HEADER_SIZE) {
			FUZZ_CHECK(wire_header_decode(c->frame, &h) == 0);
			want += h.length;
		}
		size_t k = MIN(n, want - c->have);
		memcpy(c->frame + c->have, p, k);
		c->have += k;
		p += k;
		n -= k;
		if (c->have < WIRE_HEADER_SIZE)
			return;
		FUZZ_CHECK(wire_header_decode(c->frame, &h) == 0);
		FUZZ_CHECK(link_type_fits(wire_type_info(h.type), role));
		FUZZ_CHECK((wire_type_info(h.type)->scope == WIRE_SCOPE_LINK) == (h.stream == 0));
		if (c->have == WIRE_HEADER_SIZE + h.length)
			c->have = 0;
	}
}

/* A frame with a true header, so that the fuzzer gets past it: a few bytes of payload, then zeros. */
static void feed_frame(struct fuzz_owner *owner, struct fuzz_input *in)
{
	static uint8_t frame[LINK_FRAME_MAX + 16];
	struct wire_header h = { .type = fuzz_u8(in), .flags = fuzz_u8(in) };
	uint8_t stream = fuzz_u8(in);
	h.stream = stream < 250 ? stream : UINT32_MAX - 255 + stream;
	h.length = fuzz_u16(in);
	if (h.length >= 65000)
		h.length = WIRE_PAYLOAD_MAX + 2 - (65535 - h.length) % 4;
	wire_header_encode(&h, frame);
	memset(frame + WIRE_HEADER_SIZE, 0, h.length);
	for (uint32_t i = 0, n = fuzz_u8(in); i < n && i < h.length; i++)
		frame[WIRE_HEADER_SIZE + i] = fuzz_u8(in);
	fuzz_owner_read(owner, frame, WIRE_HEADER_SIZE + h.length);
}

static void feed_handshake(struct fuzz_owner *owner)
{
	static const uint8_t version[] = { 0x08, WIRE_VERSION };
	uint8_t bytes[2 * WIRE_HEADER_SIZE + WIRE_SYNC_SIZE + 2];
	struct wire_header sync = { .length = WIRE_SYNC_SIZE, .type = WIRE_SYNC };
	struct wire_header hello = { .length = 2, .type = WIRE_HELLO };
	uint8_t *p = bytes;
	wire_header_encode(&sync, p);
	p += WIRE_HEADER_SIZE;
	memcpy(p, wire_sync_magic, WIRE_SYNC_MAGIC_SIZE);
	wire_put_u64(p + WIRE_SYNC_MAGIC_SIZE, owner->nonce ? owner->nonce : FUZZ_NONCE);
	p += WIRE_SYNC_SIZE;
	wire_header_encode(&hello, p);
	memcpy(p + WIRE_HEADER_SIZE, version, sizeof(version));
	fuzz_owner_read(owner, bytes, sizeof(bytes));
}

void fuzz_link(enum wire_role role, const uint8_t *data, size_t size)
{
	static struct fuzz_owner owner;
	static struct checker checker;
	static uint8_t out[1 << 20];
	struct fuzz_input in = { .data = data, .left = size };
	uint8_t options = fuzz_u8(&in);
	fuzz_owner_init(&owner, role, role == WIRE_INITIATOR ? FUZZ_NONCE : 0);
	checker.have = 0;
	if (options & 2)
		feed_handshake(&owner);

	while (in.left > 0 && !owner.failed) {
		uint8_t what = fuzz_u8(&in);
		int r = 0;
		size_t n;
		switch (what % 8) {
		case 0:
		case 1:
			n = MIN((size_t)fuzz_u8(&in), in.left);
			n = fuzz_owner_read(&owner, in.data, n);
			in.data += n;
			in.left -= n;
			r = fuzz_owner_events(&owner);
			break;
		case 2:
		case 3:
			feed_frame(&owner, &in);
			r = fuzz_owner_events(&owner);
			break;
		case 4:
			if (what & 8) {
				feed_handshake(&owner);
				r = fuzz_owner_events(&owner);
			}
			break;
		case 5:
			n = fuzz_owner_write(&owner, 3 + what / 8 % 14, out,
					     MIN((size_t)fuzz_u16(&in) * 4, sizeof(out)));
			check_bytes(&checker, role, out, n);
			break;
		default:
			fuzz_owner_act(&owner, &in);
			break;
		}
		if (r < 0 && what & 16)
			fuzz_owner_resync(&owner);
	}
	size_t n;
	while ((n = fuzz_owner_write(&owner, 16, out, sizeof(out))) > 0)
		check_bytes(&checker, role, out, n);
	FUZZ_CHECK(checker.have == 0);
	FUZZ_CHECK(wire_link_queued(owner.link) == 0);
	fuzz_owner_done(&owner);
}
