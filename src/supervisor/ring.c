/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor/ring.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/limits.h"

#define RING_FIRST_ALLOCATION 4096u

/* Small enough to leave to a stream for its life. */
#define RING_KEEP (16u * 1024)

void ring_done(struct ring *ring)
{
	free(ring->data);
	free(ring->others);
	*ring = (struct ring){ 0 };
}

static int grow(struct ring *ring, uint32_t want)
{
	uint32_t allocated = MAX(ring->allocated, RING_FIRST_ALLOCATION);
	while (allocated < want)
		allocated *= 2;
	uint8_t *data = malloc(allocated);
	if (!data)
		return -ENOMEM;
	uint32_t n = MIN(ring->size, ring->allocated - ring->head);
	if (ring->size) {
		memcpy(data, ring->data + ring->head, n);
		memcpy(data + n, ring->data, ring->size - n);
	}
	free(ring->data);
	ring->data = data;
	ring->allocated = allocated;
	ring->head = 0;
	return 0;
}

static struct ring_piece *piece(struct ring *ring, unsigned i)
{
	return i == 0 ? &ring->first : &ring->others[i - 1];
}

/* The piece that the bytes at this offset belong to: the last one, or a new one. */
static int piece_for(struct ring *ring, uint64_t offset, struct ring_piece **ret)
{
	if (ring->n_pieces > 0) {
		struct ring_piece *last = piece(ring, ring->n_pieces - 1);
		if (last->offset + last->size == offset) {
			*ret = last;
			return 0;
		}
		if (ring->n_pieces > RING_GAPS_MAX)
			return -EOVERFLOW;
		if (!ring->others) {
			ring->others = calloc(RING_GAPS_MAX, sizeof(*ring->others));
			if (!ring->others)
				return -ENOMEM;
		}
	}
	*ret = piece(ring, ring->n_pieces);
	**ret = (struct ring_piece){ .offset = offset };
	ring->n_pieces++;
	return 0;
}

int ring_push(struct ring *ring, uint64_t offset, const void *data, size_t n)
{
	if (n == 0)
		return 0;
	if (n > WIRE_WINDOW_MAX - ring->size)
		return -ENOBUFS;
	if (n > ring->allocated - ring->size) {
		int r = grow(ring, ring->size + (uint32_t)n);
		if (r < 0)
			return r;
	}
	struct ring_piece *p;
	int r = piece_for(ring, offset, &p);
	if (r < 0)
		return r;

	uint32_t tail = (ring->head + ring->size) & (ring->allocated - 1);
	size_t k = MIN(n, (size_t)(ring->allocated - tail));
	memcpy(ring->data + tail, data, k);
	memcpy(ring->data, (const uint8_t *)data + k, n - k);
	ring->size += (uint32_t)n;
	p->size += (uint32_t)n;
	return 0;
}

size_t ring_peek(const struct ring *ring, size_t max, struct wire_chunk *ret)
{
	if (ring->size == 0)
		return 0;
	size_t n = MIN(max, (size_t)ring->first.size);
	size_t k = MIN(n, (size_t)(ring->allocated - ring->head));
	*ret = (struct wire_chunk){
		.offset = ring->first.offset,
		.iov = { { .iov_base = ring->data + ring->head, .iov_len = k },
			 { .iov_base = ring->data, .iov_len = n - k } },
	};
	return n;
}

void ring_consume(struct ring *ring, size_t n)
{
	assert(n <= ring->first.size && n <= ring->size);
	ring->size -= (uint32_t)n;
	/* An empty ring starts over at the front, where its memory is warm. */
	ring->head = ring->size ? (ring->head + (uint32_t)n) & (ring->allocated - 1) : 0;
	ring->first.offset += n;
	ring->first.size -= (uint32_t)n;
	if (ring->first.size > 0 || ring->n_pieces == 0)
		return;
	ring->n_pieces--;
	if (ring->n_pieces > 0) {
		ring->first = ring->others[0];
		memmove(ring->others, ring->others + 1,
			(ring->n_pieces - 1) * sizeof(*ring->others));
	}
}

void ring_trim(struct ring *ring)
{
	if (ring->size == 0 && (ring->allocated > RING_KEEP || ring->others))
		ring_done(ring);
}
