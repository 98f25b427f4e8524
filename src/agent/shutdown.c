/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/shutdown.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/log.h"
#include "agent/viewer.h"
#include "base/error.h"

#include "agent/poison.h"

static void enter(struct agent *agent, enum shutdown_phase phase, uint64_t limit_ms)
{
	struct shutdown *down = &agent->shutdown;
	assert(phase > down->phase);
	down->phase = phase;
	timer_start(down->timer, limit_ms);
}

/* Leaders and what they left, and in a machine also what has hidden from its session. */
static void kill_everything(struct agent *agent)
{
	LIST_FOREACH (i, &agent->sessions.all) {
		struct session *s = LIST_ENTRY(i, struct session, in_all);
		if (!s->tree.empty)
			session_kill(s, SESSION_STOPPED);
	}
	if (agent->is_init)
		kill(-1, SIGKILL);
}

static void begin_killing(struct agent *agent)
{
	kill_everything(agent);
	enter(agent, SHUTDOWN_KILLING, SHUTDOWN_KILL_MS);
	reaper_run(agent); /* learns whether there are children at all */
}

/* Nothing runs any more that could write. What cannot be remounted is at least written out. */
static void secure_disk(void)
{
	sync();
	if (mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL) < 0 && errno != EINVAL)
		agent_log("remounting / read-only: %s", error_errno_text(errno));
	sync();
}

static void begin_flushing(struct agent *agent)
{
	Cove__Wire__Down m = COVE__WIRE__DOWN__INIT;
	if (agent->is_init)
		secure_disk();
	if (agent->shutdown.stream)
		server_send(agent, agent->shutdown.stream, WIRE_DOWN, &m.base);
	enter(agent, SHUTDOWN_FLUSHING, SHUTDOWN_FLUSH_MS);
}

static bool is_quiet(struct agent *agent)
{
	return sessions_are_quiet(agent) && !(agent->is_init && agent->children_left);
}

static bool is_delivered(struct agent *agent)
{
	LIST_FOREACH (i, &agent->sessions.all)
		if (!viewers_are_served(LIST_ENTRY(i, struct session, in_all)))
			return false;
	return !listings_pending(agent) && server_is_flushed(agent);
}

static void finish(struct agent *agent)
{
	enter(agent, SHUTDOWN_DONE, 0);
	uv_stop(&agent->loop);
}

void shutdown_step(struct agent *agent)
{
	struct shutdown *down = &agent->shutdown;
	if (down->phase == SHUTDOWN_TERMINATING && sessions_are_quiet(agent))
		begin_killing(agent);
	if (down->phase == SHUTDOWN_KILLING && is_quiet(agent))
		enter(agent, SHUTDOWN_DELIVERING, SHUTDOWN_DELIVER_MS);
	if (down->phase == SHUTDOWN_DELIVERING && (is_delivered(agent) || agent->server.away))
		begin_flushing(agent);
	if (down->phase == SHUTDOWN_FLUSHING && (server_is_flushed(agent) || agent->server.away))
		finish(agent);
}

/* The time of a phase is over: the next one. */
static void on_timer(void *userdata)
{
	struct agent *agent = userdata;
	switch (agent->shutdown.phase) {
	case SHUTDOWN_TERMINATING:
		begin_killing(agent);
		break;
	case SHUTDOWN_KILLING:
		agent_log("going down with processes that cannot be killed");
		enter(agent, SHUTDOWN_DELIVERING, SHUTDOWN_DELIVER_MS);
		break;
	case SHUTDOWN_DELIVERING:
		begin_flushing(agent);
		break;
	case SHUTDOWN_FLUSHING:
		finish(agent);
		break;
	default:
		break;
	}
}

int shutdown_init(struct agent *agent)
{
	return timer_new(&agent->loop, on_timer, agent, &agent->shutdown.timer);
}

void shutdown_begin(struct agent *agent, uint32_t stream, uint64_t grace_ms)
{
	struct shutdown *down = &agent->shutdown;
	if (stream)
		down->stream = stream;
	if (down->phase > SHUTDOWN_TERMINATING)
		return;
	if (down->phase == SHUTDOWN_TERMINATING) {
		timer_start(down->timer, grace_ms);
		return;
	}

	enter(agent, SHUTDOWN_TERMINATING, grace_ms);
	LIST_FOREACH (i, &agent->sessions.all) {
		struct session *s = LIST_ENTRY(i, struct session, in_all);
		if (!s->tree.empty)
			session_stop(s);
	}
}

void shutdown_forget_stream(struct agent *agent)
{
	agent->shutdown.stream = 0;
}
