/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUPERVISOR_SANDBOX_H
#define SUPERVISOR_SANDBOX_H

/* The sandbox's life: what happens to it, and what follows from that. See enum sandbox_state. */

#include <stddef.h>
#include <stdint.h>

#include "supervisor/supervisor.h"

/* CREATE: the answer goes to the stream, now or later. */
void sandbox_create(struct supervisor *s, uint32_t stream, const void *data, size_t size);

/* From the agent. */
void sandbox_agent_up(struct supervisor *s);
void sandbox_ready(struct supervisor *s, const char *kernel);
void sandbox_not_ready(struct supervisor *s, const struct cove_error *err);
void sandbox_down(struct supervisor *s);
/* It broke the protocol. */
void sandbox_guest_hostile(struct supervisor *s, const char *why);

/* From the machine: its process ended, or it closed a socket and so is about to. */
void sandbox_machine_exited(struct supervisor *s);
void sandbox_machine_closing(struct supervisor *s);

/* The creator's connection or process has ended. */
void sandbox_creator_gone(struct supervisor *s);

/* From now on its creator's end is not its own. */
void sandbox_detach(struct supervisor *s);

/* In order. A second call can only make it shorter. */
void sandbox_stop(struct supervisor *s, enum cove_end_cause cause, uint64_t grace_ms);
/* Now. */
void sandbox_kill(struct supervisor *s, enum cove_end_cause cause, const char *text);

/* A client has gone. When the sandbox has ended and it was the last, so does the process. */
void sandbox_client_gone(struct supervisor *s);

/* Neither CREATE nor anything else came. */
void sandbox_arm_create_wait(struct supervisor *s);

/* "the sandbox is starting", for refusals. */
const char *sandbox_state_text(const struct supervisor *s);

#endif
