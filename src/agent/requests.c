/* SPDX-License-Identifier: Apache-2.0 */
/* What clients ask of the agent. Whatever is in a message, the answer is a message. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/start.h"
#include "agent/viewer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/name.h"

#include "agent/poison.h"

/* A request after which memory is given back. */
#define LARGE_REQUEST_BYTES (256u * 1024)

/* In one message of a list. */
#define LIST_BATCH_SESSIONS 64
/* Of argv, in all messages of one list: they wait in the link's queue, which is bounded. */
#define LIST_ARGV_BYTES (4u * 1024 * 1024)

static ProtobufCMessage *unpack(const struct wire_event *event,
				const ProtobufCMessageDescriptor *descriptor,
				struct cove_error *err)
{
	ProtobufCMessage *m = wire_message_unpack(descriptor, event->data, event->size);
	if (!m) {
		error_set_errno(err, COVE_E_PROTOCOL, EBADMSG, "a request that cannot be read");
		err->stage = COVE_STAGE_REQUEST;
	}
	return m;
}

/* ---- EXEC ---- */

static int refuse_exec(struct agent *agent, const Cove__Wire__Exec *exec, struct cove_error *err)
{
	int r = 0;
	char id[SESSION_ID_MAX_BYTES + 1] = "";
	bool has_id = exec->has_id && exec->id.len > 0;

	if (has_id && !session_id_valid(exec->id.data, exec->id.len))
		return error_set_start(err, COVE_STAGE_REQUEST, EINVAL, "session id");
	if (has_id)
		memcpy(id, exec->id.data, exec->id.len);

	if (has_id && sessions_id_used(agent, id))
		r = error_set_errno(err, COVE_E_EXISTS, EEXIST,
				    "session '%s' has ended and is not kept any more", id);
	else if (!agent->has_job)
		r = error_set_errno(err, COVE_E_STATE, EAGAIN, "the machine was not started yet");
	else if (agent->shutdown.phase != SHUTDOWN_NONE)
		r = error_set_errno(err, COVE_E_STATE, ESHUTDOWN, "the machine is going down");
	else if (agent->sessions.n_open >= SESSIONS_OPEN_MAX)
		r = error_set_errno(err, COVE_E_LIMIT, EAGAIN, "%u sessions are open",
				    agent->sessions.n_open);
	if (r < 0)
		err->stage = COVE_STAGE_REQUEST;
	return r;
}

static int view(struct session *s, const struct viewer *options, bool already_running,
		struct cove_error *err)
{
	int r = viewer_new(s, options, already_running);
	if (r >= 0)
		return 0;
	error_set_errno(err, r == -EBUSY ? COVE_E_LIMIT : COVE_E_NO_MEMORY, r,
			"%u streams look at session '%s'", s->n_viewers, s->id);
	err->stage = COVE_STAGE_REQUEST;
	return r;
}

static int on_exec(struct agent *agent, const struct wire_event *event, struct cove_error *err)
{
	_cleanup_(wire_message_freep) ProtobufCMessage *m =
		unpack(event, &cove__wire__exec__descriptor, err);
	if (!m)
		return -EBADMSG;
	const Cove__Wire__Exec *exec = (const Cove__Wire__Exec *)m;
	struct viewer viewer = { .stream = event->stream, .starter = true, .write = true };

	/* Once per id: whoever asks again, not having heard the answer, gets that session. */
	struct session *s = exec->has_id ? sessions_find(agent, exec->id.data, exec->id.len) : NULL;
	if (s) {
		for (size_t i = 0; i < ARRAY_SIZE(s->outputs); i++)
			viewer.next[s->outputs[i].channel] = s->outputs[i].ring.start;
		return view(s, &viewer, true, err);
	}

	int r = refuse_exec(agent, exec, err);
	if (r < 0)
		return r;
	r = session_start(agent, exec, &s, err);
	if (r < 0)
		return r;
	r = view(s, &viewer, false, err);
	if (r < 0) {
		/* It runs, but nobody was told: it must not run on. */
		s->collected = true;
		session_kill(s, SESSION_KILLED);
	}
	return r;
}

/* ---- ATTACH ---- */

static int place_viewer(const struct session *s, const Cove__Wire__Attach *attach,
			struct viewer *viewer, struct cove_error *err)
{
	uint64_t wanted[] = { attach->stdout_offset, attach->stderr_offset };
	for (size_t i = 0; i < ARRAY_SIZE(s->outputs); i++) {
		const struct ring *ring = &s->outputs[i].ring;
		uint64_t next = ring->start;
		if (attach->from == COVE__WIRE__ATTACH__FROM__NOW)
			next = ring->end;
		if (attach->from == COVE__WIRE__ATTACH__FROM__OFFSET)
			next = wanted[i];
		if (next > ring->end)
			return error_set(err, COVE_E_INVALID,
					 "session '%s': offset %llu is past the end, %llu", s->id,
					 (unsigned long long)next, (unsigned long long)ring->end);
		viewer->next[s->outputs[i].channel] = MAX(next, ring->start);
	}
	return 0;
}

static int on_attach(struct agent *agent, const struct wire_event *event, struct cove_error *err)
{
	_cleanup_(wire_message_freep) ProtobufCMessage *m =
		unpack(event, &cove__wire__attach__descriptor, err);
	if (!m)
		return -EBADMSG;
	const Cove__Wire__Attach *attach = (const Cove__Wire__Attach *)m;
	if (!session_id_valid(attach->id.data, attach->id.len))
		return error_set(err, COVE_E_INVALID, "session id");
	struct session *s = sessions_find(agent, attach->id.data, attach->id.len);
	if (!s)
		return error_set(err, COVE_E_NOT_FOUND, "no session '%.*s'", (int)attach->id.len,
				 (const char *)attach->id.data);

	struct viewer viewer = {
		.stream = event->stream,
		.lossy = attach->lossy,
		.write = attach->write,
	};
	int r = place_viewer(s, attach, &viewer, err);
	return r < 0 ? r : view(s, &viewer, true, err);
}

/* ---- SESSION_LIST ---- */

struct listed {
	Cove__Wire__Session session;
	Cove__Wire__Exited exited;
	Cove__Wire__Usage usage;
	ProtobufCBinaryData argv[64]; /* more words than anybody reads in a list */
};

static void list_session(const struct session *s, size_t argv_bytes, struct listed *ret)
{
	Cove__Wire__Session *m = &ret->session;
	cove__wire__session__init(m);
	cove__wire__exited__init(&ret->exited);
	cove__wire__usage__init(&ret->usage);
	m->id = wire_string(s->id);
	m->pid = (uint32_t)s->pid;
	m->argv = ret->argv;
	for (char **p = s->argv; *p && m->n_argv < ARRAY_SIZE(ret->argv); p++) {
		size_t n = MIN(strlen(*p), argv_bytes);
		argv_bytes -= n;
		ret->argv[m->n_argv++] = wire_bytes(*p, n);
	}
	m->has_tty = m->tty = s->tty;
	m->has_started_ns = m->has_viewers = true;
	m->started_ns = s->started_ns;
	m->viewers = s->n_viewers;
	m->has_stdout_total = m->has_stderr_total = true;
	m->stdout_total = s->outputs[0].ring.end;
	m->stderr_total = s->outputs[1].ring.end;
	if (s->state == SESSION_ENDED) {
		session_fill_exited(s, &ret->exited, &ret->usage);
		m->exited = &ret->exited;
	}
}

static int on_list(struct agent *agent, const struct wire_event *event, struct cove_error *err)
{
	const struct sessions *all = &agent->sessions;
	_cleanup_free_ struct listed *batch = calloc(LIST_BATCH_SESSIONS, sizeof(*batch));
	Cove__Wire__Session *list[LIST_BATCH_SESSIONS];
	if (!batch)
		return error_set(err, COVE_E_NO_MEMORY, "listing the sessions");

	size_t argv_bytes = LIST_ARGV_BYTES / (all->n_all + 1);
	Cove__Wire__SessionList m = COVE__WIRE__SESSION_LIST__INIT;
	m.sessions = list;
	m.has_more = m.more = true;
	LIST_FOREACH (i, &all->all) {
		const struct session *s = LIST_ENTRY(i, struct session, in_all);
		if (list_empty(&s->in_ids))
			continue; /* forgotten, but for those who look at it */
		if (m.n_sessions == LIST_BATCH_SESSIONS) {
			server_send(agent, event->stream, WIRE_SESSIONS, &m.base);
			m.n_sessions = 0;
		}
		list_session(s, argv_bytes, &batch[m.n_sessions]);
		list[m.n_sessions] = &batch[m.n_sessions].session;
		m.n_sessions++;
	}
	m.has_more = m.more = false;
	server_send(agent, event->stream, WIRE_SESSIONS, &m.base);
	return 0;
}

/* ---- SIGNAL, KILL, RESIZE ---- */

static int explain(const struct session *s, int r, const char *what, struct cove_error *err)
{
	int code = COVE_E_SYSTEM;
	if (r == -EINVAL)
		code = COVE_E_INVALID;
	else if (r == -ESRCH || r == -ENOTTY)
		code = COVE_E_STATE;
	else if (r == -EPERM)
		code = COVE_E_DENIED;
	else if (r == -EBUSY)
		code = COVE_E_LIMIT;
	return error_set_errno(err, code, r, "%s session '%s'", what, s->id);
}

/*
 * What cannot be read has no number to be answered by. That is the end of this stream, and not of
 * the link, which is other clients', too.
 */
static void give_up(struct viewer *v, const struct cove_error *err)
{
	struct agent *agent = v->session->agent;
	uint32_t stream = v->stream;
	viewer_free(v);
	server_send_failure(agent, stream, WIRE_FAILED, err);
}

static void on_signal(struct viewer *v, const struct wire_event *event)
{
	struct session *s = v->session;
	struct cove_error err = COVE_ERROR_INIT;
	_cleanup_(wire_message_freep) ProtobufCMessage *m =
		unpack(event, &cove__wire__signal__descriptor, &err);
	if (!m) {
		give_up(v, &err);
		return;
	}
	const Cove__Wire__Signal *signal = (const Cove__Wire__Signal *)m;
	int r = signal->signal > 64 ? -EINVAL : 0;
	if (r >= 0)
		r = v->write ? session_signal(s, (int)signal->signal) : -EPERM;
	if (r < 0)
		explain(s, r, "sending a signal to", &err);
	server_acknowledge(s->agent, v->stream, signal->request, r < 0 ? &err : NULL);
}

static void on_kill(struct viewer *v, const struct wire_event *event)
{
	struct session *s = v->session;
	struct cove_error err = COVE_ERROR_INIT;
	_cleanup_(wire_message_freep) ProtobufCMessage *m =
		unpack(event, &cove__wire__kill__descriptor, &err);
	if (!m) {
		give_up(v, &err);
		return;
	}
	uint32_t request = ((const Cove__Wire__Kill *)m)->request;
	int r = v->write ? 0 : -EPERM;
	/* What the leader left behind can be killed after its end, too. */
	if (r >= 0 && s->state != SESSION_RUNNING && tree_update(&s->tree))
		r = -ESRCH;
	if (r >= 0)
		r = session_await_empty(s, v->stream, request);
	if (r < 0) {
		explain(s, r, "killing", &err);
		server_acknowledge(s->agent, v->stream, request, &err);
		return;
	}
	session_kill(s, SESSION_KILLED);
}

static void on_resize(struct viewer *v, const struct wire_event *event)
{
	struct session *s = v->session;
	struct cove_error err = COVE_ERROR_INIT;
	_cleanup_(wire_message_freep) ProtobufCMessage *m =
		unpack(event, &cove__wire__resize__descriptor, &err);
	if (!m) {
		give_up(v, &err);
		return;
	}
	const Cove__Wire__Resize *resize = (const Cove__Wire__Resize *)m;
	int r = v->write ? session_resize(s, resize->rows, resize->cols) : -EPERM;
	if (r < 0)
		explain(s, r, "resizing the terminal of", &err);
	server_acknowledge(s->agent, v->stream, resize->request, r < 0 ? &err : NULL);
}

/* ---- output that nobody wants ---- */

static void on_close_output(struct viewer *v, const struct wire_event *event)
{
	struct session *s = v->session;
	struct cove_error err = COVE_ERROR_INIT;
	_cleanup_(wire_message_freep) ProtobufCMessage *m =
		unpack(event, &cove__wire__close_output__descriptor, &err);
	if (!m) {
		give_up(v, &err);
		return;
	}
	const Cove__Wire__CloseOutput *close = (const Cove__Wire__CloseOutput *)m;
	int r = v->write ? 0 : -EPERM;
	if (r >= 0 && close->channel != WIRE_STDOUT && close->channel != WIRE_STDERR)
		r = -EINVAL;
	if (r >= 0)
		r = session_output_close(&s->outputs[close->channel - WIRE_STDOUT]);
	if (r < 0)
		explain(s, r, "closing an output of", &err);
	server_acknowledge(s->agent, v->stream, close->request, r < 0 ? &err : NULL);
	/* The end may have waited for it. The viewer keeps the session from being freed. */
	session_settle(s);
}

/* ---- channel 0 ---- */

static void close_input_at_end(struct viewer *v)
{
	if (v->write && v->input_ends && v->input_end >= v->input_total)
		session_input_close(v->session);
}

static void on_stdin_eof(struct viewer *v, const struct wire_event *event)
{
	v->input_ends = true;
	v->input_total = event->offset;
	close_input_at_end(v);
}

/*
 * Whoever starts a session that there is sends the same bytes again, at the same offsets, maybe while
 * another is still at it: each of them counts once.
 */
static size_t count_repeated(const struct viewer *v, const struct wire_event *event)
{
	const struct session_input *in = &v->session->input;
	if (!v->starter || in->error)
		return 0;
	uint64_t had = in->started - MIN(in->started, event->offset);
	return (size_t)MIN((uint64_t)event->size, had);
}

static int take_stdin(struct viewer *v, const struct wire_event *event, size_t skip)
{
	struct session_input *in = &v->session->input;
	uint64_t before = in->accepted;
	int r = session_input_write(v->session, v->stream, event->data + skip, event->size - skip);
	if (v->starter)
		in->started = MAX(in->started, event->offset + skip + (in->accepted - before));
	return r;
}

static void on_stdin(struct viewer *v, const struct wire_event *event)
{
	/* What follows bytes that were refused would have a hole before it. */
	bool wanted = v->write && !v->told_stdin_error;
	size_t skip = wanted ? count_repeated(v, event) : event->size;
	int r = v->write ? 0 : -EPERM;
	if (skip &&
	    wire_link_consumed(v->session->agent->server.link, v->stream, WIRE_STDIN, skip) < 0)
		v->session->agent->server.broken = true;
	if (skip < event->size)
		r = take_stdin(v, event, skip);
	if (r < 0)
		viewer_stdin_error(v, -r);
	v->input_end = event->offset + event->size;
	close_input_at_end(v);
}

/* ---- all of them ---- */

static void on_opening_message(struct agent *agent, const struct wire_event *event)
{
	struct cove_error err = COVE_ERROR_INIT;
	int r = 0;
	switch (event->type) {
	case WIRE_EXEC:
		r = on_exec(agent, event, &err);
		/* A megabyte of environment leaves several of heap behind. */
		if (event->size > LARGE_REQUEST_BYTES)
			malloc_trim(0);
		break;
	case WIRE_ATTACH:
		r = on_attach(agent, event, &err);
		break;
	case WIRE_SESSION_LIST:
		r = on_list(agent, event, &err);
		break;
	case WIRE_START:
		start_handle(agent, event);
		return;
	case WIRE_SHUTDOWN: {
		_cleanup_(wire_message_freep) ProtobufCMessage *m =
			unpack(event, &cove__wire__shutdown__descriptor, &err);
		const Cove__Wire__Shutdown *shutdown = (const Cove__Wire__Shutdown *)m;
		bool has_grace = shutdown && shutdown->has_grace_ms;
		shutdown_begin(agent, event->stream,
			       has_grace ? shutdown->grace_ms : SHUTDOWN_GRACE_MS);
		return;
	}
	default:
		r = error_set(&err, COVE_E_UNSUPPORTED, "the guest has no request of type %u",
			      event->type);
	}
	if (r < 0)
		server_send_failure(agent, event->stream, WIRE_FAILED, &err);
}

void requests_handle(struct agent *agent, const struct wire_event *event)
{
	struct viewer *v = event->userdata;

	if (event->kind == WIRE_EVENT_MESSAGE && event->opens) {
		on_opening_message(agent, event);
		return;
	}
	if (!v)
		return; /* on a stream that has failed, or is no session's: it comes too late */

	switch (event->kind) {
	case WIRE_EVENT_MESSAGE:
		if (event->type == WIRE_SIGNAL)
			on_signal(v, event);
		else if (event->type == WIRE_KILL)
			on_kill(v, event);
		else if (event->type == WIRE_RESIZE)
			on_resize(v, event);
		else if (event->type == WIRE_CLOSE_OUTPUT)
			on_close_output(v, event);
		else if (event->type == WIRE_MUTE)
			viewer_mute(v); /* it has no fields that could be wrong */
		break;
	case WIRE_EVENT_DATA:
		on_stdin(v, event);
		break;
	case WIRE_EVENT_EOF:
		on_stdin_eof(v, event);
		break;
	case WIRE_EVENT_CLOSE:
		viewer_free(v);
		break;
	default:
		break;
	}
}
