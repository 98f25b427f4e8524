/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor/request.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "supervisor/limits.h"
#include "supervisor/sandbox.h"
#include "supervisor/state.h"
#include "supervisor/until.h"
#include "wire/message.h"

struct request {
	struct stream stream;
	bool waiting;	     /* for the end */
	struct until *until; /* is being asked for */
};

static struct request *to_request(struct stream *stream)
{
	return CONTAINER_OF(stream, struct request, stream);
}

struct stream *request_free(struct stream *stream)
{
	until_free(to_request(stream)->until);
	list_remove(&stream->entry);
	wire_link_set_userdata(stream->client->conn.link, stream->id, NULL);
	free(to_request(stream));
	return NULL;
}

void request_answer(struct client *client, uint32_t stream_id)
{
	struct buffer packed;
	buffer_init(&packed, WIRE_MESSAGE_MAX);
	int r = state_pack(client->s, &packed);
	if (r >= 0)
		r = wire_link_send(client->conn.link, stream_id, WIRE_SANDBOX,
				   buffer_front(&packed), packed.size);
	buffer_done(&packed);
	client_check(client, r);
}

static void answer_info(struct stream *stream)
{
	request_answer(stream->client, stream->id);
}

static void send_refused(struct stream *stream, const struct cove_error *err)
{
	struct client *client = stream->client;
	client_check(client, wire_send_failure(client->conn.link, stream->id, WIRE_REFUSED, err));
}

static void refuse(struct stream *stream, int code, const char *text)
{
	struct cove_error err;
	error_set(&err, code, "%s", text);
	send_refused(stream, &err);
}

void request_answer_waiting(struct client *client)
{
	LIST_FOREACH_SAFE (i, &client->streams) {
		struct stream *stream = LIST_ENTRY(i, struct stream, entry);
		if (client->conn.closed)
			return;
		if (stream->kind != STREAM_REQUEST || !to_request(stream)->waiting)
			continue;
		to_request(stream)->waiting = false;
		answer_info(stream);
	}
}

static void on_stop(struct request *request, const struct wire_event *event)
{
	struct client *client = request->stream.client;
	_cleanup_(wire_message_freep) ProtobufCMessage *m = wire_message_unpack(
		&cove__wire__stop_request__descriptor, event->data, event->size);
	const Cove__Wire__StopRequest *stop = (const Cove__Wire__StopRequest *)m;
	if (!stop) {
		refuse(&request->stream, COVE_E_PROTOCOL, "STOP cannot be read");
		return;
	}
	request->waiting = true;
	if (stop->kill)
		sandbox_kill(client->s, COVE_END_KILLED, "it was killed");
	else
		sandbox_stop(client->s, COVE_END_STOPPED,
			     stop->has_grace_ms ? stop->grace_ms : STOP_GRACE_DEFAULT_MS);
}

void request_detached(struct stream *stream, const struct cove_error *err)
{
	to_request(stream)->until = NULL;
	if (err) {
		send_refused(stream, err);
		return;
	}
	sandbox_detach(stream->client->s);
	answer_info(stream);
}

static void on_detach(struct request *request, const struct wire_event *event)
{
	struct stream *stream = &request->stream;
	struct supervisor *s = stream->client->s;
	_cleanup_(wire_message_freep) ProtobufCMessage *m = wire_message_unpack(
		&cove__wire__detach_request__descriptor, event->data, event->size);
	const Cove__Wire__DetachRequest *detach = (const Cove__Wire__DetachRequest *)m;
	if (!detach) {
		refuse(stream, COVE_E_PROTOCOL, "DETACH cannot be read");
		return;
	}
	if (s->state != SANDBOX_RUNNING) {
		refuse(stream, COVE_E_STATE, sandbox_state_text(s));
		return;
	}
	if (!detach->has_until_session) {
		s->until = until_free(s->until);
		s->until_session[0] = 0;
		request_detached(stream, NULL);
		return;
	}
	const ProtobufCBinaryData *id = &detach->until_session;
	if (!session_id_valid(id->data, id->len))
		refuse(stream, COVE_E_INVALID, "until_session: it is not the id of a session");
	else if (until_ask(s, id->data, id->len, stream, &request->until) < 0)
		refuse(stream, COVE_E_LIMIT, "the sandbox takes no more requests at the moment");
}

int request_open(struct client *client, const struct wire_event *event)
{
	struct supervisor *s = client->s;
	struct request *request = calloc(1, sizeof(*request));
	if (!request)
		return -ENOMEM;
	client_stream_init(&request->stream, STREAM_REQUEST, client, event->stream);

	if (event->type == WIRE_CREATE) {
		if (s->state != SANDBOX_WAITING || client != s->creator)
			refuse(&request->stream, COVE_E_STATE, "there is a sandbox here already");
		else
			sandbox_create(s, event->stream, event->data, event->size);
	} else if (!s->spec) {
		refuse(&request->stream, COVE_E_STATE, sandbox_state_text(s));
	} else if (event->type == WIRE_DETACH) {
		on_detach(request, event);
	} else if (event->type == WIRE_INFO || s->state == SANDBOX_ENDED) {
		answer_info(&request->stream);
	} else if (event->type == WIRE_WAIT) {
		request->waiting = true;
	} else {
		on_stop(request, event);
	}
	return CONN_NEXT;
}
