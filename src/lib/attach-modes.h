/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_ATTACH_MODES_H
#define LIB_ATTACH_MODES_H

/*
 * What a command has switched on in the user's terminal, learned from its control sequences
 * (attach-screen.h finds those), and how to put that back. No I/O, no allocation.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers of one control sequence; terminals ignore more than 16 to 32 of them. */
#define ATTACH_PARAMS_MAX 32
/* Keyboard modes that a program has put on the terminal's stack; terminals keep few. */
#define ATTACH_KEYBOARDS_MAX 8
/* What undo and redo write at most: all modes that are known, and then some. */
#define ATTACH_UNDO_BYTES 1024

struct attach_control {
	uint8_t prefix;	      /* one of < = > ?, or 0 */
	uint8_t intermediate; /* the last one, or 0 */
	uint8_t n_intermediates;
	uint8_t final;
	unsigned params[ATTACH_PARAMS_MAX];
	bool colons[ATTACH_PARAMS_MAX]; /* the parameter has parts */
	unsigned n_params;
};

/* What is put away and back by DECSC and DECRC, and with the second screen. */
struct attach_cursor {
	bool style;   /* colours and such */
	bool charset; /* G0 is not ASCII */
	bool shifted; /* G1 is in use */
	bool origin;
};

/* kitty's keyboard flags: those in use, and those put on the stack before. */
struct attach_keyboard {
	uint8_t flags;
	uint8_t stack[ATTACH_KEYBOARDS_MAX]; /* the latest */
	unsigned pushed;		     /* how many there should be */
};

/* Zero is how a terminal is after a reset. */
struct attach_modes {
	uint32_t private_modes; /* bits by a table in the .c: not as after a reset */
	uint32_t ansi_modes;
	bool keypad;
	unsigned cursor_shape;
	unsigned modify_keys; /* xterm's modifyOtherKeys */
	unsigned top, bottom; /* the scroll region; 0, 0: everything */
	struct attach_cursor cursor;
	struct attach_cursor saved;
	struct attach_keyboard keyboards[2]; /* of the first and the second screen */
};

void attach_modes_execute(struct attach_modes *m, uint8_t control);
/* ESC, an intermediate or 0, a final byte. */
void attach_modes_escape(struct attach_modes *m, uint8_t intermediate, uint8_t final);
/* CSI … */
void attach_modes_control(struct attach_modes *m, const struct attach_control *c);

size_t attach_modes_undo(const struct attach_modes *m, uint8_t out[static ATTACH_UNDO_BYTES]);
size_t attach_modes_redo(const struct attach_modes *m, uint8_t out[static ATTACH_UNDO_BYTES]);

#endif
