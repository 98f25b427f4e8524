/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HARNESS_TERMINAL_H
#define HARNESS_TERMINAL_H

/*
 * A terminal with a program in it, as somebody sits in front of: a pty, libvterm as the emulator at
 * its other end, and a small shell that does for the program what a shell with job control does.
 *
 *	_cleanup_(terminal_freep) struct terminal *t = terminal_new(24, 80);
 *	terminal_run(t, (const char *const[]){ "vi", "notes", NULL });
 *	terminal_wait_text(t, "hello");
 *	terminal_type(t, "ix\033:wq\r");
 *	CHECK_INT(terminal_wait_exit(t), ==, 0);
 *	terminal_check_restored(t);
 *
 * The shell is the session's leader; the program has a process group of its own, in the foreground.
 * The terminal is only read and answered inside the calls that wait or type: without those it
 * stands still, and the program gets to feel that.
 *
 * What waits has a deadline, TERMINAL_WAIT_MS from its beginning (terminal_set_deadline()), and
 * fails the test then, with a picture of the screen. Strings that are returned live in one of 16
 * buffers of the terminal, reused in turn.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "harness/tap.h"

#define TERMINAL_WAIT_MS   10000
#define TERMINAL_LOG_BYTES (1u << 20) /* of what came last, for terminal_log() */

struct terminal;

struct terminal *terminal_new(unsigned rows, unsigned cols);
/* Kills what runs in it, with its process group, and closes it. */
struct terminal *terminal_free(struct terminal *t);
DEFINE_CLEANUP(struct terminal *, terminal_free)

void terminal_set_deadline(struct terminal *t, int timeout_ms);

/* Programs ------------------------------------------------------------------------------------- */

struct terminal_program {
	/* A program, looked up in PATH, or a function of the test, whose result is its status. */
	const char *const *argv;
	int (*function)(void *data);
	void *data;
	/* "KEY=value", or "KEY" to take it away. TERM is xterm-256color, COLORTERM unset. */
	const char *const *env;
	/* Three descriptors in place of the terminal for 0, 1 and 2; -1: the terminal. May be NULL. */
	const int *fds;
};

/*
 * Starts a program. One at a time; the second one gets a new pty, as from another window, though the
 * screen stays as the first one left it.
 */
void terminal_run(struct terminal *t, const char *const *argv);
void terminal_run_program(struct terminal *t, const struct terminal_program *program);
void terminal_run_function(struct terminal *t, int (*function)(void *data), void *data);

/* The program; its process group has the same number. */
pid_t terminal_pid(const struct terminal *t);
bool terminal_running(struct terminal *t);

/*
 * Waits until it has ended, and all that it wrote is on the screen. Its status as shells have it: 128
 * + signal.
 */
#define terminal_wait_exit(t) terminal_wait_exit_at(__FILE__, __LINE__, (t))
/* Waits until it was stopped: by which signal. The shell is in the foreground then. */
#define terminal_wait_stopped(t) terminal_wait_stopped_at(__FILE__, __LINE__, (t))
/* fg, or bg: SIGCONT to the process group, with the terminal or without. */
void terminal_continue(struct terminal *t, bool foreground);

/* The window is closed: the shell gets SIGHUP and tells the program's group. */
void terminal_hangup(struct terminal *t);

/* Keys ----------------------------------------------------------------------------------------- */

/* Typed as it is. terminal_write(): any bytes. Fail when nobody reads them before the deadline. */
void terminal_type(struct terminal *t, const char *text);
void terminal_write(struct terminal *t, const void *data, size_t n);

enum terminal_key {
	TERMINAL_UP,
	TERMINAL_DOWN,
	TERMINAL_LEFT,
	TERMINAL_RIGHT,
	TERMINAL_HOME,
	TERMINAL_END,
	TERMINAL_PAGE_UP,
	TERMINAL_PAGE_DOWN,
	TERMINAL_DELETE,
	TERMINAL_F1,
};

/* A key that has an escape sequence: which one depends on the modes that the program has set. */
void terminal_key(struct terminal *t, enum terminal_key key);

/*
 * Pastes: newlines become carriage returns; in brackets if the program has switched those on, and only
 * then.
 */
void terminal_paste(struct terminal *t, const char *text);

/* The window gets another size: emulator, pty, and with that SIGWINCH. */
void terminal_resize(struct terminal *t, unsigned rows, unsigned cols);
/* Wipes the screen, the cursor stays: what is there afterwards, the program has drawn since. */
void terminal_wipe(struct terminal *t);
void terminal_size(const struct terminal *t, unsigned *ret_rows, unsigned *ret_cols);

/* Waiting -------------------------------------------------------------------------------------- */

/* Until any C expression holds; it is looked at again with everything that comes. */
#define TERMINAL_WAIT(t, condition)                                                                \
	do {                                                                                       \
		terminal_wait_begin(t);                                                            \
		while (!(condition))                                                               \
			terminal_wait_more(__FILE__, __LINE__, (t), #condition);                   \
	} while (0)

/* Until some row has the text in it; until row (from 0) is exactly this, blanks at its end aside. */
#define terminal_wait_text(t, text)	terminal_wait_text_at(__FILE__, __LINE__, (t), (text))
#define terminal_wait_row(t, row, text) terminal_wait_row_at(__FILE__, __LINE__, (t), (row), (text))
/* Until the whole screen is this; what differs is shown if it never is. */
#define terminal_wait_screen(t, text) terminal_wait_screen_at(__FILE__, __LINE__, (t), (text))

/* Whether the deadline of the wait is over, and the next terminal_wait_more() fails the test. */
bool terminal_too_late(const struct terminal *t);

/* Takes in what has come. True when there was something. */
bool terminal_pump(struct terminal *t);

/* The screen ----------------------------------------------------------------------------------- */

/* All rows, in UTF-8, each with a newline and without blanks at its end. */
const char *terminal_screen(struct terminal *t);
const char *terminal_row(struct terminal *t, unsigned row);
bool terminal_has_text(struct terminal *t, const char *text);
/* The row that has the text in it, and optionally its column; -1: none has. */
int terminal_find(struct terminal *t, const char *text, int *ret_col);

#define TERMINAL_DEFAULT_COLOUR (-1)
#define TERMINAL_RGB(r, g, b)	(1 << 24 | (r) << 16 | (g) << 8 | (b))

struct terminal_cell {
	char text[32]; /* "" where nothing was written */
	int fg, bg;    /* of 256, TERMINAL_RGB() or TERMINAL_DEFAULT_COLOUR */
	bool bold, underline, italic, blink, reverse, strike;
};

struct terminal_cell terminal_cell(struct terminal *t, unsigned row, unsigned col);

struct terminal_modes {
	unsigned row, col; /* of the cursor */
	bool cursor_visible;
	bool alternate; /* the second screen */
	bool reverse;
	int mouse; /* 0: off */
	bool paste;
	bool focus;
	bool application_cursor;
	bool application_keypad;
};

struct terminal_modes terminal_modes(struct terminal *t);
const char *terminal_title(struct terminal *t);
unsigned terminal_bells(struct terminal *t);

/* What the emulator has said by itself, when asked by the program: all of it, and how much. */
const char *terminal_answers(struct terminal *t, size_t *ret_bytes);

/* What came from the program, byte by byte: the last TERMINAL_LOG_BYTES; and how many in all. */
const char *terminal_log(struct terminal *t, size_t *ret_bytes);
uint64_t terminal_bytes(struct terminal *t);
/* Forgets the log (not the number) and the answers. */
void terminal_forget(struct terminal *t);

/* The terminal's settings ---------------------------------------------------------------------- */

struct termios;

struct termios terminal_termios(struct terminal *t);
/* For settings out of the ordinary, before the program is started: what it has to be put back to. */
void terminal_set_termios(struct terminal *t, const struct termios *termios);
/* As before the program: every field. If not, a note says what is different. */
bool terminal_termios_same(struct terminal *t);
/* That, and no mode of the emulator is left switched on: second screen, mouse, hidden cursor ... */
#define terminal_check_restored(t) terminal_check_restored_at(__FILE__, __LINE__, (t))

/* A picture of it in the test's log. */
void terminal_dump(struct terminal *t);

/* The rest is for the macros. */
int terminal_wait_exit_at(const char *file, int line, struct terminal *t);
int terminal_wait_stopped_at(const char *file, int line, struct terminal *t);
void terminal_wait_begin(struct terminal *t);
void terminal_wait_more(const char *file, int line, struct terminal *t, const char *what);
void terminal_wait_text_at(const char *file, int line, struct terminal *t, const char *text);
void terminal_wait_row_at(const char *file, int line, struct terminal *t, unsigned row,
			  const char *text);
void terminal_wait_screen_at(const char *file, int line, struct terminal *t, const char *text);
void terminal_check_restored_at(const char *file, int line, struct terminal *t);

#endif
