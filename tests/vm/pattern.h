/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_PATTERN_H
#define TESTS_PATTERN_H

/* Bytes that differ by seed and place, the same in guest and host: no two pages look alike. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

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

/*
 * For gigabytes, which are made and compared in an emulated machine as well: words of which each
 * comes once, made with an addition. Like the above it is recomputed at any place, so the other side
 * compares every byte and keeps none.
 */
#define FLOW_STEP 0x9e3779b97f4a7c15u

static inline void flow_fill(void *data, size_t n, uint64_t seed, uint64_t offset)
{
	unsigned char *p = data;
	uint64_t word = seed + (offset >> 3) * FLOW_STEP;
	for (size_t skip = offset & 7; n > 0; word += FLOW_STEP, skip = 0) {
		if (skip == 0)
			for (; n >= 8; n -= 8, p += 8, word += FLOW_STEP)
				memcpy(p, &word, 8);
		size_t part = n < 8 - skip ? n : 8 - skip;
		memcpy(p, (unsigned char *)&word + skip, part);
		p += part;
		n -= part;
	}
}

/* How many of the bytes are right before the first wrong one; n: all. */
static inline size_t flow_check(const void *data, size_t n, uint64_t seed, uint64_t offset)
{
	const unsigned char *p = data;
	uint64_t word = seed + (offset >> 3) * FLOW_STEP, there;
	for (size_t skip = offset & 7, done = 0; done < n; word += FLOW_STEP, skip = 0) {
		if (skip == 0)
			for (; n - done >= 8; done += 8, word += FLOW_STEP)
				if (memcpy(&there, p + done, 8), there != word)
					break;
		for (size_t i = skip; i < 8 && done < n; i++, done++)
			if (p[done] != ((unsigned char *)&word)[i])
				return done;
	}
	return n;
}

#endif
