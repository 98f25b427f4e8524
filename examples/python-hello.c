/* SPDX-License-Identifier: Apache-2.0 */
/* A line of code in a named sandbox, and everything that is known about how it went. */

#include <cove/cove.h>
#include <err.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct cove_error error;
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	options.image = argc > 1 ? argv[1] : "python";

	cove_sandbox *sandbox;
	if (cove_sandbox_create("hello", &options, &sandbox, &error) < 0)
		errx(1, "%s", error.message);

	const char *const command[] = { "python", "-c", "print('hello')", NULL };
	cove_output *out;
	if (cove_exec(sandbox, command, NULL, &out, &error) < 0)
		errx(1, "%s", error.message);

	fwrite(out->stdout_data, 1, out->stdout_bytes, stdout);
	fwrite(out->stderr_data, 1, out->stderr_bytes, stderr);
	fprintf(stderr, "%s with code %d after %.1f ms\n", cove_cause_name(out->exit.cause),
		out->exit.code, (double)out->exit.elapsed_ns / 1e6);
	int status = cove_exit_success(&out->exit) ? 0 : 1;
	cove_output_free(out);

	/* In order: files written are on the disk, the name is free again. */
	if (cove_sandbox_stop(sandbox, NULL, &error) < 0)
		errx(1, "%s", error.message);
	cove_sandbox_free(sandbox);
	return status;
}
