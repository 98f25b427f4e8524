/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of the end of a command, and its exit status, however it was run. */
#include <errno.h>
#include <string.h>

#include "cli/execute.h"

int cli_exit_status(const struct cove_exit *exit)
{
	return exit->cause == COVE_CAUSE_TIMED_OUT ? CLI_EXIT_TIMEOUT : exit->code & 0xff;
}

int ending_start_failure(const struct cli_args *args, const char *program,
			 const struct cove_error *err)
{
	const struct cli_command *command = args->command;
	const char *hint = NULL;

	if (err->code != COVE_E_START || err->stage != COVE_STAGE_EXEC)
		return cli_fail_error(command, err, NULL);
	if (program && *program == '-')
		hint = "options of cove come before the name or image";
	cli_fail_error(command, err, hint);
	return err->os_errno == ENOENT ? CLI_EXIT_NOT_FOUND : CLI_EXIT_NO_EXEC;
}

/* What the exit status alone does not say: 137 can be six things. */
void ending_note(const struct cli_args *args, const struct cove_exit *exit)
{
	const char *name = sigabbrev_np(exit->signal);
	char size[32];

	switch (exit->cause) {
	case COVE_CAUSE_EXITED:
		break;
	case COVE_CAUSE_SIGNALED:
	case COVE_CAUSE_KILLED:
		cli_note(args->command, "the command was ended by signal %d%s%s%s%s", exit->signal,
			 name ? ", SIG" : "", name ? name : "",
			 exit->cause == COVE_CAUSE_KILLED ? ", through Cove" : "",
			 exit->core_dumped ? " (core dumped)" : "");
		break;
	case COVE_CAUSE_TIMED_OUT:
		cli_note(args->command, "the command was killed at its timeout, after %.1f s",
			 (double)exit->elapsed_ns / 1e9);
		break;
	case COVE_CAUSE_OOM_KILLED:
		cli_note(args->command,
			 "the command was killed because the guest ran out of memory "
			 "(--memory gives a sandbox more)");
		break;
	case COVE_CAUSE_OUTPUT_LIMIT:
		cli_size_text(args->values.output_limit_bytes, size, sizeof(size));
		cli_note(args->command,
			 "the command was killed: it wrote more than %s (--output-limit)",
			 args->values.output_limit_bytes ? size : "it may");
		break;
	case COVE_CAUSE_STOPPED:
		cli_note(args->command, "the command was ended because its sandbox was stopped");
		break;
	}
}
