/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Two engines whose owners do anything that the calls allow, in any order, with the bytes between
 * them cut anywhere. Neither may ever find fault with the other.
 */

#include <errno.h>

#include "base/buffer.h"
#include "fuzz.h"
#include "wire/link-internal.h"

static void move(struct fuzz_owner *from, struct fuzz_owner *to, struct buffer *pipe, size_t put,
		 size_t take)
{
	uint8_t *end;
	FUZZ_CHECK(buffer_reserve(pipe, put, &end) == 0);
	if (put)
		buffer_commit(pipe, fuzz_owner_write(from, 16, end, put));
	size_t n = fuzz_owner_read(to, buffer_front(pipe), MIN(take, pipe->size));
	buffer_consume(pipe, n);
	int r = fuzz_owner_events(to);
	FUZZ_CHECK(r == 0 || r == -ENOBUFS);
	if (to->asked)
		fuzz_owner_resync(to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_owner ends[2];
	struct fuzz_input in = { .data = data, .left = size };
	(void)fuzz_u8(&in);	       /* had a meaning when the corpus was made */
	static struct buffer pipes[2]; /* kept: fresh memory is what takes the most time here */
	fuzz_owner_init(&ends[0], WIRE_INITIATOR, 1);
	fuzz_owner_init(&ends[1], WIRE_RESPONDER, 0);
	for (unsigned i = 0; i < 2; i++) {
		pipes[i].max = SIZE_MAX / 2;
		buffer_consume(&pipes[i], pipes[i].size);
	}

	while (in.left > 0) {
		uint8_t what = fuzz_u8(&in);
		unsigned end = what & 1;
		if (what % 8 < 4) {
			size_t put = (size_t)fuzz_u8(&in) * (what & 16 ? 1000 : 1);
			size_t take = (size_t)fuzz_u8(&in) * (what & 32 ? 1000 : 1);
			move(&ends[end], &ends[1 - end], &pipes[end], put, take);
		} else {
			fuzz_owner_act(&ends[end], &in);
		}
		if (ends[0].failed || ends[1].failed)
			break;
	}
	/* What is on its way arrives, and then nothing is left to say. */
	for (unsigned i = 0; i < 1000 && !ends[0].failed && !ends[1].failed; i++) {
		move(&ends[0], &ends[1], &pipes[0], 100000, 100000);
		move(&ends[1], &ends[0], &pipes[1], 100000, 100000);
		if (pipes[0].size + pipes[1].size == 0 && !wire_link_wants_output(ends[0].link) &&
		    !wire_link_wants_output(ends[1].link)) {
			FUZZ_CHECK(ends[0].link->state == LINK_UP);
			FUZZ_CHECK(ends[1].link->state == LINK_UP);
			FUZZ_CHECK(ends[0].link->n_streams == ends[1].link->n_streams);
			FUZZ_CHECK(ends[0].link->tx_unfinished >= ends[1].link->rx_unfinished);
			break;
		}
		FUZZ_CHECK(i < 999);
	}
	fuzz_owner_done(&ends[0]);
	fuzz_owner_done(&ends[1]);
	return 0;
}
