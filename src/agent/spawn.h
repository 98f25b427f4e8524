/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SPAWN_H
#define AGENT_SPAWN_H

/*
 * Starting a process: the one way in which the agent does it. docs/decisions/spawn.md says why it
 * is done like this.
 *
 * The child shares the agent's memory until it has executed its file, and the agent waits for that,
 * so a failure is known when spawn() returns, with its stage and errno and nothing left to clean up.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "agent/user.h"
#include "base/macro.h"
#include "cove/error.h"

struct spawn_rlimit {
	int resource;
	struct rlimit limit;
};

struct spawn_options {
	char *const *argv; /* argv[0] without a slash is looked up in env's PATH */
	char *const *env;
	const char *cwd; /* entered as the user */
	const struct user *user;
	/* In this order, before privileges are dropped. */
	const struct spawn_rlimit *rlimits;
	size_t n_rlimits;
	int stdio[3];  /* what becomes 0, 1 and 2; all above 2 */
	bool tty;      /* stdio is a terminal, to become the controlling one */
	int cgroup_fd; /* the cgroup to be born into; -1: none */
};

/* COVE_E_START, with the stage and errno of what failed and the name of what it failed on. */
int spawn(const struct spawn_options *options, pid_t *ret_pid, struct cove_error *err) _must_check_;

#endif
