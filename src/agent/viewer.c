/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/viewer.h"

#include <errno.h>
#include <stdlib.h>

#include "agent/agent.h"

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
	v->told_end = true;
	server_send(s->agent, v->stream, WIRE_EXITED, &m.base);
}

void viewer_stdin_error(struct viewer *v, int error)
{
	if (v->told_stdin_error)
		return;
	v->told_stdin_error = true;
	Cove__Wire__StdinError m = COVE__WIRE__STDIN_ERROR__INIT;
	m.os_errno = (uint32_t)error;
	server_send(v->session->agent, v->stream, WIRE_STDIN_ERROR, &m.base);
}

/* ---- life ---- */

int viewer_new(struct session *s, const struct viewer *options, bool already_running)
{
	if (s->n_viewers == SESSION_VIEWERS_MAX)
		return -EBUSY;
	struct viewer *v = malloc(sizeof(*v));
	if (!v)
		return -ENOMEM;
	*v = *options;
	v->session = s;
	list_init(&v->in_session);
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
	return 0;
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
	bool may_kill = v->starter && s->kill_on_disconnect && s->state == SESSION_RUNNING;

	session_drop_kill_requests(s, v->stream);
	if (v->collect && v->told_end)
		s->collected = true;
	list_remove(&v->in_session);
	s->n_viewers--;
	wire_link_set_userdata(s->agent->server.link, v->stream, NULL);
	free(v);

	if (may_kill && is_deserted(s))
		session_kill(s, SESSION_KILLED);
	for (size_t i = 0; i < ARRAY_SIZE(s->outputs); i++)
		session_output_resume(&s->outputs[i]);
	session_settle(s);
}

void viewer_mute(struct viewer *v)
{
	struct session *s = v->session;
	v->lossy = v->muted = true;
	for (size_t i = 0; i < ARRAY_SIZE(s->outputs); i++)
		session_output_resume(&s->outputs[i]);
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
