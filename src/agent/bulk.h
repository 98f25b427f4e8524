/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_BULK_H
#define AGENT_BULK_H

/*
 * Outputs that carry bulk data, and make way.
 *
 * The agent has the processor whenever it wants it (see docs/decisions/agent-scheduling.md). When a
 * key was typed into a session, the program that is to answer runs after the agent waits; and the
 * agent would first read a megabyte from every pipe that floods, for some milliseconds. So after a
 * small write to a session the others' floods are left alone until an answer is there, from
 * whomever, or for BULK_HOLD_MS. Their pipes fill meanwhile, which costs them little.
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

struct bulk {
	struct list outputs; /* struct session_output */
	bool held;
	uint64_t quiet_until; /* the loop's time before which they are not held again */
	struct timer *timer;
};

int bulk_init(struct bulk *bulk, uv_loop_t *loop) _must_check_;
/* The output has shown to carry bulk data. */
void bulk_add(struct session_output *o);
/* n bytes were written to the session. */
void bulk_typed(struct session *s, size_t n);
/* The output has said something. */
void bulk_answered(const struct session_output *o);

#endif
