/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

static int run(struct cli_args *args)
{
	struct cli_job job = { .args = args, .argv = args->operands + 1 };

	int status = cli_job_check(args);
	if (status)
		return status;
	job.sandbox = cli_sandbox_connect(args, args->operands[0]);
	return job.sandbox ? cli_job_run(&job) : CLI_EXIT_FAILURE;
}

const struct cli_command cmd_exec = {
	.name = "exec",
	.section = CLI_SECTION_COMMANDS,
	.synopsis = "[options] NAME COMMAND [ARG...]",
	.summary = "run a command in a running sandbox",
	.details =
		"Options come before NAME; what follows it is executed as it is, without a shell.\n"
		"Its output comes as it is written. Ctrl-C and other signals go to the command; a\n"
		"second Ctrl-C within a second kills it and all that it started. With -it all keys\n"
		"are the command's, but for ctrl-], which leaves it running. With -d it prints the\n"
		"session's id, for `cove attach`, `logs`, `wait` and `kill`.\n",
	.groups = { &cli_group_environment, &cli_group_command },
	.command_follows = true,
	.needs = { "a sandbox's name", "a command" },
	.max_operands = -1,
	.operand = CLI_OPERAND_SANDBOX,
	.run = run,
};
