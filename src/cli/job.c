/* SPDX-License-Identifier: Apache-2.0 */
/* What run, exec and shell have in common: a command is started, in one of three ways. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/execute.h"

void job_options(const struct cli_job *job, struct cove_exec_options *ret)
{
	const struct cli_values *v = &job->args->values;
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;

	if (!job->sandbox_is_ours) {
		options.cwd = v->workdir;
		options.user = v->user;
		options.env = (const char *const *)v->env.items;
	}
	options.timeout_ms = v->timeout_ms;
	options.timeout_signal = (int)v->timeout_signal;
	options.timeout_grace_ms = v->timeout_grace_ms;
	options.rlimits = v->rlimits;
	options.n_rlimits = v->n_rlimits;
	/* The other policies are ours: sink.c. */
	if (v->output_limit_bytes && v->output_policy == COVE_OUTPUT_KILL) {
		options.output_limit_bytes = v->output_limit_bytes;
		options.output_policy = COVE_OUTPUT_KILL;
	}
	options.linger_ms = (unsigned)v->linger_ms;
	options.wait_eof = v->wait_eof;
	options.kill_tree_on_exit = v->kill_tree_on_exit;
	options.kill_on_disconnect = v->kill_on_disconnect;
	options.replay_bytes = v->replay_bytes;
	options.id = v->id;
	*ret = options;
}

int job_start(const struct cli_job *job, const struct cove_exec_options *options,
	      cove_process **ret, struct cove_error *err)
{
	return job->argv ? cove_exec_stream(job->sandbox, job->argv, options, ret, err)
			 : cove_shell_stream(job->sandbox, job->script, options, ret, err);
}

/* Its name is all that there is of it here: it is said in any case. */
static int say_name(const struct cli_command *command, const char *what, const char *name)
{
	signal(SIGPIPE, SIG_IGN);
	if (dprintf(STDOUT_FILENO, "%s\n", name) >= 0)
		return 0;
	return cli_fail(command, "cannot write to stdout: %s (the %s %s goes on)",
			error_errno_text(errno), what, name);
}

/* The command is left to itself, and the sandbox that was made for it to the command. */
static int leave(struct cli_job *job, const char *id)
{
	const struct cli_command *command = job->args->command;
	struct cove_detach_options options = COVE_DETACH_OPTIONS_INIT;
	struct cove_error err = COVE_ERROR_INIT;

	if (!job->sandbox_is_ours)
		return say_name(command, "session", id);
	options.until_session = id;
	if (cove_sandbox_detach(job->sandbox, &options, &err) < 0)
		return cli_fail_error(command, &err, NULL);
	job->sandbox_left = true;
	return say_name(command, "sandbox", cove_sandbox_name(job->sandbox));
}

static int run_detached(struct cli_job *job)
{
	const struct cli_values *v = &job->args->values;
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	_cleanup_(cli_process_freep) cove_process *process = NULL;
	struct cove_error err = COVE_ERROR_INIT;
	const struct cove_event *event;
	const char *program = job->argv ? job->argv[0] : NULL;

	job_options(job, &options);
	options.stdin_mode = v->interactive ? COVE_STDIN_PIPE : COVE_STDIN_NULL;
	options.keep_stdin_open = v->interactive;
	options.tty = v->tty;
	/* For the one who is likely to come back to it; the size of others is theirs when they do. */
	for (int fd = STDIN_FILENO; v->tty && fd <= STDERR_FILENO; fd++)
		if (terminal_size(fd, &options.rows, &options.cols))
			break;
	if (job_start(job, &options, &process, &err) < 0)
		return ending_start_failure(job->args, program, &err);
	if (cove_process_recv(process, &event, -1, &err) < 0)
		return cli_fail_error(job->args->command, &err, NULL);
	if (event->kind == COVE_EVENT_STARTED)
		return leave(job, event->id);
	return ending_start_failure(job->args, program, event->error);
}

int cli_job_check(const struct cli_args *args)
{
	const struct cli_values *v = &args->values;

	if (v->detach || !v->tty)
		return 0;
	return terminal_check(args, !v->interactive);
}

int cli_job_run(struct cli_job *job)
{
	const struct cli_values *v = &job->args->values;

	cli_sandbox_keep(job->sandbox);
	if (v->detach)
		return run_detached(job);
	return v->tty && v->interactive ? terminal_run(job) : execute_run(job);
}
