/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor/request.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "supervisor/limits.h"
#include "supervisor/sandbox.h"
#include "supervisor/state.h"
#include "wire/message.h"

struct request {
	struct stream stream;
	bool waiting; /* for the end */
};

static struct request *to_request(struct stream *stream)
{
	return CONTAINER_OF(stream, struct request, stream);
}

struct stream *request_free(struct stream *stream)
{
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

static void refuse(struct stream *stream, int code, const char *text)
{
	struct client *client = stream->client;
	struct cove_error err;
	error_set(&err, code, "%s", text);
	client_check(client, wire_send_failure(client->conn.link, stream->id, WIRE_REFUSED, &err));
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
	} else if (event->type == WIRE_INFO || s->state == SANDBOX_ENDED) {
		answer_info(&request->stream);
	} else if (event->type == WIRE_WAIT) {
		request->waiting = true;
	} else {
		on_stop(request, event);
	}
	return CONN_NEXT;
}
