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
#include <sys/types.h>

#include "agent/cgroup.h"
#include "base/macro.h"

struct tree {
	struct cgroup *cgroup; /* NULL: none, or given back */
	pid_t leader;	       /* 0 until there is one */
	bool empty;	       /* known to have no living member, and the cgroup is given back */
};

int tree_init(struct tree *tree, struct cgroups *cgroups) _must_check_;
void tree_done(struct tree *tree);

/* A signal to every member. Those that come up meanwhile may be missed. */
void tree_signal(struct tree *tree, int signal);
/* SIGKILL to every member. They die soon, not now: see tree_update(). */
void tree_kill(struct tree *tree);

/* Looks whether it is empty by now. Returns tree->empty. */
bool tree_update(struct tree *tree);
/*
 * A descriptor, not the caller's, on which UV_PRIORITIZED comes when tree_update() may have
 * something new; -1 where every SIGCHLD is the occasion.
 */
int tree_watch_fd(const struct tree *tree);

/* Whether the kernel has killed a member for want of memory. */
bool tree_was_oom_killed(const struct tree *tree);

/* tree-proc.c: signals the living members (0: none) found in /proc. Returns their number. */
unsigned tree_proc_signal(pid_t leader, int signal);

#endif
