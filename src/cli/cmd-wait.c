/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

static inline void info_freep(struct cove_sandbox_info **info)
{
	cove_sandbox_info_free(*info);
}

static int wait_for_sandbox(const struct cli_args *args)
{
	const char *name = args->operands[0];
	_cleanup_(cli_sandbox_freep) cove_sandbox *sandbox = NULL;
	_cleanup_(info_freep) struct cove_sandbox_info *info = NULL;
	struct cove_error err = COVE_ERROR_INIT;

	int r = cove_sandbox_connect(name, &sandbox, &err);
	if (r == 0)
		cove_sandbox_wait(sandbox, -1, &info, &err);
	else if (r == COVE_E_STATE) /* it has ended already */
		cove_sandbox_inspect(name, &info, &err);
	if (!info)
		return cli_fail_error(args->command, &err, NULL);
	puts(cove_end_cause_name(info->end_cause));
	return 0;
}

static int wait_for_session(const struct cli_args *args)
{
	struct cove_open_options options = COVE_OPEN_OPTIONS_INIT;
	_cleanup_(cli_sandbox_freep) cove_sandbox *sandbox = NULL;
	_cleanup_(cli_process_freep) cove_process *process = NULL;
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_exit exit;

	sandbox = cli_sandbox_connect(args, args->operands[0]);
	if (!sandbox)
		return CLI_EXIT_FAILURE;
	options.no_output = true;
	options.read_only = true;
	int r = cove_process_open(sandbox, args->operands[1], &options, &process, &err);
	if (r == 0)
		r = cove_process_wait(process, -1, &exit, &err);
	return r < 0 ? cli_fail_error(args->command, &err, NULL) : cli_exit_status(&exit);
}

static int run(struct cli_args *args)
{
	return args->n_operands > 1 ? wait_for_session(args) : wait_for_sandbox(args);
}

const struct cli_command cmd_wait = {
	.name = "wait",
	.section = CLI_SECTION_COMMANDS,
	.synopsis = "NAME [SESSION]",
	.summary = "wait until a command, or a sandbox, has ended",
	.details = "With SESSION, which is what was given to the command as --id, exits like the\n"
		   "command did, and prints nothing. Without, prints in a word how the sandbox\n"
		   "ended.\n",
	.groups = { NULL },
	.needs = { "a sandbox's name" },
	.max_operands = 2,
	.operand = CLI_OPERAND_SANDBOX,
	.run = run,
};
