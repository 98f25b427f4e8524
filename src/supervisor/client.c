/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "supervisor/guest.h"
#include "supervisor/limits.h"
#include "supervisor/log.h"
#include "supervisor/request.h"
#include "supervisor/route.h"
#include "supervisor/sandbox.h"
#include "wire/message.h"

#define GOODBYE_SIZE_MAX 4096

/* ---- streams ---- */

void client_stream_init(struct stream *stream, enum stream_kind kind, struct client *client,
			uint32_t id)
{
	*stream = (struct stream){ .kind = kind, .client = client, .id = id };
	list_init(&stream->entry);
	list_append(&client->streams, &stream->entry);
	wire_link_set_userdata(client->conn.link, id, stream);
}

static void free_stream(struct stream *stream)
{
	if (stream->kind == STREAM_ROUTE)
		route_free(stream);
	else
		request_free(stream);
}

static void free_streams(struct client *c)
{
	LIST_FOREACH_SAFE (i, &c->streams)
		free_stream(LIST_ENTRY(i, struct stream, entry));
}

/* ---- the end of a connection ---- */

static void on_closed(uv_handle_t *handle)
{
	struct client *c = handle->data;
	if (--c->open_handles > 0)
		return;
	fd_close(c->conn.fd);
	wire_link_free(c->conn.link);
	free(c);
}

static void close_client(struct client *c)
{
	struct supervisor *s = c->s;
	bool creator = s->creator == c;
	if (c->conn.closed)
		return;

	list_remove(&c->entry);
	s->n_clients--;
	if (creator)
		s->creator = NULL;
	free_streams(c);
	conn_close(&c->conn, on_closed);
	uv_close((uv_handle_t *)&c->handshake, on_closed);
	if (creator)
		sandbox_creator_gone(s);
	sandbox_client_gone(s);
}

static void say_goodbye(struct client *c, const char *text)
{
	const struct supervisor *s = c->s;
	Cove__Wire__Goodbye m = COVE__WIRE__GOODBYE__INIT;
	uint8_t packed[GOODBYE_SIZE_MAX];
	m.cause = s->end_cause;
	m.text = (char *)text;
	c->said_goodbye = true;
	size_t size = cove__wire__goodbye__get_packed_size(&m);
	if (size > sizeof(packed))
		return;
	cove__wire__goodbye__pack(&m, packed);
	/* Without memory for it the closing of the connection says it, too. */
	(void)!wire_link_goodbye(c->conn.link, packed, size);
}

void client_drop(struct client *c, const char *text)
{
	if (c->conn.closed || c->dropping)
		return;
	c->dropping = true;
	if (text) {
		log_line("a client is cut off: %s", text);
		say_goodbye(c, text);
		/* What the socket takes at once; it does not deserve more. */
		conn_flush(&c->conn);
	}
	close_client(c);
}

void client_touch(struct client *c)
{
	if (c->conn.closed)
		return;
	if (wire_link_queued(c->conn.link) > CLIENT_QUEUE_MAX)
		client_drop(c, "it does not read its messages");
	else
		conn_touch(&c->conn);
}

void client_check(struct client *c, int r)
{
	if (r == -ENOMEM)
		client_drop(c, "out of memory");
	else if (r == -ENOBUFS)
		client_drop(c, "it does not read its messages");
	else
		client_touch(c);
}

/* ---- what comes in ---- */

static int on_open(struct client *c, const struct wire_event *event)
{
	switch (wire_type_info(event->type)->scope) {
	case WIRE_SCOPE_GUEST:
		return route_open(c, event);
	case WIRE_SCOPE_HOST:
		return request_open(c, event);
	default:
		client_drop(c, "START and SHUTDOWN are not for clients");
		return CONN_NEXT;
	}
}

static int on_stream_event(struct client *c, const struct wire_event *event)
{
	struct stream *stream = event->userdata;
	if (event->kind == WIRE_EVENT_MESSAGE && event->opens)
		return on_open(c, event);
	if (stream->kind == STREAM_ROUTE)
		return route_from_client(stream, event);
	if (event->kind == WIRE_EVENT_CLOSE)
		request_free(stream);
	else
		client_drop(c, "a message on a stream that it is not for");
	return CONN_NEXT;
}

static bool is_for_guest(const struct wire_event *event)
{
	const struct stream *stream = event->userdata;
	if (event->kind == WIRE_EVENT_MESSAGE)
		return wire_type_info(event->type)->scope == WIRE_SCOPE_GUEST;
	return stream && stream->kind == STREAM_ROUTE;
}

static int on_event(struct conn *conn, const struct wire_event *event)
{
	struct client *c = CONTAINER_OF(conn, struct client, conn);
	switch (event->kind) {
	case WIRE_EVENT_SYNCED:
		free_streams(c);
		break;
	case WIRE_EVENT_HELLO:
		c->hello = true;
		uv_timer_stop(&c->handshake);
		break;
	case WIRE_EVENT_MESSAGE:
	case WIRE_EVENT_DATA:
	case WIRE_EVENT_EOF:
	case WIRE_EVENT_CREDIT:
	case WIRE_EVENT_CLOSE:
		/* Only what would make the guest's queue longer has to wait for it: a request to
		 * kill a sandbox whose guest is frozen gets through. */
		if (is_for_guest(event) && guest_is_congested(c->s))
			return CONN_HOLD;
		return on_stream_event(c, event);
	case WIRE_EVENT_PONG:
	case WIRE_EVENT_GOODBYE:
	case WIRE_EVENT_RESYNC_WANTED:
		break;
	}
	return CONN_NEXT;
}

static void on_failed(struct conn *conn, int error)
{
	struct client *c = CONTAINER_OF(conn, struct client, conn);
	if (c->dropping)
		return;
	const char *why = wire_link_error(conn->link);
	if (error == 0 || error == -ECONNRESET)
		client_drop(c, NULL);
	else
		client_drop(c, *why ? why : strerror(-error));
}

/* ---- when all is over ---- */

static void on_drained(struct conn *conn)
{
	struct client *c = CONTAINER_OF(conn, struct client, conn);
	const struct supervisor *s = c->s;
	if (s->state != SANDBOX_ENDED || c->dropping)
		return;
	if (c->said_goodbye || conn->broken) {
		client_drop(c, NULL);
	} else if (c->data_bytes == 0 || s->last_words) {
		/* Control messages overtake data, and this says that nothing follows. */
		request_answer_waiting(c);
		say_goodbye(c, s->end_text);
		conn_touch(conn);
	}
}

void client_end_all(struct supervisor *s)
{
	LIST_FOREACH (i, &s->clients) {
		struct client *c = LIST_ENTRY(i, struct client, entry);
		conn_touch(&c->conn);
	}
}

void client_resume_all(struct supervisor *s)
{
	/* Each may close itself or others, so the list is begun anew after each. */
	for (;;) {
		struct client *held = NULL;
		LIST_FOREACH (i, &s->clients) {
			struct client *c = LIST_ENTRY(i, struct client, entry);
			if (c->conn.holding) {
				held = c;
				break;
			}
		}
		if (!held || guest_is_congested(s))
			return;
		/* To the end of the line: it may have to wait again at once. */
		list_remove(&held->entry);
		list_append(&s->clients, &held->entry);
		conn_resume(&held->conn);
	}
}

/* ---- the beginning ---- */

static void on_handshake_timeout(uv_timer_t *timer)
{
	client_drop(timer->data, "no HELLO in time");
}

static const struct conn_ops client_ops = {
	.event = on_event,
	.failed = on_failed,
	.drained = on_drained,
};

int client_add(struct supervisor *s, int fd, struct client **ret)
{
	_cleanup_close_ int socket_fd = fd;
	_cleanup_free_ struct client *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->s = s;
	list_init(&c->entry);
	list_init(&c->streams);

	struct wire_link_options options = {
		.role = WIRE_RESPONDER,
		.max_streams = CLIENT_STREAMS_MAX,
		.software = "cove-supervisor " COVE_VERSION,
		.source = route_source,
	};
	_cleanup_(wire_link_freep) struct wire_link *link = NULL;
	int r = fd_set_nonblocking(fd, true);
	if (r >= 0)
		r = wire_link_new(&options, &link);
	if (r >= 0)
		r = conn_init(&c->conn, &s->loop, fd, link, &client_ops, &s->dirty);
	if (r < 0)
		return r;
	uv_timer_init(&s->loop, &c->handshake);
	c->conn.poll.data = c;
	c->handshake.data = c;
	c->open_handles = 2;
	uv_timer_start(&c->handshake, on_handshake_timeout, CLIENT_HANDSHAKE_MS, 0);
	list_append(&s->clients, &c->entry);
	s->n_clients++;
	TAKE_FD(socket_fd);
	TAKE_PTR(link);
	struct client *added = c;
	TAKE_PTR(c);
	if (ret)
		*ret = added;
	return 0;
}

/* The socket is in a folder of ours; this is for whoever was let in all the same. */
static bool is_same_user(int fd)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) == 0 &&
	       (cred.uid == geteuid() || cred.uid == 0);
}

static void on_connection(uv_poll_t *poll, _unused_ int status, _unused_ int events)
{
	struct supervisor *s = poll->data;
	int fd = accept4(s->folder.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			/* It would be reported again at once. The heartbeat tries again. */
			log_line("a client cannot be accepted: %s", strerror(errno));
			uv_poll_stop(poll);
		}
		return;
	}
	if (s->n_clients >= CLIENTS_MAX || !is_same_user(fd)) {
		log_line("a client is refused: %s",
			 s->n_clients >= CLIENTS_MAX ? "too many" : "of another user");
		close(fd);
		return;
	}
	int r = client_add(s, fd, NULL);
	if (r < 0)
		log_line("a client cannot be served: %s", strerror(-r));
}

int client_listen_start(struct supervisor *s)
{
	if (!s->listen_poll.data) {
		int r = uv_poll_init(&s->loop, &s->listen_poll, s->folder.listen_fd);
		if (r < 0)
			return r;
		s->listen_poll.data = s;
	}
	if (uv_is_active((uv_handle_t *)&s->listen_poll))
		return 0;
	return uv_poll_start(&s->listen_poll, UV_READABLE, on_connection);
}

void client_listen_stop(struct supervisor *s)
{
	if (s->listen_poll.data && !uv_is_closing((uv_handle_t *)&s->listen_poll))
		uv_close((uv_handle_t *)&s->listen_poll, NULL);
}
