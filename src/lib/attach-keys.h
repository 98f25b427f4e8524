/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_ATTACH_KEYS_H
#define LIB_ATTACH_KEYS_H

/*
 * Detach keys: reads what the user has chosen, and finds it in what is typed. No I/O, no clock.
 *
 * What may be the beginning of a sequence is held back until it is known, but no byte for longer
 * than ATTACH_KEYS_HOLD_MS. All others are passed on in the order in which they came. When the bytes
 * held back turn out not to be one, only the oldest of them is let go, and the search goes on with
 * the rest: with "ctrl-p,ctrl-q", typing ctrl-p ctrl-p ctrl-q delivers one ctrl-p and detaches.
 *
 * What a terminal pastes comes between two markers, where the program has asked for them (bracketed
 * paste). In between, and for the marker itself, nothing is searched and nothing is held back. The
 * markers are followed as they pass by: an ESC is never delayed in order to see what comes after it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cove/error.h"

#define ATTACH_KEYS_DEFAULT "ctrl-]"
#define ATTACH_KEYS_HOLD_MS 500
/* More than anybody could remember; they bound what is held back and what a key costs. */
#define ATTACH_KEYS_SEQUENCES 8
#define ATTACH_KEYS_LENGTH    16

#define ATTACH_KEYS_NO_DEADLINE UINT64_MAX

struct attach_keys {
	struct {
		uint8_t keys[ATTACH_KEYS_LENGTH];
		size_t n;
	} sequences[ATTACH_KEYS_SEQUENCES];
	size_t n_sequences;

	/* The beginning of at least one sequence, or nothing; and when each came. */
	uint8_t held[ATTACH_KEYS_LENGTH];
	uint64_t held_since_ms[ATTACH_KEYS_LENGTH];
	size_t n_held;

	unsigned marker; /* how much of the marker that is expected next has come */
	bool pasting;
	bool detached; /* a sequence was complete: nothing passes any more */
};

/* text as in cove_attach_options. COVE_E_INVALID: what is wrong with it, and where. */
int attach_keys_init(struct attach_keys *k, const char *text, struct cove_error *err);

/*
 * Takes n bytes and writes to out, which has room for n + ATTACH_KEYS_LENGTH, those that are to be
 * passed on; returns their number. See k->detached afterwards: what came after a sequence is dropped.
 */
size_t attach_keys_feed(struct attach_keys *k, const uint8_t *data, size_t n, uint64_t now_ms,
			uint8_t *out);

/* When attach_keys_feed() is to be called, if only with no bytes. */
uint64_t attach_keys_deadline(const struct attach_keys *k);

#endif
