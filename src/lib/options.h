/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_OPTIONS_H
#define LIB_OPTIONS_H

/* What callers pass in, checked before anything starts. All of these give INVALID, and say what. */

#include <cove/cove.h>

/*
 * The extensible-struct rule: fills *ret, of `size` bytes, from a structure of the caller's that may
 * be of an older (shorter) or newer (longer) version, or NULL. `name` is its type's.
 */
int options_read(void *ret, size_t size, const void *options, const char *name,
		 struct cove_error *err);

int options_check_name(const char *name, struct cove_error *err);
int options_check_sandbox(const struct cove_sandbox_options *options, struct cove_error *err);
/* buffered: for cove_exec(), which has no use for some of them. */
int options_check_exec(const struct cove_exec_options *options, bool buffered,
		       struct cove_error *err);
int options_check_open(const char *id, const struct cove_open_options *options,
		       struct cove_error *err);
int options_check_detach(const struct cove_detach_options *options, struct cove_error *err);

size_t options_count(const char *const *strings); /* of a NULL-terminated array, or NULL */

#endif
