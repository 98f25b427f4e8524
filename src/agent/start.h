/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_START_H
#define AGENT_START_H

/* START: gives the waiting machine its job. Answered by READY or NOT_READY. */

#include "wire/link.h"

struct agent;

void start_handle(struct agent *agent, const struct wire_event *event);

#endif
