/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUPERVISOR_ORPHAN_H
#define SUPERVISOR_ORPHAN_H

/*
 * Being nobody's child. A program may let go of its sandbox and live on for long; a supervisor that were
 * its child would stay a zombie then, until the program ends. So what the program starts is only a
 * process that starts the supervisor, and waits until there is a sandbox.
 *
 * That one stands for the supervisor as long: it ends as the supervisor does, by the same signal or with
 * the same status, and takes the supervisor with it when it is killed. It ends with status 0 when there
 * is a sandbox.
 */

#include "base/macro.h"

/*
 * Returns in the supervisor; in the other, which is the process that called it, never. socket is left
 * to the supervisor alone. *ret_fd is for orphan_is_up(). Negative errno: there is no second process.
 */
int orphan_become(int socket, int *ret_fd) _must_check_;

/* There is a sandbox: the other process ends. Closes the descriptor; -1 as well. Returns -1. */
int orphan_is_up(int fd);

#endif
