/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_PROCESS_INTERNAL_H
#define LIB_PROCESS_INTERNAL_H

/*
 * What process.c (life), process-events.c (what comes in), process-receive.c (what is handed out),
 * process-input.c (standard input) and process-control.c (signals) share. All of it under the
 * connection's lock.
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
#define RUNS_MAX 128

/*
 * Gaps that wait in the output of one channel. Where there are more, bytes between two of them are
 * dropped, which makes them one: this happens to viewers who would rather lose output than wait.
 */
#define GAPS_MAX 8

/* Memory for output that an idle process may keep. More goes round among all. */
#define IDLE_OUTPUT_BYTES 4096

/* So many bytes of one channel after another. */
struct run {
	uint32_t output : 1;
	uint32_t size : 31; /* ≤ WIRE_WINDOW_MAX */
};

struct gap {
	uint64_t at;
	uint64_t missing;
};

struct output {
	/*
	 * What comes in is appended to `incoming`. The receiving thread swaps it with `lent` when
	 * that is used up, so the bytes an event points to are never moved by the reader.
	 */
	struct buffer incoming;
	struct buffer lent;
	/*
	 * Offsets in the channel. handed ≤ kept ≤ received: after the last byte that an event told
	 * of, that waits here or is a gap that does, that has come.
	 */
	uint64_t handed;
	uint64_t kept;
	uint64_t received;
	uint64_t begins; /* the first that this stream gets */
	uint64_t ends;	 /* where it ends, once that is known; UINT64_MAX */
	struct gap gaps[GAPS_MAX];
	unsigned n_gaps;
	uint64_t consumed; /* bytes handed out */
	bool wide;	   /* has the large window */
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
	struct process_options options; /* without what is borrowed */
	enum process_state state;

	/* References. Without any of them it lives on as long as process_lingers(). */
	bool held; /* cove_process */
	bool stdin_held;
	bool stdin_taken;
	unsigned controls;

	bool receiving;	   /* a thread is in a receiving call */
	bool started;	   /* STARTED has come */
	bool told_started; /* events that were handed out */
	bool told_terminal;
	bool told_input_error;
	bool failed; /* it was not started, for certain */
	bool muted;  /* no output is wanted any more */
	bool owes_mute;
	bool owes_eof;

	int pid;
	char id[SESSION_ID_MAX_BYTES + 1];
	void *terminal; /* the modes that STARTED gave */
	size_t terminal_size;
	/* As STARTED had it. */
	bool was_there;
	bool tty;
	unsigned rows;
	unsigned cols;
	uint64_t written[N_OUTPUTS]; /* by then */
	struct cove_exit exit;
	uint64_t totals[N_OUTPUTS];
	struct cove_error failure;
	struct cove_event event; /* the last */

	struct output outputs[N_OUTPUTS];
	struct run runs[RUNS_MAX]; /* a ring */
	unsigned first_run;
	unsigned n_runs;
	struct run lent; /* what the last event pointed to */

	/*
	 * Standard input: first what process_stdin_try_write() took over, then the memory of the
	 * caller: of process_stdin_write(), or all that was given at the start.
	 */
	struct buffer buffered;
	const uint8_t *input;
	size_t input_size;
	void *own_input;       /* the copy of it, if there is one */
	uint64_t input_offset; /* in the channel, of the next byte to be sent */
	bool input_held;       /* not before STARTED says how much of it was read before */
	bool input_closed;
	bool writing; /* a thread is in process_stdin_write(), or process_stdin_flush() */
	bool wants_room;
	int input_errno;
	/* A question whether it has arrived; only one may be open at a time, whoever waits for it. */
	struct {
		uint32_t request; /* 0: none is open */
		uint64_t offset;
		uint64_t arrived; /* bytes, for certain */
		struct cove_error failure;
	} flush;

	uint32_t last_request;
	struct list acks; /* struct ack, of the threads that wait for one */
};

/* ---- process.c ---- */

void process_set_state(struct process *p, enum process_state state);
/* Has ended, or nothing more will be known of it. */
bool process_over(const struct process *p);
/* Has ended, and all that it had written by then is here. */
bool process_complete(const struct process *p);
/* Why nothing can be asked of the command (any more); 0 if it can. */
int process_not_running(struct process *p, struct cove_error *err);
/* BROKEN, if the connection is gone. */
void process_notice_loss(struct process *p);
/*
 * After anything that may have been the last to happen: closes the stream if nothing more is to
 * come, frees the process if nobody is left. True when it is freed.
 */
bool process_settle(struct process *p);
void process_mute(struct process *p);
/* There is an event, or room: tells an event loop. */
void process_ready(struct process *p);

/* ---- process-receive.c ---- */
void process_drop_output(struct process *p);

/* ---- process-input.c ---- */
/* Sends the end of the input, or remembers to. To be followed by connection_flush(). */
void process_send_eof(struct process *p);
/* Nobody will read the input any more. */
void process_drop_input(struct process *p);
/* Bytes taken over are not sent yet, or may not have arrived. */
bool process_input_pending(const struct process *p);
/* An ACK: perhaps that of a flush. */
void process_on_flushed(struct process *p, const Cove__Wire__Ack *m);
size_t process_on_peek(struct stream *stream, size_t max, struct wire_chunk *ret);
void process_on_consumed(struct stream *stream, size_t n);

/* ---- process-control.c ---- */
struct ack {
	struct list entry;
	uint32_t request;
	bool done;
	bool lost;		   /* the link broke, which is no answer */
	struct cove_error failure; /* code != 0: refused */
};

/* ---- process-events.c ---- */
void process_on_event(struct stream *stream, const struct wire_event *event);

#endif
