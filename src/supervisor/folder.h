/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUPERVISOR_FOLDER_H
#define SUPERVISOR_FOLDER_H

/*
 * A sandbox's place on disk: the folder data/sandboxes/NAME, which is also the claim on the name,
 * and the socket run/sandboxes/NAME.sock.
 *
 * How a name is taken and given up is in base/claim.h. What a supervisor that was killed left behind
 * is unlocked, and goes when the name is taken next; unless it is persistent, then it is kept.
 */

#include <stdbool.h>

#include "cove/error.h"

#define FOLDER_STATE   "state"
#define FOLDER_OVERLAY "disk.qcow2"

struct folder {
	char *name;
	char *path;	   /* absolute */
	int parent_fd;	   /* data/sandboxes */
	int fd;		   /* data/sandboxes/NAME */
	int lock_fd;	   /* the claim */
	int socket_dir_fd; /* run/sandboxes */
	int listen_fd;
};

#define FOLDER_INIT                                                                                \
	{                                                                                          \
		.parent_fd = -1, .fd = -1, .lock_fd = -1, .socket_dir_fd = -1, .listen_fd = -1     \
	}

/*
 * Takes the name and makes the folder, empty but for the lock. COVE_E_EXISTS: it runs, or it has
 * ended and is kept.
 */
int folder_claim(struct folder *folder, const char *name, struct cove_error *err);

/* Makes the socket, listening and nonblocking. Whoever finds it finds the sandbox ready. */
int folder_listen(struct folder *folder, struct cove_error *err);

/*
 * Gives the name up: the socket goes, and the folder if `remove`. Nothing of it is left open, so
 * that whoever hears of the sandbox's end after this may take the name at once. Safe in any state.
 */
void folder_release(struct folder *folder, bool remove);

#endif
