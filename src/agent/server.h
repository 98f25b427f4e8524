/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SERVER_H
#define AGENT_SERVER_H

/* The agent's end of the link: bytes in and out, and which request goes where. */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "agent/event.h"
#include "base/macro.h"
#include "cove/error.h"
#include "wire/link.h"
#include "wire/message.h"

struct agent;

/* Read in one turn of the loop, so that the sessions get their turn as well. */
#define SERVER_READ_MAX (256u * 1024)
/* Streams that are opened in one turn. */
#define SERVER_OPENS_MAX 4
/* What virtio-serial hands out in one piece. */
#define SERVER_READ_PAGE 4096
/* Written in one turn. */
#define SERVER_WRITE_MAX (1024u * 1024)
/*
 * What virtio-serial takes in one piece, and how many there may be of what the engine offers: a
 * frame's data in two pieces of memory, none of which is a multiple, is four of them and a header.
 */
#define SERVER_PORT_WRITE_MAX 32768
#define SERVER_IOVS_MAX	      16
#define SERVER_PIECES_MAX     64

struct server {
	struct agent *agent;
	int fd;
	struct wire_link *link;
	struct watch *watch;
	uv_prepare_t prepare;
	bool blocked; /* the descriptor takes no more for now */
	bool broken;  /* something could not be said: the link has to start again */
	bool away;    /* nobody is at the other end */
	bool unread;  /* some of what came in was left for a later turn */
};

/* Serves the descriptor, which stays the caller's, from now on. */
int server_init(struct agent *agent, int fd) _must_check_;

/* SIGIO came: the port's other end has come or gone. */
void server_on_sigio(struct agent *agent);

/*
 * Queues a message. What cannot be queued, for want of memory or because the peer does not read, may
 * not just be left out: then the link starts again, all streams are gone, and the peer knows. False
 * when the stream is gone, which most who say something need not know.
 */
bool server_send(struct agent *agent, uint32_t stream, uint8_t type,
		 const ProtobufCMessage *message);
void server_send_eof(struct agent *agent, uint32_t stream, unsigned channel, uint64_t total);
void server_send_failure(struct agent *agent, uint32_t stream, uint8_t type,
			 const struct cove_error *err);
/* Sends an ACK; err is NULL for done. */
void server_acknowledge(struct agent *agent, uint32_t stream, uint32_t request,
			const struct cove_error *err);
/* Nothing waits to be written. */
bool server_is_flushed(struct agent *agent);

/* requests.c: a message of a client. */
void requests_handle(struct agent *agent, const struct wire_event *event);

#endif
