/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_BULK_H
#define AGENT_BULK_H

/*
 * Bulk data makes way.
 *
 * The agent has the processor whenever it wants it (see docs/decisions/agent-scheduling.md). When a
 * key was typed into a session, the program that is to answer runs after the agent waits; and the
 * agent would first read a megabyte from every pipe that floods, and pass on all the stdin that
 * comes, for some milliseconds. So after a small write to a session the others' floods are left
 * alone, and the link is if it carries one, until an answer is there, from whomever, or for
 * BULK_HOLD_MS. Pipes and port fill meanwhile, which costs them little.
 */

#include "agent/event.h"
#include "base/list.h"
#include "base/macro.h"

struct session;
struct session_output;

/* Writes up to this size are of somebody who waits for an answer. */
#define BULK_SMALL_WRITE 1024u
/*
 * How long an answer is waited for. A program that is woken answers in a fraction of that; of one
 * that does not answer, the floods have lost this much, and not again before as much time went by.
 */
#define BULK_HOLD_MS 2
/* Stdin in pieces of this size, not longer ago than this, is a flood. */
#define BULK_LARGE_WRITE (32u * 1024)
#define BULK_RECENT_MS	 10

struct bulk {
	struct list outputs; /* struct session_output */
	bool held;
	bool link_held;
	uint64_t flooded_at;  /* the loop's time at which a large piece of stdin came last */
	uint64_t quiet_until; /* ... and before which nothing is held again */
	struct timer *timer;
};

int bulk_init(struct bulk *bulk, uv_loop_t *loop) _must_check_;
/* The output has shown to carry bulk data. */
void bulk_add(struct session_output *o);
/* n bytes of stdin came for the session; `written`: all of them are with the command. */
void bulk_input(struct session *s, size_t n, bool written);
/* The output has said something. */
void bulk_answered(const struct session_output *o);

#endif
