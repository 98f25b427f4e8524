/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

/* The whole agent: one event loop, one link, the sessions. */

#include <stdbool.h>
#include <uv.h>

#include "agent/event.h"
#include "agent/listing.h"
#include "agent/server.h"
#include "agent/session.h"
#include "agent/shutdown.h"
#include "agent/user.h"
#include "base/list.h"

/* What commands get unless they say otherwise, from START. */
struct agent_defaults {
	char **image_env;
	char **sandbox_env;
	char *cwd;
	char *user;
	char *shell;
};

struct agent {
	uv_loop_t loop;
	bool is_init;	      /* PID 1 of a machine; false: a process among others, for tests */
	bool started;	      /* START was there */
	bool has_job;	      /* ... and went well: commands can be run */
	int null_fd;	      /* /dev/null, the stdin of many */
	struct rlimit nofile; /* as commands get it; the agent's own is higher */
	struct agent_defaults defaults;
	struct user_cache user_cache;
	struct server server;
	struct cgroups cgroups;
	struct sessions sessions;
	struct list listings; /* struct listing: SESSION_LISTs to be answered */
	struct shutdown shutdown;
	int signal_fd;
	struct watch *signals;
	bool children_left; /* as of the last SIGCHLD */
};

/* Everything but the link's descriptor. Negative errno. */
int agent_init(struct agent *agent, bool is_init) _must_check_;
/* Serves; returns when there is nothing more to do (never, in a machine). */
int agent_run(struct agent *agent);

/* Reaps whatever has died; leaders end their sessions. */
void reaper_run(struct agent *agent);

#endif
