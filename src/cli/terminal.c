/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on this terminal: the library has it while they run, and what follows is said here. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/execute.h"

bool terminal_size(int fd, unsigned *ret_rows, unsigned *ret_cols)
{
	struct winsize size;

	if (ioctl(fd, TIOCGWINSZ, &size) < 0 || !size.ws_row || !size.ws_col)
		return false;
	*ret_rows = size.ws_row;
	*ret_cols = size.ws_col;
	return true;
}

/* All --detach-keys as one, "" where each of them is; NULL without any. -1 after a message. */
static int join_keys(const struct cli_args *args, char **ret)
{
	const struct cli_list *list = &args->values.detach_keys;
	_cleanup_free_ char *keys = NULL;
	size_t size = 1;

	for (size_t i = 0; i < list->n; i++)
		size += strlen(list->items[i]) + 1;
	if (list->n && !(keys = calloc(1, size))) {
		cli_note(args->command, "out of memory");
		return -1;
	}
	char *end = keys;
	for (size_t i = 0; i < list->n; i++) {
		if (*keys && *list->items[i])
			end = stpcpy(end, " ");
		end = stpcpy(end, list->items[i]);
	}
	*ret = TAKE_PTR(keys);
	return 0;
}

int terminal_check_keys(const struct cli_args *args)
{
	_cleanup_free_ char *keys = NULL;
	struct cove_error err = COVE_ERROR_INIT;

	if (join_keys(args, &keys) < 0)
		return CLI_EXIT_FAILURE;
	if (cove_detach_keys_check(keys, &err) < 0)
		return cli_fail(args->command, "--detach-keys: %s", err.message);
	return 0;
}

int terminal_check(const struct cli_args *args, bool only_look)
{
	int status = terminal_check_keys(args);
	if (status)
		return status;
	if (only_look && !isatty(STDOUT_FILENO))
		return cli_fail(args->command,
				"stdout is not a terminal (without --tty, it gets the command's "
				"output as it is)");
	if (only_look || isatty(STDIN_FILENO))
		return 0;
	return cli_fail(args->command, "stdin is not a terminal (%s)",
			args->n_operands == args->command->terminal_operands
				? "a script can be given as an argument"
				: "without --tty, the command gets it as it is");
}

/* The cursor is where the command left it. */
static void leave_line(void)
{
	if (isatty(STDERR_FILENO)) {
		_unused_ ssize_t k = write(STDERR_FILENO, "\n", 1);
	}
}

/* What remains of a command that somebody left, in a sandbox that stays. */
static void note_left(const struct cli_args *args, const cove_sandbox *sandbox,
		      const struct cove_attach_result *result)
{
	leave_line();
	if (args->values.kill_on_disconnect)
		cli_note(args->command,
			 "detached, and the command was killed (--kill-on-disconnect)");
	else
		cli_note(args->command, "detached; \"cove attach %s %s\" comes back to it",
			 cove_sandbox_name(sandbox), result->id);
	if (result->unsent_bytes)
		cli_note(args->command,
			 "%llu bytes that were typed did not reach the command, which was not "
			 "reading",
			 (unsigned long long)result->unsent_bytes);
}

static int end_exited(const struct cli_args *args, const struct cove_attach_result *result)
{
	const struct cove_exit *exit = &result->exit;
	bool typed = exit->signal == SIGINT || exit->signal == SIGQUIT; /* Ctrl-C, Ctrl-\ */

	if (exit->cause != COVE_CAUSE_SIGNALED || !typed)
		ending_note(args, exit);
	return cli_exit_status(exit);
}

static void note_missing(const struct cli_args *args, const struct cove_attach_result *result)
{
	if (result->missing_bytes)
		cli_note_gap(args, result->missing_bytes, "output");
}

/*
 * Our own sandbox outlives us only if it was detached, and then it ends with the command: until the
 * supervisor has both, it ends with us, however that comes.
 */
static int end_ours(struct cli_job *job, const struct cove_attach_result *result)
{
	const struct cli_args *args = job->args;
	struct cove_detach_options options = COVE_DETACH_OPTIONS_INIT;
	struct cove_error err = COVE_ERROR_INIT;

	if (result->end == COVE_ATTACH_INTERRUPTED) {
		leave_line();
		cli_note(args->command, "ended by signal %d, SIG%s, and the sandbox with it",
			 result->signal, sigabbrev_np(result->signal));
		return 128 + result->signal;
	}
	options.until_session = result->id;
	if (!args->values.kill_on_disconnect) {
		if (cove_sandbox_detach(job->sandbox, &options, &err) < 0)
			return cli_fail_error(args->command, &err, NULL);
		job->sandbox_left = true;
	}
	note_left(args, job->sandbox, result);
	return 0;
}

/*
 * Nothing is wrong with the command, which may have been started; its id is not known here. That nobody
 * reads stdout any more is no failure, but a command that goes on for nobody has to be spoken of.
 */
static int fail_here(const struct cli_args *args, const struct cove_error *err, bool runs_on)
{
	runs_on = runs_on && !args->values.kill_on_disconnect;
	if (err->os_errno == EPIPE) {
		if (runs_on)
			cli_note(args->command, "nobody reads the output any more; the command "
						"goes on: see `cove sessions`");
		return 128 + SIGPIPE;
	}
	return cli_fail_error(args->command, err,
			      runs_on ? "the command goes on, if it runs: see `cove sessions`"
				      : NULL);
}

static int end_attached(struct cli_job *job, const struct cove_attach_result *result)
{
	if (result->end == COVE_ATTACH_EXITED)
		return end_exited(job->args, result);
	if (job->sandbox_is_ours)
		return end_ours(job, result);
	note_left(job->args, job->sandbox, result);
	return result->end == COVE_ATTACH_INTERRUPTED ? 128 + result->signal : 0;
}

int terminal_run(struct cli_job *job)
{
	const struct cli_args *args = job->args;
	struct cove_attach_options options = COVE_ATTACH_OPTIONS_INIT;
	struct cove_exec_options exec = COVE_EXEC_OPTIONS_INIT;
	_cleanup_free_ char *keys = NULL;
	struct cove_attach_result result;
	struct cove_error err = COVE_ERROR_INIT;

	if (join_keys(args, &keys) < 0)
		return CLI_EXIT_FAILURE;
	job_options(job, &exec);
	options.exec = &exec;
	options.detach_keys = keys;
	options.script = job->script;
	signal(SIGPIPE, SIG_IGN); /* stdout may be a pipe: that it is closed is an error then */
	int r = job->argv ? cove_attach(job->sandbox, job->argv, &options, &result, &err)
			  : cove_attach_shell(job->sandbox, &options, &result, &err);
	if (r == 0)
		return end_attached(job, &result);
	if (r == COVE_E_SYSTEM) /* of this terminal, or of what stdout is */
		return fail_here(args, &err, !job->sandbox_is_ours);
	if (r == COVE_E_LOST || r == COVE_E_PROTOCOL)
		leave_line();
	return ending_start_failure(args, job->argv ? job->argv[0] : NULL, &err);
}

int terminal_attach(const struct cli_args *args, cove_sandbox *sandbox, const char *id)
{
	const struct cli_values *v = &args->values;
	struct cli_job job = { .args = args, .sandbox = sandbox };
	struct cove_attach_options options = COVE_ATTACH_OPTIONS_INIT;
	_cleanup_free_ char *keys = NULL;
	struct cove_attach_result result;
	struct cove_error err = COVE_ERROR_INIT;

	if (join_keys(args, &keys) < 0)
		return CLI_EXIT_FAILURE;
	options.detach_keys = keys;
	options.from = v->since.from;
	options.stdout_offset = v->since.stdout_offset;
	options.lossy = v->lossy;
	options.read_only = v->only_look;
	signal(SIGPIPE, SIG_IGN);
	int r = cove_attach_session(sandbox, id, &options, &result, &err);
	if (r < 0) {
		if (r == COVE_E_SYSTEM)
			return fail_here(args, &err, true);
		if (r == COVE_E_LOST || r == COVE_E_PROTOCOL)
			leave_line();
		return cli_fail_error(args->command, &err, NULL);
	}
	int status = end_attached(&job, &result);
	note_missing(args, &result);
	return status;
}
