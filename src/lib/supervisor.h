/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_SUPERVISOR_H
#define LIB_SUPERVISOR_H

/* The supervisor as a process: starting it, and knowing when it has ended. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cove/error.h"

struct supervisor {
	pid_t pid; /* 0: not known */
	int pid_fd;
	bool child; /* has to be reaped */
};

#define SUPERVISOR_NONE                                                                            \
	{                                                                                          \
		.pid_fd = -1                                                                       \
	}

/*
 * Starts cove-supervisor with `fd` (which stays the caller's) as its client, in a session of its
 * own, with default signals and nothing else of ours open. *ret is a child that stands for it: ends
 * with it, in the same way, or when the sandbox is let go of, so that there is nothing to reap later.
 * MISSING when it is not installed.
 */
int supervisor_start(int fd, struct supervisor *ret, struct cove_error *err);

/* One that is running, by its pid. Leaves *ret at SUPERVISOR_NONE if it is not there any more. */
void supervisor_watch(pid_t pid, struct supervisor *ret);

/*
 * Waits until it has ended, and reaps it if it is a child. False when the deadline passes first.
 * True at once for SUPERVISOR_NONE. *ret_status, which may be NULL, is what waitpid() gives, or 0
 * where that cannot be known. Any number of threads may do this at once.
 */
bool supervisor_wait(const struct supervisor *s, uint64_t deadline, int *ret_status);
/* The same, but when the deadline passes it is killed, which nothing survives for long. */
void supervisor_end(const struct supervisor *s, uint64_t deadline);
/* Forgets it. */
void supervisor_done(struct supervisor *s);

#endif
