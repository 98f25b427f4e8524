/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_PATTERN_H
#define TESTS_PATTERN_H

/* Bytes that differ by seed and place, the same in guest and host: no two pages look alike. */

#include <stddef.h>
#include <stdint.h>

static inline uint64_t pattern_mix(uint64_t x) /* splitmix64 */
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static inline void pattern_fill(unsigned char *p, size_t n, uint64_t seed, uint64_t offset)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (unsigned char)(pattern_mix(seed ^ ((offset + i) >> 3)) >>
				       (8 * ((offset + i) & 7)));
}

#endif
