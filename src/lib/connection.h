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
 * rest is written by the reader. An event loop is one more reader, which comes when the descriptor
 * of connection_fd() tells it to.
 *
 * Every function but connection_new(), connection_unref() and connection_lock() is called with the
 * lock held, and so are the functions of struct stream_ops.
 */

#include <stdint.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/list.h"
#include "wire/message.h"

struct connection;
struct stream;

/* What somebody waits for, or is woken by. */
enum stream_news {
	STREAM_EVENT = 1, /* something can be received */
	STREAM_INPUT = 2, /* standard input was sent, or is not wanted any more */
	STREAM_STATE = 4, /* it started or ended, a request was answered */
	STREAM_ALL = 7,
};

struct stream_ops {
	/* Something came in on the stream; wakes its waiters. May free the stream. */
	void (*event)(struct stream *stream, const struct wire_event *event);
	/* The stream's standard input, as in struct wire_source. NULL: it has none. */
	size_t (*peek)(struct stream *stream, size_t max, struct wire_chunk *ret);
	void (*consumed)(struct stream *stream, size_t n);
	/* There is room again for what could not be queued; see stream_owes(). Does not flush. */
	void (*pay)(struct stream *stream);
	/* The connection is gone; the waiters have been woken. May free the stream. NULL: nothing. */
	void (*lost)(struct stream *stream);
};

/* The part of a request (request.h) or a process (process.h) that the connection knows. */
struct stream {
	const struct stream_ops *ops;
	uint32_t id; /* 0: not open */
	struct list waiters;
	struct list in_open;  /* among the connection's open streams */
	struct list in_owing; /* among those with something that found no room in the queue */
	struct list in_ready; /* among those that connection_dispatch() is to return */
};

/* A point in time by clock_monotonic_ns(). */
#define DEADLINE_NEVER UINT64_MAX
uint64_t deadline_after_ms(uint64_t ms);
/* timeout_ms < 0 is for ever, as in poll(). */
uint64_t deadline_from_timeout(int timeout_ms);

/* ---- life ---- */

/*
 * Takes over fd, a connected stream socket, on success. name is the sandbox's, for messages.
 * Negative errno.
 */
int connection_new(int fd, const char *name, struct connection **ret);
/* References: the handle's, and one of each process. The last closes the descriptors. */
void connection_ref(struct connection *c);
struct connection *connection_unref(struct connection *c);
DEFINE_CLEANUP(struct connection *, connection_unref)
/* For who knows that another reference is left, and holds the lock. */
void connection_drop_ref(struct connection *c);
/*
 * The owner of the handle lets go of it: cuts the connection, whoever still waits on it, and drops
 * its reference.
 */
struct connection *connection_cut(struct connection *c);

void connection_lock(struct connection *c);
void connection_unlock(struct connection *c);

/* The protocol engine. Call connection_flush() after giving it something to send. */
struct wire_link *connection_link(struct connection *c);
void connection_flush(struct connection *c);

/* ---- streams ---- */

void stream_init(struct stream *stream, const struct stream_ops *ops);
/*
 * Opens the stream by its request. Waits for room where a great deal is waiting to be sent;
 * -ETIMEDOUT when there is none by the deadline (0: does not wait). -EPIPE when the connection is
 * gone, -EMSGSIZE, -ENOMEM and others of wire_link_open().
 */
int stream_open(struct connection *c, struct stream *stream, uint8_t type,
		const ProtobufCMessage *message, uint64_t deadline);
/* Nothing of the stream comes in afterwards. Safe on one that is not open. */
void stream_close(struct connection *c, struct stream *stream);
void stream_wake(struct stream *stream, enum stream_news news);
/* Something has to be sent that found no room in the queue: ops->pay() is called when there is. */
void stream_owes(struct connection *c, struct stream *stream);

/*
 * Waits until there is news of the stream, reading for everybody if nobody else does. May return
 * early: call it in a loop around the condition, of which connection_gone() is a part. -ETIMEDOUT
 * when the deadline has passed and nothing was there to read.
 */
int connection_wait(struct connection *c, struct stream *stream, enum stream_news news,
		    uint64_t deadline);
/* The same for room in the queue of what is to be sent. */
int connection_wait_room(struct connection *c, uint64_t deadline);
/*
 * Waits until the socket has taken what is to be sent by now, but for DATA that was not peeked at. Who
 * returns to a caller that may not come back for long must not leave anything behind: there is nobody
 * else to send it.
 */
void connection_wait_written(struct connection *c);

/* 0 while the connection works; else the COVE_E_* code of why not, and *err. */
int connection_gone(const struct connection *c, struct cove_error *err);
/*
 * What the supervisor's last words gave as the end of the sandbox. COVE_END_NONE without any; or,
 * where there is a text, when the sandbox has not ended, but this connection was.
 */
unsigned connection_end_cause(const struct connection *c);
const char *connection_end_text(const struct connection *c);

/* ---- event loops ---- */

/* The descriptor to poll for reading, made when it is first asked for. Negative errno. */
int connection_fd(struct connection *c);
/* Puts the stream in line for connection_dispatch(), if it is not there yet. */
void stream_ready(struct connection *c, struct stream *stream);
/*
 * Reads and writes without waiting, then takes up to max streams out of the line of the ready.
 * Negative: a COVE_E_* code, when the connection is gone and nobody is in line any more.
 */
int connection_dispatch(struct connection *c, struct stream **ret, size_t max,
			struct cove_error *err);

/* ---- shared by all streams ---- */

/*
 * A window of WIRE_WINDOW_MAX for one channel, instead of the initial one. False: there are enough
 * of those. To be given back when the stream is closed.
 */
bool connection_take_wide(struct connection *c);
void connection_return_wide(struct connection *c);

/* Memory for output goes round: whoever has none waiting keeps none. */
void connection_lend_buffer(struct connection *c, struct buffer *empty);
void connection_return_buffer(struct connection *c, struct buffer *empty);

#endif
