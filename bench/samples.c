/* SPDX-License-Identifier: Apache-2.0 */
#include "samples.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"

#define ROWS_MAX 64

static const struct samples *printed[ROWS_MAX];
static size_t n_printed;

void samples_add(struct samples *s, double value)
{
	if (s->n < SAMPLES_MAX)
		s->values[s->n++] = value;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

double samples_percentile(const struct samples *s, double percent)
{
	if (s->n == 0)
		return 0;
	static double sorted[SAMPLES_MAX];
	memcpy(sorted, s->values, s->n * sizeof(*sorted));
	qsort(sorted, s->n, sizeof(*sorted), compare);
	size_t i = (size_t)(percent / 100 * (double)(s->n - 1) + 0.5);
	return sorted[i];
}

double samples_median(const struct samples *s)
{
	return samples_percentile(s, 50);
}

void samples_print_header(void)
{
	printf("%-58s %5s %10s %10s %-5s %7s  %s\n", "what", "n", "median", "p99", "", "ratio",
	       "reach");
}

/* What is aimed at, in words; false when one of it is missed. */
static bool judge(const struct samples *s, double ratio, const struct reach *reach, char *text,
		  size_t size)
{
	double median = samples_median(s), p99 = samples_percentile(s, 99);
	const struct {
		double limit, value;
		bool at_least;
		const char *format;
	} aims[] = {
		{ reach->min, median, true, ">= %g" },
		{ reach->max, median, false, "<= %g" },
		{ reach->min_ratio, ratio, true, ">= %gx" },
		{ reach->max_ratio, ratio, false, "<= %gx" },
		{ reach->max_p99, p99, false, "p99 <= %g" },
		{ reach->max_p99_ratio, p99 / median, false, "p99 <= %g medians" },
	};
	bool met = true;
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_SIZE(aims); i++) {
		if (aims[i].limit <= 0 || n + 2 >= size)
			continue;
		if (n > 0)
			n += (size_t)snprintf(text + n, size - n, ", ");
		char part[64];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* those of the table above */
		snprintf(part, sizeof(part), aims[i].format, aims[i].limit);
#pragma GCC diagnostic pop
		n += (size_t)snprintf(text + n, size - n, "%s", part);
		if (aims[i].at_least ? aims[i].value < aims[i].limit
				     : aims[i].value > aims[i].limit)
			met = false;
	}
	return met;
}

void samples_print(const struct samples *s, const struct samples *baseline,
		   const struct reach *reach)
{
	char ratio_text[32] = "", reach_text[128] = "";
	double ratio = 0;
	bool met = true;
	if (baseline && samples_median(baseline) > 0) {
		ratio = samples_median(s) / samples_median(baseline);
		snprintf(ratio_text, sizeof(ratio_text), "%.2fx", ratio);
	}
	if (reach)
		met = judge(s, ratio, reach, reach_text, sizeof(reach_text));
	printf("%-58s %5zu %10.2f %10.2f %-5s %7s  %s%s\n", s->name, s->n, samples_median(s),
	       samples_percentile(s, 99), s->unit, ratio_text, reach_text, met ? "" : "  (missed)");
	fflush(stdout);
	if (n_printed < ROWS_MAX)
		printed[n_printed++] = s;
}

void samples_write_json(FILE *f)
{
	fprintf(f, "{\n");
	for (size_t i = 0; i < n_printed; i++) {
		const struct samples *s = printed[i];
		fprintf(f, "  \"%s\": {\"unit\": \"%s\", \"median\": %.6g, \"p99\": %.6g, ",
			s->name, s->unit, samples_median(s), samples_percentile(s, 99));
		fprintf(f, "\"values\": [");
		for (size_t k = 0; k < s->n; k++)
			fprintf(f, "%s%.6g", k ? ", " : "", s->values[k]);
		fprintf(f, "]}%s\n", i + 1 < n_printed ? "," : "");
	}
	fprintf(f, "}\n");
}
