/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image store is the business of a program of its own, cove-image, so that the libraries it
 * needs are not loaded to run a command. What is wrong with the command line is said here.
 */
#include <stdlib.h>

#include "cli/cli.h"

/* "cove-image", the subcommand, options with a value as two arguments, "--", operands, NULL. */
#define ARGV_FIXED 16

struct argv {
	const char **items;
	size_t n;
};

static void argv_done(struct argv *argv)
{
	free(argv->items);
}

static void add(struct argv *argv, const char *option, const char *value)
{
	if (!value)
		return;
	argv->items[argv->n++] = option;
	argv->items[argv->n++] = value;
}

static int become_image(const struct cli_args *args, struct argv *argv)
{
	argv->items[argv->n++] = "--";
	for (int i = 0; i < args->n_operands; i++)
		argv->items[argv->n++] = args->operands[i];
	argv->items[argv->n] = NULL;
	return cli_become(args->command, argv->items[0], argv->items);
}

static int run(struct cli_args *args)
{
	const struct cli_values *v = &args->values;
	size_t n = ARGV_FIXED + 2 * v->env.n + (size_t)args->n_operands;
	_cleanup_(argv_done) struct argv argv = { calloc(n, sizeof(*argv.items)), 0 };
	char size[32];

	if (!argv.items)
		return cli_fail(args->command, "out of memory");
	argv.items[argv.n++] = "cove-image";
	argv.items[argv.n++] = args->command->name;
	if (v->json)
		argv.items[argv.n++] = "--json";
	if (v->replace)
		argv.items[argv.n++] = "--replace";
	snprintf(size, sizeof(size), "%llu", (unsigned long long)v->disk_bytes);
	add(&argv, "--size", v->disk_bytes ? size : NULL);
	add(&argv, "--workdir", v->workdir);
	add(&argv, "--user", v->user);
	add(&argv, "--shell", v->shell);
	for (size_t i = 0; i < v->env.n; i++)
		add(&argv, "--env", v->env.items[i]);
	return become_image(args, &argv);
}

static const struct cli_option ls_options[] = {
	{ "json", 0, CLI_FLAG, NULL, CLI_AT(bool, json), .help = "a JSON array" },
};
static const struct cli_group ls_group = {
	"image ls",
	"Options",
	ls_options,
	ARRAY_SIZE(ls_options),
};

static const struct cli_option inspect_options[] = {
	{ "json", 0, CLI_FLAG, NULL, CLI_AT(bool, json),
	  .help = "as JSON; always so, accepted out of habit" },
};
static const struct cli_group inspect_group = {
	"image inspect",
	"Options",
	inspect_options,
	ARRAY_SIZE(inspect_options),
};

#define MIB (1024ULL * 1024)
#define TIB (MIB * MIB)

static const struct cli_option import_options[] = {
	{ "replace", 0, CLI_FLAG, NULL, CLI_AT(bool, replace),
	  .help = "take the place of an image of that name" },
	{ "size", 0, CLI_SIZE, "SIZE", CLI_AT(uint64_t, disk_bytes), 16 * MIB, 8 * TIB,
	  .help = "size of the root filesystem; 16G by default, or more for a large content" },
	{ "env", 'e', CLI_ENV, "KEY[=VALUE]", CLI_AT(struct cli_list, env),
	  .help = "an environment variable for the commands; may be repeated" },
	{ "workdir", 'w', CLI_PATH, "DIR", CLI_AT(const char *, workdir),
	  .help = "the working directory of commands" },
	{ "user", 'u', CLI_TEXT, "USER[:GROUP]", CLI_AT(const char *, user),
	  .help = "whom commands run as" },
	{ "shell", 0, CLI_PATH, "PATH", CLI_AT(const char *, shell),
	  .help = "what runs the scripts of `cove shell`" },
};
static const struct cli_group import_group = {
	"image import",
	"Options",
	import_options,
	ARRAY_SIZE(import_options),
};

static const struct cli_command image_ls = {
	.name = "ls",
	.full_name = "image ls",
	.synopsis = "[options]",
	.summary = "list the images",
	.groups = { &ls_group },
	.run = run,
};

static const struct cli_command image_import = {
	.name = "import",
	.full_name = "image import",
	.synopsis = "[options] NAME SOURCE",
	.summary = "make an image of a tarball or a folder",
	.details =
		"SOURCE is a root filesystem: a folder, a tar archive in any usual compression, or -\n"
		"for such an archive on stdin.\n",
	.groups = { &import_group },
	.needs = { "a name for the image", "a tarball or folder" },
	.max_operands = 2,
	.operand = CLI_OPERAND_FILE,
	.run = run,
};

static const struct cli_command image_rm = {
	.name = "rm",
	.full_name = "image rm",
	.synopsis = "NAME...",
	.summary = "remove images",
	.needs = { "an image" },
	.max_operands = -1,
	.operand = CLI_OPERAND_IMAGE,
	.run = run,
};

static const struct cli_command image_inspect = {
	.name = "inspect",
	.full_name = "image inspect",
	.synopsis = "[options] NAME",
	.summary = "print all there is to know about an image, as JSON",
	.groups = { &inspect_group },
	.needs = { "an image" },
	.max_operands = 1,
	.operand = CLI_OPERAND_IMAGE,
	.run = run,
};

static const struct cli_command *const subcommands[] = {
	&image_ls, &image_import, &image_inspect, &image_rm, NULL,
};

const struct cli_command cmd_image = {
	.name = "image",
	.section = CLI_SECTION_IMAGES,
	.synopsis = "COMMAND ...",
	.summary = "list, import, inspect and remove images",
	.subcommands = subcommands,
};
