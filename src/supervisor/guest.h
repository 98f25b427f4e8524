/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUPERVISOR_GUEST_H
#define SUPERVISOR_GUEST_H

/* The link to the agent. Everything that comes over it was chosen by the guest. */

#include <stdbool.h>

#include "supervisor/machine.h"

int guest_init(struct machine *machine) _must_check_;

/* Tells the agent what the machine is for; sandbox_ready() or sandbox_not_ready() follows. */
int guest_send_start(struct machine *machine, struct cove_error *err);
/* Asks it to end; sandbox_down() follows. Negative errno. */
int guest_send_shutdown(struct machine *machine, uint64_t grace_ms) _must_check_;

/* The link, or NULL when there is no guest to talk to. */
struct wire_link *guest_link(const struct supervisor *s);
void guest_touch(struct supervisor *s);
/* So much waits for the guest that more must not be read for it. */
bool guest_is_congested(const struct supervisor *s);

void guest_heartbeat(struct supervisor *s);

#endif
