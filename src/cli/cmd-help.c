/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

static int run(struct cli_args *args)
{
	const struct cli_command *command = NULL;
	const struct cli_command *const *commands = cli_commands;

	for (int i = 0; i < args->n_operands; i++) {
		command = commands ? cli_command_find(commands, args->operands[i]) : NULL;
		if (!command)
			return cli_fail(args->command, "there is no command %s (see `cove help`)",
					args->operands[i]);
		commands = command->subcommands;
	}
	if (command)
		cli_help_command(stdout, command);
	else
		cli_help_main(stdout);
	return 0;
}

const struct cli_command cmd_help = {
	.name = "help",
	.section = CLI_SECTION_MORE,
	.synopsis = "[COMMAND]",
	.summary = "print help, of Cove or of a command",
	.max_operands = 2,
	.operand = CLI_OPERAND_COMMAND,
	.run = run,
};
