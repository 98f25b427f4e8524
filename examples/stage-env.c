/* SPDX-License-Identifier: Apache-2.0 */
/* A line of shell with an environment: the image's, the sandbox's and this call's, in this order. */

#include <cove/cove.h>
#include <err.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct cove_error error;
	const char *const sandbox_env[] = { "STAGE=none", "PROJECT=cove", NULL };
	struct cove_sandbox_options sandbox_options = COVE_SANDBOX_OPTIONS_INIT;
	sandbox_options.image = argc > 1 ? argv[1] : "python";
	sandbox_options.env = sandbox_env;

	cove_sandbox *sandbox;
	if (cove_sandbox_create(NULL, &sandbox_options, &sandbox, &error) < 0)
		errx(1, "%s", error.message);

	const char *const env[] = { "STAGE=build", NULL };
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.env = env;
	cove_output *out;
	if (cove_shell(sandbox, "env | sort", &options, &out, &error) < 0)
		errx(1, "%s", error.message);
	fwrite(out->stdout_data, 1, out->stdout_bytes, stdout);
	int code = out->exit.code;

	cove_output_free(out);
	cove_sandbox_free(sandbox);
	return code;
}
