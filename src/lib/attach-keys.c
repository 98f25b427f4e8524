/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/attach-keys.h"

#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/macro.h"

#define STRINGIFY_(x) #x
#define STRINGIFY(x)  STRINGIFY_(x)

/* ---- what the user has chosen ---- */

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The byte that a key sends; -1: there is no such key. */
static int key_byte(const char *name, size_t n)
{
	if (n == 1)
		return (uint8_t)name[0];
	if (n != 6 || strncasecmp(name, "ctrl-", 5) != 0)
		return -1;
	char c = name[5];
	if (c >= 'a' && c <= 'z')
		c = (char)(c - 'a' + 'A');
	return c >= '@' && c <= '_' ? c - '@' : -1;
}

static int refuse(struct cove_error *err, const char *text, const char *at, const char *what)
{
	return error_set(err, COVE_E_INVALID, "detach_keys: \"%s\": %s at byte %zu", text, what,
			 (size_t)(at - text) + 1);
}

/* One sequence, from `at` to the next white space; *ret_end is there. */
static int read_sequence(struct attach_keys *k, const char *text, const char *at,
			 const char **ret_end, struct cove_error *err)
{
	uint8_t *keys = k->sequences[k->n_sequences].keys;
	size_t n = 0;
	for (;;) {
		size_t length = 0;
		while (at[length] && at[length] != ',' && !is_space(at[length]))
			length++;
		int byte = key_byte(at, length);
		if (length == 0)
			return refuse(err, text, at, "a key is missing");
		if (byte < 0)
			return refuse(err, text, at,
				      "neither a single character nor ctrl- with one of "
				      "a-z @ [ \\ ] ^ _");
		if (n == ATTACH_KEYS_LENGTH)
			return refuse(err, text, at,
				      "more than " STRINGIFY(ATTACH_KEYS_LENGTH) " keys");
		keys[n++] = (uint8_t)byte;
		at += length;
		if (*at != ',')
			break;
		at++;
	}
	k->sequences[k->n_sequences].n = n;
	*ret_end = at;
	return 0;
}

/* Whether one is the beginning of the other: then the longer one is never reached. */
static int check_reached(const struct attach_keys *k, const char *text, const char *at,
			 struct cove_error *err)
{
	size_t last = k->n_sequences;
	for (size_t i = 0; i < last; i++) {
		size_t n = MIN(k->sequences[i].n, k->sequences[last].n);
		if (memcmp(k->sequences[i].keys, k->sequences[last].keys, n) != 0)
			continue;
		if (k->sequences[i].n <= k->sequences[last].n)
			return refuse(err, text, at,
				      "the sequence is never reached, for another is its "
				      "beginning,");
		return refuse(err, text, at,
			      "the sequence is the beginning of another, which is never reached,");
	}
	return 0;
}

int attach_keys_init(struct attach_keys *k, const char *text, struct cove_error *err)
{
	*k = (struct attach_keys){ 0 };
	if (!text)
		text = ATTACH_KEYS_DEFAULT;
	for (const char *at = text;;) {
		while (is_space(*at))
			at++;
		if (!*at)
			return 0;
		if (k->n_sequences == ATTACH_KEYS_SEQUENCES)
			return refuse(err, text, at,
				      "more than " STRINGIFY(ATTACH_KEYS_SEQUENCES) " sequences");
		const char *end = at;
		int r = read_sequence(k, text, at, &end, err);
		if (r == 0)
			r = check_reached(k, text, at, err);
		if (r < 0)
			return r;
		k->n_sequences++;
		at = end;
	}
}

/* ---- what is typed ---- */

struct passed {
	uint8_t *data;
	size_t n;
};

static void release_oldest(struct attach_keys *k, struct passed *out)
{
	out->data[out->n++] = k->held[0];
	k->n_held--;
	memmove(k->held, k->held + 1, k->n_held);
	memmove(k->held_since_ms, k->held_since_ms + 1, k->n_held * sizeof(k->held_since_ms[0]));
}

/* Lets go of what cannot be the beginning of a sequence; sees whether one is there. */
static void search(struct attach_keys *k, struct passed *out)
{
	while (k->n_held > 0) {
		bool possible = false;
		for (size_t i = 0; i < k->n_sequences; i++) {
			size_t n = MIN(k->sequences[i].n, k->n_held);
			if (memcmp(k->sequences[i].keys, k->held, n) != 0)
				continue;
			k->detached = k->detached || n == k->sequences[i].n;
			possible = true;
		}
		if (possible)
			break;
		release_oldest(k, out);
	}
	if (k->detached)
		k->n_held = 0; /* the keys themselves are for nobody */
}

/* True when the byte is the last of the marker that is expected: paste begins, or ends. */
static bool completes_marker(struct attach_keys *k, uint8_t byte)
{
	static const char markers[2][7] = { "\033[200~", "\033[201~" };
	const char *marker = markers[k->pasting];
	if (byte != (uint8_t)marker[k->marker])
		k->marker = 0;
	/* ESC is the only byte that comes twice in none of them, so a new try begins with it. */
	if (byte != (uint8_t)marker[k->marker])
		return false;
	k->marker = (k->marker + 1) % 6;
	return k->marker == 0;
}

static void take(struct attach_keys *k, uint8_t byte, uint64_t now_ms, struct passed *out)
{
	bool marker = completes_marker(k, byte);
	if (marker || k->pasting) {
		while (k->n_held > 0)
			release_oldest(k, out);
		out->data[out->n++] = byte;
		k->pasting = k->pasting != marker;
		return;
	}
	if (k->n_sequences == 0) {
		out->data[out->n++] = byte;
		return;
	}
	/* There is room: what is held is shorter than the sequence it begins. */
	k->held[k->n_held] = byte;
	k->held_since_ms[k->n_held] = now_ms;
	k->n_held++;
	search(k, out);
}

size_t attach_keys_feed(struct attach_keys *k, const uint8_t *data, size_t n, uint64_t now_ms,
			uint8_t *out)
{
	struct passed passed = { .data = out };
	while (!k->detached && attach_keys_deadline(k) <= now_ms) {
		release_oldest(k, &passed);
		search(k, &passed);
	}
	for (size_t i = 0; i < n && !k->detached; i++)
		take(k, data[i], now_ms, &passed);
	return passed.n;
}

uint64_t attach_keys_deadline(const struct attach_keys *k)
{
	return k->n_held == 0 ? ATTACH_KEYS_NO_DEADLINE : k->held_since_ms[0] + ATTACH_KEYS_HOLD_MS;
}
