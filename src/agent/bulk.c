/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/bulk.h"

#include "agent/agent.h"

#include "agent/poison.h"

static void release(void *userdata)
{
	struct bulk *bulk = userdata;
	bulk->held = bulk->link_held = false;
	timer_stop(bulk->timer);
	LIST_FOREACH (i, &bulk->outputs)
		session_output_hold(LIST_ENTRY(i, struct session_output, in_bulk), false);
}

int bulk_init(struct bulk *bulk, uv_loop_t *loop)
{
	list_init(&bulk->outputs);
	return timer_new(loop, release, bulk, &bulk->timer);
}

void bulk_add(struct session_output *o)
{
	if (list_empty(&o->in_bulk))
		list_append(&o->session->agent->sessions.bulk.outputs, &o->in_bulk);
}

void bulk_input(struct session *s, size_t n, bool written)
{
	struct bulk *bulk = &s->agent->sessions.bulk;
	uint64_t now = uv_now(&s->agent->loop);
	if (n >= BULK_LARGE_WRITE)
		bulk->flooded_at = now;
	bool flooded = bulk->flooded_at && now - bulk->flooded_at <= BULK_RECENT_MS;
	if (n > BULK_SMALL_WRITE || !written || bulk->held || now < bulk->quiet_until ||
	    (!flooded && list_empty(&bulk->outputs)))
		return;
	bulk->held = true;
	bulk->link_held = flooded;
	bulk->quiet_until = now + (uint64_t)2 * BULK_HOLD_MS;
	LIST_FOREACH (i, &bulk->outputs) {
		struct session_output *o = LIST_ENTRY(i, struct session_output, in_bulk);
		if (o->session != s)
			session_output_hold(o, true);
	}
	timer_start(bulk->timer, BULK_HOLD_MS);
}

void bulk_answered(const struct session_output *o)
{
	struct bulk *bulk = &o->session->agent->sessions.bulk;
	if (bulk->held && !o->held_back)
		release(bulk);
}
