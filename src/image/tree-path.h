/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_TREE_PATH_H
#define IMAGE_TREE_PATH_H

/* Paths of archives: cleaned as text, and walked with links put in place of their names. */

#include <stdbool.h>
#include <stddef.h>

#include "cove/error.h"
#include "image/tree.h"

struct tree_path {
	char text[TREE_PATH_MAX_BYTES + 1]; /* without `/` in front or at the end, `.`, `//` */
	size_t parent_size;		    /* of text: the directory that it is in */
	const char *name;		    /* in text: the last component; "" for the root */
};

/* COVE_E_IMAGE for `..`, and what is longer than the guest could ever say. */
int tree_path_clean(const char *path, struct tree_path *ret, struct cove_error *err);

struct tree_walk {
	char *text;	  /* allocated: what is still to be walked, links put in */
	char *rest;	  /* in it, behind the current component */
	const char *name; /* in it: the current component */
	size_t name_size;
	unsigned links; /* that were followed */
};

int tree_walk_init(struct tree_walk *walk, const char *path, size_t size);
void tree_walk_done(struct tree_walk *walk);
bool tree_walk_next(struct tree_walk *walk);
/* Puts a link's target in front of the rest. -ELOOP after TREE_LINKS_MAX of them. */
int tree_walk_follow(struct tree_walk *walk, const char *target);

#endif
