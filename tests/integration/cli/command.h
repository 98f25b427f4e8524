/* SPDX-License-Identifier: Apache-2.0 */
#ifndef INTEGRATION_CLI_COMMAND_H
#define INTEGRATION_CLI_COMMAND_H

/* Runs `cove` and other programs as a user does, and looks at all that comes back. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

struct command {
	pid_t pid;
	int out_fd, err_fd; /* while it runs */
	int status;	    /* as a shell has it: 128 + n for a signal */
	char *out;	    /* NUL-terminated; the NUL is not counted */
	size_t out_size;
	char *err;
	size_t err_size;
};

/* Zeroed at first; used again, it is freed first. */
void command_done(struct command *c);

/*
 * Runs argv and reads its stdout and stderr to their end, so a process that it leaves behind must
 * not hold them. A program of ours is found by its plain name in the build folder.
 */
void command_run(struct command *c, const char *const *argv);

/* The two halves of command_run(). */
void command_start(struct command *c, const char *const *argv);
void command_finish(struct command *c);

#define COMMAND(c, ...) command_run((c), (const char *const[]){ __VA_ARGS__, NULL })
#define COVE(c, ...)	COMMAND(c, "cove", __VA_ARGS__)

/* All three at once, with what came out in the message; NULL: not looked at. */
void command_check(const char *file, int line, const struct command *c, int status, const char *out,
		   const char *err_part);
#define CHECK_COMMAND(c, status, out, err_part)                                                    \
	command_check(__FILE__, __LINE__, (c), (status), (out), (err_part))

/* A file of the source tree, or of the build folder. In a static buffer each. */
const char *command_source_path(const char *path);
const char *command_build_path(const char *path);

#endif
