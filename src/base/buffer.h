/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

/*
 * A growable byte queue with a mandatory maximum: append at the end, consume from the front.
 * Nothing grows without somebody having said how far.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"

struct buffer {
	uint8_t *data; /* the first byte that was not consumed is data[head] */
	size_t head;
	size_t size; /* bytes held, not counting the consumed ones */
	size_t allocated;
	size_t max; /* the most that `size` may become */
};

void buffer_init(struct buffer *b, size_t max);
void buffer_done(struct buffer *b); /* frees the memory; the buffer is empty and usable again */

/* Room for n more bytes after the end. -ENOBUFS past max, -ENOMEM; nothing changed on failure. */
int buffer_reserve(struct buffer *b, size_t n, uint8_t **ret_end) _must_check_;
/* Counts n bytes, written into the room last reserved, as held. */
void buffer_commit(struct buffer *b, size_t n);
int buffer_append(struct buffer *b, const void *data, size_t n) _must_check_;
void buffer_consume(struct buffer *b, size_t n);
/* Gives memory back when the buffer is empty and larger than `keep`. */
void buffer_trim(struct buffer *b, size_t keep);

static inline uint8_t *buffer_front(const struct buffer *b)
{
	return b->data ? b->data + b->head : NULL;
}

#endif
