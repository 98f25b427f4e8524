/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_ROUNDS_H
#define TESTS_ROUNDS_H

#include <stdlib.h>

/* How often a race is tried: COVE_TEST_ROUNDS (`make check-long` sets it), else what CI has time
 * for. */
static inline size_t rounds_or(size_t usual)
{
	const char *text = getenv("COVE_TEST_ROUNDS");
	unsigned long n = text ? strtoul(text, NULL, 10) : 0;
	return n ? n : usual;
}

#endif
