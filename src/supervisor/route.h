/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUPERVISOR_ROUTE_H
#define SUPERVISOR_ROUTE_H

/*
 * The switch: a client's stream and the guest's stream that it is joined to.
 *
 * Messages go from one link's queue to the other's. Data waits in a ring per channel, from which
 * the other link pulls it. Credit is passed on as it was given, so it stays end to end: what a ring
 * holds is what its receiver asked for. What the guest sends is checked by the engine against the
 * credit that we passed on, so neither side can make a ring grow.
 */

#include "supervisor/client.h"

struct route;

/* For the links of clients and of the guest; userdata is a struct stream. */
extern const struct wire_source route_source;

/* A client's request that is the guest's to answer. Negative errno: the client is impossible. */
int route_open(struct client *client, const struct wire_event *event) _must_check_;

/* What comes on a route. Negative errno: the client is impossible. */
int route_from_client(struct stream *stream, const struct wire_event *event) _must_check_;
/* The same for the guest; *ret_fault is set when it has no words of its own. */
int route_from_guest(struct stream *stream, const struct wire_event *event,
		     const char **ret_fault) _must_check_;

/* The client closed the stream, or is gone. */
struct stream *route_free(struct stream *stream);

/* The guest's end is gone while the machine lives: the client is told that the session is lost. */
void route_lose_all(struct supervisor *s);

/* Gives back memory that no stream needs at the moment. */
void route_trim_all(struct supervisor *s);

#endif
