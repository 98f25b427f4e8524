/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

static int run(struct cli_args *args)
{
	struct cli_job job = { .args = args, .argv = args->operands + 1, .sandbox_is_ours = true };
	struct cove_error err = COVE_ERROR_INIT;

	int status = cli_job_check(args);
	if (status)
		return status;
	/*
	 * Attached: should this process end in whatever way (SIGKILL, Ctrl-C while the sandbox is
	 * being made), the sandbox ends with it.
	 */
	job.sandbox = cli_sandbox_create(args, false);
	if (!job.sandbox)
		return CLI_EXIT_FAILURE;
	status = cli_job_run(&job);
	if (job.sandbox_left)
		return status;

	/* There is nothing on its disk that anybody could want: no need for an orderly stop. */
	if (cove_sandbox_kill(job.sandbox, &err) < 0 && err.code != COVE_E_LOST)
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
		"Output, stdin and signals are as with `cove exec`. With -d it prints the sandbox's\n"
		"name; the sandbox ends, and is removed, when the command has ended.\n",
	.groups = { &cli_group_sandbox, &cli_group_environment, &cli_group_command, &group },
	.command_follows = true,
	.needs = { "an image", "a command" },
	.max_operands = -1,
	.operand = CLI_OPERAND_IMAGE,
	.run = run,
};
