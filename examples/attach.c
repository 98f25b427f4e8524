/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shell on this terminal, in a sandbox of its own; and the way back to it after ctrl-].
 *
 *	attach            a new one
 *	attach NAME ID    the one that was left
 */

#include <cove/cove.h>
#include <err.h>
#include <stdio.h>

/* What it says at the end; it is sh's exit code if that has ended. */
static int tell(const char *name, const struct cove_attach_result *result)
{
	switch (result->end) {
	case COVE_ATTACH_DETACHED:
		printf("\nIt runs on. To come back: attach %s %s\n", name, result->id);
		return 0;
	case COVE_ATTACH_INTERRUPTED:
		return 128 + result->signal;
	case COVE_ATTACH_EXITED:
		break;
	}
	return result->exit.code;
}

int main(int argc, char **argv)
{
	struct cove_error error;
	struct cove_attach_result result;
	struct cove_attach_options options = COVE_ATTACH_OPTIONS_INIT;
	cove_sandbox *sandbox;

	if (argc == 3) {
		if (cove_sandbox_connect(argv[1], &sandbox, &error) < 0)
			errx(1, "%s", error.message);
		if (cove_attach_session(sandbox, argv[2], &options, &result, &error) < 0)
			errx(1, "%s", error.message);
	} else {
		struct cove_sandbox_options sandbox_options = COVE_SANDBOX_OPTIONS_INIT;
		sandbox_options.image = "busybox";
		if (cove_sandbox_create(NULL, &sandbox_options, &sandbox, &error) < 0)
			errx(1, "%s", error.message);
		if (cove_attach_shell(sandbox, &options, &result, &error) < 0)
			errx(1, "%s", error.message);
	}

	/* The sandbox would end with this program. Now it ends with the shell. */
	if (result.end == COVE_ATTACH_DETACHED) {
		struct cove_detach_options detach = COVE_DETACH_OPTIONS_INIT;
		detach.until_session = result.id;
		if (cove_sandbox_detach(sandbox, &detach, &error) < 0)
			errx(1, "%s", error.message);
	}
	int code = tell(cove_sandbox_name(sandbox), &result);
	cove_sandbox_free(sandbox);
	return code;
}
