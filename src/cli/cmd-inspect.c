/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

static void info_freep(struct cove_sandbox_info **info)
{
	cove_sandbox_info_free(*info);
}

static int run(struct cli_args *args)
{
	_cleanup_(info_freep) struct cove_sandbox_info *info = NULL;
	struct cove_error err = COVE_ERROR_INIT;

	if (cove_sandbox_inspect(args->operands[0], &info, &err) < 0)
		return cli_fail_error(args->command, &err, NULL);
	return cli_print_info(args->command, info) < 0 ? CLI_EXIT_FAILURE : 0;
}

static const struct cli_option options[] = {
	{ "json", 0, CLI_FLAG, NULL, CLI_AT(bool, json),
	  .help = "as JSON; always so, accepted out of habit" },
};
static const struct cli_group group = { "inspect", "Options", options, ARRAY_SIZE(options) };

const struct cli_command cmd_inspect = {
	.name = "inspect",
	.section = CLI_SECTION_SANDBOXES,
	.synopsis = "[options] NAME",
	.summary = "print all there is to know about a sandbox, as JSON",
	.groups = { &group },
	.needs = { "a sandbox's name" },
	.max_operands = 1,
	.operand = CLI_OPERAND_SANDBOX,
	.run = run,
};
