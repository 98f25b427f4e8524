/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUPERVISOR_REQUEST_H
#define SUPERVISOR_REQUEST_H

/* Requests that the supervisor answers by itself: CREATE, INFO, STOP, WAIT, DETACH. */

#include "supervisor/client.h"

/* Negative errno: the client is impossible. */
int request_open(struct client *client, const struct wire_event *event) _must_check_;
struct stream *request_free(struct stream *stream);

/* SANDBOX on a stream of the client's that awaits it: CREATE has succeeded. */
void request_answer(struct client *client, uint32_t stream_id);

/* The guest has answered what until_ask() asked: NULL, or why not. */
void request_detached(struct stream *stream, const struct cove_error *err);

/* The sandbox has ended: answers what waits for it. */
void request_answer_waiting(struct client *client);

#endif
