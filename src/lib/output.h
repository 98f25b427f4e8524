/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_OUTPUT_H
#define LIB_OUTPUT_H

/* Collecting what a command gives into a cove_output. */

#include <cove/cove.h>

#include "base/cleanup.h"
#include "lib/process.h"

DEFINE_CLEANUP(cove_output *, cove_output_free)

struct output_limit {
	uint64_t bytes;
	enum cove_output_policy policy;
};

/*
 * Receives from the process until it ends. *ret is set on success; the end may be of any kind.
 * START, LOST, PROTOCOL and others as the process gave them; NO_MEMORY kills the command, since
 * nobody is left to read what it writes.
 */
int output_collect(struct process *p, const struct output_limit *limit, cove_output **ret,
		   struct cove_error *err);

#endif
