/* SPDX-License-Identifier: Apache-2.0 */
/* The simplest thing: run a program, print what it printed. */

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

	const char *const command[] = { "python", "-V", NULL };
	cove_output *out;
	if (cove_exec(sandbox, command, NULL, &out, &error) < 0)
		errx(1, "%s", error.message);

	/* Bytes, unless we ask for text: this fails where they are not UTF-8. */
	const char *text;
	if (cove_output_text(out, &text, &error) < 0)
		errx(1, "%s", error.message);
	fputs(text, stdout);
	int code = out->exit.code;

	cove_output_free(out);
	cove_sandbox_free(sandbox);
	return code;
}
