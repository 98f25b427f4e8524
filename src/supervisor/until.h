/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUPERVISOR_UNTIL_H
#define SUPERVISOR_UNTIL_H

/*
 * A session with which the sandbox ends (DETACH): a stream of our own to the guest, of which nothing is
 * read but that it started, failed and ended. Everything that comes on it was chosen by the guest; the
 * most that a lie gets it is the end of its own sandbox.
 */

#include "supervisor/client.h"

struct until;

/*
 * Asks the guest for the session. request_detached() follows with the answer, and the sandbox ends with
 * the session then, and not any more with the one before. Negative errno.
 */
int until_ask(struct supervisor *s, const void *id, size_t size, struct stream *asker,
	      struct until **ret) _must_check_;
/* Forgets it: whoever asked does not wait any more, or another session has taken its place. */
struct until *until_free(struct until *until);

/* The sandbox ends: whoever still waits is refused. */
void until_refuse_asked(struct supervisor *s);

/* The guest's link has started anew. Negative errno: what it ends with is not watched any more. */
int until_resume(struct supervisor *s) _must_check_;

/* What comes on its stream. Negative errno, with *ret_fault: the guest is impossible. */
int until_from_guest(struct stream *stream, const struct wire_event *event,
		     const char **ret_fault) _must_check_;

#endif
