/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WIRE_FRAME_H
#define WIRE_FRAME_H

/*
 * Frames: the unit of everything on a link. docs/protocol.md is normative; this is its table.
 *
 *	offset  size  field
 *	     0     4  length   of the payload, little endian, ≤ WIRE_PAYLOAD_MAX
 *	     4     1  type     enum wire_type
 *	     5     1  flags    low 2 bits: the channel, in DATA, CREDIT and EOF
 *	                       WIRE_FLAG_MORE: another fragment of this message follows
 *	     6     2  zero     refused otherwise
 *	     8     4  stream   little endian; 0 for the link itself
 *	    12        payload
 *
 * A stream is one request and its life. Only the initiator of a link opens streams, by sending a
 * request type on an id above all ids it used before. Only the initiator's side closes: CLOSE is
 * answered by CLOSE, and then the id is dead. Between its own CLOSE and the answer the initiator
 * ignores what still arrives on the stream.
 *
 * A message longer than a frame is cut into fragments of one type on one stream, back to back on
 * that stream, all but the last with WIRE_FLAG_MORE; other streams may come in between.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_VERSION 1

#define WIRE_HEADER_SIZE 12
#define WIRE_DATA_PREFIX                                                                           \
	8 /* DATA payload: u64 offset of its first byte in the channel, then bytes */

/* So that a keystroke never waits behind more than 64 KiB of somebody's bulk transfer. */
#define WIRE_DATA_MAX	 65536
#define WIRE_PAYLOAD_MAX (WIRE_DATA_MAX + WIRE_DATA_PREFIX)

/*
 * The longest message, all fragments together. execve() takes 2 MiB of arguments and environment
 * with the default 8 MiB stack; the rest is the other fields and encoding.
 */
#define WIRE_MESSAGE_MAX (3u * 1024 * 1024)

/* Messages being put together at one time on one link: bounds what a peer that never ends one can
 * pin. */
#define WIRE_REASSEMBLY_MAX (8u * 1024 * 1024)

/*
 * Bytes that may be on their way on a channel before the receiver grants more. Every channel of a
 * stream starts with it. Enough for full speed at the link's round trip, little enough that a
 * thousand stalled streams do not exhaust anybody.
 */
#define WIRE_INITIAL_WINDOW (256u * 1024)
/* The most that may be granted and unused: what a receiver of grants must be ready to hold. */
#define WIRE_WINDOW_MAX (1024u * 1024)

#define WIRE_FLAG_CHANNEL 0x03
#define WIRE_FLAG_MORE	  0x80

/* Channels. STDIN flows from the initiator, the others to it. */
enum wire_channel {
	WIRE_STDIN = 0,
	WIRE_STDOUT = 1,
	WIRE_STDERR = 2,
};
#define WIRE_CHANNELS 3

/* The constant part of SYNC, which a receiver that lost its place looks for. */
#define WIRE_SYNC_MAGIC_SIZE 16
#define WIRE_SYNC_SIZE	     (WIRE_SYNC_MAGIC_SIZE + 8) /* magic, then u64 nonce */
extern const uint8_t wire_sync_magic[WIRE_SYNC_MAGIC_SIZE];

/* Who handles a message. The supervisor passes WIRE_GUEST types through without looking inside. */
enum wire_scope {
	WIRE_SCOPE_LINK,   /* the two engines themselves */
	WIRE_SCOPE_GUEST,  /* client ↔ agent */
	WIRE_SCOPE_HOST,   /* client ↔ supervisor */
	WIRE_SCOPE_SYSTEM, /* supervisor ↔ agent; a client that sends one is cut off */
};

enum wire_direction {
	WIRE_BOTH,
	WIRE_TO_RESPONDER,
	WIRE_TO_INITIATOR,
};

/*
 * X(NAME, number, scope, direction, opens, message): numbers are never reused. `message` names the
 * protobuf message of cove.proto, or RAW.
 */
#define WIRE_TYPE_LIST(X)                                                                          \
	X(SYNC, 1, LINK, BOTH, false, RAW)                                                         \
	X(HELLO, 2, LINK, BOTH, false, Hello)                                                      \
	X(PING, 3, LINK, BOTH, false, RAW)                                                         \
	X(PONG, 4, LINK, BOTH, false, RAW)                                                         \
	X(GOODBYE, 5, LINK, BOTH, false, Goodbye)                                                  \
	X(DATA, 8, GUEST, BOTH, false, RAW)                                                        \
	X(CREDIT, 9, GUEST, BOTH, false, RAW)                                                      \
	X(EOF, 10, GUEST, BOTH, false, RAW)                                                        \
	X(CLOSE, 11, GUEST, BOTH, false, RAW)                                                      \
	X(EXEC, 16, GUEST, TO_RESPONDER, true, Exec)                                               \
	X(ATTACH, 17, GUEST, TO_RESPONDER, true, Attach)                                           \
	X(SESSION_LIST, 18, GUEST, TO_RESPONDER, true, SessionListRequest)                         \
	X(SIGNAL, 32, GUEST, TO_RESPONDER, false, Signal)                                          \
	X(KILL, 33, GUEST, TO_RESPONDER, false, Kill)                                              \
	X(RESIZE, 34, GUEST, TO_RESPONDER, false, Resize)                                          \
	X(MUTE, 35, GUEST, TO_RESPONDER, false, Mute)                                              \
	X(CLOSE_OUTPUT, 36, GUEST, TO_RESPONDER, false, CloseOutput)                               \
	X(FLUSH, 37, GUEST, TO_RESPONDER, false, Flush)                                            \
	X(COLLECT, 38, GUEST, TO_RESPONDER, false, Collect)                                        \
	X(STARTED, 48, GUEST, TO_INITIATOR, false, Started)                                        \
	X(FAILED, 49, GUEST, TO_INITIATOR, false, Failure)                                         \
	X(EXITED, 50, GUEST, TO_INITIATOR, false, Exited)                                          \
	X(STDIN_ERROR, 51, GUEST, TO_INITIATOR, false, StdinError)                                 \
	X(ACK, 52, GUEST, TO_INITIATOR, false, Ack)                                                \
	X(SESSIONS, 53, GUEST, TO_INITIATOR, false, SessionList)                                   \
	X(CREATE, 64, HOST, TO_RESPONDER, true, Create)                                            \
	X(INFO, 65, HOST, TO_RESPONDER, true, InfoRequest)                                         \
	X(STOP, 66, HOST, TO_RESPONDER, true, StopRequest)                                         \
	X(WAIT, 67, HOST, TO_RESPONDER, true, WaitRequest)                                         \
	X(DETACH, 68, HOST, TO_RESPONDER, true, DetachRequest)                                     \
	X(SANDBOX, 80, HOST, TO_INITIATOR, false, SandboxInfo)                                     \
	X(REFUSED, 81, HOST, TO_INITIATOR, false, Failure)                                         \
	X(PROGRESS, 82, HOST, TO_INITIATOR, false, Progress)                                       \
	X(START, 96, SYSTEM, TO_RESPONDER, true, Start)                                            \
	X(SHUTDOWN, 97, SYSTEM, TO_RESPONDER, true, Shutdown)                                      \
	X(READY, 112, SYSTEM, TO_INITIATOR, false, Ready)                                          \
	X(NOT_READY, 113, SYSTEM, TO_INITIATOR, false, Failure)                                    \
	X(DOWN, 114, SYSTEM, TO_INITIATOR, false, Down)

enum wire_type {
#define WIRE_TYPE_ENUM(name, number, scope, direction, opens, message) WIRE_##name = (number),
	WIRE_TYPE_LIST(WIRE_TYPE_ENUM)
#undef WIRE_TYPE_ENUM
};

struct wire_type_info {
	const char *name;
	enum wire_scope scope;
	enum wire_direction direction;
	bool opens; /* a request: the first frame of a stream */
	bool known;
};

/* Never NULL; ->known is false for a number that is no type. */
const struct wire_type_info *wire_type_info(uint8_t type);

struct wire_header {
	uint32_t length;
	uint8_t type;
	uint8_t flags;
	uint32_t stream;
};

void wire_header_encode(const struct wire_header *h, uint8_t ret[WIRE_HEADER_SIZE]);
/* -EPROTO when the length is over WIRE_PAYLOAD_MAX, the type unknown, or the zero field is not. */
int wire_header_decode(const uint8_t bytes[WIRE_HEADER_SIZE], struct wire_header *ret);

static inline void wire_put_u32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
	p[3] = (uint8_t)(v >> 24);
}

static inline void wire_put_u64(uint8_t *p, uint64_t v)
{
	wire_put_u32(p, (uint32_t)v);
	wire_put_u32(p + 4, (uint32_t)(v >> 32));
}

static inline uint32_t wire_get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t wire_get_u64(const uint8_t *p)
{
	return (uint64_t)wire_get_u32(p) | (uint64_t)wire_get_u32(p + 4) << 32;
}

#endif
