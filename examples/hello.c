/* SPDX-License-Identifier: Apache-2.0 */
/* A command in a sandbox of its own. The README shows this from here on. */

#include <cove/cove.h>
#include <err.h>
#include <stdio.h>

int main(void)
{
	struct cove_error error;
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	options.image = "busybox";

	/* No name: one is made up. The sandbox ends when it is freed, or when this program ends. */
	cove_sandbox *sandbox;
	if (cove_sandbox_create(NULL, &options, &sandbox, &error) < 0)
		errx(1, "%s", error.message);

	const char *const argv[] = { "uname", "-sr", NULL };
	cove_output *out;
	if (cove_exec(sandbox, argv, NULL, &out, &error) < 0)
		errx(1, "%s", error.message);

	fwrite(out->stdout_data, 1, out->stdout_bytes, stdout); /* the guest's kernel */
	int code = out->exit.code;

	cove_output_free(out);
	cove_sandbox_free(sandbox);
	return code;
}
