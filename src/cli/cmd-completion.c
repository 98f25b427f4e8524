/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/cli.h"

static const char *const shells[] = { "bash", "zsh", "fish", NULL };
static void (*const writers[])(FILE *f) = {
	cli_complete_bash,
	cli_complete_zsh,
	cli_complete_fish,
};

static int run(struct cli_args *args)
{
	for (size_t i = 0; shells[i]; i++) {
		if (!strcmp(args->operands[0], shells[i])) {
			writers[i](stdout);
			return 0;
		}
	}
	return cli_fail(args->command, "%s: must be one of bash, zsh, fish", args->operands[0]);
}

const struct cli_command cmd_completion = {
	.name = "completion",
	.section = CLI_SECTION_MORE,
	.synopsis = "bash|zsh|fish",
	.summary = "print a completion script for a shell",
	.details = "bash: source <(cove completion bash)\n"
		   "zsh:  cove completion zsh >\"${fpath[1]}/_cove\"\n"
		   "fish: cove completion fish >~/.config/fish/completions/cove.fish\n",
	.needs = { "a shell" },
	.max_operands = 1,
	.words = shells,
	.run = run,
};
