/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor/route.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "supervisor/guest.h"
#include "supervisor/limits.h"
#include "supervisor/ring.h"
#include "supervisor/sandbox.h"
#include "wire/message.h"

struct route {
	struct stream stream;  /* on the client's link */
	uint32_t guest_stream; /* 0: there is none (any more); what comes from the client is void */
	struct ring rings[WIRE_CHANNELS]; /* STDIN: for the guest; the others: for the client */
};

static struct route *to_route(struct stream *stream)
{
	return CONTAINER_OF(stream, struct route, stream);
}

/* ---- sources ---- */

static size_t peek(void *userdata, _unused_ uint32_t stream, unsigned channel, size_t max,
		   struct wire_chunk *ret)
{
	const struct stream *st = userdata;
	if (!st || st->kind != STREAM_ROUTE)
		return 0;
	return ring_peek(&to_route(userdata)->rings[channel], max, ret);
}

static void consumed(void *userdata, _unused_ uint32_t stream, unsigned channel, size_t n)
{
	struct route *route = to_route(userdata);
	ring_consume(&route->rings[channel], n);
	if (channel != WIRE_STDIN)
		route->stream.client->data_bytes -= n;
}

const struct wire_source route_source = { .peek = peek, .consumed = consumed };

/* ---- open and close ---- */

/* FAILED is the answer to every request that the guest cannot be asked. */
static void send_failed(struct route *route, const struct cove_error *err)
{
	struct client *client = route->stream.client;
	client_check(client,
		     wire_send_failure(client->conn.link, route->stream.id, WIRE_FAILED, err));
}

int route_open(struct client *client, const struct wire_event *event)
{
	const struct supervisor *s = client->s;
	struct route *route = calloc(1, sizeof(*route));
	if (!route)
		return -ENOMEM;
	client_stream_init(&route->stream, STREAM_ROUTE, client, event->stream);

	struct cove_error err;
	struct wire_link *guest = guest_link(s);
	if (s->state < SANDBOX_RUNNING || !guest) {
		int code = s->state == SANDBOX_ENDED ? COVE_E_LOST : COVE_E_STATE;
		error_set(&err, code, "%s", sandbox_state_text(s));
		send_failed(route, &err);
		return CONN_NEXT;
	}
	int r = wire_link_open(guest, event->type, event->data, event->size, &route->stream,
			       &route->guest_stream);
	if (r < 0) {
		route->guest_stream = 0;
		error_set_errno(&err, COVE_E_LIMIT, r == -ENOBUFS ? 0 : r,
				"the sandbox takes no more requests at the moment");
		send_failed(route, &err);
		return CONN_NEXT;
	}
	guest_touch(client->s);
	return CONN_NEXT;
}

static void close_guest_stream(struct route *route)
{
	struct supervisor *s = route->stream.client->s;
	struct wire_link *guest = guest_link(s);
	if (route->guest_stream && guest) {
		wire_link_close(guest, route->guest_stream);
		guest_touch(s);
	}
	route->guest_stream = 0;
	ring_done(&route->rings[WIRE_STDIN]);
}

/* What the client has not got yet. */
static void drop_output(struct route *route)
{
	for (unsigned i = WIRE_STDOUT; i <= WIRE_STDERR; i++) {
		route->stream.client->data_bytes -= route->rings[i].size;
		ring_done(&route->rings[i]);
	}
}

struct stream *route_free(struct stream *stream)
{
	struct route *route = to_route(stream);
	close_guest_stream(route);
	drop_output(route);
	list_remove(&stream->entry);
	wire_link_set_userdata(stream->client->conn.link, stream->id, NULL);
	free(route);
	return NULL;
}

/* The stream cannot go on; the session does, and another client, or a new stream, may attach. */
static void lose(struct route *route, int code, const char *text)
{
	struct cove_error err;
	close_guest_stream(route);
	error_set(&err, code, "%s", text);
	send_failed(route, &err);
}

void route_lose_all(struct supervisor *s)
{
	LIST_FOREACH_SAFE (i, &s->clients) {
		struct client *c = LIST_ENTRY(i, struct client, entry);
		LIST_FOREACH_SAFE (j, &c->streams) {
			struct stream *stream = LIST_ENTRY(j, struct stream, entry);
			if (stream->kind != STREAM_ROUTE || !to_route(stream)->guest_stream)
				continue;
			lose(to_route(stream), COVE_E_LOST, "the link to the sandbox was lost");
			if (c->conn.closed)
				break; /* that was one message too many; its streams are freed */
		}
	}
}

void route_trim_all(struct supervisor *s)
{
	LIST_FOREACH (i, &s->clients) {
		struct client *c = LIST_ENTRY(i, struct client, entry);
		LIST_FOREACH (j, &c->streams) {
			struct stream *stream = LIST_ENTRY(j, struct stream, entry);
			if (stream->kind != STREAM_ROUTE)
				continue;
			for (unsigned k = 0; k < WIRE_CHANNELS; k++)
				ring_trim(&to_route(stream)->rings[k]);
		}
	}
}

/* ---- client to guest ---- */

static int data_from_client(struct route *route, struct wire_link *guest,
			    const struct wire_event *event)
{
	int r = ring_push(&route->rings[WIRE_STDIN], event->offset, event->data, event->size);
	if (r == -EOVERFLOW)
		return -EPROTO; /* nobody has a reason to leave bytes of stdin out */
	if (r >= 0)
		wire_link_ready(guest, route->guest_stream, WIRE_STDIN);
	return r;
}

int route_from_client(struct stream *stream, const struct wire_event *event)
{
	struct route *route = to_route(stream);
	struct supervisor *s = stream->client->s;
	struct wire_link *guest = guest_link(s);
	int r = 0;

	if (event->kind == WIRE_EVENT_CLOSE) {
		route_free(stream);
		return CONN_NEXT;
	}
	if (!route->guest_stream || !guest)
		return CONN_NEXT;
	switch (event->kind) {
	case WIRE_EVENT_MESSAGE:
		r = wire_link_send(guest, route->guest_stream, event->type, event->data,
				   event->size);
		break;
	case WIRE_EVENT_DATA:
		r = data_from_client(route, guest, event);
		break;
	case WIRE_EVENT_EOF:
		r = wire_link_send_eof(guest, route->guest_stream, event->channel, event->offset);
		break;
	case WIRE_EVENT_CREDIT:
		r = wire_link_grant(guest, route->guest_stream, event->channel, event->credit);
		break;
	default:
		break;
	}
	guest_touch(s);
	return r;
}

/* ---- guest to client ---- */

static void data_from_guest(struct route *route, const struct wire_event *event)
{
	struct client *client = route->stream.client;
	if (event->size > CLIENT_DATA_MAX - client->data_bytes) {
		/* What it held makes room for the others, which would all be lost one by one else. */
		drop_output(route);
		lose(route, COVE_E_LIMIT, "too much output waits for its client to read");
		return;
	}
	int r = ring_push(&route->rings[event->channel], event->offset, event->data, event->size);
	if (r == -EOVERFLOW) {
		lose(route, COVE_E_LIMIT, "the output has more gaps than can be kept track of");
		return;
	}
	if (r < 0) {
		client_check(client, r);
		return;
	}
	client->data_bytes += event->size;
	wire_link_ready(client->conn.link, route->stream.id, event->channel);
	conn_touch(&client->conn);
}

int route_from_guest(struct stream *stream, const struct wire_event *event, const char **ret_fault)
{
	struct route *route = to_route(stream);
	struct wire_link *link = stream->client->conn.link;
	int r = 0;

	switch (event->kind) {
	case WIRE_EVENT_MESSAGE:
		if (wire_type_info(event->type)->scope != WIRE_SCOPE_GUEST) {
			*ret_fault = "a message that is not for a session's stream";
			return -EPROTO;
		}
		r = wire_link_send(link, stream->id, event->type, event->data, event->size);
		break;
	case WIRE_EVENT_DATA:
		data_from_guest(route, event);
		return CONN_NEXT;
	case WIRE_EVENT_EOF:
		r = wire_link_send_eof(link, stream->id, event->channel, event->offset);
		break;
	case WIRE_EVENT_CREDIT:
		r = wire_link_grant(link, stream->id, event->channel, event->credit);
		break;
	default:
		break;
	}
	client_check(stream->client, r);
	return CONN_NEXT;
}
