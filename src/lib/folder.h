/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_FOLDER_H
#define LIB_FOLDER_H

/*
 * What sandboxes leave in the file system, as the supervisor keeps it:
 *
 *	data/sandboxes/NAME/lock       flock()ed by the supervisor as long as it lives
 *	data/sandboxes/NAME/state      what is known of it: a packed SandboxInfo
 *	runtime/sandboxes/NAME.sock    where the supervisor takes clients
 */

#include <cove/cove.h>

/* A socket to the supervisor of that name, which is of this user. NOT_FOUND: nobody is there. */
int folder_connect(const char *name, int *ret_fd, struct cove_error *err);

/*
 * What the folder says of a sandbox. One whose supervisor died without a word is said to have ended
 * by that. NOT_FOUND: there is no such folder.
 */
int folder_inspect(const char *name, struct cove_sandbox_info **ret, struct cove_error *err);

/* The names that have a folder, sorted, NULL-terminated; freed by wire_strv_free(). */
int folder_names(char ***ret, size_t *ret_count, struct cove_error *err);

/* STATE while a supervisor lives, NOT_FOUND. */
int folder_remove(const char *name, struct cove_error *err);

#endif
