/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_ATTACH_SCREEN_H
#define LIB_ATTACH_SCREEN_H

/*
 * Follows what a command writes to a terminal, as the terminal does (the parser is that of a VT500,
 * with what xterm and others have added). For two ends:
 *
 * Output that is shown again to a terminal that was not there when it was written must not make that
 * terminal answer: the answers would be typed into the command. attach_screen_filter() leaves the
 * questions out. Every other byte passes as it is; only sequences that were broken off by another
 * one, which terminals throw away themselves, go with them, so that what is left out never
 * makes a sequence of what is around it.
 *
 * What the command has switched on in the user's terminal (`modes`) has to be switched off when the
 * user leaves it, and on again after a suspension.
 *
 * No I/O, no allocation. The bytes are a guest's: whatever they are, the state stays within these
 * bounds, and costs a constant per byte.
 */

#include "lib/attach-modes.h"

/*
 * The most of a sequence that waits for its end to be judged. No question is as long; what is longer
 * (pictures, the clipboard) is let go.
 */
#define ATTACH_SCREEN_HOLD 4096

enum attach_screen_state {
	SCREEN_GROUND,	      /* text */
	SCREEN_C2,	      /* first byte of a UTF-8 character that may be a C1 control */
	SCREEN_ESCAPE,	      /* after ESC and its intermediates */
	SCREEN_CONTROL,	      /* after CSI */
	SCREEN_STRING,	      /* after OSC, DCS, APC, PM or SOS, to ST (of OSC: or BEL) */
	SCREEN_STRING_ESCAPE, /* after ESC in it: ST, if a backslash follows */
	SCREEN_STRING_C2,     /* after 0xC2 in it: ST, if 0x9C follows */
};

struct attach_screen {
	enum attach_screen_state state;
	struct attach_control control; /* the sequence so far; of ESC as well */
	uint8_t string;		       /* what began the string: the byte after ESC */
	struct attach_modes modes;

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
 * What ends, in the terminal and here, the sequence that the output has been cut off in: after a gap
 * in it, and before anything else is written to the terminal. At most ATTACH_SCREEN_CANCEL bytes.
 */
#define ATTACH_SCREEN_CANCEL 3
size_t attach_screen_cancel(struct attach_screen *s, uint8_t *out);

#endif
