/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_ATTACH_SIGNALS_H
#define LIB_ATTACH_SIGNALS_H

/*
 * The signals that concern whoever has a terminal. A handler is set only where the program has left
 * the signal at its default, for as long as attach_signals_init() to attach_signals_done(), and only
 * says that there was one: in a set, and on a descriptor to be polled. One user at a time.
 *
 * SIGPIPE is kept from the calling thread meanwhile, so that a pipe as output is an error like others;
 * init and done are called by the same thread.
 */

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "cove/error.h"

#define ATTACH_SIGNALS 7

struct attach_signals {
	int fd; /* readable when there was one */
	struct sigaction old[ATTACH_SIGNALS];
	bool ours[ATTACH_SIGNALS];
	bool pipe_was_blocked;
};

/* The right to be the one user, of this and of a terminal. STATE: somebody is. */
int attach_signals_claim(struct cove_error *err);
void attach_signals_release(void);

int attach_signals_init(struct attach_signals *s, struct cove_error *err);
/* What was there before is there again. Safe when init has not been called, or has failed: fd is -1. */
void attach_signals_done(struct attach_signals *s);

/* Those that there were since the last time: bit n is signal n. */
uint64_t attach_signals_take(struct attach_signals *s);

/* Stops the process as SIGTSTP does; returns when it goes on. */
void attach_signals_stop(struct attach_signals *s);

#endif
