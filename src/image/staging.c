/* SPDX-License-Identifier: Apache-2.0 */
#include "image/staging.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/paths.h"
#include "image/text.h"

#define LOCK_FILE  "lock"
#define STORE_LOCK ".lock"
/* Of folders with one name and PID, from different PID namespaces: more is not to be believed. */
#define ATTEMPTS_MAX 100

/* Held briefly: nothing is waited for or read while it is. Closing the fd lets it go. */
static int lock_store(int images_fd)
{
	_cleanup_close_ int fd = openat(images_fd, STORE_LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return -errno;
	return TAKE_FD(fd);
}

static bool is_temporary(const char *name)
{
	size_t n = strlen(name);
	return n > 5 && *name == '.' && !strcmp(name + n - 4, ".tmp");
}

/* Under the store's lock, so a folder without a lock file is not one that is just being made. */
static bool maker_lives(int images_fd, const char *name)
{
	_cleanup_close_ int fd =
		openat(images_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return false;
	_cleanup_close_ int lock = openat(fd, LOCK_FILE, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	return lock >= 0 ? flock(lock, LOCK_EX | LOCK_NB) < 0 : errno != ENOENT;
}

static void remove_stale(int images_fd)
{
	_cleanup_closedir_ DIR *dir = NULL;
	int fd = openat(images_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && !(dir = fdopendir(fd)))
		close(fd);
	if (!dir)
		return;
	for (struct dirent *entry; (entry = readdir(dir));)
		if (is_temporary(entry->d_name) && !maker_lives(images_fd, entry->d_name) &&
		    fd_remove_tree(images_fd, entry->d_name) < 0)
			continue; /* not ours, say: whoever comes next may try */
}

static int open_images(struct staging *s, const char *name, struct cove_error *err)
{
	_cleanup_free_ char *path = NULL;
	int r = paths_make(PATHS_DATA, &path, "images");
	if (r == -ENOENT)
		return error_set(err, COVE_E_SYSTEM, "no place for images: set HOME or COVE_HOME");
	if (r < 0)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	r = fd_mkdir_parents(path, 0700);
	if (r < 0)
		return error_set_errno(err, COVE_E_SYSTEM, r, "%.200s", path);
	s->images = realpath(path, NULL);
	s->name = strdup(name);
	if (!s->images || !s->name)
		return error_set_errno(err, COVE_E_SYSTEM, errno, "%.200s", path);
	s->images_fd = open(s->images, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->images_fd < 0)
		return error_set_errno(err, COVE_E_SYSTEM, errno, "%.200s", s->images);
	return 0;
}

static void forget_folder(struct staging *s)
{
	free(s->own_name);
	s->own_name = NULL;
}

static bool image_exists(const struct staging *s)
{
	struct stat st;
	return fstatat(s->images_fd, s->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int make_folder(struct staging *s)
{
	for (int i = 0; i < ATTEMPTS_MAX; i++) {
		_cleanup_free_ char *own = NULL;
		int n = i == 0 ? text_format(&own, ".%s.%d.tmp", s->name, (int)getpid())
			       : text_format(&own, ".%s.%d-%d.tmp", s->name, (int)getpid(), i);
		if (n < 0)
			return -ENOMEM;
		if (mkdirat(s->images_fd, own, 0755) == 0) {
			s->own_name = TAKE_PTR(own);
			return 0;
		}
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

static int lock_folder(struct staging *s)
{
	s->fd = openat(s->images_fd, s->own_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (s->fd < 0)
		return -errno;
	s->lock_fd = openat(s->fd, LOCK_FILE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (s->lock_fd < 0 || flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	return 0;
}

static int exists(const struct staging *s, struct cove_error *err)
{
	return error_set(err, COVE_E_EXISTS, "there is an image named %s already", s->name);
}

int staging_begin(struct staging *s, const char *name, bool replace, struct cove_error *err)
{
	int r = open_images(s, name, err);
	if (r < 0)
		return r;
	_cleanup_close_ int lock = lock_store(s->images_fd);
	if (lock < 0)
		return error_set_errno(err, COVE_E_SYSTEM, lock, "%.200s/" STORE_LOCK, s->images);
	remove_stale(s->images_fd);
	if (!replace && image_exists(s))
		return exists(s, err);
	r = make_folder(s);
	if (r >= 0)
		r = lock_folder(s);
	if (r < 0)
		return error_set_errno(err, COVE_E_SYSTEM, r, "%.200s", s->images);
	return 0;
}

/*
 * The temporary name is the old image's afterwards. One step where the filesystem can; else there is
 * a moment without an image of that name.
 */
static int exchange(struct staging *s)
{
	if (renameat2(s->images_fd, s->own_name, s->images_fd, s->name, RENAME_EXCHANGE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;

	_cleanup_free_ char *old = NULL;
	if (text_format(&old, "%.*s.old.tmp", (int)strlen(s->own_name) - 4, s->own_name) < 0)
		return -ENOMEM;
	if (renameat(s->images_fd, s->name, s->images_fd, old) < 0)
		return -errno;
	if (renameat(s->images_fd, s->own_name, s->images_fd, s->name) < 0) {
		int r = -errno;
		(void)renameat(s->images_fd, old, s->images_fd, s->name);
		return r;
	}
	free(s->own_name);
	s->own_name = TAKE_PTR(old);
	return 0;
}

static int move_into_place(struct staging *s)
{
	if (renameat(s->images_fd, s->own_name, s->images_fd, s->name) < 0)
		return -errno;
	forget_folder(s);
	return 0;
}

int staging_commit(struct staging *s, bool replace, struct cove_error *err)
{
	_cleanup_close_ int lock = lock_store(s->images_fd);
	if (lock < 0)
		return error_set_errno(err, COVE_E_SYSTEM, lock, "%.200s/" STORE_LOCK, s->images);
	bool there = image_exists(s);
	if (there && !replace)
		return exists(s, err);

	int r = unlinkat(s->fd, LOCK_FILE, 0) < 0 || fsync(s->fd) < 0 ? -errno : 0;
	if (r >= 0)
		r = there ? exchange(s) : move_into_place(s);
	if (r >= 0 && fsync(s->images_fd) < 0)
		r = -errno;
	return r < 0 ? error_set_errno(err, COVE_E_SYSTEM, r, "%.200s/%s", s->images, s->name) : 0;
}

void staging_done(struct staging *s)
{
	/* What cannot be removed now is stale as soon as we end. */
	int r = s->own_name ? fd_remove_tree(s->images_fd, s->own_name) : 0;
	(void)r;
	s->lock_fd = fd_close(s->lock_fd);
	s->fd = fd_close(s->fd);
	s->images_fd = fd_close(s->images_fd);
	free(s->own_name);
	free(s->name);
	free(s->images);
	s->own_name = s->name = s->images = NULL;
}

int staging_remove_image(const char *name, struct cove_error *err)
{
	_cleanup_(staging_done) struct staging s = STAGING_INIT;
	int r = open_images(&s, name, err);
	if (r < 0)
		return r;
	_cleanup_close_ int lock = lock_store(s.images_fd);
	if (lock < 0)
		return error_set_errno(err, COVE_E_SYSTEM, lock, "%.200s/" STORE_LOCK, s.images);
	if (!image_exists(&s))
		return error_set(err, COVE_E_NOT_FOUND, "no image named %s in %.200s", name,
				 s.images);

	/* A folder may be renamed over an empty one. */
	r = make_folder(&s);
	if (r >= 0 && renameat(s.images_fd, name, s.images_fd, s.own_name) < 0)
		r = -errno;
	if (r >= 0)
		r = fd_remove_tree(s.images_fd, s.own_name);
	if (r < 0)
		return error_set_errno(err, COVE_E_SYSTEM, r, "%.200s/%s", s.images, name);
	forget_folder(&s);
	return 0;
}
