/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/session.h"

#include <errno.h>

#include "base/error.h"
#include "base/macro.h"
#include "lib/exit.h"
#include "lib/options.h"
#include "lib/output.h"
#include "lib/reach.h"
#include "lib/sandbox.h"
#include "lib/session-list.h"

/* ---- open ---- */

static void fill_attach(Cove__Wire__Attach *m, const char *id, const struct cove_open_options *o)
{
	m->id = wire_string(id);
	m->has_from = true;
	m->from = (Cove__Wire__Attach__From)o->from;
	m->has_stdout_offset = m->has_stderr_offset = o->from == COVE_FROM_OFFSET;
	m->stdout_offset = o->stdout_offset;
	m->stderr_offset = o->stderr_offset;
	m->has_lossy = m->lossy = o->lossy;
	m->has_write = m->write = !o->read_only;
}

int session_open(struct connection *c, const char *id, const struct cove_open_options *options,
		 bool collects, struct process **ret, struct cove_error *err)
{
	struct cove_open_options o;
	int r = options_read(&o, sizeof(o), options, "cove_open_options", err);
	if (r == 0)
		r = options_check_open(id, &o, err);
	if (r < 0)
		return r;

	Cove__Wire__Attach message = COVE__WIRE__ATTACH__INIT;
	fill_attach(&message, id, &o);
	struct process_options process = {
		.attaches = true,
		.nonblock = o.flags & COVE_EXEC_NONBLOCK,
		.writable = !o.read_only,
		.keep_input_open = o.keep_stdin_open,
		.collects = collects,
		.from_now = o.from == COVE_FROM_NOW,
		.wanted = { o.stdout_offset, o.stderr_offset },
		.lossy = o.lossy,
		.no_output = o.no_output,
		.id = id,
		/* It is not ours to be killed for what is kept of it here. */
		.limit = { COVE_OUTPUT_LIMIT_DEFAULT, COVE_OUTPUT_HEAD, false },
		.user_data = o.user_data,
	};
	return process_start(c, &message.base, &process, ret, err);
}

/* ---- wait ---- */

_public_ int cove_session_wait(cove_sandbox *sandbox, const char *id, int timeout_ms,
			       struct cove_exit *ret, struct cove_error *err)
{
	const struct cove_open_options options = {
		.struct_size = sizeof(options),
		.from = COVE_FROM_NOW,
		.no_output = true,
		.lossy = true,
		.read_only = true,
	};
	_cleanup_(process_freep) struct process *p = NULL;
	int r = session_open(sandbox->connection, id, &options, false, &p, err);
	/* Just to look takes an answer, too: whether it has ended comes before that. */
	if (r == 0 && timeout_ms == 0)
		r = process_sync(p, deadline_after_ms(REACH_LIMIT_MS), err);
	if (r < 0)
		return r;
	return process_wait(p, deadline_from_timeout(timeout_ms), ret, err);
}

/* ---- collect ---- */

/*
 * The result is here: whatever has become of the question to forget it, it must not be lost between the
 * two. Only when nothing but the forgetting was wanted has that failed.
 */
static int forget(struct process *p, bool has_result, struct cove_error *err)
{
	struct cove_error failure = COVE_ERROR_INIT;
	int r = process_collected(p, &failure);
	if (r == COVE_E_GONE || (has_result && r == COVE_E_LOST))
		return 0; /* somebody else was quicker; or the link died */
	if (r < 0 && err)
		*err = failure;
	return r;
}

static int collect(struct process *p, cove_output **ret, struct cove_error *err)
{
	_cleanup_(cove_output_freep) cove_output *output = NULL;
	struct cove_error ended = COVE_ERROR_INIT;
	int result = ret ? output_collect(p, &output, &ended)
			 : process_wait(p, DEADLINE_NEVER, NULL, &ended);
	bool has_ended = result == 0 || (result == COVE_E_TIMEOUT && output);
	int r = has_ended ? forget(p, ret != NULL, err) : 0;
	if (r < 0)
		return r;
	if (result < 0 && err)
		*err = ended;
	if (output)
		*ret = TAKE_PTR(output);
	return result;
}

_public_ int cove_session_collect(cove_sandbox *sandbox, const char *id, cove_output **ret,
				  struct cove_error *err)
{
	const struct cove_open_options options = {
		.struct_size = sizeof(options),
		.no_output = !ret,
		.keep_stdin_open = true,
	};
	_cleanup_(process_freep) struct process *p = NULL;
	int r = session_open(sandbox->connection, id, &options, true, &p, err);
	return r < 0 ? r : collect(p, ret, err);
}

/* ---- list ---- */

struct listing {
	struct stream stream;
	struct session_list list;
	bool answered;
	struct cove_error failure; /* code != 0: instead of the list */
};

static void on_event(struct stream *stream, const struct wire_event *event)
{
	struct listing *l = CONTAINER_OF(stream, struct listing, stream);
	bool more = false;
	if (l->answered)
		return;
	if (event->kind != WIRE_EVENT_MESSAGE) {
		error_set(&l->failure, COVE_E_PROTOCOL, "data instead of a list");
	} else if (event->type == WIRE_SESSIONS) {
		session_list_add(&l->list, event->data, event->size, &more, &l->failure);
	} else if (event->type == WIRE_FAILED || event->type == WIRE_REFUSED) {
		_cleanup_(wire_message_freep) ProtobufCMessage *m = wire_message_unpack(
			&cove__wire__failure__descriptor, event->data, event->size);
		if (m)
			failure_from_message((const Cove__Wire__Failure *)m, &l->failure);
		else
			error_set(&l->failure, COVE_E_PROTOCOL, "an answer cannot be read");
	} else {
		error_set(&l->failure, COVE_E_PROTOCOL, "%s is not an answer",
			  wire_type_info(event->type)->name);
	}
	l->answered = !more;
	stream_wake(stream, STREAM_EVENT);
}

static const struct stream_ops listing_ops = { .event = on_event };

static int wait_for_list(struct connection *c, struct listing *l, struct cove_error *err)
{
	while (!l->answered) {
		if (connection_gone(c, NULL))
			return connection_gone(c, err);
		connection_wait(c, &l->stream, STREAM_EVENT, DEADLINE_NEVER);
	}
	if (l->failure.code && err)
		*err = l->failure;
	return l->failure.code;
}

_public_ int cove_session_list(cove_sandbox *sandbox, struct cove_session_info ***ret,
			       size_t *ret_count, struct cove_error *err)
{
	struct connection *c = sandbox->connection;
	Cove__Wire__SessionListRequest message = COVE__WIRE__SESSION_LIST_REQUEST__INIT;
	struct listing l = { .list = SESSION_LIST_INIT };
	stream_init(&l.stream, &listing_ops);

	connection_lock(c);
	int r = stream_open(c, &l.stream, WIRE_SESSION_LIST, &message.base, DEADLINE_NEVER);
	if (r == -EPIPE)
		r = connection_gone(c, err);
	else if (r < 0)
		r = error_set_errno(err, r == -ENOMEM ? COVE_E_NO_MEMORY : COVE_E_SYSTEM, r,
				    "cannot ask for the sessions");
	else
		r = wait_for_list(c, &l, err);
	stream_close(c, &l.stream);
	connection_unlock(c);

	if (r < 0) {
		session_list_done(&l.list);
		return r;
	}
	*ret = l.list.sessions;
	*ret_count = l.list.count;
	return 0;
}
