/* SPDX-License-Identifier: Apache-2.0 */

/* A responder's engine against any peer. */

#include "fuzz-link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_link(WIRE_RESPONDER, data, size);
	return 0;
}
