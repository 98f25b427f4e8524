/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_SOURCE_H
#define IMAGE_SOURCE_H

/*
 * Where an image comes from: a tar archive in a file or a pipe, or a folder, as one stream of
 * entries. Names are as the source has them, bytes and all, and not to be trusted.
 */

#include <archive_entry.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "cove/error.h"

struct source_options {
	int cancel_fd; /* readable: give up, COVE_E_STATE; -1: none */
	/* Of a folder that is not to be read even if it is in the source: the image being made. */
	struct stat skip;
	void (*on_note)(void *arg, const char *text);
	void *arg;
};

struct source;

/* source: the name of a file or folder, or "-": standard input. Options are copied. */
int source_open(const char *name, const struct source_options *options, struct source **ret,
		struct cove_error *err);
struct source *source_free(struct source *source);
DEFINE_CLEANUP(struct source *, source_free)

/*
 * The next entry, 1; 0 at the end. It is the source's, and good until the next call; the path is
 * relative to the image's root, *ret_link that of the file it is a hard link to, or NULL.
 */
int source_next(struct source *source, struct archive_entry **ret, const char **ret_path,
		const char **ret_link, struct cove_error *err);

/* The next piece of the entry's contents, 1; 0 at its end. */
int source_data(struct source *source, const void **ret, size_t *ret_size, uint64_t *ret_offset,
		struct cove_error *err);

/* A good guess at how large the contents are; 0 when there is nothing to go by. */
uint64_t source_size(const struct source *source);
/* Whether it can be opened once more. */
bool source_can_restart(const struct source *source);
uint64_t source_bytes_read(const struct source *source);

#endif
