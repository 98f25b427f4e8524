/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_SCREEN_H
#define BASE_SCREEN_H

/*
 * Follows what a command writes to a terminal, as the terminal does: the parser is that of a VT500,
 * with what xterm and others have added. It learns what the command has switched on (`modes`), and
 * tells which sequences are questions, those that terminals answer.
 *
 * No I/O, no allocation. The bytes are a guest's: whatever they are, the state stays within these
 * bounds, and costs a constant per byte.
 */

#include "base/screen-modes.h"

enum screen_state {
	SCREEN_GROUND,	      /* text */
	SCREEN_C2,	      /* first byte of a UTF-8 character that may be a C1 control */
	SCREEN_ESCAPE,	      /* after ESC and its intermediates */
	SCREEN_CONTROL,	      /* after CSI */
	SCREEN_STRING,	      /* after OSC, DCS, APC, PM or SOS, to ST (of OSC: or BEL) */
	SCREEN_STRING_ESCAPE, /* after ESC in it: ST, if a backslash follows */
	SCREEN_STRING_C2,     /* after 0xC2 in it: ST, if 0x9C follows */
};

struct screen {
	enum screen_state state;
	struct screen_control control; /* the sequence so far; of ESC as well */
	uint8_t string;		       /* what began the string: the byte after ESC */
	struct screen_modes modes;
};

/* What becomes of a byte, and of those before it that belong to the same sequence. */
enum screen_verdict {
	SCREEN_TEXT,	 /* it stands for itself; a sequence, if there is one, goes on around it */
	SCREEN_OMIT,	 /* the same, and it is a question */
	SCREEN_WAIT,	 /* the sequence goes on */
	SCREEN_PASS,	 /* the sequence ends with it */
	SCREEN_QUESTION, /* the same, and it is a question */
	SCREEN_END,	 /* the end of a string by one byte (BEL) */
	SCREEN_END_TWO,	 /* by two bytes (ST) */
	/* The sequence was broken off before it: the byte is to be looked at again. */
	SCREEN_BROKEN,
};

/* Zero is ready for use. */
enum screen_verdict screen_step(struct screen *s, uint8_t byte);
void screen_follow(struct screen *s, const void *data, size_t n);

#endif
