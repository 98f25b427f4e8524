/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As PID 1, or as a subreaper in tests, the agent inherits every orphan. One loop reaps them all; a
 * leader's status goes to its session, so none is lost to anybody else's wait.
 */
#include <errno.h>
#include <sys/wait.h>

#include "agent/agent.h"

#include "agent/poison.h"

void reaper_run(struct agent *agent)
{
	for (;;) {
		struct rusage usage;
		int status;
		pid_t pid = wait4(-1, &status, WNOHANG, &usage);
		if (pid <= 0) {
			agent->children_left = pid == 0;
			break;
		}
		struct session *s = sessions_find_pid(agent, pid);
		if (s)
			session_on_exit(s, status, &usage);
	}
	sessions_update_trees(agent);
}
