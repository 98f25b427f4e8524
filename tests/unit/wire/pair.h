/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_WIRE_PAIR_H
#define TESTS_WIRE_PAIR_H

/*
 * Two engines joined in memory, with a small program on each end that knows what every byte should
 * be. The client opens commands; the server answers each with STARTED, both EOFs, the output, and
 * EXITED when it has all of stdin; the client closes when it has everything. All of it is checked.
 *
 * Between the ends is a pipe in each direction. What is written into it and read from it at a time
 * is for the test to say, so the same conversation can be cut anywhere.
 */

#include "base/buffer.h"
#include "wire/link.h"

#define PAIR_COMMANDS_MAX 8192

enum pair_direction { PAIR_TO_SERVER, PAIR_TO_CLIENT };

/* The request's payload begins with it; the rest is padding, to be compared. */
struct pair_request {
	uint32_t out[WIRE_CHANNELS]; /* bytes to send on each channel; [0] by the client */
	uint32_t padding;
};

struct pair_command {
	struct pair_end *end;
	struct pair_request request;
	uint32_t stream;
	uint64_t sent[WIRE_CHANNELS];
	uint64_t received[WIRE_CHANNELS];
	uint64_t unread[WIRE_CHANNELS]; /* received and not given credit for */
	bool eof[WIRE_CHANNELS];
	bool started;
	bool exited;
	bool closed;
};

struct pair_end {
	struct wire_link *link;
	struct pair *pair;
	bool server;
	bool synced;
	bool slow; /* does not give credit back */
	unsigned n_commands;
	unsigned n_closed;
	struct pair_command *commands[PAIR_COMMANDS_MAX];
};

struct pair {
	struct pair_end client;
	struct pair_end server;
	struct buffer pipe[2]; /* by enum pair_direction */
	uint64_t written[2];
	uint64_t read[2];
	uint64_t cut[2]; /* no write and no read crosses this position */
	size_t most;	 /* bytes at a time; 0: any */
	uint64_t random; /* state; 0: everything at once */
};

/* The bytes of a channel. */
const uint8_t *pair_pattern(uint32_t stream, unsigned channel, uint64_t offset);

struct pair *pair_new(uint64_t random);
struct pair *pair_free(struct pair *pair);
DEFINE_CLEANUP(struct pair *, pair_free)
uint64_t pair_random(struct pair *pair);

struct pair_command *pair_exec(struct pair *pair, const struct pair_request *request);
/* Until nothing moves any more. */
void pair_run(struct pair *pair);
/* All commands are done, on both ends, and both stream tables are empty. */
void pair_check_done(struct pair *pair);
/* Takes note of all the bytes that a slow end has read. */
void pair_read_up(struct pair_end *end);

/* ---- one engine, and a peer made by hand ---- */

struct raw_link {
	struct wire_link *link;
	struct buffer out; /* what the engine wrote */
};

/* What the engine's source gives: set before wire_link_ready(). */
struct raw_source {
	uint64_t offset;
	const char *data;
	size_t size;
	unsigned peeked;
	unsigned consumed;
};

void raw_init(struct raw_link *raw, enum wire_role role, struct raw_source *source);
void raw_init_options(struct raw_link *raw, const struct wire_link_options *options);
void raw_done(struct raw_link *raw);
/* Feeds bytes without looking at events. */
void raw_feed(struct raw_link *raw, const void *data, size_t n);
void raw_frame(struct raw_link *raw, uint8_t type, uint8_t flags, uint32_t stream,
	       const void *payload, size_t n);
void raw_sync(struct raw_link *raw, uint64_t nonce);
void raw_hello(struct raw_link *raw, unsigned version);
/* The next event must be of this kind. */
void raw_expect(struct raw_link *raw, enum wire_event_kind kind, struct wire_event *ret);
void raw_expect_nothing(struct raw_link *raw);
void raw_expect_error(struct raw_link *raw, int code, const char *part);
/* SYNC and HELLO both ways; what the engine wrote is thrown away. */
void raw_handshake(struct raw_link *raw);
/* Both, and then streams 1, 2, … opened by whoever opens streams; nothing is left in `out`. */
void raw_bring_up(struct raw_link *raw, enum wire_role role, struct raw_source *source,
		  uint32_t streams);
/* Collects what the engine writes. */
void raw_collect(struct raw_link *raw);
/* What was collected must begin with this frame; it is taken away. */
void raw_expect_frame(struct raw_link *raw, uint8_t type, uint8_t flags, uint32_t stream,
		      const void *payload, size_t n);
void raw_expect_written(struct raw_link *raw, const void *data, size_t n);

#define RAW_NONCE 0x1122334455667788

#endif
