/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUPERVISOR_CONN_H
#define SUPERVISOR_CONN_H

/*
 * A link on a stream socket, driven by the loop: clients and the guest alike.
 *
 * Reading happens when the socket has something, writing once per turn of the loop, just before it
 * would sleep: whoever queues something calls conn_touch(), and conn_flush_all() then writes it in
 * as few calls as possible, without waiting to be told that the socket takes it. So what comes in
 * on one side leaves on the other in one wakeup.
 */

#include <stdbool.h>
#include <uv.h>

#include "base/list.h"
#include "wire/link.h"

struct conn;

enum conn_verdict {
	CONN_NEXT = 0,
	/* Not now: keep this event and read nothing more, until conn_resume(). */
	CONN_HOLD = 1,
	/* Negative errno: the peer is impossible; `failed` is called with it. */
};

struct conn_ops {
	int (*event)(struct conn *conn, const struct wire_event *event);
	/*
	 * The connection is of no more use: 0 when the peer closed it, else a negative errno, and
	 * wire_link_error() has words for it when that is -EPROTO or -EPROTONOSUPPORT. Called once;
	 * must close it.
	 */
	void (*failed)(struct conn *conn, int error);
	/* After writing, when nothing is left that could be written now. May be NULL. */
	void (*drained)(struct conn *conn);
};

struct conn {
	const struct conn_ops *ops;
	uv_poll_t poll;
	int fd; /* not owned */
	struct wire_link *link;
	struct list *dirty_list;
	struct list dirty; /* on dirty_list when there may be something to write */
	struct wire_event held;
	bool holding;
	bool blocked; /* the socket is full */
	bool broken;  /* the peer reads no more */
	bool closed;
	bool busy;  /* inside one of the calls above */
	bool heard; /* bytes came in; cleared by who asks */
	int armed;  /* the uv_poll events */
};

/* Takes the link over. The socket must be nonblocking. */
int conn_init(struct conn *conn, uv_loop_t *loop, int fd, struct wire_link *link,
	      const struct conn_ops *ops, struct list *dirty_list) _must_check_;

/* Stops everything; no more calls. Memory, link and socket are the owner's to free in `closed`. */
void conn_close(struct conn *conn, uv_close_cb closed);

void conn_touch(struct conn *conn);
void conn_resume(struct conn *conn);

/* Writes what the socket takes of every touched connection. */
void conn_flush_all(struct list *dirty_list);
/* The same for one, now. */
void conn_flush(struct conn *conn);

/*
 * Reads what is there already, without waiting for it to be announced; max bounds it. Does nothing
 * from within one of its own events.
 */
void conn_drain(struct conn *conn, size_t max);

#endif
