/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/macro.h"
#include "cli/cli.h"

/*
 * Where 0, 1 or 2 are closed, the next file that is opened would become one of them, and get what is
 * meant for stdout. They are filled in such a way that using them still fails.
 */
static void open_standard_fds(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* The lowest free descriptor is fd, as those below it are open. */
		_unused_ int opened = /* inherited by what is executed: no O_CLOEXEC */
			open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
	}
}

static int run_command(const struct cli_command *command, const char *const *argv)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cli_args args;

	if (cli_args_parse(command, argv, &args, &err) < 0)
		return cli_fail(command, "%s (see `cove %s --help`)", err.message,
				cli_command_name(command));
	int status = 0;
	if (args.values.help)
		cli_help_command(stdout, command);
	else
		status = command->run(&args);
	status = cli_finish(command, status);
	cli_args_done(&args);
	return status;
}

static int help(const struct cli_command *command)
{
	if (command)
		cli_help_command(stdout, command);
	else
		cli_help_main(stdout);
	return cli_finish(command, 0);
}

static bool is_help(const char *arg)
{
	return !strcmp(arg, "--help") || !strcmp(arg, "-h");
}

int main(int argc _unused_, char **arguments)
{
	const char *const *argv = (const char *const *)arguments;
	const struct cli_command *const *commands = cli_commands;
	const struct cli_command *command = NULL;

	open_standard_fds();
	if (*argv) /* the program's name */
		argv++;
	if (*argv && !strcmp(*argv, "--version"))
		return run_command(&cmd_version, argv + 1);
	if (*argv && !strcmp(*argv, "--dump-options")) {
		cli_dump_options(stdout);
		return cli_finish(NULL, 0);
	}

	/* "image", and then "ls" */
	while (commands) {
		if (!*argv) {
			cli_note(command, "a command is needed (see `cove %s%s--help`)",
				 command ? command->name : "", command ? " " : "");
			return CLI_EXIT_FAILURE;
		}
		if (is_help(*argv))
			return help(command);
		const struct cli_command *found = cli_command_find(commands, *argv);
		if (!found)
			return cli_fail(command, "%s %s (see `cove %s%s--help`)",
					**argv == '-' ? "unknown option" : "there is no command",
					*argv, command ? command->name : "", command ? " " : "");
		command = found;
		commands = command->subcommands;
		argv++;
	}
	return run_command(command, argv);
}
