/* SPDX-License-Identifier: Apache-2.0 */

/* What comes in on a process's stream. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/macro.h"
#include "base/screen-modes.h"
#include "lib/exit.h"
#include "lib/process-internal.h"

/* The peer says what cannot be. The stream is given up; the command goes on without us. */
#define break_off(p, ...)                                                                          \
	do {                                                                                       \
		error_set(&(p)->failure, COVE_E_PROTOCOL, __VA_ARGS__);                            \
		process_set_state(p, PROCESS_BROKEN);                                              \
	} while (0)

static const char *output_name(unsigned output)
{
	return output == 0 ? "stdout" : "stderr";
}

/*
 * Too many bytes have come; or fewer than the end says can come any more, and whoever receives would
 * wait for the others for ever.
 */
static void check_total(struct process *p, unsigned i)
{
	const struct output *o = &p->outputs[i];
	if (p->state != PROCESS_ENDED)
		return;
	if (o->received > MAX(p->totals[i], o->begins))
		break_off(p, "%s has %llu bytes, but its end says %llu", output_name(i),
			  (unsigned long long)o->received, (unsigned long long)p->totals[i]);
	else if (o->ends < p->totals[i])
		break_off(p, "%s ends at byte %llu, but the command's end says %llu",
			  output_name(i), (unsigned long long)o->ends,
			  (unsigned long long)p->totals[i]);
}

static void add_run(struct process *p, unsigned output, size_t size)
{
	for (unsigned back = p->n_runs; back > 0; back--) {
		struct run *run = &p->runs[(p->first_run + back - 1) % RUNS_MAX];
		if (run->output == output) {
			run->size += (uint32_t)size;
			return;
		}
		if (p->n_runs < RUNS_MAX)
			break; /* only the last one, unless there is no room for another */
	}
	assert(p->n_runs < RUNS_MAX);
	p->runs[(p->first_run + p->n_runs) % RUNS_MAX] =
		(struct run){ .output = output, .size = (uint32_t)size };
	p->n_runs++;
}

/* False when there are too many already. */
static bool add_gap(struct output *o, uint64_t end)
{
	if (o->n_gaps == GAPS_MAX)
		return false;
	o->gaps[o->n_gaps++] = (struct gap){ .at = o->kept, .missing = end - o->kept };
	o->kept = end;
	return true;
}

static void keep(struct process *p, unsigned i, const uint8_t *data, size_t size)
{
	struct output *o = &p->outputs[i];
	if (o->incoming.allocated == 0)
		connection_lend_buffer(p->connection, &o->incoming);
	int r = buffer_append(&o->incoming, data, size);
	if (r < 0) { /* never for want of room: the engine has checked the credit */
		error_set(&p->failure, COVE_E_NO_MEMORY, "out of memory for the output");
		process_set_state(p, PROCESS_BROKEN);
		return;
	}
	o->kept += size;
	add_run(p, i, size);
	stream_wake(&p->stream, STREAM_EVENT);
	process_ready(p);
}

static void on_data(struct process *p, const struct wire_event *event)
{
	unsigned i = OUTPUT(event->channel);
	struct output *o = &p->outputs[i];

	/* What background processes write after the command's end is not the command's output. */
	if (p->muted || (p->state == PROCESS_ENDED && o->received >= p->totals[i]))
		return;
	if (event->offset != o->received && (!p->options.lossy || event->offset < o->received)) {
		break_off(p, "%s jumps from byte %llu to %llu", output_name(i),
			  (unsigned long long)o->received, (unsigned long long)event->offset);
		return;
	}
	size_t size = event->size;
	o->received = event->offset + size;
	if (p->state == PROCESS_ENDED) {
		uint64_t total = MAX(p->totals[i], event->offset);
		size = (size_t)MIN((uint64_t)size, total - event->offset);
	}
	if (size == 0)
		return;
	if (event->offset != o->kept && !add_gap(o, event->offset)) {
		/* Dropped. Its place is as good as its bytes for what is to come. */
		(void)!wire_link_consumed(connection_link(p->connection), p->stream.id,
					  event->channel, event->size);
		return;
	}
	keep(p, i, event->data, size);
}

static void on_eof(struct process *p, const struct wire_event *event)
{
	unsigned i = OUTPUT(event->channel);
	p->outputs[i].ends = event->offset;
	/* What has all come by now may have been more than the command's. */
	if (p->outputs[i].received < p->totals[i])
		check_total(p, i);
}

static uint64_t wanted_offset(const struct process *p, unsigned i, uint64_t begins)
{
	return p->options.from_now ? begins : p->options.wanted[i];
}

static bool may_begin(struct process *p, unsigned i, uint64_t begins, uint64_t written)
{
	if (begins < wanted_offset(p, i, begins) || (begins > 0 && !p->was_there))
		break_off(p, "%s begins at byte %llu", output_name(i), (unsigned long long)begins);
	else if (written < begins)
		break_off(p, "%s begins at byte %llu, but it has %llu", output_name(i),
			  (unsigned long long)begins, (unsigned long long)written);
	return p->state != PROCESS_BROKEN;
}

static void begin_output(struct process *p, unsigned i, uint64_t begins, uint64_t written)
{
	struct output *o = &p->outputs[i];
	p->written[i] = written;
	uint64_t wanted = wanted_offset(p, i, begins);
	o->handed = o->kept = wanted;
	o->begins = o->received = begins;
	if (begins > wanted && !p->muted)
		add_gap(o, begins);
}

static bool keep_terminal(struct process *p, const Cove__Wire__Started *m)
{
	if (m->terminal.len == 0)
		return true;
	if (!m->tty || m->terminal.len > SCREEN_MODES_BYTES) {
		break_off(p, "modes of no terminal, or %zu bytes of them", m->terminal.len);
		return false;
	}
	p->terminal = malloc(m->terminal.len);
	if (!p->terminal)
		return true; /* a screen looks the worse for it, no byte is lost */
	memcpy(p->terminal, m->terminal.data, m->terminal.len);
	p->terminal_size = m->terminal.len;
	return true;
}

static void on_started(struct process *p, const Cove__Wire__Started *m)
{
	if (p->state != PROCESS_STARTING || !session_id_valid(m->id.data, m->id.len)) {
		break_off(p, "a second start, or one without an id");
		return;
	}
	size_t n = strlen(p->id);
	if (n > 0 && (n != m->id.len || memcmp(p->id, m->id.data, n) != 0)) {
		break_off(p, "another session has started than was asked for");
		return;
	}
	if (m->rows > UINT16_MAX || m->cols > UINT16_MAX) {
		break_off(p, "a terminal of %u by %u", m->rows, m->cols);
		return;
	}
	if (!keep_terminal(p, m))
		return;
	p->was_there = p->options.attaches || m->already_running;
	if (!may_begin(p, 0, m->stdout_offset, m->stdout_end) ||
	    !may_begin(p, 1, m->stderr_offset, m->stderr_end))
		return;
	begin_output(p, 0, m->stdout_offset, m->stdout_end);
	begin_output(p, 1, m->stderr_offset, m->stderr_end);
	p->tty = m->tty;
	p->rows = m->tty ? m->rows : 0;
	p->cols = m->tty ? m->cols : 0;
	if (n == 0) /* else somebody may be reading it */
		memcpy(p->id, m->id.data, m->id.len);
	p->pid = (int)m->pid;
	p->started = true;
	process_set_state(p, PROCESS_RUNNING);

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
	if (exit_from_message(m, &p->exit) < 0) {
		break_off(p, "an end for an unknown reason (%u)", m->cause);
		return;
	}
	p->totals[0] = m->stdout_total;
	p->totals[1] = m->stderr_total;
	process_set_state(p, PROCESS_ENDED);
	for (unsigned i = 0; i < N_OUTPUTS; i++)
		check_total(p, i);
}

static void on_failed(struct process *p, const Cove__Wire__Failure *m)
{
	if (process_complete(p)) {
		/* The machine died, but we have all that we came for; answers will not come. */
		LIST_FOREACH (i, &p->acks) {
			struct ack *ack = LIST_ENTRY(i, struct ack, entry);
			ack->done = ack->lost = true;
			process_not_running(p, &ack->failure);
		}
		stream_wake(&p->stream, STREAM_STATE);
		return;
	}
	failure_from_message(m, &p->failure);
	int code = p->failure.code;
	if (p->state == PROCESS_STARTING)
		p->failed = code != COVE_E_LOST && code != COVE_E_PROTOCOL;
	else if (code != COVE_E_LOST && code != COVE_E_LIMIT)
		p->failure.code = COVE_E_PROTOCOL; /* whatever it says, it has started */
	process_set_state(p, PROCESS_BROKEN);
}

static void on_stdin_error(struct process *p, const Cove__Wire__StdinError *m)
{
	if (p->state == PROCESS_STARTING) {
		break_off(p, "an error of stdin without a start");
		return;
	}
	if (p->input_errno || process_over(p))
		return;
	p->input_errno = m->os_errno > 0 && m->os_errno <= 4095 ? (int)m->os_errno : EPIPE;
	process_drop_input(p);
	stream_wake(&p->stream, STREAM_EVENT);
	process_ready(p);
}

static void on_ack(struct process *p, const Cove__Wire__Ack *m)
{
	LIST_FOREACH (i, &p->acks) {
		struct ack *ack = LIST_ENTRY(i, struct ack, entry);
		if (ack->request != m->request)
			continue;
		if (m->failure)
			failure_from_message(m->failure, &ack->failure);
		ack->done = true;
		stream_wake(&p->stream, STREAM_STATE);
	}
	process_on_flushed(p, m);
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

void process_on_event(struct stream *stream, const struct wire_event *event)
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
	else if (event->kind == WIRE_EVENT_EOF)
		on_eof(p, event);
	if (process_complete(p)) {
		stream_wake(stream, STREAM_EVENT);
		process_ready(p);
	}
	process_settle(p);
}
