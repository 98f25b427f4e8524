/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The public side of processes. cove_process, cove_control and cove_stdin are references of three
 * kinds to one struct process; this file is the only place that knows.
 */

#include <poll.h>

#include <cove/cove.h>

#include "base/error.h"
#include "lib/exec-request.h"
#include "lib/output.h"
#include "lib/sandbox.h"
#include "lib/session.h"

static struct process *of_process(const cove_process *process)
{
	return (struct process *)process;
}

static struct process *of_control(const cove_control *control)
{
	return (struct process *)control;
}

static struct process *of_stdin(const cove_stdin *in)
{
	return (struct process *)in;
}

/* ---- start ---- */

static int start(cove_sandbox *sandbox, const struct exec_command *command,
		 const struct cove_exec_options *options, cove_process **ret,
		 struct cove_error *err)
{
	struct process *p;
	int r = exec_start(sandbox, command, options, &p, err);
	if (r == 0)
		*ret = (cove_process *)p;
	return r;
}

_public_ int cove_exec_stream(cove_sandbox *sandbox, const char *const *argv,
			      const struct cove_exec_options *options, cove_process **ret,
			      struct cove_error *err)
{
	const struct exec_command command = { .argv = argv };
	return start(sandbox, &command, options, ret, err);
}

_public_ int cove_shell_stream(cove_sandbox *sandbox, const char *script,
			       const struct cove_exec_options *options, cove_process **ret,
			       struct cove_error *err)
{
	const char *const argv[] = { script, NULL };
	const struct exec_command command = { .argv = argv, .shell = true };
	return start(sandbox, &command, options, ret, err);
}

_public_ int cove_process_open(cove_sandbox *sandbox, const char *id,
			       const struct cove_open_options *options, cove_process **ret,
			       struct cove_error *err)
{
	struct process *p;
	int r = session_open(sandbox->connection, id, options, false, &p, err);
	if (r == 0)
		*ret = (cove_process *)p;
	return r;
}

/* ---- processes ---- */

_public_ int cove_process_recv(cove_process *process, const struct cove_event **ret, int timeout_ms,
			       struct cove_error *err)
{
	return process_recv(of_process(process), deadline_from_timeout(timeout_ms), ret, err);
}

_public_ int cove_process_try_recv(cove_process *process, const struct cove_event **ret,
				   struct cove_error *err)
{
	return process_try_recv(of_process(process), ret, err);
}

_public_ int cove_process_collect(cove_process *process, cove_output **ret, struct cove_error *err)
{
	return output_collect(of_process(process), ret, err);
}

_public_ int cove_process_wait(cove_process *process, int timeout_ms, struct cove_exit *ret,
			       struct cove_error *err)
{
	return process_wait(of_process(process), deadline_from_timeout(timeout_ms), ret, err);
}

_public_ int cove_process_id(cove_process *process, const char **ret, struct cove_error *err)
{
	return process_id(of_process(process), ret, err);
}

_public_ void *cove_process_user_data(const cove_process *process)
{
	return process_user_data(of_process(process));
}

_public_ int cove_process_signal(cove_process *process, int signal, struct cove_error *err)
{
	return process_signal(of_process(process), signal, err);
}

_public_ int cove_process_kill(cove_process *process, struct cove_error *err)
{
	return process_kill(of_process(process), err);
}

_public_ int cove_process_resize(cove_process *process, unsigned rows, unsigned cols,
				 struct cove_error *err)
{
	return process_resize(of_process(process), rows, cols, err);
}

_public_ int cove_process_close_output(cove_process *process, enum cove_stream stream,
				       struct cove_error *err)
{
	return process_close_output(of_process(process), stream, err);
}

_public_ cove_process *cove_process_free(cove_process *process)
{
	process_free(of_process(process));
	return NULL;
}

/* ---- controls ---- */

_public_ cove_control *cove_process_control(cove_process *process)
{
	return (cove_control *)process_control_ref(of_process(process));
}

_public_ cove_control *cove_control_ref(cove_control *control)
{
	return (cove_control *)process_control_ref(of_control(control));
}

_public_ cove_control *cove_control_unref(cove_control *control)
{
	process_control_unref(of_control(control));
	return NULL;
}

_public_ int cove_control_id(cove_control *control, const char **ret, struct cove_error *err)
{
	return process_id(of_control(control), ret, err);
}

_public_ int cove_control_signal(cove_control *control, int signal, struct cove_error *err)
{
	return process_signal(of_control(control), signal, err);
}

_public_ int cove_control_kill(cove_control *control, struct cove_error *err)
{
	return process_kill(of_control(control), err);
}

_public_ int cove_control_resize(cove_control *control, unsigned rows, unsigned cols,
				 struct cove_error *err)
{
	return process_resize(of_control(control), rows, cols, err);
}

/* ---- standard input ---- */

_public_ cove_stdin *cove_process_take_stdin(cove_process *process)
{
	return (cove_stdin *)process_take_stdin(of_process(process));
}

_public_ int cove_stdin_write(cove_stdin *in, const void *data, size_t n, struct cove_error *err)
{
	return process_stdin_write(of_stdin(in), data, n, err);
}

_public_ int cove_stdin_try_write(cove_stdin *in, const void *data, size_t n, size_t *ret,
				  struct cove_error *err)
{
	return process_stdin_try_write(of_stdin(in), data, n, ret, err);
}

_public_ int cove_stdin_close(cove_stdin *in, struct cove_error *err)
{
	return process_stdin_close(of_stdin(in), err);
}

_public_ int cove_stdin_flush(cove_stdin *in, int timeout_ms, struct cove_error *err)
{
	return process_stdin_flush(of_stdin(in), deadline_from_timeout(timeout_ms), err);
}

_public_ cove_stdin *cove_stdin_free(cove_stdin *in)
{
	process_stdin_free(of_stdin(in));
	return NULL;
}

/* ---- event loops ---- */

_public_ int cove_sandbox_fd(cove_sandbox *sandbox, struct cove_error *err)
{
	struct connection *c = sandbox->connection;
	connection_lock(c);
	int fd = connection_fd(c);
	connection_unlock(c);
	if (fd < 0)
		return error_set_errno(err, COVE_E_SYSTEM, fd, "cannot make a descriptor to poll");
	return fd;
}

_public_ short cove_sandbox_events(const cove_sandbox *sandbox)
{
	(void)sandbox; /* an epoll descriptor is readable when what is in it is ready for anything */
	return POLLIN;
}

_public_ int cove_sandbox_dispatch(cove_sandbox *sandbox, cove_process **ret, size_t max,
				   struct cove_error *err)
{
	struct connection *c = sandbox->connection;
	connection_lock(c);
	int n = connection_dispatch(c, (struct stream **)ret, max, err);
	for (int i = 0; i < n; i++)
		ret[i] = (cove_process *)process_of_stream((struct stream *)ret[i]);
	connection_unlock(c);
	return n;
}
