/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SUPERVISOR_PATTERN_H
#define TESTS_SUPERVISOR_PATTERN_H

/* Bytes that say at which offset they belong. The period is prime, so no block of them repeats. */

#include <stddef.h>
#include <stdint.h>

#define PATTERN_PERIOD 251
#define PATTERN_RUN    (300 * PATTERN_PERIOD)

/* At least PATTERN_RUN - PATTERN_PERIOD bytes, more than fit into a frame. */
static inline const uint8_t *pattern_at(uint64_t offset)
{
	static uint8_t table[PATTERN_RUN];
	if (!table[1])
		for (size_t i = 0; i < PATTERN_RUN; i++)
			table[i] = (uint8_t)(i % PATTERN_PERIOD);
	return table + offset % PATTERN_PERIOD;
}

#endif
