/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

/*
 * What the fuzz targets share: an input read as a list of small numbers, and an owner for a link,
 * which does what the input says and keeps account of what must hold.
 */

#include "wire/link.h"

/* Like assert(), whatever the build type. */
#define FUZZ_CHECK(condition)                                                                      \
	do {                                                                                       \
		if (!(condition))                                                                  \
			fuzz_failed(__FILE__, __LINE__, #condition);                               \
	} while (0)

void fuzz_failed(const char *file, int line, const char *what) __attribute__((noreturn));
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* All zeros once it is used up. */
struct fuzz_input {
	const uint8_t *data;
	size_t left;
};

uint8_t fuzz_u8(struct fuzz_input *in);
uint16_t fuzz_u16(struct fuzz_input *in);
uint32_t fuzz_u32(struct fuzz_input *in);

#define FUZZ_STREAMS_MAX 64 /* few enough to get there */

/* What the owner knows of a stream. It is the stream's userdata. */
struct fuzz_stream {
	uint32_t id;
	bool open;
	uint64_t end[WIRE_CHANNELS];  /* of what was sent or received */
	uint64_t left[WIRE_CHANNELS]; /* to send */
	bool eof[WIRE_CHANNELS];
	uint64_t total[WIRE_CHANNELS];
	uint64_t allowed[WIRE_CHANNELS]; /* bytes given credit for, altogether */
	uint64_t moved[WIRE_CHANNELS];	 /* bytes sent or received, altogether */
};

struct fuzz_owner {
	struct wire_link *link;
	enum wire_role role;
	bool synced;
	bool greeted;
	bool asked; /* for a resync */
	bool failed;
	uint64_t nonce;
	struct fuzz_stream *streams[4096];
	unsigned n_streams;
};

void fuzz_owner_init(struct fuzz_owner *owner, enum wire_role role, uint64_t nonce);
void fuzz_owner_done(struct fuzz_owner *owner);

/* Takes all events there are. The error, if there is one. */
int fuzz_owner_events(struct fuzz_owner *owner);
/* One call that the input chooses. */
void fuzz_owner_act(struct fuzz_owner *owner, struct fuzz_input *in);
/* Starts the link again. */
void fuzz_owner_resync(struct fuzz_owner *owner);
/* Writes up to `most` bytes to a place of that size; their number. */
size_t fuzz_owner_write(struct fuzz_owner *owner, int count, uint8_t *to, size_t most);
/* Reads up to n; how many went in. */
size_t fuzz_owner_read(struct fuzz_owner *owner, const uint8_t *from, size_t n);

#endif
