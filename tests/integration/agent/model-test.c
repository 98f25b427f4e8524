/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that can be asked about sessions, at random, while sessions start, write and end, against a
 * model of what must be true whatever comes before what: each session runs once and ends once, in the same
 * way for everybody; it is refused as GONE after it was collected and not before; every byte is the one
 * that belongs at its offset; the list has each session once. COVE_TEST_ROUNDS says how many steps,
 * COVE_TEST_SEED which.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/cgroup.h"
#include "agent/session.h"
#include "cove/cove.h"
#include "harness/agent-client.h"
#include "harness/tap.h"
#include "vm/rounds.h"

#define SESSIONS 8  /* at a time */
#define STREAMS	 48 /* at a time */
/* What seq prints is what all sessions print, and as far as cat gets it, what it is given. */
#define LINES 60000
#define INPUT 20000

enum request { NONE, COLLECT, FLUSH, KILL, SIGNAL };

struct model {
	char id[16];
	bool tty;
	bool ended;	/* somebody saw EXITED */
	unsigned cause; /* ... and what it said */
	int code;
	bool collected;	      /* surely */
	bool maybe_collected; /* asked for, and the answer is not there, or lost */
};

struct look {
	struct agent_stream *s;
	struct model *m;
	bool exec, write, lossy, muted;
	bool seen_started, seen_exited;
	bool must_be_gone, must_be_there; /* as of when it was opened */
	enum request pending;
	bool must_succeed;
	uint64_t flush_offset;
	unsigned sent; /* requests */
};

static struct agent_client *client;
static char *text;
static size_t text_size;
static struct model models[SESSIONS];
static struct look looks[STREAMS];
static unsigned n_started, n_collected, n_gone, n_flushed, n_listed;

static unsigned pick(unsigned n)
{
	return (unsigned)random() % n;
}

static void make_text(void)
{
	char line[16];
	text = malloc((size_t)LINES * 8);
	CHECK(text != NULL);
	for (int i = 1; i <= LINES; i++) {
		int n = snprintf(line, sizeof(line), "%d\n", i);
		memcpy(text + text_size, line, (size_t)n);
		text_size += (size_t)n;
	}
}

/* ---- what must be true ---- */

static void check_failed(const struct look *l)
{
	int code = l->s->error.code;
	if (code != COVE_E_GONE && code != COVE_E_LIMIT)
		tap_note("%d: %s", code, l->s->error.message);
	CHECK(code == COVE_E_GONE || code == COVE_E_LIMIT);
	if (code == COVE_E_LIMIT)
		return;
	CHECK(l->m->collected || l->m->maybe_collected);
	CHECK(!l->must_be_there);
	l->m->collected = true;
	n_gone++;
}

static void check_exited(struct look *l)
{
	struct model *m = l->m;
	if (!m->ended) {
		m->ended = true;
		m->cause = l->s->cause;
		m->code = l->s->code;
	}
	CHECK_INT(l->s->cause, ==, m->cause);
	CHECK_INT(l->s->code, ==, m->code);
	l->seen_exited = true;
}

static void check_ack(struct look *l)
{
	int code = l->s->ack_error.code;
	if (!l->write && l->pending != NONE) {
		CHECK_INT(code, ==, COVE_E_DENIED);
	} else if (l->pending == COLLECT) {
		CHECK(code == 0 || (code == COVE_E_STATE && !l->must_succeed));
		if (code == 0) {
			CHECK(l->s->exited); /* it is said first */
			l->m->collected = true;
			n_collected++;
		}
	} else if (l->pending == FLUSH) {
		CHECK(code == 0 || code == COVE_E_STATE || code == COVE_E_SYSTEM);
		if (code == 0) {
			CHECK_INT(l->flush_offset, <=, INPUT);
			n_flushed++;
		}
	} else {
		CHECK(code == 0 || code == COVE_E_STATE || code == COVE_E_SYSTEM ||
		      code == COVE_E_LIMIT);
	}
	l->pending = NONE;
}

static void check_bytes(const struct look *l)
{
	const struct agent_output *o = &l->s->out[0];
	if (l->m->tty || l->lossy || o->received == 0)
		return;
	uint64_t first = l->s->has_offsets ? l->s->offsets[0] : 0;
	CHECK_INT(o->gap, ==, first);
	CHECK_INT(o->next, ==, first + o->received);
	CHECK_INT(o->next, <=, text_size);
	CHECK(memcmp(o->data, text + first, o->size) == 0);
}

/* What came since it was looked at last. */
static void check(struct look *l)
{
	struct agent_stream *s = l->s;
	if (s->failed && !s->garbled && !l->seen_started) {
		check_failed(l);
		l->s = agent_free(s);
		return;
	}
	if (s->started && !l->seen_started) {
		l->seen_started = true;
		CHECK(!l->must_be_gone);
		CHECK_STR(s->session, l->m->id);
	}
	if (s->exited && !l->seen_exited)
		check_exited(l);
	CHECK_INT(s->acks, <=, l->sent);
	if (l->pending != NONE && s->acks == l->sent)
		check_ack(l);
}

static void serve(unsigned ms)
{
	agent_client_idle(client, (int)ms);
	for (unsigned i = 0; i < STREAMS; i++)
		if (looks[i].s)
			check(&looks[i]);
}

/* ---- the steps ---- */

static struct look *free_look(void)
{
	for (unsigned i = 0; i < STREAMS; i++)
		if (!looks[i].s)
			return &looks[i];
	return NULL;
}

/* One that is open and has been answered. */
static struct look *any_look(void)
{
	struct look *l = &looks[pick(STREAMS)];
	return l->s && l->seen_started && !l->s->failed ? l : NULL;
}

static struct look *new_look(struct model *m)
{
	struct look *l = free_look();
	if (!l)
		return NULL;
	*l = (struct look){ .m = m, .must_be_gone = m->collected };
	l->must_be_there = !m->collected && !m->maybe_collected;
	return l;
}

static void drop(struct look *l)
{
	check_bytes(l);
	l->s = agent_free(l->s);
}

static void step_new(void)
{
	static const char *const scripts[] = {
		"seq 1 60000",
		"seq 1 40; exit 3",
		"cat",
		"seq 1 40; sleep 2 & exit 4",
		"exec sleep 600",
		"seq 1 500; sleep 0.01; exit 5",
	};
	struct model *m = &models[pick(SESSIONS)];
	struct look *l = free_look();
	if (!l || (m->id[0] && (!m->collected || pick(2))))
		return;
	/* Nobody looks any more at the one whose place it takes. */
	for (unsigned i = 0; i < STREAMS; i++)
		if (looks[i].s && looks[i].m == m)
			drop(&looks[i]);
	l = free_look();
	unsigned kind = pick(ARRAY_SIZE(scripts));
	*m = (struct model){ .tty = kind != 2 && pick(4) == 0 };
	snprintf(m->id, sizeof(m->id), "s%u", n_started++);
	struct agent_run run = {
		.id = m->id,
		.pipe = kind == 2,
		.in = text,
		.in_size = INPUT,
		.open = true,
		.tty = m->tty,
		.kill_on_disconnect = pick(3) == 0,
		.replay_bytes = pick(2) ? 4096 : 0,
		.linger_ms = pick(2) ? -1 : 0,
	};
	*l = (struct look){ .m = m, .exec = true, .write = true };
	l->s = agent_sh(client, scripts[kind], &run);
	l->must_be_there = true;
	if (pick(2)) /* else it may be asked for before it is there */
		AGENT_UNTIL(client, l->s->started);
}

static struct model *any_model(void)
{
	struct model *m = &models[pick(SESSIONS)];
	return m->id[0] ? m : NULL;
}

/* By its id once more, which starts nothing. */
static void step_again(void)
{
	struct model *m = any_model();
	struct look *l = m ? new_look(m) : NULL;
	if (!l)
		return;
	struct agent_run run = { .id = m->id };
	l->exec = l->write = true;
	l->s = agent_sh(client, "echo never; exit 99", &run);
}

static void step_attach(void)
{
	struct model *m = any_model();
	struct look *l = m ? new_look(m) : NULL;
	if (!l)
		return;
	Cove__Wire__Attach a = COVE__WIRE__ATTACH__INIT;
	a.id = wire_string(m->id);
	a.has_from = a.has_lossy = a.has_write = true;
	a.from = pick(2) ? COVE__WIRE__ATTACH__FROM__NOW : COVE__WIRE__ATTACH__FROM__START_OF_RING;
	a.lossy = l->lossy = pick(3) == 0;
	a.write = l->write = pick(4) > 0;
	l->s = agent_attach(client, &a);
}

static void step_request(void)
{
	struct look *l = any_look();
	if (!l || l->pending != NONE || !l->s->id)
		return;
	struct agent_stream *s = l->s;
	l->must_succeed = l->m->ended;
	switch (pick(4)) {
	case 0:
	case 1:
		l->pending = COLLECT;
		if (l->write)
			l->m->maybe_collected = true;
		agent_send_collect(s);
		break;
	case 2: {
		static const uint64_t offsets[] = { 0, 1, INPUT, INPUT + 1, UINT64_MAX };
		l->pending = FLUSH;
		l->flush_offset = offsets[pick(ARRAY_SIZE(offsets))];
		agent_send_flush(s, l->flush_offset);
		break;
	}
	default: {
		Cove__Wire__Kill k = COVE__WIRE__KILL__INIT;
		k.request = s->acks + 1;
		l->pending = KILL;
		agent_send(s, WIRE_KILL, &k.base);
	}
	}
	l->sent++;
}

static void step_signal(void)
{
	static const uint32_t signals[] = { 0, 2, 15, 18, 65, UINT32_MAX };
	struct look *l = any_look();
	if (!l || l->pending != NONE)
		return;
	Cove__Wire__Signal m = COVE__WIRE__SIGNAL__INIT;
	m.request = l->s->acks + 1;
	m.signal = signals[pick(ARRAY_SIZE(signals))];
	agent_send(l->s, WIRE_SIGNAL, &m.base);
	l->sent++;
	agent_wait_acks(l->s, l->sent);
	CHECK(m.signal != 0 || l->s->ack_error.code != 0);
}

static void step_stall(void)
{
	struct look *l = any_look();
	if (!l)
		return;
	if (l->s->out[0].stalled)
		agent_unstall(l->s);
	else
		l->s->out[0].stalled = true;
}

static void step_mute(void)
{
	struct look *l = any_look();
	if (l && !l->muted) {
		l->muted = true;
		agent_mute(l->s);
	}
}

static void step_close(void)
{
	struct look *l = &looks[pick(STREAMS)];
	if (l->s)
		drop(l);
}

/* A request that nobody can read ends its stream, and with it what waits there. */
static void step_garble(void)
{
	static const uint8_t types[] = { WIRE_FLUSH, WIRE_COLLECT, WIRE_KILL, WIRE_RESIZE };
	struct look *l = any_look();
	if (!l)
		return;
	l->s->garbled = true;
	agent_send_raw(l->s, types[pick(ARRAY_SIZE(types))], "\377\377", 2);
	AGENT_UNTIL(client, l->s->failed);
	drop(l);
}

static void step_resync(void)
{
	for (unsigned i = 0; i < STREAMS; i++)
		if (looks[i].s)
			drop(&looks[i]);
	agent_client_resync(client);
}

static void step_list(void)
{
	bool ended[SESSIONS], collected[SESSIONS], not_collected[SESSIONS];
	for (unsigned i = 0; i < SESSIONS; i++) {
		ended[i] = models[i].ended;
		collected[i] = models[i].collected;
		not_collected[i] = !models[i].maybe_collected;
	}
	struct agent_stream *list = agent_list(client);
	unsigned n = 0, last = 0;
	for (unsigned i = 0; i < list->n_lists; i++)
		for (size_t k = 0; k < list->lists[i]->n_sessions; k++, n++) {
			char id[16] = "";
			const Cove__Wire__Session *s = list->lists[i]->sessions[k];
			memcpy(id, s->id.data, MIN(s->id.len, sizeof(id) - 1));
			unsigned number = (unsigned)atoi(id + 1);
			CHECK(n == 0 || number > last);
			last = number;
		}
	CHECK_INT(n, <=, n_started);
	for (unsigned i = 0; i < SESSIONS; i++) {
		const Cove__Wire__Session *s = agent_listed(list, models[i].id);
		if (!models[i].id[0])
			continue;
		CHECK(s != NULL);
		CHECK(!ended[i] || s->exited);
		CHECK(!collected[i] || s->collected);
		CHECK(!not_collected[i] || !s->collected);
		CHECK(!s->collected || s->exited);
		if (s->exited && models[i].ended)
			CHECK_INT(s->exited->code, ==, models[i].code);
	}
	n_listed++;
	agent_free(list);
}

static void step(void)
{
	static void (*const steps[])(void) = {
		step_new,    step_new,	   step_new,	 step_again,   step_attach,
		step_attach, step_attach,  step_request, step_request, step_request,
		step_signal, step_request, step_stall,	 step_stall,   step_mute,
		step_close,  step_close,   step_close,	 step_garble,
	};
	unsigned n = pick(400);
	if (n == 0)
		step_resync();
	else if (n < 8)
		step_list();
	else
		steps[pick(ARRAY_SIZE(steps))]();
	serve(pick(4) ? 0 : pick(4));
}

static void test_model(void)
{
	const char *seed_text = getenv("COVE_TEST_SEED");
	unsigned seed = seed_text ? (unsigned)atoi(seed_text) : (unsigned)time(NULL);
	srandom(seed);
	tap_note("COVE_TEST_SEED=%u", seed);
	make_text();
	client = agent_client_start(agent_cgroup());
	struct agent_run first = { .id = "s0" };
	agent_free(agent_do(client, "true", &first));
	n_started = 1;
	unsigned fds = agent_count_fds(client);
	size_t steps = rounds_or(6000);
	/* So many that none is forgotten for there being too many of them. */
	for (size_t i = 0; i < steps && n_started < SESSIONS_KEPT_MAX; i++) {
		step();
	}
	tap_note("%u sessions, %u collected, %u gone, %u flushed, %u listed", n_started,
		 n_collected, n_gone, n_flushed, n_listed);
	CHECK(n_started > 10 && n_collected > 0 && n_gone > 0 && n_flushed > 0);
	CHECK_INT(agent_client_resyncs(client), ==, 0);

	/* Nothing is left of what ends, however it was asked for. */
	step_resync();
	for (unsigned i = 0; i < SESSIONS; i++) {
		struct look *l = &looks[0];
		if (!models[i].id[0])
			continue;
		*l = (struct look){ .m = &models[i], .exec = true, .write = true };
		struct agent_run run = { .id = models[i].id };
		l->s = agent_sh(client, "exit 99", &run);
		AGENT_UNTIL(client, l->s->started || l->s->failed);
		if (l->s->started) {
			l->sent++;
			agent_kill(l->s);
		}
		AGENT_UNTIL(client, l->s->failed || l->s->exited);
		check(l);
		if (l->s)
			drop(l);
	}
	step_list();
	CHECK_WITHIN(agent_count_children(client) == 0, 10000);

	/* Cgroups that wait for their next command are kept open. */
	CHECK_WITHIN(agent_count_fds(client) <= fds + 3 * CGROUPS_SPARE_MAX, 10000);
	agent_client_stop(client);
	free(text);
}

static const struct tap_test tests[] = {
	{ "at random", test_model, .timeout_s = 600 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
