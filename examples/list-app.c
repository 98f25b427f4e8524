/* SPDX-License-Identifier: Apache-2.0 */
/* A line of shell. */

#include <cove/cove.h>
#include <err.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct cove_error error;
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	options.image = argc > 1 ? argv[1] : "python";

	cove_sandbox *sandbox;
	if (cove_sandbox_create(NULL, &options, &sandbox, &error) < 0)
		errx(1, "%s", error.message);

	/* What one command writes is there for the next. */
	cove_output *out;
	if (cove_shell(sandbox, "mkdir -p /app && echo 1 >/app/file", NULL, &out, &error) < 0)
		errx(1, "%s", error.message);
	cove_output_free(out);

	if (cove_shell(sandbox, "ls -la /app && echo done", NULL, &out, &error) < 0)
		errx(1, "%s", error.message);
	fwrite(out->stdout_data, 1, out->stdout_bytes, stdout);
	fwrite(out->stderr_data, 1, out->stderr_bytes, stderr);
	int code = out->exit.code;

	cove_output_free(out);
	cove_sandbox_free(sandbox);
	return code;
}
