/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cli/cli.h"

static const char *const titles[CLI_TABLE_COLUMNS] = { "SESSION", "STATE", "TTY",
						       "VIEWERS", "AGE",   "COMMAND" };

static void state_text(const struct cove_session_info *info, char *buffer)
{
	const struct cove_exit *exit = &info->exit;
	const char *name = sigabbrev_np(exit->signal);

	if (info->state != COVE_SESSION_ENDED)
		snprintf(buffer, CLI_CELL_BYTES, "%s", cove_session_state_name(info->state));
	else if (exit->cause == COVE_CAUSE_EXITED)
		snprintf(buffer, CLI_CELL_BYTES, "exited %d", exit->code);
	else if (exit->cause == COVE_CAUSE_SIGNALED)
		snprintf(buffer, CLI_CELL_BYTES, "signaled %s", name ? name : "?");
	else
		snprintf(buffer, CLI_CELL_BYTES, "%s", cove_cause_name(exit->cause));
}

/* Since its start, by the guest's clock, which may be another one than ours. */
static void age_text(const struct cove_session_info *info, char *buffer)
{
	static const struct {
		const char *name;
		uint64_t s;
	} units[] = { { "d", 86400 }, { "h", 3600 }, { "m", 60 }, { "s", 1 } };
	uint64_t now = clock_realtime_ns();
	uint64_t s = now > info->started_ns ? (now - info->started_ns) / 1000000000 : 0;
	size_t i = 0;

	while (i < ARRAY_SIZE(units) - 1 && s < units[i].s)
		i++;
	snprintf(buffer, CLI_CELL_BYTES, "%llu%s", (unsigned long long)(s / units[i].s),
		 units[i].name);
}

#define COMMAND_BYTES 64 /* a line should stay one */

static void command_text(const struct cove_session_info *info, char *buffer)
{
	size_t n = 0;

	*buffer = 0;
	for (const char *const *arg = info->argv; *arg && n < COMMAND_BYTES; arg++) {
		int k = snprintf(buffer + n, COMMAND_BYTES + 1 - n, "%s%s", n ? " " : "",
				 **arg ? *arg : "''");
		n += (size_t)k;
	}
	if (n > COMMAND_BYTES) {
		n = COMMAND_BYTES; /* not amid a character */
		while (n > 0 && ((unsigned char)buffer[n - 1] & 0xc0) == 0x80)
			n--;
		if (n > 0 && (unsigned char)buffer[n - 1] >= 0xc0)
			n--;
		snprintf(buffer + n, CLI_CELL_BYTES - n, "…");
	}
	cli_make_harmless(buffer);
}

static void fill(const void *items, size_t i, struct cli_row *ret)
{
	const struct cove_session_info *info = ((struct cove_session_info *const *)items)[i];

	snprintf(ret->cells[0], CLI_CELL_BYTES, "%s", info->id);
	cli_make_harmless(ret->cells[0]);
	state_text(info, ret->cells[1]);
	if (info->tty)
		snprintf(ret->cells[2], CLI_CELL_BYTES, "%ux%u", info->cols, info->rows);
	else
		snprintf(ret->cells[2], CLI_CELL_BYTES, "-");
	snprintf(ret->cells[3], CLI_CELL_BYTES, "%u", info->viewers);
	age_text(info, ret->cells[4]);
	command_text(info, ret->cells[5]);
}

static int run(struct cli_args *args)
{
	_cleanup_(cli_sandbox_freep) cove_sandbox *sandbox = NULL;
	_cleanup_(cli_sessions_done) struct cli_sessions sessions = { NULL, 0 };

	sandbox = cli_sandbox_connect(args, args->operands[0]);
	if (!sandbox)
		return CLI_EXIT_FAILURE;
	if (cli_sessions_list(args, sandbox, &sessions) < 0)
		return CLI_EXIT_FAILURE;

	_cleanup_free_ struct cove_session_info **shown = calloc(sessions.n + 1, sizeof(*shown));
	size_t n = 0;
	if (!shown)
		return cli_fail(args->command, "out of memory");
	for (size_t i = 0; i < sessions.n; i++)
		if (args->values.all || sessions.items[i]->state == COVE_SESSION_RUNNING)
			shown[n++] = sessions.items[i];

	if (args->values.json)
		return cli_print_sessions(args->command, shown, n) < 0 ? CLI_EXIT_FAILURE : 0;
	if (!args->values.quiet)
		cli_print_table(titles, n, shown, fill);
	for (size_t i = 0; args->values.quiet && i < n; i++)
		puts(shown[i]->id);
	return 0;
}

static const struct cli_option options[] = {
	{ "all", 'a', CLI_FLAG, NULL, CLI_AT(bool, all),
	  .help = "also those that have ended, as long as they are remembered" },
	{ "quiet", 'q', CLI_FLAG, NULL, CLI_AT(bool, quiet), .help = "only the ids" },
	{ "json", 0, CLI_FLAG, NULL, CLI_AT(bool, json), .help = "a JSON array" },
};
static const struct cli_group group = { "sessions", "Options", options, ARRAY_SIZE(options) };

const struct cli_command cmd_sessions = {
	.name = "sessions",
	.section = CLI_SECTION_COMMANDS,
	.synopsis = "[options] NAME",
	.summary = "list the commands that run in a sandbox",
	.groups = { &group },
	.needs = { "a sandbox's name" },
	.max_operands = 1,
	.operand = CLI_OPERAND_SANDBOX,
	.run = run,
};
