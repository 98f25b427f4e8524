/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/execute.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

/* In the order of enum cove_stream. */
enum { OUT, ERR, N_SINKS };

/* There is one in a process, and it lives as long: see execute.h. */
static struct execution {
	const struct cli_args *args;
	const char *program; /* NULL: a script */
	cove_process *process;
	bool is_viewer; /* it was started by others, who have their own readers */
	struct sink sinks[N_SINKS];
	struct pump pump;
	struct forward forward;
} execution = { .forward.lock = PTHREAD_MUTEX_INITIALIZER };

int execute_start_thread(void *(*run)(void *), void *data)
{
	pthread_attr_t attributes;
	pthread_t thread;

	int r = pthread_attr_init(&attributes);
	if (r)
		return -r;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &attributes, run, data);
	pthread_attr_destroy(&attributes);
	return -r;
}

static void note_limit(const struct sink *sink, const char *stream, uint64_t total)
{
	if (sink->policy != COVE_OUTPUT_KILL && !sink->closed && sink->written < total)
		cli_note(sink->command, "%s was cut by --output-limit: %s %llu of %llu bytes",
			 stream, sink->policy == COVE_OUTPUT_TAIL ? "the last" : "the first",
			 (unsigned long long)sink->written, (unsigned long long)total);
}

/* The user asked for this very ending, here; `seq 1000000 | head` has no messages either. */
static bool is_no_news(struct execution *x, const struct cove_exit *exit)
{
	if (exit->cause != COVE_CAUSE_SIGNALED && exit->cause != COVE_CAUSE_KILLED)
		return false;
	if (exit->signal == SIGPIPE && (x->sinks[OUT].closed || x->sinks[ERR].closed))
		return true;
	return forward_was_sent(&x->forward, exit->signal);
}

/* All output has been written, and nobody is waited for any more. */
static int finish(struct execution *x, const struct cove_event *event)
{
	const struct cove_exit *exit = &event->exit;

	for (int i = 0; i < N_SINKS; i++)
		sink_end(&x->sinks[i]);
	if (event->kind == COVE_EVENT_FAILED)
		return ending_start_failure(x->args, x->program, event->error);
	if (event->kind == COVE_EVENT_LOST)
		return cli_fail_error(x->args->command, event->error, NULL);

	if (exit->cause != COVE_CAUSE_OUTPUT_LIMIT) {
		note_limit(&x->sinks[OUT], "stdout", event->stdout_total);
		note_limit(&x->sinks[ERR], "stderr", event->stderr_total);
	}
	if (!is_no_news(x, exit))
		ending_note(x->args, exit);
	if (x->sinks[OUT].failed || x->sinks[ERR].failed || atomic_load(&x->pump.failed))
		return CLI_EXIT_FAILURE;
	return cli_exit_status(exit);
}

static void put(struct execution *x, const struct cove_event *event)
{
	struct sink *sink = &x->sinks[event->kind == COVE_EVENT_STDOUT ? OUT : ERR];

	/*
	 * As in a pipeline, the command learns of it when it goes on writing. That it has ended, or
	 * cannot be told, comes as an event as well. A viewer has nothing to close.
	 */
	if (!sink_put(sink, event->data, event->bytes) && !x->is_viewer)
		cove_process_close_output(
			x->process, sink->fd == STDOUT_FILENO ? COVE_STDOUT : COVE_STDERR, NULL);
}

static int follow(struct execution *x)
{
	struct cove_error err = COVE_ERROR_INIT;
	const struct cove_event *event;
	int r;

	while ((r = cove_process_recv(x->process, &event, -1, &err)) > 0) {
		switch (event->kind) {
		case COVE_EVENT_STARTED:
		case COVE_EVENT_STDIN_ERROR: /* nothing has gone wrong */
			break;
		case COVE_EVENT_STDOUT:
		case COVE_EVENT_STDERR:
			put(x, event);
			if (x->is_viewer && x->sinks[OUT].closed)
				return x->sinks[OUT].failed ? CLI_EXIT_FAILURE : 128 + SIGPIPE;
			break;
		case COVE_EVENT_GAP:
			cli_note_gap(x->args, event->missing_bytes,
				     event->stream == COVE_STDOUT ? "stdout" : "stderr");
			break;
		case COVE_EVENT_EXITED:
		case COVE_EVENT_FAILED:
		case COVE_EVENT_LOST:
			forward_end(&x->forward);
			return finish(x, event);
		}
	}
	return cli_fail_error(x->args->command, &err, NULL);
}

static void begin(struct execution *x, const struct cli_args *args)
{
	x->args = args;
	for (int i = 0; i < N_SINKS; i++)
		x->sinks[i] = (struct sink){
			.command = args->command,
			.fd = i == OUT ? STDOUT_FILENO : STDERR_FILENO,
			.policy = (enum cove_output_policy)args->values.output_policy,
			.limit = args->values.output_limit_bytes,
		};
	signal(SIGPIPE, SIG_IGN); /* it is for the command, see put() */
}

/* What has a thread of its own: what may wait, while output comes. */
static int start_threads(struct execution *x, bool sandbox_is_ours)
{
	const struct cli_command *command = x->args->command;

	int r = forward_start(&x->forward, command, sandbox_is_ours,
			      cove_process_control(x->process));
	if (r == 0 && x->args->values.interactive)
		r = pump_start(&x->pump, command, cove_process_take_stdin(x->process));
	return r;
}

int execute_run(const struct cli_job *job)
{
	struct execution *x = &execution;
	const struct cli_values *v = &job->args->values;
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	struct cove_error err = COVE_ERROR_INIT;

	begin(x, job->args);
	x->program = job->argv ? job->argv[0] : NULL;
	job_options(job, &options);
	options.stdin_mode = v->interactive ? COVE_STDIN_PIPE : COVE_STDIN_NULL;
	options.tty = x->forward.resizes = v->tty;
	forward_hold(&x->forward);
	if (v->tty) /* after that: a change from here on is a signal */
		terminal_size(STDOUT_FILENO, &options.rows, &options.cols);
	if (job_start(job, &options, &x->process, &err) < 0)
		return ending_start_failure(x->args, x->program, &err);
	int r = start_threads(x, job->sandbox_is_ours);
	if (r < 0) {
		cove_process_kill(x->process, NULL);
		return cli_fail(x->args->command, "cannot start a thread: %s", error_errno_text(r));
	}
	return follow(x);
}

int execute_view(const struct cli_args *args, cove_process *process)
{
	struct execution *x = &execution;

	begin(x, args);
	x->process = process;
	x->is_viewer = true;
	if (!args->values.only_look) {
		forward_hold(&x->forward);
		int r = start_threads(x, false);
		if (r < 0)
			return cli_fail(args->command, "cannot start a thread: %s",
					error_errno_text(r));
	}
	return follow(x);
}
