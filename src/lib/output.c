/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/output.h"

#include <string.h>

#include "base/error.h"
#include "base/name.h"
#include "base/utf8.h"
#include "lib/keep.h"

/* A cove_output with what it points to. */
struct owned_output {
	cove_output output;
	char *stdout_data;
	char *stderr_data;
	char id[SESSION_ID_MAX_BYTES + 1];
};

struct collector {
	struct process *process;
	struct output_limit limit;
	struct keep keeps[2];
	bool dropped; /* bytes that were there, or had been */
	bool killed;  /* by us, for passing the limit */
};

static int keep_output(struct collector *c, const struct cove_event *event)
{
	size_t n = event->bytes;
	if (c->limit.policy == COVE_OUTPUT_KILL) {
		/*
		 * The guest kills it for passing the limit. That takes a moment, and a guest that
		 * does not do it must not fill our memory.
		 */
		uint64_t kept = (uint64_t)c->keeps[0].size + c->keeps[1].size;
		n = (size_t)MIN((uint64_t)n, c->limit.bytes - kept);
		if (n < event->bytes && !c->limit.enforced && !c->killed) {
			process_kill_nowait(c->process);
			c->killed = true;
		}
		c->dropped |= n < event->bytes;
	}
	return keep_add(&c->keeps[event->stream == COVE_STDOUT ? 0 : 1], event->data, n);
}

static int receive_all(struct collector *c, struct cove_error *err)
{
	const struct cove_event *event;
	int r;
	while ((r = process_recv(c->process, DEADLINE_NEVER, &event, err)) > 0) {
		if (event->kind == COVE_EVENT_STDOUT || event->kind == COVE_EVENT_STDERR) {
			if (keep_output(c, event) < 0)
				return error_set(err, COVE_E_NO_MEMORY,
						 "out of memory for the output");
		} else if (event->kind == COVE_EVENT_GAP) {
			c->dropped = true;
		}
	}
	return r;
}

static int take_output(struct collector *c, struct owned_output *owned, struct cove_error *err)
{
	cove_output *o = &owned->output;
	if (keep_take(&c->keeps[0], &owned->stdout_data, &o->stdout_bytes) < 0 ||
	    keep_take(&c->keeps[1], &owned->stderr_data, &o->stderr_bytes) < 0)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory for the output");
	o->stdout_data = owned->stdout_data;
	o->stderr_data = owned->stderr_data;
	return 0;
}

static void take_end(const struct collector *c, const struct cove_event *end,
		     struct owned_output *owned)
{
	cove_output *o = &owned->output;
	snprintf(owned->id, sizeof(owned->id), "%s", end->id);
	o->id = owned->id;
	o->pid = end->pid;
	o->exit = end->exit;
	if (c->killed && o->exit.cause == COVE_CAUSE_KILLED)
		o->exit.cause = COVE_CAUSE_OUTPUT_LIMIT;
	o->stdout_total = end->stdout_total;
	o->stderr_total = end->stderr_total;
	o->stdin_errno = end->os_errno;
	o->limited = c->dropped || c->keeps[0].cut || c->keeps[1].cut ||
		     o->exit.cause == COVE_CAUSE_OUTPUT_LIMIT;
}

static int collect(struct collector *c, struct owned_output *owned, struct cove_error *err)
{
	struct cove_event end = { .id = "" };
	int r = receive_all(c, err);
	if (r == 0)
		r = process_result(c->process, &end, err);
	if (r == 0)
		r = take_output(c, owned, err);
	if (r < 0)
		return r;
	take_end(c, &end, owned);
	return 0;
}

static int timed_out(struct process *p, struct cove_error *err)
{
	uint64_t timeout_ms = process_get_options(p)->timeout_ms;
	if (!timeout_ms)
		return error_set(err, COVE_E_TIMEOUT, "the command ran into its time limit");
	return error_set(err, COVE_E_TIMEOUT, "the command ran into its time limit of %llu ms",
			 (unsigned long long)timeout_ms);
}

int output_collect(struct process *p, cove_output **ret, struct cove_error *err)
{
	struct owned_output *owned = calloc(1, sizeof(*owned));
	if (!owned)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	_cleanup_(cove_output_freep) cove_output *output = &owned->output;

	struct collector c = { .process = p, .limit = process_get_options(p)->limit };
	for (unsigned i = 0; i < 2; i++)
		keep_init(&c.keeps[i], c.limit.bytes, c.limit.policy == COVE_OUTPUT_TAIL);
	int r = collect(&c, owned, err);
	for (unsigned i = 0; i < 2; i++)
		keep_done(&c.keeps[i]);
	if (r < 0)
		return r;
	if (output->exit.cause == COVE_CAUSE_TIMED_OUT)
		r = timed_out(p, err);
	*ret = TAKE_PTR(output);
	return r;
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
