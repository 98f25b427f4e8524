/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUPERVISOR_STATE_H
#define SUPERVISOR_STATE_H

/* What is known about the sandbox, as a SandboxInfo: the answer to INFO, and the file `state`. */

#include <stdbool.h>

#include "base/buffer.h"
#include "base/macro.h"

struct supervisor;

/* Packed, appended to an initialised buffer. */
int state_pack(const struct supervisor *s, struct buffer *ret) _must_check_;

/* Writes the file. Negative errno. */
int state_write(const struct supervisor *s);

/* Does the folder belong to a sandbox whose disk is to be kept? */
bool state_is_kept(int dir_fd);

#endif
