/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/session.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/viewer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "wire/message.h"

#include "agent/poison.h"

/* ---- the tables ---- */

static void on_expiry(void *userdata);

int sessions_init(struct agent *agent)
{
	struct sessions *all = &agent->sessions;
	list_init(&all->all);
	list_init(&all->kept);
	for (size_t i = 0; i < SESSIONS_BUCKETS; i++) {
		list_init(&all->ids[i]);
		list_init(&all->pids[i]);
	}
	int r = bulk_init(&all->bulk, &agent->loop);
	return r < 0 ? r : timer_new(&agent->loop, on_expiry, agent, &all->expiry);
}

static struct list *id_bucket(struct sessions *all, const void *id, size_t size)
{
	return &all->ids[id_hash(id, size) % SESSIONS_BUCKETS];
}

struct session *sessions_find(struct agent *agent, const void *id, size_t size)
{
	LIST_FOREACH (i, id_bucket(&agent->sessions, id, size)) {
		struct session *s = LIST_ENTRY(i, struct session, in_ids);
		if (strlen(s->id) == size && memcmp(s->id, id, size) == 0)
			return s;
	}
	return NULL;
}

struct session *sessions_find_pid(struct agent *agent, pid_t pid)
{
	LIST_FOREACH (i, &agent->sessions.pids[(unsigned)pid % SESSIONS_BUCKETS]) {
		struct session *s = LIST_ENTRY(i, struct session, in_pids);
		if (s->pid == pid)
			return s;
	}
	return NULL;
}

bool sessions_id_used(struct agent *agent, const char *id)
{
	return id_set_has(&agent->sessions.forgotten, id);
}

void session_register(struct session *s)
{
	struct sessions *all = &s->agent->sessions;
	list_append(&all->all, &s->in_all);
	list_append(id_bucket(all, s->id, strlen(s->id)), &s->in_ids);
	list_append(&all->pids[(unsigned)s->pid % SESSIONS_BUCKETS], &s->in_pids);
	s->number = ++all->n_started;
	all->n_all++;
	all->n_open++;
}

bool sessions_are_quiet(struct agent *agent)
{
	LIST_FOREACH (i, &agent->sessions.all) {
		const struct session *s = LIST_ENTRY(i, struct session, in_all);
		if (s->state != SESSION_ENDED || !s->tree.empty)
			return false;
	}
	return true;
}

/* ---- keeping and forgetting ---- */

static size_t ring_bytes(const struct session *s)
{
	return s->outputs[0].ring.allocated + s->outputs[1].ring.allocated;
}

/* Nothing of it goes on: no process, no open pipe. */
static bool is_over(const struct session *s)
{
	return s->state == SESSION_ENDED && s->tree.empty && s->outputs[0].eof && s->outputs[1].eof;
}

static void unkeep(struct session *s)
{
	struct sessions *all = &s->agent->sessions;
	if (list_empty(&s->in_kept))
		return;
	list_remove(&s->in_kept);
	all->n_kept--;
	all->kept_bytes -= ring_bytes(s);
}

struct session *session_free(struct session *s)
{
	if (!s)
		return NULL;
	struct sessions *all = &s->agent->sessions;
	assert(list_empty(&s->viewers) && list_empty(&s->kills));
	if (!list_empty(&s->in_all)) {
		if (!s->over)
			all->n_open--;
		unkeep(s);
		all->n_all--;
		list_remove(&s->in_all);
		if (!list_empty(&s->in_ids))
			id_set_add(&all->forgotten, s->id);
	}
	list_remove(&s->in_ids);
	list_remove(&s->in_pids);

	timer_free(s->timeout);
	timer_free(s->end);
	watch_free(s->tree_watch);
	session_input_done(s);
	session_output_done(&s->outputs[0]);
	session_output_done(&s->outputs[1]);
	tree_done(&s->tree);
	free(s->screen);
	wire_strv_free(s->argv);
	free(s->id);
	free(s);
	return NULL;
}

/* The id means nothing from now on; the session stays while somebody looks at it. */
static void forget(struct session *s)
{
	if (list_empty(&s->viewers)) {
		session_free(s);
		return;
	}
	id_set_add(&s->agent->sessions.forgotten, s->id);
	list_remove(&s->in_ids);
	unkeep(s);
	s->collected = true;
	session_drop_output(s);
}

/* Whom to forget when there are too many: mere entries before results that nobody has. */
static struct session *least_wanted(const struct sessions *all)
{
	LIST_FOREACH (i, &all->kept) {
		struct session *s = LIST_ENTRY(i, struct session, in_kept);
		if (s->collected)
			return s;
	}
	return LIST_ENTRY(all->kept.next, struct session, in_kept);
}

static void on_expiry(void *userdata)
{
	struct agent *agent = userdata;
	struct sessions *all = &agent->sessions;
	uint64_t now = uv_now(&agent->loop);

	while (all->n_kept > SESSIONS_KEPT_MAX)
		forget(least_wanted(all));
	LIST_FOREACH_SAFE (i, &all->kept) {
		struct session *s = LIST_ENTRY(i, struct session, in_kept);
		if (now - s->over_ms < SESSIONS_KEPT_MS) {
			timer_start(all->expiry, s->over_ms + SESSIONS_KEPT_MS - now);
			return;
		}
		forget(s);
	}
}

/* Old output goes before old results do. What a viewer still has to get stays. */
static void limit_kept_bytes(struct sessions *all)
{
	LIST_FOREACH (i, &all->kept) {
		if (all->kept_bytes <= SESSIONS_KEPT_BYTES)
			return;
		struct session *s = LIST_ENTRY(i, struct session, in_kept);
		if (!list_empty(&s->viewers))
			continue;
		all->kept_bytes -= ring_bytes(s);
		for (size_t k = 0; k < ARRAY_SIZE(s->outputs); k++)
			ring_drop(&s->outputs[k].ring, s->outputs[k].ring.end, 0);
		all->kept_bytes += ring_bytes(s);
	}
}

void session_drop_output(struct session *s)
{
	struct sessions *all = &s->agent->sessions;
	bool counts = !list_empty(&s->in_kept);
	if (!s->collected)
		return;
	all->kept_bytes -= counts ? ring_bytes(s) : 0;
	for (size_t i = 0; i < ARRAY_SIZE(s->outputs); i++) {
		struct session_output *o = &s->outputs[i];
		/* What processes that it left running write is read, as ever. */
		ring_drop(&o->ring, viewers_want(s, o->channel),
			  o->eof ? 0 : RING_FIRST_ALLOCATION);
	}
	all->kept_bytes += counts ? ring_bytes(s) : 0;
}

int session_collect(struct session *s)
{
	if (s->state != SESSION_ENDED)
		return -EBUSY;
	s->collected = true;
	session_drop_output(s);
	return 0;
}

static void keep(struct session *s)
{
	struct sessions *all = &s->agent->sessions;
	session_input_done(s);
	for (size_t i = 0; i < ARRAY_SIZE(s->outputs); i++)
		ring_trim(&s->outputs[i].ring);
	s->over = true;
	s->over_ms = uv_now(&s->agent->loop);
	list_append(&all->kept, &s->in_kept);
	all->n_open--;
	all->n_kept++;
	all->kept_bytes += ring_bytes(s);
	limit_kept_bytes(all);

	/* Never from here: whoever called may be going through the sessions. */
	if (all->n_kept > SESSIONS_KEPT_MAX)
		timer_start(all->expiry, 0);
	else if (all->n_kept == 1)
		timer_start(all->expiry, SESSIONS_KEPT_MS);
}

/* ---- kill requests ---- */

struct kill_request {
	struct list in_session;
	uint32_t stream;
	uint32_t request;
};

static void free_kill_request(struct session *s, struct kill_request *k)
{
	list_remove(&k->in_session);
	s->n_kills--;
	free(k);
}

int session_await_empty(struct session *s, uint32_t stream, uint32_t request)
{
	if (s->n_kills == SESSION_KILLS_MAX)
		return -EBUSY;
	struct kill_request *k = malloc(sizeof(*k));
	if (!k)
		return -ENOMEM;
	*k = (struct kill_request){ .stream = stream, .request = request };
	list_init(&k->in_session);
	list_append(&s->kills, &k->in_session);
	s->n_kills++;
	return 0;
}

void session_drop_kill_requests(struct session *s, uint32_t stream)
{
	LIST_FOREACH_SAFE (i, &s->kills) {
		struct kill_request *k = LIST_ENTRY(i, struct kill_request, in_session);
		if (!stream || k->stream == stream)
			free_kill_request(s, k);
	}
}

static void answer_kills(struct session *s, int error)
{
	struct cove_error err = COVE_ERROR_INIT;
	if (error)
		error_set_errno(&err, COVE_E_SYSTEM, error,
				"session '%s': killed, but processes of it are still there", s->id);
	LIST_FOREACH_SAFE (i, &s->kills) {
		struct kill_request *k = LIST_ENTRY(i, struct kill_request, in_session);
		server_acknowledge(s->agent, k->stream, k->request, error ? &err : NULL);
		free_kill_request(s, k);
	}
}

/* ---- the end ---- */

static void set_state(struct session *s, enum session_state state)
{
	assert((int)state == (int)s->state + 1); /* there is only one way through them */
	s->state = state;
}

static void set_cause(struct session *s, enum session_cause cause)
{
	if (s->cause_known)
		return;
	s->cause_known = true;
	s->cause = cause;
}

/* What made the leader end, where nobody has claimed it. */
static enum session_cause find_cause(struct session *s)
{
	if (s->signal == 0)
		return SESSION_EXITED;
	if (s->asked_signals & (uint64_t)1 << (s->signal - 1))
		return SESSION_KILLED;
	if (s->signal == SIGKILL && tree_was_oom_killed(&s->tree))
		return SESSION_OOM_KILLED;
	return SESSION_SIGNALED;
}

/*
 * With the tree go the descriptors of its cgroup, to another session, or to be closed and used again for
 * anything: nothing may be watching them by then.
 */
static bool update_tree(struct session *s)
{
	if (!tree_update(&s->tree))
		return false;
	s->tree_watch = watch_free(s->tree_watch);
	return true;
}

bool session_is_empty(struct session *s)
{
	if (!update_tree(s))
		return false;
	session_settle(s);
	return true;
}

static void on_tree_event(void *userdata, unsigned events)
{
	struct session *s = userdata;
	(void)events;
	if (update_tree(s))
		session_settle(s);
}

/* The leader is dead and others are not: the kernel tells when the last of them goes. */
static void watch_tree(struct session *s)
{
	int fd = tree_watch_fd(&s->tree);
	if (fd < 0 || watch_new(&s->agent->loop, fd, on_tree_event, s, &s->tree_watch) < 0)
		return; /* sessions_update_trees() looks after it */
	watch_set(s->tree_watch, UV_PRIORITIZED);
	/* It may have happened before anybody was looking. */
	update_tree(s);
}

void sessions_update_trees(struct agent *agent)
{
	LIST_FOREACH_SAFE (i, &agent->sessions.all) {
		struct session *s = LIST_ENTRY(i, struct session, in_all);
		if (s->state == SESSION_RUNNING || s->tree.empty || s->tree_watch)
			continue;
		if (update_tree(s))
			session_settle(s);
	}
}

void session_on_end_timer(void *userdata)
{
	struct session *s = userdata;
	if (s->tree_killed)
		s->confirm_over = true;
	s->lingered = true;
	session_settle(s);
}

/* Starts what bounds the wait for the end, if there is something to wait for. */
static void limit_wait(struct session *s)
{
	if (s->tree_killed)
		timer_start(s->end, SESSION_KILL_CONFIRM_MS);
	else if (s->linger_ms == 0 && !s->wait_eof)
		s->lingered = true;
	else if (!s->wait_eof)
		timer_start(s->end, s->linger_ms);
}

void session_on_exit(struct session *s, int status, const struct rusage *usage)
{
	list_remove(&s->in_pids);
	s->ended_ns = clock_realtime_ns();
	s->elapsed_ns = clock_monotonic_ns() - s->started_monotonic_ns;
	s->usage = *usage;
	s->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	s->code = s->signal ? 128 + s->signal : WEXITSTATUS(status);
	s->core_dumped = WIFSIGNALED(status) && WCOREDUMP(status);
	/* A kill that came too late for it has ended the rest of the tree, not the leader. */
	if (s->cause_known && s->cause == SESSION_KILLED && s->signal != SIGKILL)
		s->cause_known = false;
	set_cause(s, find_cause(s));
	set_state(s, SESSION_ENDING);
	if (!s->wait_eof)
		timer_stop(s->timeout); /* else the limit holds for that wait, too */

	if (s->kill_tree_on_exit && !s->tree_killed) {
		s->tree_killed = true;
		tree_kill(&s->tree);
	}
	for (size_t i = 0; i < ARRAY_SIZE(s->outputs); i++)
		session_output_drain(&s->outputs[i]);
	if (!update_tree(s))
		watch_tree(s);
	limit_wait(s);
	session_settle(s);
}

static void say_ended(struct session *s)
{
	set_state(s, SESSION_ENDED);
	timer_stop(s->timeout);
	timer_stop(s->end);
	s->totals[0] = s->outputs[0].ring.end;
	s->totals[1] = s->outputs[1].ring.end;
	viewers_settle_flushes(s);
	viewers_exited(s);
}

static bool can_end(const struct session *s)
{
	const struct session_output *o = s->outputs;
	if (s->tree_killed && !s->tree.empty && !s->confirm_over)
		return false;
	if (o[0].held || o[1].held)
		return false;
	return (o[0].eof && o[1].eof) || s->lingered;
}

/* Nobody is left to write: what is in the pipes is all. */
static void on_tree_empty(struct session *s)
{
	answer_kills(s, 0);
	if (s->state != SESSION_RUNNING && !s->drained) {
		s->drained = true;
		for (size_t i = 0; i < ARRAY_SIZE(s->outputs); i++)
			session_output_drain(&s->outputs[i]);
	}
}

void session_settle(struct session *s)
{
	if (s->tree.empty)
		on_tree_empty(s);
	else if (s->confirm_over)
		answer_kills(s, EBUSY);
	if (s->state == SESSION_ENDING && can_end(s))
		say_ended(s);
	if (!is_over(s))
		return;
	if (!s->over)
		keep(s);
	if (!list_empty(&s->viewers))
		return;
	if (list_empty(&s->in_ids))
		session_free(s); /* nobody looks any more, and nobody can */
	else
		limit_kept_bytes(&s->agent->sessions); /* of what they still had to get */
}

/* ---- signals and kill ---- */

int session_signal(struct session *s, int signal)
{
	if (signal < 1 || signal > 64)
		return -EINVAL;
	if (s->state != SESSION_RUNNING)
		return -ESRCH;
	/* Not reaped yet, so neither the process nor the group of that number is another's. */
	bool keyboard = signal == SIGINT || signal == SIGQUIT || signal == SIGTSTP;
	int terminal = s->tty ? s->outputs[0].fd : -1; /* none if nobody has it open any more */
	int r = keyboard && terminal >= 0 ? ioctl(terminal, TIOCSIG, signal)
					  : kill(-s->pid, signal);
	if (r < 0)
		return -errno;
	s->asked_signals |= (uint64_t)1 << (signal - 1);
	return 0;
}

void session_kill(struct session *s, enum session_cause cause)
{
	/* An end that came while the limit was being passed gives way to it, so that the answer does
	   not depend on who was faster. */
	if (s->state == SESSION_ENDING && s->cause == SESSION_EXITED && cause != SESSION_KILLED)
		s->cause_known = false;
	if (s->state != SESSION_ENDED)
		set_cause(s, cause);
	s->tree_killed = true;
	s->confirm_over = false;
	tree_kill(&s->tree);
	if (s->state != SESSION_RUNNING)
		timer_start(s->end, SESSION_KILL_CONFIRM_MS);
}

void session_stop(struct session *s)
{
	if (s->state == SESSION_RUNNING)
		set_cause(s, SESSION_STOPPED);
	/* What a closed terminal means; interactive shells ignore SIGTERM. */
	if (s->tty)
		tree_signal(&s->tree, SIGHUP);
	tree_signal(&s->tree, SIGTERM);
	tree_signal(&s->tree, SIGCONT);
}

int session_resize(struct session *s, unsigned rows, unsigned columns)
{
	if (!s->tty)
		return -ENOTTY;
	if (rows < 1 || rows > UINT16_MAX || columns < 1 || columns > UINT16_MAX)
		return -EINVAL;
	if (s->state != SESSION_RUNNING || s->outputs[0].fd < 0)
		return -ESRCH;
	struct winsize size = { .ws_row = (uint16_t)rows, .ws_col = (uint16_t)columns };
	return ioctl(s->outputs[0].fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

void session_update_size(struct session *s)
{
	struct winsize size;
	if (s->tty && s->outputs[0].fd >= 0 && ioctl(s->outputs[0].fd, TIOCGWINSZ, &size) == 0)
		s->size = size;
}

/* ---- the timeout ---- */

void session_on_timeout(void *userdata)
{
	struct session *s = userdata;
	if (s->state == SESSION_ENDED)
		return;
	if (s->timeout_signal && !s->timeout_signalled && s->timeout_grace_ms &&
	    s->state == SESSION_RUNNING) {
		s->timeout_signalled = true;
		set_cause(s, SESSION_TIMED_OUT);
		kill(-s->pid, s->timeout_signal);
		timer_start(s->timeout, s->timeout_grace_ms);
		return;
	}
	session_kill(s, SESSION_TIMED_OUT);
	session_settle(s);
}

/* ---- telling ---- */

void session_fill_exited(const struct session *s, Cove__Wire__Exited *m, Cove__Wire__Usage *usage)
{
	const struct rusage *u = &s->usage;
	m->cause = s->cause;
	m->code = s->code;
	m->has_signal = s->signal != 0;
	m->signal = (uint32_t)s->signal;
	m->has_core_dumped = m->core_dumped = s->core_dumped;
	m->has_stdout_total = m->has_stderr_total = true;
	m->stdout_total = s->totals[0];
	m->stderr_total = s->totals[1];
	m->has_started_ns = m->has_ended_ns = m->has_elapsed_ns = true;
	m->started_ns = s->started_ns;
	m->ended_ns = s->ended_ns;
	m->elapsed_ns = s->elapsed_ns;
	m->usage = usage;
	usage->has_user_us = usage->has_system_us = usage->has_max_rss_bytes = true;
	usage->user_us = (uint64_t)u->ru_utime.tv_sec * 1000000 + (uint64_t)u->ru_utime.tv_usec;
	usage->system_us = (uint64_t)u->ru_stime.tv_sec * 1000000 + (uint64_t)u->ru_stime.tv_usec;
	usage->max_rss_bytes = (uint64_t)u->ru_maxrss * 1024;
}
