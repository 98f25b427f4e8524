/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_STORE_H
#define IMAGE_STORE_H

/*
 * The image store. An image is a folder NAME/ in the user's data (paths.h: data/images) or, read
 * only, in the installation (share/images); the user's own come first:
 *
 *	disk.ext4   the root filesystem, sparse, never written after it was made
 *	image.json  when it was made, its size, and the config: Env, WorkingDir, User, Shell
 *
 * An image appears whole or not at all: it is made in a temporary folder beside it and renamed.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "cove/error.h"

#define IMAGE_DISK_FILE "disk.ext4"

struct image {
	char *name;
	char *disk_path;     /* absolute */
	bool built_in;	     /* from the installation: cannot be removed */
	uint64_t disk_bytes; /* of the filesystem, as the guest sees it */
	uint64_t used_bytes; /* what it takes on the host's disk */
	uint64_t created_ns; /* CLOCK_REALTIME */
	char **env;	     /* "K=V", NULL-terminated; never NULL itself */
	char *cwd;	     /* NULL: not given */
	char *user;
	char *shell;
	char *problem; /* in lists: why it cannot be used, with nothing but its name; else NULL */
};

struct image *image_free(struct image *image);
DEFINE_CLEANUP(struct image *, image_free)

/* COVE_E_INVALID for what name_valid() refuses. */
int image_name_check(const char *name, struct cove_error *err);

/* COVE_E_NOT_FOUND with the places looked in; COVE_E_IMAGE when it is there but broken. */
int image_store_find(const char *name, struct image **ret, struct cove_error *err);

/* All images, by name; an array of *ret_count, freed by image_list_free(). */
int image_store_list(struct image ***ret, size_t *ret_count, struct cove_error *err);
struct image **image_list_free(struct image **list, size_t count);

/* Of a filesystem when nothing is said: sparse, so it costs only what is written to it. */
#define IMAGE_DISK_DEFAULT_BYTES (UINT64_C(16) << 30)
/* What mke2fs needs for a filesystem with a journal and some room. */
#define IMAGE_DISK_MIN_BYTES (UINT64_C(16) << 20)
/* The disk that every machine has (VMM_DISK_BYTES): a filesystem must fit into it. */
#define IMAGE_DISK_MAX_BYTES (UINT64_C(64) << 30)

struct image_import_options {
	uint64_t disk_bytes; /* 0: twice the content, IMAGE_DISK_DEFAULT_BYTES at least */
	bool replace;	     /* take the place of an image of that name; otherwise COVE_E_EXISTS */
	const char *const *env; /* config to record, as above; NULL: none */
	const char *cwd, *user, *shell;

	/* When it becomes readable the import is given up, with COVE_E_STATE. -1: none. */
	int cancel_fd;
	/* One line on what was left out: a socket, an attribute that ext4 does not have. */
	void (*on_note)(void *arg, const char *text);
	/* After each entry. content_bytes: of files so far, without holes. */
	void (*on_progress)(void *arg, uint64_t entries, uint64_t content_bytes);
	void *arg;
};

#define IMAGE_IMPORT_OPTIONS_INIT                                                                  \
	{                                                                                          \
		.cancel_fd = -1                                                                    \
	}

/* source: a tarball (any compression libarchive knows), a folder, or "-" for a tarball on stdin. */
int image_store_import(const char *name, const char *source,
		       const struct image_import_options *options, struct cove_error *err);

int image_store_remove(const char *name, struct cove_error *err);

#endif
