/* SPDX-License-Identifier: Apache-2.0 */

/* Standard input. */

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/macro.h"
#include "lib/exit.h"
#include "lib/process-internal.h"

/* An event loop is told of room when there is this much, so that it does not write in crumbs. */
#define ROOM_BYTES (COVE_STDIN_BUFFER_BYTES / 2)

/* Memory of the buffer that stays while it is empty: enough for what is typed. */
#define IDLE_INPUT_BYTES 1024

/* ---- the connection's source ---- */

size_t process_on_peek(struct stream *stream, size_t max, struct wire_chunk *ret)
{
	struct process *p = CONTAINER_OF(stream, struct process, stream);
	bool buffered = p->buffered.size > 0;
	const uint8_t *data = buffered ? buffer_front(&p->buffered) : p->input;
	size_t n = MIN(max, buffered ? p->buffered.size : p->input_size);
	if (p->input_held)
		return 0;
	*ret = (struct wire_chunk){
		.offset = p->input_offset,
		.iov[0] = { .iov_base = (void *)data, .iov_len = n },
	};
	return n;
}

static void consume_buffered(struct process *p, size_t n)
{
	buffer_consume(&p->buffered, n);
	buffer_trim(&p->buffered, IDLE_INPUT_BYTES);
	if (p->wants_room && p->buffered.size <= COVE_STDIN_BUFFER_BYTES - ROOM_BYTES) {
		p->wants_room = false;
		process_ready(p);
	}
}

void process_on_consumed(struct stream *stream, size_t n)
{
	struct process *p = CONTAINER_OF(stream, struct process, stream);
	p->input_offset += n;
	if (p->buffered.size > 0) {
		consume_buffered(p, n);
		return;
	}
	p->input += n;
	p->input_size -= n;
	if (p->input_size == 0)
		stream_wake(stream, STREAM_INPUT); /* process_stdin_write() is done */
}

/* ---- the end of it ---- */

void process_send_eof(struct process *p)
{
	if (p->input_closed && !p->owes_eof)
		return;
	p->input_closed = true;
	p->owes_eof = false;
	if (process_over(p) || !p->stream.id || p->input_errno)
		return;
	/* It says where, not when: what is before it may still wait. */
	uint64_t total = p->input_offset + p->buffered.size + p->input_size;
	int r = wire_link_send_eof(connection_link(p->connection), p->stream.id, WIRE_STDIN, total);
	p->owes_eof = r == -ENOBUFS || r == -ENOMEM;
	if (p->owes_eof)
		stream_owes(p->connection, &p->stream);
}

void process_drop_input(struct process *p)
{
	p->input = NULL;
	p->input_size = 0;
	free(p->own_input);
	p->own_input = NULL;
	buffer_done(&p->buffered);
	p->owes_eof = false;
	if (p->wants_room)
		process_ready(p);
	p->wants_room = false;
	stream_wake(&p->stream, STREAM_INPUT);
}

/*
 * The supervisor drops what a stream that is closed still has on its way, so a stream on which
 * anything was written is kept until the command's end, or until that is known to have arrived.
 */
bool process_input_pending(const struct process *p)
{
	if (process_over(p) || p->input_errno || !p->stream.id)
		return false;
	if (p->options.has_input && !p->options.copy_input)
		return false; /* the memory is not ours */
	return p->owes_eof || p->input_offset > p->flush.arrived || p->buffered.size > 0 ||
	       p->input_size > 0;
}

/* ---- writing ---- */

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

static int begin_writing(struct process *p, struct cove_error *err)
{
	int r = input_refused(p, err);
	if (r < 0)
		return r;
	if (p->writing)
		return error_set(err, COVE_E_STATE, "another thread is writing");
	if (p->input_closed)
		return error_set(err, COVE_E_STATE, "stdin is closed");
	return 0;
}

static void send_input(struct process *p)
{
	wire_link_ready(connection_link(p->connection), p->stream.id, WIRE_STDIN);
	connection_flush(p->connection);
}

int process_stdin_write(struct process *p, const void *data, size_t n, struct cove_error *err)
{
	connection_lock(p->connection);
	int r = begin_writing(p, err);
	if (r == 0 && n > 0) {
		p->writing = true;
		p->input = data;
		p->input_size = n;
		send_input(p);
		while (p->input_size > 0 && !connection_gone(p->connection, NULL))
			connection_wait(p->connection, &p->stream, STREAM_INPUT, DEADLINE_NEVER);
		r = input_refused(p, err);
		if (r == 0)
			connection_wait_written(p->connection);
		p->input = NULL; /* it is the caller's again */
		p->input_size = 0;
		p->writing = false;
	}
	connection_unlock(p->connection);
	return r;
}

/* As much as goes; what the socket takes at once makes room for more. */
static int take_over(struct process *p, const uint8_t *data, size_t n, size_t *ret_taken)
{
	int r = 0;
	*ret_taken = 0;
	if (p->buffered.size == COVE_STDIN_BUFFER_BYTES)
		send_input(p);
	while (*ret_taken < n) {
		size_t k = MIN(n - *ret_taken, COVE_STDIN_BUFFER_BYTES - p->buffered.size);
		if (k == 0)
			break;
		r = buffer_append(&p->buffered, data + *ret_taken, k);
		if (r < 0)
			break;
		*ret_taken += k;
		send_input(p);
	}
	return *ret_taken > 0 ? 0 : r;
}

int process_stdin_try_write(struct process *p, const void *data, size_t n, size_t *ret,
			    struct cove_error *err)
{
	size_t taken = 0;
	connection_lock(p->connection);
	int r = begin_writing(p, err);
	if (r == 0 && n > 0) {
		r = take_over(p, data, n, &taken);
		p->wants_room = r == 0 && taken < n;
		if (r < 0)
			r = error_set(err, COVE_E_NO_MEMORY, "out of memory for the input");
		else if (taken == 0)
			r = error_set(err, COVE_E_AGAIN, "the command does not read, for now");
	}
	if (r == 0)
		*ret = taken;
	connection_unlock(p->connection);
	return r;
}

size_t process_stdin_waiting(struct process *p)
{
	connection_lock(p->connection);
	size_t n = p->buffered.size;
	connection_unlock(p->connection);
	return n;
}

int process_stdin_close(struct process *p, struct cove_error *err)
{
	int r = 0;
	connection_lock(p->connection);
	if (p->writing)
		r = error_set(err, COVE_E_STATE, "another thread is writing");
	else
		process_send_eof(p);
	connection_flush(p->connection);
	connection_unlock(p->connection);
	return r;
}

/* ---- has it arrived? ---- */

void process_on_flushed(struct process *p, const Cove__Wire__Ack *m)
{
	if (p->flush.request == 0 || m->request != p->flush.request)
		return;
	p->flush.request = 0;
	if (m->failure)
		failure_from_message(m->failure, &p->flush.failure);
	else
		p->flush.arrived = p->flush.offset;
	stream_wake(&p->stream, STREAM_STATE);
}

/* Asks, if no question is open. 1: there is no room for it now. */
static int ask_for_arrival(struct process *p, uint64_t offset, struct cove_error *err)
{
	Cove__Wire__Flush m = COVE__WIRE__FLUSH__INIT;
	if (p->flush.request != 0)
		return 0;
	m.request = p->last_request + 1;
	m.offset = offset;
	int r = wire_send_message(connection_link(p->connection), p->stream.id, WIRE_FLUSH,
				  &m.base);
	if (r == -ENOBUFS)
		return 1;
	if (r < 0)
		return error_set_errno(err, r == -ENOMEM ? COVE_E_NO_MEMORY : COVE_E_SYSTEM, r,
				       "cannot send the request");
	p->flush.request = p->last_request = m.request;
	p->flush.offset = offset;
	p->flush.failure = (struct cove_error)COVE_ERROR_INIT;
	connection_flush(p->connection);
	return 0;
}

static int wait_for_arrival(struct process *p, uint64_t offset, uint64_t deadline,
			    struct cove_error *err)
{
	struct connection *c = p->connection;
	int waited = 0;
	while (p->flush.arrived < offset) {
		int r = input_refused(p, err);
		if (r < 0)
			return r;
		if (p->flush.failure.code) {
			if (err)
				*err = p->flush.failure;
			return p->flush.failure.code;
		}
		r = ask_for_arrival(p, offset, err);
		if (r < 0)
			return r;
		if (waited == -ETIMEDOUT)
			return error_set(err, COVE_E_TIMEOUT,
					 "what was written has not arrived in time");
		waited = r > 0 ? connection_wait_room(c, deadline)
			       : connection_wait(c, &p->stream, STREAM_STATE | STREAM_INPUT,
						 deadline);
	}
	return 0;
}

int process_stdin_flush(struct process *p, uint64_t deadline, struct cove_error *err)
{
	int r = 0;
	connection_lock(p->connection);
	if (p->writing) {
		r = error_set(err, COVE_E_STATE, "another thread is writing");
	} else {
		p->writing = true;
		p->flush.failure = (struct cove_error)COVE_ERROR_INIT;
		r = wait_for_arrival(p, p->input_offset + p->buffered.size, deadline, err);
		p->writing = false;
	}
	connection_unlock(p->connection);
	return r;
}
