/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

static int run(struct cli_args *args)
{
	cove_sandbox *sandbox = cli_sandbox_connect(args, args->operands[0]);
	if (!sandbox)
		return CLI_EXIT_FAILURE;
	return cli_execute(args, sandbox, NULL, args->operands[1], false);
}

const struct cli_command cmd_shell = {
	.name = "shell",
	.section = CLI_SECTION_COMMANDS,
	.synopsis = "[options] NAME SCRIPT",
	.summary = "run a script with the sandbox's shell",
	.details = "SCRIPT is one argument: cove shell NAME 'ls -la /app && echo done'.\n"
		   "Output, stdin and signals are as with `cove exec`.\n",
	.groups = { &cli_group_environment, &cli_group_command },
	.command_follows = true,
	.needs = { "a sandbox's name", "a script" },
	.max_operands = 2,
	.operand = CLI_OPERAND_SANDBOX,
	.run = run,
};
