/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_OUTPUT_H
#define LIB_OUTPUT_H

/* Collecting what a command gives into a cove_output. */

#include <cove/cove.h>

#include "base/cleanup.h"
#include "lib/process.h"

DEFINE_CLEANUP(cove_output *, cove_output_free)

/*
 * Receives from the process until it ends, and keeps what its limit allows. TIMEOUT sets *ret, too.
 * START, LOST, PROTOCOL and others as the process gave them; NO_MEMORY, which leaves it running.
 */
int output_collect(struct process *p, cove_output **ret, struct cove_error *err);

#endif
