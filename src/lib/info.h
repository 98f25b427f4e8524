/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_INFO_H
#define LIB_INFO_H

/* What is known of a sandbox: struct cove_sandbox_info from a message, a file, or a connection. */

#include <cove/cove.h>

#include "base/cleanup.h"
#include "wire/message.h"

DEFINE_CLEANUP(struct cove_sandbox_info *, cove_sandbox_info_free)

/* A copy, with its strings, in one allocation. -ENOMEM. */
int info_copy(const struct cove_sandbox_info *info, struct cove_sandbox_info **ret);

/* The packed SandboxInfo of a reply or of a `state` file. -EPROTO when it is not one, -ENOMEM. */
int info_unpack(const void *data, size_t size, struct cove_sandbox_info **ret);

/* The file `state` in a sandbox's folder. -ENOENT, -EPROTO, -ENOMEM and others of open(). */
int info_read_state(int folder_fd, struct cove_sandbox_info **ret);

#endif
