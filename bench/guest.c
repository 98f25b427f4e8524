/* SPDX-License-Identifier: Apache-2.0 */
#include <err.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "bench.h"

cove_sandbox *guest_create(const struct cove_sandbox_options *options)
{
	struct cove_error error;
	struct cove_sandbox_options own = COVE_SANDBOX_OPTIONS_INIT;
	if (options)
		own = *options;
	own.image = IMAGE;
	cove_sandbox *sandbox;
	if (cove_sandbox_create(NULL, &own, &sandbox, &error) < 0)
		errx(1, "create: %s", error.message);
	return sandbox;
}

cove_output *guest_run(cove_sandbox *sandbox, const char *const *argv,
		       const struct cove_exec_options *options)
{
	struct cove_error error;
	cove_output *out;
	if (cove_exec(sandbox, argv, options, &out, &error) < 0)
		errx(1, "%s: %s", argv[0], error.message);
	if (!cove_exit_success(&out->exit))
		errx(1, "%s: %s %d: %s", argv[0], cove_cause_name(out->exit.cause), out->exit.code,
		     out->stderr_data);
	return out;
}

void guest_put(cove_sandbox *sandbox, const char *program, const char *path)
{
	_cleanup_free_ char *data = NULL;
	size_t size;
	int r = fd_read_file(AT_FDCWD, program, 64 << 20, false, &data, &size);
	if (r < 0)
		errx(1, "%s: %s", program, strerror(-r));
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.stdin_mode = COVE_STDIN_BYTES;
	options.stdin_data = data;
	options.stdin_bytes = size;
	cove_output_free(guest_run(
		sandbox, ARGV("sh", "-c", "cat >\"$0\" && chmod 755 \"$0\"", path), &options));
}

cove_process *guest_stream(cove_sandbox *sandbox, const char *const *argv,
			   const struct cove_exec_options *options)
{
	struct cove_error error;
	cove_process *process;
	if (cove_exec_stream(sandbox, argv, options, &process, &error) < 0)
		errx(1, "%s: %s", argv[0], error.message);
	return process;
}

const struct cove_event *guest_event(cove_process *process, bool may_end)
{
	struct cove_error error;
	const struct cove_event *event;
	int r = cove_process_recv(process, &event, -1, &error);
	if (r < 0)
		errx(1, "receiving: %s", error.message);
	if (r == 0)
		return NULL;
	if (event->kind == COVE_EVENT_FAILED || event->kind == COVE_EVENT_LOST)
		errx(1, "%s", event->error->message);
	if (event->kind == COVE_EVENT_EXITED && !(may_end && cove_exit_success(&event->exit)))
		errx(1, "%s has ended: %s %d", event->id, cove_cause_name(event->exit.cause),
		     event->exit.code);
	return event;
}

void guest_await_bytes(cove_process *process, size_t n)
{
	while (n > 0) {
		const struct cove_event *event = guest_event(process, false);
		if (event->kind == COVE_EVENT_STDOUT)
			n -= MIN(n, event->bytes);
	}
}

void guest_end(cove_process *process)
{
	struct cove_error error;
	struct cove_exit how;
	if (cove_process_kill(process, &error) < 0 && error.code != COVE_E_STATE)
		errx(1, "kill: %s", error.message);
	if (cove_process_wait(process, -1, &how, &error) < 0)
		errx(1, "wait: %s", error.message);
	cove_process_free(process);
}
