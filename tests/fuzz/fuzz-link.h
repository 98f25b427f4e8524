/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FUZZ_FUZZ_LINK_H
#define TESTS_FUZZ_FUZZ_LINK_H

#include "fuzz.h"

/* One engine of that role, and a peer that is the input. */
void fuzz_link(enum wire_role role, const uint8_t *data, size_t size);

#define FUZZ_NONCE 0x0807060504030201

#endif
