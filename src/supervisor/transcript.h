/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUPERVISOR_TRANSCRIPT_H
#define SUPERVISOR_TRANSCRIPT_H

/*
 * What somebody else prints: the last of it in memory, for the message of a failure, and the first
 * of it in a file. A guest prints as much as it likes, so both are bounded.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/macro.h"

struct transcript {
	struct buffer tail;
	int fd;		   /* -1: no file */
	size_t file_space; /* bytes it still takes */
};

void transcript_init(struct transcript *t, size_t keep);
void transcript_done(struct transcript *t);

/* Starts a new file, which takes max bytes. Negative errno. */
int transcript_open(struct transcript *t, int dir_fd, const char *name, size_t max) _must_check_;

void transcript_add(struct transcript *t, const void *data, size_t n);

/* Reads fd (nonblocking) once. >0: there may be more; 0: its end; -EAGAIN; another errno. */
int transcript_read(struct transcript *t, int fd) _must_check_;

/* The first line that has text in it, from there on, cut to size. False, and "", without one. */
bool transcript_find_line(const struct transcript *t, const char *text, char *ret, size_t size);

/* The last lines that are not blank, as many as fit into size, joined by " | ". */
void transcript_last_lines(const struct transcript *t, char *ret, size_t size);

#endif
