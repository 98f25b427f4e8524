/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_PROCESS_H
#define LIB_PROCESS_H

/*
 * A command as it runs: a stream of events, with its standard input, signals and kill. Everything
 * that runs commands is built on it; cove_exec() is process_recv() in a loop.
 *
 * Events come in this order: STARTED; STDOUT, STDERR, STDIN_ERROR and GAP in any order and number;
 * and one terminal event, EXITED, FAILED or LOST, after which there is nothing more. EXITED comes
 * after the last byte that was written by then: the byte offsets and totals of the protocol are
 * checked, and if they do not fit the terminal event is LOST with COVE_E_PROTOCOL.
 *
 * Output waits here until it is received, at most WIRE_INITIAL_WINDOW per channel; the command
 * blocks when it is not.
 */

#include <cove/cove.h>

#include "lib/connection.h"

struct process;

enum process_event_kind {
	PROCESS_STARTED, /* pid, id */
	PROCESS_STDOUT,	 /* data, size; the data lives until the next process_recv() */
	PROCESS_STDERR,
	PROCESS_STDIN_ERROR, /* os_errno: the command reads no more of its input */
	PROCESS_GAP,	     /* channel, missing: so many bytes are not there any more */
	PROCESS_EXITED,	     /* exit, totals */
	PROCESS_FAILED,	     /* error: it did not start */
	PROCESS_LOST,	     /* error: how it ended is unknown */
};

struct process_event {
	enum process_event_kind kind;
	int pid;
	const char *id; /* lives as long as the process */
	const uint8_t *data;
	size_t size;
	int os_errno;
	unsigned channel; /* WIRE_STDOUT, WIRE_STDERR */
	uint64_t missing;
	struct cove_exit exit;
	uint64_t totals[2]; /* bytes written to stdout and stderr */
	const struct cove_error *error;
};

/* All of a command's standard input at once, borrowed until process_free(). */
struct process_input {
	const void *data;
	size_t size;
};

/*
 * Sends the request. `message` and what it points to are not needed afterwards. input: what the
 * command is to read, with message->stdin PIPE; NULL where process_stdin_write() will give it. What
 * can go wrong on the other side comes as an event; here: LOST, NO_MEMORY, START with E2BIG.
 */
int process_start(struct connection *c, const Cove__Wire__Exec *message,
		  const struct process_input *input, struct process **ret, struct cove_error *err);

/*
 * Lets go of it. The command is not killed, and what it writes from now on goes to nobody here. No
 * other call on it may be under way.
 */
struct process *process_free(struct process *p);
DEFINE_CLEANUP(struct process *, process_free)

/*
 * The next event. 1: *ret is one; 0: there was a terminal event before. TIMEOUT: none came before
 * the deadline. One thread at a time: STATE for a second one.
 */
int process_recv(struct process *p, uint64_t deadline, struct process_event *ret,
		 struct cove_error *err);

/*
 * Writes all n bytes, waiting while the command does not read. SYSTEM with EPIPE (or what else the
 * guest said) when it reads no more, STATE when the input is closed or the command has ended. One
 * thread at a time.
 */
int process_stdin_write(struct process *p, const void *data, size_t n, struct cove_error *err);
/* End of file after what was written. Closing twice is fine. */
int process_stdin_close(struct process *p, struct cove_error *err);

/* To the leader's process group. INVALID: no such signal. STATE: it has ended. */
int process_signal(struct process *p, int signal, struct cove_error *err);
/* SIGKILL to everything it has started; returns when that is gone. STATE: it had ended. */
int process_kill(struct process *p, struct cove_error *err);
/* The same, without waiting for anything. */
void process_kill_nowait(struct process *p);

#endif
