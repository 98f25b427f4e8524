/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static inline void output_freep(cove_output **out)
{
	cove_output_free(*out);
}

/* As shells have it: 127 there is no such command, 126 there is but it cannot be executed. */
static int start_failure(const struct cli_args *args, const struct cove_error *err,
			 const char *command)
{
	const char *hint = NULL;

	if (err->code != COVE_E_START || err->stage != COVE_STAGE_EXEC)
		return cli_fail_error(args->command, err, NULL);
	if (command && *command == '-')
		hint = "options of cove come before the name or image";
	cli_fail_error(args->command, err, hint);
	return err->os_errno == ENOENT ? CLI_EXIT_NOT_FOUND : CLI_EXIT_NO_EXEC;
}

static void note_limit(const struct cli_args *args, const char *stream, uint64_t kept,
		       uint64_t total)
{
	if (kept < total)
		cli_note(args->command, "%s was cut by --output-limit: %s %llu of %llu bytes",
			 stream,
			 args->values.output_policy == COVE_OUTPUT_TAIL ? "the last" : "the first",
			 (unsigned long long)kept, (unsigned long long)total);
}

/* What the exit status alone does not say: 137 can be six things. */
static void note_ending(const struct cli_args *args, const cove_output *out)
{
	const struct cove_exit *exit = &out->exit;
	const char *name = sigabbrev_np(exit->signal);
	char size[32];

	switch (exit->cause) {
	case COVE_CAUSE_EXITED:
		break;
	case COVE_CAUSE_SIGNALED:
		cli_note(args->command, "the command was ended by signal %d%s%s%s", exit->signal,
			 name ? ", SIG" : "", name ? name : "",
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
	case COVE_CAUSE_KILLED:
		cli_note(args->command, "the command was killed through Cove");
		break;
	case COVE_CAUSE_OUTPUT_LIMIT:
		cli_size_text(args->values.output_limit_bytes, size, sizeof(size));
		cli_note(args->command,
			 "the command was killed: it wrote more than %s "
			 "(--output-limit)",
			 size);
		break;
	case COVE_CAUSE_STOPPED:
		cli_note(args->command, "the command was ended because its sandbox was stopped");
		break;
	}
}

static int finish(const struct cli_args *args, const cove_output *out)
{
	const struct cli_command *command = args->command;

	if (cli_write(command, STDOUT_FILENO, out->stdout_data, out->stdout_bytes) < 0 ||
	    cli_write(command, STDERR_FILENO, out->stderr_data, out->stderr_bytes) < 0)
		return CLI_EXIT_FAILURE;
	if (out->exit.cause != COVE_CAUSE_OUTPUT_LIMIT) {
		note_limit(args, "stdout", out->stdout_bytes, out->stdout_total);
		note_limit(args, "stderr", out->stderr_bytes, out->stderr_total);
	}
	note_ending(args, out);
	return out->exit.cause == COVE_CAUSE_TIMED_OUT ? CLI_EXIT_TIMEOUT : out->exit.code & 0xff;
}

int cli_execute(const struct cli_args *args, cove_sandbox *sandbox, const char *const *argv,
		const char *script, bool defaults_are_set)
{
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	const struct cli_values *v = &args->values;
	struct cove_error err = COVE_ERROR_INIT;
	_cleanup_(output_freep) cove_output *out = NULL;
	int r;

	if (!defaults_are_set) {
		options.cwd = v->workdir;
		options.user = v->user;
		options.env = (const char *const *)v->env.items;
	}
	options.timeout_ms = v->timeout_ms;
	options.timeout_signal = (int)v->timeout_signal;
	options.timeout_grace_ms = v->timeout_grace_ms;
	options.rlimits = v->rlimits;
	options.n_rlimits = v->n_rlimits;
	options.output_limit_bytes = v->output_limit_bytes;
	options.output_policy = (enum cove_output_policy)v->output_policy;
	options.linger_ms = (unsigned)v->linger_ms;
	options.wait_eof = v->wait_eof;
	options.kill_tree_on_exit = v->kill_tree_on_exit;
	options.id = v->id;

	r = argv ? cove_exec(sandbox, argv, &options, &out, &err)
		 : cove_shell(sandbox, script, &options, &out, &err);
	if (r < 0 && !out)
		return start_failure(args, &err, argv ? argv[0] : NULL);
	return finish(args, out);
}
