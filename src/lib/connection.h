/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_CONNECTION_H
#define LIB_CONNECTION_H

/*
 * One client's connection to a supervisor, shared by any number of threads.
 *
 * The library has no thread that reads. Whoever waits for something reads for everybody: one
 * waiting thread at a time has the reader's role; it polls the socket with the lock let go of,
 * hands every event to the stream it belongs to, and wakes the threads that wait there. When it has
 * what it came for it passes the role on to another waiter (connection_unlock() does). Everything
 * is written at once by the thread that has something to say, as far as the socket takes it; the
 * rest is written by the reader.
 *
 * Every function but connection_new() and connection_free() is called with the lock held, and so
 * are the functions of struct stream_ops.
 */

#include <stdint.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "wire/message.h"

struct connection;
struct stream;

struct stream_ops {
	/* Something came in on the stream. The waiters are woken after it. */
	void (*event)(struct stream *stream, const struct wire_event *event);
	/* The stream's standard input, as in struct wire_source. NULL: it has none. */
	size_t (*peek)(struct stream *stream, size_t max, struct wire_chunk *ret);
	void (*consumed)(struct stream *stream, size_t n);
};

/* The part of a request (request.h) or a process (process.h) that the connection knows. */
struct stream {
	const struct stream_ops *ops;
	uint32_t id; /* 0: not open */
	struct list waiters;
};

/* A point in time by clock_monotonic_ns(). */
#define DEADLINE_NEVER UINT64_MAX
uint64_t deadline_after_ms(uint64_t ms);
/* timeout_ms < 0 is for ever, as in poll(). */
uint64_t deadline_from_timeout(int timeout_ms);

/*
 * Takes over fd, a connected stream socket, on success. name is the sandbox's, for messages.
 * Negative errno.
 */
int connection_new(int fd, const char *name, struct connection **ret);
struct connection *connection_free(struct connection *c);
DEFINE_CLEANUP(struct connection *, connection_free)

void connection_lock(struct connection *c);
void connection_unlock(struct connection *c);

/* The protocol engine. Call connection_flush() after giving it something to send. */
struct wire_link *connection_link(struct connection *c);
void connection_flush(struct connection *c);

void stream_init(struct stream *stream, const struct stream_ops *ops);
/*
 * Opens the stream by its request. Waits for room where a great deal is waiting to be sent;
 * -ETIMEDOUT when there is none by the deadline. -EPIPE when the connection is gone, -EMSGSIZE,
 * -ENOMEM and others of wire_link_open().
 */
int stream_open(struct connection *c, struct stream *stream, uint8_t type,
		const ProtobufCMessage *message, uint64_t deadline);
/* Nothing of the stream comes in afterwards. Safe on one that is not open. */
void stream_close(struct connection *c, struct stream *stream);
/* For what wakes waiters without an event, such as a source that was used up. */
void stream_wake(struct stream *stream);

/*
 * Waits until something happened to the stream, reading for everybody if nobody else does. May
 * return early: call it in a loop around the condition, of which connection_gone() is a part.
 * -ETIMEDOUT when the deadline has passed and nothing was there to read.
 */
int connection_wait(struct connection *c, struct stream *stream, uint64_t deadline);

/* 0 while the connection works; else the COVE_E_* code of why not, and *err. */
int connection_gone(const struct connection *c, struct cove_error *err);
/*
 * What the supervisor's last words gave as the end of the sandbox. COVE_END_NONE without any; or,
 * where there is a text, when the sandbox has not ended, but this connection was.
 */
unsigned connection_end_cause(const struct connection *c);
const char *connection_end_text(const struct connection *c);

#endif
