/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that an archive can say is in the image afterwards, and e2fsck has nothing to add. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "image-test.h"

#define BLOCK 4096

static void fill(uint8_t *data, size_t n, uint32_t seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		data[i] = (uint8_t)(seed >> 24);
	}
}

static uint32_t owner(const struct ext2_inode_large *in)
{
	return in->i_uid | (uint32_t)in->osd2.linux2.l_i_uid_high << 16;
}

static uint32_t group(const struct ext2_inode_large *in)
{
	return in->i_gid | (uint32_t)in->osd2.linux2.l_i_gid_high << 16;
}

static void test_metadata(void)
{
	struct tar tar = tar_begin("t.tar", NULL);
	struct archive_entry *e = tar_entry("file", AE_IFREG, 06751);
	archive_entry_set_uid(e, 4000000000);
	archive_entry_set_gid(e, 70000);
	archive_entry_set_mtime(e, 1700000000, 999999999);
	tar_put(&tar, e, "hello", 5);
	tar_dir(&tar, "tmp", 01777);
	e = tar_entry("old", AE_IFREG, 0);
	archive_entry_set_mtime(e, -1000000000, 0);
	tar_put(&tar, e, "", 0);
	e = tar_entry("far", AE_IFREG, 0644);
	archive_entry_set_mtime(e, 10000000000, 1);
	tar_put(&tar, e, "", 0);
	tar_end(&tar);
	import_ok(tar.path);

	ext2_filsys fs = fs_open("img");
	struct ext2_inode_large in = fs_stat(fs, "file");
	CHECK_INT(in.i_mode, ==, (LINUX_S_IFREG | 06751));
	CHECK_INT(owner(&in), ==, 4000000000);
	CHECK_INT(group(&in), ==, 70000);
	CHECK_INT(in.i_mtime, ==, 1700000000);
	CHECK_INT(in.i_mtime_extra >> 2, ==, 999999999);
	CHECK_INT(in.i_mtime_extra & 3, ==, 0);
	CHECK_INT(in.i_links_count, ==, 1);
	fs_check_text(fs, "file", "hello");
	in = fs_stat(fs, "tmp");
	CHECK_INT(in.i_mode, ==, (LINUX_S_IFDIR | 01777));
	CHECK_INT(in.i_links_count, ==, 2);
	in = fs_stat(fs, "old");
	CHECK_INT((int32_t)in.i_mtime, ==, -1000000000);
	CHECK_INT(in.i_mtime_extra & 3, ==, 0);
	CHECK_INT(in.i_size, ==, 0);
	in = fs_stat(fs, "far");
	CHECK_INT((int64_t)(int32_t)in.i_mtime + ((int64_t)(in.i_mtime_extra & 3) << 32), ==,
		  10000000000);
	in = fs_stat(fs, "");
	CHECK_INT(in.i_mode, ==, (LINUX_S_IFDIR | 0755));
	CHECK_INT(in.i_links_count, ==, 3);
	CHECK_INT(fs_find(fs, "lost+found"), ==, 0);
	fs_close(fs);
}

static void test_root_entry(void)
{
	struct tar tar = tar_begin("t.tar", NULL);
	struct archive_entry *e = tar_entry("./", AE_IFDIR, 0711);
	archive_entry_set_uid(e, 7);
	tar_put(&tar, e, NULL, 0);
	tar_end(&tar);
	import_ok(tar.path);

	ext2_filsys fs = fs_open("img");
	struct ext2_inode_large in = fs_stat(fs, "");
	CHECK_INT(in.i_mode, ==, (LINUX_S_IFDIR | 0711));
	CHECK_INT(in.i_uid, ==, 7);
	fs_close(fs);
}

static void test_contents(void)
{
	static const size_t sizes[] = { 1,	   BLOCK - 1,	  BLOCK,	 BLOCK + 1,
					1 << 20,   (1 << 20) + 1, (1 << 20) - 1, 5 << 20,
					8 * BLOCK, 3333333 };
	uint8_t *data = malloc(5 << 20);
	char name[32];
	struct tar tar = tar_begin("t.tar", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		snprintf(name, sizeof(name), "f%zu", i);
		fill(data, sizes[i], (uint32_t)i);
		tar_put(&tar, tar_entry(name, AE_IFREG, 0644), data, sizes[i]);
	}
	tar_end(&tar);
	import_ok(tar.path);

	ext2_filsys fs = fs_open("img");
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t size;
		snprintf(name, sizeof(name), "f%zu", i);
		fill(data, sizes[i], (uint32_t)i);
		char *got = fs_read(fs, name, &size);
		CHECK_MEM(got, size, data, sizes[i]);
		free(got);
	}
	fs_close(fs);
	free(data);
}

/* Pieces of data with holes between them: the data is right, the holes take no blocks. */
static void test_sparse(void)
{
	static const struct {
		uint64_t offset, size;
	} pieces[] = {
		{ 10, 20 },		      /* a part of the first block */
		{ 4000, 200 },		      /* the same block, and the next one */
		{ 1 << 20, BLOCK },	      /* a block of its own */
		{ (1 << 20) + 3 * BLOCK, 1 }, /* in the middle of nothing */
		{ (8 << 20) + 5, 2 << 20 },
	};
	const uint64_t total = UINT64_C(3) << 30;
	uint8_t *data = calloc(1, 11 << 20);
	struct tar tar = tar_begin("t.tar", NULL);
	struct archive_entry *e = tar_entry("sparse", AE_IFREG, 0644);
	archive_entry_set_size(e, (la_int64_t)total);
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		archive_entry_sparse_add_entry(e, (la_int64_t)pieces[i].offset,
					       (la_int64_t)pieces[i].size);
		fill(data + pieces[i].offset, pieces[i].size, (uint32_t)i);
	}
	/* The writer skips what is in a hole. */
	CHECK_INT(archive_write_header(tar.archive, e), ==, ARCHIVE_OK);
	CHECK_INT(archive_write_data(tar.archive, data, 11 << 20), ==, 11 << 20);
	archive_entry_free(e);
	tar_end(&tar);
	import_ok(tar.path);

	ext2_filsys fs = fs_open("img");
	struct ext2_inode_large in = fs_stat(fs, "sparse");
	CHECK_INT(in.i_size | (uint64_t)in.i_size_high << 32, ==, total);
	const unsigned blocks = 2 + 1 + 1 + 513;
	CHECK_INT(in.i_blocks / 8, >=, blocks);
	CHECK_INT(in.i_blocks / 8, <=, blocks + 1); /* one for the extents, if they are too many */
	ext2_file_t file;
	uint8_t *got = calloc(1, 11 << 20);
	unsigned n;
	CHECK_INT(ext2fs_file_open(fs, fs_find(fs, "sparse"), 0, &file), ==, 0);
	CHECK_INT(ext2fs_file_read(file, got, 11 << 20, &n), ==, 0);
	CHECK_MEM(got, n, data, 11 << 20);
	ext2fs_file_close(file);
	fs_close(fs);
	free(got);
	free(data);
}

/* More extents than the inode has room for. */
static void test_many_extents(void)
{
	enum { N = 3000 };
	uint8_t *data = calloc(N * 2, BLOCK);
	struct tar tar = tar_begin("t.tar", NULL);
	struct archive_entry *e = tar_entry("holes", AE_IFREG, 0644);
	archive_entry_set_size(e, N * 2 * BLOCK);
	for (size_t i = 0; i < N; i++) {
		archive_entry_sparse_add_entry(e, (la_int64_t)(2 * i * BLOCK), BLOCK);
		fill(data + 2 * i * BLOCK, BLOCK, (uint32_t)i);
	}
	tar_put(&tar, e, data, N * 2 * BLOCK);
	tar_end(&tar);
	import_ok(tar.path);

	ext2_filsys fs = fs_open("img");
	size_t size;
	char *got = fs_read(fs, "holes", &size);
	CHECK_MEM(got, size, data, (size_t)N * 2 * BLOCK);
	CHECK_INT(fs_stat(fs, "holes").i_blocks / 8, >=, N);
	CHECK_INT(fs_stat(fs, "holes").i_blocks / 8, <, N + 20);
	free(got);
	free(data);
	fs_close(fs);
}

static void test_links(void)
{
	char fast[60], slow[61], longest[4096];
	memset(fast, 'f', sizeof(fast));
	memset(slow, 's', sizeof(slow));
	memset(longest, 'l', sizeof(longest));
	fast[59] = slow[60] = longest[4095] = 0;

	struct tar tar = tar_begin("t.tar", NULL);
	tar_symlink(&tar, "fast", fast);
	tar_symlink(&tar, "slow", slow);
	tar_symlink(&tar, "longest", longest);
	tar_file(&tar, "d/a", 0644, "same");
	tar_link(&tar, "b", "d/a");
	tar_link(&tar, "d/c", "./b");
	tar_link(&tar, "slow-too", "slow");
	tar_end(&tar);
	import_ok(tar.path);

	ext2_filsys fs = fs_open("img");
	fs_check_text(fs, "fast", fast);
	fs_check_text(fs, "slow", slow);
	fs_check_text(fs, "longest", longest);
	fs_check_text(fs, "slow-too", slow);
	CHECK_INT(fs_stat(fs, "fast").i_blocks, ==, 0);
	CHECK_INT(fs_stat(fs, "slow").i_blocks, ==, 8);
	CHECK_INT(fs_stat(fs, "slow").i_links_count, ==, 2);
	CHECK_INT(fs_find(fs, "b"), ==, fs_find(fs, "d/a"));
	CHECK_INT(fs_find(fs, "d/c"), ==, fs_find(fs, "d/a"));
	CHECK_INT(fs_stat(fs, "b").i_links_count, ==, 3);
	fs_check_text(fs, "d/c", "same");
	fs_close(fs);
}

static void put_device(struct tar *tar, const char *path, unsigned type, unsigned a, unsigned b)
{
	struct archive_entry *e = tar_entry(path, type, 0660);
	archive_entry_set_rdevmajor(e, a);
	archive_entry_set_rdevminor(e, b);
	tar_put(tar, e, NULL, 0);
}

static void test_special_files(void)
{
	struct tar tar = tar_begin("t.tar", NULL);
	put_device(&tar, "null", AE_IFCHR, 1, 3);
	put_device(&tar, "vda", AE_IFBLK, 254, 255);
	put_device(&tar, "big", AE_IFBLK, 259, 0x12345);
	tar_put(&tar, tar_entry("fifo", AE_IFIFO, 0622), NULL, 0);
	tar_end(&tar);
	import_ok(tar.path);

	ext2_filsys fs = fs_open("img");
	CHECK_INT(fs_stat(fs, "null").i_mode, ==, (LINUX_S_IFCHR | 0660));
	CHECK_INT(fs_stat(fs, "null").i_block[0], ==, 0x0103);
	CHECK_INT(fs_stat(fs, "vda").i_block[0], ==, 0xfeff);
	CHECK_INT(fs_stat(fs, "big").i_block[0], ==, 0);
	CHECK_INT(fs_stat(fs, "big").i_block[1], ==, makedev(259, 0x12345));
	CHECK_INT(fs_stat(fs, "fifo").i_mode, ==, (LINUX_S_IFIFO | 0622));
	fs_close(fs);
}

static void test_xattrs(void)
{
	/* security.capability: cap_net_raw+ep, version 2. */
	static const uint8_t capability[20] = { 1, 0, 0, 2, 0, 0x20 };
	uint8_t large[3000], got[4096];
	fill(large, sizeof(large), 1);
	struct tar tar = tar_begin("t.tar", NULL);
	struct archive_entry *e = tar_entry("ping", AE_IFREG, 0755);
	archive_entry_xattr_add_entry(e, "security.capability", capability, sizeof(capability));
	tar_put(&tar, e, "", 0);
	e = tar_entry("many", AE_IFREG, 0755);
	archive_entry_xattr_add_entry(e, "user.zeta", "z", 1);
	archive_entry_xattr_add_entry(e, "user.large", large, sizeof(large));
	archive_entry_xattr_add_entry(e, "trusted.t", "t\0t", 3);
	archive_entry_xattr_add_entry(e, "user.a", "a", 1);
	archive_entry_xattr_add_entry(e, "com.example.other", "o", 1);
	tar_put(&tar, e, "text", 4);
	e = tar_entry("dir", AE_IFDIR, 0755);
	archive_entry_xattr_add_entry(e, "user.d", "dir", 3);
	tar_put(&tar, e, NULL, 0);
	tar_end(&tar);
	import_ok(tar.path);

	ext2_filsys fs = fs_open("img");
	CHECK_MEM(got, fs_xattr(fs, "ping", "security.capability", got, sizeof(got)), capability,
		  (long long)sizeof(capability));
	CHECK_MEM(got, fs_xattr(fs, "many", "user.large", got, sizeof(got)), large,
		  (long long)sizeof(large));
	CHECK_MEM(got, fs_xattr(fs, "many", "user.zeta", got, sizeof(got)), "z", 1);
	CHECK_MEM(got, fs_xattr(fs, "many", "user.a", got, sizeof(got)), "a", 1);
	CHECK_MEM(got, fs_xattr(fs, "many", "trusted.t", got, sizeof(got)), "t\0t", 3);
	CHECK_MEM(got, fs_xattr(fs, "dir", "user.d", got, sizeof(got)), "dir", 3);
	CHECK_INT(fs_xattr(fs, "many", "com.example.other", got, sizeof(got)), ==, -1);
	fs_check_text(fs, "many", "text");
	fs_close(fs);
}

/* As the kernel's setxattr() has it: version 2; entries of tag, permissions, id. */
#define ACL_ENTRY(tag, permissions, id)                                                            \
	(tag), 0, (permissions), 0, (id)&0xff, ((id) >> 8) & 0xff, ((id) >> 16) & 0xff, (id) >> 24
#define NO_ID 0u /* the disk has none where none is needed, and libext2fs says it like this */

/* clang-format off */
static const uint8_t acl_access[] = {
	2, 0, 0, 0,
	ACL_ENTRY(0x01, 7, NO_ID),
	ACL_ENTRY(0x02, 5, 1000u),
	ACL_ENTRY(0x02, 4, 2000u),
	ACL_ENTRY(0x04, 4, NO_ID),
	ACL_ENTRY(0x10, 5, NO_ID),
	ACL_ENTRY(0x20, 1, NO_ID),
};
/* clang-format on */

static void add_acl(struct archive_entry *e, int type)
{
	archive_entry_acl_add_entry(e, type, 4, ARCHIVE_ENTRY_ACL_USER, 2000, NULL);
	archive_entry_acl_add_entry(e, type, 5, ARCHIVE_ENTRY_ACL_MASK, -1, NULL);
	archive_entry_acl_add_entry(e, type, 7, ARCHIVE_ENTRY_ACL_USER_OBJ, -1, NULL);
	archive_entry_acl_add_entry(e, type, 4, ARCHIVE_ENTRY_ACL_GROUP_OBJ, -1, NULL);
	archive_entry_acl_add_entry(e, type, 1, ARCHIVE_ENTRY_ACL_OTHER, -1, NULL);
	archive_entry_acl_add_entry(e, type, 5, ARCHIVE_ENTRY_ACL_USER, 1000, NULL);
}

static void test_acls(void)
{
	uint8_t got[256];
	struct tar tar = tar_begin("t.tar", NULL);
	struct archive_entry *e = tar_entry("file", AE_IFREG, 0751);
	add_acl(e, ARCHIVE_ENTRY_ACL_TYPE_ACCESS);
	tar_put(&tar, e, "", 0);
	e = tar_entry("dir", AE_IFDIR, 0755);
	add_acl(e, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT);
	tar_put(&tar, e, NULL, 0);
	tar_end(&tar);
	import_ok(tar.path);

	ext2_filsys fs = fs_open("img");
	CHECK_MEM(got, fs_xattr(fs, "file", "system.posix_acl_access", got, sizeof(got)),
		  acl_access, (long long)sizeof(acl_access));
	CHECK_INT(fs_stat(fs, "file").i_mode & 07777, ==, 0751); /* the mask, not the group's 4 */
	CHECK_MEM(got, fs_xattr(fs, "dir", "system.posix_acl_default", got, sizeof(got)),
		  acl_access, (long long)sizeof(acl_access));
	CHECK_INT(fs_xattr(fs, "dir", "system.posix_acl_access", got, sizeof(got)), ==, -1);
	fs_close(fs);
}

/* Names are bytes: not converted, not normalised, whatever the locale of the caller. */
static void test_names(void)
{
	static const char *const names[] = {
		"nfc-\xc3\xa9",	 "nfd-e\xcc\x81", "latin1-\xe9", "new\nline",
		"back\\slash*?", " blank ",	  "\xff\xfe",	 "-rf",
	};
	char longest[256];
	memset(longest, 'x', 255);
	longest[255] = 0;
	longest[0] = (char)0xc3;
	longest[1] = (char)0xa9;
	struct tar tar = tar_begin("t.tar", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		tar_file(&tar, names[i], 0644, names[i]);
	tar_file(&tar, longest, 0644, "long");
	tar_symlink(&tar, "link", "to-\xe9-\xc3\xa9");
	tar_end(&tar);
	import_ok(tar.path);

	ext2_filsys fs = fs_open("img");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		fs_check_text(fs, names[i], names[i]);
	fs_check_text(fs, longest, "long");
	fs_check_text(fs, "link", "to-\xe9-\xc3\xa9");
	fs_close(fs);
}

static void test_deep_and_long(void)
{
	char path[4096];
	size_t n = 0;
	for (int depth = 0; n < 3800; depth++)
		n += (size_t)snprintf(path + n, sizeof(path) - n, "directory-%04d/", depth);
	snprintf(path + n, sizeof(path) - n, "file");
	struct tar tar = tar_begin("t.tar", NULL);
	tar_file(&tar, path, 0644, "deep");
	tar_end(&tar);
	import_ok(tar.path);

	ext2_filsys fs = fs_open("img");
	fs_check_text(fs, path, "deep");
	fs_close(fs);
}

/* Names so long that the index of the directory has two levels. */
static void test_large_directories(void)
{
	enum { SHORT = 10000, LONG = 9000 };
	char name[300], pad[240];
	memset(pad, 'p', sizeof(pad));
	pad[239] = 0;
	struct tar tar = tar_begin("t.tar", NULL);
	for (int i = 0; i < SHORT; i++) {
		snprintf(name, sizeof(name), "short/%d", i);
		tar_file(&tar, name, 0644, "");
	}
	for (int i = 0; i < LONG; i++) {
		snprintf(name, sizeof(name), "long/%d-%s", i, pad);
		tar_link(&tar, name, "short/7");
	}
	tar_end(&tar);
	import_ok(tar.path);

	ext2_filsys fs = fs_open("img");
	CHECK(fs_stat(fs, "short").i_flags & EXT2_INDEX_FL);
	CHECK(fs_stat(fs, "long").i_flags & EXT2_INDEX_FL);
	CHECK(!(fs_stat(fs, "").i_flags & EXT2_INDEX_FL));
	CHECK_INT(fs_stat(fs, "long").i_size / BLOCK, >, 508);
	CHECK_INT(fs_stat(fs, "short/7").i_links_count, ==, LONG + 1);
	for (int i = 0; i < SHORT; i += 997) {
		snprintf(name, sizeof(name), "short/%d", i);
		CHECK(fs_find(fs, name) != 0);
		snprintf(name, sizeof(name), "long/%d-%s", i % LONG, pad);
		CHECK_INT(fs_find(fs, name), ==, fs_find(fs, "short/7"));
	}
	fs_close(fs);
}

static void test_order_and_repetition(void)
{
	uint8_t *data = malloc(3 << 20);
	fill(data, 3 << 20, 5);
	struct tar tar = tar_begin("t.tar", NULL);
	tar_file(&tar, "a/b/file", 0644, "before its parents");
	tar_dir(&tar, "a/b", 0700);
	tar_dir(&tar, "a", 0711);
	tar_put(&tar, tar_entry("twice", AE_IFREG, 0600), data, 3 << 20);
	tar_file(&tar, "./twice", 0644, "second");
	tar_file(&tar, "/abs/olute", 0644, "stripped");
	tar_file(&tar, "dir-then-file/x", 0644, "gone");
	tar_file(&tar, "dir-then-file", 0644, "file");
	tar_file(&tar, "linked", 0644, "kept by the link");
	tar_link(&tar, "link", "linked");
	tar_file(&tar, "linked", 0644, "new");
	tar_end(&tar);
	import_ok(tar.path);

	ext2_filsys fs = fs_open("img");
	CHECK_INT(fs_stat(fs, "a").i_mode, ==, (LINUX_S_IFDIR | 0711));
	CHECK_INT(fs_stat(fs, "a/b").i_mode, ==, (LINUX_S_IFDIR | 0700));
	fs_check_text(fs, "a/b/file", "before its parents");
	fs_check_text(fs, "twice", "second");
	fs_check_text(fs, "abs/olute", "stripped");
	fs_check_text(fs, "dir-then-file", "file");
	fs_check_text(fs, "link", "kept by the link");
	fs_check_text(fs, "linked", "new");
	CHECK_INT(fs_stat(fs, "link").i_links_count, ==, 1);
	fs_close(fs);
	free(data);
}

static void test_compressions(void)
{
	static const struct {
		const char *name;
		int (*filter)(struct archive *);
	} filters[] = {
		{ "t.tar", NULL },
		{ "t.tar.gz", archive_write_add_filter_gzip },
		{ "t.tar.bz2", archive_write_add_filter_bzip2 },
		{ "t.tar.xz", archive_write_add_filter_xz },
		{ "t.tar.zst", archive_write_add_filter_zstd },
		{ "t.tar.lz4", archive_write_add_filter_lz4 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		struct tar tar = tar_begin(filters[i].name, filters[i].filter);
		tar_file(&tar, "which", 0644, filters[i].name);
		tar_end(&tar);
		import_ok(tar.path);
		ext2_filsys fs = fs_open("img");
		fs_check_text(fs, "which", filters[i].name);
		fs_close(fs);
	}
}

static void test_stdin(void)
{
	struct tar tar = tar_begin("t.tar", NULL);
	tar_file(&tar, "file", 0644, "through stdin");
	tar_end(&tar);
	int fd = open(tar.path, O_RDONLY | O_CLOEXEC), saved = dup(STDIN_FILENO);
	CHECK_SYS(dup2(fd, STDIN_FILENO));
	import_ok("-");
	CHECK_SYS(dup2(saved, STDIN_FILENO));
	close(saved);
	close(fd);

	ext2_filsys fs = fs_open("img");
	fs_check_text(fs, "file", "through stdin");
	fs_close(fs);
}

static unsigned notes;

static void on_note(void *arg, const char *text)
{
	(void)arg;
	tap_note("%s", text);
	CHECK_CONTAINS(text, "sock");
	notes++;
}

static void make_folder(const char *root)
{
	char path[512];
	CHECK_SYS(mkdir(root, 0755));
	CHECK_SYS(chdir(root));
	CHECK_SYS(mkdir("sub", 0750));
	int fd = open("sub/file", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	CHECK_SYS(fd);
	CHECK_INT(write(fd, "contents", 8), ==, 8);
	CHECK_SYS(ftruncate(fd, 5 << 20));
	CHECK_INT(pwrite(fd, "end", 3, (5 << 20) - 3), ==, 3);
	if (fsetxattr(fd, "user.note", "kept", 4, 0) < 0)
		tap_note("no user attributes here");
	close(fd);
	CHECK_SYS(link("sub/file", "hard"));
	CHECK_SYS(symlink("../nowhere", "sub/soft"));
	CHECK_SYS(mkfifo("fifo", 0600));
	CHECK_SYS(mknod("sub/sock", S_IFSOCK | 0600, 0));
	CHECK_SYS(mkdir("\xe9mpty", 0555));
	snprintf(path, sizeof(path), "%0250d", 0);
	CHECK_SYS(mkdir(path, 0755));
	CHECK_SYS(chdir("/"));
}

static void check_folder(void)
{
	char note[16];
	ext2_filsys fs = fs_open("img");
	CHECK_INT(fs_stat(fs, "").i_mode, ==, (LINUX_S_IFDIR | 0755));
	CHECK_INT(fs_stat(fs, "sub").i_mode, ==, (LINUX_S_IFDIR | 0750));
	struct ext2_inode_large in = fs_stat(fs, "sub/file");
	CHECK_INT(in.i_mode, ==, (LINUX_S_IFREG | 0640));
	CHECK_INT(owner(&in), ==, getuid());
	CHECK_INT(in.i_links_count, ==, 2);
	CHECK_INT(in.i_size, ==, 5 << 20);
	CHECK_INT(in.i_blocks, <=, 64); /* the hole is one */
	CHECK_INT(fs_find(fs, "hard"), ==, fs_find(fs, "sub/file"));
	char *data = fs_read(fs, "sub/file", NULL);
	CHECK_STR(data, "contents");
	CHECK_STR(data + (5 << 20) - 3, "end");
	free(data);
	long long n = fs_xattr(fs, "sub/file", "user.note", note, sizeof(note));
	if (n >= 0)
		CHECK_MEM(note, n, "kept", 4);
	fs_check_text(fs, "sub/soft", "../nowhere");
	CHECK_INT(fs_stat(fs, "fifo").i_mode, ==, (LINUX_S_IFIFO | 0600));
	CHECK_INT(fs_stat(fs, "\xe9mpty").i_mode, ==, (LINUX_S_IFDIR | 0555));
	CHECK_INT(fs_find(fs, "sub/sock"), ==, 0);
	fs_close(fs);
}

static void import_folder(void)
{
	struct image_import_options options = IMAGE_IMPORT_OPTIONS_INIT;
	struct cove_error err = COVE_ERROR_INIT;
	umask(022);
	make_folder(tap_path("tree"));
	options.on_note = on_note;
	CHECK_COVE(image_store_import("img", tap_path("tree/"), &options, &err), &err);
	CHECK_INT(notes, ==, 1);
	check_folder();
}

static void test_folder(void)
{
	import_folder();
}

static void test_folder_as_nobody(void)
{
	as_nobody(import_folder);
}

/* The image being made lies in the folder it is made of. */
static void test_folder_around_the_store(void)
{
	struct image_import_options options = IMAGE_IMPORT_OPTIONS_INIT;
	struct cove_error err = COVE_ERROR_INIT;
	int fd = open(tap_path("file"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	CHECK_SYS(fd);
	close(fd);
	CHECK_COVE(image_store_import("img", tap_dir(), &options, &err), &err);
	ext2_filsys fs = fs_open("img");
	CHECK(fs_find(fs, "file") != 0);
	CHECK(fs_find(fs, "data/images") != 0);
	char name[64];
	snprintf(name, sizeof(name), "data/images/.img.%d.tmp", (int)getpid());
	CHECK(fs_find(fs, name) != 0);
	snprintf(name, sizeof(name), "data/images/.img.%d.tmp/disk.ext4", (int)getpid());
	CHECK_INT(fs_find(fs, name), ==, 0);
	fs_close(fs);
}

static void make_tar_as_nobody(void)
{
	struct tar tar = tar_begin("t.tar", NULL);
	struct archive_entry *e = tar_entry("su", AE_IFREG, 04755);
	archive_entry_set_uid(e, 0);
	archive_entry_set_gid(e, 5);
	tar_put(&tar, e, "x", 1);
	put_device(&tar, "null", AE_IFCHR, 1, 3);
	tar_end(&tar);
	import_ok(tar.path);
	ext2_filsys fs = fs_open("img");
	struct ext2_inode_large in = fs_stat(fs, "su");
	CHECK_INT(owner(&in), ==, 0);
	CHECK_INT(group(&in), ==, 5);
	CHECK_INT(in.i_mode, ==, (LINUX_S_IFREG | 04755));
	CHECK_INT(fs_stat(fs, "null").i_mode, ==, (LINUX_S_IFCHR | 0660));
	fs_close(fs);
}

static void test_tar_as_nobody(void)
{
	as_nobody(make_tar_as_nobody);
}

/* It fits in no small filesystem, so the guess is wrong; the next one is not. */
static void test_size(void)
{
	struct image_import_options options = IMAGE_IMPORT_OPTIONS_INIT;
	struct cove_error err = COVE_ERROR_INIT;
	uint8_t *data = malloc(20 << 20);
	fill(data, 20 << 20, 3);
	struct tar tar = tar_begin("t.tar", NULL);
	tar_put(&tar, tar_entry("big", AE_IFREG, 0644), data, 20 << 20);
	tar_end(&tar);
	free(data);

	options.disk_bytes = 16 << 20;
	CHECK_INT(image_store_import("img", tar.path, &options, &err), ==, COVE_E_LIMIT);
	CHECK_CONTAINS(err.message, "does not fit a filesystem of 16 MiB");
	CHECK_INT(store_entries(), ==, 0);
	options.disk_bytes = (40 << 20) + 1;
	CHECK_COVE(image_store_import("img", tar.path, &options, &err), &err);
	struct image *image;
	CHECK_COVE(image_store_find("img", &image, &err), &err);
	CHECK_INT(image->disk_bytes, ==, (40 << 20) + 4096);
	CHECK_INT(image->used_bytes, >=, 20 << 20);
	image_free(image);
	fs_close(fs_open("img"));

	import_ok(tar.path);
	CHECK_COVE(image_store_find("img", &image, &err), &err);
	CHECK_INT(image->disk_bytes, ==, IMAGE_DISK_DEFAULT_BYTES);
	CHECK_INT(image->used_bytes, <, 24 << 20);
	image_free(image);

	options.replace = true;
	options.disk_bytes = 1;
	CHECK_INT(image_store_import("img", tar.path, &options, &err), ==, COVE_E_INVALID);
	options.disk_bytes = UINT64_MAX;
	CHECK_INT(image_store_import("img", tar.path, &options, &err), ==, COVE_E_INVALID);
}

/* Not more inodes than entries: names run out before blocks do. */
static void test_too_many_files(void)
{
	struct image_import_options options = IMAGE_IMPORT_OPTIONS_INIT;
	struct cove_error err = COVE_ERROR_INIT;
	char name[32];
	struct tar tar = tar_begin("t.tar", NULL);
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "%d", i);
		tar_file(&tar, name, 0644, "");
	}
	tar_end(&tar);
	options.disk_bytes = 16 << 20;
	CHECK_INT(image_store_import("img", tar.path, &options, &err), ==, COVE_E_LIMIT);
	CHECK_CONTAINS(err.message, "does not fit");
	import_ok(tar.path);
	fs_close(fs_open("img"));
}

static const struct tap_test tests[] = {
	{ "modes, owners and times", test_metadata },
	{ "the root's own entry", test_root_entry },
	{ "contents of all sizes", test_contents },
	{ "holes stay holes", test_sparse },
	{ "many extents", test_many_extents },
	{ "symbolic and hard links", test_links },
	{ "devices and FIFOs", test_special_files },
	{ "extended attributes", test_xattrs },
	{ "access control lists", test_acls },
	{ "names are bytes", test_names },
	{ "deep folders and long paths", test_deep_and_long },
	{ "large directories", test_large_directories },
	{ "entries in any order, and twice", test_order_and_repetition },
	{ "compressions", test_compressions },
	{ "an archive on stdin", test_stdin },
	{ "a folder", test_folder },
	{ "a folder, as a normal user", test_folder_as_nobody },
	{ "a folder with the store in it", test_folder_around_the_store },
	{ "an archive, as a normal user", test_tar_as_nobody },
	{ "the size of the filesystem", test_size },
	{ "more files than inodes", test_too_many_files },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
