/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

static int run(struct cli_args *args)
{
	const char *argv[] = { "cove-supervisor", "--doctor", args->values.json ? "--json" : NULL,
			       NULL };
	return cli_become(args->command, argv[0], argv);
}

static const struct cli_option options[] = {
	{ "json", 0, CLI_FLAG, NULL, CLI_AT(bool, json), .help = "a JSON object" },
};
static const struct cli_group group = { "doctor", "Options", options, ARRAY_SIZE(options) };

const struct cli_command cmd_doctor = {
	.name = "doctor",
	.section = CLI_SECTION_MORE,
	.synopsis = "[options]",
	.summary = "say what this machine offers, what Cove uses, and why",
	.details = "The exit status is 0 when sandboxes can run here.\n",
	.groups = { &group },
	.run = run,
};
