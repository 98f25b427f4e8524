/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HARNESS_TERMINAL_PRIVATE_H
#define HARNESS_TERMINAL_PRIVATE_H

/*
 * terminal.c has the pty, the waiting and the program; terminal-screen.c the emulator.
 */

#include <sys/types.h>
#include <termios.h>
#include <vterm.h>

#include "harness/terminal.h"

#define TERMINAL_TEXTS 16

struct terminal_buffer {
	char *data;
	size_t size, capacity;
};

void terminal_buffer_add(struct terminal_buffer *b, const void *data, size_t n);
void terminal_buffer_drop(struct terminal_buffer *b, size_t n);

enum terminal_state {
	TERMINAL_EMPTY,	  /* nothing was started in this pty */
	TERMINAL_RUNNING, /* runs */
	TERMINAL_STOPPED, /* the shell is in the foreground and waits to be told */
	TERMINAL_ENDED,	  /* wait_status is its end; the shell still holds the session */
};

struct terminal {
	unsigned rows, cols;
	int deadline_ms;
	unsigned long long wait_end;

	/* The pty. The slave is held open, so that settings can be read when all have left. */
	int master, slave;
	struct termios start;
	unsigned marks; /* see terminal.c */

	/* The shell, and the program in it. */
	pid_t shell, program;
	int shell_fd;
	enum terminal_state state;
	int wait_status;

	VTerm *vterm;
	VTermScreen *screen;
	VTermState *vterm_state;
	bool altscreen, cursor_visible, reverse;
	int mouse;
	struct terminal_buffer title;
	unsigned bells;

	/* Where the emulator's words go: to the program as answers, as typed keys, or to `probed`. */
	enum { TERMINAL_ANSWERS, TERMINAL_TYPES, TERMINAL_PROBED } says;
	struct terminal_buffer probed;
	struct terminal_buffer answers;
	struct terminal_buffer to_program;

	struct terminal_buffer log;
	uint64_t total;

	struct terminal_buffer texts[TERMINAL_TEXTS];
	unsigned next_text;
};

void terminal_screen_init(struct terminal *t);
void terminal_screen_done(struct terminal *t);
void terminal_screen_feed(struct terminal *t, const char *data, size_t n);

/* One of the buffers for strings, emptied. */
struct terminal_buffer *terminal_text(struct terminal *t);

#endif
