/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "harness/tap.h"
#include "pair.h"
#include "wire/link-internal.h"
#include "wire/message.h"

static size_t peek(void *userdata, uint32_t stream, unsigned channel, size_t max,
		   struct wire_chunk *ret)
{
	struct raw_source *source = userdata;
	(void)stream;
	(void)channel;
	source->peeked++;
	size_t n = MIN(source->size, max);
	*ret = (struct wire_chunk){ .offset = source->offset };
	ret->iov[0] = (struct iovec){ .iov_base = (void *)source->data, .iov_len = n };
	return n;
}

static void consumed(void *userdata, uint32_t stream, unsigned channel, size_t n)
{
	struct raw_source *source = userdata;
	(void)stream;
	(void)channel;
	source->consumed++;
	source->offset += n;
	source->data += n;
	source->size -= n;
}

void raw_init_options(struct raw_link *raw, const struct wire_link_options *options)
{
	*raw = (struct raw_link){ 0 };
	buffer_init(&raw->out, (size_t)64 * 1024 * 1024);
	struct wire_link_options o = *options;
	o.source = (struct wire_source){ .peek = peek, .consumed = consumed };
	if (o.role == WIRE_INITIATOR)
		o.nonce = RAW_NONCE;
	CHECK_OK(wire_link_new(&o, &raw->link));
}

void raw_init(struct raw_link *raw, enum wire_role role, struct raw_source *source)
{
	raw_init_options(raw, &(struct wire_link_options){ .role = role, .userdata = source });
}

void raw_done(struct raw_link *raw)
{
	raw->link = wire_link_free(raw->link);
	buffer_done(&raw->out);
}

void raw_feed(struct raw_link *raw, const void *data, size_t n)
{
	uint8_t *p;
	size_t room;
	wire_link_input(raw->link, &p, &room);
	CHECK_INT(n, <=, room);
	memcpy(p, data, n);
	wire_link_received(raw->link, n);
}

void raw_frame(struct raw_link *raw, uint8_t type, uint8_t flags, uint32_t stream,
	       const void *payload, size_t n)
{
	uint8_t frame[LINK_FRAME_MAX];
	struct wire_header h = { .length = (uint32_t)n, .type = type, .flags = flags };
	h.stream = stream;
	wire_header_encode(&h, frame);
	if (n)
		memcpy(frame + WIRE_HEADER_SIZE, payload, n);
	raw_feed(raw, frame, WIRE_HEADER_SIZE + n);
}

void raw_sync(struct raw_link *raw, uint64_t nonce)
{
	uint8_t payload[WIRE_SYNC_SIZE];
	memcpy(payload, wire_sync_magic, WIRE_SYNC_MAGIC_SIZE);
	wire_put_u64(payload + WIRE_SYNC_MAGIC_SIZE, nonce);
	raw_frame(raw, WIRE_SYNC, 0, 0, payload, sizeof(payload));
}

void raw_hello(struct raw_link *raw, unsigned version)
{
	uint8_t payload[] = { 0x08, (uint8_t)version };
	raw_frame(raw, WIRE_HELLO, 0, 0, payload, sizeof(payload));
}

void raw_expect(struct raw_link *raw, enum wire_event_kind kind, struct wire_event *ret)
{
	struct wire_event event;
	int r = wire_link_next(raw->link, &event);
	if (r < 0)
		tap_note("the engine says: %s", wire_link_error(raw->link));
	CHECK_INT(r, ==, 1);
	CHECK_INT(event.kind, ==, kind);
	if (ret)
		*ret = event;
}

void raw_expect_nothing(struct raw_link *raw)
{
	struct wire_event event;
	int r = wire_link_next(raw->link, &event);
	if (r < 0)
		tap_note("the engine says: %s", wire_link_error(raw->link));
	CHECK_INT(r, ==, 0);
}

void raw_expect_error(struct raw_link *raw, int code, const char *part)
{
	struct wire_event event;
	CHECK_INT(wire_link_next(raw->link, &event), ==, code);
	CHECK_CONTAINS(wire_link_error(raw->link), part);
	/* It stays like that. */
	CHECK_INT(wire_link_next(raw->link, &event), ==, code);
	CHECK(!wire_link_wants_input(raw->link));
}

void raw_handshake(struct raw_link *raw)
{
	raw_sync(raw, RAW_NONCE);
	raw_hello(raw, WIRE_VERSION);
	raw_expect(raw, WIRE_EVENT_SYNCED, NULL);
	raw_expect(raw, WIRE_EVENT_HELLO, NULL);
	raw_collect(raw);
	buffer_consume(&raw->out, raw->out.size);
}

void raw_collect(struct raw_link *raw)
{
	struct iovec iov[16];
	int n;
	while ((n = wire_link_output(raw->link, iov, ARRAY_SIZE(iov))) > 0) {
		size_t total = 0;
		for (int i = 0; i < n; i++) {
			CHECK_OK(buffer_append(&raw->out, iov[i].iov_base, iov[i].iov_len));
			total += iov[i].iov_len;
		}
		wire_link_sent(raw->link, total);
	}
}

void raw_expect_written(struct raw_link *raw, const void *data, size_t n)
{
	CHECK_INT(raw->out.size, >=, n);
	CHECK_MEM(buffer_front(&raw->out), n, data, n);
	buffer_consume(&raw->out, n);
}

void raw_expect_frame(struct raw_link *raw, uint8_t type, uint8_t flags, uint32_t stream,
		      const void *payload, size_t n)
{
	uint8_t header[WIRE_HEADER_SIZE];
	struct wire_header h = { .length = (uint32_t)n, .type = type, .flags = flags };
	h.stream = stream;
	wire_header_encode(&h, header);
	raw_expect_written(raw, header, sizeof(header));
	raw_expect_written(raw, payload, n);
}

void raw_bring_up(struct raw_link *raw, enum wire_role role, struct raw_source *source,
		  uint32_t streams)
{
	raw_init(raw, role, source);
	raw_handshake(raw);
	for (uint32_t i = 1; i <= streams; i++) {
		uint32_t id;
		if (role == WIRE_INITIATOR) {
			CHECK_OK(wire_link_open(raw->link, WIRE_EXEC, NULL, 0, NULL, &id));
		} else {
			raw_frame(raw, WIRE_EXEC, 0, i, NULL, 0);
			raw_expect(raw, WIRE_EVENT_MESSAGE, NULL);
		}
	}
	raw_collect(raw);
	buffer_consume(&raw->out, raw->out.size);
}
