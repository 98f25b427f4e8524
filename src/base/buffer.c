/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buffer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_FIRST_ALLOCATION 512

void buffer_init(struct buffer *b, size_t max)
{
	*b = (struct buffer){ .max = max };
}

void buffer_done(struct buffer *b)
{
	free(b->data);
	buffer_init(b, b->max);
}

int buffer_reserve(struct buffer *b, size_t n, uint8_t **ret_end)
{
	if (n > b->max - b->size)
		return -ENOBUFS;

	if (n > b->allocated - b->head - b->size && b->head > 0) {
		if (b->size)
			memmove(b->data, b->data + b->head, b->size);
		b->head = 0;
	}
	if (n > b->allocated - b->size) {
		size_t want = MAX(b->allocated, (size_t)BUFFER_FIRST_ALLOCATION);
		while (want < b->size + n)
			want = want > b->max / 2 ? b->max : want * 2;
		want = MAX(want, b->size + n);
		uint8_t *data = realloc(b->data, want);
		if (!data)
			return -ENOMEM;
		b->data = data;
		b->allocated = want;
	}
	if (ret_end)
		*ret_end = b->data ? b->data + b->head + b->size : NULL;
	return 0;
}

void buffer_commit(struct buffer *b, size_t n)
{
	assert(n <= b->allocated - b->head - b->size);
	b->size += n;
}

int buffer_append(struct buffer *b, const void *data, size_t n)
{
	uint8_t *end;
	int r = buffer_reserve(b, n, &end);
	if (r < 0)
		return r;
	if (n) {
		assert(end); /* room for a byte is somewhere */
		memcpy(end, data, n);
	}
	b->size += n;
	return 0;
}

void buffer_consume(struct buffer *b, size_t n)
{
	assert(n <= b->size);
	b->head += n;
	b->size -= n;
	if (b->size == 0)
		b->head = 0;
}

void buffer_trim(struct buffer *b, size_t keep)
{
	if (b->size == 0 && b->allocated > keep)
		buffer_done(b);
}
