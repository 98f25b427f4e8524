/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SHUTDOWN_H
#define AGENT_SHUTDOWN_H

/* The orderly end: commands, then the disk, then the machine. */

#include <stdbool.h>
#include <stdint.h>

#include "agent/event.h"

struct agent;

enum shutdown_phase {
	SHUTDOWN_NONE,
	SHUTDOWN_TERMINATING, /* SIGTERM was sent; until all is quiet or the grace time is over */
	SHUTDOWN_KILLING,     /* SIGKILL was sent; until all is quiet, or a moment has passed */
	SHUTDOWN_DELIVERING,  /* until the viewers have the last output, or a moment has passed */
	SHUTDOWN_FLUSHING,    /* the disk is safe; until DOWN is written, or a moment has passed */
	SHUTDOWN_DONE,
};

/* Where the request does not say. */
#define SHUTDOWN_GRACE_MS 10000
/* Killed processes are gone in no time, unless the disk has a problem. */
#define SHUTDOWN_KILL_MS 2000
/* A client that does not read its last output by then does not read it at all. */
#define SHUTDOWN_DELIVER_MS 2000
/* The same for the supervisor. */
#define SHUTDOWN_FLUSH_MS 1000

struct shutdown {
	enum shutdown_phase phase;
	uint32_t stream; /* to be told DOWN; 0: nobody */
	struct timer *timer;
};

int shutdown_init(struct agent *agent) _must_check_;
/* Begins it, or, with less grace, hurries it up. */
void shutdown_begin(struct agent *agent, uint32_t stream, uint64_t grace_ms);
/* Looks whether the next phase has come; called in every turn of the loop, before and after what
   waits is written. */
void shutdown_step(struct agent *agent);
/* The link starts anew: the stream is gone. */
void shutdown_forget_stream(struct agent *agent);

#endif
