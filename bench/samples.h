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

/* What is aimed at. Zero: nothing. */
struct reach {
	double min, max;	     /* of the median */
	double min_ratio, max_ratio; /* of the median, to the baseline's median */
	double max_p99;
	double max_p99_ratio; /* of the 99th percentile, to the row's own median */
};

void samples_add(struct samples *s, double value);
double samples_percentile(const struct samples *s, double percent);
double samples_median(const struct samples *s);

/*
 * Prints a row of the table and takes it up into the JSON, so `s` must live on. With a baseline (may
 * be NULL) the row says the ratio of the medians; with a reach (may be NULL), whether it is met.
 */
void samples_print(const struct samples *s, const struct samples *baseline,
		   const struct reach *reach);
void samples_print_header(void);
/* All printed rows as one JSON object, name → {unit, median, p99, values}. */
void samples_write_json(FILE *f);

#endif
