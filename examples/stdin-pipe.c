/* SPDX-License-Identifier: Apache-2.0 */
/* Standard input that is made while the command runs. */

#include <cove/cove.h>
#include <err.h>
#include <stdio.h>

int main(void)
{
	struct cove_error error;
	struct cove_sandbox_options sandbox_options = COVE_SANDBOX_OPTIONS_INIT;
	sandbox_options.image = "busybox";

	cove_sandbox *sandbox;
	if (cove_sandbox_create(NULL, &sandbox_options, &sandbox, &error) < 0)
		errx(1, "%s", error.message);

	const char *const command[] = { "sort", "-n", NULL };
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.stdin_mode = COVE_STDIN_PIPE;
	cove_process *process;
	if (cove_exec_stream(sandbox, command, &options, &process, &error) < 0)
		errx(1, "%s", error.message);

	cove_stdin *in = cove_process_take_stdin(process); /* once: then it gives NULL */
	for (int i = 10; i > 0; i--) {
		char line[16];
		int n = snprintf(line, sizeof(line), "%d\n", i);
		/*
		 * Waits while the command does not read. One that writes as it reads (sort does
		 * not) needs somebody who receives at the same time: another thread, or a loop as
		 * in poll-loop.c.
		 */
		if (cove_stdin_write(in, line, (size_t)n, &error) < 0)
			errx(1, "%s", error.message);
	}
	if (cove_stdin_close(in, &error) < 0) /* the end of the file */
		errx(1, "%s", error.message);
	cove_stdin_free(in);

	cove_output *out;
	if (cove_process_collect(process, &out, &error) < 0)
		errx(1, "%s", error.message);
	fwrite(out->stdout_data, 1, out->stdout_bytes, stdout);
	int code = out->exit.code;

	cove_output_free(out);
	cove_process_free(process);
	cove_sandbox_free(sandbox);
	return code;
}
