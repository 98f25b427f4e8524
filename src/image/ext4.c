/* SPDX-License-Identifier: Apache-2.0 */
#include "image/ext4.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/macro.h"
#include "image/ext4-internal.h"

#define BUFFER_BYTES	  (1 << 20) /* of one write; allocation is by as much, if there is */
#define EXTENT_BLOCKS_MAX 32768

int ext4_error(struct ext4 *fs, errcode_t error, const char *what, struct cove_error *err)
{
	switch (error) {
	case EXT2_ET_BLOCK_ALLOC_FAIL:
	case EXT2_ET_INODE_ALLOC_FAIL:
	case EXT2_ET_TOOSMALL:
		fs->full = true;
		return error_set(err, COVE_E_LIMIT, "it does not fit the image's filesystem");
	case EXT2_ET_EA_NO_SPACE:
		return error_set(err, COVE_E_IMAGE,
				 "its extended attributes are more than ext4 has room for (4 KiB)");
	case EXT2_ET_NO_MEMORY:
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	}
	/* Numbers below libext2fs' own are of errno. */
	if (error > 0 && error < 4096)
		return error_set_errno(err, COVE_E_SYSTEM, (int)error, "%s", what);
	return error_set(err, COVE_E_SYSTEM, "%s: %s", what, error_message(error));
}

/* mke2fs makes it, e2fsck would if it needed it; an image is what was imported and no more. */
static errcode_t remove_lost_and_found(ext2_filsys fs)
{
	ext2_ino_t ino;
	errcode_t error =
		ext2fs_lookup(fs, EXT2_ROOT_INO, "lost+found", strlen("lost+found"), NULL, &ino);
	if (error)
		return error == EXT2_ET_FILE_NOT_FOUND ? 0 : error;

	struct ext2_inode none = { 0 };
	error = ext2fs_punch(fs, ino, NULL, NULL, 0, ~0ULL);
	if (!error)
		error = ext2fs_write_inode(fs, ino, &none);
	if (!error)
		ext2fs_inode_alloc_stats2(fs, ino, -1, 1);
	/* The root's blocks too: it is written anew, entries and all. */
	return error ? error : ext2fs_punch(fs, EXT2_ROOT_INO, NULL, NULL, 0, ~0ULL);
}

int ext4_open(const char *path, struct ext4 **ret, struct cove_error *err)
{
	initialize_ext2_error_table();

	_cleanup_(ext4_freep) struct ext4 *fs = calloc(1, sizeof(*fs));
	if (!fs)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	fs->fd = open(path, O_RDWR | O_CLOEXEC);
	if (fs->fd < 0)
		return error_set_errno(err, COVE_E_SYSTEM, errno, "%.200s", path);
	fs->buffer = malloc(BUFFER_BYTES);
	if (!fs->buffer)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");

	errcode_t error =
		ext2fs_open(path, EXT2_FLAG_RW | EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs->fs);
	if (!error)
		error = ext2fs_read_bitmaps(fs->fs);
	if (!error)
		error = remove_lost_and_found(fs->fs);
	if (error)
		return ext4_error(fs, error, path, err);
	fs->next_block = fs->fs->super->s_first_data_block;
	*ret = TAKE_PTR(fs);
	return 0;
}

struct ext4 *ext4_free(struct ext4 *fs)
{
	if (!fs)
		return NULL;
	if (fs->fs)
		ext2fs_free(fs->fs);
	if (fs->fd >= 0)
		close(fs->fd);
	free(fs->buffer);
	free(fs);
	return NULL;
}

bool ext4_is_full(const struct ext4 *fs)
{
	return fs->full;
}

/* Up to `want` free blocks in a row. Files written one after the other lie so on the disk. */
static errcode_t allocate(struct ext4 *fs, blk64_t want, blk64_t *ret_first, blk64_t *ret_count)
{
	ext2fs_block_bitmap map = fs->fs->block_map;
	blk64_t start = fs->fs->super->s_first_data_block;
	blk64_t last = ext2fs_blocks_count(fs->fs->super) - 1, first, end;

	errcode_t error = ENOENT;
	if (fs->next_block <= last)
		error = ext2fs_find_first_zero_block_bitmap2(map, fs->next_block, last, &first);
	if (error == ENOENT)
		error = ext2fs_find_first_zero_block_bitmap2(map, start, last, &first);
	if (error)
		return error == ENOENT ? EXT2_ET_BLOCK_ALLOC_FAIL : error;

	blk64_t limit = MIN(first + want - 1, last);
	error = ext2fs_find_first_set_block_bitmap2(map, first, limit, &end);
	if (error == ENOENT)
		end = limit + 1;
	else if (error)
		return error;

	ext2fs_block_alloc_stats_range(fs->fs, first, (blk_t)(end - first), +1);
	fs->next_block = end;
	*ret_first = first;
	*ret_count = end - first;
	return 0;
}

/* How many there can be is bounded by the filesystem's blocks, whatever an archive says. */
static int add_extent(struct tree_inode *inode, uint32_t logical, blk64_t physical, uint32_t count)
{
	if (inode->n_extents > 0) {
		struct tree_extent *last = &inode->extents[inode->n_extents - 1];
		if (last->logical + last->count == logical &&
		    last->physical + last->count == physical &&
		    last->count + count <= EXTENT_BLOCKS_MAX) {
			last->count += count;
			return 0;
		}
	}
	if ((inode->n_extents & (inode->n_extents - 1)) == 0) { /* full at each power of two */
		size_t n = inode->n_extents ? inode->n_extents * 2 : 1;
		void *bigger = realloc(inode->extents, n * sizeof(inode->extents[0]));
		if (!bigger)
			return -ENOMEM;
		inode->extents = bigger;
	}
	inode->extents[inode->n_extents++] = (struct tree_extent){
		.logical = logical,
		.count = count,
		.physical = physical,
	};
	return 0;
}

static int write_at(int fd, const uint8_t *data, size_t size, uint64_t offset)
{
	while (size > 0) {
		ssize_t n = pwrite(fd, data, size, (off_t)offset);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		data += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

/* Gives the buffered data its blocks. The last one is filled up with zeros. */
static int flush(struct ext4 *fs, struct tree_inode *inode, struct cove_error *err)
{
	size_t rest = fs->buffer_size % EXT4_BLOCK_BYTES;
	if (rest > 0) {
		memset(fs->buffer + fs->buffer_size, 0, EXT4_BLOCK_BYTES - rest);
		fs->buffer_size += EXT4_BLOCK_BYTES - rest;
	}

	const uint8_t *data = fs->buffer;
	uint32_t logical = (uint32_t)(fs->buffer_offset / EXT4_BLOCK_BYTES);
	uint32_t left = (uint32_t)(fs->buffer_size / EXT4_BLOCK_BYTES);
	fs->buffer_size = 0;
	while (left > 0) {
		blk64_t first, count;
		errcode_t error = allocate(fs, left, &first, &count);
		if (error)
			return ext4_error(fs, error, "allocating blocks", err);
		if (add_extent(inode, logical, first, (uint32_t)count) < 0)
			return error_set(err, COVE_E_NO_MEMORY, "out of memory");
		int r = write_at(fs->fd, data, count * EXT4_BLOCK_BYTES, first * EXT4_BLOCK_BYTES);
		if (r < 0)
			return error_set_errno(err, COVE_E_SYSTEM, r, "writing the image");
		data += count * EXT4_BLOCK_BYTES;
		logical += (uint32_t)count;
		left -= (uint32_t)count;
	}
	return 0;
}

int ext4_write(struct ext4 *fs, struct tree_inode *inode, uint64_t offset, const void *data,
	       size_t size, struct cove_error *err)
{
	const uint8_t *p = data;
	while (size > 0) {
		uint64_t end = fs->buffer_offset + fs->buffer_size;
		uint64_t block = offset - offset % EXT4_BLOCK_BYTES;
		if (fs->buffer_size == BUFFER_BYTES || (fs->buffer_size > 0 && block > end)) {
			int r = flush(fs, inode, err);
			if (r < 0)
				return r;
		}
		if (fs->buffer_size == 0) {
			fs->buffer_offset = block;
			end = block;
		}
		/* What was left out up to here is in a block that has data too: zeros. */
		size_t gap = (size_t)(offset - end);
		if (gap > 0) {
			memset(fs->buffer + fs->buffer_size, 0, gap);
			fs->buffer_size += gap;
		}
		size_t n = MIN(size, (size_t)BUFFER_BYTES - fs->buffer_size);
		memcpy(fs->buffer + fs->buffer_size, p, n);
		fs->buffer_size += n;
		p += n;
		offset += n;
		size -= n;
	}
	return 0;
}

int ext4_write_end(struct ext4 *fs, struct tree_inode *inode, struct cove_error *err)
{
	return flush(fs, inode, err);
}

void ext4_release(void *arg, struct tree_inode *inode)
{
	struct ext4 *fs = arg;
	for (size_t i = 0; i < inode->n_extents; i++)
		ext2fs_block_alloc_stats_range(fs->fs, inode->extents[i].physical,
					       inode->extents[i].count, -1);
}

static int take_number(struct ext4 *fs, struct tree_inode *inode, ext2_ino_t *next,
		       struct cove_error *err)
{
	if (inode->number > 0)
		return 0;
	if (*next > fs->fs->super->s_inodes_count)
		return ext4_error(fs, EXT2_ET_INODE_ALLOC_FAIL, "", err);
	inode->number = (*next)++;
	ext2fs_inode_alloc_stats2(fs->fs, inode->number, +1, S_ISDIR(inode->mode));
	return 0;
}

static int number_inodes(struct ext4 *fs, struct tree *tree, struct cove_error *err)
{
	ext2_ino_t next = EXT2_FIRST_INODE(fs->fs->super);
	tree->root->inode->number = EXT2_ROOT_INO;
	for (struct tree_node *node = tree->root; node; node = tree_next(tree, node))
		LIST_FOREACH (i, &node->children) {
			struct tree_node *child = LIST_ENTRY(i, struct tree_node, siblings);
			int r = take_number(fs, child->inode, &next, err);
			if (r < 0)
				return r;
		}
	return 0;
}

static int write_node(struct ext4 *fs, const struct tree_node *node, struct cove_error *err)
{
	if (node->inode->written)
		return 0;
	int r = tree_is_directory(node) ? ext4_write_directory(fs, node, err) : 0;
	if (r >= 0)
		r = ext4_write_inode(fs, node, err);
	node->inode->written = true;
	return r == COVE_E_IMAGE ? error_add_context(err, r, "%.200s", node->name) : r;
}

int ext4_finish(struct ext4 *fs, struct tree *tree, struct cove_error *err)
{
	int r = number_inodes(fs, tree, err);
	if (r < 0)
		return r;

	/* By number: each directory's children side by side, the root before all. */
	r = write_node(fs, tree->root, err);
	for (struct tree_node *node = tree->root; node && r >= 0; node = tree_next(tree, node))
		LIST_FOREACH (i, &node->children) {
			r = write_node(fs, LIST_ENTRY(i, struct tree_node, siblings), err);
			if (r < 0)
				break;
		}
	if (r < 0)
		return r;

	errcode_t error = ext2fs_close_free(&fs->fs);
	if (error)
		return ext4_error(fs, error, "writing the image", err);
	if (fsync(fs->fd) < 0)
		return error_set_errno(err, COVE_E_SYSTEM, errno, "writing the image");
	return 0;
}
