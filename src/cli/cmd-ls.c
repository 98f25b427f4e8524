/* SPDX-License-Identifier: Apache-2.0 */
#include <time.h>

#include "cli/cli.h"

struct infos {
	struct cove_sandbox_info **items;
	size_t n;
};

static void infos_done(struct infos *infos)
{
	cove_sandbox_list_free(infos->items, infos->n);
}

static const char *const titles[CLI_TABLE_COLUMNS] = { "NAME", "IMAGE",	 "STATE",
						       "CPUS", "MEMORY", "CREATED" };

static void fill(const void *items, size_t i, struct cli_row *ret)
{
	const struct cove_sandbox_info *info = ((struct cove_sandbox_info *const *)items)[i];
	struct tm tm;
	time_t created = (time_t)(info->created_ns / 1000000000);

	snprintf(ret->cells[0], CLI_CELL_BYTES, "%s", info->name);
	snprintf(ret->cells[1], CLI_CELL_BYTES, "%s", info->image);
	cli_state_text(info, ret->cells[2], CLI_CELL_BYTES);
	snprintf(ret->cells[3], CLI_CELL_BYTES, "%u", info->cpus);
	cli_size_text(info->memory_bytes, ret->cells[4], CLI_CELL_BYTES);
	if (!localtime_r(&created, &tm) ||
	    !strftime(ret->cells[5], CLI_CELL_BYTES, "%Y-%m-%d %H:%M:%S", &tm))
		snprintf(ret->cells[5], CLI_CELL_BYTES, "?");
}

static int run(struct cli_args *args)
{
	_cleanup_(infos_done) struct infos infos = { NULL, 0 };
	struct cove_error err = COVE_ERROR_INIT;

	if (cove_sandbox_list(&infos.items, &infos.n, &err) < 0)
		return cli_fail_error(args->command, &err, NULL);

	_cleanup_free_ struct cove_sandbox_info **shown = calloc(infos.n + 1, sizeof(*shown));
	size_t n = 0;
	if (!shown)
		return cli_fail(args->command, "out of memory");
	for (size_t i = 0; i < infos.n; i++)
		if (args->values.all || infos.items[i]->state != COVE_SANDBOX_ENDED)
			shown[n++] = infos.items[i];

	if (args->values.json)
		return cli_print_infos(args->command, shown, n) < 0 ? CLI_EXIT_FAILURE : 0;
	if (!args->values.quiet)
		cli_print_table(titles, n, shown, fill);
	for (size_t i = 0; args->values.quiet && i < n; i++)
		puts(shown[i]->name);
	return 0;
}

static const struct cli_option options[] = {
	{ "all", 'a', CLI_FLAG, NULL, CLI_AT(bool, all), .help = "also those that have ended" },
	{ "quiet", 'q', CLI_FLAG, NULL, CLI_AT(bool, quiet), .help = "only the names" },
	{ "json", 0, CLI_FLAG, NULL, CLI_AT(bool, json), .help = "a JSON array" },
};
static const struct cli_group group = { "ls", "Options", options, ARRAY_SIZE(options) };

const struct cli_command cmd_ls = {
	.name = "ls",
	.alias = "ps",
	.section = CLI_SECTION_SANDBOXES,
	.synopsis = "[options]",
	.summary = "list the sandboxes that run",
	.groups = { &group },
	.run = run,
};
