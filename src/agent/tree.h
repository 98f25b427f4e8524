/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_TREE_H
#define AGENT_TREE_H

/*
 * All processes of a session, whatever they did to hide: the cgroup they were born into.
 *
 * Where there is no cgroup2 to use (the agent as an ordinary process, in tests), /proc is searched
 * instead, for the members of the leader's session and their descendants. That misses a daemon
 * that left both; the machine always has its cgroups.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/macro.h"

struct tree {
	int parent_fd; /* the folder of the cgroups of all sessions, borrowed; -1: none */
	int fd;	       /* the session's own; -1: none */
	char name[24]; /* "s12", in parent_fd */
	pid_t leader;  /* 0 until there is one */
	bool empty;    /* known to have no living member, and the cgroup is removed */
};

/* Makes the cgroup. `parent_fd` is -1 for none. */
int tree_init(struct tree *tree, int parent_fd, uint64_t serial) _must_check_;
/* Closes, and removes the cgroup if that can be done. */
void tree_done(struct tree *tree);

/* A signal to every member. Those that come up meanwhile may be missed. */
void tree_signal(struct tree *tree, int signal);
/* SIGKILL to every member, at once and without gaps. They die soon, not now: see tree_update(). */
void tree_kill(struct tree *tree);

/* Looks whether it is empty by now, and removes the cgroup if so. Returns tree->empty. */
bool tree_update(struct tree *tree);

/*
 * A descriptor on which UV_PRIORITIZED comes when tree_update() may have something new; to be
 * rearmed by tree_rearm(). -ENOTSUP where every SIGCHLD is the occasion.
 */
int tree_watch_fd(struct tree *tree) _must_check_;
void tree_rearm(int watch_fd);

/* Whether the kernel has killed a member for want of memory. */
bool tree_was_oom_killed(const struct tree *tree);

/* For the search of /proc; see tree-proc.c. */
unsigned tree_proc_signal(pid_t leader, int signal); /* the number of living members */

#endif
