/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ring.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/poison.h"

int ring_init(struct ring *r, size_t capacity)
{
	*r = (struct ring){ .capacity = capacity };
	size_t first = MIN(capacity, (size_t)RING_FIRST_ALLOCATION);
	r->data = malloc(first);
	if (!r->data)
		return -ENOMEM;
	r->allocated = first;
	return 0;
}

void ring_done(struct ring *r)
{
	free(r->data);
	*r = (struct ring){ 0 };
}

/* Everything that is held keeps its offset; allocated must not become less than that. */
static int resize(struct ring *r, size_t allocated)
{
	if (r->end <= r->allocated && r->end <= allocated && allocated > 0) {
		/* Never wrapped: every byte is already where it belongs. */
		uint8_t *data = realloc(r->data, allocated);
		if (!data)
			return -ENOMEM;
		r->data = data;
		r->allocated = allocated;
		return 0;
	}

	if (allocated == 0) {
		assert(r->start == r->end);
		free(r->data);
		r->data = NULL;
		r->allocated = 0;
		return 0;
	}
	uint8_t *data = malloc(allocated);
	if (!data)
		return -ENOMEM;
	for (uint64_t o = r->start; o < r->end;) {
		size_t from = (size_t)(o % r->allocated), to = (size_t)(o % allocated);
		size_t n = MIN(r->allocated - from, allocated - to);
		n = (size_t)MIN((uint64_t)n, r->end - o);
		memcpy(data + to, r->data + from, n);
		o += n;
	}
	free(r->data);
	r->data = data;
	r->allocated = allocated;
	return 0;
}

/* As many bytes as `wanted` allocated, or the capacity, or what there is. */
static void grow(struct ring *r, uint64_t wanted)
{
	if (wanted <= r->allocated || r->allocated >= r->capacity)
		return;
	size_t allocated = MAX(r->allocated, (size_t)RING_FIRST_ALLOCATION);
	while (allocated < wanted && allocated < r->capacity)
		allocated = allocated > r->capacity / 2 ? r->capacity : allocated * 2;
	(void)resize(r, MIN(allocated, r->capacity));
}

size_t ring_prepare(struct ring *r, uint64_t keep, size_t want, struct iovec ret[2])
{
	keep = MAX(keep, r->start);
	assert(keep <= r->end);
	grow(r, r->end - r->start + want);

	size_t kept = (size_t)(r->end - keep);
	size_t n = kept < r->allocated ? MIN(want, r->allocated - kept) : 0;
	size_t at = r->allocated ? (size_t)(r->end % r->allocated) : 0;
	size_t first = MIN(n, r->allocated - at);
	ret[0] = (struct iovec){ .iov_base = r->data + at, .iov_len = first };
	ret[1] = (struct iovec){ .iov_base = r->data, .iov_len = n - first };
	return n;
}

void ring_commit(struct ring *r, size_t n)
{
	r->end += n;
	if (r->end - r->start > r->allocated)
		r->start = r->end - r->allocated;
}

int ring_extend(struct ring *r, uint64_t keep, size_t n)
{
	keep = MAX(keep, r->start);
	size_t needed = (size_t)(r->end - keep) + n;
	if (needed <= r->allocated)
		return 0;
	int e = resize(r, needed);
	if (e < 0)
		return e;
	r->capacity = MAX(r->capacity, needed);
	return 0;
}

size_t ring_peek(const struct ring *r, uint64_t offset, size_t max, struct iovec ret[2])
{
	assert(offset >= r->start && offset <= r->end);
	size_t n = (size_t)MIN((uint64_t)max, r->end - offset);
	size_t at = n ? (size_t)(offset % r->allocated) : 0;
	size_t first = MIN(n, r->allocated - at);
	ret[0] = (struct iovec){ .iov_base = r->data + at, .iov_len = first };
	ret[1] = (struct iovec){ .iov_base = r->data, .iov_len = n - first };
	return n;
}

void ring_drop(struct ring *r, uint64_t offset, size_t spare)
{
	assert(offset <= r->end);
	r->start = MAX(r->start, offset);
	if (r->start == r->end && r->allocated > spare)
		(void)resize(r, spare);
}

void ring_trim(struct ring *r)
{
	size_t held = (size_t)(r->end - r->start);
	if (held < r->allocated)
		(void)resize(r, held);
}
