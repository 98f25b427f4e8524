/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_SCREEN_MODES_H
#define BASE_SCREEN_MODES_H

/*
 * What a command has switched on in the user's terminal, learned from its control sequences
 * (screen.h finds those), and how to put that back. No I/O, no allocation.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers of one control sequence; terminals ignore more than 16 to 32 of them. */
#define SCREEN_PARAMS_MAX 32
/* Keyboard modes that a program has put on the terminal's stack; terminals keep few. */
#define SCREEN_KEYBOARDS_MAX 8
/* What undo and redo write at most: all modes that are known, and then some. */
#define SCREEN_MODES_BYTES 1024

struct screen_control {
	uint8_t prefix;	      /* one of < = > ?, or 0 */
	uint8_t intermediate; /* the last one, or 0 */
	uint8_t n_intermediates;
	uint8_t final;
	unsigned params[SCREEN_PARAMS_MAX];
	bool colons[SCREEN_PARAMS_MAX]; /* the parameter has parts */
	unsigned n_params;
};

/* What is put away and back by DECSC and DECRC, and with the second screen. */
struct screen_cursor {
	bool style;   /* colours and such */
	bool charset; /* G0 is not ASCII */
	bool shifted; /* G1 is in use */
	bool origin;
};

/* kitty's keyboard flags: those in use, and those put on the stack before. */
struct screen_keyboard {
	uint8_t flags;
	uint8_t stack[SCREEN_KEYBOARDS_MAX]; /* the latest */
	unsigned pushed;		     /* how many there should be */
};

/* Zero is how a terminal is after a reset. */
struct screen_modes {
	uint32_t private_modes; /* bits by a table in the .c: not as after a reset */
	uint32_t ansi_modes;
	bool keypad;
	unsigned cursor_shape;
	unsigned modify_keys; /* xterm's modifyOtherKeys */
	unsigned top, bottom; /* the scroll region; 0, 0: everything */
	struct screen_cursor cursor;
	struct screen_cursor saved;
	struct screen_keyboard keyboards[2]; /* of the first and the second screen */
};

void screen_modes_execute(struct screen_modes *m, uint8_t control);
/* ESC, an intermediate or 0, a final byte. */
void screen_modes_escape(struct screen_modes *m, uint8_t intermediate, uint8_t final);
/* CSI … */
void screen_modes_control(struct screen_modes *m, const struct screen_control *c);

size_t screen_modes_undo(const struct screen_modes *m, uint8_t out[static SCREEN_MODES_BYTES]);
size_t screen_modes_redo(const struct screen_modes *m, uint8_t out[static SCREEN_MODES_BYTES]);

#endif
