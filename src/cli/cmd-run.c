/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

static int run(struct cli_args *args)
{
	struct cove_error err = COVE_ERROR_INIT;

	/*
	 * Attached: should this process end in whatever way (SIGKILL, Ctrl-C while the sandbox is
	 * being made), the sandbox ends with it.
	 */
	cove_sandbox *sandbox = cli_sandbox_create(args, false);
	if (!sandbox)
		return CLI_EXIT_FAILURE;

	int status = cli_execute(args, sandbox, args->operands + 1, NULL, true);

	/* There is nothing on its disk that anybody could want: no need for an orderly stop. */
	if (cove_sandbox_kill(sandbox, &err) < 0 && err.code != COVE_E_LOST)
		cli_fail_error(args->command, &err, NULL);
	return status;
}

static const struct cli_option options[] = {
	{ "rm", 0, CLI_FLAG, NULL, CLI_AT(bool, rm),
	  .help = "remove the sandbox afterwards; always so, accepted out of habit" },
};
static const struct cli_group group = { "run", "Options", options, ARRAY_SIZE(options) };

const struct cli_command cmd_run = {
	.name = "run",
	.section = CLI_SECTION_COMMANDS,
	.synopsis = "[options] IMAGE COMMAND [ARG...]",
	.summary = "run one command in a fresh sandbox, removed afterwards",
	.details =
		"Options come before IMAGE; what follows it is executed as it is, without a shell.\n"
		"Output, stdin and signals are as with `cove exec`.\n",
	.groups = { &cli_group_sandbox, &cli_group_environment, &cli_group_command, &group },
	.command_follows = true,
	.needs = { "an image", "a command" },
	.max_operands = -1,
	.operand = CLI_OPERAND_IMAGE,
	.run = run,
};
