/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUPERVISOR_ORPHAN_H
#define SUPERVISOR_ORPHAN_H

/*
 * Whose child a supervisor is. A program may let go of its sandbox and live on for long; a supervisor that
 * were its child would then stay a zombie when it ends. So what the program starts is only a process that
 * starts the supervisor and stands for it: it ends as the supervisor does, by the same signal or with the
 * same status, and takes the supervisor with it when it is killed. When the sandbox is let go of, it ends
 * with status 0, and the supervisor is a child of init's.
 *
 * Not from the beginning, since not every init reaps what it has not started: in containers, the
 * program itself may be it.
 */

#include "base/macro.h"

/*
 * Returns in the supervisor; in the other, which is the process that called it, never. socket is left
 * to the supervisor alone. *ret_fd is for orphan_let_go(). Negative errno: there is no second process.
 */
int orphan_start(int socket, int *ret_fd) _must_check_;

/* The other process ends. Closes the descriptor; -1 is fine. Returns -1. */
int orphan_let_go(int fd);

#endif
