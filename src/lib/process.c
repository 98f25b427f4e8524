/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/process.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
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
	if (state != PROCESS_RUNNING)
		process_drop_input(p);
	stream_wake(&p->stream, STREAM_ALL);
	process_ready(p);
}

bool process_over(const struct process *p)
{
	return p->state == PROCESS_ENDED || p->state == PROCESS_BROKEN;
}

bool process_complete(const struct process *p)
{
	return p->state == PROCESS_ENDED && (p->muted || (p->outputs[0].received >= p->totals[0] &&
							  p->outputs[1].received >= p->totals[1]));
}

int process_not_running(struct process *p, struct cove_error *err)
{
	if (p->state == PROCESS_ENDED)
		return error_set(err, COVE_E_STATE, "the command has ended");
	process_notice_loss(p);
	if (p->state == PROCESS_BROKEN) {
		if (err)
			*err = p->failure;
		return p->failure.code;
	}
	return 0;
}

void process_notice_loss(struct process *p)
{
	if (p->state != PROCESS_BROKEN && !process_complete(p) &&
	    connection_gone(p->connection, &p->failure))
		process_set_state(p, PROCESS_BROKEN);
}

void process_ready(struct process *p)
{
	if (p->options.nonblock && p->held)
		stream_ready(p->connection, &p->stream);
}

/* ---- the end ---- */

static void close_stream(struct process *p)
{
	if (!p->stream.id)
		return;
	for (unsigned i = 0; i < N_OUTPUTS; i++) {
		if (p->outputs[i].wide)
			connection_return_wide(p->connection);
		p->outputs[i].wide = false;
	}
	stream_close(p->connection, &p->stream);
}

static void destroy(struct process *p)
{
	struct connection *c = p->connection;
	close_stream(p);
	process_drop_output(p);
	process_drop_input(p);
	list_remove(&p->stream.in_ready);
	free(p->terminal);
	for (unsigned i = 0; i < N_OUTPUTS; i++) {
		buffer_done(&p->outputs[i].incoming);
		buffer_done(&p->outputs[i].lent);
	}
	free(p);
	connection_drop_ref(c);
}

bool process_settle(struct process *p)
{
	bool referenced = p->held || p->stdin_held || p->controls > 0;
	if (!referenced && !process_input_pending(p)) {
		destroy(p);
		return true;
	}
	/* Nobody is there who could receive; so nobody must wait for that. */
	if (!p->held)
		process_mute(p);
	bool over = process_complete(p) && !p->options.collects;
	if ((over || p->state == PROCESS_BROKEN) && list_empty(&p->acks))
		close_stream(p);
	return false;
}

static void send_mute(struct process *p)
{
	Cove__Wire__Mute m = COVE__WIRE__MUTE__INIT;
	int r = wire_send_message(connection_link(p->connection), p->stream.id, WIRE_MUTE, &m.base);
	p->owes_mute = r == -ENOBUFS || r == -ENOMEM;
	if (p->owes_mute)
		stream_owes(p->connection, &p->stream);
}

void process_mute(struct process *p)
{
	if (p->muted)
		return;
	p->muted = true;
	process_drop_output(p);
	if (!process_over(p) && p->stream.id) {
		send_mute(p);
		connection_flush(p->connection);
	}
}

/* ---- what the connection calls ---- */

static void on_pay(struct stream *stream)
{
	struct process *p = CONTAINER_OF(stream, struct process, stream);
	if (p->owes_eof)
		process_send_eof(p);
	if (p->owes_mute)
		send_mute(p);
}

static void on_lost(struct stream *stream)
{
	struct process *p = CONTAINER_OF(stream, struct process, stream);
	process_notice_loss(p);
	process_settle(p);
}

static const struct stream_ops process_ops = {
	.event = process_on_event,
	.peek = process_on_peek,
	.consumed = process_on_consumed,
	.pay = on_pay,
	.lost = on_lost,
};

struct process *process_of_stream(struct stream *stream)
{
	return CONTAINER_OF(stream, struct process, stream);
}

/* ---- start ---- */

static int open_failed(struct process *p, int r, struct cove_error *err)
{
	if (r == -EPIPE)
		return connection_gone(p->connection, err);
	if (r == -ETIMEDOUT)
		return error_set(err, COVE_E_AGAIN, "too much is waiting to be sent");
	if (r == -ENOMEM)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory for the request");
	if (r == -EMSGSIZE)
		return error_set_start(err, COVE_STAGE_REQUEST, E2BIG,
				       "arguments and environment together");
	return error_set_errno(err, COVE_E_SYSTEM, r, "cannot send the request");
}

static int give_input(struct process *p, const struct process_options *o)
{
	p->input_size = o->input_size;
	p->input = o->input;
	if (!o->copy_input || o->input_size == 0)
		return 0;
	p->own_input = malloc(o->input_size);
	if (!p->own_input)
		return -ENOMEM;
	p->input = memcpy(p->own_input, o->input, o->input_size);
	return 0;
}

static struct process *new_process(struct connection *c, const struct process_options *o)
{
	struct process *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	stream_init(&p->stream, &process_ops);
	list_init(&p->acks);
	p->connection = c;
	p->options = *o;
	p->options.input = NULL;
	p->options.id = NULL;
	p->held = true;
	p->input_closed = !o->writable && !o->has_input;
	buffer_init(&p->buffered, COVE_STDIN_BUFFER_BYTES);
	for (unsigned i = 0; i < N_OUTPUTS; i++) {
		buffer_init(&p->outputs[i].incoming, WIRE_WINDOW_MAX);
		buffer_init(&p->outputs[i].lent, WIRE_WINDOW_MAX);
		p->outputs[i].ends = UINT64_MAX;
	}
	if (o->id)
		snprintf(p->id, sizeof(p->id), "%s", o->id);
	/* It may be a session that has read some of it already. */
	p->input_held = o->has_input && o->id;
	if (o->has_input && give_input(p, o) < 0) {
		free(p);
		return NULL;
	}
	return p;
}

int process_start(struct connection *c, const ProtobufCMessage *message,
		  const struct process_options *options, struct process **ret,
		  struct cove_error *err)
{
	struct process *p = new_process(c, options);
	if (!p)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");

	connection_lock(c);
	connection_ref(c);
	int r = stream_open(c, &p->stream, options->attaches ? WIRE_ATTACH : WIRE_EXEC, message,
			    options->nonblock ? 0 : DEADLINE_NEVER);
	if (r < 0) {
		r = open_failed(p, r, err);
		destroy(p);
		connection_unlock(c);
		return r;
	}
	if (options->has_input) {
		/* The end is sent with the request: it says where, not when. */
		process_send_eof(p);
		wire_link_ready(connection_link(c), p->stream.id, WIRE_STDIN);
	}
	if (options->no_output)
		process_mute(p);
	connection_flush(c);
	if (!options->nonblock)
		connection_wait_written(c);
	connection_unlock(c);
	*ret = p;
	return 0;
}

/* ---- references ---- */

/* Between the two a process may be freed without its connection's going with it. */
static struct connection *begin_release(struct process *p)
{
	struct connection *c = p->connection;
	connection_lock(c);
	connection_ref(c);
	return c;
}

static void end_release(struct process *p, struct connection *c)
{
	connection_flush(c);
	process_settle(p);
	connection_unlock(c);
	connection_unref(c);
}

struct process *process_free(struct process *p)
{
	if (!p)
		return NULL;
	struct connection *c = begin_release(p);
	p->held = false;
	list_remove(&p->stream.in_ready);
	if (p->options.owned && !process_over(p)) {
		/* The guest kills it when the stream is closed, unless others have started it, too. */
		error_set(&p->failure, COVE_E_STATE,
			  "its process was freed, with kill_on_disconnect");
		process_set_state(p, PROCESS_BROKEN);
	}
	if (p->options.has_input && !p->own_input)
		process_drop_input(p); /* it is the caller's memory */
	/* Nobody can write to it any more. */
	if (p->options.writable && !p->options.attaches && !p->stdin_taken &&
	    !p->options.keep_input_open)
		process_send_eof(p);
	end_release(p, c);
	return NULL;
}

struct process *process_control_ref(struct process *p)
{
	connection_lock(p->connection);
	p->controls++;
	connection_unlock(p->connection);
	return p;
}

struct process *process_control_unref(struct process *p)
{
	if (!p)
		return NULL;
	struct connection *c = begin_release(p);
	p->controls--;
	end_release(p, c);
	return NULL;
}

struct process *process_take_stdin(struct process *p)
{
	connection_lock(p->connection);
	bool there = p->options.writable && !p->stdin_taken;
	if (there)
		p->stdin_taken = p->stdin_held = true;
	connection_unlock(p->connection);
	return there ? p : NULL;
}

struct process *process_stdin_free(struct process *p)
{
	if (!p)
		return NULL;
	struct connection *c = begin_release(p);
	p->stdin_held = false;
	if (!p->options.keep_input_open)
		process_send_eof(p);
	end_release(p, c);
	return NULL;
}

/* ---- what does not change ---- */

void *process_user_data(const struct process *p)
{
	return p->options.user_data;
}

const struct process_options *process_get_options(const struct process *p)
{
	return &p->options;
}
