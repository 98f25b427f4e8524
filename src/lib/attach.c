/* SPDX-License-Identifier: Apache-2.0 */

/* Commands on the user's terminal: what has to be right before anything starts, and after it. */

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "lib/attach-environment.h"
#include "lib/attach-internal.h"
#include "lib/exec-request.h"
#include "lib/options.h"
#include "lib/sandbox.h"
#include "lib/session.h"

/* What is to be shown: a command, or the session `id`. */
struct target {
	const struct exec_command *command;
	struct cove_exec_options exec;
	const char *id;
	struct cove_open_options open;
};

/* ---- options ---- */

static int refuse_exec(const char *field, struct cove_error *err)
{
	return error_set(err, COVE_E_INVALID, "exec.%s: is not for commands on the user's terminal",
			 field);
}

static int check_exec(const struct cove_exec_options *o, struct cove_error *err)
{
	if (o->stdin_mode != COVE_STDIN_NULL)
		return refuse_exec("stdin_mode", err);
	if (o->stdin_data)
		return refuse_exec("stdin_data", err);
	if (o->stdin_bytes)
		return refuse_exec("stdin_bytes", err);
	if (o->rows)
		return refuse_exec("rows", err);
	if (o->cols)
		return refuse_exec("cols", err);
	if (o->output_limit_bytes)
		return refuse_exec("output_limit_bytes", err);
	if (o->output_policy)
		return refuse_exec("output_policy", err);
	if (o->flags)
		return refuse_exec("flags", err);
	if (o->user_data)
		return refuse_exec("user_data", err);
	return options_check_exec(o, false, err);
}

static int refuse(const char *field, const char *function, struct cove_error *err)
{
	return error_set(err, COVE_E_INVALID, "%s: is for %s only", field, function);
}

/* Options that say how a session is looked at that was there before. */
static int check_no_session(const struct cove_attach_options *o, struct cove_error *err)
{
	const char *field = o->from	       ? "from"
			    : o->stdout_offset ? "stdout_offset"
			    : o->lossy	       ? "lossy"
			    : o->read_only     ? "read_only"
					       : NULL;
	return field ? refuse(field, "cove_attach_session()", err) : 0;
}

static int read_command_options(const struct cove_attach_options *o, struct target *target,
				struct cove_error *err)
{
	int r = check_no_session(o, err);
	if (r == 0)
		r = options_read(&target->exec, sizeof(target->exec), o->exec, "cove_exec_options",
				 err);
	if (r == 0)
		r = check_exec(&target->exec, err);
	return r;
}

static int check_descriptors(struct cove_attach_options *o, struct cove_error *err)
{
	if (o->input_fd < 0)
		return error_set(err, COVE_E_INVALID, "input_fd: %d is no descriptor", o->input_fd);
	if (o->output_fd < 0)
		return error_set(err, COVE_E_INVALID, "output_fd: %d is no descriptor",
				 o->output_fd);
	if (o->output_fd == 0)
		o->output_fd = 1;
	return 0;
}

_public_ int cove_detach_keys_check(const char *detach_keys, struct cove_error *err)
{
	struct attach_keys keys;
	return attach_keys_init(&keys, detach_keys, err);
}

/* ---- life ---- */

static struct attach *attach_free(struct attach *a)
{
	/* First of all, and while a signal still finds our handlers. What was typed for a command that
	   has been left is not for the shell; what was typed ahead for the shell is. */
	bool left = a->started && (a->code < 0 || a->end != COVE_ATTACH_EXITED);
	attach_terminal_restore(&a->terminal, left);
	attach_signals_done(&a->signals);
	attach_terminal_done(&a->terminal);
	process_stdin_free(a->in);
	process_free(a->process);
	process_free(a->starter);
	cove_sandbox_free(a->sandbox);
	free(a);
	attach_signals_release();
	return NULL;
}

DEFINE_CLEANUP(struct attach *, attach_free)

static int attach_new(const struct cove_attach_options *o, struct attach **ret,
		      struct cove_error *err)
{
	int r = attach_signals_claim(err);
	if (r < 0)
		return r;
	struct attach *a = calloc(1, sizeof(*a));
	if (!a) {
		attach_signals_release();
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	}
	_cleanup_(attach_freep) struct attach *owned = a;
	a->signals.fd = -1;
	a->looks = o->read_only;
	r = attach_terminal_init(&a->terminal, o->input_fd, o->output_fd, err);
	if (r == 0)
		r = attach_keys_init(&a->keys, o->detach_keys, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(owned);
	return 0;
}

/* ---- connecting and starting ---- */

static uint64_t created_ns(cove_sandbox *s)
{
	connection_lock(s->connection);
	uint64_t ns = s->info->created_ns;
	connection_unlock(s->connection);
	return ns;
}

/* Other threads, and an event loop, may be using the caller's handle: we take one of our own. */
static int connect_again(struct attach *a, cove_sandbox *sandbox, struct cove_error *err)
{
	int r = cove_sandbox_connect(sandbox->name, &a->sandbox, err);
	if (r == COVE_E_NOT_FOUND || r == COVE_E_STATE)
		return error_set(err, COVE_E_LOST, "the sandbox %s has ended", sandbox->name);
	if (r < 0)
		return r;
	if (created_ns(a->sandbox) != created_ns(sandbox))
		return error_set(err, COVE_E_LOST,
				 "the sandbox %s has ended, and there is another one of that name",
				 sandbox->name);
	r = cove_sandbox_fd(a->sandbox, err);
	return r < 0 ? r : 0;
}

static int start_command(struct attach *a, const struct target *target, struct cove_error *err)
{
	struct cove_exec_options o = target->exec;
	_cleanup_free_ const char **env = attach_environment(o.env);
	if (!env)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	o.struct_size = sizeof(o);
	o.env = env;
	o.tty = true;
	o.rows = a->size.rows;
	o.cols = a->size.cols;
	o.stdin_mode = COVE_STDIN_PIPE;
	o.keep_stdin_open = true;
	o.flags = COVE_EXEC_NONBLOCK;
	if (o.id)
		snprintf(a->id, sizeof(a->id), "%s", o.id);
	return exec_start(a->sandbox, target->command, &o, &a->process, err);
}

static int open_session(struct attach *a, const struct target *target, struct cove_error *err)
{
	a->opened = true;
	a->from = target->open.from;
	a->from_offset = target->open.stdout_offset;
	snprintf(a->id, sizeof(a->id), "%s", target->id);
	return session_open(a->sandbox->connection, target->id, &target->open, false, &a->process,
			    err);
}

static void fill_result(const struct attach *a, struct cove_attach_result *ret)
{
	*ret = (struct cove_attach_result){
		.end = a->end,
		.signal = a->signal,
		.exit = a->exit,
		.stdout_offset = a->shown,
		.missing_bytes = a->missing_bytes,
		.unsent_bytes = a->unsent_bytes,
	};
	snprintf(ret->id, sizeof(ret->id), "%s", a->id);
}

static int run(cove_sandbox *sandbox, const struct target *target,
	       const struct cove_attach_options *o, struct cove_attach_result *ret,
	       struct cove_error *err)
{
	_cleanup_(attach_freep) struct attach *a = NULL;
	int r = attach_new(o, &a, err);
	if (r == 0)
		r = connect_again(a, sandbox, err);
	if (r == 0)
		r = attach_signals_init(&a->signals, err);
	/* In the background the process stops here, and nothing has been started yet. */
	if (r == 0)
		r = attach_terminal_raw(&a->terminal, false, err);
	if (r < 0)
		return r;
	a->size = attach_terminal_size(&a->terminal);
	r = target->command ? start_command(a, target, err) : open_session(a, target, err);
	if (r < 0) {
		a->code = r;
		return r;
	}
	attach_loop(a);
	if (a->code < 0) {
		if (err)
			*err = a->failure;
		return a->code;
	}
	/* In the order in which they happen: the result is for a caller who has the terminal back. */
	fill_result(a, ret);
	return 0;
}

/* ---- the calls ---- */

_public_ int cove_attach(cove_sandbox *sandbox, const char *const *argv,
			 const struct cove_attach_options *options, struct cove_attach_result *ret,
			 struct cove_error *err)
{
	const struct exec_command command = { .argv = argv };
	struct target target = { .command = &command };
	struct cove_attach_options o;
	int r = options_read(&o, sizeof(o), options, "cove_attach_options", err);
	if (r == 0)
		r = check_descriptors(&o, err);
	if (r == 0)
		r = read_command_options(&o, &target, err);
	if (r < 0)
		return r;
	if (!argv || !argv[0])
		return error_set(err, COVE_E_INVALID, "argv: there is no command in it");
	if (o.script)
		return refuse("script", "cove_attach_shell()", err);
	return run(sandbox, &target, &o, ret, err);
}

_public_ int cove_attach_shell(cove_sandbox *sandbox, const struct cove_attach_options *options,
			       struct cove_attach_result *ret, struct cove_error *err)
{
	struct target target = { .command = NULL };
	struct cove_attach_options o;
	int r = options_read(&o, sizeof(o), options, "cove_attach_options", err);
	if (r == 0)
		r = check_descriptors(&o, err);
	if (r == 0)
		r = read_command_options(&o, &target, err);
	if (r < 0)
		return r;
	const char *const argv[] = { o.script, NULL };
	const struct exec_command command = { .argv = argv, .shell = true, .typed_to = true };
	target.command = &command;
	return run(sandbox, &target, &o, ret, err);
}

_public_ int cove_attach_session(cove_sandbox *sandbox, const char *id,
				 const struct cove_attach_options *options,
				 struct cove_attach_result *ret, struct cove_error *err)
{
	struct target target = { .id = id };
	struct cove_attach_options o;
	int r = options_read(&o, sizeof(o), options, "cove_attach_options", err);
	if (r == 0)
		r = check_descriptors(&o, err);
	if (r < 0)
		return r;
	if (o.exec)
		return refuse("exec", "cove_attach() and cove_attach_shell()", err);
	if (o.script)
		return refuse("script", "cove_attach_shell()", err);
	target.open = (struct cove_open_options)COVE_OPEN_OPTIONS_INIT;
	target.open.from = o.from;
	target.open.stdout_offset = o.stdout_offset;
	target.open.lossy = o.lossy;
	target.open.read_only = o.read_only;
	target.open.flags = COVE_EXEC_NONBLOCK;
	target.open.keep_stdin_open = !o.read_only;
	r = options_check_open(id, &target.open, err);
	return r < 0 ? r : run(sandbox, &target, &o, ret, err);
}
