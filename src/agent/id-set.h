/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_ID_SET_H
#define AGENT_ID_SET_H

/*
 * Which ids of forgotten sessions were used before: an id names one command for the life of the
 * sandbox, so the command is not run again when its result is gone.
 *
 * Only hashes are kept, eight bytes each, in two generations. When the newer one is full the older
 * one is dropped, so an id is remembered for at least ID_SET_GENERATION further ones.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"

/* 2 × 4 MiB in the end, which takes a quarter of a million commands to get to. */
#define ID_SET_GENERATION (256u * 1024)

struct id_set_table {
	uint64_t *slots; /* open addressing; 0 is an empty slot */
	size_t n_slots;	 /* a power of two */
	size_t used;
};

struct id_set {
	struct id_set_table newer;
	struct id_set_table older;
};

/* Without memory for it the id is not remembered: the command it named has run, that is all. */
void id_set_add(struct id_set *set, const char *id);
bool id_set_has(const struct id_set *set, const char *id);
void id_set_done(struct id_set *set);

uint64_t id_hash(const void *id, size_t size);

#endif
