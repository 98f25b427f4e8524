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
	const char *id = args->operands[1];
	_cleanup_(cli_sandbox_freep) cove_sandbox *sandbox = NULL;
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_exit exit;

	sandbox = cli_sandbox_connect(args, args->operands[0]);
	if (!sandbox)
		return CLI_EXIT_FAILURE;
	int r = cove_session_wait(sandbox, id, -1, &exit, &err);
	/* Of several at once, one collects; to the others it is gone. */
	if (r == 0 && args->values.collect)
		r = cove_session_collect(sandbox, id, NULL, &err);
	return r < 0 ? cli_fail_error(args->command, &err, NULL) : cli_exit_status(&exit);
}

static int run(struct cli_args *args)
{
	if (args->n_operands > 1)
		return wait_for_session(args);
	if (args->values.collect)
		return cli_fail(args->command, "--collect: only with a session's id");
	return wait_for_sandbox(args);
}

static const struct cli_option options[] = {
	{ "collect", 0, CLI_FLAG, NULL, CLI_AT(bool, collect),
	  .help = "then have the sandbox forget the session: its output and its result" },
};
static const struct cli_group group = { "wait", "Options", options, ARRAY_SIZE(options) };

const struct cli_command cmd_wait = {
	.name = "wait",
	.section = CLI_SECTION_COMMANDS,
	.synopsis = "[options] NAME [SESSION]",
	.summary = "wait until a command, or a sandbox, has ended",
	.details =
		"With SESSION, exits like the command did, and prints nothing. Without, prints in\n"
		"a word how the sandbox ended.\n",
	.groups = { &group },
	.needs = { "a sandbox's name" },
	.max_operands = 2,
	.operand = CLI_OPERAND_SESSION,
	.run = run,
};
