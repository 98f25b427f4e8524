/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_REQUEST_H
#define LIB_REQUEST_H

/* Requests to the supervisor: one message there, one answer back. */

#include <cove/cove.h>

#include "lib/connection.h"

struct request {
	uint8_t type; /* WIRE_CREATE, WIRE_INFO, WIRE_STOP, WIRE_WAIT, WIRE_DETACH */
	const ProtobufCMessage *message;
	uint64_t deadline;
	void (*progress)(const char *text, void *progress_data); /* called without the lock */
	void *progress_data;
};

/*
 * Sends the request and waits for its answer, a SANDBOX (*ret) or a REFUSED (the error). TIMEOUT
 * when the deadline passes first: the request is given up. If the connection ends first, its error.
 * Takes the lock itself.
 */
int request_run(struct connection *c, const struct request *request, struct cove_sandbox_info **ret,
		struct cove_error *err);

#endif
