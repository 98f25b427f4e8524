/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/claim.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/name.h"
#include "base/paths.h"
#include "supervisor/state.h"

#define LISTEN_BACKLOG 64

static int open_dir(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
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
		    !strcmp(entry->d_name, CLAIM_LOCK))
			continue;
		int r = fd_remove_tree(folder->fd, entry->d_name);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

static int set_system_error(struct cove_error *err, int r, const char *what, const char *path)
{
	int code = r == -EACCES || r == -EPERM ? COVE_E_DENIED : COVE_E_SYSTEM;
	return error_set_errno(err, code, r, "%s %.300s", what, path);
}

static int claim(struct folder *folder, struct cove_error *err)
{
	int r = claim_take(folder->parent_fd, folder->name, true, &folder->fd, &folder->lock_fd);
	if (r == -EBUSY)
		return error_set(err, COVE_E_EXISTS, "there is a sandbox named %s", folder->name);
	if (r < 0)
		return set_system_error(err, r, "making the folder", folder->path);

	if (state_is_kept(folder->fd)) {
		/* Not ours, so not ours to remove, nor to write to. */
		folder->lock_fd = fd_close(folder->lock_fd);
		folder->fd = fd_close(folder->fd);
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
	claim_sweep(folder->parent_fd);
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

void folder_release(struct folder *folder, bool remove)
{
	if (folder->listen_fd >= 0) {
		char file[NAME_MAX_BYTES + sizeof(".sock")];
		snprintf(file, sizeof(file), "%s.sock", folder->name);
		(void)unlinkat(folder->socket_dir_fd, file, 0);
	}
	if (folder->lock_fd >= 0 && remove)
		(void)!claim_remove(folder->parent_fd, folder->name);
	fd_close(folder->listen_fd);
	fd_close(folder->socket_dir_fd);
	fd_close(folder->fd);
	fd_close(folder->lock_fd);
	fd_close(folder->parent_fd);
	free(folder->name);
	free(folder->path);
	*folder = (struct folder)FOLDER_INIT;
}
