/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/process.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/macro.h"
#include "lib/process-internal.h"

/* ---- states ---- */

void process_set_state(struct process *p, enum process_state state)
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

bool process_over(const struct process *p)
{
	return p->state == PROCESS_ENDED || p->state == PROCESS_BROKEN;
}

bool process_complete(const struct process *p)
{
	return p->state == PROCESS_ENDED && p->outputs[0].received >= p->totals[0] &&
	       p->outputs[1].received >= p->totals[1];
}

int process_not_running(struct process *p, struct cove_error *err)
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

/* ---- life ---- */

const struct stream_ops process_ops = {
	.event = process_on_event,
	.peek = process_on_peek,
	.consumed = process_on_consumed,
};

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
	int r = stream_open(c, &p->stream, WIRE_EXEC, &message->base, DEADLINE_NEVER);
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
	if (process_complete(p)) {
		ret->kind = PROCESS_EXITED;
		ret->exit = p->exit;
		memcpy(ret->totals, p->totals, sizeof(ret->totals));
		return true;
	}
	if (p->state != PROCESS_BROKEN) {
		if (!connection_gone(p->connection, &p->failure))
			return false;
		process_set_state(p, PROCESS_BROKEN);
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
