/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_TREE_H
#define IMAGE_TREE_H

/*
 * The tree of an image while it is being made: every name, owner, mode and link in memory, the
 * contents already on disk (as extents). An archive may name things in any order and more than
 * once; only when all of it was read is it known what there is, and then it is written in one go.
 *
 * What comes in is hostile. Names are never resolved by the host: a symbolic link on the way is
 * followed inside this tree only, as it would be after chroot, and `..` above the root is the root.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "cove/error.h"

/* What execve, open and all the others of the guest's kernel take: PATH_MAX with its NUL. */
#define TREE_PATH_MAX_BYTES 4095
#define TREE_NAME_MAX_BYTES 255 /* ext4's */
/* Of symbolic links followed for one name: the kernel's, so that what unpacks can be used. */
#define TREE_LINKS_MAX 40
/* Of names for one file: ext4's. */
#define TREE_NAMES_MAX 65000
/* Largest images known have some 600,000 names; stops an archive of nothing but names. */
#define TREE_ENTRIES_MAX (UINT32_C(1) << 21)
/* Names, link targets and attributes: stops few entries that are each as large as they may be. */
#define TREE_MEMORY_MAX_BYTES (UINT64_C(1) << 30)

struct tree_extent {
	uint32_t logical; /* all in blocks of the filesystem */
	uint32_t count;
	uint64_t physical;
};

struct tree_xattr {
	struct tree_xattr *next;
	size_t size;
	char *name;	/* with its prefix: "user.x" */
	uint8_t data[]; /* as the kernel's setxattr() takes it; then the name */
};

/* What names stand for. */
struct tree_inode {
	uint32_t names; /* entries of the tree that stand for it */
	uint32_t mode;	/* type and permissions */
	uint32_t uid, gid;
	int64_t mtime_s;
	uint32_t mtime_ns;
	uint32_t device_major, device_minor;
	uint64_t size;
	char *target; /* of a symbolic link */
	struct tree_xattr *xattrs;
	struct tree_extent *extents; /* by logical block */
	size_t n_extents;
	uint32_t number; /* in the filesystem; 0 until it has one */
	bool written;	 /* there, under its first name */
};

struct tree_node {
	const char *name; /* at `text`; the key of the parent's children, so these two come first */
	size_t name_size;
	struct list siblings; /* in the parent's `children` */
	struct tree_node *parent;
	struct tree_inode *inode;
	struct list children; /* of a directory, in the order they came */
	void *index;	      /* the same by name: a tsearch() tree */
	char text[];
};

struct tree {
	struct tree_node *root;
	uint32_t entries;
	uint64_t memory;
	int64_t now_s; /* the mtime of directories that no entry describes */
	/* Called with an inode whose last name went: its blocks are free again. */
	void (*release)(void *arg, struct tree_inode *inode);
	void *release_arg;
};

int tree_init(struct tree *tree, struct cove_error *err);
void tree_done(struct tree *tree);

struct tree_inode *tree_inode_new(void);
struct tree_inode *tree_inode_free(struct tree_inode *inode);
/* data as setxattr() takes it. A second value for a name takes the place of the first. -ENOMEM. */
int tree_inode_set_xattr(struct tree_inode *inode, const char *name, const void *data, size_t size);

/*
 * Puts inode at path, in place of what is there; a directory over a directory keeps what is in it.
 * Directories on the way that are missing are made, root's and 0755. On success the tree owns the
 * inode.
 */
int tree_put(struct tree *tree, const char *path, struct tree_inode *inode, struct cove_error *err);

/* Gives the file at `target`, which must be there, one more name. */
int tree_link(struct tree *tree, const char *path, const char *target, struct cove_error *err);

/* The node at path, following links on the way but not at the end; NULL. For tests. */
struct tree_node *tree_find(struct tree *tree, const char *path);

/* The node after this one, parents before their children; NULL after the last. */
struct tree_node *tree_next(const struct tree *tree, const struct tree_node *node);

bool tree_is_directory(const struct tree_node *node);

#endif
