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

/*
 * The session of a valid id, to be looked at; NULL when there never was one. What is not there any
 * more is a failure, so that nobody takes one for the other: the id can be used for nothing else.
 */
static int find_session(struct agent *agent, const ProtobufCBinaryData *id, struct session **ret,
			struct cove_error *err)
{
	char text[SESSION_ID_MAX_BYTES + 1] = "";
	memcpy(text, id->data, id->len);
	struct session *s = sessions_find(agent, id->data, id->len);
	if (s && s->collected)
		return error_set(err, COVE_E_GONE,
				 "session '%s' has ended, and its result was collected", text);
	if (!s && sessions_id_used(agent, text))
		return error_set(err, COVE_E_GONE,
				 "session '%s' has ended, and its result is not kept any more",
				 text);
	*ret = s;
	return 0;
}

static int view(struct session *s, const struct viewer *options, struct cove_error *err)
{
	int r = s->n_viewers < SESSION_VIEWERS_MAX ? 0 : -EBUSY;
	struct viewer *v = r < 0 ? NULL : viewer_new(options);
	if (v) {
		viewer_join(v, s, true);
		return 0;
	}
	return error_set_errno(err, r < 0 ? COVE_E_LIMIT : COVE_E_NO_MEMORY, r < 0 ? r : ENOMEM,
			       "%u streams look at session '%s'", s->n_viewers, s->id);
}

/* ---- EXEC ---- */

static int refuse_exec(const struct agent *agent, struct cove_error *err)
{
	if (!agent->has_job)
		return error_set_errno(err, COVE_E_STATE, EAGAIN,
				       "the machine was not started yet");
	if (agent->shutdown.phase != SHUTDOWN_NONE)
		return error_set_errno(err, COVE_E_STATE, ESHUTDOWN, "the machine is going down");
	if (agent->sessions.n_open >= SESSIONS_OPEN_MAX)
		return error_set_errno(err, COVE_E_LIMIT, EAGAIN, "%u sessions are open",
				       agent->sessions.n_open);
	return 0;
}

static int exec_anew(struct agent *agent, const Cove__Wire__Exec *exec,
		     const struct viewer *options, struct cove_error *err)
{
	int r = refuse_exec(agent, err);
	if (r < 0)
		return r;
	/* Before the start: it must not run with nobody told of it. */
	_cleanup_free_ struct viewer *v = viewer_new(options);
	struct session *s;
	if (!v)
		return error_set_errno(err, COVE_E_NO_MEMORY, ENOMEM, "starting a session");
	r = session_start(agent, exec, &s, err);
	if (r < 0)
		return r;
	viewer_join(TAKE_PTR(v), s, false);
	return 0;
}

/* Once per id: whoever asks again, not having heard the answer, gets the session that there is. */
static int exec_or_view(struct agent *agent, const Cove__Wire__Exec *exec, struct viewer *options,
			struct cove_error *err)
{
	struct session *s = NULL;
	bool has_id = exec->has_id && exec->id.len > 0;
	if (has_id && !session_id_valid(exec->id.data, exec->id.len))
		return error_set_start(err, COVE_STAGE_REQUEST, EINVAL, "session id");
	int r = has_id ? find_session(agent, &exec->id, &s, err) : 0;
	if (r < 0)
		return r;
	if (!s)
		return exec_anew(agent, exec, options, err);
	for (size_t i = 0; i < ARRAY_SIZE(s->outputs); i++)
		options->next[s->outputs[i].channel] = s->outputs[i].ring.start;
	return view(s, options, err);
}

static int on_exec(struct agent *agent, const struct wire_event *event, struct cove_error *err)
{
	_cleanup_(wire_message_freep) ProtobufCMessage *m =
		unpack(event, &cove__wire__exec__descriptor, err);
	if (!m)
		return -EBADMSG;
	struct viewer options = { .stream = event->stream, .starter = true, .write = true };
	int r = exec_or_view(agent, (const Cove__Wire__Exec *)m, &options, err);
	if (r < 0 && err->stage == COVE_STAGE_NONE)
		err->stage = COVE_STAGE_REQUEST;
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
	struct session *s;
	int r = find_session(agent, &attach->id, &s, err);
	if (r < 0)
		return r;
	if (!s)
		return error_set(err, COVE_E_NOT_FOUND, "no session '%.*s'", (int)attach->id.len,
				 (const char *)attach->id.data);

	struct viewer viewer = {
		.stream = event->stream,
		.lossy = attach->lossy,
		.write = attach->write,
	};
	r = place_viewer(s, attach, &viewer, err);
	return r < 0 ? r : view(s, &viewer, err);
}

/* ---- SESSION_LIST ---- */

static int on_list(struct agent *agent, const struct wire_event *event, struct cove_error *err)
{
	int r = listing_begin(agent, event->stream);
	return r < 0 ? error_set_errno(err, COVE_E_NO_MEMORY, r, "listing the sessions") : 0;
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
	if (r >= 0 && s->state != SESSION_RUNNING && session_is_empty(s))
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

/* ---- the result is taken ---- */

static void on_collect(struct viewer *v, const struct wire_event *event)
{
	struct session *s = v->session;
	struct cove_error err = COVE_ERROR_INIT;
	_cleanup_(wire_message_freep) ProtobufCMessage *m =
		unpack(event, &cove__wire__collect__descriptor, &err);
	if (!m) {
		give_up(v, &err);
		return;
	}
	int r = v->write ? session_collect(s) : -EPERM;
	if (r == -EBUSY)
		error_set(&err, COVE_E_STATE, "collecting session '%s', which has not ended",
			  s->id);
	else if (r < 0)
		explain(s, r, "collecting", &err);
	uint32_t request = ((const Cove__Wire__Collect *)m)->request;
	server_acknowledge(s->agent, v->stream, request, r < 0 ? &err : NULL);
}

/* ---- channel 0 ---- */

static void on_flush(struct viewer *v, const struct wire_event *event)
{
	struct session *s = v->session;
	struct cove_error err = COVE_ERROR_INIT;
	_cleanup_(wire_message_freep) ProtobufCMessage *m =
		unpack(event, &cove__wire__flush__descriptor, &err);
	if (!m) {
		give_up(v, &err);
		return;
	}
	const Cove__Wire__Flush *flush = (const Cove__Wire__Flush *)m;
	int r = v->write ? viewer_flush(v, flush->request, flush->offset) : -EPERM;
	if (r >= 0)
		return; /* it is answered, or will be */
	explain(s, r, "flushing stdin of", &err);
	server_acknowledge(s->agent, v->stream, flush->request, &err);
}

static void close_input_at_end(struct viewer *v)
{
	if (v->write && v->input_ends && viewer_input_end(v) >= v->input_total)
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
	bool wanted = v->write && !v->stdin_error;
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
	viewers_settle_flushes(v->session);
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
	if (!v) {
		/* On a stream that has failed, or is no session's: it comes too late. */
		if (event->kind == WIRE_EVENT_CLOSE)
			listing_drop(agent, event->stream);
		return;
	}

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
		else if (event->type == WIRE_FLUSH)
			on_flush(v, event);
		else if (event->type == WIRE_COLLECT)
			on_collect(v, event);
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
