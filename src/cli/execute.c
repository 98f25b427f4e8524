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
	cove_sandbox *sandbox;
	cove_process *process;
	struct sink sinks[N_SINKS];
	struct pump pump;
	struct forward forward;
} execution;

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

int cli_exit_status(const struct cove_exit *exit)
{
	return exit->cause == COVE_CAUSE_TIMED_OUT ? CLI_EXIT_TIMEOUT : exit->code & 0xff;
}

/* As shells have it: 127 there is no such command, 126 there is but it cannot be executed. */
static int start_failure(const struct execution *x, const struct cove_error *err)
{
	const struct cli_command *command = x->args->command;
	const char *hint = NULL;

	if (err->code != COVE_E_START || err->stage != COVE_STAGE_EXEC)
		return cli_fail_error(command, err, NULL);
	if (x->program && *x->program == '-')
		hint = "options of cove come before the name or image";
	cli_fail_error(command, err, hint);
	return err->os_errno == ENOENT ? CLI_EXIT_NOT_FOUND : CLI_EXIT_NO_EXEC;
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

/* What the exit status alone does not say: 137 can be six things. */
static void note_ending(const struct cli_args *args, const struct cove_exit *exit)
{
	const char *name = sigabbrev_np(exit->signal);
	char size[32];

	switch (exit->cause) {
	case COVE_CAUSE_EXITED:
		break;
	case COVE_CAUSE_SIGNALED:
	case COVE_CAUSE_KILLED:
		cli_note(args->command, "the command was ended by signal %d%s%s%s%s", exit->signal,
			 name ? ", SIG" : "", name ? name : "",
			 exit->cause == COVE_CAUSE_KILLED ? ", through Cove" : "",
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

/* All output has been written, and nobody is waited for any more. */
static int finish(struct execution *x, const struct cove_event *event)
{
	const struct cove_exit *exit = &event->exit;

	for (int i = 0; i < N_SINKS; i++)
		sink_end(&x->sinks[i]);
	if (event->kind == COVE_EVENT_FAILED)
		return start_failure(x, event->error);
	if (event->kind == COVE_EVENT_LOST)
		return cli_fail_error(x->args->command, event->error, NULL);

	if (exit->cause != COVE_CAUSE_OUTPUT_LIMIT) {
		note_limit(&x->sinks[OUT], "stdout", event->stdout_total);
		note_limit(&x->sinks[ERR], "stderr", event->stderr_total);
	}
	if (!is_no_news(x, exit))
		note_ending(x->args, exit);
	if (x->sinks[OUT].failed || x->sinks[ERR].failed || atomic_load(&x->pump.failed))
		return CLI_EXIT_FAILURE;
	return cli_exit_status(exit);
}

static void put(struct execution *x, const struct cove_event *event)
{
	struct sink *sink = &x->sinks[event->kind == COVE_EVENT_STDOUT ? OUT : ERR];

	/*
	 * As in a pipeline, the command learns of it when it goes on writing. That it has ended, or
	 * cannot be told, comes as an event as well.
	 */
	if (!sink_put(sink, event->data, event->bytes))
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
			break;
		case COVE_EVENT_GAP:
			cli_note(x->args->command,
				 "%llu bytes of its %s are not kept any more (--replay)",
				 (unsigned long long)event->missing_bytes,
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

static int start(struct execution *x, const char *const *argv, const char *script,
		 bool sandbox_is_ours, struct cove_error *err)
{
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	const struct cli_values *v = &x->args->values;

	if (!sandbox_is_ours) {
		options.cwd = v->workdir;
		options.user = v->user;
		options.env = (const char *const *)v->env.items;
	}
	options.stdin_mode = v->interactive ? COVE_STDIN_PIPE : COVE_STDIN_NULL;
	options.timeout_ms = v->timeout_ms;
	options.timeout_signal = (int)v->timeout_signal;
	options.timeout_grace_ms = v->timeout_grace_ms;
	options.rlimits = v->rlimits;
	options.n_rlimits = v->n_rlimits;
	if (v->output_policy == COVE_OUTPUT_KILL) { /* the others are ours: sink.c */
		options.output_limit_bytes = v->output_limit_bytes;
		options.output_policy = COVE_OUTPUT_KILL;
	}
	options.linger_ms = (unsigned)v->linger_ms;
	options.wait_eof = v->wait_eof;
	options.kill_tree_on_exit = v->kill_tree_on_exit;
	options.kill_on_disconnect = v->kill_on_disconnect;
	options.replay_bytes = v->replay_bytes;
	options.id = v->id;
	return argv ? cove_exec_stream(x->sandbox, argv, &options, &x->process, err)
		    : cove_shell_stream(x->sandbox, script, &options, &x->process, err);
}

static int start_threads(struct execution *x, bool sandbox_is_ours)
{
	const struct cli_command *command = x->args->command;

	int r = forward_start(&x->forward, command, sandbox_is_ours,
			      cove_process_control(x->process));
	if (r == 0 && x->args->values.interactive)
		r = pump_start(&x->pump, command, cove_process_take_stdin(x->process));
	return r;
}

int cli_execute(const struct cli_args *args, cove_sandbox *sandbox, const char *const *argv,
		const char *script, bool sandbox_is_ours)
{
	struct execution *x = &execution;
	struct cove_error err = COVE_ERROR_INIT;

	x->args = args;
	x->program = argv ? argv[0] : NULL;
	x->sandbox = sandbox;
	for (int i = 0; i < N_SINKS; i++)
		x->sinks[i] = (struct sink){
			.command = args->command,
			.fd = i == OUT ? STDOUT_FILENO : STDERR_FILENO,
			.policy = (enum cove_output_policy)args->values.output_policy,
			.limit = args->values.output_limit_bytes,
		};

	signal(SIGPIPE, SIG_IGN); /* it is for the command, see put() */
	forward_hold(&x->forward);
	if (start(x, argv, script, sandbox_is_ours, &err) < 0)
		return start_failure(x, &err);
	int r = start_threads(x, sandbox_is_ours);
	if (r < 0) {
		cove_process_kill(x->process, NULL);
		return cli_fail(args->command, "cannot start a thread: %s", error_errno_text(r));
	}
	return follow(x);
}
