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
	int in_fd;	    /* the end to write to; 0: its stdin is this process's */
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

/* The two halves of command_run(). finish closes in_fd. */
void command_start(struct command *c, const char *const *argv);
void command_finish(struct command *c);

/* As command_start(), with a pipe for its stdin. */
void command_start_piped(struct command *c, const char *const *argv);
/* With this descriptor for its stdin; -1: it has none. */
void command_start_from(struct command *c, int stdin_fd, const char *const *argv);

/* The next bytes of its stdout (stderr) are these, and are there within COMMAND_WAIT_MS. */
void command_expect(struct command *c, const char *text);
void command_expect_err(struct command *c, const char *text);
/* All of it, waiting while it does not read. */
void command_write(struct command *c, const void *data, size_t n);
void command_close_in(struct command *c);
/* Nobody reads its stdout any more. */
void command_close_out(struct command *c);
/* Nobody reads its stdout for now: waits until it has filled the pipe. */
void command_wait_blocked(struct command *c);
/* Sends it a signal and waits until it has it: two that are pending are one. */
void command_signal(const struct command *c, int signal);
/* The most memory that it ever had. */
size_t command_peak_bytes(const struct command *c);
#define COMMAND_WAIT_MS 20000

#define COMMAND(c, ...)	   command_run((c), (const char *const[]){ __VA_ARGS__, NULL })
#define COVE(c, ...)	   COMMAND(c, "cove", __VA_ARGS__)
#define COVE_START(c, ...) command_start((c), (const char *const[]){ "cove", __VA_ARGS__, NULL })
#define COVE_START_PIPED(c, ...)                                                                   \
	command_start_piped((c), (const char *const[]){ "cove", __VA_ARGS__, NULL })

/*
 * `cove create -n box IMAGE`, and its removal, after which there is no sandbox. $T is the test's own
 * folder: where the guest is a process of the host, it has the host's files.
 */
void command_create_box(const char *image);
void command_remove_box(void);

/* All three at once, with what came out in the message; NULL: not looked at. */
void command_check(const char *file, int line, const struct command *c, int status, const char *out,
		   const char *err_part);
#define CHECK_COMMAND(c, status, out, err_part)                                                    \
	command_check(__FILE__, __LINE__, (c), (status), (out), (err_part))

/* A file of the source tree, or of the build folder. In a static buffer each. */
const char *command_source_path(const char *path);
const char *command_build_path(const char *path);

#endif
