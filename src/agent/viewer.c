/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/viewer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "agent/agent.h"
#include "base/error.h"

#include "agent/poison.h"

static struct session_output *output_of(struct session *s, unsigned channel)
{
	return &s->outputs[channel - WIRE_STDOUT];
}

/* ---- the link's source ---- */

size_t viewer_peek(void *userdata, uint32_t stream, unsigned channel, size_t max,
		   struct wire_chunk *ret)
{
	struct viewer *v = userdata;
	(void)stream;
	if (!v || v->muted)
		return 0; /* a stream that is no viewer has nothing to send */
	const struct ring *ring = &output_of(v->session, channel)->ring;
	if (v->next[channel] < ring->start)
		v->next[channel] = ring->start; /* overtaken: the gap shows in the offset */
	if (v->next[channel] >= ring->end)
		return 0;
	ret->offset = v->next[channel];
	return ring_peek(ring, ret->offset, max, ret->iov);
}

void viewer_consumed(void *userdata, uint32_t stream, unsigned channel, size_t n)
{
	struct viewer *v = userdata;
	(void)stream;
	v->next[channel] += n;
	session_output_resume(output_of(v->session, channel));
	session_drop_output(v->session);
}

/* ---- what there is to tell ---- */

static void tell_started(struct viewer *v, bool already_running)
{
	struct session *s = v->session;
	Cove__Wire__Started m = COVE__WIRE__STARTED__INIT;
	m.id = wire_string(s->id);
	m.pid = (uint32_t)s->pid;
	m.has_already_running = m.already_running = already_running;
	m.stdin_offset = v->starter ? s->input.started : s->input.accepted;
	m.has_stdin_offset = m.stdin_offset > 0;
	m.has_tty = m.tty = s->tty;
	m.has_stdout_offset = m.has_stderr_offset = already_running;
	m.stdout_offset = v->next[WIRE_STDOUT];
	m.stderr_offset = v->next[WIRE_STDERR];
	m.stdout_end = s->outputs[0].ring.end;
	m.stderr_end = s->outputs[1].ring.end;
	m.has_stdout_end = m.stdout_end > 0;
	m.has_stderr_end = m.stderr_end > 0;
	session_update_size(s);
	m.has_rows = m.has_cols = s->tty;
	m.rows = s->size.ws_row;
	m.cols = s->size.ws_col;
	uint8_t modes[SCREEN_MODES_BYTES];
	if (s->screen)
		m.terminal = wire_bytes(modes, screen_modes_redo(&s->screen->modes, modes));
	m.has_terminal = m.terminal.len > 0;
	server_send(s->agent, v->stream, WIRE_STARTED, &m.base);
}

static void tell_exited(struct viewer *v)
{
	struct session *s = v->session;
	Cove__Wire__Usage usage = COVE__WIRE__USAGE__INIT;
	Cove__Wire__Exited m = COVE__WIRE__EXITED__INIT;
	session_fill_exited(s, &m, &usage);
	/* Who comes to look after the end gets what background processes have written since, too. */
	if (!v->starter) {
		m.stdout_total = s->outputs[0].ring.end;
		m.stderr_total = s->outputs[1].ring.end;
	}
	server_send(s->agent, v->stream, WIRE_EXITED, &m.base);
}

void viewer_stdin_error(struct viewer *v, int error)
{
	if (v->stdin_error)
		return;
	v->stdin_error = error;
	Cove__Wire__StdinError m = COVE__WIRE__STDIN_ERROR__INIT;
	m.os_errno = (uint32_t)error;
	server_send(v->session->agent, v->stream, WIRE_STDIN_ERROR, &m.base);
}

/* ---- life ---- */

struct viewer *viewer_new(const struct viewer *options)
{
	struct viewer *v = malloc(sizeof(*v));
	if (!v)
		return NULL;
	*v = *options;
	list_init(&v->in_session);
	return v;
}

void viewer_join(struct viewer *v, struct session *s, bool already_running)
{
	assert(s->n_viewers < SESSION_VIEWERS_MAX);
	v->session = s;
	list_append(&s->viewers, &v->in_session);
	s->n_viewers++;

	struct wire_link *link = s->agent->server.link;
	wire_link_set_userdata(link, v->stream, v);
	tell_started(v, already_running);
	if (v->write && s->input.error)
		viewer_stdin_error(v, s->input.error);
	for (unsigned channel = WIRE_STDOUT; channel <= WIRE_STDERR; channel++) {
		const struct session_output *o = output_of(s, channel);
		if (o->eof)
			server_send_eof(s->agent, v->stream, channel, o->ring.end);
		if (v->next[channel] < o->ring.end)
			wire_link_ready(link, v->stream, channel);
	}
	if (s->state == SESSION_ENDED)
		tell_exited(v);
}

/* The last of those who started it, maybe again by its id, has gone. */
static bool is_deserted(const struct session *s)
{
	LIST_FOREACH (i, &s->viewers)
		if (LIST_ENTRY(i, struct viewer, in_session)->starter)
			return false;
	return true;
}

void viewer_free(struct viewer *v)
{
	struct session *s = v->session;
	/* With wait_eof what the leader left is waited for as if it were the command. */
	bool runs = s->state == SESSION_RUNNING || (s->state == SESSION_ENDING && s->wait_eof);
	bool may_kill = v->starter && s->kill_on_disconnect && runs;

	session_drop_kill_requests(s, v->stream);
	list_remove(&v->in_session);
	s->n_viewers--;
	wire_link_set_userdata(s->agent->server.link, v->stream, NULL);
	free(v);

	if (may_kill && is_deserted(s))
		session_kill(s, SESSION_KILLED);
	for (size_t i = 0; i < ARRAY_SIZE(s->outputs); i++)
		session_output_resume(&s->outputs[i]);
	session_drop_output(s);
	session_settle(s);
}

void viewer_mute(struct viewer *v)
{
	struct session *s = v->session;
	v->lossy = v->muted = true;
	for (size_t i = 0; i < ARRAY_SIZE(s->outputs); i++)
		session_output_resume(&s->outputs[i]);
	session_drop_output(s);
}

/* ---- FLUSH ---- */

uint64_t viewer_input_end(const struct viewer *v)
{
	/* Who starts it again leaves out what STARTED said had come. */
	return v->starter ? MAX(v->input_end, v->session->input.started) : v->input_end;
}

/*
 * Refused bytes come first: they count as come, and have not. Then what did come is the command's,
 * whatever became of that since.
 */
static void settle_flush(struct viewer *v)
{
	struct session *s = v->session;
	struct cove_error err = COVE_ERROR_INIT;
	int error = v->stdin_error;
	if (!v->flushing)
		return;
	if (!error && viewer_input_end(v) < v->flush_offset) {
		error = session_input_error(s);
		if (s->state == SESSION_ENDED)
			error_set(&err, COVE_E_STATE, "session '%s' has ended", s->id);
		else if (!error)
			return; /* it may still come */
	}
	if (error && !err.code)
		error_set_errno(&err, COVE_E_SYSTEM, error, "stdin of session '%s'", s->id);
	v->flushing = false;
	server_acknowledge(s->agent, v->stream, v->flush_request, err.code ? &err : NULL);
}

int viewer_flush(struct viewer *v, uint32_t request, uint64_t offset)
{
	if (v->flushing)
		return -EBUSY;
	v->flushing = true;
	v->flush_request = request;
	v->flush_offset = offset;
	settle_flush(v);
	return 0;
}

void viewers_settle_flushes(struct session *s)
{
	LIST_FOREACH (i, &s->viewers)
		settle_flush(LIST_ENTRY(i, struct viewer, in_session));
}

/* ---- all of a session ---- */

void viewers_output(struct session *s, unsigned channel)
{
	LIST_FOREACH (i, &s->viewers) {
		struct viewer *v = LIST_ENTRY(i, struct viewer, in_session);
		wire_link_ready(s->agent->server.link, v->stream, channel);
	}
}

void viewers_eof(struct session *s, unsigned channel)
{
	LIST_FOREACH (i, &s->viewers) {
		struct viewer *v = LIST_ENTRY(i, struct viewer, in_session);
		server_send_eof(s->agent, v->stream, channel, output_of(s, channel)->ring.end);
	}
}

void viewers_exited(struct session *s)
{
	LIST_FOREACH (i, &s->viewers)
		tell_exited(LIST_ENTRY(i, struct viewer, in_session));
}

uint64_t viewers_keep(const struct session *s, unsigned channel)
{
	uint64_t keep = s->outputs[channel - WIRE_STDOUT].ring.end;
	LIST_FOREACH (i, &s->viewers) {
		const struct viewer *v = LIST_ENTRY(i, struct viewer, in_session);
		if (!v->lossy)
			keep = MIN(keep, v->next[channel]);
	}
	return keep;
}

uint64_t viewers_want(const struct session *s, unsigned channel)
{
	uint64_t want = s->outputs[channel - WIRE_STDOUT].ring.end;
	LIST_FOREACH (i, &s->viewers) {
		const struct viewer *v = LIST_ENTRY(i, struct viewer, in_session);
		if (!v->muted)
			want = MIN(want, v->next[channel]);
	}
	return want;
}

bool viewers_are_served(const struct session *s)
{
	LIST_FOREACH (i, &s->viewers) {
		const struct viewer *v = LIST_ENTRY(i, struct viewer, in_session);
		for (size_t k = 0; k < ARRAY_SIZE(s->outputs) && !v->lossy; k++)
			if (v->next[s->outputs[k].channel] < s->outputs[k].ring.end)
				return false;
	}
	return true;
}
