/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_PROCESS_INTERNAL_H
#define LIB_PROCESS_INTERNAL_H

/*
 * What process.c (life, receiving), process-events.c (what comes in) and process-control.c (standard
 * input, signals) share. All of it under the connection's lock.
 */

#include "base/buffer.h"
#include "base/name.h"
#include "lib/process.h"

#define N_OUTPUTS	2
#define OUTPUT(channel) ((channel)-WIRE_STDOUT)

/*
 * How many changes between stdout and stderr are remembered for giving the two back in the order in
 * which they came. That order is a nicety, not a promise (the agent reads two pipes), so when a
 * command goes back and forth more often than its output is received, it is lost, no byte is.
 */
#define RUNS_MAX 256

/* So many bytes of one channel after another. */
struct run {
	unsigned output;
	size_t size;
};

struct output {
	/*
	 * What comes in is appended to `incoming`. The receiving thread swaps it with `lent` when
	 * that is used up, so the bytes an event points to are never moved by the reader.
	 */
	struct buffer incoming;
	struct buffer lent;
	uint64_t received; /* the offset after the last byte that came in */
	uint64_t missing;  /* bytes before the first one, not told of yet */
};

enum process_state {
	PROCESS_STARTING, /* nothing has come yet */
	PROCESS_RUNNING,  /* STARTED has */
	PROCESS_ENDED,	  /* EXITED has; the last bytes may still be on their way */
	PROCESS_BROKEN,	  /* `failure` says why */
};

struct process {
	struct stream stream;
	struct connection *connection;
	enum process_state state;
	bool receiving;	   /* a thread is in process_recv() */
	bool told_started; /* events that were handed out */
	bool told_terminal;
	bool resumed; /* the session was there before: the beginning of its output may not be */

	int pid;
	char id[SESSION_ID_MAX_BYTES + 1];
	struct cove_exit exit;
	uint64_t totals[N_OUTPUTS];
	struct cove_error failure;

	struct output outputs[N_OUTPUTS];
	struct run runs[RUNS_MAX]; /* a ring */
	unsigned first_run;
	unsigned n_runs;
	struct run lent; /* what the last event pointed to */

	/* Standard input: what is not sent yet is the caller's memory. */
	const uint8_t *input;
	size_t input_size;
	uint64_t input_offset; /* of input[0] in the channel */
	bool input_whole;      /* all of it was given to process_start() */
	bool input_held;       /* not before STARTED says how much of it was read before */
	bool input_closed;
	bool writing; /* a thread is in process_stdin_write() */
	int input_errno;
	bool told_input_error;

	uint32_t last_request;
	struct list acks; /* struct ack, of the threads that wait for one */
};

struct ack {
	struct list entry;
	uint32_t request;
	bool done;
	struct cove_error failure; /* code != 0: refused */
};

extern const struct stream_ops process_ops;

void process_set_state(struct process *p, enum process_state state);
/* Has ended, or nothing more will be known of it. */
bool process_over(const struct process *p);
/* Has ended, and all that it had written by then is here. */
bool process_complete(const struct process *p);
/* Why nothing can be asked of the command (any more); 0 if it can. */
int process_not_running(struct process *p, struct cove_error *err);

/* The members of process_ops. */
void process_on_event(struct stream *stream, const struct wire_event *event);
size_t process_on_peek(struct stream *stream, size_t max, struct wire_chunk *ret);
void process_on_consumed(struct stream *stream, size_t n);

#endif
