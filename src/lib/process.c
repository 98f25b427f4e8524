/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/process.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/macro.h"
#include "base/name.h"

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

/* ---- states ---- */

static void set_state(struct process *p, enum process_state state)
{
	static const unsigned allowed[] = {
		[PROCESS_STARTING] = 0,
		[PROCESS_RUNNING] = 1u << PROCESS_STARTING,
		[PROCESS_ENDED] = 1u << PROCESS_RUNNING,
		[PROCESS_BROKEN] =
			1u << PROCESS_STARTING | 1u << PROCESS_RUNNING | 1u << PROCESS_ENDED,
	};
	assert(allowed[state] & 1u << p->state);
	p->state = state;
	if (state == PROCESS_RUNNING)
		return;
	/* Nobody reads standard input any more. */
	p->input = NULL;
	p->input_size = 0;
}

static bool over(const struct process *p)
{
	return p->state == PROCESS_ENDED || p->state == PROCESS_BROKEN;
}

/* The command has ended and all that it had written by then is here. */
static bool complete(const struct process *p)
{
	return p->state == PROCESS_ENDED && p->outputs[0].received >= p->totals[0] &&
	       p->outputs[1].received >= p->totals[1];
}

/* The peer says what cannot be. The stream is given up; the command goes on without us. */
static void break_off(struct process *p, const char *format, ...) _printf_(2, 3);
static void break_off(struct process *p, const char *format, ...)
{
	char text[256];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	error_set(&p->failure, COVE_E_PROTOCOL, "%s", text);
	set_state(p, PROCESS_BROKEN);
}

/* ---- what comes in ---- */

static const char *output_name(unsigned output)
{
	return output == 0 ? "stdout" : "stderr";
}

static void check_total(struct process *p, unsigned i)
{
	if (p->state == PROCESS_ENDED && p->outputs[i].received > p->totals[i])
		break_off(p, "%s has %llu bytes, but its end says %llu", output_name(i),
			  (unsigned long long)p->outputs[i].received,
			  (unsigned long long)p->totals[i]);
}

static void add_run(struct process *p, unsigned output, size_t size)
{
	for (unsigned back = p->n_runs; back > 0; back--) {
		struct run *run = &p->runs[(p->first_run + back - 1) % RUNS_MAX];
		if (run->output == output) {
			run->size += size;
			return;
		}
		if (p->n_runs < RUNS_MAX)
			break; /* only the last one, unless there is no room for another */
	}
	assert(p->n_runs < RUNS_MAX);
	p->runs[(p->first_run + p->n_runs) % RUNS_MAX] = (struct run){ output, size };
	p->n_runs++;
}

static void on_data(struct process *p, const struct wire_event *event)
{
	unsigned i = OUTPUT(event->channel);
	struct output *o = &p->outputs[i];
	uint64_t offset = event->offset;

	/* What background processes write after the command's end is not the command's output. */
	if (p->state == PROCESS_ENDED && o->received >= p->totals[i])
		return;
	if (offset != o->received) {
		if (offset < o->received || !p->resumed || o->received > 0) {
			break_off(p, "%s jumps from byte %llu to %llu", output_name(i),
				  (unsigned long long)o->received, (unsigned long long)offset);
			return;
		}
		o->missing = offset;
		o->received = offset;
		check_total(p, i);
		if (p->state == PROCESS_BROKEN)
			return;
	}

	size_t size = event->size;
	if (p->state == PROCESS_ENDED)
		size = (size_t)MIN((uint64_t)size, p->totals[i] - o->received);
	int r = buffer_append(&o->incoming, event->data, size);
	if (r < 0) { /* never for want of room: the engine has checked the credit */
		error_set(&p->failure, COVE_E_NO_MEMORY, "out of memory for the output");
		set_state(p, PROCESS_BROKEN);
		return;
	}
	o->received += size;
	add_run(p, i, size);
}

static void on_started(struct process *p, const Cove__Wire__Started *m)
{
	if (p->state != PROCESS_STARTING || !session_id_valid(m->id.data, m->id.len)) {
		break_off(p, "a second start, or one without an id");
		return;
	}
	memcpy(p->id, m->id.data, m->id.len);
	p->pid = (int)m->pid;
	p->resumed = m->already_running;
	set_state(p, PROCESS_RUNNING);

	if (!p->input_held)
		return;
	/* Those of our bytes that were read when the command was started for the first time. */
	size_t skip = (size_t)MIN(m->stdin_offset, (uint64_t)p->input_size);
	p->input += skip;
	p->input_size -= skip;
	p->input_offset = skip;
	p->input_held = false;
	wire_link_ready(connection_link(p->connection), p->stream.id, WIRE_STDIN);
}

static void on_exited(struct process *p, const Cove__Wire__Exited *m)
{
	if (p->state != PROCESS_RUNNING) {
		break_off(p, "an end without a start");
		return;
	}
	if (m->cause > COVE_CAUSE_STOPPED) {
		break_off(p, "an end for an unknown reason (%u)", m->cause);
		return;
	}
	p->exit = (struct cove_exit){
		.cause = (enum cove_cause)m->cause,
		.code = m->code,
		.signal = (int)m->signal,
		.core_dumped = m->core_dumped,
		.started_ns = m->started_ns,
		.ended_ns = m->ended_ns,
		.elapsed_ns = m->elapsed_ns,
	};
	if (m->usage) {
		p->exit.user_us = m->usage->user_us;
		p->exit.system_us = m->usage->system_us;
		p->exit.max_rss_bytes = m->usage->max_rss_bytes;
	}
	p->totals[0] = m->stdout_total;
	p->totals[1] = m->stderr_total;
	set_state(p, PROCESS_ENDED);
	for (unsigned i = 0; i < N_OUTPUTS; i++)
		check_total(p, i);
}

static void on_failed(struct process *p, const Cove__Wire__Failure *m)
{
	if (complete(p))
		return; /* the machine died, but we have all that we came for */
	wire_failure_to_error(m, &p->failure);
	set_state(p, PROCESS_BROKEN);
}

static void on_stdin_error(struct process *p, const Cove__Wire__StdinError *m)
{
	if (p->input_errno || over(p))
		return;
	p->input_errno = m->os_errno > 0 && m->os_errno <= 4095 ? (int)m->os_errno : EPIPE;
	p->input = NULL;
	p->input_size = 0;
}

static void on_ack(struct process *p, const Cove__Wire__Ack *m)
{
	LIST_FOREACH (i, &p->acks) {
		struct ack *ack = LIST_ENTRY(i, struct ack, entry);
		if (ack->request != m->request)
			continue;
		if (m->failure)
			wire_failure_to_error(m->failure, &ack->failure);
		ack->done = true;
	}
	/* An unknown number answers a request that was not waited for. */
}

static void on_message(struct process *p, const struct wire_event *event)
{
	static const struct {
		uint8_t type;
		const ProtobufCMessageDescriptor *descriptor;
	} types[] = {
		{ WIRE_STARTED, &cove__wire__started__descriptor },
		{ WIRE_FAILED, &cove__wire__failure__descriptor },
		{ WIRE_REFUSED, &cove__wire__failure__descriptor }, /* the supervisor's no */
		{ WIRE_EXITED, &cove__wire__exited__descriptor },
		{ WIRE_STDIN_ERROR, &cove__wire__stdin_error__descriptor },
		{ WIRE_ACK, &cove__wire__ack__descriptor },
	};
	_cleanup_(wire_message_freep) ProtobufCMessage *m = NULL;
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].type == event->type)
			m = wire_message_unpack(types[i].descriptor, event->data, event->size);
	if (!m) {
		break_off(p, "%s cannot be read", wire_type_info(event->type)->name);
		return;
	}

	switch (event->type) {
	case WIRE_STARTED:
		on_started(p, (const Cove__Wire__Started *)m);
		break;
	case WIRE_EXITED:
		on_exited(p, (const Cove__Wire__Exited *)m);
		break;
	case WIRE_STDIN_ERROR:
		on_stdin_error(p, (const Cove__Wire__StdinError *)m);
		break;
	case WIRE_ACK:
		on_ack(p, (const Cove__Wire__Ack *)m);
		break;
	default:
		on_failed(p, (const Cove__Wire__Failure *)m);
		break;
	}
}

static void on_event(struct stream *stream, const struct wire_event *event)
{
	struct process *p = CONTAINER_OF(stream, struct process, stream);
	if (p->state == PROCESS_BROKEN)
		return;
	if (p->state == PROCESS_STARTING && event->kind != WIRE_EVENT_MESSAGE)
		break_off(p, "output without a start");
	else if (event->kind == WIRE_EVENT_MESSAGE)
		on_message(p, event);
	else if (event->kind == WIRE_EVENT_DATA)
		on_data(p, event);
	/* EOF says nothing that offsets and totals do not say; the engine has checked it. */
}

/* ---- standard input ---- */

static size_t on_peek(struct stream *stream, size_t max, struct wire_chunk *ret)
{
	struct process *p = CONTAINER_OF(stream, struct process, stream);
	if (p->input_held)
		return 0;
	size_t n = MIN(max, p->input_size);
	*ret = (struct wire_chunk){
		.offset = p->input_offset,
		.iov[0] = { .iov_base = (void *)p->input, .iov_len = n },
	};
	return n;
}

static void on_consumed(struct stream *stream, size_t n)
{
	struct process *p = CONTAINER_OF(stream, struct process, stream);
	p->input += n;
	p->input_size -= n;
	p->input_offset += n;
	if (p->input_size == 0)
		stream_wake(stream); /* process_stdin_write() is done */
}

static const struct stream_ops process_ops = {
	.event = on_event,
	.peek = on_peek,
	.consumed = on_consumed,
};

/* Why nothing can be asked of the command (any more); 0 if it can. */
static int not_running(struct process *p, struct cove_error *err)
{
	if (p->state == PROCESS_ENDED)
		return error_set(err, COVE_E_STATE, "the command has ended");
	if (p->state == PROCESS_BROKEN) {
		if (err)
			*err = p->failure;
		return p->failure.code;
	}
	return connection_gone(p->connection, err);
}

static int input_refused(struct process *p, struct cove_error *err)
{
	int r = not_running(p, err);
	if (r < 0)
		return r;
	if (p->input_errno)
		return error_set_errno(err, COVE_E_SYSTEM, p->input_errno,
				       "the command does not read its standard input any more");
	return 0;
}

int process_stdin_write(struct process *p, const void *data, size_t n, struct cove_error *err)
{
	struct connection *c = p->connection;
	connection_lock(c);
	int r = input_refused(p, err);
	if (r == 0 && (p->input_closed || p->writing))
		r = error_set(err, COVE_E_STATE,
			      p->writing ? "another thread is writing" : "stdin is closed");
	if (r < 0 || n == 0) {
		connection_unlock(c);
		return r;
	}

	p->writing = true;
	p->input = data;
	p->input_size = n;
	wire_link_ready(connection_link(c), p->stream.id, WIRE_STDIN);
	connection_flush(c);
	while (p->input_size > 0 && !connection_gone(c, NULL))
		connection_wait(c, &p->stream, DEADLINE_NEVER);
	r = input_refused(p, err);
	p->input = NULL; /* it is the caller's again */
	p->input_size = 0;
	p->writing = false;
	connection_unlock(c);
	return r;
}

int process_stdin_close(struct process *p, struct cove_error *err)
{
	struct connection *c = p->connection;
	int r = 0;
	connection_lock(c);
	if (p->writing)
		r = error_set(err, COVE_E_STATE, "another thread is writing");
	else if (!p->input_closed && !over(p) && !connection_gone(c, NULL)) {
		r = wire_link_send_eof(connection_link(c), p->stream.id, WIRE_STDIN,
				       p->input_offset);
		if (r < 0)
			r = error_set_errno(err, COVE_E_SYSTEM, r, "cannot close stdin");
		else
			p->input_closed = true;
		connection_flush(c);
	}
	connection_unlock(c);
	return r;
}

/* ---- life ---- */

static int open_failed(struct process *p, int r, struct cove_error *err)
{
	if (r == -EPIPE)
		return connection_gone(p->connection, err);
	if (r == -ENOMEM)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory for the request");
	if (r == -EMSGSIZE)
		return error_set_start(err, COVE_STAGE_REQUEST, E2BIG,
				       "arguments and environment together");
	return error_set_errno(err, COVE_E_SYSTEM, r, "cannot send the request");
}

int process_start(struct connection *c, const Cove__Wire__Exec *message,
		  const struct process_input *input, struct process **ret, struct cove_error *err)
{
	struct process *p = calloc(1, sizeof(*p));
	if (!p)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	stream_init(&p->stream, &process_ops);
	p->connection = c;
	list_init(&p->acks);
	for (unsigned i = 0; i < N_OUTPUTS; i++) {
		buffer_init(&p->outputs[i].incoming, WIRE_INITIAL_WINDOW);
		buffer_init(&p->outputs[i].lent, WIRE_INITIAL_WINDOW);
	}
	bool reads = message->stdin == COVE__WIRE__EXEC__STDIN__PIPE;
	p->input_closed = input || !reads;
	/* With an id of the caller's, it may be a session that has read some of it already. */
	p->input_held = input && message->has_id;
	if (input && reads) {
		p->input = input->data;
		p->input_size = input->size;
	}

	connection_lock(c);
	int r = stream_open(c, &p->stream, WIRE_EXEC, &message->base);
	if (r >= 0 && input && reads) {
		/* The end is sent with the request: it says where, not when. */
		r = wire_link_send_eof(connection_link(c), p->stream.id, WIRE_STDIN, input->size);
		wire_link_ready(connection_link(c), p->stream.id, WIRE_STDIN);
		connection_flush(c);
	}
	if (r < 0)
		r = open_failed(p, r, err);
	connection_unlock(c);

	if (r < 0) {
		process_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

struct process *process_free(struct process *p)
{
	if (!p)
		return NULL;
	connection_lock(p->connection);
	stream_close(p->connection, &p->stream);
	connection_unlock(p->connection);
	for (unsigned i = 0; i < N_OUTPUTS; i++) {
		buffer_done(&p->outputs[i].incoming);
		buffer_done(&p->outputs[i].lent);
	}
	free(p);
	return NULL;
}

/* ---- receiving ---- */

/* Gives the bytes of the last event back. */
static void return_lent(struct process *p)
{
	if (p->lent.size > 0)
		buffer_consume(&p->outputs[p->lent.output].lent, p->lent.size);
	p->lent.size = 0;
}

static void lend_output(struct process *p, struct process_event *ret)
{
	struct run *run = &p->runs[p->first_run];
	unsigned output = run->output;
	struct output *o = &p->outputs[output];
	if (o->lent.size == 0) {
		struct buffer empty = o->lent;
		o->lent = o->incoming;
		o->incoming = empty;
	}

	size_t n = MIN(run->size, o->lent.size);
	assert(n > 0);
	p->lent = (struct run){ output, n };
	run->size -= n;
	if (run->size == 0) {
		p->first_run = (p->first_run + 1) % RUNS_MAX;
		p->n_runs--;
	}
	ret->kind = output == 0 ? PROCESS_STDOUT : PROCESS_STDERR;
	ret->data = buffer_front(&o->lent);
	ret->size = n;

	/* Room for as much again. A failure leaves it owed, to be granted next time. */
	(void)!wire_link_consumed(connection_link(p->connection), p->stream.id,
				  WIRE_STDOUT + output, n);
	connection_flush(p->connection);
}

static bool gap_event(struct process *p, struct process_event *ret)
{
	for (unsigned i = 0; i < N_OUTPUTS; i++) {
		struct output *o = &p->outputs[i];
		if (o->missing > 0) {
			ret->kind = PROCESS_GAP;
			ret->channel = WIRE_STDOUT + i;
			ret->missing = o->missing;
			o->missing = 0;
			return true;
		}
	}
	return false;
}

/* The terminal event, when its time has come. */
static bool terminal_event(struct process *p, struct process_event *ret)
{
	if (complete(p)) {
		ret->kind = PROCESS_EXITED;
		ret->exit = p->exit;
		memcpy(ret->totals, p->totals, sizeof(ret->totals));
		return true;
	}
	if (p->state != PROCESS_BROKEN) {
		if (!connection_gone(p->connection, &p->failure))
			return false;
		set_state(p, PROCESS_BROKEN);
	}
	bool lost = p->pid || p->failure.code == COVE_E_LOST || p->failure.code == COVE_E_PROTOCOL;
	ret->kind = lost ? PROCESS_LOST : PROCESS_FAILED;
	ret->error = &p->failure;
	return true;
}

static bool next_event(struct process *p, struct process_event *ret)
{
	*ret = (struct process_event){ .pid = p->pid, .id = p->id };
	if (!p->told_started && p->id[0]) {
		p->told_started = true;
		ret->kind = PROCESS_STARTED;
		return true;
	}
	if (p->input_errno && !p->told_input_error) {
		p->told_input_error = true;
		ret->kind = PROCESS_STDIN_ERROR;
		ret->os_errno = p->input_errno;
		return true;
	}
	if (gap_event(p, ret))
		return true;
	if (p->n_runs > 0) {
		lend_output(p, ret);
		return true;
	}
	if (terminal_event(p, ret)) {
		p->told_terminal = true;
		/* So that we do not hold up what it left running and nobody here reads. */
		stream_close(p->connection, &p->stream);
		stream_wake(&p->stream);
		return true;
	}
	return false;
}

int process_recv(struct process *p, uint64_t deadline, struct process_event *ret,
		 struct cove_error *err)
{
	struct connection *c = p->connection;
	struct process_event event;
	int r = 0;

	connection_lock(c);
	if (p->receiving) {
		connection_unlock(c);
		return error_set(err, COVE_E_STATE, "another thread is receiving");
	}
	p->receiving = true;
	return_lent(p);
	while (!p->told_terminal) {
		if (next_event(p, &event)) {
			*ret = event;
			r = 1;
			break;
		}
		if (r == -ETIMEDOUT) {
			r = error_set(err, COVE_E_TIMEOUT, "no event came in time");
			break;
		}
		r = connection_wait(c, &p->stream, deadline);
	}
	p->receiving = false;
	connection_unlock(c);
	return r;
}

/* ---- signals ---- */

/* Sends a request with an answer and waits for it. message has the number in *number. */
static int ask(struct process *p, uint8_t type, ProtobufCMessage *message, uint32_t *number,
	       struct cove_error *err)
{
	struct connection *c = p->connection;
	struct ack ack = { .done = false };

	connection_lock(c);
	int r = not_running(p, err);
	if (r == 0) {
		*number = ack.request = ++p->last_request;
		r = wire_send_message(connection_link(c), p->stream.id, type, message);
		if (r < 0)
			r = error_set_errno(err, COVE_E_SYSTEM, r, "cannot send the request");
	}
	if (r == 0) {
		list_append(&p->acks, &ack.entry);
		connection_flush(c);
		/* The answer may come after the end that it caused. */
		while (!ack.done && p->stream.id && p->state != PROCESS_BROKEN &&
		       !connection_gone(c, NULL))
			connection_wait(c, &p->stream, DEADLINE_NEVER);
		list_remove(&ack.entry);
		r = ack.done ? ack.failure.code : not_running(p, err);
		if (ack.failure.code && err)
			*err = ack.failure;
	}
	connection_unlock(c);
	return r;
}

int process_signal(struct process *p, int signal, struct cove_error *err)
{
	if (signal < 1 || signal > 64)
		return error_set(err, COVE_E_INVALID, "signal: %d is not one", signal);
	Cove__Wire__Signal m = COVE__WIRE__SIGNAL__INIT;
	m.signal = (uint32_t)signal;
	return ask(p, WIRE_SIGNAL, &m.base, &m.request, err);
}

int process_kill(struct process *p, struct cove_error *err)
{
	Cove__Wire__Kill m = COVE__WIRE__KILL__INIT;
	return ask(p, WIRE_KILL, &m.base, &m.request, err);
}

void process_kill_nowait(struct process *p)
{
	struct connection *c = p->connection;
	connection_lock(c);
	if (!over(p) && p->stream.id) {
		Cove__Wire__Kill m = COVE__WIRE__KILL__INIT;
		m.request = ++p->last_request;
		/* If there is no room for it the command is left running, as it is elsewhere. */
		(void)!wire_send_message(connection_link(c), p->stream.id, WIRE_KILL, &m.base);
		connection_flush(c);
	}
	connection_unlock(c);
}
