/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_STREAM_H
#define TESTS_STREAM_H

/* What the tests of live streams share: starting, receiving, and checking what every stream keeps. */

#include <cove/cove.h>

#include "base/buffer.h"

/* No event takes longer than this on a busy machine; one that does hangs. */
#define PATIENCE_MS 60000

/* A started command; a failing call fails the test. */
cove_process *stream_exec(cove_sandbox *sandbox, const char *const *argv,
			  const struct cove_exec_options *options);
cove_process *stream_shell(cove_sandbox *sandbox, const char *script,
			   const struct cove_exec_options *options);
cove_process *stream_open(cove_sandbox *sandbox, const char *id,
			  const struct cove_open_options *options);

/* What has been received of a command. */
struct seen {
	struct buffer out, err;
	uint64_t offsets[2]; /* after the last byte of stdout and of stderr */
	unsigned n[COVE_EVENT_LOST + 1];
	bool over;
	int pid;
	char id[65];
	int stdin_errno;
	uint64_t missing;
	struct cove_exit exit;
	uint64_t totals[2];
	struct cove_error error;
};

/*
 * Counts an event in, and checks it against those before: STARTED first and once, offsets without
 * gaps that were not told, one terminal event, totals that fit.
 */
void seen_add(struct seen *seen, const struct cove_event *event);
/* The next event of a command, counted in. False: the terminal one was there before. */
bool seen_next(struct seen *seen, cove_process *process);
/* Until stdout holds the text. */
void seen_until(struct seen *seen, cove_process *process, const char *text);
/* Until the end, after which there must be nothing. */
void seen_to_end(struct seen *seen, cove_process *process);
const char *seen_stdout(struct seen *seen); /* NUL-terminated */
const char *seen_stderr(struct seen *seen);
void seen_done(struct seen *seen);

/* To the end, which must be EXITED like this, with these outputs (NULL: whatever). Frees both. */
void stream_expect(cove_process *process, struct seen *seen, enum cove_cause cause, int code,
		   const char *out, const char *err);

/* Writes all; a failing call fails the test. */
void stream_type(cove_stdin *in, const char *text);

/*
 * One turn of an event loop: waits for the sandbox's descriptor, at most PATIENCE_MS, and gives the
 * processes that have something new.
 */
size_t stream_turn(cove_sandbox *sandbox, cove_process **ret, size_t max);

/* ---- memory: peaks in KiB ---- */

struct peaks {
	long long agent, supervisor, client;
};

/* The peaks from now on are those of what comes next. */
void peaks_reset(cove_sandbox *sandbox);
struct peaks peaks_read(cove_sandbox *sandbox);

#endif
