/* SPDX-License-Identifier: Apache-2.0 */

/* What is asked of a running command: reading its standard input, signals. */

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/macro.h"
#include "lib/process-internal.h"

/* ---- standard input ---- */

size_t process_on_peek(struct stream *stream, size_t max, struct wire_chunk *ret)
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

void process_on_consumed(struct stream *stream, size_t n)
{
	struct process *p = CONTAINER_OF(stream, struct process, stream);
	p->input += n;
	p->input_size -= n;
	p->input_offset += n;
	if (p->input_size == 0)
		stream_wake(stream); /* process_stdin_write() is done */
}

static int input_refused(struct process *p, struct cove_error *err)
{
	int r = process_not_running(p, err);
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
	else if (!p->input_closed && !process_over(p) && !connection_gone(c, NULL)) {
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

/* ---- signals ---- */

/* Sends a request with an answer and waits for it. message has the number in *number. */
static int ask(struct process *p, uint8_t type, ProtobufCMessage *message, uint32_t *number,
	       struct cove_error *err)
{
	struct connection *c = p->connection;
	struct ack ack = { .done = false };

	connection_lock(c);
	int r = process_not_running(p, err);
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
		r = ack.done ? ack.failure.code : process_not_running(p, err);
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
	if (!process_over(p) && p->stream.id) {
		Cove__Wire__Kill m = COVE__WIRE__KILL__INIT;
		m.request = ++p->last_request;
		/* If there is no room for it the command is left running, as it is elsewhere. */
		(void)!wire_send_message(connection_link(c), p->stream.id, WIRE_KILL, &m.base);
		connection_flush(c);
	}
	connection_unlock(c);
}
