/* SPDX-License-Identifier: Apache-2.0 */
/* All commands, in the order in which help shows them. */
#include <string.h>

#include "cli/cli.h"

const struct cli_command *const cli_commands[] = {
	&cmd_run,	 &cmd_exec, &cmd_shell,	  &cmd_attach, &cmd_sessions,
	&cmd_logs,	 &cmd_kill, &cmd_wait,	  &cmd_create, &cmd_ls,
	&cmd_inspect,	 &cmd_stop, &cmd_rm,	  &cmd_image,  &cmd_doctor,
	&cmd_completion, &cmd_help, &cmd_version, NULL,
};

const struct cli_command *cli_command_find(const struct cli_command *const *commands,
					   const char *name)
{
	for (; *commands; commands++)
		if (!strcmp((*commands)->name, name) ||
		    ((*commands)->alias && !strcmp((*commands)->alias, name)))
			return *commands;
	return NULL;
}
