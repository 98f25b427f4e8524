/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_VIEWER_H
#define AGENT_VIEWER_H

/*
 * A stream that looks at a session: the one that started it, and those that attached. Each has its
 * own place in the output. A lossless viewer holds the command up when it does not take what is
 * there; a lossy one is overtaken, and sees a jump in the offsets.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/macro.h"
#include "wire/link.h"

struct session;

struct viewer {
	struct list in_session;
	struct session *session;
	uint32_t stream;
	uint64_t next[WIRE_CHANNELS]; /* offset of the next byte to send */
	uint64_t input_end;	      /* of stdin: the offset after the last byte that came */
	uint64_t input_total;	      /* where it ends, if input_ends: EOF overtakes data */
	bool input_ends;
	bool starter;
	bool lossy;
	bool muted;	 /* lossy, and nothing is sent at all */
	bool write;	 /* may write stdin, signal, kill, resize, close and collect */
	int stdin_error; /* the errno it was told; nothing of its stdin is taken any more */
	bool flushing;	 /* a FLUSH waits for its answer */
	uint32_t flush_request;
	uint64_t flush_offset;
};

/* A copy of what is given, which looks at nothing yet: free() is enough. NULL: no memory. */
struct viewer *viewer_new(const struct viewer *options);
/*
 * Makes its stream a viewer of the session, of which there must be less than SESSION_VIEWERS_MAX, and
 * tells it what there is to tell: that the session was started, ends of channels, the end.
 */
void viewer_join(struct viewer *v, struct session *s, bool already_running);
/* The stream is gone. May free the session. */
void viewer_free(struct viewer *v);

/* For the link's source. */
size_t viewer_peek(void *userdata, uint32_t stream, unsigned channel, size_t max,
		   struct wire_chunk *ret);
void viewer_consumed(void *userdata, uint32_t stream, unsigned channel, size_t n);

/* What the session has to say to all its viewers. */
void viewers_output(struct session *s, unsigned channel); /* there is more */
void viewers_eof(struct session *s, unsigned channel);
void viewers_exited(struct session *s);

void viewer_stdin_error(struct viewer *v, int error); /* once */
/* For good: what is on its way is the last of the output. */
void viewer_mute(struct viewer *v);

/* Up to which offset of its stdin everything has come, by this stream or one that sends the same. */
uint64_t viewer_input_end(const struct viewer *v);
/* An ACK when stdin up to the offset has come, or will not. -EBUSY: another one waits. */
int viewer_flush(struct viewer *v, uint32_t request, uint64_t offset) _must_check_;
/* Something happened to the stdin: answers what waits and can be answered. */
void viewers_settle_flushes(struct session *s);

/* The oldest byte of the channel that a lossless viewer still has to get; the end if none. */
uint64_t viewers_keep(const struct session *s, unsigned channel);
/* The same of all viewers that take output, lossy or not; may have been overwritten already. */
uint64_t viewers_want(const struct session *s, unsigned channel);
/* Whether every lossless viewer got everything up to the session's end. */
bool viewers_are_served(const struct session *s);

#endif
