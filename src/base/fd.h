/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_FD_H
#define BASE_FD_H

/* File descriptors. Everything is close-on-exec at birth. Negative errno on failure. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/macro.h"

/* Closes, keeps errno, returns -1: `fd = fd_close(fd);`. A negative fd is fine. */
int fd_close(int fd);
int fd_set_nonblocking(int fd, bool on);
int fd_set_cloexec(int fd, bool on);

/* All n bytes on a blocking fd, over short counts and EINTR. read: -ENODATA when the end comes
 * first. */
int fd_write_full(int fd, const void *data, size_t n) _must_check_;
int fd_read_full(int fd, void *data, size_t n) _must_check_;

/*
 * A whole small file, NUL-terminated (the NUL not counted). Refuses what is not a regular file
 * (-EINVAL; a FIFO does not block it) unless `any`, and what is larger than max (-EFBIG).
 */
int fd_read_file(int dir_fd, const char *path, size_t max, bool any, char **ret,
		 size_t *ret_size) _must_check_;

/* Writes path whole or not at all: a temporary name beside it, then rename. */
int fd_write_file_atomic(int dir_fd, const char *path, const void *data, size_t n,
			 mode_t mode) _must_check_;

/* A short string into an existing file (/proc, /sys, cgroup): one write. */
int fd_write_string(int dir_fd, const char *path, const char *text) _must_check_;

/* mkdir -p with mode for what has to be made. */
int fd_mkdir_parents(const char *path, mode_t mode) _must_check_;

/* rm -r below dir_fd: never follows a link, never leaves the file system. -ENOENT when absent. */
int fd_remove_tree(int dir_fd, const char *name) _must_check_;

#endif
