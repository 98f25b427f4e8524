/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/cove.pb-c.h"
#include "wire/link-internal.h"
#include "wire/message.h"

/*
 * A step takes one frame, whole or not at all: on -ENOMEM and -ENOBUFS nothing has changed and the
 * frame is still there, so that wire_link_next() can be called again.
 */
enum step {
	STEP_MORE,  /* more bytes are needed */
	STEP_AGAIN, /* done, nothing to tell */
	STEP_EVENT,
};

/* The header and magic of every SYNC frame, all of it constant. */
#define SYNC_PATTERN_SIZE (WIRE_HEADER_SIZE + WIRE_SYNC_MAGIC_SIZE)
#define SYNC_FRAME_SIZE	  (WIRE_HEADER_SIZE + WIRE_SYNC_SIZE)

/* ---- the buffer ---- */

/* What the last event lent out. */
static void release_event(struct wire_link *link)
{
	free(link->event_data);
	link->event_data = NULL;
}

void wire_link_input(struct wire_link *link, uint8_t **ret, size_t *ret_size)
{
	release_event(link);
	if (link->input_head == link->input_tail) {
		link->input_head = link->input_tail = 0;
	} else if (link->input_head > 0 && LINK_INPUT_SIZE - link->input_tail < LINK_FRAME_MAX) {
		memmove(link->input, link->input + link->input_head,
			link->input_tail - link->input_head);
		link->input_tail -= link->input_head;
		link->input_head = 0;
	}
	*ret = link->input + link->input_tail;
	*ret_size = LINK_INPUT_SIZE - link->input_tail;
}

void wire_link_received(struct wire_link *link, size_t n)
{
	assert(n <= LINK_INPUT_SIZE - link->input_tail);
	link->input_tail += n;
}

bool wire_link_wants_input(const struct wire_link *link)
{
	return link->state != LINK_DEAD && link->control.size < WIRE_CONTROL_QUEUE_HIGH;
}

/* ---- SYNC ---- */

static int call_for_resync(struct wire_link *link, struct wire_event *event)
{
	link_set_state(link, LINK_RESYNC_WANTED);
	*event = (struct wire_event){ .kind = WIRE_EVENT_RESYNC_WANTED };
	return STEP_EVENT;
}

/* A responder begins anew. After -ENOMEM it hunts, and finds this SYNC again. */
static int responder_sync(struct wire_link *link, uint64_t nonce, struct wire_event *event)
{
	link_restart(link);
	int r = link_queue_sync(link, nonce);
	if (r < 0)
		return r;
	link_set_state(link, LINK_HELLO);
	*event = (struct wire_event){ .kind = WIRE_EVENT_SYNCED };
	return STEP_EVENT;
}

/* A SYNC in the place of a frame. */
static int on_sync(struct wire_link *link, const uint8_t *payload, struct wire_event *event)
{
	if (memcmp(payload, wire_sync_magic, WIRE_SYNC_MAGIC_SIZE) != 0)
		return link_fail(link, -EPROTO, "SYNC without its magic");
	uint64_t nonce = wire_get_u64(payload + WIRE_SYNC_MAGIC_SIZE);
	if (link->options.role == WIRE_INITIATOR) {
		if (nonce != 0)
			return link_fail(link, -EPROTO, "SYNC that nobody asked for");
		return call_for_resync(link, event);
	}
	if (nonce == 0)
		return link_fail(link, -EPROTO, "SYNC without a nonce");
	return responder_sync(link, nonce, event);
}

static int discard(struct wire_link *link, size_t n)
{
	link->input_head += n;
	link->hunted += n;
	if (link->options.role == WIRE_INITIATOR && link->hunted > WIRE_HUNT_MAX)
		return link_fail(link, -EPROTO, "no answer to SYNC in %u bytes", WIRE_HUNT_MAX);
	return 0;
}

/*
 * Nothing is known about where frames begin: look for the constant bytes of a SYNC anywhere. The
 * nonce is what an initiator recognises the answer by; earlier answers, and whatever looks like one
 * in somebody's data, do not have it. A call for a sync (nonce 0) is heeded even here: our SYNC may
 * have been swallowed as the rest of a frame that was cut off before.
 */
static int hunt(struct wire_link *link, struct wire_event *event)
{
	static const uint8_t header[WIRE_HEADER_SIZE] = { WIRE_SYNC_SIZE, 0, 0, 0, WIRE_SYNC };
	uint8_t pattern[SYNC_PATTERN_SIZE];
	memcpy(pattern, header, WIRE_HEADER_SIZE);
	memcpy(pattern + WIRE_HEADER_SIZE, wire_sync_magic, WIRE_SYNC_MAGIC_SIZE);

	const uint8_t *begin = link->input + link->input_head;
	size_t n = link->input_tail - link->input_head;
	const uint8_t *found = memmem(begin, n, pattern, sizeof(pattern));
	if (!found) {
		/* The last bytes may be the beginning of it. */
		size_t keep = MIN(n, (size_t)SYNC_PATTERN_SIZE - 1);
		int r = discard(link, n - keep);
		return r < 0 ? r : STEP_MORE;
	}

	int r = discard(link, (size_t)(found - begin));
	if (r < 0)
		return r;
	if (link->input_tail - link->input_head < SYNC_FRAME_SIZE)
		return STEP_MORE;

	uint64_t nonce = wire_get_u64(found + SYNC_PATTERN_SIZE);
	int step = STEP_AGAIN;
	if (link->options.role == WIRE_RESPONDER) {
		if (nonce != 0)
			step = responder_sync(link, nonce, event);
	} else if (nonce == link->nonce) {
		link_set_state(link, LINK_HELLO);
		*event = (struct wire_event){ .kind = WIRE_EVENT_SYNCED };
		step = STEP_EVENT;
	} else if (nonce == 0) {
		step = call_for_resync(link, event);
	}
	if (step == STEP_AGAIN) {
		/* Not the one. What was taken for its nonce may be the beginning of the next. */
		r = discard(link, SYNC_PATTERN_SIZE);
		return r < 0 ? r : STEP_AGAIN;
	}
	if (step == STEP_EVENT)
		link->input_head += SYNC_FRAME_SIZE;
	return step;
}

/* ---- the link's own frames ---- */

static int on_hello(struct wire_link *link, const struct wire_header *h, const uint8_t *payload,
		    struct wire_event *event)
{
	if (link->state != LINK_HELLO)
		return link_fail(link, -EPROTO, "a second HELLO");
	ProtobufCMessage *m;
	int r = message_unpack(&cove__wire__hello__descriptor, payload, h->length, &m);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return link_fail(link, -EPROTO, "HELLO cannot be read");
	uint32_t version = ((const Cove__Wire__Hello *)m)->version;
	wire_message_free(m);
	if (version != WIRE_VERSION)
		return link_fail(link, -EPROTONOSUPPORT,
				 "the peer speaks version %u of the protocol, this side version %u",
				 version, WIRE_VERSION);
	link_set_state(link, LINK_UP);
	*event =
		(struct wire_event){ .kind = WIRE_EVENT_HELLO, .data = payload, .size = h->length };
	return STEP_EVENT;
}

static int on_ping(struct wire_link *link, const uint8_t *payload)
{
	struct wire_header pong = { .length = 8, .type = WIRE_PONG };
	/* Who pings without reading the answers does not need all of them. */
	if (link->control.size < WIRE_CONTROL_QUEUE_HIGH) {
		int r = link_queue(link, &pong, payload);
		if (r < 0)
			return r;
	}
	return STEP_AGAIN;
}

static int on_link_frame(struct wire_link *link, const struct wire_header *h,
			 const uint8_t *payload, struct wire_event *event)
{
	switch (h->type) {
	case WIRE_SYNC:
		return on_sync(link, payload, event);
	case WIRE_HELLO:
		return on_hello(link, h, payload, event);
	case WIRE_PING:
		return on_ping(link, payload);
	case WIRE_PONG:
		*event = (struct wire_event){ .kind = WIRE_EVENT_PONG,
					      .offset = wire_get_u64(payload) };
		return STEP_EVENT;
	default:
		*event = (struct wire_event){ .kind = WIRE_EVENT_GOODBYE,
					      .data = payload,
					      .size = h->length };
		return STEP_EVENT;
	}
}

/* ---- frames of a channel ---- */

static int on_data(struct link_stream *s, const struct wire_header *h, const uint8_t *payload,
		   struct wire_event *event)
{
	struct link_channel *c = &s->channels[h->flags];
	uint64_t offset = wire_get_u64(payload);
	uint32_t size = h->length - WIRE_DATA_PREFIX;
	if (size > c->credit)
		return link_fail(s->link, -EPROTO,
				 "stream %u channel %u: %u bytes of data, but credit for %u", s->id,
				 h->flags, size, c->credit);
	if (offset < c->end || size > UINT64_MAX - offset || offset + size > c->total)
		return link_fail(s->link, -EPROTO,
				 "stream %u channel %u: data at an impossible offset", s->id,
				 h->flags);
	c->credit -= size;
	c->end = offset + size;
	*event = (struct wire_event){
		.kind = WIRE_EVENT_DATA,
		.channel = h->flags,
		.offset = offset,
		.data = payload + WIRE_DATA_PREFIX,
		.size = size,
	};
	return STEP_EVENT;
}

static int on_eof(struct link_stream *s, const struct wire_header *h, const uint8_t *payload,
		  struct wire_event *event)
{
	struct link_channel *c = &s->channels[h->flags];
	uint64_t total = wire_get_u64(payload);
	if (c->total != LINK_NO_TOTAL || total == LINK_NO_TOTAL || total < c->end)
		return link_fail(s->link, -EPROTO, "stream %u channel %u: an impossible end", s->id,
				 h->flags);
	c->total = total;
	*event =
		(struct wire_event){ .kind = WIRE_EVENT_EOF, .channel = h->flags, .offset = total };
	return STEP_EVENT;
}

static int on_credit(struct link_stream *s, const struct wire_header *h, const uint8_t *payload,
		     struct wire_event *event)
{
	struct link_channel *c = &s->channels[h->flags];
	uint32_t n = wire_get_u32(payload);
	if (n == 0 || n > WIRE_WINDOW_MAX - c->credit)
		return link_fail(s->link, -EPROTO,
				 "stream %u channel %u: credit for %u bytes on top of %u", s->id,
				 h->flags, n, c->credit);
	c->credit += n;
	link_channel_wake(s, h->flags);
	*event = (struct wire_event){ .kind = WIRE_EVENT_CREDIT, .channel = h->flags, .credit = n };
	return STEP_EVENT;
}

static int on_close(struct link_stream *s, struct wire_event *event)
{
	struct wire_link *link = s->link;
	if (link->options.role == WIRE_INITIATOR) {
		if (!s->closing)
			return link_fail(link, -EPROTO, "stream %u: the responder cannot close it",
					 s->id);
		link_stream_free(s);
		return STEP_AGAIN;
	}

	int r = link_queue(link, &(struct wire_header){ .type = WIRE_CLOSE, .stream = s->id },
			   NULL);
	if (r < 0)
		return r;
	/* Closed before its first message was whole: the owner never heard of it. */
	bool announced = s->announced;
	*event = (struct wire_event){ .kind = WIRE_EVENT_CLOSE,
				      .stream = s->id,
				      .userdata = s->userdata };
	link_stream_free(s);
	return announced ? STEP_EVENT : STEP_AGAIN;
}

/* ---- messages ---- */

static int append_fragment(struct link_stream *s, const uint8_t *data, uint32_t n)
{
	if (n == 0)
		return 0;
	if (n > s->rx_allocated - s->rx_size) {
		uint32_t want = MAX(s->rx_allocated, 256u); /* ≤ 2 × MESSAGE_MAX: no overflow */
		while (want < s->rx_size + n)
			want *= 2;
		uint8_t *p = realloc(s->rx_data, want);
		if (!p)
			return -ENOMEM;
		s->rx_data = p;
		s->rx_allocated = want;
	}
	memcpy(s->rx_data + s->rx_size, data, n);
	return 0;
}

static int on_message(struct link_stream *s, const struct wire_header *h, const uint8_t *payload,
		      struct wire_event *event)
{
	struct wire_link *link = s->link;
	const struct wire_type_info *info = wire_type_info(h->type);
	bool first = s->rx_type == 0, last = !(h->flags & WIRE_FLAG_MORE);

	if (h->length > WIRE_MESSAGE_MAX - s->rx_size)
		return link_fail(link, -EPROTO, "stream %u: %s is longer than %u bytes", s->id,
				 info->name, WIRE_MESSAGE_MAX);
	*event = (struct wire_event){
		.kind = WIRE_EVENT_MESSAGE,
		.type = h->type,
		.opens = info->opens,
		.data = payload,
		.size = h->length,
	};
	if (!first || !last) {
		if (h->length > WIRE_REASSEMBLY_MAX - link->rx_unfinished)
			return link_fail(link, -EPROTO, "more than %u bytes of unfinished messages",
					 WIRE_REASSEMBLY_MAX);
		int r = append_fragment(s, payload, h->length);
		if (r < 0)
			return r;
		s->rx_type = h->type;
		s->rx_size += h->length;
		link->rx_unfinished += h->length;
		if (!last)
			return STEP_AGAIN;
		event->data = link->event_data = s->rx_data;
		event->size = s->rx_size;
		link->rx_unfinished -= s->rx_size;
		s->rx_data = NULL;
		s->rx_size = 0;
		s->rx_allocated = 0;
		s->rx_type = 0;
	}
	s->announced = true;
	return STEP_EVENT;
}

/* ---- all frames ---- */

/* Sizes, flags and direction: everything that can be said without looking at the stream. */
static const char *frame_fault(const struct wire_link *link, const struct wire_header *h)
{
	bool from_initiator = link->options.role == WIRE_RESPONDER;
	const struct wire_type_info *info = wire_type_info(h->type);
	if ((info->scope == WIRE_SCOPE_LINK) != (h->stream == 0))
		return "is on the wrong stream";
	if (!link_type_fits(info, from_initiator ? WIRE_INITIATOR : WIRE_RESPONDER))
		return "comes from the wrong side";

	bool ok = true;
	uint8_t flags = 0;
	switch (h->type) {
	case WIRE_SYNC:
		ok = h->length == WIRE_SYNC_SIZE;
		break;
	case WIRE_PING:
	case WIRE_PONG:
		ok = h->length == 8;
		break;
	case WIRE_HELLO:
	case WIRE_GOODBYE:
		break;
	case WIRE_DATA:
		flags = WIRE_FLAG_CHANNEL;
		ok = h->length > WIRE_DATA_PREFIX;
		break;
	case WIRE_CREDIT:
		flags = WIRE_FLAG_CHANNEL;
		ok = h->length == 4;
		break;
	case WIRE_EOF:
		flags = WIRE_FLAG_CHANNEL;
		ok = h->length == 8;
		break;
	case WIRE_CLOSE:
		ok = h->length == 0;
		break;
	default:
		flags = WIRE_FLAG_MORE;
		ok = h->length > 0 || !(h->flags & WIRE_FLAG_MORE);
		break;
	}
	if (!ok)
		return "has a wrong length";
	if (h->flags & ~flags)
		return "has unknown flags";
	if (flags == WIRE_FLAG_CHANNEL) {
		/* Credit flows against its data. */
		bool sends = (h->flags == WIRE_STDIN) == from_initiator;
		if (h->flags >= WIRE_CHANNELS || sends == (h->type == WIRE_CREDIT))
			return "is on a wrong channel";
	}
	return NULL;
}

/* A request on a new id. */
static int open_by_peer(struct wire_link *link, const struct wire_header *h,
			struct link_stream **ret)
{
	if (h->stream <= link->last_id)
		return link_fail(link, -EPROTO, "%s opens stream %u after %u",
				 wire_type_info(h->type)->name, h->stream, link->last_id);
	if (link->n_streams >= link->options.max_streams)
		return link_fail(link, -EPROTO, "more than %u streams", link->options.max_streams);
	return link_stream_new(link, h->stream, ret);
}

static int on_stream_frame(struct wire_link *link, const struct wire_header *h,
			   const uint8_t *payload, struct wire_event *event)
{
	const struct wire_type_info *info = wire_type_info(h->type);
	struct link_stream *s = link_stream_find(link, h->stream);
	bool opened = false;
	if (s && s->closing && h->type != WIRE_CLOSE)
		return STEP_AGAIN; /* it crossed our CLOSE */
	if (!s) {
		if (!info->opens)
			return link_fail(link, -EPROTO, "%s on stream %u, which is not open",
					 info->name, h->stream);
		int r = open_by_peer(link, h, &s);
		if (r < 0)
			return r;
		assert(s);
		opened = true;
	} else if (s->rx_type ? s->rx_type != h->type && h->type != WIRE_CLOSE : info->opens) {
		return link_fail(link, -EPROTO, "stream %u: %s out of place", h->stream,
				 info->name);
	}

	int r;
	switch (h->type) {
	case WIRE_DATA:
		r = on_data(s, h, payload, event);
		break;
	case WIRE_CREDIT:
		r = on_credit(s, h, payload, event);
		break;
	case WIRE_EOF:
		r = on_eof(s, h, payload, event);
		break;
	case WIRE_CLOSE:
		return on_close(s, event);
	default:
		r = on_message(s, h, payload, event);
		break;
	}
	if (opened) {
		if (r < 0)
			link_stream_free(s);
		else
			link->last_id = h->stream;
	}
	if (r == STEP_EVENT) {
		event->stream = s->id;
		event->userdata = s->userdata;
	}
	return r;
}

static int next_frame(struct wire_link *link, struct wire_event *event)
{
	const uint8_t *p = link->input + link->input_head;
	size_t n = link->input_tail - link->input_head;
	if (n < WIRE_HEADER_SIZE)
		return STEP_MORE;

	struct wire_header h;
	if (wire_header_decode(p, &h) < 0)
		return link_fail(link, -EPROTO, "not a frame: length %u, type %u", wire_get_u32(p),
				 p[4]);
	const char *fault = frame_fault(link, &h);
	if (fault)
		return link_fail(link, -EPROTO, "%s %s (length %u, flags 0x%02x, stream %u)",
				 wire_type_info(h.type)->name, fault, h.length, h.flags, h.stream);
	if (link->state == LINK_HELLO && h.type != WIRE_HELLO && h.type != WIRE_SYNC)
		return link_fail(link, -EPROTO, "%s before HELLO", wire_type_info(h.type)->name);
	if (n < WIRE_HEADER_SIZE + h.length)
		return STEP_MORE;

	int step = h.stream == 0 ? on_link_frame(link, &h, p + WIRE_HEADER_SIZE, event)
				 : on_stream_frame(link, &h, p + WIRE_HEADER_SIZE, event);
	if (step >= 0)
		link->input_head += WIRE_HEADER_SIZE + h.length;
	return step;
}

int wire_link_next(struct wire_link *link, struct wire_event *ret)
{
	assert(!link->offering);
	release_event(link);
	for (;;) {
		struct wire_event event;
		int step;
		switch (link->state) {
		case LINK_HUNTING:
			step = hunt(link, &event);
			break;
		case LINK_HELLO:
		case LINK_UP:
			step = next_frame(link, &event);
			break;
		case LINK_RESYNC_WANTED:
			link->input_head = link->input_tail;
			return 0;
		default:
			return link->error_code;
		}
		if (step < 0)
			return step;
		if (step == STEP_MORE)
			return 0;
		if (step == STEP_EVENT) {
			*ret = event;
			return 1;
		}
	}
}
