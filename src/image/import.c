/* SPDX-License-Identifier: Apache-2.0 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/macro.h"
#include "image/acl.h"
#include "image/description.h"
#include "image/ext4.h"
#include "image/mkfs.h"
#include "image/source.h"
#include "image/staging.h"
#include "image/store.h"
#include "image/text.h"
#include "image/tree.h"

#define SIZE_UNIT_BYTES (UINT64_C(1) << 30) /* a size that was not asked for is a round one */
/* When the content turns out not to fit the size guessed for it, it is tried with so much more. */
#define GROWTH 4

/* The kernel's own limits of one extended attribute. */
#define XATTR_NAME_MAX_BYTES 255
#define XATTR_DATA_MAX_BYTES 65536

#define DEVICE_MAJOR_MAX 0xfff
#define DEVICE_MINOR_MAX 0xfffff

DEFINE_CLEANUP(struct tree_inode *, tree_inode_free)

struct import {
	const struct image_import_options *options;
	struct source *source;
	struct ext4 *fs;
	struct tree tree;
	uint64_t entries, content_bytes;
};

static void note(const struct import *im, const char *path, const char *what, const char *why)
{
	char line[512];
	if (!im->options->on_note)
		return;
	snprintf(line, sizeof(line), "%.200s: %s%.64s", path, what, why);
	im->options->on_note(im->options->arg, line);
}

static bool can_keep_xattr(const char *name)
{
	static const char *const prefixes[] = { "user.", "security.", "trusted." };
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		size_t n = strlen(prefixes[i]);
		if (!strncmp(name, prefixes[i], n) && name[n])
			return strlen(name) <= XATTR_NAME_MAX_BYTES;
	}
	return false;
}

static int add_xattrs(const struct import *im, const char *path, struct archive_entry *entry,
		      struct tree_inode *inode, struct cove_error *err)
{
	const char *name;
	const void *data;
	size_t size;
	archive_entry_xattr_reset(entry);
	while (archive_entry_xattr_next(entry, &name, &data, &size) == ARCHIVE_OK) {
		if (name && acl_has_xattr(entry, name))
			continue;
		if (!name || !can_keep_xattr(name)) {
			note(im, path, "left out the extended attribute ", name ? name : "?");
			continue;
		}
		if (size > XATTR_DATA_MAX_BYTES)
			return error_set(err, COVE_E_IMAGE,
					 "its extended attribute %.64s is larger than %d bytes",
					 name, XATTR_DATA_MAX_BYTES);
		if (tree_inode_set_xattr(inode, name, data, size) < 0)
			return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	}
	return 0;
}

static int set_owner(struct archive_entry *entry, struct tree_inode *inode, struct cove_error *err)
{
	la_int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);
	/* The last number means "none" to the kernel. */
	if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
		return error_set(err, COVE_E_IMAGE, "its owner %lld:%lld is out of range",
				 (long long)uid, (long long)gid);
	inode->uid = (uint32_t)uid;
	inode->gid = (uint32_t)gid;
	return 0;
}

static int set_kind(struct archive_entry *entry, struct tree_inode *inode, struct cove_error *err)
{
	uint32_t type = archive_entry_filetype(entry);
	inode->mode = type | (archive_entry_perm(entry) & 07777);
	switch (type) {
	case AE_IFREG:
		if (archive_entry_size(entry) < 0 ||
		    (uint64_t)archive_entry_size(entry) > EXT4_FILE_MAX_BYTES)
			return error_set(err, COVE_E_IMAGE, "it is larger than a file can be");
		inode->size = (uint64_t)archive_entry_size(entry);
		return 0;
	case AE_IFLNK: {
		const char *target = archive_entry_symlink(entry);
		if (!target || !*target || strlen(target) > TREE_PATH_MAX_BYTES)
			return error_set(
				err, COVE_E_IMAGE,
				"it is a symbolic link to nothing, or to more than %d bytes",
				TREE_PATH_MAX_BYTES);
		inode->target = strdup(target);
		return inode->target ? 0 : error_set(err, COVE_E_NO_MEMORY, "out of memory");
	}
	case AE_IFCHR:
	case AE_IFBLK: {
		dev_t major = archive_entry_rdevmajor(entry),
		      minor = archive_entry_rdevminor(entry);
		if (major > DEVICE_MAJOR_MAX || minor > DEVICE_MINOR_MAX)
			return error_set(err, COVE_E_IMAGE, "its device number is out of range");
		inode->device_major = (uint32_t)major;
		inode->device_minor = (uint32_t)minor;
		return 0;
	}
	case AE_IFDIR:
	case AE_IFIFO:
		return 0;
	}
	return error_set(err, COVE_E_IMAGE, "it is of an unknown kind (mode %o)", (unsigned)type);
}

static int inode_from_entry(const struct import *im, const char *path, struct archive_entry *entry,
			    struct tree_inode **ret, struct cove_error *err)
{
	_cleanup_(tree_inode_freep) struct tree_inode *inode = tree_inode_new();
	if (!inode)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");

	inode->mtime_s = im->tree.now_s;
	if (archive_entry_mtime_is_set(entry)) {
		long ns = archive_entry_mtime_nsec(entry);
		inode->mtime_s = archive_entry_mtime(entry);
		inode->mtime_ns = ns >= 0 && ns < 1000000000 ? (uint32_t)ns : 0;
	}
	int r = set_kind(entry, inode, err);
	if (r >= 0)
		r = set_owner(entry, inode, err);
	if (r >= 0)
		r = add_xattrs(im, path, entry, inode, err);
	if (r >= 0)
		r = acl_from_entry(entry, inode, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(inode);
	return 0;
}

static int copy_contents(struct import *im, struct tree_inode *inode, struct cove_error *err)
{
	const void *data;
	size_t size;
	uint64_t offset, end = 0;
	for (;;) {
		int r = source_data(im->source, &data, &size, &offset, err);
		if (r < 0)
			return r;
		if (r == 0)
			return ext4_write_end(im->fs, inode, err);
		if (size == 0)
			continue;
		/* A map of holes can say anything. */
		if (offset < end || offset > inode->size || size > inode->size - offset)
			return error_set(err, COVE_E_IMAGE, "its contents are out of order");
		r = ext4_write(im->fs, inode, offset, data, size, err);
		if (r < 0)
			return r;
		end = offset + size;
		im->content_bytes += size;
	}
}

static int add_entry(struct import *im, const char *path, const char *link,
		     struct archive_entry *entry, struct cove_error *err)
{
	/* Contents that come with a link are those of the file it is a link to. */
	if (link)
		return tree_link(&im->tree, path, link, err);
	if (archive_entry_filetype(entry) == AE_IFSOCK) {
		note(im, path, "left out a socket", "");
		return 0;
	}

	_cleanup_(tree_inode_freep) struct tree_inode *inode = NULL;
	int r = inode_from_entry(im, path, entry, &inode, err);
	if (r >= 0)
		r = tree_put(&im->tree, path, inode, err);
	if (r < 0)
		return r;
	struct tree_inode *put = TAKE_PTR(inode);
	return S_ISREG(put->mode) && put->size > 0 ? copy_contents(im, put, err) : 0;
}

/* The name of the entry that happened to be the one does not help with a full disk. */
static bool is_about_entry(int code)
{
	return code == COVE_E_IMAGE || code == COVE_E_LIMIT;
}

static int read_source(struct import *im, struct cove_error *err)
{
	for (;;) {
		struct archive_entry *entry;
		const char *path, *link;
		int r = source_next(im->source, &entry, &path, &link, err);
		if (r < 0)
			return r;
		if (r == 0)
			break;
		r = add_entry(im, path, link, entry, err);
		if (r < 0)
			return is_about_entry(r)
				       ? error_add_context(err, r, "%.200s", *path ? path : "/")
				       : r;
		im->entries++;
		if (im->options->on_progress)
			im->options->on_progress(im->options->arg, im->entries, im->content_bytes);
	}
	if (im->entries == 0)
		return error_set(err, COVE_E_IMAGE, "the archive is empty");
	return 0;
}

struct attempt {
	const char *source;
	const struct image_import_options *options;
	struct staging *staging;
	uint64_t size;	  /* of the filesystem; 0: to be chosen */
	bool full;	  /* set: it was too small */
	bool can_restart; /* set: the source can be read once more */
};

static uint64_t choose_size(const struct source *source)
{
	uint64_t need = MIN(source_size(source), IMAGE_DISK_MAX_BYTES / 2) * 2;
	need = (need + SIZE_UNIT_BYTES - 1) / SIZE_UNIT_BYTES * SIZE_UNIT_BYTES;
	return MAX(need, IMAGE_DISK_DEFAULT_BYTES);
}

static int open_source(struct attempt *a, struct source **ret, struct cove_error *err)
{
	struct source_options options = {
		.cancel_fd = a->options->cancel_fd,
		.on_note = a->options->on_note,
		.arg = a->options->arg,
	};
	if (fstat(a->staging->fd, &options.skip) < 0)
		return error_set_errno(err, COVE_E_SYSTEM, errno, "%.200s", a->staging->images);
	int r = source_open(a->source, &options, ret, err);
	if (r < 0)
		return r;
	a->can_restart = source_can_restart(*ret);
	if (a->size == 0)
		a->size = choose_size(*ret);
	return 0;
}

static int open_disk(const struct attempt *a, struct ext4 **ret, struct cove_error *err)
{
	_cleanup_free_ char *path = NULL;
	const struct staging *s = a->staging;
	if (text_format(&path, "%s/%s/" IMAGE_DISK_FILE, s->images, s->own_name) < 0)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	int r = mkfs_ext4(path, a->size, err);
	return r < 0 ? r : ext4_open(path, ret, err);
}

static void import_done(struct import *im)
{
	tree_done(&im->tree);
	ext4_free(im->fs);
	source_free(im->source);
}

static int make_disk(struct attempt *a, struct cove_error *err)
{
	_cleanup_(import_done) struct import im = { .options = a->options };
	int r = open_source(a, &im.source, err);
	if (r >= 0)
		r = open_disk(a, &im.fs, err);
	if (r < 0)
		return r;

	im.tree.release = ext4_release;
	im.tree.release_arg = im.fs;
	im.tree.now_s = (int64_t)(clock_realtime_ns() / 1000000000);
	r = tree_init(&im.tree, err);
	if (r >= 0)
		r = read_source(&im, err);
	if (r >= 0)
		r = ext4_finish(im.fs, &im.tree, err);
	a->full = r < 0 && ext4_is_full(im.fs);
	return r;
}

/* A wrong guess of ours is tried again with more; what the user said is not. */
static int make_disk_of_right_size(struct attempt *a, struct cove_error *err)
{
	for (;;) {
		int r = make_disk(a, err);
		if (r >= 0 || !a->full)
			return r;
		if (a->options->disk_bytes || !a->can_restart ||
		    a->size > IMAGE_DISK_MAX_BYTES / GROWTH)
			return error_set(err, COVE_E_LIMIT,
					 "the content does not fit a filesystem of %llu MiB; give "
					 "it a larger --size",
					 (unsigned long long)(a->size >> 20));
		a->size *= GROWTH;
	}
}

static int describe_and_commit(const struct attempt *a, struct cove_error *err)
{
	struct staging *s = a->staging;
	int r = description_write(s->fd, s->name, a->size, clock_realtime_ns(), a->options);
	if (r >= 0 && fchmodat(s->fd, IMAGE_DISK_FILE, 0444, 0) < 0)
		r = -errno;
	if (r < 0)
		return error_set_errno(err, COVE_E_SYSTEM, r, "%.200s", s->images);
	return staging_commit(s, a->options->replace, err);
}

static int check_options(const char *name, const struct image_import_options *options,
			 struct cove_error *err)
{
	int r = image_name_check(name, err);
	if (r < 0)
		return r;
	if (options->disk_bytes && (options->disk_bytes < IMAGE_DISK_MIN_BYTES ||
				    options->disk_bytes > IMAGE_DISK_MAX_BYTES))
		return error_set(err, COVE_E_INVALID,
				 "an image's size is at least %u MiB and at most %u GiB",
				 (unsigned)(IMAGE_DISK_MIN_BYTES >> 20),
				 (unsigned)(IMAGE_DISK_MAX_BYTES >> 30));
	return description_check(options, err);
}

int image_store_import(const char *name, const char *source,
		       const struct image_import_options *options, struct cove_error *err)
{
	static const struct image_import_options defaults = IMAGE_IMPORT_OPTIONS_INIT;
	if (!options)
		options = &defaults;
	int r = check_options(name, options, err);
	if (r < 0)
		return r;

	_cleanup_(staging_done) struct staging staging = STAGING_INIT;
	r = staging_begin(&staging, name, options->replace, err);
	if (r < 0)
		return r;

	struct attempt a = {
		.source = source,
		.options = options,
		.staging = &staging,
		.size = (options->disk_bytes + 4095) / 4096 * 4096,
	};
	r = make_disk_of_right_size(&a, err);
	return r < 0 ? r : describe_and_commit(&a, err);
}
