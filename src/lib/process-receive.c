/* SPDX-License-Identifier: Apache-2.0 */

/* What is handed out. */

#include <assert.h>
#include <errno.h>

#include "base/error.h"
#include "base/macro.h"
#include "lib/process-internal.h"

/*
 * A channel of which this much was received is a bulk flow: the larger window keeps it going while
 * the receiver does something else.
 */
#define BULK_BYTES WIRE_WINDOW_MAX

/* ---- output ---- */

/* Memory that is not in use goes to where it is. */
static void trim(struct process *p, struct output *o)
{
	struct buffer *buffers[] = { &o->incoming, &o->lent };
	for (unsigned i = 0; i < ARRAY_SIZE(buffers); i++)
		if (buffers[i]->size == 0 && buffers[i]->allocated > IDLE_OUTPUT_BYTES)
			connection_return_buffer(p->connection, buffers[i]);
}

/* Gives the bytes of the last event back. */
static void return_lent(struct process *p)
{
	struct output *o = &p->outputs[p->lent.output];
	if (p->lent.size == 0)
		return;
	buffer_consume(&o->lent, p->lent.size);
	p->lent.size = 0;
	if (o->lent.size == 0)
		trim(p, o);
}

void process_drop_output(struct process *p)
{
	p->lent.size = 0;
	p->n_runs = 0;
	for (unsigned i = 0; i < N_OUTPUTS; i++) {
		struct output *o = &p->outputs[i];
		buffer_consume(&o->incoming, o->incoming.size);
		buffer_consume(&o->lent, o->lent.size);
		o->n_gaps = 0;
		trim(p, o);
	}
}

/* Room for as much again. What cannot be granted now stays owed, to be granted next time. */
static void grant(struct process *p, unsigned output, size_t n)
{
	struct wire_link *link = connection_link(p->connection);
	struct output *o = &p->outputs[output];
	if (!p->stream.id)
		return;
	(void)!wire_link_consumed(link, p->stream.id, WIRE_STDOUT + output, n);
	o->consumed += n;
	if (!o->wide && o->consumed >= BULK_BYTES && connection_take_wide(p->connection)) {
		o->wide = wire_link_grant(link, p->stream.id, WIRE_STDOUT + output,
					  WIRE_WINDOW_MAX - WIRE_INITIAL_WINDOW) == 0;
		if (!o->wide) {
			o->consumed = 0; /* no room for the message: again after as much */
			connection_return_wide(p->connection);
		}
	}
	connection_flush(p->connection);
}

static void lend_output(struct process *p, struct cove_event *event)
{
	struct run *run = &p->runs[p->first_run];
	unsigned output = run->output;
	struct output *o = &p->outputs[output];
	if (o->lent.size == 0) {
		struct buffer empty = o->lent;
		o->lent = o->incoming;
		o->incoming = empty;
	}

	size_t n = MIN((size_t)run->size, o->lent.size);
	if (o->n_gaps > 0)
		n = (size_t)MIN((uint64_t)n, o->gaps[0].at - o->handed);
	assert(n > 0);
	p->lent = (struct run){ .output = output, .size = (uint32_t)n };
	run->size -= (uint32_t)n;
	if (run->size == 0) {
		p->first_run = (p->first_run + 1) % RUNS_MAX;
		p->n_runs--;
	}
	event->kind = output == 0 ? COVE_EVENT_STDOUT : COVE_EVENT_STDERR;
	event->stream = output == 0 ? COVE_STDOUT : COVE_STDERR;
	event->data = buffer_front(&o->lent);
	event->bytes = n;
	event->offset = o->handed;
	o->handed += n;
	grant(p, output, n);
}

/* ---- the other events ---- */

static bool tell_gap(struct output *o, unsigned output, uint64_t missing, struct cove_event *event)
{
	event->kind = COVE_EVENT_GAP;
	event->stream = output == 0 ? COVE_STDOUT : COVE_STDERR;
	event->offset = o->handed;
	event->missing_bytes = missing;
	o->handed += missing;
	return missing > 0;
}

static bool gap_event(struct process *p, struct cove_event *event)
{
	for (unsigned i = 0; i < N_OUTPUTS; i++) {
		struct output *o = &p->outputs[i];
		while (o->n_gaps > 0 && o->gaps[0].at == o->handed) {
			uint64_t missing = o->gaps[0].missing;
			uint64_t end = o->handed + missing;
			o->n_gaps--;
			for (unsigned k = 0; k < o->n_gaps; k++)
				o->gaps[k] = o->gaps[k + 1];
			/* What came after the command's end is not the command's. */
			if (p->state == PROCESS_ENDED && end > p->totals[i])
				missing = p->totals[i] - MIN(p->totals[i], o->handed);
			bool told = tell_gap(o, i, missing, event);
			o->handed = end;
			if (told)
				return true;
		}
	}
	return false;
}

/* At the end of a stream that may lose bytes, those that were dropped last. */
static bool last_gap_event(struct process *p, struct cove_event *event)
{
	if (!p->options.lossy || p->muted || !process_complete(p))
		return false;
	for (unsigned i = 0; i < N_OUTPUTS; i++) {
		struct output *o = &p->outputs[i];
		if (o->handed < p->totals[i])
			return tell_gap(o, i, p->totals[i] - o->handed, event);
	}
	return false;
}

/* The terminal event, when its time has come. */
static bool terminal_event(struct process *p, struct cove_event *event)
{
	process_notice_loss(p);
	if (process_complete(p)) {
		event->kind = COVE_EVENT_EXITED;
		event->exit = p->exit;
		event->stdout_total = p->totals[0];
		event->stderr_total = p->totals[1];
		return true;
	}
	if (p->state != PROCESS_BROKEN)
		return false;
	event->kind = p->failed ? COVE_EVENT_FAILED : COVE_EVENT_LOST;
	event->error = &p->failure;
	return true;
}

static bool next_event(struct process *p)
{
	struct cove_event *event = &p->event;
	*event = (struct cove_event){ .pid = p->pid, .id = p->id };
	if (p->started && !p->told_started) {
		p->told_started = true;
		event->kind = COVE_EVENT_STARTED;
		event->was_there = p->was_there;
		event->tty = p->tty;
		event->rows = p->rows;
		event->cols = p->cols;
		event->data = p->terminal;
		event->bytes = p->terminal_size;
		event->stdout_total = p->written[0];
		event->stderr_total = p->written[1];
		return true;
	}
	if (gap_event(p, event))
		return true;
	if (p->input_errno && !p->told_input_error) {
		p->told_input_error = true;
		event->kind = COVE_EVENT_STDIN_ERROR;
		event->os_errno = p->input_errno;
		return true;
	}
	if (p->n_runs > 0) {
		lend_output(p, event);
		return true;
	}
	if (last_gap_event(p, event))
		return true;
	if (terminal_event(p, event)) {
		p->told_terminal = true;
		process_settle(p);
		return true;
	}
	return false;
}

/* ---- receiving calls ---- */

static int begin_receiving(struct process *p, struct cove_error *err)
{
	connection_lock(p->connection);
	if (p->receiving) {
		connection_unlock(p->connection);
		return error_set(err, COVE_E_STATE, "another thread is receiving");
	}
	p->receiving = true;
	return_lent(p);
	return 0;
}

static void end_receiving(struct process *p)
{
	p->receiving = false;
	connection_unlock(p->connection);
}

int process_recv(struct process *p, uint64_t deadline, const struct cove_event **ret,
		 struct cove_error *err)
{
	int r = begin_receiving(p, err);
	if (r < 0)
		return r;
	while (!p->told_terminal) {
		if (next_event(p)) {
			*ret = &p->event;
			r = 1;
			break;
		}
		if (r == -ETIMEDOUT) {
			r = error_set(err, COVE_E_TIMEOUT, "no event came in time");
			break;
		}
		r = connection_wait(p->connection, &p->stream, STREAM_EVENT, deadline);
	}
	if (p->told_terminal && r != 1)
		r = 0;
	end_receiving(p);
	return r;
}

int process_try_recv(struct process *p, const struct cove_event **ret, struct cove_error *err)
{
	int r = begin_receiving(p, err);
	if (r < 0)
		return r;
	if (p->told_terminal) {
		r = 0;
	} else if (next_event(p)) {
		*ret = &p->event;
		r = 1;
	} else {
		r = error_set(err, COVE_E_AGAIN, "there is no event for now");
	}
	end_receiving(p);
	return r;
}

/* 0: it has ended; or the code of what is known instead. */
static int result(struct process *p, struct cove_error *err)
{
	if (p->state == PROCESS_BROKEN && err)
		*err = p->failure;
	return p->state == PROCESS_BROKEN ? p->failure.code : 0;
}

int process_wait(struct process *p, uint64_t deadline, struct cove_exit *ret,
		 struct cove_error *err)
{
	int r = begin_receiving(p, err);
	if (r < 0)
		return r;
	process_mute(p);
	for (;;) {
		process_notice_loss(p);
		if (process_over(p) || r == -ETIMEDOUT)
			break;
		r = connection_wait(p->connection, &p->stream, STREAM_STATE, deadline);
	}
	process_settle(p);
	if (!process_over(p))
		r = error_set(err, COVE_E_TIMEOUT, "the command has not ended");
	else
		r = result(p, err);
	if (r == 0 && ret)
		*ret = p->exit;
	end_receiving(p);
	return r;
}

int process_result(struct process *p, struct cove_event *ret, struct cove_error *err)
{
	connection_lock(p->connection);
	*ret = (struct cove_event){
		.pid = p->pid,
		.id = p->id,
		.os_errno = p->input_errno,
		.exit = p->exit,
		.stdout_total = p->totals[0],
		.stderr_total = p->totals[1],
	};
	int r = result(p, err);
	connection_unlock(p->connection);
	return r;
}
