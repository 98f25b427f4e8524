/* SPDX-License-Identifier: Apache-2.0 */

/* A initiator's engine against any peer. */

#include "fuzz-link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_link(WIRE_INITIATOR, data, size);
	return 0;
}
