/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_CONNECTION_INTERNAL_H
#define LIB_CONNECTION_INTERNAL_H

/*
 * What connection.c (life, streams, waiting), connection-io.c (reading and writing) and
 * connection-loop.c (event loops) share. All of it under the lock.
 */

#include <pthread.h>

#include "base/name.h"
#include "lib/connection.h"

/* Empty buffers that are kept for the next who needs one: as many as threads receive at once. */
#define SPARE_BUFFERS 4

struct connection {
	pthread_mutex_t lock;
	unsigned refs;
	int fd;
	int wake_fd;
	struct wire_link *link;
	struct list waiters; /* all of them */
	struct list open;    /* the streams that are */
	struct list owing;   /* those that have something to send for which there was no room */
	struct stream room;  /* never open: where those wait whose request found no room */

	bool reading;
	bool polls_output; /* the reader waits for the socket to take more, too */
	bool blocked;	   /* the socket took no more at the last attempt */
	uint64_t written;  /* bytes that it took */
	bool deaf;	   /* the peer reads no more: what we write goes nowhere */
	bool synced;

	unsigned n_wide; /* channels with the large window */
	struct buffer spare[SPARE_BUFFERS];
	unsigned n_spare;

	struct {
		int fd;	      /* the epoll descriptor; -1: nobody has asked for it */
		int event_fd; /* in it: somebody is in line whom dispatch has not returned */
		bool signalled;
		bool polls_output; /* the socket is in it for writing, too */
		struct list ready;
	} loop;

	unsigned end_cause;
	char end_text[256];
	struct cove_error gone; /* code != 0: what ended the connection */
	char name[NAME_MAX_BYTES + 1];
};

/* connection.c: tells all, when `gone` was set. */
void connection_end(struct connection *c);

enum received {
	RECEIVED_NOTHING = 0, /* there is nothing, for now */
	RECEIVED_ALL,	      /* what there was; or the connection's end */
	RECEIVED_PART,	      /* as much as went into one call */
};

/* connection-io.c: reads once. The connection may be gone after it. */
enum received connection_receive(struct connection *c);
extern const struct wire_source connection_source;

/* connection-loop.c */
/* Signals the loop if it has to be; before every letting go of the lock. */
void loop_tell(struct connection *c);
/* What the descriptor waits for, after `blocked` has changed. */
void loop_update(struct connection *c);
void loop_done(struct connection *c);

#endif
