/* SPDX-License-Identifier: Apache-2.0 */
#include "samples.h"

#include <stdlib.h>
#include <string.h>

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
	printf("%-52s %6s %10s %10s %-5s %8s  %s\n", "what", "n", "median", "p99", "", "ratio",
	       "reach");
}

void samples_print(const struct samples *s, const struct samples *baseline, const char *reach)
{
	char ratio[32] = "";
	if (baseline && samples_median(baseline) > 0)
		snprintf(ratio, sizeof(ratio), "%.2fx",
			 samples_median(s) / samples_median(baseline));
	printf("%-52s %6zu %10.2f %10.2f %-5s %8s  %s\n", s->name, s->n, samples_median(s),
	       samples_percentile(s, 99), s->unit, ratio, reach ? reach : "");
	fflush(stdout);
}

void samples_write_json(FILE *f, struct samples *const *all, size_t n)
{
	fprintf(f, "{\n");
	for (size_t i = 0; i < n; i++) {
		fprintf(f, "  \"%s\": {\"unit\": \"%s\", \"values\": [", all[i]->name,
			all[i]->unit);
		for (size_t k = 0; k < all[i]->n; k++)
			fprintf(f, "%s%.6g", k ? ", " : "", all[i]->values[k]);
		fprintf(f, "]}%s\n", i + 1 < n ? "," : "");
	}
	fprintf(f, "}\n");
}
