/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_EXECUTE_H
#define CLI_EXECUTE_H

/*
 * A command in a sandbox as if it were one of this machine. The main thread (execute.c) receives what
 * the command writes and writes it out, and may be held up by a slow reader at any time. So what must
 * not wait for that has threads of its own: standard input (pump.c), and signals (forward.c).
 * docs/decisions/cli-threads.md says why.
 *
 * No thread is waited for at the end: one may be in a read() of a terminal where nobody types. All
 * that they use is never freed, and the process ends by exit(), or in forward.c.
 */

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cove/cove.h>

#include "cli/cli.h"

/* A thread that nobody joins. */
int execute_start_thread(void *(*run)(void *), void *data) _must_check_;

/* Runs it; see cli_job_run(). */
int execute_run(const struct cli_job *job);
/*
 * Shows a session that was there before, from where process was opened, and is its stdin with
 * --interactive. With --read-only, signals are not passed on, either. The exit status, as of the
 * command. Takes process.
 */
int execute_view(const struct cli_args *args, cove_process *process);

/* Starting (job.c) ------------------------------------------------------------------------------ */

/* How the command is to be run, but for its stdin and its terminal. Points into job. */
void job_options(const struct cli_job *job, struct cove_exec_options *ret);
/* Starts it. */
int job_start(const struct cli_job *job, const struct cove_exec_options *options,
	      cove_process **ret, struct cove_error *err);

/* The end (ending.c) ---------------------------------------------------------------------------- */

/*
 * Says why it was not started, and gives the exit status, as shells have it: 127 there is no such
 * command, 126 there is but it cannot be executed. program: what was to be started; NULL: the shell.
 */
int ending_start_failure(const struct cli_args *args, const char *program,
			 const struct cove_error *err);
/* Says what the exit status alone does not. */
void ending_note(const struct cli_args *args, const struct cove_exit *exit);

/* This terminal (terminal.c) -------------------------------------------------------------------- */

/*
 * That there is one, and that the detach keys are some: 0, or the exit status, after a message.
 * only_look: nobody types, stdout is what has to be one.
 */
int terminal_check(const struct cli_args *args, bool only_look);
/* The second of these alone. */
int terminal_check_keys(const struct cli_args *args);
/* Runs it on this terminal, as ssh does; see cli_job_run(). */
int terminal_run(struct cli_job *job);
/* Comes back to a session that has a terminal: the exit status. */
int terminal_attach(const struct cli_args *args, cove_sandbox *sandbox, const char *id);
/* The size of the terminal that this descriptor is. False: it is none, or has no size. */
bool terminal_size(int fd, unsigned *ret_rows, unsigned *ret_cols);

/* What the command writes, to stdout or stderr (sink.c) ----------------------------------------- */

struct sink {
	const struct cli_command *command;
	int fd;
	enum cove_output_policy policy; /* KILL: no limit here, the guest sees to it */
	uint64_t limit;
	uint64_t written; /* where there is a limit */
	bool closed;	  /* takes no more: nobody reads, or it failed */
	bool failed;	  /* it was said why */

	/* TAIL: a ring once it is as large as the limit */
	uint8_t *tail;
	size_t tail_start, tail_size, tail_capacity;
};

/* False when it is closed now: the command may as well stop writing. */
bool sink_put(struct sink *sink, const void *data, size_t n);
/* Prints what was kept back, and frees it. */
void sink_end(struct sink *sink);

/* Standard input (pump.c) ----------------------------------------------------------------------- */

#define PUMP_BUFFER_BYTES (64u * 1024)

struct pump {
	const struct cli_command *command;
	cove_stdin *in;
	atomic_bool failed; /* stdin could not be read to its end; it was said why */
	uint8_t buffer[PUMP_BUFFER_BYTES];
};

/* Passes on our stdin from now on. Takes in. */
int pump_start(struct pump *pump, const struct cli_command *command, cove_stdin *in) _must_check_;

/* Signals (forward.c) --------------------------------------------------------------------------- */

struct forward {
	const struct cli_command *command;
	bool sandbox_is_ours; /* it ends with this process */
	sigset_t set;	      /* what is forwarded: those that were not ignored at the start */
	bool resizes; /* the command has a terminal, of the size of the one that is our stdout */
	cove_control *control;

	pthread_mutex_t lock;
	uint64_t pending;   /* bit n - 1: signal n is to be sent */
	uint64_t sending;   /* it is being sent, and not confirmed yet */
	uint64_t delivered; /* it was */
	uint64_t delivered_ms;
	bool sender_runs; /* the thread that sends them */
	bool killing;	  /* the kill was asked for */
	bool ended;	  /* there is nobody to send anything to any more */
};

/*
 * From now on signals wait, in all threads: to be called before the command is started, so that none
 * ends this process when the command runs already.
 */
void forward_hold(struct forward *forward);
/* Passes them on, those that came meanwhile too. Takes control. */
int forward_start(struct forward *forward, const struct cli_command *command, bool sandbox_is_ours,
		  cove_control *control) _must_check_;
/* The command has ended: signals do what they do to any program. */
void forward_end(struct forward *forward);
/* That the command was ended by this signal is no news to the one who sent it through us. */
bool forward_was_sent(struct forward *forward, int signal);

#endif
