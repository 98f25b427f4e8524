/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/listing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "base/cleanup.h"
#include "base/error.h"

#include "agent/poison.h"

/* In one message: some 10 KiB where commands are short, and 300 KiB where none is. */
#define LISTING_BATCH_SESSIONS 64
/* Of argv, in all messages of one list: whoever asked has to keep them. */
#define LISTING_ARGV_BYTES (4u * 1024 * 1024)
/* More words than anybody reads in a list. */
#define LISTING_ARGV_WORDS 64

/* Besides argv's bytes an entry has ids, numbers, and what encodes them. */
_Static_assert(LISTING_BATCH_SESSIONS *(SESSION_ARGV_MAX + 4u * LISTING_ARGV_WORDS + 512) <
		       WIRE_MESSAGE_MAX,
	       "a message of a list can be sent");

struct listing {
	struct list in_agent;
	uint32_t stream;
	uint64_t last; /* the number of the session that was listed last */
	uint64_t end;  /* of the last one to be listed */
};

struct listed {
	Cove__Wire__Session session;
	Cove__Wire__Exited exited;
	Cove__Wire__Usage usage;
	ProtobufCBinaryData argv[LISTING_ARGV_WORDS];
};

static void fill_argv(const struct session *s, size_t argv_bytes, struct listed *ret)
{
	ret->session.argv = ret->argv;
	for (char **p = s->argv; *p && ret->session.n_argv < ARRAY_SIZE(ret->argv); p++) {
		size_t n = MIN(strlen(*p), argv_bytes);
		argv_bytes -= n;
		ret->argv[ret->session.n_argv++] = wire_bytes(*p, n);
	}
}

static void fill(struct session *s, size_t argv_bytes, struct listed *ret)
{
	Cove__Wire__Session *m = &ret->session;
	cove__wire__session__init(m);
	cove__wire__exited__init(&ret->exited);
	cove__wire__usage__init(&ret->usage);
	m->id = wire_string(s->id);
	m->pid = (uint32_t)s->pid;
	fill_argv(s, argv_bytes, ret);
	m->has_started_ns = m->has_viewers = true;
	m->started_ns = s->started_ns;
	m->viewers = s->n_viewers;
	m->has_stdout_total = m->has_stderr_total = true;
	m->stdout_total = s->outputs[0].ring.end;
	m->stderr_total = s->outputs[1].ring.end;
	m->has_stdout_start = m->has_stderr_start = true;
	m->stdout_start = s->outputs[0].ring.start;
	m->stderr_start = s->outputs[1].ring.start;
	m->has_collected = m->collected = s->collected;
	m->has_has_processes = m->has_processes = !s->tree.empty;
	m->has_stdin_open = m->stdin_open = session_input_error(s) == 0;
	session_update_size(s);
	m->has_tty = m->has_rows = m->has_cols = m->tty = s->tty;
	m->rows = s->size.ws_row;
	m->cols = s->size.ws_col;
	if (s->state == SESSION_ENDED) {
		session_fill_exited(s, &ret->exited, &ret->usage);
		m->exited = &ret->exited;
	}
}

static void end(struct listing *l)
{
	list_remove(&l->in_agent);
	free(l);
}

/* Sends its next message. True when that was the last one, or the stream is gone. */
static bool send_batch(struct agent *agent, struct listing *l, struct listed *batch)
{
	const struct sessions *all = &agent->sessions;
	size_t argv_bytes = LISTING_ARGV_BYTES / (all->n_all + 1);
	uint64_t last = l->last;
	Cove__Wire__Session *list[LISTING_BATCH_SESSIONS];
	Cove__Wire__SessionList m = COVE__WIRE__SESSION_LIST__INIT;
	m.sessions = list;
	m.has_more = true;
	LIST_FOREACH (i, &all->all) {
		struct session *s = LIST_ENTRY(i, struct session, in_all);
		/* Those without an id are forgotten, but for who looks at them. */
		if (s->number <= l->last || list_empty(&s->in_ids))
			continue;
		m.more = s->number <= l->end && m.n_sessions == LISTING_BATCH_SESSIONS;
		if (m.more || s->number > l->end)
			break;
		fill(s, argv_bytes, &batch[m.n_sessions]);
		list[m.n_sessions] = &batch[m.n_sessions].session;
		m.n_sessions++;
		last = s->number;
	}
	l->last = last;
	return !server_send(agent, l->stream, WIRE_SESSIONS, &m.base) || !m.more;
}

int listing_begin(struct agent *agent, uint32_t stream)
{
	struct listing *l = malloc(sizeof(*l));
	if (!l)
		return -ENOMEM;
	*l = (struct listing){ .stream = stream, .end = agent->sessions.n_started };
	list_append(&agent->listings, &l->in_agent);
	return 0;
}

void listing_drop(struct agent *agent, uint32_t stream)
{
	LIST_FOREACH (i, &agent->listings) {
		struct listing *l = LIST_ENTRY(i, struct listing, in_agent);
		if (l->stream == stream) {
			end(l);
			return;
		}
	}
}

bool listings_pending(const struct agent *agent)
{
	return !list_empty(&agent->listings);
}

void listings_step(struct agent *agent)
{
	if (!listings_pending(agent) || wire_link_queued(agent->server.link) > 0)
		return;
	struct listing *l = LIST_ENTRY(agent->listings.next, struct listing, in_agent);
	_cleanup_free_ struct listed *batch = calloc(LISTING_BATCH_SESSIONS, sizeof(*batch));
	if (!batch) {
		struct cove_error err = COVE_ERROR_INIT;
		error_set(&err, COVE_E_NO_MEMORY, "listing the sessions");
		server_send_failure(agent, l->stream, WIRE_FAILED, &err);
		end(l);
		return;
	}
	if (send_batch(agent, l, batch)) {
		end(l);
		return;
	}
	/* Each of them a message in turn. */
	list_remove(&l->in_agent);
	list_append(&agent->listings, &l->in_agent);
}

void listings_forget(struct agent *agent)
{
	LIST_FOREACH_SAFE (i, &agent->listings)
		end(LIST_ENTRY(i, struct listing, in_agent));
}
