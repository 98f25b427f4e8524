/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_ATTACH_TERMINAL_H
#define LIB_ATTACH_TERMINAL_H

/*
 * The user's terminal while a command has it: its modes, its size, output that does not wait.
 *
 * Other processes use the same terminal, and mostly the same open file description: none of them must
 * see it become non-blocking. So output goes through a description of our own where one can be had,
 * and in small portions after poll() where not.
 *
 * Between attach_terminal_raw() and attach_terminal_restore() exit(), called by whatever thread, puts
 * the terminal back, too. Since only one terminal can be in that state (attach_signals_claim()), that is known
 * to a variable of the process.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <termios.h>

#include "cove/error.h"
#include "lib/attach-screen.h"

enum attach_output {
	OUTPUT_OWN,	 /* a non-blocking description of our own, of a terminal or a pipe */
	OUTPUT_SOCKET,	 /* asked not to wait in each call */
	OUTPUT_PORTIONS, /* as much as fits for certain, when poll() says that some does */
	OUTPUT_FILE,	 /* never waits for a peer */
};

struct attach_terminal {
	int input_fd;	/* the caller's */
	int output_fd;	/* the caller's */
	int read_fd;	/* to be read and polled: one of our own, or input_fd */
	int write_fd;	/* to be written and polled: one of our own, or output_fd */
	bool shows;	/* the output is a terminal, too */
	size_t portion; /* OUTPUT_PORTIONS */
	enum attach_output output;
	bool raw;
	struct termios saved;
	/* What has been shown, and thus what is to be undone. */
	struct attach_screen screen;
};

struct attach_size {
	unsigned rows;
	unsigned cols;
};

/* INVALID when the input is not a terminal, or the output nothing that can be written to. */
int attach_terminal_init(struct attach_terminal *t, int input_fd, int output_fd,
			 struct cove_error *err);
void attach_terminal_done(struct attach_terminal *t); /* restores nothing */

/* 24 by 80 where the terminal does not know. */
struct attach_size attach_terminal_size(const struct attach_terminal *t);

/*
 * Takes the terminal, and remembers how it was; from the second time on, for after a suspension, it
 * switches what was shown on again. In the background this stops the process, as reading would.
 */
int attach_terminal_raw(struct attach_terminal *t, bool again, struct cove_error *err);
/*
 * Puts it back. flush: throws away what was typed and has not been read. Does nothing when it is not
 * raw; also works in the background.
 */
void attach_terminal_restore(struct attach_terminal *t, bool flush);

/*
 * Writes what can be without waiting. Returns how much, 0 when it has to wait for POLLOUT on write_fd,
 * or a negative errno. follow: it is the command's output as it came, and what it switches on is
 * remembered.
 */
ssize_t attach_terminal_write(struct attach_terminal *t, const void *data, size_t n, bool follow);

/* The functions of attach-screen.h, for what is to be written without `follow`. */
size_t attach_terminal_filter(struct attach_terminal *t, const uint8_t *data, size_t n,
			      uint8_t *out);
size_t attach_terminal_adjust(struct attach_terminal *t, const void *wanted, size_t n,
			      uint8_t *out);
size_t attach_terminal_release(struct attach_terminal *t, uint8_t *out);
size_t attach_terminal_cancel(struct attach_terminal *t, uint8_t *out);

#endif
