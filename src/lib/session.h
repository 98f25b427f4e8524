/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_SESSION_H
#define LIB_SESSION_H

/* Sessions by their id, whoever started them. */

#include <cove/cove.h>

#include "lib/process.h"

/*
 * A process that looks at one. The options are the caller's, to be checked; collects: process_collected()
 * will follow.
 */
int session_open(struct connection *c, const char *id, const struct cove_open_options *options,
		 bool collects, struct process **ret, struct cove_error *err);

#endif
