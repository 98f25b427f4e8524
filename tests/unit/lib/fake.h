/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_LIB_FAKE_H
#define TESTS_LIB_FAKE_H

/*
 * A supervisor and its guest that do what the test's script says, in a thread of the test, at the
 * other end of a handle. The script is plain sequential code; it ends at the latest when the client
 * has gone.
 */

#include <pthread.h>

#include <cove/cove.h>

#include "base/list.h"
#include "wire/message.h"

struct fake {
	int fd;
	struct wire_link *link;
	pthread_t thread;
	void (*script)(struct fake *f);
	void *data; /* the test's own */
	struct list chunks;
	bool gone; /* the client has closed */
	bool deaf; /* the client reads no more */
	bool mute; /* fake_next() writes nothing */
	uint64_t echoed;
	unsigned kills; /* KILLs that came in fake_drain() */
};

/* A handle whose supervisor is the script. */
cove_sandbox *fake_start(struct fake *f, void (*script)(struct fake *f), void *data);
/* Frees the handle and waits for the end of the script. */
void fake_end(struct fake *f, cove_sandbox *sandbox);

/* Runs the script here, on a socket that is closed in the end. */
void fake_run(struct fake *f, int fd, void (*script)(struct fake *f), void *data);

/* The rest is for scripts. */

/* The next message, DATA, EOF or CLOSE. False when the client has gone. */
bool fake_next(struct fake *f, struct wire_event *event);
/* The next event has to be a message of the type; its stream. */
uint32_t fake_expect(struct fake *f, uint8_t type);
/* An EXEC, to be freed by wire_message_free(). */
Cove__Wire__Exec *fake_expect_exec(struct fake *f, uint32_t *ret_stream);

void fake_send(struct fake *f, uint32_t stream, uint8_t type, const ProtobufCMessage *message);
void fake_started(struct fake *f, uint32_t stream);
void fake_exited(struct fake *f, uint32_t stream, uint64_t stdout_total, uint64_t stderr_total);
void fake_failed(struct fake *f, uint32_t stream, uint8_t type, int code, const char *text);
void fake_ack(struct fake *f, uint32_t stream, uint32_t request, int code);
void fake_goodbye(struct fake *f, unsigned cause, const char *text);
/* Queues bytes (copied) of a channel. */
void fake_data(struct fake *f, uint32_t stream, unsigned channel, uint64_t offset, const void *data,
	       size_t n);
/* Writes until all that was queued is written; meanwhile only credit and KILL may come in. */
void fake_drain(struct fake *f);
/* Sends back what comes on stdin until its end, then EXITED. Gives credit for what is sent. */
void fake_cat(struct fake *f, uint32_t stream);
/* Goes on until the client has gone or closed the stream. */
void fake_until_closed(struct fake *f, uint32_t stream);

#endif
