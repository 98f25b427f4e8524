/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories. One that fits a block is a plain list of entries. A larger one is an htree, as the
 * kernel makes it: entries in leaf blocks by the hash of their names, and before them the index:
 *
 *	block 0        `.`, `..`, and (hash, block) of every leaf, or of every index block
 *	1 … n_index    if the leaves are too many for block 0: (hash, block) of a leaf each
 *	… the leaves
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/macro.h"
#include "image/ext4-internal.h"

#define ENTRY_HEADER_BYTES 8
#define ROOT_ENTRIES_AT	   32 /* behind the two names and struct ext2_dx_root_info */
#define INDEX_ENTRIES_AT   8  /* behind an empty entry that spans the block */
#define ROOT_MAX	   ((EXT4_BLOCK_BYTES - ROOT_ENTRIES_AT) / sizeof(struct ext2_dx_entry))
#define INDEX_MAX	   ((EXT4_BLOCK_BYTES - INDEX_ENTRIES_AT) / sizeof(struct ext2_dx_entry))

struct hashed {
	uint32_t hash, minor;
	const struct tree_node *node;
};

struct leaf {
	size_t first; /* entry */
	uint32_t hash;
};

struct directory {
	struct ext4 *fs;
	const struct tree_node *node;
	struct hashed *entries; /* sorted */
	size_t n_entries;
	struct leaf *leaves;
	size_t n_leaves;
	uint8_t block[EXT4_BLOCK_BYTES];
};

static uint8_t file_type(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return EXT2_FT_REG_FILE;
	case S_IFDIR:
		return EXT2_FT_DIR;
	case S_IFCHR:
		return EXT2_FT_CHRDEV;
	case S_IFBLK:
		return EXT2_FT_BLKDEV;
	case S_IFIFO:
		return EXT2_FT_FIFO;
	case S_IFLNK:
		return EXT2_FT_SYMLINK;
	}
	return EXT2_FT_UNKNOWN;
}

static size_t entry_bytes(size_t name_size)
{
	return (ENTRY_HEADER_BYTES + name_size + 3) & ~(size_t)3;
}

static void put_entry(uint8_t *at, uint32_t number, uint8_t type, const char *name, size_t size,
		      size_t length)
{
	struct ext2_dir_entry_2 *entry = (void *)at;
	entry->inode = htole32(number);
	entry->rec_len = htole16((uint16_t)length);
	entry->name_len = (uint8_t)size;
	entry->file_type = type;
	memcpy(entry->name, name, size);
}

/* `.` and `..`; the latter spans the rest of the block unless `length` says otherwise. */
static size_t put_dots(const struct directory *d, uint8_t *block, size_t length)
{
	const struct tree_node *parent = d->node->parent ? d->node->parent : d->node;
	put_entry(block, d->node->inode->number, EXT2_FT_DIR, ".", 1, 12);
	put_entry(block + 12, parent->inode->number, EXT2_FT_DIR, "..", 2, length);
	return 12 + length;
}

/* The last entry of a block spans the rest of it. */
static void put_node(uint8_t *block, size_t *used, const struct tree_node *node, bool last)
{
	size_t length = last ? EXT4_BLOCK_BYTES - *used : entry_bytes(node->name_size);
	put_entry(block + *used, node->inode->number, file_type(node->inode->mode), node->name,
		  node->name_size, length);
	*used += length;
}

static int write_block(struct directory *d, struct cove_error *err)
{
	struct tree_inode *inode = d->node->inode;
	int r = ext4_write(d->fs, inode, inode->size, d->block, sizeof(d->block), err);
	if (r >= 0)
		inode->size += sizeof(d->block);
	memset(d->block, 0, sizeof(d->block));
	return r;
}

static int write_plain(struct directory *d, struct cove_error *err)
{
	bool empty = list_empty(&d->node->children);
	size_t used = put_dots(d, d->block, empty ? EXT4_BLOCK_BYTES - 12 : 12);
	LIST_FOREACH (i, &d->node->children)
		put_node(d->block, &used, LIST_ENTRY(i, struct tree_node, siblings),
			 i->next == &d->node->children);
	return write_block(d, err);
}

static int compare_hashed(const void *a, const void *b)
{
	const struct hashed *x = a, *y = b;
	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return (x->minor > y->minor) - (x->minor < y->minor);
}

static errcode_t hash_entries(struct directory *d)
{
	struct ext2_super_block *super = d->fs->fs->super;
	int version = super->s_def_hash_version;
	if (version <= EXT2_HASH_TEA && (super->s_flags & EXT2_FLAGS_UNSIGNED_HASH))
		version += EXT2_HASH_LEGACY_UNSIGNED;

	LIST_FOREACH (i, &d->node->children) {
		struct hashed *h = &d->entries[d->n_entries++];
		h->node = LIST_ENTRY(i, struct tree_node, siblings);
		errcode_t error = ext2fs_dirhash2(version, h->node->name, (int)h->node->name_size,
						  NULL, 0, super->s_hash_seed, &h->hash, &h->minor);
		if (error)
			return error;
	}
	qsort(d->entries, d->n_entries, sizeof(d->entries[0]), compare_hashed);
	return 0;
}

/* Where each leaf begins. An index' lowest bit says that the hash goes on from the leaf before. */
static void divide(struct directory *d)
{
	size_t used = EXT4_BLOCK_BYTES;
	for (size_t i = 0; i < d->n_entries; i++) {
		size_t need = entry_bytes(d->entries[i].node->name_size);
		if (used + need > EXT4_BLOCK_BYTES) {
			bool goes_on = i > 0 && d->entries[i - 1].hash == d->entries[i].hash;
			d->leaves[d->n_leaves++] = (struct leaf){
				.first = i,
				.hash = d->entries[i].hash | goes_on,
			};
			used = 0;
		}
		used += need;
	}
}

/* Index entries: the first one's hash is not stored, its place holds the counts. */
static void put_index(uint8_t *at, size_t limit, size_t i, uint32_t hash, size_t block)
{
	struct ext2_dx_entry *entries = (void *)at;
	entries[i].block = htole32((uint32_t)block);
	if (i > 0)
		entries[i].hash = htole32(hash);
	struct ext2_dx_countlimit *counts = (void *)at;
	counts->limit = htole16((uint16_t)limit);
	counts->count = htole16((uint16_t)(i + 1));
}

static int write_index(struct directory *d, struct cove_error *err)
{
	size_t n_index = d->n_leaves <= ROOT_MAX ? 0 : (d->n_leaves + INDEX_MAX - 1) / INDEX_MAX;

	put_dots(d, d->block, EXT4_BLOCK_BYTES - 12);
	struct ext2_dx_root_info *info = (void *)(d->block + 24);
	info->hash_version = d->fs->fs->super->s_def_hash_version;
	info->info_length = sizeof(*info);
	info->indirect_levels = n_index > 0;
	uint8_t *root = d->block + ROOT_ENTRIES_AT;
	if (n_index == 0)
		for (size_t i = 0; i < d->n_leaves; i++)
			put_index(root, ROOT_MAX, i, d->leaves[i].hash, 1 + i);
	for (size_t i = 0; i < n_index; i++)
		put_index(root, ROOT_MAX, i, d->leaves[i * INDEX_MAX].hash, 1 + i);
	int r = write_block(d, err);

	for (size_t i = 0; i < n_index && r >= 0; i++) {
		size_t first = i * INDEX_MAX, n = MIN(INDEX_MAX, d->n_leaves - first);
		put_entry(d->block, 0, 0, "", 0, EXT4_BLOCK_BYTES);
		for (size_t k = 0; k < n; k++)
			put_index(d->block + INDEX_ENTRIES_AT, INDEX_MAX, k,
				  d->leaves[first + k].hash, 1 + n_index + first + k);
		r = write_block(d, err);
	}
	return r;
}

static int write_leaves(struct directory *d, struct cove_error *err)
{
	for (size_t i = 0; i < d->n_leaves; i++) {
		size_t end = i + 1 < d->n_leaves ? d->leaves[i + 1].first : d->n_entries;
		size_t used = 0;
		for (size_t k = d->leaves[i].first; k < end; k++)
			put_node(d->block, &used, d->entries[k].node, k + 1 == end);
		int r = write_block(d, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int write_indexed(struct directory *d, size_t n, struct cove_error *err)
{
	d->entries = calloc(n, sizeof(d->entries[0]));
	d->leaves = calloc(n, sizeof(d->leaves[0]));
	if (!d->entries || !d->leaves)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	errcode_t error = hash_entries(d);
	if (error)
		return ext4_error(d->fs, error, "a directory's index", err);
	divide(d);
	int r = write_index(d, err);
	return r < 0 ? r : write_leaves(d, err);
}

int ext4_write_directory(struct ext4 *fs, const struct tree_node *node, struct cove_error *err)
{
	struct directory d = { .fs = fs, .node = node };
	size_t n = 0, bytes = 2 * entry_bytes(2);
	LIST_FOREACH (i, &node->children) {
		bytes += entry_bytes(LIST_ENTRY(i, struct tree_node, siblings)->name_size);
		n++;
	}

	node->inode->size = 0;
	int r = bytes <= EXT4_BLOCK_BYTES ? write_plain(&d, err) : write_indexed(&d, n, err);
	if (r >= 0)
		r = ext4_write_end(fs, node->inode, err);
	free(d.entries);
	free(d.leaves);
	return r;
}
