/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_LISTING_H
#define AGENT_LISTING_H

/*
 * SESSION_LIST, answered a message at a time. Control frames go before all data, so a list of
 * thousands, said at once, would hold up everybody's output, and one client that asks again and
 * again would for as long as it likes. So the next message of a list is made only when nothing else
 * is left to be said, and then what data there is has its turn.
 *
 * It lists the sessions that were there when it was asked for, as each is when its turn comes.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/macro.h"

struct agent;

/* The stream gets a list of the sessions, from now on. -ENOMEM. */
int listing_begin(struct agent *agent, uint32_t stream) _must_check_;
/* The stream is gone; it need not have one. */
void listing_drop(struct agent *agent, uint32_t stream);
/* The next message of the next one, if it is time for it. */
void listings_step(struct agent *agent);
/* Whether there is more for listings_step() to do. */
bool listings_pending(const struct agent *agent);
/* All streams are gone. */
void listings_forget(struct agent *agent);

#endif
