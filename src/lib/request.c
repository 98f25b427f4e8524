/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/request.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/macro.h"
#include "lib/exit.h"
#include "lib/info.h"

/* Lines of progress between two looks at them; more are dropped: they only entertain. */
#define PROGRESS_MAX 16

struct call {
	struct stream stream;
	bool answered;
	struct cove_sandbox_info *info;
	struct cove_error failure; /* code != 0: instead of info */
	char *progress[PROGRESS_MAX];
	unsigned n_progress;
};

static void on_progress(struct call *call, const struct wire_event *event)
{
	_cleanup_(wire_message_freep) ProtobufCMessage *m =
		wire_message_unpack(&cove__wire__progress__descriptor, event->data, event->size);
	if (!m || call->n_progress == PROGRESS_MAX)
		return;
	char *text = strdup(((const Cove__Wire__Progress *)m)->text);
	if (text)
		call->progress[call->n_progress++] = text;
}

static void on_refused(struct call *call, const struct wire_event *event)
{
	_cleanup_(wire_message_freep) ProtobufCMessage *m =
		wire_message_unpack(&cove__wire__failure__descriptor, event->data, event->size);
	if (m)
		failure_from_message((const Cove__Wire__Failure *)m, &call->failure);
	else
		error_set(&call->failure, COVE_E_PROTOCOL, "an answer cannot be read");
}

static void on_event(struct stream *stream, const struct wire_event *event)
{
	struct call *call = CONTAINER_OF(stream, struct call, stream);
	if (event->kind != WIRE_EVENT_MESSAGE || call->answered)
		return;
	if (event->type == WIRE_PROGRESS) {
		on_progress(call, event);
		stream_wake(stream, STREAM_EVENT);
		return;
	}

	if (event->type == WIRE_SANDBOX) {
		int r = info_unpack(event->data, event->size, &call->info);
		if (r == -ENOMEM)
			error_set(&call->failure, COVE_E_NO_MEMORY, "out of memory");
		else if (r < 0)
			error_set(&call->failure, COVE_E_PROTOCOL, "an answer cannot be read");
	} else if (event->type == WIRE_REFUSED) {
		on_refused(call, event);
	} else {
		error_set(&call->failure, COVE_E_PROTOCOL, "%s is not an answer",
			  wire_type_info(event->type)->name);
	}
	call->answered = true;
	stream_wake(stream, STREAM_EVENT);
}

static const struct stream_ops call_ops = { .event = on_event };

/* Hands the lines that have come to the caller, without the lock. */
static void tell_progress(struct connection *c, struct call *call, const struct request *request)
{
	char *lines[PROGRESS_MAX];
	unsigned n = call->n_progress;
	memcpy(lines, call->progress, sizeof(lines));
	call->n_progress = 0;

	connection_unlock(c);
	for (unsigned i = 0; i < n; i++) {
		if (request->progress)
			request->progress(lines[i], request->progress_data);
		free(lines[i]);
	}
	connection_lock(c);
}

static int too_late(struct cove_error *err)
{
	return error_set(err, COVE_E_TIMEOUT, "the supervisor did not answer in time");
}

static int wait_for_answer(struct connection *c, struct call *call, const struct request *request,
			   struct cove_error *err)
{
	int r = 0;
	for (;;) {
		if (call->n_progress > 0)
			tell_progress(c, call, request);
		if (call->answered)
			break;
		if (connection_gone(c, NULL))
			return connection_gone(c, err);
		if (r == -ETIMEDOUT)
			return too_late(err);
		r = connection_wait(c, &call->stream, STREAM_EVENT, request->deadline);
	}
	if (call->failure.code && err)
		*err = call->failure;
	return call->failure.code;
}

int request_run(struct connection *c, const struct request *request, struct cove_sandbox_info **ret,
		struct cove_error *err)
{
	struct call call = { 0 };
	stream_init(&call.stream, &call_ops);

	connection_lock(c);
	int r = stream_open(c, &call.stream, request->type, request->message, request->deadline);
	if (r == -EPIPE)
		r = connection_gone(c, err);
	else if (r == -ETIMEDOUT)
		r = too_late(err);
	else if (r == -EMSGSIZE)
		r = error_set(err, COVE_E_INVALID, "the request is larger than %u bytes",
			      WIRE_MESSAGE_MAX);
	else if (r < 0)
		r = error_set_errno(err, r == -ENOMEM ? COVE_E_NO_MEMORY : COVE_E_SYSTEM, r,
				    "cannot ask the supervisor");
	else
		r = wait_for_answer(c, &call, request, err);
	stream_close(c, &call.stream);
	connection_unlock(c);

	if (r < 0) {
		cove_sandbox_info_free(call.info);
		return r;
	}
	*ret = call.info;
	return 0;
}
