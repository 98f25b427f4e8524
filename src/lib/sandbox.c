/* SPDX-License-Identifier: Apache-2.0 */

/* Handles: making them, and what is done with a sandbox through one. */

#include "lib/sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "lib/folder.h"
#include "lib/info.h"
#include "lib/options.h"
#include "lib/reach.h"
#include "lib/request.h"

DEFINE_CLEANUP(cove_sandbox *, cove_sandbox_free)

#define BOOT_TIMEOUT_DEFAULT_MS 60000
#define GRACE_DEFAULT_MS	10000
#define GRACE_MAX_MS		INT32_MAX

/*
 * The supervisor keeps the time limits. These are for one that does not answer at all: what it may
 * take, by its own limits, and then some.
 */
#define CREATE_MARGIN_MS 30000
#define STOP_MARGIN_MS	 60000
#define KILL_LIMIT_MS	 10000
/* An answer of the guest's, which may be very busy. */
#define DETACH_LIMIT_MS 30000
/* From a supervisor's last word to the end of its process. */
#define EXIT_LIMIT_MS 5000

static cove_sandbox *new_handle(const char *name)
{
	cove_sandbox *s = calloc(1, sizeof(*s));
	if (s) {
		s->supervisor = s->child = (struct supervisor)SUPERVISOR_NONE;
		snprintf(s->name, sizeof(s->name), "%s", name);
	}
	return s;
}

/* Waits for its process, which is killed at the deadline, and reaps who stands for it. */
static void end_supervisor(cove_sandbox *s, uint64_t deadline)
{
	supervisor_end(&s->supervisor, deadline);
	if (s->supervisor.pid_fd >= 0) /* that one goes by itself, now */
		deadline = deadline_after_ms(EXIT_LIMIT_MS);
	supervisor_end(&s->child, deadline);
}

_public_ cove_sandbox *cove_sandbox_free(cove_sandbox *sandbox)
{
	if (!sandbox)
		return NULL;
	/* The supervisor of an attached sandbox ends when this connection does. */
	connection_cut(sandbox->connection);
	if (sandbox->attached)
		end_supervisor(sandbox, deadline_after_ms(KILL_LIMIT_MS));
	supervisor_done(&sandbox->supervisor);
	supervisor_done(&sandbox->child);
	cove_sandbox_info_free(sandbox->info);
	free(sandbox);
	return NULL;
}

_public_ const char *cove_sandbox_name(const cove_sandbox *sandbox)
{
	return sandbox->name;
}

/* ---- create ---- */

static int make_up_name(char ret[static NAME_MAX_BYTES + 1], struct cove_error *err)
{
	uint32_t random;
	while (getrandom(&random, sizeof(random), 0) < 0)
		if (errno != EINTR)
			return error_set_errno(err, COVE_E_SYSTEM, errno, "no random numbers");
	snprintf(ret, NAME_MAX_BYTES + 1, "s-%08x", (unsigned)random);
	return 0;
}

static int start_supervisor(cove_sandbox *s, struct cove_error *err)
{
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return error_set_errno(err, COVE_E_SYSTEM, errno, "cannot make a socket");
	_cleanup_close_ int ours = fds[0], theirs = fds[1];

	int r = supervisor_start(theirs, &s->child, err);
	if (r < 0)
		return r;
	r = connection_new(ours, s->name, &s->connection);
	if (r < 0)
		return error_set_errno(err, r == -ENOMEM ? COVE_E_NO_MEMORY : COVE_E_SYSTEM, r,
				       "cannot use the connection to the supervisor");
	TAKE_FD(ours);
	return 0;
}

/* -1: out of memory. */
static int fill_create(Cove__Wire__Create *m, const struct cove_sandbox_options *o,
		       const char *name)
{
	m->name = (char *)name; /* only read */
	m->image = (char *)o->image;
	m->has_cpus = o->cpus > 0;
	m->cpus = o->cpus;
	m->has_memory_bytes = o->memory_bytes > 0;
	m->memory_bytes = o->memory_bytes;
	m->has_cwd = o->cwd != NULL;
	m->cwd = wire_string(o->cwd);
	m->has_user = o->user != NULL;
	m->user = wire_string(o->user);
	m->has_shell = o->shell != NULL;
	m->shell = wire_string(o->shell);
	m->hostname = (char *)o->hostname;
	m->has_read_only = m->read_only = o->read_only;
	m->has_detached = m->detached = o->detached;
	m->has_persistent = m->persistent = o->persistent;
	m->has_boot_timeout_ms = true;
	m->boot_timeout_ms = o->boot_timeout_ms ? o->boot_timeout_ms : BOOT_TIMEOUT_DEFAULT_MS;

	m->n_env = options_count(o->env);
	if (m->n_env == 0)
		return 0;
	m->env = calloc(m->n_env, sizeof(*m->env));
	if (!m->env)
		return -1;
	for (size_t i = 0; i < m->n_env; i++)
		m->env[i] = wire_string(o->env[i]);
	return 0;
}

/* The supervisor ended without an answer. */
static int died(cove_sandbox *s, struct cove_error *err)
{
	const char *text = connection_end_text(s->connection);
	int status = 0;
	if (*text)
		return error_set(err, COVE_E_BOOT, "the sandbox %s did not come up: %s", s->name,
				 text);
	supervisor_wait(&s->child, deadline_after_ms(EXIT_LIMIT_MS), &status);
	if (WIFSIGNALED(status))
		return error_set(
			err, COVE_E_BOOT,
			"the supervisor of %s ended before the sandbox was up, by signal %d",
			s->name, WTERMSIG(status));
	if (WEXITSTATUS(status) == 127)
		return error_set(err, COVE_E_MISSING, "the supervisor cannot be executed");
	return error_set(err, COVE_E_BOOT,
			 "the supervisor of %s ended before the sandbox was up, with status %d",
			 s->name, WEXITSTATUS(status));
}

/* Of a sandbox that was let go of: its child of ours ends, and the supervisor is somebody else's. */
static void reap_stand_in(cove_sandbox *s)
{
	supervisor_end(&s->child, deadline_after_ms(EXIT_LIMIT_MS));
}

static int create(cove_sandbox *s, const struct cove_sandbox_options *o, struct cove_error *err)
{
	Cove__Wire__Create message = COVE__WIRE__CREATE__INIT;
	if (fill_create(&message, o, s->name) < 0)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	_cleanup_free_ ProtobufCBinaryData *env = message.env;

	s->attached = true; /* until there is a sandbox, whatever it is to be */
	int r = start_supervisor(s, err);
	if (r < 0)
		return r;
	struct request request = {
		.type = WIRE_CREATE,
		.message = &message.base,
		/* Twice: a boot that hangs is tried once more. */
		.deadline =
			deadline_after_ms(2 * (uint64_t)message.boot_timeout_ms + CREATE_MARGIN_MS),
		.progress = o->progress,
		.progress_data = o->progress_data,
	};
	r = request_run(s->connection, &request, &s->info, err);
	if (r == COVE_E_LOST)
		return died(s, err);
	if (r < 0)
		return r;
	supervisor_watch(s->info->supervisor_pid, &s->supervisor);
	s->attached = !o->detached;
	if (o->detached)
		reap_stand_in(s);
	return 0;
}

_public_ int cove_sandbox_create(const char *name, const struct cove_sandbox_options *options,
				 cove_sandbox **ret, struct cove_error *err)
{
	struct cove_sandbox_options o;
	char made_up[NAME_MAX_BYTES + 1];

	int r = options_read(&o, sizeof(o), options, "cove_sandbox_options", err);
	if (r == 0)
		r = options_check_sandbox(&o, err);
	if (r == 0)
		r = name ? options_check_name(name, err) : make_up_name(made_up, err);
	if (r < 0)
		return r;

	_cleanup_(cove_sandbox_freep) cove_sandbox *s = new_handle(name ? name : made_up);
	if (!s)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	r = create(s, &o, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

/* ---- connect ---- */

_public_ int cove_sandbox_connect(const char *name, cove_sandbox **ret, struct cove_error *err)
{
	int r = options_check_name(name, err);
	if (r < 0)
		return r;
	_cleanup_(cove_sandbox_freep) cove_sandbox *s = new_handle(name);
	if (!s)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	r = reach(name, deadline_after_ms(REACH_LIMIT_MS), &s->connection, &s->info, err);
	if (r == COVE_E_NOT_FOUND) {
		r = folder_inspect(name, &s->info, err);
		if (r < 0)
			return r;
		return error_set(err, COVE_E_STATE, "the sandbox %s %s%s%s", name,
				 s->info->state == COVE_SANDBOX_ENDED ? "has ended" : "is not up",
				 *s->info->end_text ? ": " : "", s->info->end_text);
	}
	if (r < 0)
		return r;
	if (s->info->state == COVE_SANDBOX_ENDED)
		return error_set(err, COVE_E_STATE, "the sandbox %s has ended", name);
	supervisor_watch(s->info->supervisor_pid, &s->supervisor);
	*ret = TAKE_PTR(s);
	return 0;
}

/* ---- the end ---- */

/* Remembers the latest that was heard of it. */
static void remember(cove_sandbox *s, struct cove_sandbox_info *info)
{
	connection_lock(s->connection);
	struct cove_sandbox_info *old = s->info;
	s->info = info;
	connection_unlock(s->connection);
	cove_sandbox_info_free(old);
}

/* The connection has ended; the sandbox, as far as is known, has not. */
static bool was_cut_off(cove_sandbox *s)
{
	connection_lock(s->connection);
	bool cut_off = connection_end_cause(s->connection) == COVE_END_NONE &&
		       *connection_end_text(s->connection);
	connection_unlock(s->connection);
	return cut_off;
}

/*
 * Asks and waits for the end. Success too when the sandbox ends, or had ended, without an answer.
 */
static int run_to_end(cove_sandbox *s, const struct request *request, struct cove_error *err)
{
	struct cove_sandbox_info *info;
	int r = request_run(s->connection, request, &info, err);
	if (r == COVE_E_LOST && !was_cut_off(s))
		return 0;
	if (r < 0)
		return r;
	remember(s, info);
	return 0;
}

/*
 * Reads up to the supervisor's last word. It waits for its clients to take what the guest has said,
 * and maybe no other thread of ours is reading.
 */
static void read_to_end(struct connection *c, uint64_t deadline)
{
	struct stream nothing;
	int r = 0;
	stream_init(&nothing, NULL);
	connection_lock(c);
	while (!connection_gone(c, NULL) && r == 0)
		r = connection_wait(c, &nothing, STREAM_EVENT, deadline);
	connection_unlock(c);
}

static int stop(cove_sandbox *s, const Cove__Wire__StopRequest *message, uint64_t limit_ms,
		struct cove_error *err)
{
	struct request request = {
		.type = WIRE_STOP,
		.message = &message->base,
		.deadline = deadline_after_ms(limit_ms),
	};
	int r = run_to_end(s, &request, err);
	/* A kill does not need the supervisor's consent: the machine dies with it. */
	if ((r == COVE_E_TIMEOUT || r == COVE_E_LOST) && message->kill &&
	    s->supervisor.pid_fd >= 0) {
		end_supervisor(s, 0);
		return 0;
	}
	/* When its process is gone, so are its folder and its hold on the name. */
	if (r == 0) {
		uint64_t deadline = deadline_after_ms(EXIT_LIMIT_MS);
		read_to_end(s->connection, deadline);
		end_supervisor(s, deadline);
	}
	return r;
}

_public_ int cove_sandbox_stop(cove_sandbox *sandbox, const struct cove_stop_options *options,
			       struct cove_error *err)
{
	struct cove_stop_options o;
	int r = options_read(&o, sizeof(o), options, "cove_stop_options", err);
	if (r < 0)
		return r;
	uint64_t grace_ms = o.grace_ms ? o.grace_ms : GRACE_DEFAULT_MS;
	if (grace_ms > GRACE_MAX_MS)
		return error_set(err, COVE_E_INVALID, "grace_ms: %llu is more than 24 days",
				 (unsigned long long)grace_ms);

	Cove__Wire__StopRequest message = COVE__WIRE__STOP_REQUEST__INIT;
	message.has_grace_ms = true;
	message.grace_ms = grace_ms;
	return stop(sandbox, &message, grace_ms + STOP_MARGIN_MS, err);
}

_public_ int cove_sandbox_kill(cove_sandbox *sandbox, struct cove_error *err)
{
	Cove__Wire__StopRequest message = COVE__WIRE__STOP_REQUEST__INIT;
	message.has_kill = message.kill = true;
	return stop(sandbox, &message, KILL_LIMIT_MS, err);
}

_public_ int cove_sandbox_detach(cove_sandbox *sandbox, const struct cove_detach_options *options,
				 struct cove_error *err)
{
	struct cove_detach_options o;
	int r = options_read(&o, sizeof(o), options, "cove_detach_options", err);
	if (r == 0)
		r = options_check_detach(&o, err);
	if (r < 0)
		return r;

	Cove__Wire__DetachRequest message = COVE__WIRE__DETACH_REQUEST__INIT;
	message.has_until_session = o.until_session != NULL;
	message.until_session = wire_string(o.until_session);
	struct request request = {
		.type = WIRE_DETACH,
		.message = &message.base,
		.deadline = deadline_after_ms(DETACH_LIMIT_MS),
	};
	struct cove_sandbox_info *info;
	r = request_run(sandbox->connection, &request, &info, err);
	if (r < 0)
		return r;
	connection_lock(sandbox->connection);
	sandbox->attached = false;
	connection_unlock(sandbox->connection);
	remember(sandbox, info);
	reap_stand_in(sandbox);
	return 0;
}

/* How it ended, when the connection has. */
static int end_info(cove_sandbox *s, struct cove_sandbox_info **ret, struct cove_error *err)
{
	/* A folder that was kept knows best, unless it is that of a later sandbox. */
	_cleanup_(cove_sandbox_info_freep) struct cove_sandbox_info *kept = NULL;
	(void)!folder_inspect(s->name, &kept, NULL);

	connection_lock(s->connection);
	struct cove_sandbox_info info = *s->info;
	if (kept && kept->state == COVE_SANDBOX_ENDED && kept->created_ns == info.created_ns)
		info = *kept;
	if (info.state != COVE_SANDBOX_ENDED) {
		unsigned cause = connection_end_cause(s->connection);
		info.state = COVE_SANDBOX_ENDED;
		info.end_cause = cause ? cause : COVE_END_SUPERVISOR_DIED;
		info.end_text = connection_end_text(s->connection);
		info.supervisor_pid = 0;
		info.vmm_pid = 0;
	}
	int r = info_copy(&info, ret);
	connection_unlock(s->connection);
	return r < 0 ? error_set(err, COVE_E_NO_MEMORY, "out of memory") : 0;
}

/* Looks once, without waiting for anything but the answer to that. */
static int look(cove_sandbox *s, struct cove_error *err)
{
	Cove__Wire__InfoRequest message = COVE__WIRE__INFO_REQUEST__INIT;
	struct request request = {
		.type = WIRE_INFO,
		.message = &message.base,
		.deadline = deadline_after_ms(REACH_LIMIT_MS),
	};
	struct cove_sandbox_info *info;
	int r = request_run(s->connection, &request, &info, err);
	if (r == COVE_E_LOST && !was_cut_off(s))
		return 0;
	if (r < 0)
		return r;
	bool ended = info->state == COVE_SANDBOX_ENDED;
	remember(s, info);
	return ended ? 0 : error_set(err, COVE_E_TIMEOUT, "the sandbox %s has not ended", s->name);
}

_public_ int cove_sandbox_wait(cove_sandbox *sandbox, int timeout_ms,
			       struct cove_sandbox_info **ret, struct cove_error *err)
{
	Cove__Wire__WaitRequest message = COVE__WIRE__WAIT_REQUEST__INIT;
	struct request request = {
		.type = WIRE_WAIT,
		.message = &message.base,
		.deadline = deadline_from_timeout(timeout_ms),
	};
	int r = timeout_ms == 0 ? look(sandbox, err) : run_to_end(sandbox, &request, err);
	if (r == COVE_E_TIMEOUT)
		return error_set(err, r, "the sandbox %s has not ended", sandbox->name);
	if (r < 0)
		return r;
	return end_info(sandbox, ret, err);
}
