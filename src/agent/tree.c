/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/tree.h"

#include <signal.h>

#include "agent/poison.h"

/* Rounds of killing what is found in /proc: each one finds what was born during the last. */
#define TREE_KILL_ROUNDS 16

int tree_init(struct tree *tree, struct cgroups *cgroups)
{
	*tree = (struct tree){ 0 };
	return cgroup_take(cgroups, &tree->cgroup);
}

void tree_done(struct tree *tree)
{
	if (tree->cgroup)
		cgroup_abandon(tree->cgroup);
	*tree = (struct tree){ .empty = true };
}

void tree_signal(struct tree *tree, int signal)
{
	if (tree->empty || tree->leader <= 0)
		return;
	if (tree->cgroup)
		cgroup_signal(tree->cgroup, signal);
	else
		tree_proc_signal(tree->leader, signal);
}

void tree_kill(struct tree *tree)
{
	if (tree->empty || tree->leader <= 0)
		return;
	if (tree->cgroup) {
		cgroup_kill(tree->cgroup);
		return;
	}
	for (unsigned i = 0; i < TREE_KILL_ROUNDS; i++)
		if (tree_proc_signal(tree->leader, SIGKILL) == 0)
			return;
}

bool tree_update(struct tree *tree)
{
	if (tree->empty)
		return true;
	if (tree->cgroup) {
		/* This also makes the kernel tell us of the next change. */
		if (!cgroup_give_back(tree->cgroup))
			return false;
		tree->cgroup = NULL;
	} else if (tree->leader > 0 && tree_proc_signal(tree->leader, 0) > 0) {
		return false;
	}
	tree->empty = true;
	return true;
}

int tree_watch_fd(const struct tree *tree)
{
	return tree->cgroup ? tree->cgroup->events_fd : -1;
}

bool tree_was_oom_killed(const struct tree *tree)
{
	return tree->cgroup && cgroup_was_oom_killed(tree->cgroup);
}
