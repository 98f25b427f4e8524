/* SPDX-License-Identifier: Apache-2.0 */
/* Archives made to do harm: one clear line says what is wrong, and nothing is left of them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image-test.h"
#include "image/tree.h"

static void test_dot_dot(void)
{
	static const char *const names[] = { "../evil", "a/../../evil", "/../evil", "a/.." };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct tar tar = tar_begin("t.tar", NULL);
		tar_file(&tar, "fine", 0644, "x");
		tar_file(&tar, names[i], 0644, "x");
		tar_end(&tar);
		import_fails(tar.path, COVE_E_IMAGE, "`..`");
	}
}

/* Through a link out of the tree: it ends in the image, and the host's file is as it was. */
static void test_symlink_out(void)
{
	struct tar tar = tar_begin("t.tar", NULL);
	const char *victim = write_file("victim", "host", 4);
	tar_symlink(&tar, "abs", tap_dir());
	tar_file(&tar, "abs/victim", 0644, "image");
	tar_symlink(&tar, "up", "../../../../../../../../../..");
	tar_file(&tar, "up/etc/passwd", 0644, "image");
	tar_symlink(&tar, "last", victim);
	tar_file(&tar, "last", 0644, "image");
	tar_end(&tar);
	import_ok(tar.path);

	char text[8] = "";
	int fd = open(victim, O_RDONLY | O_CLOEXEC);
	CHECK_INT(read(fd, text, sizeof(text)), ==, 4);
	CHECK_STR(text, "host");
	close(fd);
	ext2_filsys fs = fs_open("img");
	fs_check_text(fs, tap_path("victim"), "image");
	fs_check_text(fs, "etc/passwd", "image");
	fs_check_text(fs, "last", "image");
	fs_close(fs);
}

static void test_hard_links(void)
{
	struct tar tar = tar_begin("t.tar", NULL);
	tar_link(&tar, "shadow", "/etc/shadow");
	tar_end(&tar);
	import_fails(tar.path, COVE_E_IMAGE,
		     "shadow: it is a hard link to /etc/shadow, which is no");

	tar = tar_begin("t.tar", NULL);
	tar_link(&tar, "x", "../../etc/shadow");
	tar_end(&tar);
	import_fails(tar.path, COVE_E_IMAGE, "`..`");

	tar = tar_begin("t.tar", NULL);
	tar_symlink(&tar, "etc", "/etc");
	tar_link(&tar, "x", "etc/shadow");
	tar_end(&tar);
	import_fails(tar.path, COVE_E_IMAGE, "hard link to etc/shadow");

	tar = tar_begin("t.tar", NULL);
	tar_dir(&tar, "d", 0755);
	tar_link(&tar, "x", "d");
	tar_end(&tar);
	import_fails(tar.path, COVE_E_IMAGE, "a directory");
}

static void test_not_an_archive(void)
{
	uint8_t noise[10000];
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)(i * 7919 >> 3);
	import_fails(write_file("noise", noise, sizeof(noise)), COVE_E_IMAGE, "not a tar archive");
	import_fails(write_file("empty", "", 0), COVE_E_IMAGE, "not a tar archive");
	import_fails(write_file("text", "hello\n", 6), COVE_E_IMAGE, "not a tar archive");
	memset(noise, 0, sizeof(noise));
	import_fails(write_file("zeros", noise, sizeof(noise)), COVE_E_IMAGE, "empty");
	import_fails(tap_path("nothing"), COVE_E_NOT_FOUND, "No such file");
	/* A format that libarchive knows and we do not want it to. */
	import_fails(write_file("cpio", "070701000000", 12), COVE_E_IMAGE, "not a tar archive");
}

static void test_cut_short(void)
{
	static const double where[] = { 0.001, 0.3, 0.6, 0.98 };
	uint8_t *data = malloc(1 << 20);
	for (size_t i = 0; i < 1 << 20; i++)
		data[i] = (uint8_t)(i * i >> 5);
	for (int compressed = 0; compressed < 2; compressed++) {
		for (size_t i = 0; i < ARRAY_SIZE(where); i++) {
			struct tar tar = tar_begin(
				"t.tar", compressed ? archive_write_add_filter_gzip : NULL);
			tar_put(&tar, tar_entry("f", AE_IFREG, 0644), data, 1 << 20);
			tar_end(&tar);
			struct stat st;
			CHECK_SYS(stat(tar.path, &st));
			CHECK_SYS(truncate(tar.path, (off_t)((double)st.st_size * where[i])));
			import_fails(tar.path, COVE_E_IMAGE, "");
		}
	}
	free(data);
}

/* Every byte of a header, changed to a few values: an image or an error, and never a crash. */
static void test_damaged_headers(void)
{
	static const uint8_t values[] = { 0, '/', '9', 0x80, 0xff };
	uint8_t archive[512 * 6];
	struct image_import_options options = IMAGE_IMPORT_OPTIONS_INIT;
	options.disk_bytes = 16 << 20;
	options.replace = true;
	for (size_t at = 0; at < 300; at += 7) {
		memset(archive, 0, sizeof(archive));
		tar_header(archive, "file", '0', 5);
		tar_field(archive + 512, 0, "hello", 5);
		tar_header(archive + 1024, "link", '1', 0);
		tar_field(archive + 1024, 157, "file", 4);
		archive[at] = values[at % ARRAY_SIZE(values)];
		archive[1024 + at] = values[(at + 1) % ARRAY_SIZE(values)];
		tar_checksum(archive);
		tar_checksum(archive + 1024);
		struct cove_error err = COVE_ERROR_INIT;
		int r = image_store_import("img", write_file("t.tar", archive, sizeof(archive)),
					   &options, &err);
		CHECK((r == 0) != (*err.message != 0));
	}
}

static void import_header(const uint8_t *header, const char *message)
{
	uint8_t archive[512 * 4] = { 0 };
	memcpy(archive, header, 512);
	import_fails(write_file("t.tar", archive, sizeof(archive)), COVE_E_IMAGE, message);
}

/* Numbers past what their fields were made for, in base 256. */
static void test_numbers_out_of_range(void)
{
	uint8_t header[512];
	tar_header(header, "file", '0', 0);
	tar_field(header, 108, "\x80\0\0\1\0\0\0\0", 8); /* uid 2^32 */
	tar_checksum(header);
	import_header(header, "owner");

	tar_header(header, "file", '0', 0);
	tar_field(header, 116, "\xff\xff\xff\xff\xff\xff\xff\xff", 8); /* gid -1 */
	tar_checksum(header);
	import_header(header, "");

	tar_header(header, "file", '0', 0);
	tar_field(header, 124, "\x80\0\0\0\0\x7f\xff\xff\xff\xff\xff\xff", 12); /* a size of 2^55 */
	tar_checksum(header);
	import_header(header, "larger than a file can be");

	tar_header(header, "device", '3', 0);
	memcpy(header + 329,
	       "0777777\0"
	       "0000003",
	       16);
	tar_checksum(header);
	import_header(header, "device number");
}

/* GNU's old sparse format: a map in the header of pieces (offset, size), 12 octal digits each. */
static void sparse_header(uint8_t header[512], const uint64_t (*pieces)[2], size_t n,
			  uint64_t real_size)
{
	uint64_t stored = 0;
	for (size_t i = 0; i < n; i++)
		stored += pieces[i][1];
	tar_header(header, "sparse", 'S', stored);
	tar_field(header, 257, "ustar  ", 8);
	for (size_t i = 0; i < n; i++) {
		snprintf((char *)header + 386 + 24 * i, 12, "%011llo",
			 (unsigned long long)pieces[i][0]);
		snprintf((char *)header + 386 + 24 * i + 12, 12, "%011llo",
			 (unsigned long long)pieces[i][1]);
	}
	snprintf((char *)header + 483, 12, "%011llo", (unsigned long long)real_size);
	tar_checksum(header);
}

static void test_sparse_maps(void)
{
	static const uint64_t backwards[][2] = { { 8192, 512 }, { 0, 512 } };
	static const uint64_t overlapping[][2] = { { 0, 512 }, { 256, 512 } };
	static const uint64_t beyond[][2] = { { 0, 512 }, { 1 << 20, 512 } };
	uint8_t archive[512 * 6] = { 0 };
	sparse_header(archive, backwards, 2, 16384);
	import_fails(write_file("t.tar", archive, sizeof(archive)), COVE_E_IMAGE, "sparse: ");
	sparse_header(archive, overlapping, 2, 16384);
	import_fails(write_file("t.tar", archive, sizeof(archive)), COVE_E_IMAGE, "sparse: ");
	sparse_header(archive, beyond, 2, 16384);
	import_fails(write_file("t.tar", archive, sizeof(archive)), COVE_E_IMAGE, "sparse: ");

	/* One that is in order, to know that the header is right. */
	static const uint64_t fine[][2] = { { 0, 512 }, { 8192, 512 } };
	sparse_header(archive, fine, 2, 16384);
	memset(archive + 512, 'x', 1024);
	import_ok(write_file("t.tar", archive, sizeof(archive)));
	ext2_filsys fs = fs_open("img");
	CHECK_INT(fs_stat(fs, "sparse").i_size, ==, 16384);
	CHECK_INT(fs_stat(fs, "sparse").i_blocks, ==, 16);
	fs_close(fs);
}

/* A few kilobytes that unpack to more than the filesystem has room for. */
static void test_bomb(void)
{
	struct image_import_options options = IMAGE_IMPORT_OPTIONS_INIT;
	struct cove_error err = COVE_ERROR_INIT;
	uint8_t *zeros = calloc(1, 100 << 20);
	struct tar tar = tar_begin("t.tar.gz", archive_write_add_filter_gzip);
	tar_put(&tar, tar_entry("bomb", AE_IFREG, 0644), zeros, 100 << 20);
	tar_end(&tar);
	free(zeros);
	options.disk_bytes = 64 << 20;
	CHECK_INT(image_store_import("img", tar.path, &options, &err), ==, COVE_E_LIMIT);
	CHECK_CONTAINS(err.message, "does not fit");
	CHECK_INT(store_entries(), ==, 0);
}

/* Holes cost nothing, whatever the size is. */
static void test_huge_hole(void)
{
	static const uint64_t pieces[][2] = { { 0, 512 }, { UINT64_C(7) << 30, 512 } };
	uint8_t archive[512 * 6] = { 0 };
	sparse_header(archive, pieces, 2, (UINT64_C(7) << 30) + 512);
	import_ok(write_file("t.tar", archive, sizeof(archive)));
	ext2_filsys fs = fs_open("img");
	struct ext2_inode_large in = fs_stat(fs, "sparse");
	CHECK_INT(in.i_size | (uint64_t)in.i_size_high << 32, ==, (UINT64_C(7) << 30) + 512);
	CHECK_INT(in.i_blocks, ==, 16);
	fs_close(fs);
}

static void test_attributes(void)
{
	uint8_t large[70000] = { 0 };
	struct tar tar = tar_begin("t.tar", NULL);
	struct archive_entry *e = tar_entry("x", AE_IFREG, 0644);
	archive_entry_xattr_add_entry(e, "user.large", large, sizeof(large));
	tar_put(&tar, e, "", 0);
	tar_end(&tar);
	import_fails(tar.path, COVE_E_IMAGE, "user.large");

	/* Small enough for the kernel's interface, too large for ext4. */
	tar = tar_begin("t.tar", NULL);
	e = tar_entry("x", AE_IFREG, 0644);
	archive_entry_xattr_add_entry(e, "user.medium", large, 5000);
	tar_put(&tar, e, "", 0);
	tar_end(&tar);
	import_fails(tar.path, COVE_E_IMAGE, "extended attributes");

	/* Attributes that are ext4's own business are not for an archive to set. */
	tar = tar_begin("t.tar", NULL);
	e = tar_entry("x", AE_IFREG, 0644);
	archive_entry_xattr_add_entry(e, "system.data", "inline", 6);
	archive_entry_xattr_add_entry(e, "system.posix_acl_access", "\2\0\0\0", 4);
	archive_entry_xattr_add_entry(e, "user.", "x", 1);
	tar_put(&tar, e, "text", 4);
	tar_end(&tar);
	import_ok(tar.path);
	ext2_filsys fs = fs_open("img");
	char got[16];
	CHECK_INT(fs_xattr(fs, "x", "system.data", got, sizeof(got)), ==, -1);
	CHECK_INT(fs_xattr(fs, "x", "system.posix_acl_access", got, sizeof(got)), ==, -1);
	fs_check_text(fs, "x", "text");
	fs_close(fs);
}

static void test_acl_without_number(void)
{
	/* A pax header of `SCHILY.acl.access`, as GNU tar writes it: names only. */
	static const char text[] = "user::rw-,user:lisa:rw-,group::r--,mask::rw-,other::r--";
	char record[128];
	int n = (int)strlen(text) + (int)strlen(" SCHILY.acl.access=\n") + 2;
	snprintf(record, sizeof(record), "%d SCHILY.acl.access=%s\n", n, text);
	CHECK_INT(strlen(record), ==, n);
	uint8_t archive[512 * 6] = { 0 };
	tar_header(archive, "pax", 'x', (uint64_t)n);
	memcpy(archive + 512, record, (size_t)n);
	tar_header(archive + 1024, "file", '0', 0);
	import_fails(write_file("t.tar", archive, sizeof(archive)), COVE_E_IMAGE,
		     "file: its ACL names lisa, and no number");
}

static void test_names_for_terminals(void)
{
	struct tar tar = tar_begin("t.tar", NULL);
	tar_file(&tar, "\033]0;owned\a/../x", 0644, "");
	tar_end(&tar);
	import_fails(tar.path, COVE_E_IMAGE, "?]0;owned?/../x");
}

static void test_long_names(void)
{
	char name[5000];
	memset(name, 'n', sizeof(name));
	name[256] = 0;
	struct tar tar = tar_begin("t.tar", NULL);
	tar_file(&tar, name, 0644, "");
	tar_end(&tar);
	import_fails(tar.path, COVE_E_IMAGE, "255 bytes");

	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = i % 10 == 9 ? '/' : 'n';
	name[4500] = 0;
	tar = tar_begin("t.tar", NULL);
	tar_file(&tar, name, 0644, "");
	tar_end(&tar);
	import_fails(tar.path, COVE_E_IMAGE, "4095 bytes");

	memset(name, 't', sizeof(name));
	name[4096] = 0;
	tar = tar_begin("t.tar", NULL);
	tar_symlink(&tar, "link", name);
	tar_end(&tar);
	import_fails(tar.path, COVE_E_IMAGE, "symbolic link");
}

/* The root is a directory and stays one. */
static void test_root(void)
{
	struct tar tar = tar_begin("t.tar", NULL);
	tar_symlink(&tar, "./", "/etc");
	tar_end(&tar);
	import_fails(tar.path, COVE_E_IMAGE, "root");
	tar = tar_begin("t.tar", NULL);
	tar_dir(&tar, "./", 0755);
	tar_link(&tar, "x", ".");
	tar_end(&tar);
	import_fails(tar.path, COVE_E_IMAGE, "a directory");
}

static const struct tap_test tests[] = {
	{ "names with .. in them", test_dot_dot },
	{ "symbolic links out of the tree", test_symlink_out },
	{ "hard links out of the tree", test_hard_links },
	{ "not an archive", test_not_an_archive },
	{ "archives cut short", test_cut_short },
	{ "damaged headers", test_damaged_headers, .timeout_s = 60 },
	{ "numbers out of range", test_numbers_out_of_range },
	{ "maps of holes", test_sparse_maps },
	{ "a bomb", test_bomb },
	{ "a huge hole", test_huge_hole },
	{ "attributes too large, and forbidden", test_attributes },
	{ "an ACL without a number", test_acl_without_number },
	{ "names made for terminals", test_names_for_terminals },
	{ "names too long", test_long_names },
	{ "the root as something else", test_root },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
