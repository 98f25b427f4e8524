/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SUPERVISOR_PEER_H
#define TESTS_SUPERVISOR_PEER_H

/* The other side of a supervisor: its process, and clients of it. Every wait has a deadline. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/list.h"
#include "harness/tap.h"
#include "wire/message.h"

#define PEER_TIMEOUT_MS 10000

struct peer_stream {
	struct list entry;
	uint32_t id;
	uint64_t stdin_left; /* bytes of the pattern that are still to be sent */
	uint64_t stdin_offset;
	bool stdin_eof; /* and then the end */
	uint64_t bytes[WIRE_CHANNELS];
	uint64_t next[WIRE_CHANNELS]; /* the offset after the last byte */
	uint64_t totals[WIRE_CHANNELS];
	bool eof[WIRE_CHANNELS];
	bool wrong; /* a byte was not that of the pattern at its offset */
	bool text;  /* is not the pattern; the first of stdout: */
	char head[256];
	bool slow; /* takes what the first window allows, and no more */
};

struct peer_message {
	struct list entry;
	uint32_t stream;
	uint8_t type;
	size_t size;
	uint8_t data[];
};

struct peer {
	int fd;
	struct wire_link *link;
	struct list streams;
	struct list messages;
	bool hello;
	bool closed; /* the supervisor closed the connection */
	bool goodbye;
	uint32_t cause;
	char text[512];
};

/* A supervisor with its creator's connection, which is not yet told what to create. */
struct supervised {
	pid_t pid;
	struct peer creator;
};

void supervised_start(struct supervised *s);
/* Starts it and has it create; checks that it succeeds. NULL fields of *create: defaults. */
void supervised_create(struct supervised *s, const char *name, const Cove__Wire__Create *create);
/* Waits until it has ended by itself. Returns its exit status. */
int supervised_wait(struct supervised *s);

Cove__Wire__Create peer_create(const char *name);

/* fd: a connected socket, taken over. */
void peer_init(struct peer *p, int fd);
void peer_connect(struct peer *p, const char *name);
void peer_done(struct peer *p);

/* One round of reading and writing; waits at most until then. */
void peer_pump(struct peer *p, uint64_t deadline);
/* Writes what the socket takes, and reads nothing. */
void peer_flush(struct peer *p);
/* PEER_TIMEOUT_MS from now, by clock_monotonic_ms(). */
uint64_t peer_deadline(void);

uint32_t peer_open(struct peer *p, uint8_t type, const ProtobufCMessage *m);
struct peer_stream *peer_exec(struct peer *p, const char *command, const char *argument);
void peer_close(struct peer *p, uint32_t stream);

/* The next message on the stream, which must be of this type; freed by the caller. */
struct peer_message *peer_expect(struct peer *p, uint32_t stream, uint8_t type);
/* The same, unpacked. */
ProtobufCMessage *peer_expect_message(struct peer *p, uint32_t stream, uint8_t type,
				      const ProtobufCMessageDescriptor *descriptor);
void peer_expect_failure(struct peer *p, uint32_t stream, uint8_t type, struct cove_error *ret);
/* Waits for the end of the connection; with the goodbye before it. */
void peer_expect_goodbye(struct peer *p, uint32_t cause);
void peer_expect_close(struct peer *p);

/* Fails with what the supervisor said last if the connection is closed. */
void peer_check_open(const struct peer *p);

#define PEER_WAIT(p, condition)                                                                    \
	do {                                                                                       \
		uint64_t _end = peer_deadline();                                                   \
		while (!(condition)) {                                                             \
			peer_check_open(p);                                                        \
			CHECK(clock_monotonic_ms() < _end);                                        \
			peer_pump((p), _end);                                                      \
		}                                                                                  \
	} while (0)

/* From now on supervisors get fake-guest.c for an agent. */
void peer_use_fake_guest(void);

#endif
