/* SPDX-License-Identifier: Apache-2.0 */

/* What is asked of a command. */

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/macro.h"
#include "lib/process-internal.h"

#define SIGNAL_MAX 64 /* of Linux on x86-64 */

static int may_not(struct process *p, struct cove_error *err)
{
	if (p->options.attaches && !p->options.writable)
		return error_set(err, COVE_E_DENIED, "the process was opened to look only");
	return process_not_running(p, err);
}

/* message has its number in *number. 1: there is no room for it now. */
static int try_to_send(struct process *p, uint8_t type, ProtobufCMessage *message, uint32_t *number,
		       struct cove_error *err)
{
	*number = p->last_request + 1;
	int r = wire_send_message(connection_link(p->connection), p->stream.id, type, message);
	if (r == -ENOBUFS)
		return 1;
	if (r < 0)
		return error_set_errno(err, r == -ENOMEM ? COVE_E_NO_MEMORY : COVE_E_SYSTEM, r,
				       "cannot send the request");
	p->last_request = *number;
	return 0;
}

static int send_request(struct process *p, uint8_t type, ProtobufCMessage *message,
			uint32_t *number, struct cove_error *err)
{
	for (;;) {
		int r = may_not(p, err);
		if (r == 0)
			r = try_to_send(p, type, message, number, err);
		if (r <= 0)
			return r;
		if (p->options.nonblock)
			return error_set(err, COVE_E_AGAIN, "too much is waiting to be sent");
		connection_wait_room(p->connection, DEADLINE_NEVER);
	}
}

/* False when it will not be answered, or was not by the deadline. */
static bool await_ack(struct process *p, struct ack *ack, uint32_t number, uint64_t deadline)
{
	struct connection *c = p->connection;
	int r = 0;
	ack->request = number;
	list_append(&p->acks, &ack->entry);
	connection_flush(c);
	/* The answer may come after the end that it caused. */
	while (!ack->done && r != -ETIMEDOUT && p->stream.id && p->state != PROCESS_BROKEN &&
	       !connection_gone(c, NULL))
		r = connection_wait(c, &p->stream, STREAM_STATE, deadline);
	list_remove(&ack->entry);
	return ack->done;
}

/* Sends a request with an answer and waits for it. */
static int ask(struct process *p, uint8_t type, ProtobufCMessage *message, uint32_t *number,
	       struct cove_error *err)
{
	struct connection *c = p->connection;
	struct ack ack = { .done = false };

	connection_lock(c);
	int r = send_request(p, type, message, number, err);
	if (r == 0 && !p->options.nonblock) {
		bool answered = await_ack(p, &ack, *number, DEADLINE_NEVER);
		r = answered ? ack.failure.code : process_not_running(p, err);
		if (ack.failure.code && err)
			*err = ack.failure;
		process_settle(p);
	} else if (r == 0) {
		connection_flush(c);
	}
	connection_unlock(c);
	return r;
}

int process_signal(struct process *p, int signal, struct cove_error *err)
{
	if (signal < 1 || signal > SIGNAL_MAX)
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

int process_resize(struct process *p, unsigned rows, unsigned cols, struct cove_error *err)
{
	if (rows < 1 || rows > UINT16_MAX || cols < 1 || cols > UINT16_MAX)
		return error_set(err, COVE_E_INVALID, "size: %u by %u is not between 1 and %u",
				 rows, cols, UINT16_MAX);
	Cove__Wire__Resize m = COVE__WIRE__RESIZE__INIT;
	m.rows = rows;
	m.cols = cols;
	return ask(p, WIRE_RESIZE, &m.base, &m.request, err);
}

int process_close_output(struct process *p, enum cove_stream stream, struct cove_error *err)
{
	if (stream != COVE_STDOUT && stream != COVE_STDERR)
		return error_set(err, COVE_E_INVALID, "stream: %d is not one", (int)stream);
	Cove__Wire__CloseOutput m = COVE__WIRE__CLOSE_OUTPUT__INIT;
	m.channel = stream == COVE_STDOUT ? WIRE_STDOUT : WIRE_STDERR;
	return ask(p, WIRE_CLOSE_OUTPUT, &m.base, &m.request, err);
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

/* Sends it whatever state the command is in, as long as there is a stream. */
static int send_anyhow(struct process *p, uint8_t type, ProtobufCMessage *message, uint32_t *number,
		       uint64_t deadline, struct cove_error *err)
{
	for (int waited = 0;;) {
		int r = connection_gone(p->connection, err);
		if (r == 0 && (!p->stream.id || p->state == PROCESS_BROKEN))
			r = error_set(err, COVE_E_LOST, "the link to the command is gone");
		if (r == 0)
			r = try_to_send(p, type, message, number, err);
		if (r <= 0)
			return r;
		if (waited == -ETIMEDOUT)
			return error_set(err, COVE_E_TIMEOUT, "too much is waiting to be sent");
		waited = connection_wait_room(p->connection, deadline);
	}
}

int process_collected(struct process *p, struct cove_error *err)
{
	struct connection *c = p->connection;
	struct ack ack = { .done = false };
	Cove__Wire__Collect m = COVE__WIRE__COLLECT__INIT;

	connection_lock(c);
	int r = send_anyhow(p, WIRE_COLLECT, &m.base, &m.request, DEADLINE_NEVER, err);
	if (r == 0 && (!await_ack(p, &ack, m.request, DEADLINE_NEVER) || ack.lost)) {
		r = connection_gone(c, err);
		if (r == 0)
			r = error_set(err, COVE_E_LOST, "the link to the command is gone");
	} else if (r == 0 && ack.failure.code) {
		r = ack.failure.code;
		if (err)
			*err = ack.failure;
	}
	p->options.collects = false;
	process_settle(p);
	connection_unlock(c);
	return r;
}

int process_sync(struct process *p, uint64_t deadline, struct cove_error *err)
{
	struct connection *c = p->connection;
	struct ack ack = { .done = false };
	/* Refused or not: what matters is that it is answered, after all that came before. */
	Cove__Wire__Flush m = COVE__WIRE__FLUSH__INIT;

	connection_lock(c);
	int r = send_anyhow(p, WIRE_FLUSH, &m.base, &m.request, deadline, err);
	if (r == 0 && !await_ack(p, &ack, m.request, deadline) && !process_over(p) &&
	    !connection_gone(c, NULL))
		r = error_set(err, COVE_E_TIMEOUT, "the sandbox did not answer in time");
	connection_unlock(c);
	return r;
}

int process_id(struct process *p, const char **ret, struct cove_error *err)
{
	struct connection *c = p->connection;
	int r = 0;
	connection_lock(c);
	while (!p->id[0]) {
		process_notice_loss(p);
		if (p->state == PROCESS_BROKEN)
			r = process_not_running(p, err);
		else if (p->options.nonblock)
			r = error_set(err, COVE_E_AGAIN, "the command has not started yet");
		if (r < 0)
			break;
		connection_wait(c, &p->stream, STREAM_STATE, DEADLINE_NEVER);
	}
	if (r == 0)
		*ret = p->id;
	connection_unlock(c);
	return r;
}
