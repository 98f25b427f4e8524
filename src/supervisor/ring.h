/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUPERVISOR_RING_H
#define SUPERVISOR_RING_H

/*
 * The bytes of one channel that have come in and not yet gone out, with their offsets. It holds
 * what the receiver gave credit for and no more, so it grows when the receiver is slow and is
 * almost always empty otherwise. Offsets may jump where a viewer chose to lose bytes.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"
#include "wire/link.h"

struct ring_piece {
	uint64_t offset;
	uint32_t size;
};

struct ring {
	uint8_t *data;
	uint32_t allocated; /* a power of two, or 0 */
	uint32_t head;
	uint32_t size;
	unsigned n_pieces;	   /* runs of bytes without a jump */
	struct ring_piece first;   /* the piece at the front */
	struct ring_piece *others; /* RING_GAPS_MAX more, allocated when offsets first jump */
};

void ring_done(struct ring *ring);

/*
 * -ENOMEM; -ENOBUFS past WIRE_WINDOW_MAX bytes, which no credit allows; -EOVERFLOW past
 * RING_GAPS_MAX jumps. Nothing is changed then.
 */
int ring_push(struct ring *ring, uint64_t offset, const void *data, size_t n) _must_check_;

/* The next bytes, at most max, all of one piece. Returns their number. */
size_t ring_peek(const struct ring *ring, size_t max, struct wire_chunk *ret);
void ring_consume(struct ring *ring, size_t n);

/* Gives back the memory of an empty ring that has grown. */
void ring_trim(struct ring *ring);

#endif
