/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_RING_H
#define AGENT_RING_H

/*
 * The last bytes of an output channel, addressed by their offset in it. Offsets count from the
 * command's first byte and never wrap. Memory grows with what is written, up to the capacity; from
 * then on the oldest bytes are overwritten.
 *
 * Byte o is at data[o % allocated], so growing keeps bytes in place until the first wrap.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/macro.h"

struct ring {
	uint8_t *data;
	size_t allocated;
	size_t capacity;
	uint64_t start; /* the oldest byte still there */
	uint64_t end;	/* after the newest: the number of bytes ever written */
};

/* What a session has before its first output, so that reading that never lacks memory. */
#define RING_FIRST_ALLOCATION 4096

int ring_init(struct ring *r, size_t capacity) _must_check_;
void ring_done(struct ring *r);

/*
 * Room for up to `want` more bytes that overwrites no byte at or after offset `keep`. Returns its
 * size, 0 when there is none. Without memory to grow, the ring makes do with what it has. Nothing
 * else is called between this and commit.
 */
size_t ring_prepare(struct ring *r, uint64_t keep, size_t want, struct iovec ret[2]);
/* The first n bytes of the room were filled. */
void ring_commit(struct ring *r, size_t n);

/* Makes room beyond the capacity: for n bytes after what is kept. -ENOMEM. */
int ring_extend(struct ring *r, uint64_t keep, size_t n) _must_check_;

/* Up to max bytes from offset on, which must be between start and end. */
size_t ring_peek(const struct ring *r, uint64_t offset, size_t max, struct iovec ret[2]);

/*
 * Drops what is before the offset, which must not be after the end. A ring that is empty then keeps
 * `spare` bytes of memory.
 */
void ring_drop(struct ring *r, uint64_t offset, size_t spare);

/* Gives back memory that holds nothing: nothing more is expected, but may still be written. */
void ring_trim(struct ring *r);

#endif
