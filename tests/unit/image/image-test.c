/* SPDX-License-Identifier: Apache-2.0 */
#include "image-test.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

#define MTIME_S	 1600000000
#define MTIME_NS 123456789

#define CHECK_ARCHIVE(call, archive)                                                               \
	do {                                                                                       \
		if ((call) < ARCHIVE_WARN)                                                         \
			tap_fail(__FILE__, __LINE__, "%s: %s", #call,                              \
				 archive_error_string(archive));                                   \
	} while (0)

struct tar tar_begin(const char *name, int (*filter)(struct archive *))
{
	struct tar tar = { .archive = archive_write_new() };
	CHECK(tar.archive != NULL);
	snprintf(tar.path, sizeof(tar.path), "%s", tap_path("%s", name));
	CHECK_ARCHIVE(archive_write_set_format_pax(tar.archive), tar.archive);
	if (filter)
		CHECK_ARCHIVE(filter(tar.archive), tar.archive);
	CHECK_ARCHIVE(archive_write_open_filename(tar.archive, tar.path), tar.archive);
	return tar;
}

struct archive_entry *tar_entry(const char *path, unsigned type, unsigned mode)
{
	struct archive_entry *entry = archive_entry_new();
	CHECK(entry != NULL);
	archive_entry_set_pathname(entry, path);
	archive_entry_set_filetype(entry, type);
	archive_entry_set_perm(entry, (mode_t)mode);
	archive_entry_set_uid(entry, 0);
	archive_entry_set_gid(entry, 0);
	archive_entry_set_mtime(entry, MTIME_S, MTIME_NS);
	return entry;
}

void tar_put(struct tar *tar, struct archive_entry *entry, const void *data, size_t size)
{
	if (!archive_entry_size_is_set(entry))
		archive_entry_set_size(entry, (la_int64_t)size);
	CHECK_ARCHIVE(archive_write_header(tar->archive, entry), tar->archive);
	if (size > 0)
		CHECK_INT(archive_write_data(tar->archive, data, size), ==, size);
	archive_entry_free(entry);
}

void tar_dir(struct tar *tar, const char *path, unsigned mode)
{
	tar_put(tar, tar_entry(path, AE_IFDIR, mode), NULL, 0);
}

void tar_file(struct tar *tar, const char *path, unsigned mode, const char *text)
{
	tar_put(tar, tar_entry(path, AE_IFREG, mode), text, strlen(text));
}

void tar_symlink(struct tar *tar, const char *path, const char *target)
{
	struct archive_entry *entry = tar_entry(path, AE_IFLNK, 0777);
	archive_entry_set_symlink(entry, target);
	tar_put(tar, entry, NULL, 0);
}

void tar_link(struct tar *tar, const char *path, const char *target)
{
	struct archive_entry *entry = tar_entry(path, AE_IFREG, 0644);
	archive_entry_set_hardlink(entry, target);
	tar_put(tar, entry, NULL, 0);
}

void tar_end(struct tar *tar)
{
	CHECK_ARCHIVE(archive_write_close(tar->archive), tar->archive);
	archive_write_free(tar->archive);
	tar->archive = NULL;
}

void tar_header(uint8_t ret[512], const char *name, char type, uint64_t size)
{
	memset(ret, 0, 512);
	tar_field(ret, 0, name, strnlen(name, 100));
	snprintf((char *)ret + 100, 8, "%07o", 0644);
	snprintf((char *)ret + 108, 8, "%07o", 0);
	snprintf((char *)ret + 116, 8, "%07o", 0);
	snprintf((char *)ret + 124, 12, "%011llo", (unsigned long long)size);
	snprintf((char *)ret + 136, 12, "%011o", MTIME_S);
	ret[156] = (uint8_t)type;
	tar_field(ret, 257, "ustar\00000", 8);
	tar_checksum(ret);
}

void tar_field(uint8_t header[512], size_t at, const char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		header[at + i] = (uint8_t)bytes[i];
}

void tar_checksum(uint8_t header[512])
{
	unsigned sum = 0;
	memset(header + 148, ' ', 8);
	for (int i = 0; i < 512; i++)
		sum += header[i];
	snprintf((char *)header + 148, 8, "%06o", sum);
}

const char *write_file(const char *name, const void *data, size_t size)
{
	const char *path = tap_path("%s", name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	CHECK_SYS(fd);
	CHECK_OK(fd_write_full(fd, data, size));
	close(fd);
	return path;
}

void import_ok(const char *source)
{
	struct image_import_options options = IMAGE_IMPORT_OPTIONS_INIT;
	struct cove_error err = COVE_ERROR_INIT;
	options.replace = true;
	CHECK_COVE(image_store_import("img", source, &options, &err), &err);
}

void import_fails(const char *source, int code, const char *message)
{
	struct image_import_options options = IMAGE_IMPORT_OPTIONS_INIT;
	struct cove_error err = COVE_ERROR_INIT;
	int before = store_entries();
	options.replace = true;
	int r = image_store_import("img", source, &options, &err);
	tap_note("%s", err.message);
	CHECK_INT(r, ==, code);
	CHECK_INT(err.code, ==, code);
	CHECK_CONTAINS(err.message, message);
	CHECK_INT(store_entries(), ==, before);
}

int store_entries(void)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/data/images", getenv("COVE_HOME"));
	DIR *dir = opendir(path);
	int n = 0;
	if (!dir)
		return 0;
	for (struct dirent *entry; (entry = readdir(dir));)
		n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		     strcmp(entry->d_name, ".lock") != 0;
	closedir(dir);
	return n;
}

int run_program(const char *const argv[])
{
	pid_t pid = fork();
	CHECK_SYS(pid);
	if (pid == 0) {
		setenv("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", 1);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	int status;
	CHECK_SYS(waitpid(pid, &status, 0));
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

ext2_filsys fs_open(const char *image)
{
	struct image *found;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(image_store_find(image, &found, &err), &err);
	const char *const argv[] = { "e2fsck", "-fn", found->disk_path, NULL };
	CHECK_INT(run_program(argv), ==, 0);

	ext2_filsys fs;
	CHECK_INT(ext2fs_open(found->disk_path, 0, 0, 0, unix_io_manager, &fs), ==, 0);
	image_free(found);
	return fs;
}

void fs_close(ext2_filsys fs)
{
	CHECK_INT(ext2fs_close(fs), ==, 0);
}

/* Component by component: ext2fs_namei() would follow the links on the way. */
ext2_ino_t fs_find(ext2_filsys fs, const char *path)
{
	ext2_ino_t ino = EXT2_ROOT_INO;
	while (*path) {
		size_t n = strcspn(path, "/");
		ext2_ino_t next;
		errcode_t error = 0;
		if (n > 0)
			error = ext2fs_lookup(fs, ino, path, (int)n, NULL, &next);
		if (error == EXT2_ET_FILE_NOT_FOUND || error == EXT2_ET_NO_DIRECTORY)
			return 0;
		CHECK_INT(error, ==, 0);
		if (n > 0)
			ino = next;
		path += n + (path[n] == '/');
	}
	return ino;
}

struct ext2_inode_large fs_stat(ext2_filsys fs, const char *path)
{
	struct ext2_inode_large in;
	ext2_ino_t ino = fs_find(fs, path);
	if (ino == 0)
		tap_fail(__FILE__, __LINE__, "%s is not there", path);
	CHECK_INT(ext2fs_read_inode_full(fs, ino, (struct ext2_inode *)&in, sizeof(in)), ==, 0);
	return in;
}

char *fs_read(ext2_filsys fs, const char *path, size_t *ret_size)
{
	struct ext2_inode_large in = fs_stat(fs, path);
	size_t size = in.i_size | (size_t)in.i_size_high << 32, done = 0;
	char *data = calloc(1, size + 1);
	CHECK(data != NULL);
	if (LINUX_S_ISLNK(in.i_mode) && size < sizeof(in.i_block)) {
		memcpy(data, in.i_block, size);
	} else {
		ext2_file_t file;
		CHECK_INT(ext2fs_file_open(fs, fs_find(fs, path), 0, &file), ==, 0);
		while (done < size) {
			unsigned n;
			CHECK_INT(ext2fs_file_read(file, data + done,
						   (unsigned)MIN(size - done, (size_t)1 << 30), &n),
				  ==, 0);
			CHECK_INT(n, >, 0);
			done += n;
		}
		ext2fs_file_close(file);
	}
	if (ret_size)
		*ret_size = size;
	return data;
}

void fs_check_text(ext2_filsys fs, const char *path, const char *text)
{
	size_t size;
	char *data = fs_read(fs, path, &size);
	CHECK_MEM(data, size, text, strlen(text));
	free(data);
}

long long fs_xattr(ext2_filsys fs, const char *path, const char *name, void *ret, size_t max)
{
	struct ext2_xattr_handle *handle;
	void *value;
	size_t size;
	CHECK_INT(ext2fs_xattrs_open(fs, fs_find(fs, path), &handle), ==, 0);
	CHECK_INT(ext2fs_xattrs_read(handle), ==, 0);
	errcode_t error = ext2fs_xattr_get(handle, name, &value, &size);
	ext2fs_xattrs_close(&handle);
	if (error == EXT2_ET_EA_KEY_NOT_FOUND)
		return -1;
	CHECK_INT(error, ==, 0);
	CHECK_INT(size, <=, max);
	memcpy(ret, value, size);
	ext2fs_free_mem(&value);
	return (long long)size;
}

void as_nobody(void (*function)(void))
{
	const uid_t nobody = 65534;
	if (geteuid() != 0) {
		function();
		return;
	}
	CHECK_SYS(chown(tap_dir(), nobody, nobody));
	pid_t pid = fork();
	CHECK_SYS(pid);
	if (pid == 0) {
		if (setgroups(0, NULL) < 0 || setresgid(nobody, nobody, nobody) < 0 ||
		    setresuid(nobody, nobody, nobody) < 0)
			_exit(100);
		/* The built-in images may be where only root can go. */
		CHECK_SYS(setenv("COVE_SHARE_DIR", tap_path("share"), 1));
		function();
		_exit(0);
	}
	int status;
	CHECK_SYS(waitpid(pid, &status, 0));
	CHECK_INT(status, ==, 0);
}
