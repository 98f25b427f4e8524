/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

int fd_close(int fd)
{
	if (fd >= 0) {
		int saved = errno;
		close(fd);
		errno = saved;
	}
	return -1;
}

static int change_flag(int fd, int get, int set, int flag, bool on)
{
	int flags = fcntl(fd, get);
	if (flags < 0)
		return -errno;
	int want = on ? flags | flag : flags & ~flag;
	if (want != flags && fcntl(fd, set, want) < 0)
		return -errno;
	return 0;
}

int fd_set_nonblocking(int fd, bool on)
{
	return change_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
}

int fd_set_cloexec(int fd, bool on)
{
	return change_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

int fd_write_full(int fd, const void *data, size_t n)
{
	const uint8_t *p = data;
	while (n > 0) {
		ssize_t k = write(fd, p, n);
		if (k < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

int fd_read_full(int fd, void *data, size_t n)
{
	uint8_t *p = data;
	while (n > 0) {
		ssize_t k = read(fd, p, n);
		if (k < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (k == 0)
			return -ENODATA;
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

int fd_read_file(int dir_fd, const char *path, size_t max, bool any, char **ret, size_t *ret_size)
{
	_cleanup_close_ int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return -errno;

	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!any && !S_ISREG(st.st_mode))
		return -EINVAL;
	/* What is no real file says anything of its size: attributes in /sys say 4096. */
	bool sized = S_ISREG(st.st_mode) && !any;
	if (sized && st.st_size > 0 && (uint64_t)st.st_size > max)
		return -EFBIG;

	/* The size is only a hint: the file may grow while it is read. */
	size_t allocated = sized && st.st_size > 0 ? (size_t)st.st_size + 1 : 4096, size = 0;
	_cleanup_free_ char *data = malloc(allocated);
	if (!data)
		return -ENOMEM;
	for (;;) {
		if (size + 1 >= allocated) {
			if (size > max)
				return -EFBIG;
			char *bigger = realloc(data, allocated * 2);
			if (!bigger)
				return -ENOMEM;
			data = bigger;
			allocated *= 2;
		}
		ssize_t k = read(fd, data + size, allocated - 1 - size);
		if (k < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (k == 0)
			break;
		size += (size_t)k;
	}
	if (size > max)
		return -EFBIG;
	data[size] = 0;
	if (ret_size)
		*ret_size = size;
	*ret = TAKE_PTR(data);
	return 0;
}

int fd_write_file_atomic(int dir_fd, const char *path, const void *data, size_t n, mode_t mode)
{
	char temporary[4096];
	int k = snprintf(temporary, sizeof(temporary), "%s.%d.tmp", path, (int)getpid());
	if (k < 0 || (size_t)k >= sizeof(temporary))
		return -ENAMETOOLONG;

	_cleanup_close_ int fd =
		openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	int r = fd_write_full(fd, data, n);
	if (r >= 0 && renameat(dir_fd, temporary, dir_fd, path) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(dir_fd, temporary, 0);
	return r;
}

int fd_write_string(int dir_fd, const char *path, const char *text)
{
	_cleanup_close_ int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t k = write(fd, text, strlen(text));
	return k < 0 ? -errno : 0;
}

int fd_mkdir_parents(const char *path, mode_t mode)
{
	_cleanup_free_ char *copy = strdup(path);
	if (!copy)
		return -ENOMEM;

	for (char *p = copy + 1;; p++) {
		if (*p && *p != '/')
			continue;
		char end = *p;
		*p = 0;
		if (mkdir(copy, mode) < 0) {
			/* What is there may refuse in many ways: what counts is that it is a
			 * folder. */
			int e = errno;
			struct stat st;
			if (stat(copy, &st) < 0 || !S_ISDIR(st.st_mode))
				return -e;
		}
		if (!end)
			return 0;
		*p = '/';
	}
}

static int remove_children(int fd, dev_t device, unsigned depth);

static int remove_entry(int dir_fd, const char *name, dev_t device, unsigned depth)
{
	if (unlinkat(dir_fd, name, 0) == 0)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;

	_cleanup_close_ int fd =
		openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_dev != device)
		return -EXDEV;
	int r = remove_children(TAKE_FD(fd), device, depth + 1);
	if (r < 0)
		return r;
	return unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

#define REMOVE_TREE_DEPTH_MAX 256 /* stack and descriptors stay bounded */

static int remove_children(int fd, dev_t device, unsigned depth)
{
	_cleanup_closedir_ DIR *dir = fdopendir(fd);
	if (!dir) {
		int r = -errno;
		close(fd);
		return r;
	}
	if (depth > REMOVE_TREE_DEPTH_MAX)
		return -ELOOP;

	int result = 0;
	struct dirent *entry;
	while ((entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		int r = remove_entry(dirfd(dir), entry->d_name, device, depth);
		if (r < 0 && r != -ENOENT && result == 0)
			result = r;
	}
	return result;
}

int fd_remove_tree(int dir_fd, const char *name)
{
	struct stat st;
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return remove_entry(dir_fd, name, st.st_dev, 0);
}
