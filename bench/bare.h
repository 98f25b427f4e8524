/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_BARE_H
#define BENCH_BARE_H

/* Between bare.c on the host and bare-path.c, the guest's PID 1, over the port. */

#include <stdint.h>

enum bare_what {
	BARE_OUT = 1,  /* `bytes` bytes of a command's stdout come */
	BARE_IN = 2,   /* `bytes` bytes follow, for a command's stdin; a byte comes when it ended */
	BARE_PING = 3, /* a byte comes */
};

struct bare_request {
	uint64_t what;
	uint64_t bytes; /* a multiple of BARE_CHUNK */
};

/* As the agent reads and writes, in both directions. */
#define BARE_CHUNK 65536

#endif
