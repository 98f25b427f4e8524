/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_SAMPLES_H
#define BENCH_SAMPLES_H

/* A named row of measurements: kept raw, reported as median and 99th percentile. */

#include <stddef.h>
#include <stdio.h>

#define SAMPLES_MAX 4096

struct samples {
	const char *name;
	const char *unit; /* what one sample is in: "ms", "MB/s" */
	double values[SAMPLES_MAX];
	size_t n;
};

void samples_add(struct samples *s, double value);
double samples_percentile(const struct samples *s, double percent);
double samples_median(const struct samples *s);

/*
 * One line of the table. With a baseline (may be NULL), the ratio of the medians. `reach`: what is
 * aimed at, as text.
 */
void samples_print(const struct samples *s, const struct samples *baseline, const char *reach);
void samples_print_header(void);
/* Everything as one JSON object, name → {unit, values}. */
void samples_write_json(FILE *f, struct samples *const *all, size_t n);

#endif
