/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_TEST_H
#define IMAGE_TEST_H

/* What the tests of images share: making tarballs, importing them, and looking into the result. */

#include <archive.h>
#include <archive_entry.h>
#include <ext2fs/ext2fs.h>
#include <stdint.h>

#include "harness/tap.h"
#include "image/store.h"

/* A tarball in the making, in the test's folder. NULL filter: not compressed. */
struct tar {
	struct archive *archive;
	char path[256];
};

struct tar tar_begin(const char *name, int (*filter)(struct archive *));
/* An entry with the usual owner and time; more of it is set before tar_put(). */
struct archive_entry *tar_entry(const char *path, unsigned type, unsigned mode);
/* Writes the entry with its contents, and frees it. */
void tar_put(struct tar *tar, struct archive_entry *entry, const void *data, size_t size);
void tar_dir(struct tar *tar, const char *path, unsigned mode);
void tar_file(struct tar *tar, const char *path, unsigned mode, const char *text);
void tar_symlink(struct tar *tar, const char *path, const char *target);
void tar_link(struct tar *tar, const char *path, const char *target);
void tar_end(struct tar *tar);

/* A ustar header, byte for byte, with the right checksum. */
void tar_header(uint8_t ret[512], const char *name, char type, uint64_t size);
/* Some bytes of a header; strings without their NUL. */
void tar_field(uint8_t header[512], size_t at, const char *bytes, size_t size);
/* Of a header that was changed. */
void tar_checksum(uint8_t header[512]);
/* A file of the test's folder with these bytes; its path. */
const char *write_file(const char *name, const void *data, size_t size);

/* Imports as `img`, in place of what was there; the error's text must contain `message`. */
void import_ok(const char *source);
void import_fails(const char *source, int code, const char *message);
/* How many entries the store's folder has, locks not counted. */
int store_entries(void);

/* The image's filesystem, checked by e2fsck and open for reading. */
ext2_filsys fs_open(const char *image);
void fs_close(ext2_filsys fs);
/* 0: there is nothing of that name. Links are not followed. */
ext2_ino_t fs_find(ext2_filsys fs, const char *path);
struct ext2_inode_large fs_stat(ext2_filsys fs, const char *path);
/* Of a file or symbolic link; with a NUL behind it, and allocated. */
char *fs_read(ext2_filsys fs, const char *path, size_t *ret_size);
void fs_check_text(ext2_filsys fs, const char *path, const char *text);
/* -1: there is no such attribute. */
long long fs_xattr(ext2_filsys fs, const char *path, const char *name, void *ret, size_t max);

/* Runs a program found in PATH or /sbin; its exit status, 128+n for a signal. */
int run_program(const char *const argv[]);
/* In a child that has given up being root, where this is root. */
void as_nobody(void (*function)(void));

#endif
