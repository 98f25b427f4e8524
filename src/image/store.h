/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_STORE_H
#define IMAGE_STORE_H

/*
 * The image store. An image is a folder NAME/ in the user's data (paths.h: data/images) or, read
 * only, in the installation (share/images); the user's own come first:
 *
 *	disk.ext4   the root filesystem, sparse, never written after it was made
 *	image.json  its name, when it was made, its size, and the config: Env, WorkingDir, User, Shell
 *
 * An image appears whole or not at all: it is made in a temporary folder beside it and renamed.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "cove/error.h"

struct image {
	char *name;
	char *disk_path;     /* absolute */
	bool built_in;       /* from the installation: cannot be removed */
	uint64_t disk_bytes; /* of the filesystem, as the guest sees it */
	uint64_t used_bytes; /* what it takes on the host's disk */
	uint64_t created_ns; /* CLOCK_REALTIME */
	char **env;          /* "K=V", NULL-terminated; never NULL itself */
	char *cwd;           /* NULL: not given */
	char *user;
	char *shell;
};

struct image *image_free(struct image *image);
DEFINE_CLEANUP(struct image *, image_free)

/* COVE_E_NOT_FOUND with the names tried; COVE_E_IMAGE when it is there but broken. */
int image_store_find(const char *name, struct image **ret, struct cove_error *err);

/* All images, by name; an array of *ret_count, freed by image_list_free(). */
int image_store_list(struct image ***ret, size_t *ret_count, struct cove_error *err);
struct image **image_list_free(struct image **list, size_t count);

struct image_import_options {
	uint64_t disk_bytes; /* 0: as large as the content needs, and room to work in (see docs) */
	bool replace;        /* take the place of an image of that name; otherwise COVE_E_EXISTS */
	char **env;          /* config to record, as above; NULL: none */
	const char *cwd, *user, *shell;
};

/* source: a tarball (any compression libarchive knows), a folder, or "-" for a tarball on stdin. */
int image_store_import(const char *name, const char *source,
		       const struct image_import_options *options, struct cove_error *err);

int image_store_remove(const char *name, struct cove_error *err);

#endif
