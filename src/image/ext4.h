/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_EXT4_H
#define IMAGE_EXT4_H

/*
 * Fills a fresh ext4 filesystem, in a file, without mounting it and without privileges.
 *
 *	ext4_open        on what mkfs_ext4() made
 *	ext4_write …     contents, one file after the other, while the archive is read: data goes
 *	ext4_write_end   straight to its blocks, of which only the extents are kept
 *	ext4_finish      inodes, attributes and directories, from the whole tree
 *
 * Inodes and directories are written once and in order, each directory's inodes side by side, so
 * that a guest reads few blocks to list it. Larger directories get their hash index at once.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "cove/error.h"
#include "image/tree.h"

struct ext4;

int ext4_open(const char *path, struct ext4 **ret, struct cove_error *err);
/* Closes without writing what is left: after ext4_finish() nothing is, before it all is lost. */
struct ext4 *ext4_free(struct ext4 *fs);
DEFINE_CLEANUP(struct ext4 *, ext4_free)

/* Block numbers in a file are 32 bits, and the last one is not used. */
#define EXT4_FILE_MAX_BYTES ((UINT64_C(1) << 32) * 4096 - 2 * 4096)

/*
 * The next piece of a file, at or behind the end of the last one (the caller has checked that) and
 * not past EXT4_FILE_MAX_BYTES. What is left out is a hole.
 */
int ext4_write(struct ext4 *fs, struct tree_inode *inode, uint64_t offset, const void *data,
	       size_t size, struct cove_error *err);
int ext4_write_end(struct ext4 *fs, struct tree_inode *inode, struct cove_error *err);

/* Takes the inode's blocks back. The shape of tree.release. */
void ext4_release(void *fs, struct tree_inode *inode);

/* Everything that is left to write, and the data on its way to the disk: it lasts from here. */
int ext4_finish(struct ext4 *fs, struct tree *tree, struct cove_error *err);

/* After a failure: that it would have been none, were the filesystem larger. */
bool ext4_is_full(const struct ext4 *fs);

#endif
