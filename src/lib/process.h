/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_PROCESS_H
#define LIB_PROCESS_H

/*
 * A command as it runs: the client's end of one stream. cove_process, cove_control and cove_stdin
 * are references to it (stream.c), and cove_exec() is one that is collected from (exec.c).
 *
 * Events come in this order: STARTED; STDOUT, STDERR, STDIN_ERROR and GAP in any order and number;
 * and one terminal event, EXITED, FAILED or LOST, after which there is nothing more. EXITED comes
 * after the last byte that was written by then: the byte offsets and totals of the protocol are
 * checked, and if they do not fit the terminal event is LOST with COVE_E_PROTOCOL.
 *
 * Output waits here until it is received, a window per channel at most; the command blocks when it
 * is not.
 */

#include <cove/cove.h>

#include "lib/connection.h"

struct process;

/* What cove_process_collect() keeps. */
struct output_limit {
	uint64_t bytes;
	enum cove_output_policy policy;
	bool enforced; /* KILL: the guest does it, for it was told to */
};

/* What a new process is to know besides its request. */
struct process_options {
	bool nonblock;
	bool owned;	      /* kill_on_disconnect: with the handle, everything goes */
	bool writable;	      /* there will be a writer of its standard input */
	bool keep_input_open; /* only process_stdin_close() ends that */
	bool collects;	      /* process_collected() will be called when it has ended */
	bool attaches;
	/* Of those: which offsets of stdout and stderr were asked for; or none, and whether output
	   may be lost, or is not wanted at all. */
	bool from_now;
	bool lossy;
	bool no_output;
	uint64_t wanted[2];

	const char *id; /* the caller's choice, or NULL */
	uint64_t timeout_ms;
	struct output_limit limit;
	void *user_data;

	/* All of its standard input. Borrowed until process_free(), or copied. */
	bool has_input;
	bool copy_input;
	const void *input;
	size_t input_size;
};

/*
 * Sends the request, WIRE_EXEC or WIRE_ATTACH. `message` and what it points to are not needed
 * afterwards. What can go wrong on the other side comes as an event; here: LOST, NO_MEMORY, AGAIN
 * (nonblock), START with E2BIG. The first reference is the process's own.
 */
int process_start(struct connection *c, const ProtobufCMessage *message,
		  const struct process_options *options, struct process **ret,
		  struct cove_error *err);

/* References, each with its own release. No other call on the same reference may be under way. */
struct process *process_free(struct process *p);
DEFINE_CLEANUP(struct process *, process_free)
struct process *process_control_ref(struct process *p);
struct process *process_control_unref(struct process *p);
struct process *process_take_stdin(struct process *p); /* NULL: there is none (any more) */
struct process *process_stdin_free(struct process *p);

/* ---- receiving, one thread at a time: STATE for a second one ---- */

/*
 * The next event. 1: *ret is one; 0: there was a terminal event before. TIMEOUT: none came before
 * the deadline.
 */
int process_recv(struct process *p, uint64_t deadline, const struct cove_event **ret,
		 struct cove_error *err);
int process_try_recv(struct process *p, const struct cove_event **ret, struct cove_error *err);
/* Takes no output any more, and waits for the end. */
int process_wait(struct process *p, uint64_t deadline, struct cove_exit *ret,
		 struct cove_error *err);
/* What the terminal event said or will say; called after it. 0, or the code of a failure. */
int process_result(struct process *p, struct cove_event *ret, struct cove_error *err);

/* ---- any thread ---- */

int process_id(struct process *p, const char **ret, struct cove_error *err);
void *process_user_data(const struct process *p);
const struct process_options *process_get_options(const struct process *p);

int process_signal(struct process *p, int signal, struct cove_error *err);
int process_kill(struct process *p, struct cove_error *err);
/* The same, without waiting for anything. */
void process_kill_nowait(struct process *p);
int process_resize(struct process *p, unsigned rows, unsigned cols, struct cove_error *err);
int process_close_output(struct process *p, enum cove_stream stream, struct cove_error *err);
/*
 * Has the guest forget the result of a command that has ended, of which all that is wanted is here. LOST:
 * the answer was, and whether it is forgotten is not known.
 */
int process_collected(struct process *p, struct cove_error *err);
/* Waits for an answer from the guest: what it had to tell when it was asked has come by then. */
int process_sync(struct process *p, uint64_t deadline, struct cove_error *err);

/* ---- standard input, one thread at a time ---- */

int process_stdin_write(struct process *p, const void *data, size_t n, struct cove_error *err);
int process_stdin_try_write(struct process *p, const void *data, size_t n, size_t *ret,
			    struct cove_error *err);
/* How much of that is waiting for the command to read. */
size_t process_stdin_waiting(struct process *p);
int process_stdin_close(struct process *p, struct cove_error *err);
/* Waits until what was written has arrived in the guest. TIMEOUT. */
int process_stdin_flush(struct process *p, uint64_t deadline, struct cove_error *err);

/* ---- event loops ---- */

/* The process of a stream that connection_dispatch() gave. */
struct process *process_of_stream(struct stream *stream);

#endif
