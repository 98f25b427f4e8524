/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

static int run(struct cli_args *args)
{
	_cleanup_(cli_sandbox_freep) cove_sandbox *sandbox = cli_sandbox_create(args, true);
	if (!sandbox)
		return CLI_EXIT_FAILURE;
	puts(cove_sandbox_name(sandbox));
	return 0;
}

const struct cli_command cmd_create = {
	.name = "create",
	.section = CLI_SECTION_SANDBOXES,
	.synopsis = "[options] IMAGE",
	.summary = "start a sandbox, leave it running, print its name",
	.details = "It runs until `cove stop`. Its disk stays until `cove rm`.\n",
	.groups = { &cli_group_sandbox, &cli_group_environment },
	.needs = { "an image" },
	.max_operands = 1,
	.operand = CLI_OPERAND_IMAGE,
	.run = run,
};
