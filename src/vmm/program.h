/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_PROGRAM_H
#define VMM_PROGRAM_H

/* Programs of the host: where they are, and how they are started with nothing but what is given. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/macro.h"

/* The path of an executable in PATH, or in the folders for administrators, which a user's PATH
 * may lack. -ENOENT, -ENOMEM. */
int program_find(const char *name, char **ret);

/* Who a child becomes when we are root; otherwise it stays who it is. */
struct program_user {
	bool change;
	uid_t uid;
	gid_t gid;
	gid_t groups[1]; /* beside gid: who may open /dev/kvm */
	size_t groups_n;
};

struct program_start {
	char *const *argv; /* argv[0] is a path */
	const int *fds;	   /* become 3, 4, …; -1: nothing there */
	size_t fds_n;	   /* at most PROGRAM_FDS_MAX */
	int output_fd;	   /* becomes 1 and 2 */
	struct program_user user;
};

#define PROGRAM_FDS_MAX 16

/*
 * Starts it in a session of its own, with /dev/null as its input, default signals, an environment
 * of its own and no other descriptor. It is killed when the calling thread ends. What goes wrong
 * before the program runs is told by a line in output_fd and exit status 127.
 */
int program_spawn(const struct program_start *start, pid_t *ret);

/* Runs argv to its end; its output, at most size - 1 bytes and NUL-terminated, in buffer. The exit
 * status, 128 + signal, or a negative errno (-ETIMEDOUT: it was killed). */
int program_run(char *const *argv, const struct program_user *user, uint64_t timeout_ms,
		char *buffer, size_t size);

/* waitpid() over EINTR: the exit status, 128 + signal, or a negative errno. */
int program_wait(pid_t pid);

#endif
