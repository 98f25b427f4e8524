/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/execute.h"

/* The ids in a message; there may be a thousand. */
#define LIST_BYTES 256

static void add_id(char *list, const char *id)
{
	size_t n = strlen(list);

	if (n + strlen(id) + sizeof(", , …") < LIST_BYTES)
		snprintf(list + n, LIST_BYTES - n, "%s%s", n ? ", " : "", id);
	else if (n < sizeof("…") || strcmp(list + n - strlen("…"), "…") != 0)
		snprintf(list + n, LIST_BYTES - n, ", …");
}

/* The only session that runs, or else the only one of them with a terminal: 0, or the exit status. */
static int choose(const struct cli_args *args, cove_sandbox *sandbox,
		  char ret[COVE_SESSION_ID_BYTES])
{
	_cleanup_(cli_sessions_done) struct cli_sessions sessions = { NULL, 0 };
	const struct cove_session_info *any = NULL, *terminal = NULL;
	char list[LIST_BYTES] = "";
	size_t n = 0, n_terminals = 0;

	if (cli_sessions_list(args, sandbox, &sessions) < 0)
		return CLI_EXIT_FAILURE;
	for (size_t i = 0; i < sessions.n; i++) {
		const struct cove_session_info *info = sessions.items[i];
		if (info->state != COVE_SESSION_RUNNING)
			continue;
		n++;
		any = info;
		if (info->tty) {
			n_terminals++;
			terminal = info;
		}
		add_id(list, info->id);
	}
	if (n > 1)
		any = n_terminals == 1 ? terminal : NULL;
	if (!any && n)
		return cli_fail(args->command, "%zu commands run in %s, say which one: %s", n,
				cove_sandbox_name(sandbox), list);
	if (!any)
		return cli_fail(args->command,
				"no command runs in %s (`cove sessions --all %s` lists those that "
				"have ended)",
				cove_sandbox_name(sandbox), cove_sandbox_name(sandbox));
	snprintf(ret, COVE_SESSION_ID_BYTES, "%s", any->id);
	return 0;
}

/* What the session is: 0, or the exit status, when there is none. */
static int look(const struct cli_args *args, cove_sandbox *sandbox, const char *id, bool *ret_tty)
{
	struct cove_open_options options = COVE_OPEN_OPTIONS_INIT;
	_cleanup_(cli_process_freep) cove_process *process = NULL;
	struct cove_error err = COVE_ERROR_INIT;
	const struct cove_event *event = NULL;

	options.no_output = true;
	options.read_only = true;
	int r = cove_process_open(sandbox, id, &options, &process, &err);
	if (r == 0)
		r = cove_process_recv(process, &event, -1, &err);
	if (r < 0 || !event)
		return cli_fail_error(args->command, &err, NULL);
	if (event->kind != COVE_EVENT_STARTED)
		return cli_fail_error(args->command, event->error, NULL);
	*ret_tty = event->tty;
	return 0;
}

static int view(const struct cli_args *args, cove_sandbox *sandbox, const char *id)
{
	const struct cli_values *v = &args->values;
	struct cove_open_options options = COVE_OPEN_OPTIONS_INIT;
	struct cove_error err = COVE_ERROR_INIT;
	cove_process *process;

	options.from = v->since.from;
	options.stdout_offset = v->since.stdout_offset;
	options.stderr_offset = v->since.stderr_offset;
	options.lossy = v->lossy;
	options.read_only = v->only_look;
	options.keep_stdin_open = !v->only_look; /* it ends with ours, not when we go away */
	if (cove_process_open(sandbox, id, &options, &process, &err) < 0)
		return cli_fail_error(args->command, &err, NULL);
	return execute_view(args, process);
}

static int run(struct cli_args *args)
{
	const struct cli_values *v = &args->values;
	char id[COVE_SESSION_ID_BYTES];
	bool tty = false;

	if (v->only_look && v->interactive)
		return cli_fail(args->command, "--interactive: not with --read-only");
	int status = terminal_check_keys(args);
	if (status)
		return status;
	cove_sandbox *sandbox = cli_sandbox_connect(args, args->operands[0]);
	if (!sandbox)
		return CLI_EXIT_FAILURE;
	cli_sandbox_keep(sandbox);
	if (args->n_operands > 1)
		snprintf(id, sizeof(id), "%s", args->operands[1]);
	else
		status = choose(args, sandbox, id);
	if (status == 0)
		status = look(args, sandbox, id, &tty);
	if (status)
		return status;
	if (!tty || (v->only_look && !isatty(STDIN_FILENO)))
		return view(args, sandbox, id);
	if (!isatty(STDIN_FILENO))
		return cli_fail(args->command,
				"%s has a terminal, and stdin is none (--read-only "
				"shows it without)",
				id);
	return terminal_attach(args, sandbox, id);
}

static const struct cli_option options[] = {
	{ "interactive", 'i', CLI_FLAG, NULL, CLI_AT(bool, interactive),
	  .help = "pass stdin to a command without a terminal" },
	{ "since", 0, CLI_SINCE, "OFFSET[:OFFSET]", CLI_AT(struct cli_since, since),
	  .help = "where the output begins: bytes of stdout and of stderr, start, the default, "
		  "for all that is kept, or now" },
	{ "read-only", 0, CLI_FLAG, NULL, CLI_AT(bool, only_look),
	  .help = "only look: nothing is passed to the command, and Ctrl-C ends only this cove" },
	{ "lossy", 0, CLI_FLAG, NULL, CLI_AT(bool, lossy),
	  .help = "lose output rather than make the command wait for this terminal" },
	{ "detach-keys", 0, CLI_LIST, "KEYS", CLI_AT(struct cli_list, detach_keys),
	  .help = "what to type to leave it again: keys separated by commas; ctrl-] by default, "
		  "none if empty; may be repeated" },
};
static const struct cli_group group = { "attach", "Options", options, ARRAY_SIZE(options) };

const struct cli_command cmd_attach = {
	.name = "attach",
	.section = CLI_SECTION_COMMANDS,
	.synopsis = "[options] NAME [SESSION]",
	.summary = "come back to a command that runs, or has ended",
	.details =
		"Without SESSION, to the only one that runs, or the only one with a terminal.\n"
		"A command with a terminal gets all keys, and ctrl-] leaves it running. That of\n"
		"one without comes as with `cove exec`. The exit status is the command's.\n",
	.groups = { &group },
	.needs = { "a sandbox's name" },
	.max_operands = 2,
	.operand = CLI_OPERAND_SESSION,
	.run = run,
};
