/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_ATTACH_SCREEN_H
#define LIB_ATTACH_SCREEN_H

/*
 * What a command writes to a terminal, on its way to the user's.
 *
 * Output that is shown again to a terminal that was not there when it was written must not make that
 * terminal answer: the answers would be typed into the command. attach_screen_filter() leaves the
 * questions out. Every other byte passes as it is; only sequences that were broken off by another
 * one, which terminals throw away themselves, go with them, so that what is left out never
 * makes a sequence of what is around it.
 *
 * What the command has switched on in the user's terminal (screen.modes) has to be switched off when
 * the user leaves it, and on again after a suspension.
 *
 * No I/O, no allocation. The bytes are a guest's: whatever they are, the state stays within these
 * bounds, and costs a constant per byte.
 */

#include "base/screen.h"

/*
 * The most of a sequence that waits for its end to be judged. No question is as long; what is longer
 * (pictures, the clipboard) is let go.
 */
#define ATTACH_SCREEN_HOLD 4096

struct attach_screen {
	struct screen screen;
	bool passing; /* the sequence is let go as it comes */
	size_t n_held;
	uint8_t held[ATTACH_SCREEN_HOLD];
};

void attach_screen_init(struct attach_screen *s);

/* Output that passed as it is. */
void attach_screen_follow(struct attach_screen *s, const uint8_t *data, size_t n);

/*
 * Output that is shown again: writes what is to be shown to out, which has room for
 * n + 2 * ATTACH_SCREEN_HOLD, and returns its size. What may become a question waits.
 */
size_t attach_screen_filter(struct attach_screen *s, const uint8_t *data, size_t n, uint8_t *out);
/*
 * The end of that, before the first byte that is new. A question that ends in what is new was seen
 * whole by no terminal, so it is this one that has to answer: what waits is shown. Writes at most
 * ATTACH_SCREEN_HOLD bytes.
 */
size_t attach_screen_release(struct attach_screen *s, uint8_t *out);

/*
 * Before that: what sets the terminal to the modes that the command's has by then, which are those of
 * the control sequences `wanted`. What is shown may begin after what has set them. Nothing where they
 * are set. At most ATTACH_SCREEN_ADJUST bytes.
 */
#define ATTACH_SCREEN_ADJUST (2 * SCREEN_MODES_BYTES)
size_t attach_screen_adjust(struct attach_screen *s, const void *wanted, size_t n, uint8_t *out);

/*
 * What ends, in the terminal and here, the sequence that the output has been cut off in: after a gap
 * in it, and before anything else is written to the terminal. At most ATTACH_SCREEN_CANCEL bytes.
 */
#define ATTACH_SCREEN_CANCEL 3
size_t attach_screen_cancel(struct attach_screen *s, uint8_t *out);

#endif
