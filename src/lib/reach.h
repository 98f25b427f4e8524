/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_REACH_H
#define LIB_REACH_H

/* Sandboxes by name, whoever started them. */

#include <cove/cove.h>

#include "lib/connection.h"

/* A supervisor answers at once, but on a machine that may be very busy. */
#define REACH_LIMIT_MS 5000

/*
 * Connects to the supervisor of that name and asks it what there is to know. NOT_FOUND: none is
 * there (any more): the folder says what is left. TIMEOUT: it does not answer. ret_connection may
 * be NULL.
 */
int reach(const char *name, uint64_t deadline, struct connection **ret_connection,
	  struct cove_sandbox_info **ret_info, struct cove_error *err);

#endif
