/* SPDX-License-Identifier: Apache-2.0 */
/* The completion for bash, in bash. */
#include <stdio.h>

#include "harness/tap.h"
#include "integration/cli/command.h"

/*
 * Prints what bash would offer, separated by blanks. $1 is the folder of cove; the words typed are
 * the rest, the last being the one to complete.
 */
static const char script[] = "PATH=$1:$PATH\n"
			     "shift\n"
			     "source <(cove completion bash)\n"
			     "COMP_WORDS=(\"$@\")\n"
			     "COMP_CWORD=$(($# - 1))\n"
			     "_cove\n"
			     "echo \"${COMPREPLY[*]}\"\n";

static void complete(struct command *c, const char *const *words)
{
	const char *argv[16] = { "bash", "-c", script, "bash" };
	char folder[4096];
	size_t n = 5;

	snprintf(folder, sizeof(folder), "%s", command_build_path("."));
	argv[4] = folder;
	argv[n++] = "cove";
	for (; *words; words++) {
		CHECK_INT(n, <, ARRAY_SIZE(argv) - 1);
		argv[n++] = *words;
	}
	command_run(c, argv);
}

static void test_words(void)
{
	static const struct {
		const char *words[8];
		const char *offered;
	} cases[] = {
		{ { "" },
		  "run exec shell attach sessions logs kill wait create ls inspect stop rm image doctor completion help "
		  "version" },
		{ { "s" }, "shell sessions stop" },
		{ { "attach", "--l" }, "--lossy" },
		{ { "attach", "nope", "" }, "" },
		{ { "attach", "a", "b", "" }, "" },
		{ { "image", "" }, "ls import inspect rm" },
		{ { "image", "import", "--s" }, "--size --shell" },
		{ { "run", "--rea" }, "--read-only" },
		{ { "run", "-n", "x", "--mem" }, "--memory" },
		{ { "run", "--name=x", "--mem" }, "--memory" },
		{ { "run", "--output-policy", "" }, "head tail kill" },
		{ { "run", "--output-policy", "=" }, "head tail kill" },
		{ { "run", "--output-policy", "=", "t" }, "tail" },
		{ { "run", "--cpus", "" }, "" },
		{ { "run", "busybox", "--" }, "" }, /* the command's, of which nothing is known */
		{ { "exec", "--i" }, "--interactive --id" },
		{ { "exec", "-i", "--k" }, "--kill-tree-on-exit --kill-on-disconnect" },
		{ { "kill", "--" }, "--signal --help" },
		{ { "ps", "--q" }, "--quiet" },
		{ { "ls", "" }, "" },
		{ { "completion", "" }, "bash zsh fish" },
		{ { "completion", "bash", "" }, "" },
		{ { "help", "ve" }, "version" },
		{ { "nope", "" }, "" },
	};
	_cleanup_(command_done) struct command c = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char offered[256];
		tap_note("case %zu", i);
		complete(&c, cases[i].words);
		snprintf(offered, sizeof(offered), "%s\n", cases[i].offered);
		CHECK_COMMAND(&c, 0, offered, "");
	}
}

/* Every option of every command is in every script. */
static void test_all_options(void)
{
	static const char *const shells[] = { "bash", "zsh", "fish" };
	_cleanup_(command_done) struct command dump = { 0 }, c = { 0 };
	unsigned n = 0;

	COVE(&dump, "--dump-options");
	for (size_t i = 0; i < ARRAY_SIZE(shells); i++) {
		COVE(&c, "completion", shells[i]);
		CHECK_COMMAND(&c, 0, NULL, "");
		for (char *line = dump.out; line; line = strchr(line, '\n')) {
			char option[64], fish_option[80];
			line += *line == '\n';
			if (sscanf(line, "option\t%*[^\t]\t%60s", option) != 1)
				continue;
			snprintf(fish_option, sizeof(fish_option), "-l %s", option + 2);
			CHECK_CONTAINS(c.out, strcmp(shells[i], "fish") ? option : fish_option);
			n++;
		}
	}
	CHECK_INT(n, >, 100);
}

static const struct tap_test tests[] = {
	{ "what bash offers", test_words },
	{ "every option is in every script", test_all_options },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
