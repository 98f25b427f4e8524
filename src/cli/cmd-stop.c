/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>

#include "cli/cli.h"

static int stop(const struct cli_args *args, const char *name)
{
	struct cove_stop_options options = COVE_STOP_OPTIONS_INIT;
	_cleanup_(cli_sandbox_freep) cove_sandbox *sandbox = NULL;
	struct cove_error err = COVE_ERROR_INIT;

	int r = cove_sandbox_connect(name, &sandbox, &err);
	if (r == COVE_E_STATE) /* it has ended already, which is what was asked for */
		return 0;
	if (r == 0) {
		/* To the library 0 is the default; to users of `docker stop -t 0` it is "now". */
		options.grace_ms = args->values.stop_grace_ms;
		r = options.grace_ms ? cove_sandbox_stop(sandbox, &options, &err)
				     : cove_sandbox_kill(sandbox, &err);
	}
	return r < 0 ? cli_fail_error(args->command, &err, NULL) : 0;
}

static int run(struct cli_args *args)
{
	int status = 0;

	for (int i = 0; i < args->n_operands; i++) {
		int one = stop(args, args->operands[i]);
		if (one == 0)
			puts(args->operands[i]);
		else
			status = one;
	}
	return status;
}

static const struct cli_option options[] = {
	{ "time", 't', CLI_DURATION, "DUR", CLI_AT(uint64_t, stop_grace_ms), 0, INT_MAX,
	  .help = "from SIGTERM to SIGKILL for the commands in it, 10s by default; with 0 the "
		  "power is cut" },
};
static const struct cli_group group = { "stop", "Options", options, ARRAY_SIZE(options) };

const struct cli_command cmd_stop = {
	.name = "stop",
	.section = CLI_SECTION_SANDBOXES,
	.synopsis = "[options] NAME...",
	.summary = "end sandboxes in order and keep their disks",
	.groups = { &group },
	.needs = { "a sandbox's name" },
	.max_operands = -1,
	.operand = CLI_OPERAND_SANDBOX,
	.run = run,
};
