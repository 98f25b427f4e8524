/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "cli/cli.h"

/*
 * Until it is known that there is such a session: an error of opening it is told as what it is, not
 * as one of the signal.
 */
static int wait_started(cove_process *process, struct cove_error *err)
{
	const struct cove_event *event;

	int r = cove_process_recv(process, &event, -1, err);
	if (r < 0)
		return r;
	if (r > 0 && event->kind == COVE_EVENT_STARTED)
		return 0;
	if (r > 0 && event->error) {
		if (err)
			*err = *event->error;
		return event->error->code;
	}
	return error_set(err, COVE_E_STATE, "the session has ended");
}

static int run(struct cli_args *args)
{
	struct cove_open_options options = COVE_OPEN_OPTIONS_INIT;
	_cleanup_(cli_sandbox_freep) cove_sandbox *sandbox = NULL;
	_cleanup_(cli_process_freep) cove_process *process = NULL;
	struct cove_error err = COVE_ERROR_INIT;

	sandbox = cli_sandbox_connect(args, args->operands[0]);
	if (!sandbox)
		return CLI_EXIT_FAILURE;
	options.no_output = true;
	int r = cove_process_open(sandbox, args->operands[1], &options, &process, &err);
	if (r == 0)
		r = wait_started(process, &err);
	if (r == 0)
		r = args->values.signal
			    ? cove_process_signal(process, (int)args->values.signal, &err)
			    : cove_process_kill(process, &err);
	return r < 0 ? cli_fail_error(args->command, &err, NULL) : 0;
}

static const struct cli_option options[] = {
	{ "signal", 's', CLI_SIGNAL, "SIG", CLI_AT(uint64_t, signal),
	  .help = "send the command's process group this signal (TERM, SIGTERM or 15) instead" },
};
static const struct cli_group group = { "kill", "Options", options, ARRAY_SIZE(options) };

const struct cli_command cmd_kill = {
	.name = "kill",
	.section = CLI_SECTION_COMMANDS,
	.synopsis = "[options] NAME SESSION",
	.summary = "kill a command and all that it started, or send it a signal",
	.details = "`cove sessions NAME` lists the ids. When it was killed, all of it is gone.\n",
	.groups = { &group },
	.needs = { "a sandbox's name", "a session's id" },
	.max_operands = 2,
	.operand = CLI_OPERAND_SESSION,
	.run = run,
};
