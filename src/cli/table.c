/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

#define LAST (CLI_TABLE_COLUMNS - 1)

static void print_row(const struct cli_row *row, const int *widths)
{
	for (int i = 0; i < LAST; i++)
		printf("%-*s", widths[i] + 2, row->cells[i]);
	puts(row->cells[LAST]);
}

void cli_print_table(const char *const titles[CLI_TABLE_COLUMNS], size_t n, const void *items,
		     void (*fill)(const void *items, size_t i, struct cli_row *ret))
{
	int widths[CLI_TABLE_COLUMNS];
	struct cli_row head = { 0 }, row = { 0 };

	for (int i = 0; i < CLI_TABLE_COLUMNS; i++) {
		snprintf(head.cells[i], sizeof(head.cells[i]), "%s", titles[i]);
		widths[i] = (int)strlen(titles[i]);
	}
	for (size_t k = 0; k < n; k++) {
		fill(items, k, &row);
		for (int i = 0; i < CLI_TABLE_COLUMNS; i++)
			widths[i] = MAX(widths[i], (int)strlen(row.cells[i]));
	}
	print_row(&head, widths);
	for (size_t k = 0; k < n; k++) {
		fill(items, k, &row);
		print_row(&row, widths);
	}
}
