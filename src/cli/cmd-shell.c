/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

static int run(struct cli_args *args)
{
	struct cli_job job = { .args = args, .script = args->operands[1] };

	int status = cli_job_check(args);
	if (status)
		return status;
	job.sandbox = cli_sandbox_connect(args, args->operands[0]);
	return job.sandbox ? cli_job_run(&job) : CLI_EXIT_FAILURE;
}

const struct cli_command cmd_shell = {
	.name = "shell",
	.section = CLI_SECTION_COMMANDS,
	.synopsis = "[options] NAME [SCRIPT]",
	.summary = "be in the sandbox's shell, or run a script with it",
	.details = "Without SCRIPT it is as if -it were given: the shell is on this terminal.\n"
		   "SCRIPT is one argument: cove shell NAME 'ls -la /app && echo done'.\n"
		   "Output, stdin and signals are then as with `cove exec`.\n",
	.groups = { &cli_group_environment, &cli_group_command },
	.command_follows = true,
	.needs = { "a sandbox's name" },
	.terminal_operands = 1,
	.max_operands = 2,
	.operand = CLI_OPERAND_SANDBOX,
	.run = run,
};
