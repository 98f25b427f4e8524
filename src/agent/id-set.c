/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/id-set.h"

#include <stdlib.h>
#include <string.h>

#include "agent/poison.h"

#define ID_SET_FIRST_SLOTS 64

/* FNV-1a, 64 bits. */
uint64_t id_hash(const void *id, size_t size)
{
	const uint8_t *p = id;
	uint64_t h = 0xcbf29ce484222325u;
	for (size_t i = 0; i < size; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return h;
}

static uint64_t hash_of(const char *id)
{
	uint64_t h = id_hash(id, strlen(id));
	return h ? h : 1;
}

/* The slot with the hash, or the empty one where it would go. */
static uint64_t *slot_of(const struct id_set_table *table, uint64_t hash)
{
	size_t i = (size_t)(hash ^ hash >> 32) & (table->n_slots - 1);
	while (table->slots[i] && table->slots[i] != hash)
		i = (i + 1) & (table->n_slots - 1);
	return &table->slots[i];
}

static bool table_has(const struct id_set_table *table, uint64_t hash)
{
	return table->n_slots && *slot_of(table, hash);
}

/* At least half of the slots stay empty. */
static bool table_make_room(struct id_set_table *table)
{
	if (table->used < table->n_slots / 2)
		return true;
	struct id_set_table bigger = {
		.n_slots = table->n_slots ? table->n_slots * 2 : ID_SET_FIRST_SLOTS,
		.used = table->used,
	};
	bigger.slots = calloc(bigger.n_slots, sizeof(*bigger.slots));
	if (!bigger.slots)
		return false;
	for (size_t i = 0; i < table->n_slots; i++)
		if (table->slots[i])
			*slot_of(&bigger, table->slots[i]) = table->slots[i];
	free(table->slots);
	*table = bigger;
	return true;
}

void id_set_add(struct id_set *set, const char *id)
{
	uint64_t hash = hash_of(id);
	if (set->newer.used == ID_SET_GENERATION) {
		free(set->older.slots);
		set->older = set->newer;
		set->newer = (struct id_set_table){ 0 };
	}
	if (table_has(&set->newer, hash) || !table_make_room(&set->newer))
		return;
	*slot_of(&set->newer, hash) = hash;
	set->newer.used++;
}

bool id_set_has(const struct id_set *set, const char *id)
{
	uint64_t hash = hash_of(id);
	return table_has(&set->newer, hash) || table_has(&set->older, hash);
}

void id_set_done(struct id_set *set)
{
	free(set->newer.slots);
	free(set->older.slots);
	*set = (struct id_set){ 0 };
}
