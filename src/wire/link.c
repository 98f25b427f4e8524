/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/link.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/cove.pb-c.h"
#include "wire/link-internal.h"

#define LINK_BUCKET_BITS_MIN 4

/* ---- state ---- */

#define FROM(state) (1u << (state))

void link_set_state(struct wire_link *link, enum link_state state)
{
	static const unsigned allowed[] = {
		[LINK_HUNTING] = ~0u, /* a sync may be asked for, or come in, at any time */
		[LINK_HELLO] = FROM(LINK_HUNTING),
		[LINK_UP] = FROM(LINK_HELLO),
		[LINK_RESYNC_WANTED] = FROM(LINK_HUNTING) | FROM(LINK_HELLO) | FROM(LINK_UP),
		[LINK_DEAD] = FROM(LINK_HUNTING) | FROM(LINK_HELLO) | FROM(LINK_UP),
	};
	assert(allowed[state] & FROM(link->state));
	link->state = state;
}

int link_fail(struct wire_link *link, int code, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	/* The analyzer loses va_start() where it follows a caller in here. */
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
	vsnprintf(link->error, sizeof(link->error), format, args);
	va_end(args);
	link->error_code = code;
	link_set_state(link, LINK_DEAD);
	return code;
}

const char *wire_link_error(const struct wire_link *link)
{
	return link->error;
}

/* ---- streams ---- */

static unsigned bucket_of(uint32_t id, unsigned bits)
{
	return (uint32_t)(id * 2654435769u) >> (32 - bits);
}

struct link_stream *link_stream_find(const struct wire_link *link, uint32_t id)
{
	struct link_stream *s = link->buckets[bucket_of(id, link->bucket_bits)];
	while (s && s->id != id)
		s = s->next;
	return s;
}

/* Twice the buckets. Without memory for them the chains just become longer. */
static void grow_buckets(struct wire_link *link)
{
	unsigned bits = link->bucket_bits + 1;
	struct link_stream **buckets = calloc((size_t)1 << bits, sizeof(*buckets));
	if (!buckets)
		return;
	for (size_t i = 0; i < (size_t)1 << link->bucket_bits; i++) {
		struct link_stream *s = link->buckets[i], *next;
		for (; s; s = next) {
			struct link_stream **bucket = &buckets[bucket_of(s->id, bits)];
			next = s->next;
			s->next = *bucket;
			*bucket = s;
		}
	}
	free(link->buckets);
	link->buckets = buckets;
	link->bucket_bits = bits;
}

int link_stream_new(struct wire_link *link, uint32_t id, struct link_stream **ret)
{
	struct link_stream *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	if (link->n_streams >= 1u << link->bucket_bits)
		grow_buckets(link);

	s->link = link;
	s->id = id;
	for (unsigned i = 0; i < WIRE_CHANNELS; i++) {
		list_init(&s->channels[i].ready);
		s->channels[i].total = LINK_NO_TOTAL;
		s->channels[i].credit = WIRE_INITIAL_WINDOW;
		s->channels[i].number = (uint8_t)i;
	}
	struct link_stream **bucket = &link->buckets[bucket_of(id, link->bucket_bits)];
	s->next = *bucket;
	*bucket = s;
	link->n_streams++;
	*ret = s;
	return 0;
}

/* Both directions: what came in, and the account of what went out. */
void link_stream_drop_fragments(struct link_stream *s)
{
	if (s->rx_data)
		s->link->rx_unfinished -= s->rx_size;
	free(s->rx_data);
	s->rx_data = NULL;
	s->rx_type = 0;
	s->rx_size = 0;
	s->rx_allocated = 0;

	s->link->tx_unfinished -= s->tx_size;
	s->tx_type = 0;
	s->tx_size = 0;
}

void link_stream_free(struct link_stream *s)
{
	struct wire_link *link = s->link;
	struct link_stream **p = &link->buckets[bucket_of(s->id, link->bucket_bits)];
	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	link->n_streams--;

	link_stream_drop_fragments(s);
	for (unsigned i = 0; i < WIRE_CHANNELS; i++)
		list_remove(&s->channels[i].ready);
	free(s);
}

/* For the owner's calls: neither unknown nor given up. */
static struct link_stream *open_stream(const struct wire_link *link, uint32_t id)
{
	struct link_stream *s = link_stream_find(link, id);
	return s && !s->closing ? s : NULL;
}

void wire_link_set_userdata(struct wire_link *link, uint32_t stream, void *userdata)
{
	struct link_stream *s = open_stream(link, stream);
	if (s)
		s->userdata = userdata;
}

/* ---- life ---- */

static int pack_hello(struct wire_link *link, const char *software)
{
	Cove__Wire__Hello hello = COVE__WIRE__HELLO__INIT;
	hello.version = WIRE_VERSION;
	hello.software = (char *)software; /* only read */
	size_t size = cove__wire__hello__get_packed_size(&hello);
	link->hello = malloc(size);
	if (!link->hello)
		return -ENOMEM;
	link->hello_size = cove__wire__hello__pack(&hello, link->hello);
	return 0;
}

static int allocate(struct wire_link *link)
{
	link->input = malloc(LINK_INPUT_SIZE);
	link->spill = malloc(LINK_FRAME_MAX);
	link->stage = malloc(LINK_STAGE_SIZE);
	link->bucket_bits = LINK_BUCKET_BITS_MIN;
	link->buckets = calloc((size_t)1 << link->bucket_bits, sizeof(struct link_stream *));
	return link->input && link->spill && link->stage && link->buckets ? 0 : -ENOMEM;
}

int wire_link_new(const struct wire_link_options *options, struct wire_link **ret)
{
	bool initiator = options->role == WIRE_INITIATOR;
	if (initiator != (options->nonce != 0) ||
	    (options->software && strlen(options->software) > LINK_SOFTWARE_MAX))
		return -EINVAL;

	_cleanup_(wire_link_freep) struct wire_link *link = calloc(1, sizeof(*link));
	if (!link)
		return -ENOMEM;
	link->options = *options;
	if (link->options.max_streams == 0)
		link->options.max_streams = WIRE_STREAMS_MAX;
	link->state = LINK_HUNTING;
	list_init(&link->ready);
	list_init(&link->close_pending);
	buffer_init(&link->control, WIRE_CONTROL_QUEUE_MAX + LINK_CONTROL_RESERVE);

	int r = allocate(link);
	if (r < 0)
		return r;
	r = pack_hello(link, options->software);
	if (r < 0)
		return r;
	if (initiator) {
		link->nonce = options->nonce;
		r = link_queue_sync(link, link->nonce);
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(link);
	return 0;
}

static void drop_streams(struct wire_link *link)
{
	if (!link->buckets)
		return;
	for (size_t i = 0; i < (size_t)1 << link->bucket_bits; i++)
		while (link->buckets[i])
			link_stream_free(link->buckets[i]);
}

struct wire_link *wire_link_free(struct wire_link *link)
{
	if (!link)
		return NULL;
	drop_streams(link);
	buffer_done(&link->control);
	free(link->event_data);
	free(link->buckets);
	free(link->input);
	free(link->spill);
	free(link->stage);
	free(link->hello);
	free(link);
	return NULL;
}

void link_restart(struct wire_link *link)
{
	drop_streams(link);
	link->last_id = 0;
	link->hunted = 0;
	link->control.size = link->control_partial;
	link_set_state(link, LINK_HUNTING);
}

int wire_link_resync(struct wire_link *link, uint64_t nonce)
{
	assert(!link->offering);
	if ((link->options.role == WIRE_INITIATOR) != (nonce != 0))
		return -EINVAL;
	link_restart(link);
	link->nonce = nonce;
	int r = link_queue_sync(link, nonce);
	if (r < 0)
		link_fail(link, r, "no memory to synchronise again");
	return r;
}

/* ---- queueing ---- */

int link_queue(struct wire_link *link, const struct wire_header *h, const void *payload)
{
	assert(!link->offering); /* the queue's memory is lent out */
	uint8_t *end;
	int r = buffer_reserve(&link->control, WIRE_HEADER_SIZE + h->length, &end);
	if (r < 0)
		return r;
	wire_header_encode(h, end);
	if (h->length)
		memcpy(end + WIRE_HEADER_SIZE, payload, h->length);
	buffer_commit(&link->control, WIRE_HEADER_SIZE + h->length);
	return 0;
}

/* May the owner queue n more bytes? */
static int check_room(const struct wire_link *link, size_t n)
{
	size_t queued = link->control.size;
	return queued >= WIRE_CONTROL_QUEUE_MAX || n > WIRE_CONTROL_QUEUE_MAX - queued ? -ENOBUFS
										       : 0;
}

/* A frame of the owner's. */
static int queue_for_owner(struct wire_link *link, const struct wire_header *h, const void *payload)
{
	int r = check_room(link, WIRE_HEADER_SIZE + h->length);
	return r < 0 ? r : link_queue(link, h, payload);
}

int link_queue_sync(struct wire_link *link, uint64_t nonce)
{
	uint8_t payload[WIRE_SYNC_SIZE];
	memcpy(payload, wire_sync_magic, WIRE_SYNC_MAGIC_SIZE);
	wire_put_u64(payload + WIRE_SYNC_MAGIC_SIZE, nonce);
	struct wire_header sync = { .length = sizeof(payload), .type = WIRE_SYNC };
	struct wire_header hello = { .length = (uint32_t)link->hello_size, .type = WIRE_HELLO };

	/* Both or none. */
	int r = buffer_reserve(&link->control,
			       sizeof(payload) + link->hello_size + 2 * WIRE_HEADER_SIZE, NULL);
	if (r >= 0)
		r = link_queue(link, &sync, payload);
	if (r >= 0 && nonce)
		r = link_queue(link, &hello, link->hello);
	return r;
}

static int queue_u64(struct wire_link *link, const struct wire_header *h, uint64_t value)
{
	uint8_t payload[8];
	wire_put_u64(payload, value);
	return queue_for_owner(link, h, payload);
}

/* Nothing is sent on a stream between the fragments of a message: out of the line until then. */
static void pause_channel(struct link_stream *s, unsigned channel)
{
	struct link_channel *c = &s->channels[channel];
	if (list_empty(&c->ready))
		return;
	list_remove(&c->ready);
	c->waiting = true;
}

/* The message, or the part of one, as frames; all of them or none. */
static int queue_message(struct wire_link *link, struct link_stream *s, uint8_t type,
			 const struct iovec *payload, bool last)
{
	const uint8_t *p = payload->iov_base;
	size_t left = payload->iov_len;
	if (left == 0 && !last)
		return -EINVAL;
	if (left > WIRE_MESSAGE_MAX - s->tx_size)
		return -EMSGSIZE;
	if (!last && left > LINK_UNFINISHED_MAX - link->tx_unfinished)
		return -ENOBUFS;

	size_t n = left ? (left + WIRE_DATA_MAX - 1) / WIRE_DATA_MAX : 1;
	int r = check_room(link, left + n * WIRE_HEADER_SIZE);
	if (r < 0)
		return r;
	r = buffer_reserve(&link->control, left + n * WIRE_HEADER_SIZE, NULL);
	if (r < 0)
		return r;

	for (; n > 0; n--) {
		uint32_t size = (uint32_t)MIN(left, (size_t)WIRE_DATA_MAX);
		struct wire_header h = { .length = size, .type = type, .stream = s->id };
		h.flags = n > 1 || !last ? WIRE_FLAG_MORE : 0;
		r = link_queue(link, &h, p);
		assert(r == 0); /* reserved */
		p += size;
		left -= size;
	}

	if (last) {
		link->tx_unfinished -= s->tx_size;
		s->tx_type = 0;
		s->tx_size = 0;
		for (unsigned i = 0; i < WIRE_CHANNELS; i++)
			link_channel_wake(s, i);
	} else {
		link->tx_unfinished += payload->iov_len;
		s->tx_type = type;
		for (unsigned i = 0; i < WIRE_CHANNELS; i++)
			pause_channel(s, i);
		s->tx_size += (uint32_t)payload->iov_len;
	}
	return 0;
}

/* ---- sending ---- */

/* NOLINTNEXTLINE(readability-function-size): one parameter more, for what is one call */
int wire_link_open_fragment(struct wire_link *link, uint8_t type, const void *payload, size_t size,
			    bool last, void *userdata, uint32_t *ret_stream)
{
	const struct wire_type_info *info = wire_type_info(type);
	if (link->options.role != WIRE_INITIATOR || !info->opens)
		return -EINVAL;
	if (link->n_streams >= link->options.max_streams)
		return -ENOBUFS;
	if (link->last_id == UINT32_MAX)
		return -EOVERFLOW; /* ids are used up; a new link, or resync, starts over */

	struct link_stream *s;
	int r = link_stream_new(link, link->last_id + 1, &s);
	if (r < 0)
		return r;
	struct iovec iov = { .iov_base = (void *)payload, .iov_len = size };
	r = queue_message(link, s, type, &iov, last);
	if (r < 0) {
		link_stream_free(s);
		return r;
	}
	s->userdata = userdata;
	link->last_id = s->id;
	*ret_stream = s->id;
	return 0;
}

int wire_link_open(struct wire_link *link, uint8_t type, const void *payload, size_t size,
		   void *userdata, uint32_t *ret_stream)
{
	return wire_link_open_fragment(link, type, payload, size, true, userdata, ret_stream);
}

int wire_link_send_fragment(struct wire_link *link, uint32_t stream, uint8_t type,
			    const void *payload, size_t size, bool last)
{
	const struct wire_type_info *info = wire_type_info(type);
	if (!link_type_is_message(info) || !link_type_fits(info, link->options.role))
		return -EINVAL;
	struct link_stream *s = open_stream(link, stream);
	if (!s)
		return -ENOENT;
	/* The fragments of a message follow one another, and a stream is opened once. */
	if (s->tx_type ? s->tx_type != type : info->opens)
		return -EINVAL;
	struct iovec iov = { .iov_base = (void *)payload, .iov_len = size };
	return queue_message(link, s, type, &iov, last);
}

int wire_link_send(struct wire_link *link, uint32_t stream, uint8_t type, const void *payload,
		   size_t size)
{
	return wire_link_send_fragment(link, stream, type, payload, size, true);
}

int wire_link_send_eof(struct wire_link *link, uint32_t stream, unsigned channel, uint64_t total)
{
	if (channel >= WIRE_CHANNELS || !link_channel_sends(link, channel))
		return -EINVAL;
	struct link_stream *s = open_stream(link, stream);
	if (!s)
		return -ENOENT;
	struct link_channel *c = &s->channels[channel];
	if (s->tx_type || c->total != LINK_NO_TOTAL || total < c->end || total == LINK_NO_TOTAL)
		return -EINVAL;
	struct wire_header h = { .length = 8, .type = WIRE_EOF, .stream = stream };
	h.flags = (uint8_t)channel;
	int r = queue_u64(link, &h, total);
	if (r < 0)
		return r;
	c->total = total;
	return 0;
}

int wire_link_ping(struct wire_link *link, uint64_t value)
{
	return queue_u64(link, &(struct wire_header){ .length = 8, .type = WIRE_PING }, value);
}

int wire_link_goodbye(struct wire_link *link, const void *payload, size_t size)
{
	if (size > WIRE_DATA_MAX)
		return -EMSGSIZE;
	struct wire_header h = { .length = (uint32_t)size, .type = WIRE_GOODBYE };
	return queue_for_owner(link, &h, payload);
}

static int queue_close(struct wire_link *link, uint32_t stream)
{
	return link_queue(link, &(struct wire_header){ .type = WIRE_CLOSE, .stream = stream },
			  NULL);
}

void wire_link_close(struct wire_link *link, uint32_t stream)
{
	assert(!link->offering);
	struct link_stream *s = open_stream(link, stream);
	if (link->options.role != WIRE_INITIATOR || !s)
		return;
	s->closing = true;
	link_stream_drop_fragments(s);
	for (unsigned i = 0; i < WIRE_CHANNELS; i++)
		list_remove(&s->channels[i].ready);
	/* In line behind those that found no room before. */
	list_append(&link->close_pending, &s->channels[0].ready);
	link_close_flush(link);
}

void link_close_flush(struct wire_link *link)
{
	LIST_FOREACH_SAFE (i, &link->close_pending) {
		struct link_channel *c = LIST_ENTRY(i, struct link_channel, ready);
		struct link_stream *s = LIST_ENTRY(c, struct link_stream, channels[0]);
		if (queue_close(link, s->id) < 0)
			return;
		list_remove(i);
	}
}

/* ---- credit ---- */

void link_channel_wake(struct link_stream *s, unsigned channel)
{
	struct link_channel *c = &s->channels[channel];
	if (!c->waiting || c->credit == 0 || s->tx_type || s->closing)
		return;
	c->waiting = false;
	list_append(&s->link->ready, &c->ready);
}

void wire_link_ready(struct wire_link *link, uint32_t stream, unsigned channel)
{
	struct link_stream *s = open_stream(link, stream);
	if (!s || channel >= WIRE_CHANNELS || !link_channel_sends(link, channel))
		return;
	struct link_channel *c = &s->channels[channel];
	if (!list_empty(&c->ready))
		return;
	c->waiting = true;
	link_channel_wake(s, channel);
}

uint32_t wire_link_credit(const struct wire_link *link, uint32_t stream, unsigned channel)
{
	const struct link_stream *s = open_stream(link, stream);
	if (!s || channel >= WIRE_CHANNELS || !link_channel_sends(link, channel))
		return 0;
	return s->channels[channel].credit;
}

static int send_credit(struct wire_link *link, struct link_stream *s, unsigned channel, uint32_t n)
{
	uint8_t payload[4];
	wire_put_u32(payload, n);
	struct wire_header h = { .length = 4, .type = WIRE_CREDIT, .stream = s->id };
	h.flags = (uint8_t)channel;
	int r = queue_for_owner(link, &h, payload);
	if (r >= 0)
		s->channels[channel].credit += n;
	return r;
}

int wire_link_consumed(struct wire_link *link, uint32_t stream, unsigned channel, size_t n)
{
	if (channel >= WIRE_CHANNELS || link_channel_sends(link, channel))
		return -EINVAL;
	struct link_stream *s = open_stream(link, stream);
	if (!s)
		return -ENOENT;
	struct link_channel *c = &s->channels[channel];
	if (n > WIRE_WINDOW_MAX - c->credit - c->owed)
		return -EINVAL;
	c->owed += (uint32_t)n;
	/* After the last byte nobody needs credit any more. */
	if (c->owed < WIRE_INITIAL_WINDOW / 4 || s->tx_type || c->end >= c->total)
		return 0;
	int r = send_credit(link, s, channel, c->owed);
	if (r < 0)
		return r; /* still owed: the next call tries again */
	c->owed = 0;
	return 0;
}

int wire_link_grant(struct wire_link *link, uint32_t stream, unsigned channel, uint32_t n)
{
	if (n == 0 || channel >= WIRE_CHANNELS || link_channel_sends(link, channel))
		return -EINVAL;
	struct link_stream *s = open_stream(link, stream);
	if (!s)
		return -ENOENT;
	const struct link_channel *c = &s->channels[channel];
	if (s->tx_type || n > WIRE_WINDOW_MAX - c->credit - c->owed)
		return -EINVAL;
	return send_credit(link, s, channel, n);
}
