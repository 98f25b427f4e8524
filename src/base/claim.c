/* SPDX-License-Identifier: Apache-2.0 */
#include "base/claim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/name.h"

/* Not a valid name, so nothing that lists them takes it for one. */
#define REMOVING_PREFIX ".removing-"
/* Each try is lost to another process that took and gave up the name meanwhile, or looked at it. */
#define TRIES 1000

enum outcome {
	OUTCOME_DONE,
	OUTCOME_AGAIN,
	OUTCOME_TAKEN,
	/* or a negative errno */
};

static int open_folder(int parent_fd, const char *name)
{
	int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Is what fd has open still what is found under the name? */
static bool is_still_there(int fd, int dir_fd, const char *name)
{
	struct stat a, b;
	return fstat(fd, &a) == 0 && fstatat(dir_fd, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int try(int parent_fd, const char *name, bool make, int *ret_folder_fd, int *ret_lock_fd)
{
	if (make && mkdirat(parent_fd, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	_cleanup_close_ int fd = open_folder(parent_fd, name);
	if (fd == -ENOENT && make)
		return OUTCOME_AGAIN;
	if (fd < 0)
		return fd;
	/* O_NONBLOCK: whatever is there in the place of the lock. */
	_cleanup_close_ int lock_fd = openat(
		fd, CLAIM_LOCK, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (lock_fd < 0)
		return errno == ENOENT ? OUTCOME_AGAIN : -errno; /* the folder was just removed */
	bool locked = flock(lock_fd, LOCK_EX | LOCK_NB) == 0;
	if (!locked && errno != EWOULDBLOCK)
		return -errno;
	/* Who only looks has a shared lock for a moment. */
	if (!locked && flock(lock_fd, LOCK_SH | LOCK_NB) == 0)
		return OUTCOME_AGAIN;
	if (!is_still_there(fd, parent_fd, name) || !is_still_there(lock_fd, fd, CLAIM_LOCK))
		return OUTCOME_AGAIN;
	if (!locked)
		return OUTCOME_TAKEN;
	*ret_folder_fd = TAKE_FD(fd);
	*ret_lock_fd = TAKE_FD(lock_fd);
	return OUTCOME_DONE;
}

int claim_take(int parent_fd, const char *name, bool make, int *ret_folder_fd, int *ret_lock_fd)
{
	int r = OUTCOME_AGAIN;
	for (int i = 0; i < TRIES && r == OUTCOME_AGAIN; i++) {
		r = try(parent_fd, name, make, ret_folder_fd, ret_lock_fd);
		if (r == OUTCOME_AGAIN)
			sched_yield(); /* who looks has the lock for a moment, if it has a processor */
	}
	return r > 0 ? -EBUSY : r;
}

static int remove_tree(int parent_fd, const char *name)
{
	int r = fd_remove_tree(parent_fd, name);
	/* A sweep was quicker, or even the next one of this name is there already, being removed. */
	return r == -ENOENT || r == -ENOTEMPTY ? 0 : r;
}

int claim_remove(int parent_fd, const char *name)
{
	char removing[sizeof(REMOVING_PREFIX) + NAME_MAX_BYTES];
	snprintf(removing, sizeof(removing), REMOVING_PREFIX "%s", name);

	/* The one of this name before us may still be at its own removal. */
	int r = -ENOTEMPTY;
	for (int i = 0; i < TRIES && r == -ENOTEMPTY; i++) {
		r = renameat(parent_fd, name, parent_fd, removing) < 0 ? -errno : 0;
		if (r == -EEXIST)
			r = -ENOTEMPTY;
		if (r == -ENOTEMPTY)
			(void)!fd_remove_tree(parent_fd, removing);
	}
	return remove_tree(parent_fd, r < 0 ? name : removing);
}

void claim_sweep(int parent_fd)
{
	int fd = open_folder(parent_fd, ".");
	_cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		fd_close(fd);
		return;
	}
	struct dirent *entry;
	while ((entry = readdir(dir)))
		if (!strncmp(entry->d_name, REMOVING_PREFIX, strlen(REMOVING_PREFIX)))
			(void)!fd_remove_tree(parent_fd, entry->d_name);
}
