/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_KEEP_H
#define LIB_KEEP_H

/* Keeping output in bounded memory: all of it, its first bytes, or its last ones. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"

struct keep {
	char *data;
	size_t size;	  /* bytes kept */
	size_t allocated; /* one more than can be kept: for a NUL */
	size_t max;
	size_t start; /* of the oldest byte, in a tail that has gone round */
	bool tail;
	bool cut; /* bytes were dropped */
};

void keep_init(struct keep *k, uint64_t max, bool tail);
void keep_done(struct keep *k);
int keep_add(struct keep *k, const void *data, size_t n) _must_check_; /* -ENOMEM */
/* The bytes in one piece with a NUL after them, the caller's to free. -ENOMEM. */
int keep_take(struct keep *k, char **ret, size_t *ret_size) _must_check_;

#endif
