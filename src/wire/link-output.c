/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <string.h>

#include "wire/link-internal.h"

/*
 * Theory of operation. What is offered by output() is, in this order, the spill, the control
 * queue, and up to LINK_OUTPUT_FRAMES new DATA frames whose bytes are their owner's memory. sent(n)
 * then counts n off in the same order. A DATA frame of which not a byte left is forgotten; its
 * source is asked again. One that left in part has promised its length to the peer, so the rest of
 * it becomes the spill: its owner is done with it either way.
 *
 * So at most one frame is cut at any time: the one at the front of the spill, or, with the spill
 * empty, the one at the front of the control queue.
 */

size_t wire_link_queued(const struct wire_link *link)
{
	return link->control.size;
}

size_t wire_link_pending(const struct wire_link *link)
{
	return link->control.size + link->spill_tail - link->spill_head;
}

static bool sends_data(const struct wire_link *link)
{
	return link->state == LINK_HUNTING || link->state == LINK_HELLO || link->state == LINK_UP;
}

bool wire_link_wants_output(const struct wire_link *link)
{
	return link->spill_head < link->spill_tail || link->control.size > 0 ||
	       !list_empty(&link->close_pending) || (sends_data(link) && !list_empty(&link->ready));
}

/* ---- output ---- */

struct iov_list {
	struct iovec *iov;
	int n;
	int max;
};

/* Grows the last iovec where the bytes follow it in memory, which staged ones do. */
static void offer(struct iov_list *list, const void *p, size_t n)
{
	if (n == 0)
		return;
	if (list->n > 0) {
		struct iovec *last = &list->iov[list->n - 1];
		if ((uint8_t *)last->iov_base + last->iov_len == p) {
			last->iov_len += n;
			return;
		}
	}
	assert(list->n < list->max);
	list->iov[list->n++] = (struct iovec){ .iov_base = (void *)p, .iov_len = n };
}

static uint8_t *stage(struct wire_link *link, const void *p, size_t n)
{
	assert(n <= LINK_STAGE_SIZE - link->stage_used);
	uint8_t *to = link->stage + link->stage_used;
	memcpy(to, p, n);
	link->stage_used += n;
	return to;
}

/* Asks the channel's source for a frame. False when it has nothing. */
static bool offer_frame(struct wire_link *link, struct link_channel *c, struct iov_list *list)
{
	unsigned channel = c->number;
	struct link_stream *s = CONTAINER_OF(c - channel, struct link_stream, channels[0]);
	struct link_frame *f = &link->frames[link->n_frames];
	size_t max = MIN(c->credit, (uint32_t)WIRE_DATA_MAX);

	*f = (struct link_frame){ .stream = s, .channel = channel };
	f->size = link->options.source.peek(s->userdata ? s->userdata : link->options.userdata,
					    s->id, channel, max, &f->chunk);
	if (f->size == 0)
		return false;
	assert(f->size <= max && f->size == f->chunk.iov[0].iov_len + f->chunk.iov[1].iov_len);

	struct wire_header h = {
		.length = (uint32_t)(WIRE_DATA_PREFIX + f->size),
		.type = WIRE_DATA,
		.flags = (uint8_t)channel,
		.stream = s->id,
	};
	uint8_t head[LINK_DATA_HEAD];
	wire_header_encode(&h, head);
	wire_put_u64(head + WIRE_HEADER_SIZE, f->chunk.offset);
	f->head = stage(link, head, sizeof(head));
	offer(list, f->head, sizeof(head));
	for (unsigned i = 0; i < 2; i++) {
		const struct iovec *iov = &f->chunk.iov[i];
		if (f->size <= LINK_COALESCE_MAX && iov->iov_len)
			offer(list, stage(link, iov->iov_base, iov->iov_len), iov->iov_len);
		else
			offer(list, iov->iov_base, iov->iov_len);
	}
	link->n_frames++;
	return true;
}

int wire_link_output(struct wire_link *link, struct iovec *iov, int count)
{
	assert(count >= WIRE_OUTPUT_IOVS_MIN);
	link->offering = false; /* an offer that was not taken up is void */
	link_close_flush(link);

	struct iov_list list = { .iov = iov, .max = count };
	link->n_frames = 0;
	link->stage_used = 0;
	link->offered_spill = link->spill_tail - link->spill_head;
	link->offered_control = link->control.size;

	offer(&list, link->spill + link->spill_head, link->offered_spill);
	if (link->offered_control <= LINK_COALESCE_MAX && link->offered_control > 0)
		offer(&list, stage(link, buffer_front(&link->control), link->offered_control),
		      link->offered_control);
	else
		offer(&list, buffer_front(&link->control), link->offered_control);

	link->offering = true; /* a source must not queue: the queue's memory is in iov */
	if (sends_data(link)) {
		LIST_FOREACH_SAFE (i, &link->ready) {
			if (link->n_frames == LINK_OUTPUT_FRAMES || list.max - list.n < 3)
				break;
			struct link_channel *c = LIST_ENTRY(i, struct link_channel, ready);
			if (!offer_frame(link, c, &list))
				list_remove(&c->ready);
		}
	}
	link->offering = list.n > 0;
	return list.n;
}

/* ---- sent ---- */

static size_t sent_spill(struct wire_link *link, size_t n)
{
	n = MIN(n, link->offered_spill);
	link->spill_head += n;
	if (link->spill_head == link->spill_tail)
		link->spill_head = link->spill_tail = 0;
	return n;
}

static size_t sent_control(struct wire_link *link, size_t n)
{
	n = MIN(n, link->offered_control);
	size_t left = n;
	while (left > 0) {
		if (link->control_partial == 0)
			link->control_partial =
				WIRE_HEADER_SIZE + wire_get_u32(buffer_front(&link->control));
		size_t k = MIN(left, link->control_partial);
		buffer_consume(&link->control, k);
		link->control_partial -= k;
		left -= k;
	}
	return n;
}

/* Keeps what is left of a frame after its first `sent` bytes. */
static void spill_rest(struct wire_link *link, const struct link_frame *f, size_t sent)
{
	const struct iovec pieces[] = {
		{ .iov_base = (void *)f->head, .iov_len = LINK_DATA_HEAD },
		f->chunk.iov[0],
		f->chunk.iov[1],
	};
	assert(link->spill_tail == 0);
	for (unsigned i = 0; i < ARRAY_SIZE(pieces); i++) {
		size_t skip = MIN(sent, pieces[i].iov_len);
		size_t n = pieces[i].iov_len - skip;
		if (n)
			memcpy(link->spill + link->spill_tail,
			       (const uint8_t *)pieces[i].iov_base + skip, n);
		link->spill_tail += n;
		sent -= skip;
	}
}

static void sent_frame(struct wire_link *link, struct link_frame *f)
{
	struct link_stream *s = f->stream;
	struct link_channel *c = &s->channels[f->channel];
	c->credit -= (uint32_t)f->size;
	c->end = f->chunk.offset + f->size;
	/* To the end of the line, or out of it until there is credit again. */
	list_remove(&c->ready);
	c->waiting = true;
	link_channel_wake(s, f->channel);
	link->options.source.consumed(s->userdata ? s->userdata : link->options.userdata, s->id,
				      f->channel, f->size);
}

void wire_link_sent(struct wire_link *link, size_t n)
{
	link->offering = false;
	n -= sent_spill(link, n);
	n -= sent_control(link, n);

	unsigned frames = link->n_frames;
	link->n_frames = 0;
	for (unsigned i = 0; i < frames && n > 0; i++) {
		struct link_frame *f = &link->frames[i];
		size_t size = LINK_DATA_HEAD + f->size;
		size_t k = MIN(n, size);
		if (k < size)
			spill_rest(link, f, k);
		n -= k;
		sent_frame(link, f);
	}
	assert(n == 0);
	buffer_trim(&link->control, LINK_CONTROL_KEEP);
}
