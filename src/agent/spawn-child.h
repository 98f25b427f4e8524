/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SPAWN_CHILD_H
#define AGENT_SPAWN_CHILD_H

/* The child's side of spawn(): see spawn.c. */

#include <limits.h>

#include "agent/spawn.h"

struct spawn_child {
	const struct spawn_options *options;
	const char *path; /* PATH as the command will have it; NULL: none */
	bool set_ids;	  /* become options->user; false for an agent that is nobody special */
	int join_fd;	  /* cgroup.procs of the cgroup to join; -1: none, or it is in it */

	/* What the parent reads: stage is COVE_STAGE_NONE when the file was executed. */
	volatile int stage;
	volatile int error;
	volatile size_t rlimit;	 /* index of the one that could not be set */
	char file[PATH_MAX + 1]; /* what was tried last */
};

/* Never returns when all goes well. */
int spawn_child_main(void *child);

/* A bare clone() or clone3(); the child calls main(argument) on its new stack and exits with it. */
long spawn_child_clone(long number, long argument0, long argument1, int (*main)(void *),
		       void *argument);

#endif
