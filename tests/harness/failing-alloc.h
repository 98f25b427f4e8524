/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HARNESS_FAILING_ALLOC_H
#define HARNESS_FAILING_ALLOC_H

/*
 * The N-th allocation fails. Counts malloc, calloc, realloc, reallocarray, strdup, strndup,
 * asprintf, vasprintf and realpath(…, NULL) in everything that is linked statically into the test
 * (through ld's --wrap: use failing_alloc_dep in meson.build), of the calling thread. The usual
 *loop:
 *
 *	for (unsigned long n = 1;; n++) {
 *		failing_alloc_arm(n);
 *		int r = thing_new(&thing);
 *		if (!failing_alloc_disarm()) {	(fewer than n allocations: all were tried)
 *			CHECK_OK(r);
 *			break;
 *		}
 *		CHECK_INT(r, ==, -ENOMEM);
 *	}
 */

#include <stdbool.h>

/* The n-th allocation from now on fails, once; the first is 1. */
void failing_alloc_arm(unsigned long n);
/* The n-th allocation from now on fails, and so do all after it. */
void failing_alloc_arm_from(unsigned long n);
/* Back to normal. True when an allocation was made to fail. */
bool failing_alloc_disarm(void);

#endif
