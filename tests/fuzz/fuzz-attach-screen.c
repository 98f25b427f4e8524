/* SPDX-License-Identifier: Apache-2.0 */

/* A guest's output to the user's terminal: shown again in any pieces, then as it comes, then left. */

#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "lib/attach-screen.h"

struct shown {
	uint8_t *data;
	size_t n;
};

/* In pieces of the given sizes, in turn. */
static struct shown show(const uint8_t *data, size_t size, size_t piece)
{
	static struct attach_screen s;
	struct shown shown = { malloc(2 * size + 3 * ATTACH_SCREEN_HOLD), 0 };
	FUZZ_CHECK(shown.data);
	attach_screen_init(&s);
	for (size_t i = 0, n; i < size; i += n) {
		n = piece < size - i ? piece : size - i;
		size_t k = attach_screen_filter(&s, data + i, n, shown.data + shown.n);
		FUZZ_CHECK(k <= n + 2 * ATTACH_SCREEN_HOLD);
		FUZZ_CHECK(s.n_held <= ATTACH_SCREEN_HOLD);
		shown.n += k;
	}
	shown.n += attach_screen_release(&s, shown.data + shown.n);
	return shown;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct attach_screen s;
	uint8_t out[SCREEN_MODES_BYTES];
	size_t piece = size ? 1 + data[0] % 16 : 1;

	struct shown whole = show(data, size, size ? size : 1), parts = show(data, size, piece);
	FUZZ_CHECK(whole.n == parts.n && memcmp(whole.data, parts.data, whole.n) == 0);
	/* What is left has no questions, so it loses nothing the second time. */
	struct shown again = show(whole.data, whole.n, piece);
	FUZZ_CHECK(again.n == whole.n && memcmp(again.data, whole.data, whole.n) == 0);
	free(whole.data);
	free(parts.data);
	free(again.data);

	attach_screen_init(&s);
	attach_screen_follow(&s, data, size);
	size_t n = screen_modes_redo(&s.screen.modes, out);
	FUZZ_CHECK(n <= sizeof(out));
	(void)attach_screen_cancel(&s, out);
	n = screen_modes_undo(&s.screen.modes, out);
	attach_screen_follow(&s, out, n);
	FUZZ_CHECK(s.screen.state == SCREEN_GROUND);
	FUZZ_CHECK(screen_modes_undo(&s.screen.modes, out) == 0);
	return 0;
}
