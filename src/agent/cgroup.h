/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CGROUP_H
#define AGENT_CGROUP_H

/*
 * The sessions' cgroups. Making and removing one costs a third of an emulated guest's process start,
 * so a few are kept when they are empty, and given to the next session: see docs/decisions/spawn.md.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/macro.h"

/* As many as sessions usually run at the same time; each holds three descriptors. */
#define CGROUPS_SPARE_MAX 16
/* Those that are there before the first command asks. */
#define CGROUPS_SPARE_FIRST 2

struct cgroups {
	int dir_fd; /* the folder they are in; -1: there are none */
	struct list spare;
	unsigned n_spare;
	uint64_t serial;
};

struct cgroup {
	struct list in_spare;
	struct cgroups *all;
	char name[24];
	int dir_fd;
	int events_fd;	    /* cgroup.events: UV_PRIORITIZED when "populated" has changed */
	int memory_fd;	    /* memory.events; -1 where there is no memory controller */
	bool killed;	    /* cgroup_kill() was used: not to be used again */
	uint64_t oom_kills; /* as of when it was last given out */
};

/* On the folder, whose descriptor it takes; -1 for none. */
void cgroups_init(struct cgroups *all, int dir_fd);
/* Makes the first spare ones. Failing is left to when one is needed. */
void cgroups_prepare(struct cgroups *all);
/* Removes the spare ones. */
void cgroups_done(struct cgroups *all);

/* An empty cgroup: -errno when it cannot be made. NULL in ret where there are none at all. */
int cgroup_take(struct cgroups *all, struct cgroup **ret) _must_check_;
/* Gives it back if nobody lives in it. False when somebody does. */
bool cgroup_give_back(struct cgroup *c);
/* For one that is given up with processes in it. */
void cgroup_abandon(struct cgroup *c);

/* A signal to every process in it and below. Those that come up meanwhile may be missed. */
void cgroup_signal(struct cgroup *c, int signal);
/* SIGKILL to every process in it and below, at once and without gaps. */
void cgroup_kill(struct cgroup *c);
/* Whether the kernel has killed a process of it for want of memory since it was taken. */
bool cgroup_was_oom_killed(struct cgroup *c);

#endif
