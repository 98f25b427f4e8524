/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/output.h"

#include <string.h>

#include "base/error.h"
#include "base/name.h"
#include "lib/keep.h"
#include "lib/utf8.h"

/* A cove_output with what it points to. */
struct owned_output {
	cove_output output;
	char *stdout_data;
	char *stderr_data;
	char id[SESSION_ID_MAX_BYTES + 1];
};

struct collector {
	const struct output_limit *limit;
	struct keep keeps[2];
	cove_output *output;
};

static int keep_output(struct collector *c, const struct process_event *event)
{
	unsigned i = event->kind == PROCESS_STDOUT ? 0 : 1;
	size_t n = event->size;
	if (c->limit->policy == COVE_OUTPUT_KILL) {
		/*
		 * The guest kills it for passing the limit. That takes a moment, and a guest that
		 * does not do it must not fill our memory.
		 */
		uint64_t kept = (uint64_t)c->keeps[0].size + c->keeps[1].size;
		n = (size_t)MIN((uint64_t)n, c->limit->bytes - kept);
	}
	return keep_add(&c->keeps[i], event->data, n);
}

static void take_end(struct collector *c, const struct process_event *event)
{
	c->output->exit = event->exit;
	c->output->stdout_total = event->totals[0];
	c->output->stderr_total = event->totals[1];
}

/* 1: go on; 0: that was the end. */
static int take_event(struct collector *c, const struct process_event *event,
		      struct cove_error *err)
{
	switch (event->kind) {
	case PROCESS_STARTED:
		c->output->pid = event->pid;
		snprintf((char *)c->output->id, SESSION_ID_MAX_BYTES + 1, "%s", event->id);
		return 1;
	case PROCESS_STDOUT:
	case PROCESS_STDERR:
		if (keep_output(c, event) < 0)
			return error_set(err, COVE_E_NO_MEMORY, "out of memory for the output");
		return 1;
	case PROCESS_STDIN_ERROR:
		c->output->stdin_errno = event->os_errno;
		return 1;
	case PROCESS_GAP: /* shows as a total that is larger than what is there */
		return 1;
	case PROCESS_EXITED:
		take_end(c, event);
		return 0;
	case PROCESS_FAILED:
	case PROCESS_LOST:
		break;
	}
	if (err)
		*err = *event->error;
	return event->error->code;
}

static int finish(struct collector *c, struct owned_output *owned, struct cove_error *err)
{
	cove_output *o = c->output;
	if (keep_take(&c->keeps[0], &owned->stdout_data, &o->stdout_bytes) < 0 ||
	    keep_take(&c->keeps[1], &owned->stderr_data, &o->stderr_bytes) < 0)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory for the output");
	o->stdout_data = owned->stdout_data;
	o->stderr_data = owned->stderr_data;
	o->limited = o->stdout_total > o->stdout_bytes || o->stderr_total > o->stderr_bytes ||
		     o->exit.cause == COVE_CAUSE_OUTPUT_LIMIT;
	return 0;
}

int output_collect(struct process *p, const struct output_limit *limit, cove_output **ret,
		   struct cove_error *err)
{
	struct owned_output *owned = calloc(1, sizeof(*owned));
	if (!owned) {
		process_kill_nowait(p);
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	}
	_cleanup_(cove_output_freep) cove_output *output = &owned->output;
	output->id = owned->id;

	struct collector c = { .limit = limit, .output = output };
	for (unsigned i = 0; i < 2; i++)
		keep_init(&c.keeps[i], limit->bytes, limit->policy == COVE_OUTPUT_TAIL);

	struct process_event event;
	int r;
	do {
		r = process_recv(p, DEADLINE_NEVER, &event, err);
		if (r > 0)
			r = take_event(&c, &event, err);
	} while (r > 0);
	if (r == 0)
		r = finish(&c, owned, err);
	else if (r == COVE_E_NO_MEMORY)
		process_kill_nowait(p);

	for (unsigned i = 0; i < 2; i++)
		keep_done(&c.keeps[i]);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(output);
	return 0;
}

static int as_text(const char *data, size_t n, const char *which, const char **ret,
		   struct cove_error *err)
{
	size_t valid = utf8_valid(data, n);
	if (valid < n)
		return error_set(err, COVE_E_ENCODING, "%s is not text: byte 0x%02x at offset %zu",
				 which, (unsigned char)data[valid], valid);
	*ret = data;
	return 0;
}

_public_ int cove_output_text(const cove_output *out, const char **ret, struct cove_error *err)
{
	return as_text(out->stdout_data, out->stdout_bytes, "stdout", ret, err);
}

_public_ int cove_output_stderr_text(const cove_output *out, const char **ret,
				     struct cove_error *err)
{
	return as_text(out->stderr_data, out->stderr_bytes, "stderr", ret, err);
}

_public_ cove_output *cove_output_free(cove_output *out)
{
	if (out) {
		struct owned_output *owned = CONTAINER_OF(out, struct owned_output, output);
		free(owned->stdout_data);
		free(owned->stderr_data);
		free(owned);
	}
	return NULL;
}

_public_ bool cove_exit_success(const struct cove_exit *exit)
{
	return exit->cause == COVE_CAUSE_EXITED && exit->code == 0;
}
