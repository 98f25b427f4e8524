/* SPDX-License-Identifier: Apache-2.0 */

/* Any text as detach keys, up to the first NUL; and what follows is typed, at any time, in any pieces. */

#include <string.h>

#include "fuzz.h"
#include "lib/attach-keys.h"

#define TEXT_MAX  64
#define TYPED_MAX 4096

/* The bytes that were typed, and how many of them have come out. */
struct typed {
	uint8_t data[TYPED_MAX];
	size_t n;
	size_t passed;
};

static void feed(struct attach_keys *k, struct typed *t, size_t n, uint64_t now_ms)
{
	uint8_t out[64 + ATTACH_KEYS_LENGTH];
	size_t k_out = attach_keys_feed(k, t->data + t->n, n, now_ms, out);
	t->n += n;
	FUZZ_CHECK(k_out <= n + ATTACH_KEYS_LENGTH);
	FUZZ_CHECK(t->passed + k_out <= t->n);
	FUZZ_CHECK(memcmp(out, t->data + t->passed, k_out) == 0); /* in order, none left out */
	t->passed += k_out;
	if (!k->detached)
		FUZZ_CHECK(t->n - t->passed == k->n_held);
	FUZZ_CHECK(attach_keys_deadline(k) > now_ms); /* never overdue */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	struct attach_keys k;
	struct cove_error err = COVE_ERROR_INIT;
	char text[TEXT_MAX] = { 0 };
	static struct typed t;
	uint64_t now_ms = 0;

	for (size_t i = 0; i + 1 < sizeof(text) && in.left > 0; i++)
		if (!(text[i] = (char)fuzz_u8(&in)))
			break;
	if (attach_keys_init(&k, text, &err) < 0) {
		FUZZ_CHECK(err.code == COVE_E_INVALID && err.message[0]);
		attach_keys_init(&k, "~,. ctrl-p,ctrl-q ctrl-[,x,y", NULL);
	}
	t.n = t.passed = 0;
	while (in.left > 0 && !k.detached) {
		uint8_t what = fuzz_u8(&in);
		size_t n = what & 31;
		if (what & 32)
			now_ms += fuzz_u8(&in) * 4u;
		if (n > in.left)
			n = in.left;
		if (t.n + n > sizeof(t.data))
			break;
		memcpy(t.data + t.n, in.data, n);
		in.data += n;
		in.left -= n;
		feed(&k, &t, n, now_ms);
	}
	if (!k.detached) {
		feed(&k, &t, 0, now_ms + ATTACH_KEYS_HOLD_MS);
		FUZZ_CHECK(k.detached || t.passed == t.n);
	}
	return 0;
}
