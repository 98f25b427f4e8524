/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "base/claim.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/name.h"
#include "base/paths.h"
#include "lib/info.h"

/* How long a supervisor may leave a new client waiting for room in its queue. */
#define CONNECT_TIMEOUT_S 5

static int open_base(enum paths_base base)
{
	_cleanup_free_ char *path = NULL;
	int r = paths_make(base, &path, "sandboxes");
	if (r < 0)
		return r;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int not_found(const char *name, struct cove_error *err)
{
	return error_set(err, COVE_E_NOT_FOUND, "there is no sandbox %s", name);
}

/* ---- the socket ---- */

static int connect_to(int dir_fd, const char *name, int *ret_fd)
{
	/* By way of /proc, since the folder's path may be longer than an address can be. */
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int n = snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s.sock",
			 dir_fd, name);
	if (n < 0 || (size_t)n >= sizeof(address.sun_path))
		return -ENAMETOOLONG;

	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	struct timeval timeout = { .tv_sec = CONNECT_TIMEOUT_S };
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) < 0)
		return -errno;
	while (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		if (errno != EINTR)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;

	struct ucred peer;
	socklen_t size = sizeof(peer);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
		return -errno;
	if (peer.uid != geteuid())
		return -EPERM;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int folder_connect(const char *name, int *ret_fd, struct cove_error *err)
{
	_cleanup_close_ int dir_fd = open_base(PATHS_RUNTIME);
	int r = dir_fd < 0 ? dir_fd : connect_to(dir_fd, name, ret_fd);
	if (r >= 0)
		return 0;
	if (r == -ENOENT || r == -ECONNREFUSED)
		return not_found(name, err);
	if (r == -EPERM || r == -EACCES)
		return error_set(err, COVE_E_DENIED, "the sandbox %s is another user's", name);
	return error_set_errno(err, r == -ETIMEDOUT ? COVE_E_TIMEOUT : COVE_E_SYSTEM, r,
			       "cannot connect to the sandbox %s", name);
}

/* ---- folders ---- */

static int open_folder(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0) /* what is no folder is no sandbox */
		return errno == ENOTDIR || errno == ELOOP ? -ENOENT : -errno;
	return fd;
}

/*
 * Looks whether somebody has the lock: -EWOULDBLOCK then; -ENOENT when there is none, which no
 * supervisor has ever owned then. Otherwise a descriptor, to be held: nobody gets it meanwhile.
 */
static int look_at_lock(int folder_fd)
{
	_cleanup_close_ int fd =
		openat(folder_fd, CLAIM_LOCK, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_SH | LOCK_NB) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/*
 * -ENOENT also where there is no state yet, or none any more: the supervisor writes it as soon as the
 * name is its own. Not trying the lock of such a folder keeps us out of the way of that.
 */
static int describe(int folder_fd, const char *name, struct cove_sandbox_info **ret)
{
	_cleanup_(cove_sandbox_info_freep) struct cove_sandbox_info *read = NULL;
	int r = info_read_state(folder_fd, &read);
	if (r < 0 && r != -EPROTO)
		return r;
	struct cove_sandbox_info info = { .state = COVE_SANDBOX_STARTING };
	if (read)
		info = *read;
	info.name = name;
	if (info.state == COVE_SANDBOX_ENDED)
		return info_copy(&info, ret);

	_cleanup_close_ int lock_fd = look_at_lock(folder_fd);
	if (lock_fd < 0 && lock_fd != -EWOULDBLOCK && lock_fd != -ENOENT)
		return lock_fd;
	if (lock_fd != -EWOULDBLOCK) {
		/* It may have written its last state and gone since we read it. */
		struct cove_sandbox_info *again;
		if (info_read_state(folder_fd, &again) == 0) {
			cove_sandbox_info_free(read);
			read = again;
			info = *read;
			info.name = name;
		}
		info.supervisor_pid = 0;
		info.vmm_pid = 0;
		if (info.state != COVE_SANDBOX_ENDED) {
			info.state = COVE_SANDBOX_ENDED;
			info.end_cause = COVE_END_SUPERVISOR_DIED;
			info.end_text = "its supervisor died";
		}
	}
	return info_copy(&info, ret);
}

int folder_inspect(const char *name, struct cove_sandbox_info **ret, struct cove_error *err)
{
	_cleanup_close_ int dir_fd = open_base(PATHS_DATA);
	_cleanup_close_ int folder_fd = dir_fd < 0 ? dir_fd : open_folder(dir_fd, name);
	int r = folder_fd < 0 ? folder_fd : describe(folder_fd, name, ret);
	if (r == -ENOENT)
		return not_found(name, err);
	if (r == -EACCES)
		return error_set(err, COVE_E_DENIED, "the sandbox %s is another user's", name);
	if (r < 0)
		return error_set_errno(err, r == -ENOMEM ? COVE_E_NO_MEMORY : COVE_E_SYSTEM, r,
				       "cannot read the folder of the sandbox %s", name);
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int read_names(DIR *dir, char ***ret, size_t *ret_count)
{
	_cleanup_(wire_strv_freep) char **names = calloc(1, sizeof(*names));
	size_t n = 0, allocated = 1;
	if (!names)
		return -ENOMEM;

	struct dirent *entry;
	while ((entry = readdir(dir))) {
		if (!name_valid(entry->d_name))
			continue; /* "." and what is being made or removed */
		if (n + 1 == allocated) {
			char **more = reallocarray(names, allocated * 2, sizeof(*names));
			if (!more)
				return -ENOMEM;
			names = more;
			allocated *= 2;
		}
		names[n] = strdup(entry->d_name);
		if (!names[n])
			return -ENOMEM;
		names[++n] = NULL;
	}
	qsort(names, n, sizeof(*names), compare);
	*ret_count = n;
	*ret = TAKE_PTR(names);
	return 0;
}

int folder_names(char ***ret, size_t *ret_count, struct cove_error *err)
{
	_cleanup_closedir_ DIR *dir = NULL;
	int r = 0, fd = open_base(PATHS_DATA);
	if (fd == -ENOENT) { /* there never was one */
		*ret_count = 0;
		*ret = calloc(1, sizeof(**ret));
		r = *ret ? 0 : -ENOMEM;
	} else if (fd < 0) {
		r = fd;
	} else {
		dir = fdopendir(fd);
		if (!dir) {
			r = -errno;
			fd_close(fd);
		}
	}
	if (dir)
		r = read_names(dir, ret, ret_count);
	if (r < 0)
		return error_set_errno(err, r == -ENOMEM ? COVE_E_NO_MEMORY : COVE_E_SYSTEM, r,
				       "cannot list the sandboxes");
	return 0;
}

/* ---- removing ---- */

static int remove_socket(const char *name)
{
	char file[NAME_MAX_BYTES + sizeof(".sock")];
	_cleanup_close_ int dir_fd = open_base(PATHS_RUNTIME);
	if (dir_fd < 0)
		return dir_fd == -ENOENT ? 0 : dir_fd;
	snprintf(file, sizeof(file), "%s.sock", name);
	return unlinkat(dir_fd, file, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static int remove_owned(const char *name)
{
	_cleanup_close_ int dir_fd = open_base(PATHS_DATA), folder_fd = -1, lock_fd = -1;
	if (dir_fd < 0)
		return dir_fd;
	int r = claim_take(dir_fd, name, false, &folder_fd, &lock_fd);
	if (r < 0)
		return r == -ENOTDIR ? -ENOENT : r; /* no folder, so no sandbox */
	/* The name last: once it is free it can be taken, and with it the socket's. */
	r = remove_socket(name);
	return r < 0 ? r : claim_remove(dir_fd, name);
}

int folder_remove(const char *name, struct cove_error *err)
{
	int r = remove_owned(name);
	if (r == -ENOENT)
		return not_found(name, err);
	if (r == -EBUSY)
		return error_set(err, COVE_E_STATE, "the sandbox %s is running", name);
	if (r < 0)
		return error_set_errno(err, COVE_E_SYSTEM, r, "cannot remove the sandbox %s", name);
	return 0;
}
