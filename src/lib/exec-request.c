/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/exec-request.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "lib/options.h"
#include "lib/sandbox.h"

#define ROWS_DEFAULT 24
#define COLS_DEFAULT 80

void exec_request_done(struct exec_request *r)
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

static void fill_terminal(Cove__Wire__Exec *m, const struct cove_exec_options *o)
{
	if (!o->tty)
		return;
	m->has_tty = m->tty = m->has_rows = m->has_cols = true;
	m->rows = o->rows ? o->rows : ROWS_DEFAULT;
	m->cols = o->cols ? o->cols : COLS_DEFAULT;
}

static void fill_output(Cove__Wire__Exec *m, struct output_limit *limit, bool buffered,
			const struct cove_exec_options *o)
{
	m->has_replay_bytes = o->replay_bytes > 0;
	m->replay_bytes = o->replay_bytes;
	*limit = (struct output_limit){ o->output_limit_bytes, o->output_policy, true };
	if (limit->bytes == 0) {
		limit->bytes = COVE_OUTPUT_LIMIT_DEFAULT;
		limit->policy = COVE_OUTPUT_KILL;
		limit->enforced = buffered; /* a stream keeps nothing before it is collected */
	}
	if (limit->policy == COVE_OUTPUT_KILL && limit->enforced && limit->bytes != UINT64_MAX) {
		m->has_output_kill_bytes = true;
		m->output_kill_bytes = limit->bytes;
	}
}

static void fill_process(struct process_options *p, bool buffered,
			 const struct cove_exec_options *o)
{
	p->nonblock = o->flags & COVE_EXEC_NONBLOCK;
	p->owned = o->kill_on_disconnect;
	p->writable = o->stdin_mode == COVE_STDIN_PIPE;
	p->keep_input_open = o->keep_stdin_open;
	p->id = o->id;
	p->timeout_ms = o->timeout_ms;
	p->user_data = o->user_data;
	p->has_input = o->stdin_mode == COVE_STDIN_BYTES;
	p->copy_input = !buffered;
	p->input = o->stdin_data;
	p->input_size = o->stdin_bytes;
}

static int fill(struct exec_request *r, const struct exec_command *command,
		const struct cove_exec_options *o)
{
	Cove__Wire__Exec *m = &r->message;
	m->has_shell = m->shell = command->shell;
	m->has_cwd = o->cwd != NULL;
	m->cwd = wire_string(o->cwd);
	m->has_user = o->user != NULL;
	m->user = wire_string(o->user);
	m->has_id = o->id != NULL;
	m->id = wire_string(o->id);
	m->has_stdin = o->stdin_mode != COVE_STDIN_NULL;
	m->stdin = m->has_stdin ? COVE__WIRE__EXEC__STDIN__PIPE : COVE__WIRE__EXEC__STDIN__NONE;
	m->has_kill_on_disconnect = m->kill_on_disconnect = o->kill_on_disconnect;
	fill_times(m, o);
	fill_terminal(m, o);
	fill_output(m, &r->process.limit, command->buffered, o);
	fill_process(&r->process, command->buffered, o);
	if (fill_strings(r, command->argv, o->env) < 0)
		return -1;
	return fill_rlimits(r, o);
}

int exec_request_init(struct exec_request *r, const struct exec_command *command,
		      const struct cove_exec_options *options, struct cove_error *err)
{
	struct cove_exec_options o;
	*r = (struct exec_request){ .message = COVE__WIRE__EXEC__INIT };
	int code = options_read(&o, sizeof(o), options, "cove_exec_options", err);
	if (code == 0)
		code = options_check_exec(&o, command->buffered, err);
	if (code == 0 && fill(r, command, &o) < 0)
		code = error_set(err, COVE_E_NO_MEMORY, "out of memory for the request");
	return code;
}

int exec_start(cove_sandbox *sandbox, const struct exec_command *command,
	       const struct cove_exec_options *options, struct process **ret,
	       struct cove_error *err)
{
	if (!command->argv || (!command->argv[0] && !command->typed_to))
		return error_set(err, COVE_E_INVALID,
				 command->shell ? "script: it is NULL"
						: "argv: there is no command in it");
	_cleanup_(exec_request_done) struct exec_request request;
	int r = exec_request_init(&request, command, options, err);
	if (r < 0)
		return r;
	return process_start(sandbox->connection, &request.message.base, &request.process, ret,
			     err);
}
