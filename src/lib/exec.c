/* SPDX-License-Identifier: Apache-2.0 */

/* Buffered commands: a stream that is collected from at once. */

#include <cove/cove.h>

#include "base/cleanup.h"
#include "lib/exec-request.h"
#include "lib/output.h"

static int run(cove_sandbox *sandbox, const struct exec_command *command,
	       const struct cove_exec_options *options, cove_output **ret, struct cove_error *err)
{
	_cleanup_(process_freep) struct process *process = NULL;
	int r = exec_start(sandbox, command, options, &process, err);
	if (r < 0)
		return r;
	r = output_collect(process, ret, err);
	if (r == COVE_E_NO_MEMORY)
		process_kill_nowait(process); /* nobody is left to read what it writes */
	return r;
}

_public_ int cove_exec(cove_sandbox *sandbox, const char *const *argv,
		       const struct cove_exec_options *options, cove_output **ret,
		       struct cove_error *err)
{
	const struct exec_command command = { .argv = argv, .buffered = true };
	return run(sandbox, &command, options, ret, err);
}

_public_ int cove_shell(cove_sandbox *sandbox, const char *script,
			const struct cove_exec_options *options, cove_output **ret,
			struct cove_error *err)
{
	const char *const argv[] = { script, NULL };
	const struct exec_command command = { .argv = argv, .shell = true, .buffered = true };
	return run(sandbox, &command, options, ret, err);
}
