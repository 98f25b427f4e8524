/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

static int run(struct cli_args *args)
{
	struct cove_error err = COVE_ERROR_INIT;
	int status = 0;

	for (int i = 0; i < args->n_operands; i++) {
		const char *name = args->operands[i];
		int r = cove_sandbox_remove(name, args->values.force, &err);
		if (r < 0)
			status =
				cli_fail_error(args->command, &err,
					       r == COVE_E_STATE ? "--force kills it first" : NULL);
		else
			puts(name);
	}
	return status;
}

static const struct cli_option options[] = {
	{ "force", 'f', CLI_FLAG, NULL, CLI_AT(bool, force), .help = "kill those that run" },
};
static const struct cli_group group = { "rm", "Options", options, ARRAY_SIZE(options) };

const struct cli_command cmd_rm = {
	.name = "rm",
	.section = CLI_SECTION_SANDBOXES,
	.synopsis = "[options] NAME...",
	.summary = "remove sandboxes that have ended, with their disks",
	.groups = { &group },
	.needs = { "a sandbox's name" },
	.max_operands = -1,
	.operand = CLI_OPERAND_SANDBOX,
	.run = run,
};
