/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/keep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define KEEP_FIRST_ALLOCATION 512
#define KEEP_SPARE_MAX	      65536

void keep_init(struct keep *k, uint64_t max, bool tail)
{
	*k = (struct keep){ .max = (size_t)MIN(max, (uint64_t)(SIZE_MAX / 2)), .tail = tail };
}

void keep_done(struct keep *k)
{
	free(k->data);
	k->data = NULL;
}

static int grow(struct keep *k, size_t size)
{
	if (size < k->allocated)
		return 0;
	size_t want = MAX(k->allocated, (size_t)KEEP_FIRST_ALLOCATION);
	while (want <= size)
		want *= 2; /* max is at most SIZE_MAX / 2 */
	want = MIN(want, k->max + 1);
	char *data = realloc(k->data, want);
	if (!data)
		return -ENOMEM;
	k->data = data;
	k->allocated = want;
	return 0;
}

/* Over the oldest bytes of a tail that is full. */
static void overwrite(struct keep *k, const char *p, size_t n)
{
	while (n > 0) {
		size_t piece = MIN(n, k->max - k->start);
		memcpy(k->data + k->start, p, piece);
		k->start = (k->start + piece) % k->max;
		p += piece;
		n -= piece;
	}
}

int keep_add(struct keep *k, const void *data, size_t n)
{
	const char *p = data;
	if (k->tail && n > k->max) {
		p += n - k->max;
		n = k->max;
		k->cut = true;
	}
	size_t fits = MIN(n, k->max - k->size);
	int r = grow(k, k->size + fits);
	if (r < 0)
		return r;
	if (fits)
		memcpy(k->data + k->size, p, fits);
	k->size += fits;
	if (fits < n) {
		k->cut = true;
		if (k->tail)
			overwrite(k, p + fits, n - fits);
	}
	return 0;
}

static void reverse(char *p, size_t n)
{
	for (size_t i = 0; i < n / 2; i++) {
		char c = p[i];
		p[i] = p[n - 1 - i];
		p[n - 1 - i] = c;
	}
}

int keep_take(struct keep *k, char **ret, size_t *ret_size)
{
	int r = grow(k, k->size);
	if (r < 0)
		return r;
	if (k->start > 0) { /* rotate in place: there may be no memory for a second copy */
		reverse(k->data, k->start);
		reverse(k->data + k->start, k->size - k->start);
		reverse(k->data, k->size);
		k->start = 0;
	}
	k->data[k->size] = 0;
	if (k->allocated - k->size > KEEP_SPARE_MAX) { /* it may be kept for long */
		char *fitting = realloc(k->data, k->size + 1);
		if (fitting)
			k->data = fitting;
	}
	*ret_size = k->size;
	*ret = TAKE_PTR(k->data);
	return 0;
}
