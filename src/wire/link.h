/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WIRE_LINK_H
#define WIRE_LINK_H

/*
 * The protocol engine: one end of one link. Bytes in, bytes out, events; no descriptors, no clocks,
 * no threads. Agent, supervisor and library drive the same engine, tests join two of them in
 * memory.
 *
 * Reading:
 *	wire_link_input(link, &p, &n);          where the next bytes go; n > 0
 *	n = read(fd, p, n);
 *	wire_link_received(link, n);
 *	while ((r = wire_link_next(link, &event)) > 0)
 *		…                                borrowed data lives until the next next or input
 *	r < 0: the peer broke the protocol, see wire_link_error(). The link is dead until
 *	wire_link_resync() (either end) or free. But -ENOMEM is not the peer's fault, and nothing
 *	is lost by it: wire_link_next() may be called again later.
 *
 * Writing:
 *	while ((n = wire_link_output(link, iov, count)) > 0) {
 *		k = writev(fd, iov, n);
 *		wire_link_sent(link, k);         any count, also 0 after EAGAIN
 *	}
 *	Between output and sent nothing else may be called on the link.
 *
 * What is written is, at each frame boundary: control messages in the order they were sent first,
 * then DATA, one frame per ready channel in turn. Bulk data is *pulled* from its owner when it can
 * be written, so it waits in one place only (the agent's replay ring, the caller's memory) and is
 * not copied on the way: see struct wire_source.
 *
 * Since control overtakes data, what must be ordered against data says so by byte offset: EOF and
 * Exited carry totals, DATA its offset.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/cleanup.h"
#include "base/macro.h"
#include "wire/frame.h"

struct wire_link;

enum wire_role {
	WIRE_INITIATOR, /* library → supervisor, supervisor → agent: syncs, opens streams */
	WIRE_RESPONDER,
};

/* A piece of a channel's bytes, borrowed until wire_link_sent(). */
struct wire_chunk {
	uint64_t offset;     /* of the first byte, in the channel */
	struct iovec iov[2]; /* iov[1].iov_len is 0 where one piece is enough */
};

struct wire_source {
	/*
	 * The next bytes of the channel, max at most (> 0). Returns their number; 0 when there are
	 * none now, and then the channel is asked again only after wire_link_ready().
	 */
	size_t (*peek)(void *userdata, uint32_t stream, unsigned channel, size_t max,
		       struct wire_chunk *ret);
	/* The first n of the bytes last peeked are sent (or copied); their memory is the owner's
	 * again. */
	void (*consumed)(void *userdata, uint32_t stream, unsigned channel, size_t n);
};

struct wire_link_options {
	enum wire_role role;
	/*
	 * A responder that is a switch hands on credit by itself: wire_link_consumed() is not used
	 * and wire_link_grant() is.
	 */
	uint64_t nonce;	      /* initiator: not 0, and new for every sync; random is best */
	unsigned max_streams; /* open at once; 0: WIRE_STREAMS_MAX */
	const char *software; /* "cove 0.1.0": goes into HELLO; 256 bytes at most */
	struct wire_source source;
	void *userdata; /* handed to source where a stream has none of its own */
};

/* A thousand sessions with a viewer each, several times over; a table entry is 200 bytes. */
#define WIRE_STREAMS_MAX 8192

int wire_link_new(const struct wire_link_options *options, struct wire_link **ret);
struct wire_link *wire_link_free(struct wire_link *link);
DEFINE_CLEANUP(struct wire_link *, wire_link_free)

enum wire_event_kind {
	/*
	 * The link starts, or starts again: every stream of before is gone without further events,
	 * userdata and all (a responder drops what it kept per stream; an initiator did so when it
	 * called wire_link_resync(), and may have opened new ones since). Always the first event.
	 */
	WIRE_EVENT_SYNCED,
	WIRE_EVENT_HELLO, /* data: the peer's Hello, packed. Versions fit. Always the second event.
			   */
	WIRE_EVENT_MESSAGE, /* a whole control message; `opens` for a new stream */
	WIRE_EVENT_DATA,    /* channel, offset, data */
	WIRE_EVENT_EOF, /* channel, offset: the channel's total bytes; nothing follows after them */
	WIRE_EVENT_CREDIT,  /* channel, credit: the peer takes that many more */
	WIRE_EVENT_CLOSE,   /* responder: the peer closed the stream; the engine has answered. */
	WIRE_EVENT_PONG,    /* offset: the value given to wire_link_ping() */
	WIRE_EVENT_GOODBYE, /* data: packed Goodbye; the peer will close the connection */
	/* Initiator: the responder lost its place and asks for wire_link_resync(). Nothing else
	   works until then. May come before SYNCED, too. */
	WIRE_EVENT_RESYNC_WANTED,
};

struct wire_event {
	enum wire_event_kind kind;
	uint8_t type; /* enum wire_type of a message */
	bool opens;   /* message: the first of its stream */
	uint32_t stream;
	void *userdata; /* of the stream: wire_link_set_userdata() */
	unsigned channel;
	uint32_t credit;
	uint64_t offset;
	const uint8_t *data;
	size_t size;
};

/* Reading; see above. */
void wire_link_input(struct wire_link *link, uint8_t **ret, size_t *ret_size);
void wire_link_received(struct wire_link *link, size_t n);
int wire_link_next(struct wire_link *link, struct wire_event *ret) _must_check_;
/* What the peer did wrong, one line, after wire_link_next() failed. Lives as long as the link. */
const char *wire_link_error(const struct wire_link *link);

/*
 * False while so much control output is waiting that reading more requests would only make more of
 * it: an endpoint stops reading until it has written. (Data does not count: it is not queued here.)
 * One that reads on all the same may get -ENOBUFS of wire_link_next(), once the peer's requests can
 * not even be answered with CLOSE any more. False on a dead link, too.
 */
bool wire_link_wants_input(const struct wire_link *link);

/*
 * Writing; see above. output: number of iovecs filled, 0 when there is nothing to write; count must
 * be WIRE_OUTPUT_IOVS_MIN at least, and 16 is plenty.
 */
#define WIRE_OUTPUT_IOVS_MIN 3
int wire_link_output(struct wire_link *link, struct iovec *iov, int count);
void wire_link_sent(struct wire_link *link, size_t n);
bool wire_link_wants_output(const struct wire_link *link); /* something may be there to write */
size_t wire_link_queued(const struct wire_link *link);	   /* bytes of control output waiting */
size_t wire_link_pending(const struct wire_link *link);	   /* and the rest of a cut DATA frame */

/*
 * Starts the link again after an error, ours or theirs. A responder discards input until the
 * initiator syncs; an initiator syncs with the new nonce. Streams are gone as of now.
 */
int wire_link_resync(struct wire_link *link, uint64_t nonce) _must_check_;

/*
 * Sending. All of these queue and return; -ENOBUFS past WIRE_CONTROL_QUEUE_MAX, -ENOMEM, -EMSGSIZE
 * past WIRE_MESSAGE_MAX, -ENOENT for a stream that is not open (any more).
 */
#define WIRE_CONTROL_QUEUE_MAX                                                                     \
	(16u * 1024 * 1024)		      /* a few of the largest requests; then refuse        \
					       */
#define WIRE_CONTROL_QUEUE_HIGH (256u * 1024) /* wire_link_wants_input() turns false */

/* Initiator: a new stream by its first message (a type that opens). May be called before SYNCED. */
int wire_link_open(struct wire_link *link, uint8_t type, const void *payload, size_t size,
		   void *userdata, uint32_t *ret_stream) _must_check_;
/* The same in parts, for what has only a part of the message yet: follow with
   wire_link_send_fragment() while !last. */
int wire_link_open_fragment(struct wire_link *link, uint8_t type, const void *payload, size_t size,
			    bool last, void *userdata, uint32_t *ret_stream) _must_check_;
int wire_link_send(struct wire_link *link, uint32_t stream, uint8_t type, const void *payload,
		   size_t size) _must_check_;
int wire_link_send_fragment(struct wire_link *link, uint32_t stream, uint8_t type,
			    const void *payload, size_t size, bool last) _must_check_;
int wire_link_send_eof(struct wire_link *link, uint32_t stream, unsigned channel,
		       uint64_t total) _must_check_;
int wire_link_ping(struct wire_link *link, uint64_t value) _must_check_;
/* The last word before the connection is closed: a packed Goodbye. */
int wire_link_goodbye(struct wire_link *link, const void *payload, size_t size) _must_check_;

/* Initiator: gives the stream up. No more events come from it; its source is not asked any more. */
void wire_link_close(struct wire_link *link, uint32_t stream);

/* Responder: gives a stream its owner's data. NULL is what a new stream has. */
void wire_link_set_userdata(struct wire_link *link, uint32_t stream, void *userdata);

/* The channel may have bytes to send: its source will be asked. Cheap; call it whenever true. */
void wire_link_ready(struct wire_link *link, uint32_t stream, unsigned channel);
/* Bytes that the peer would take on the channel right now. */
uint32_t wire_link_credit(const struct wire_link *link, uint32_t stream, unsigned channel);

/*
 * Receiving. consumed: n bytes of the channel were used up; credit goes back to the peer in batches
 * of a quarter window. grant: exactly n more, at once (a switch, or a larger window than the
 * initial one; -EINVAL past WIRE_WINDOW_MAX). -ENOENT, for a stream that was closed meanwhile, is
 * nothing to worry about.
 */
int wire_link_consumed(struct wire_link *link, uint32_t stream, unsigned channel,
		       size_t n) _must_check_;
int wire_link_grant(struct wire_link *link, uint32_t stream, unsigned channel,
		    uint32_t n) _must_check_;

#endif
