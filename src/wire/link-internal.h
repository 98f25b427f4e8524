/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WIRE_LINK_INTERNAL_H
#define WIRE_LINK_INTERNAL_H

/* What link.c (state, streams, sending), link-input.c and link-output.c share. */

#include <protobuf-c/protobuf-c.h>

#include "base/buffer.h"
#include "base/list.h"
#include "wire/link.h"

#define LINK_FRAME_MAX (WIRE_HEADER_SIZE + WIRE_PAYLOAD_MAX)

/*
 * Two of the largest frames: after wire_link_next() gave 0 less than one is left in it, so there is
 * always room for a useful read, and a bulk stream of full frames never has to be moved inside it.
 */
#define LINK_INPUT_SIZE ((size_t)2 * LINK_FRAME_MAX)

/*
 * DATA frames offered by one wire_link_output(): enough to fill a socket's buffer in one system
 * call, few enough that what is peeked at and then not taken costs nothing.
 */
#define LINK_OUTPUT_FRAMES 8

/*
 * Pieces up to this size are copied next to each other and leave as one iovec: virtio-serial makes
 * a request, and a kick of the device, of every iovec.
 */
#define LINK_COALESCE_MAX 4096

#define LINK_DATA_HEAD (WIRE_HEADER_SIZE + WIRE_DATA_PREFIX)
#define LINK_STAGE_SIZE                                                                            \
	(LINK_COALESCE_MAX + LINK_OUTPUT_FRAMES * (LINK_DATA_HEAD + LINK_COALESCE_MAX))

/*
 * What an initiator discards while it waits for the answer to its SYNC. More than the pipes between
 * can hold (a virtio queue of 128 buffers of 32 KiB, two socket buffers): past it the peer is
 * not about to answer.
 */
#define WIRE_HUNT_MAX (8u * 1024 * 1024)

/*
 * Parts of unfinished messages a sender lets out. With it a whole message still fits into what the
 * receiver holds, so nothing that one end may send is refused by the other.
 */
#define LINK_UNFINISHED_MAX (WIRE_REASSEMBLY_MAX - WIRE_MESSAGE_MAX)

/*
 * Room in the queue for the engine's own frames, past what the owner may put into it. The answers
 * to a whole input buffer fit, so one that asks wire_link_wants_input() before it reads never fails
 * to answer.
 */
#define LINK_CONTROL_RESERVE LINK_INPUT_SIZE

/* Memory that a burst of control output may leave behind for the next one. */
#define LINK_CONTROL_KEEP (64u * 1024)

/* Our own name in HELLO: a name and a version. */
#define LINK_SOFTWARE_MAX 256

#define LINK_ERROR_SIZE 160

enum link_state {
	LINK_HUNTING, /* input is discarded up to a SYNC; sending is fine */
	LINK_HELLO,   /* a SYNC was there: HELLO must be next, or another SYNC */
	LINK_UP,
	/* Initiator: the responder lost its place. Input is discarded; only resync gets on. */
	LINK_RESYNC_WANTED,
	/* The peer broke the protocol. wire_link_next() repeats the error; control output that was
	   queued, or a GOODBYE, still leaves; only resync gets on. */
	LINK_DEAD,
};

#define LINK_NO_TOTAL UINT64_MAX

/*
 * One direction of one channel. Which one is fixed by role: STDIN is sent by the initiator, the
 * others by the responder.
 */
struct link_channel {
	struct list ready; /* sender: on link->ready; there only while it may be sent from */
	uint64_t end;	   /* the offset after the last byte that was sent or received */
	uint64_t total;	   /* as of EOF, sent or received; LINK_NO_TOTAL before */
	uint32_t credit;   /* bytes that may be sent, or received, before more is granted */
	uint32_t owed;	   /* receiver: bytes consumed whose credit was not given back yet */
	uint8_t number;	   /* enum wire_channel */
	bool waiting;	   /* sender: would be on link->ready if it were allowed to send */
};

struct link_stream {
	struct link_stream *next; /* in its bucket */
	struct wire_link *link;
	uint32_t id;
	bool closing;	 /* initiator: CLOSE was sent (or waits to be) */
	bool announced;	 /* responder: the owner has seen it */
	uint8_t rx_type; /* of the message whose fragments are coming in; 0: none */
	uint8_t tx_type; /* of the message whose fragments are being sent; 0: none */
	uint32_t rx_size;
	uint32_t rx_allocated;
	uint32_t tx_size;
	uint8_t *rx_data; /* the fragments so far */
	void *userdata;
	struct link_channel channels[WIRE_CHANNELS];
};

/* A DATA frame that wire_link_output() offered. */
struct link_frame {
	struct link_stream *stream;
	unsigned channel;
	size_t size; /* of the data */
	struct wire_chunk chunk;
	const uint8_t *head; /* LINK_DATA_HEAD bytes, in the stage */
};

struct wire_link {
	struct wire_link_options options;
	enum link_state state;
	int error_code; /* in LINK_DEAD */
	char error[LINK_ERROR_SIZE];
	uint64_t nonce;	 /* initiator: of the last SYNC sent */
	uint64_t hunted; /* bytes discarded since then */
	uint8_t *hello;	 /* our HELLO's payload */
	size_t hello_size;

	struct link_stream **buckets;
	unsigned bucket_bits;
	unsigned n_streams;
	uint32_t last_id;     /* the highest that was ever opened since the last sync */
	size_t rx_unfinished; /* bytes in all rx_data */
	size_t tx_unfinished;

	uint8_t *input; /* LINK_INPUT_SIZE */
	size_t input_head;
	size_t input_tail;
	uint8_t *event_data; /* a message put together, handed out by the last event */

	struct buffer control;	/* whole frames, but for the first: */
	size_t control_partial; /* bytes left of a frame at the front that was partly written */
	uint8_t *spill;		/* the rest of a DATA frame that was partly written */
	size_t spill_head;
	size_t spill_tail;
	struct list ready;	   /* channels with credit whose source is to be asked, in turn */
	struct list close_pending; /* streams (by channel 0's `ready`) whose CLOSE found no room */

	/* Between output and sent. */
	bool offering;
	uint8_t *stage; /* LINK_STAGE_SIZE: small pieces, side by side */
	size_t stage_used;
	size_t offered_spill;
	size_t offered_control;
	struct link_frame frames[LINK_OUTPUT_FRAMES];
	unsigned n_frames;
};

/* link.c */
void link_set_state(struct wire_link *link, enum link_state state);
/* Remembers what the peer did wrong; returns code. */
int link_fail(struct wire_link *link, int code, const char *format, ...) _printf_(3, 4);
/* Forgets all streams and all output but the rest of a frame that was partly written. */
void link_restart(struct wire_link *link);
/* SYNC, and HELLO unless it is the call for a sync (nonce 0). */
int link_queue_sync(struct wire_link *link, uint64_t nonce) _must_check_;
/* The engine's own frame, into the reserve if need be. */
int link_queue(struct wire_link *link, const struct wire_header *h,
	       const void *payload) _must_check_;
struct link_stream *link_stream_find(const struct wire_link *link, uint32_t id);
int link_stream_new(struct wire_link *link, uint32_t id, struct link_stream **ret) _must_check_;
void link_stream_free(struct link_stream *stream);
void link_stream_drop_fragments(struct link_stream *stream);
/* Puts a waiting channel among the ready ones if it may send now. */
void link_channel_wake(struct link_stream *stream, unsigned channel);
void link_close_flush(struct wire_link *link);

static inline bool link_channel_sends(const struct wire_link *link, unsigned channel)
{
	return (link->options.role == WIRE_INITIATOR) == (channel == WIRE_STDIN);
}

/* Is it one of the protobuf messages on a stream (what the engine itself has no use for)? */
static inline bool link_type_is_message(const struct wire_type_info *info)
{
	return info->known && info->direction != WIRE_BOTH;
}

/* May the end with this role send the type? */
static inline bool link_type_fits(const struct wire_type_info *info, enum wire_role sender)
{
	return info->direction == WIRE_BOTH ||
	       (info->direction == WIRE_TO_RESPONDER) == (sender == WIRE_INITIATOR);
}

/* message.c: wire_message_unpack() that tells -ENOMEM from -EPROTO. */
int message_unpack(const ProtobufCMessageDescriptor *descriptor, const void *data, size_t size,
		   ProtobufCMessage **ret) _must_check_;

#endif
