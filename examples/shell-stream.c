/* SPDX-License-Identifier: Apache-2.0 */
/* A script that takes a while: started, left alone, and what it wrote collected at the end. */

#include <cove/cove.h>
#include <err.h>
#include <stdio.h>

int main(void)
{
	struct cove_error error;
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	options.image = "busybox";

	cove_sandbox *sandbox;
	if (cove_sandbox_create(NULL, &options, &sandbox, &error) < 0)
		errx(1, "%s", error.message);

	cove_process *process;
	if (cove_shell_stream(sandbox, "for i in 1 2 3; do echo $i; sleep 0.3; done", NULL,
			      &process, &error) < 0)
		errx(1, "%s", error.message);

	/* It runs now, and this program may do other things: run another command, for one. */
	cove_output *out;
	if (cove_shell(sandbox, "echo meanwhile", NULL, &out, &error) < 0)
		errx(1, "%s", error.message);
	fwrite(out->stdout_data, 1, out->stdout_bytes, stdout);
	cove_output_free(out);

	/* The rest is as with cove_shell(), its errors too. */
	if (cove_process_collect(process, &out, &error) < 0)
		errx(1, "%s", error.message);
	fwrite(out->stdout_data, 1, out->stdout_bytes, stdout);
	int code = out->exit.code;

	cove_output_free(out);
	cove_process_free(process);
	cove_sandbox_free(sandbox);
	return code;
}
