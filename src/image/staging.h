/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_STAGING_H
#define IMAGE_STAGING_H

/*
 * Images in the making. Each has a folder `.NAME.PID.tmp` beside the images, with a file in it
 * that its maker holds a lock on for as long as it lives. The lock is the kernel's and goes with
 * the process, so a folder whose lock is free is a dead maker's, and whoever makes the next image
 * removes it. What looks at or changes names does so under one lock for the whole store.
 */

#include <stdbool.h>
#include <sys/stat.h>

#include "cove/error.h"

struct staging {
	char *images;	/* the folder of the images, absolute */
	int images_fd;	/* the same */
	char *name;	/* of the image */
	char *own_name; /* of the temporary folder; NULL when it is gone */
	int fd;		/* of it */
	int lock_fd;
};

#define STAGING_INIT                                                                               \
	{                                                                                          \
		.images_fd = -1, .fd = -1, .lock_fd = -1                                           \
	}

/* COVE_E_EXISTS if there is such an image already and it is not to be replaced. */
int staging_begin(struct staging *s, const char *name, bool replace, struct cove_error *err);

/* The folder becomes the image NAME, whole and durable. */
int staging_commit(struct staging *s, bool replace, struct cove_error *err);

/* Removes what was not committed. Fine on STAGING_INIT. */
void staging_done(struct staging *s);

/* Takes the image NAME away, in one step, and then removes it. */
int staging_remove_image(const char *name, struct cove_error *err);

#endif
