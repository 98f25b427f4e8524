/* SPDX-License-Identifier: Apache-2.0 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include <ext2fs/ext3_extents.h>

#include "base/error.h"
#include "base/macro.h"
#include "image/ext4-internal.h"

#define DIRECTORY_LINKS_MAX 65000 /* from here on a directory's count is 1: "unknown" */

/* Seconds are 34 bits, from 1901 to 2446, in two fields; what is outside becomes the nearest. */
#define TIME_MIN (-(INT64_C(1) << 31))
#define TIME_MAX ((INT64_C(1) << 34) - (INT64_C(1) << 31) - 1)

static void set_times(struct ext2_inode_large *in, int64_t seconds, uint32_t ns)
{
	int64_t s = MAX(seconds, TIME_MIN);
	s = MIN(s, TIME_MAX);
	int64_t epoch = (s - (int32_t)(uint32_t)s) >> 32;
	uint32_t low = (uint32_t)s, extra = ns << 2 | (uint32_t)(epoch & 3);

	/* One time for all four: the same source makes the same image. */
	in->i_mtime = in->i_atime = in->i_ctime = in->i_crtime = low;
	in->i_mtime_extra = in->i_atime_extra = in->i_ctime_extra = in->i_crtime_extra = extra;
}

static void set_device(struct ext2_inode_large *in, uint32_t major, uint32_t minor)
{
	if (major < 256 && minor < 256)
		in->i_block[0] = major << 8 | minor;
	else
		in->i_block[1] = (minor & 0xff) | major << 8 | (minor & ~UINT32_C(0xff)) << 12;
}

static uint32_t count_links(const struct tree_node *node)
{
	if (!tree_is_directory(node))
		return node->inode->names;
	uint32_t n = 2;
	LIST_FOREACH (i, &node->children)
		n += tree_is_directory(LIST_ENTRY(i, struct tree_node, siblings));
	return n < DIRECTORY_LINKS_MAX ? n : 1;
}

/* Up to four extents are in the inode itself; libext2fs makes a tree of more. */
static errcode_t set_extents(struct ext4 *fs, const struct tree_inode *inode,
			     struct ext2_inode_large *in)
{
	struct ext3_extent_header *header = (void *)in->i_block;
	struct ext3_extent *extents = EXT_FIRST_EXTENT(header);
	size_t max = (sizeof(in->i_block) - sizeof(*header)) / sizeof(*extents);
	bool inside = inode->n_extents <= max;
	blk64_t blocks = 0;

	in->i_flags |= EXT4_EXTENTS_FL;
	header->eh_magic = htole16(EXT3_EXT_MAGIC);
	header->eh_max = htole16((uint16_t)max);
	header->eh_entries = htole16(inside ? (uint16_t)inode->n_extents : 0);
	for (size_t i = 0; i < inode->n_extents; i++) {
		const struct tree_extent *e = &inode->extents[i];
		blocks += e->count;
		if (!inside)
			continue;
		extents[i].ee_block = htole32(e->logical);
		extents[i].ee_len = htole16((uint16_t)e->count);
		extents[i].ee_start = htole32((uint32_t)e->physical);
		extents[i].ee_start_hi = htole16((uint16_t)(e->physical >> 32));
	}
	ext2fs_iblk_set(fs->fs, (struct ext2_inode *)in, blocks);
	if (inside)
		return 0;

	ext2_extent_handle_t handle;
	errcode_t error =
		ext2fs_extent_open2(fs->fs, inode->number, (struct ext2_inode *)in, &handle);
	if (error)
		return error;
	for (size_t i = 0; i < inode->n_extents && !error; i++) {
		struct ext2fs_extent e = {
			.e_lblk = inode->extents[i].logical,
			.e_pblk = inode->extents[i].physical,
			.e_len = inode->extents[i].count,
		};
		error = ext2fs_extent_insert(handle, EXT2_EXTENT_INSERT_AFTER, &e);
		if (!error)
			error = ext2fs_extent_fix_parents(handle);
	}
	ext2fs_extent_free(handle);
	return error;
}

/* A short target is in the inode; a longer one has a block, written like a file's. */
static int set_target(struct ext4 *fs, struct tree_inode *inode, struct ext2_inode_large *in,
		      struct cove_error *err)
{
	size_t size = strlen(inode->target);
	inode->size = size;
	if (size < sizeof(in->i_block)) {
		memcpy(in->i_block, inode->target, size);
		return 0;
	}
	int r = ext4_write(fs, inode, 0, inode->target, size, err);
	if (r >= 0)
		r = ext4_write_end(fs, inode, err);
	if (r < 0)
		return r;
	errcode_t error = set_extents(fs, inode, in);
	return error ? ext4_error(fs, error, "a symbolic link", err) : 0;
}

static errcode_t write_xattrs(struct ext4 *fs, const struct tree_inode *inode)
{
	struct ext2_xattr_handle *handle;
	errcode_t error = ext2fs_xattrs_open(fs->fs, inode->number, &handle);
	if (error)
		return error;
	for (const struct tree_xattr *x = inode->xattrs; x && !error; x = x->next)
		error = ext2fs_xattr_set(handle, x->name, x->data, x->size);
	errcode_t close_error = ext2fs_xattrs_close(&handle);
	return error ? error : close_error;
}

int ext4_write_inode(struct ext4 *fs, const struct tree_node *node, struct cove_error *err)
{
	struct tree_inode *inode = node->inode;
	struct ext2_inode_large in = {
		.i_mode = (uint16_t)inode->mode,
		.i_uid = (uint16_t)inode->uid,
		.osd2.linux2.l_i_uid_high = (uint16_t)(inode->uid >> 16),
		.i_gid = (uint16_t)inode->gid,
		.osd2.linux2.l_i_gid_high = (uint16_t)(inode->gid >> 16),
		.i_extra_isize = sizeof(in) - EXT2_GOOD_OLD_INODE_SIZE,
	};
	int r = 0;
	errcode_t error = 0;

	in.i_links_count = (uint16_t)count_links(node);
	set_times(&in, inode->mtime_s, inode->mtime_ns);
	if (S_ISLNK(inode->mode))
		r = set_target(fs, inode, &in, err);
	else if (S_ISREG(inode->mode) || S_ISDIR(inode->mode))
		error = set_extents(fs, inode, &in);
	else
		set_device(&in, inode->device_major, inode->device_minor);
	if (r < 0)
		return r;
	in.i_size = (uint32_t)inode->size;
	in.i_size_high = (uint32_t)(inode->size >> 32);
	if (S_ISDIR(inode->mode) && inode->n_extents > 0 && inode->size > EXT4_BLOCK_BYTES)
		in.i_flags |= EXT2_INDEX_FL;

	if (!error)
		error = ext2fs_write_inode_full(fs->fs, inode->number, (struct ext2_inode *)&in,
						sizeof(in));
	if (!error && inode->xattrs)
		error = write_xattrs(fs, inode);
	return error ? ext4_error(fs, error, "writing the image", err) : 0;
}
