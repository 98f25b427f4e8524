/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUPERVISOR_CLIENT_H
#define SUPERVISOR_CLIENT_H

/*
 * Connections to clients: the one the creator started us with, and those made through the socket.
 * Each is a link of which we are the responder. What its streams are for is decided here and then
 * handled by route.c (passed on to the guest) or request.c (answered by the supervisor).
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"
#include "supervisor/conn.h"
#include "supervisor/supervisor.h"

enum stream_kind {
	STREAM_ROUTE,	 /* struct route */
	STREAM_REQUEST,	 /* struct request */
	STREAM_START,	 /* to the guest, ours: struct machine's */
	STREAM_SHUTDOWN, /* the same */
	STREAM_UNTIL,	 /* the same: struct until */
};

/* What a stream of a link has as userdata begins with this. */
struct stream {
	enum stream_kind kind;
	struct client *client; /* NULL: ours */
	uint32_t id;	       /* on the client's link */
	struct list entry;     /* on client->streams */
};

struct client {
	struct supervisor *s;
	struct conn conn;
	uv_timer_t handshake;
	unsigned open_handles;
	struct list entry; /* on s->clients */
	struct list streams;
	size_t data_bytes; /* waiting in the rings of its routes */
	bool hello;
	bool said_goodbye;
	bool dropping;
};

/* Takes the socket over, also when it fails. The creator's, if it is the first. */
int client_add(struct supervisor *s, int fd, struct client **ret) _must_check_;

/* Watches the listening socket of the folder. */
int client_listen_start(struct supervisor *s) _must_check_;
void client_listen_stop(struct supervisor *s);

/* Cuts the client off; text, if not NULL, tells it why. */
void client_drop(struct client *client, const char *text);

/* Something was queued for the client: it is cut off if too much is waiting by now. */
void client_touch(struct client *client);
/* A client that cannot be told something (-ENOBUFS, -ENOMEM) cannot be kept. */
void client_check(struct client *client, int r);

/* The guest takes messages again. */
void client_resume_all(struct supervisor *s);

/* The sandbox has ended: delivers what is waiting, then the last words, then closes. */
void client_end_all(struct supervisor *s);

void client_stream_init(struct stream *stream, enum stream_kind kind, struct client *client,
			uint32_t id);

#endif
