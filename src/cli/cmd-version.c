/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/cli.h"

static int run(struct cli_args *args _unused_)
{
	printf("cove %s\n", COVE_VERSION);
	if (strcmp(cove_version(), COVE_VERSION) != 0)
		printf("libcove %s\n", cove_version());
	return 0;
}

const struct cli_command cmd_version = {
	.name = "version",
	.section = CLI_SECTION_MORE,
	.synopsis = "",
	.summary = "print the version",
	.run = run,
};
