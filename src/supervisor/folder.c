/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/name.h"
#include "base/paths.h"
#include "supervisor/state.h"

#define LOCK_FILE "lock"
/* Not a valid name of a sandbox, so nothing that lists them takes it for one. */
#define REMOVING_PREFIX ".removing-"
/* Each try is lost to another process that created and removed a sandbox of this name meanwhile. */
#define CLAIM_TRIES    1000
#define LISTEN_BACKLOG 64

enum claim {
	CLAIM_DONE,
	CLAIM_AGAIN,
	CLAIM_TAKEN,
	/* or a negative errno */
};

static int open_dir(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Is what fd has open still what is found under the name? */
static bool is_still_there(int fd, int dir_fd, const char *name)
{
	struct stat a, b;
	return fstat(fd, &a) == 0 && fstatat(dir_fd, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int try_claim(struct folder *folder)
{
	if (mkdirat(folder->parent_fd, folder->name, 0700) < 0 && errno != EEXIST)
		return -errno;
	_cleanup_close_ int fd = open_dir(folder->parent_fd, folder->name);
	if (fd == -ENOENT)
		return CLAIM_AGAIN;
	if (fd < 0)
		return fd;
	_cleanup_close_ int lock_fd =
		openat(fd, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (lock_fd < 0)
		return errno == ENOENT ? CLAIM_AGAIN : -errno; /* the folder was just removed */
	bool locked = flock(lock_fd, LOCK_EX | LOCK_NB) == 0;
	if (!locked && errno != EWOULDBLOCK)
		return -errno;
	/* Who only looks whether somebody owns it has a shared lock for a moment. */
	if (!locked && flock(lock_fd, LOCK_SH | LOCK_NB) == 0)
		return CLAIM_AGAIN;
	if (!is_still_there(fd, folder->parent_fd, folder->name) ||
	    !is_still_there(lock_fd, fd, LOCK_FILE))
		return CLAIM_AGAIN;
	if (!locked)
		return CLAIM_TAKEN;
	folder->fd = TAKE_FD(fd);
	folder->lock_fd = TAKE_FD(lock_fd);
	return CLAIM_DONE;
}

/* Everything but the lock. */
static int empty_folder(struct folder *folder)
{
	int fd = fcntl(folder->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	_cleanup_closedir_ DIR *dir = fdopendir(fd);
	if (!dir) {
		int r = -errno;
		close(fd);
		return r;
	}
	rewinddir(dir);
	struct dirent *entry;
	while ((entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") ||
		    !strcmp(entry->d_name, LOCK_FILE))
			continue;
		int r = fd_remove_tree(folder->fd, entry->d_name);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

/* What removals that were cut short have left. Others may be at it at the same time. */
static void sweep(int parent_fd)
{
	int fd = open_dir(parent_fd, ".");
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

static int set_system_error(struct cove_error *err, int r, const char *what, const char *path)
{
	int code = r == -EACCES || r == -EPERM ? COVE_E_DENIED : COVE_E_SYSTEM;
	return error_set_errno(err, code, r, "%s %.300s", what, path);
}

static int claim(struct folder *folder, struct cove_error *err)
{
	int r = CLAIM_AGAIN;
	for (int i = 0; i < CLAIM_TRIES && r == CLAIM_AGAIN; i++)
		r = try_claim(folder);
	if (r < 0)
		return set_system_error(err, r, "making the folder", folder->path);
	if (r != CLAIM_DONE)
		return error_set(err, COVE_E_EXISTS, "there is a sandbox named %s", folder->name);

	if (state_is_kept(folder->fd)) {
		/* Not ours, so not ours to remove. */
		folder->lock_fd = fd_close(folder->lock_fd);
		return error_set(err, COVE_E_EXISTS,
				 "there is a sandbox named %s, which has ended and is kept",
				 folder->name);
	}
	r = empty_folder(folder);
	if (r < 0)
		return set_system_error(err, r, "cleaning up the folder", folder->path);
	return 0;
}

static int prepare(struct folder *folder, const char *name, char **ret_parent,
		   struct cove_error *err)
{
	folder->name = strdup(name);
	int r = folder->name ? paths_make(PATHS_DATA, ret_parent, "sandboxes") : -ENOMEM;
	if (r == -ENOENT)
		return error_set(err, COVE_E_INVALID,
				 "no place for the user's data: neither COVE_HOME nor "
				 "XDG_DATA_HOME nor HOME is set");
	if (r >= 0 && asprintf(&folder->path, "%s/%s", *ret_parent, name) < 0) {
		folder->path = NULL;
		r = -ENOMEM;
	}
	if (r < 0)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	return 0;
}

int folder_claim(struct folder *folder, const char *name, struct cove_error *err)
{
	_cleanup_free_ char *parent = NULL;
	int r = prepare(folder, name, &parent, err);
	if (r < 0)
		return r;
	r = fd_mkdir_parents(parent, 0700);
	if (r >= 0) {
		/* May be a link, unlike what is in it: users put their data elsewhere. */
		folder->parent_fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = folder->parent_fd < 0 ? -errno : 0;
	}
	if (r < 0)
		return set_system_error(err, r, "making the folder", parent);
	sweep(folder->parent_fd);
	return claim(folder, err);
}

/*
 * A folder of sockets that others could write to would let them answer in our name: in /tmp
 * anybody may have made it before us.
 */
static int open_private_dir(int dir_fd, const char *path)
{
	_cleanup_close_ int fd = open_dir(dir_fd, path);
	if (fd < 0)
		return fd;
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != geteuid())
		return -EPERM;
	if ((st.st_mode & 077) && fchmod(fd, 0700) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int open_socket_dir(struct folder *folder, struct cove_error *err)
{
	_cleanup_free_ char *runtime = NULL;
	int r = paths_make(PATHS_RUNTIME, &runtime, "%s", "");
	if (r >= 0)
		r = fd_mkdir_parents(runtime, 0700);
	_cleanup_close_ int fd = r < 0 ? r : open_private_dir(AT_FDCWD, runtime);
	r = fd;
	if (r >= 0 && mkdirat(fd, "sandboxes", 0700) < 0 && errno != EEXIST)
		r = -errno;
	if (r >= 0)
		r = open_private_dir(fd, "sandboxes");
	if (r < 0)
		return set_system_error(err, r, "the folder of the sockets in",
					runtime ? runtime : "?");
	folder->socket_dir_fd = r;
	return 0;
}

int folder_listen(struct folder *folder, struct cove_error *err)
{
	int r = open_socket_dir(folder, err);
	if (r < 0)
		return r;

	/* Through the descriptor: the path itself may be longer than an address can hold. */
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s.sock",
		 folder->socket_dir_fd, folder->name);
	const char *file = strrchr(address.sun_path, '/') + 1;
	(void)unlinkat(folder->socket_dir_fd, file,
		       0); /* of one that was killed: the name is ours */

	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, LISTEN_BACKLOG) < 0)
		return error_set_errno(err, COVE_E_SYSTEM, errno, "making the socket %s", file);
	folder->listen_fd = TAKE_FD(fd);
	return 0;
}

static void remove_folder(struct folder *folder)
{
	char removing[sizeof(REMOVING_PREFIX) + NAME_MAX_BYTES];
	snprintf(removing, sizeof(removing), REMOVING_PREFIX "%s", folder->name);

	/* The one of this name before us may still be at its own removal. */
	int r = -ENOTEMPTY;
	for (int i = 0; i < CLAIM_TRIES && r == -ENOTEMPTY; i++) {
		r = renameat(folder->parent_fd, folder->name, folder->parent_fd, removing) < 0
			    ? -errno
			    : 0;
		if (r == -EEXIST)
			r = -ENOTEMPTY;
		if (r == -ENOTEMPTY)
			(void)!fd_remove_tree(folder->parent_fd, removing);
	}
	(void)!fd_remove_tree(folder->parent_fd, r < 0 ? folder->name : removing);
}

void folder_release(struct folder *folder, bool remove)
{
	if (folder->listen_fd >= 0) {
		char file[NAME_MAX_BYTES + sizeof(".sock")];
		snprintf(file, sizeof(file), "%s.sock", folder->name);
		(void)unlinkat(folder->socket_dir_fd, file, 0);
	}
	if (folder->lock_fd >= 0 && remove)
		remove_folder(folder);
	fd_close(folder->listen_fd);
	fd_close(folder->socket_dir_fd);
	fd_close(folder->fd);
	fd_close(folder->lock_fd);
	fd_close(folder->parent_fd);
	free(folder->name);
	free(folder->path);
	*folder = (struct folder)FOLDER_INIT;
}
