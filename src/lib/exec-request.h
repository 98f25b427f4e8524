/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_EXEC_REQUEST_H
#define LIB_EXEC_REQUEST_H

/* From the options of a caller to what is sent, for all ways to run a command. */

#include <cove/cove.h>

#include "lib/process.h"

/* The message, and what it points to. */
struct exec_request {
	Cove__Wire__Exec message;
	struct process_options process;
	ProtobufCBinaryData *strings; /* argv, then env */
	Cove__Wire__Rlimit *rlimits;
	Cove__Wire__Rlimit **rlimit_pointers;
};

/* What is to be run; borrowed, and so is what the options point to. */
struct exec_command {
	const char *const *argv;
	bool shell;    /* argv is one script, or empty for a shell that is typed to */
	bool typed_to; /* it may be */
	bool buffered; /* for cove_exec(): no PIPE, and nothing is copied */
};

/* Checks the options, which are the caller's, and makes the request of them. */
int exec_request_init(struct exec_request *r, const struct exec_command *command,
		      const struct cove_exec_options *options, struct cove_error *err);
void exec_request_done(struct exec_request *r);

/* All of it: checks, sends, and *ret is the process. */
int exec_start(cove_sandbox *sandbox, const struct exec_command *command,
	       const struct cove_exec_options *options, struct process **ret,
	       struct cove_error *err);

#endif
