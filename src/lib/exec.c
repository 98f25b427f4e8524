/* SPDX-License-Identifier: Apache-2.0 */

/* Buffered commands. */

#include <cove/cove.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "lib/options.h"
#include "lib/output.h"
#include "lib/process.h"
#include "lib/sandbox.h"

/* The message, and what it points to. */
struct exec_request {
	Cove__Wire__Exec message;
	ProtobufCBinaryData *strings; /* argv, then env */
	Cove__Wire__Rlimit *rlimits;
	Cove__Wire__Rlimit **rlimit_pointers;
};

static void request_done(struct exec_request *r)
{
	free(r->strings);
	free(r->rlimits);
	free(r->rlimit_pointers);
}

static int fill_rlimits(struct exec_request *r, const struct cove_exec_options *o)
{
	if (o->n_rlimits == 0)
		return 0;
	r->rlimits = calloc(o->n_rlimits, sizeof(*r->rlimits));
	r->rlimit_pointers = calloc(o->n_rlimits, sizeof(struct Cove__Wire__Rlimit *));
	if (!r->rlimits || !r->rlimit_pointers)
		return -1;
	for (size_t i = 0; i < o->n_rlimits; i++) {
		cove__wire__rlimit__init(&r->rlimits[i]);
		r->rlimits[i].resource = (uint32_t)o->rlimits[i].resource;
		r->rlimits[i].soft = o->rlimits[i].soft;
		r->rlimits[i].hard = o->rlimits[i].hard;
		r->rlimit_pointers[i] = &r->rlimits[i];
	}
	r->message.rlimits = r->rlimit_pointers;
	r->message.n_rlimits = o->n_rlimits;
	return 0;
}

static int fill_strings(struct exec_request *r, const char *const *argv, const char *const *env)
{
	size_t n_argv = options_count(argv), n_env = options_count(env);
	r->strings = calloc(n_argv + n_env, sizeof(*r->strings));
	if (!r->strings)
		return -1;
	for (size_t i = 0; i < n_argv; i++)
		r->strings[i] = wire_string(argv[i]);
	for (size_t i = 0; i < n_env; i++)
		r->strings[n_argv + i] = wire_string(env[i]);
	r->message.argv = r->strings;
	r->message.n_argv = n_argv;
	r->message.env = r->strings + n_argv;
	r->message.n_env = n_env;
	return 0;
}

static void fill_times(Cove__Wire__Exec *m, const struct cove_exec_options *o)
{
	m->has_timeout_ms = o->timeout_ms > 0;
	m->timeout_ms = o->timeout_ms;
	m->has_timeout_signal = o->timeout_signal > 0;
	m->timeout_signal = (uint32_t)o->timeout_signal;
	m->has_timeout_grace_ms = o->timeout_signal > 0;
	m->timeout_grace_ms = o->timeout_grace_ms ? o->timeout_grace_ms : 10000;
	m->has_linger_ms = o->linger_ms > 0;
	m->linger_ms = o->linger_ms;
	m->has_wait_eof = m->wait_eof = o->wait_eof;
	m->has_kill_tree_on_exit = m->kill_tree_on_exit = o->kill_tree_on_exit;
}

/* -1: out of memory. */
static int request_fill(struct exec_request *r, const char *const *argv, bool shell,
			const struct cove_exec_options *o)
{
	Cove__Wire__Exec *m = &r->message;
	m->has_shell = m->shell = shell;
	m->has_cwd = o->cwd != NULL;
	m->cwd = wire_string(o->cwd);
	m->has_user = o->user != NULL;
	m->user = wire_string(o->user);
	m->has_id = o->id != NULL;
	m->id = wire_string(o->id);
	m->has_stdin = o->stdin_mode == COVE_STDIN_BYTES;
	m->stdin = m->has_stdin ? COVE__WIRE__EXEC__STDIN__PIPE : COVE__WIRE__EXEC__STDIN__NONE;
	fill_times(m, o);
	if (fill_strings(r, argv, o->env) < 0)
		return -1;
	return fill_rlimits(r, o);
}

static struct output_limit output_limit(const struct cove_exec_options *o)
{
	if (o->output_limit_bytes == 0)
		return (struct output_limit){ COVE_OUTPUT_LIMIT_DEFAULT, COVE_OUTPUT_KILL };
	return (struct output_limit){ o->output_limit_bytes, o->output_policy };
}

static int run(cove_sandbox *sandbox, const char *const *argv, bool shell,
	       const struct cove_exec_options *options, cove_output **ret, struct cove_error *err)
{
	struct cove_exec_options o;
	int r = options_read(&o, sizeof(o), options, "cove_exec_options", err);
	if (r == 0)
		r = options_check_exec(&o, err);
	if (r < 0)
		return r;

	struct output_limit limit = output_limit(&o);
	_cleanup_(request_done) struct exec_request request = {
		.message = COVE__WIRE__EXEC__INIT,
	};
	if (request_fill(&request, argv, shell, &o) < 0)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory for the request");
	if (limit.policy == COVE_OUTPUT_KILL && limit.bytes != UINT64_MAX) {
		request.message.has_output_kill_bytes = true;
		request.message.output_kill_bytes = limit.bytes;
	}

	struct process_input input = { o.stdin_data, o.stdin_bytes };
	_cleanup_(process_freep) struct process *process = NULL;
	_cleanup_(cove_output_freep) cove_output *output = NULL;
	r = process_start(sandbox->connection, &request.message,
			  o.stdin_mode == COVE_STDIN_BYTES ? &input : NULL, &process, err);
	if (r < 0)
		return r;
	r = output_collect(process, &limit, &output, err);
	if (r < 0)
		return r;
	if (output->exit.cause == COVE_CAUSE_TIMED_OUT)
		r = error_set(err, COVE_E_TIMEOUT, "the command ran into its time limit of %llu ms",
			      (unsigned long long)o.timeout_ms);
	*ret = TAKE_PTR(output);
	return r;
}

_public_ int cove_exec(cove_sandbox *sandbox, const char *const *argv,
		       const struct cove_exec_options *options, cove_output **ret,
		       struct cove_error *err)
{
	if (!argv || !argv[0])
		return error_set(err, COVE_E_INVALID, "argv: there is no command in it");
	return run(sandbox, argv, false, options, ret, err);
}

_public_ int cove_shell(cove_sandbox *sandbox, const char *script,
			const struct cove_exec_options *options, cove_output **ret,
			struct cove_error *err)
{
	if (!script)
		return error_set(err, COVE_E_INVALID, "script: it is NULL");
	return run(sandbox, (const char *const[]){ script, NULL }, true, options, ret, err);
}
