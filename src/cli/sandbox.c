/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"

static void progress(const char *text, void *data)
{
	cli_note(data, "%s", text);
}

static const char *create_hint(const struct cove_error *err)
{
	switch (err->code) {
	case COVE_E_NOT_FOUND:
		return "`cove image ls` lists the images";
	case COVE_E_EXISTS:
		return "`cove ls --all` lists the sandboxes";
	case COVE_E_MISSING:
	case COVE_E_BOOT:
		return "`cove doctor` checks this machine";
	default:
		return NULL;
	}
}

cove_sandbox *cli_sandbox_create(const struct cli_args *args, bool detached)
{
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	const struct cli_values *v = &args->values;
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *sandbox;

	options.image = args->operands[0];
	options.cpus = (unsigned)v->cpus;
	options.memory_bytes = v->memory_bytes;
	options.cwd = v->workdir;
	options.user = v->user;
	options.env = (const char *const *)v->env.items;
	options.shell = v->shell;
	options.hostname = v->hostname;
	options.read_only = v->read_only;
	options.detached = detached;
	options.persistent = detached;
	options.boot_timeout_ms = (unsigned)v->boot_timeout_ms;
	if (isatty(STDERR_FILENO)) {
		options.progress = progress;
		options.progress_data = (void *)args->command;
	}
	if (cove_sandbox_create(v->name, &options, &sandbox, &err) < 0) {
		cli_fail_error(args->command, &err, create_hint(&err));
		return NULL;
	}
	return sandbox;
}

cove_sandbox *cli_sandbox_connect(const struct cli_args *args, const char *name)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *sandbox;

	if (cove_sandbox_connect(name, &sandbox, &err) < 0) {
		cli_fail_error(args->command, &err,
			       err.code == COVE_E_NOT_FOUND ? "`cove ls` lists the sandboxes"
							    : NULL);
		return NULL;
	}
	return sandbox;
}

int cli_sessions_list(const struct cli_args *args, cove_sandbox *sandbox, struct cli_sessions *ret)
{
	struct cove_error err = COVE_ERROR_INIT;

	if (cove_session_list(sandbox, &ret->items, &ret->n, &err) == 0)
		return 0;
	cli_fail_error(args->command, &err, NULL);
	return -1;
}

void cli_sessions_done(struct cli_sessions *sessions)
{
	cove_session_list_free(sessions->items, sessions->n);
}

void cli_sandbox_keep(cove_sandbox *sandbox)
{
	/* Only held, so that leak checkers find it: nobody reads it. */
	static __attribute__((used)) cove_sandbox *kept;
	kept = sandbox;
}
