/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_EXT4_INTERNAL_H
#define IMAGE_EXT4_INTERNAL_H

#include <ext2fs/ext2fs.h>

#include "image/ext4.h"

#define EXT4_BLOCK_BYTES 4096

struct ext4 {
	ext2_filsys fs;
	int fd; /* the same file: data is written past libext2fs, which caches no data blocks */
	bool full;
	blk64_t next_block; /* where the search for free blocks goes on: next fit */

	/* Data of the current file that has no blocks yet, from a block's beginning. */
	uint8_t *buffer;
	uint64_t buffer_offset;
	size_t buffer_size;
};

/* An error of libext2fs. Notes when the filesystem is too small; err may be NULL. */
int ext4_error(struct ext4 *fs, errcode_t error, const char *what, struct cove_error *err);

int ext4_write_directory(struct ext4 *fs, const struct tree_node *node, struct cove_error *err);
int ext4_write_inode(struct ext4 *fs, const struct tree_node *node, struct cove_error *err);

#endif
