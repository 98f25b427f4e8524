/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "cli/cli.h"

#define WIDTH	    80
#define TEXT_COLUMN 30 /* where the text of an option begins */

/* Words, broken between them before WIDTH; the cursor is in `column`, further lines in `indent`. */
static void print_wrapped(FILE *f, const char *text, size_t column, size_t indent)
{
	while (*text) {
		size_t word = strcspn(text, " ");
		if (column > indent && column + 1 + word > WIDTH) {
			fprintf(f, "\n%*s", (int)indent, "");
			column = indent;
		} else if (column > indent) {
			fputc(' ', f);
			column++;
		}
		fwrite(text, 1, word, f);
		column += word;
		text += word;
		text += strspn(text, " ");
	}
	fputc('\n', f);
}

static void print_option(FILE *f, const struct cli_option *option)
{
	char left[64];
	int n = snprintf(left, sizeof(left), option->letter ? "  -%c, " : "      ", option->letter);
	n += snprintf(left + n, sizeof(left) - (size_t)n, "--%s%s%s", option->name,
		      option->argument ? " " : "", option->argument ? option->argument : "");
	if (n + 2 > TEXT_COLUMN)
		fprintf(f, "%s\n%*s", left, TEXT_COLUMN, "");
	else
		fprintf(f, "%-*s", TEXT_COLUMN, left);
	print_wrapped(f, option->help, TEXT_COLUMN, TEXT_COLUMN);
}

static void print_group(FILE *f, const struct cli_group *group)
{
	fprintf(f, "\n%s:\n", group->title);
	for (size_t i = 0; i < group->n; i++)
		print_option(f, &group->options[i]);
}

static void print_command_line(FILE *f, const struct cli_command *command)
{
	int n = fprintf(f, "  %s", command->name);
	if (command->alias)
		n += fprintf(f, ", %s", command->alias);
	fprintf(f, "%*s%s\n", MAX(1, 16 - n), "", command->summary);
}

static void print_subcommands(FILE *f, const struct cli_command *command)
{
	fputs("\nCommands:\n", f);
	for (const struct cli_command *const *sub = command->subcommands; *sub; sub++)
		print_command_line(f, *sub);
	fprintf(f, "\n`cove %s COMMAND --help` says more.\n", cli_command_name(command));
}

void cli_help_command(FILE *f, const struct cli_command *command)
{
	fprintf(f, "usage: cove %s%s%s\n\n", cli_command_name(command),
		*command->synopsis ? " " : "", command->synopsis);
	fprintf(f, "%c%s.\n", command->summary[0] - 'a' + 'A', command->summary + 1);
	if (command->alias)
		fprintf(f, "`cove %s` is the same.\n", command->alias);
	if (command->details)
		fprintf(f, "\n%s", command->details);
	if (command->subcommands) {
		print_subcommands(f, command);
		return;
	}
	for (const struct cli_group *const *group = command->groups; *group; group++)
		print_group(f, *group);
	print_group(f, &cli_group_common);
}

void cli_help_main(FILE *f)
{
	static const char *const titles[] = {
		[CLI_SECTION_COMMANDS] = "Run commands",
		[CLI_SECTION_SANDBOXES] = "Sandboxes",
		[CLI_SECTION_IMAGES] = "Images",
		[CLI_SECTION_MORE] = "More",
	};

	fputs("usage: cove COMMAND [options] ...\n\n"
	      "Runs commands in microVM sandboxes.\n",
	      f);
	for (size_t section = 0; section < ARRAY_SIZE(titles); section++) {
		fprintf(f, "\n%s:\n", titles[section]);
		for (const struct cli_command *const *c = cli_commands; *c; c++)
			if ((*c)->section == section)
				print_command_line(f, *c);
	}
	fputs("\n`cove COMMAND --help` says more. Exit status: that of the command in the\n"
	      "sandbox; 128+n when signal n ended it; 124 after a timeout; 125 when Cove failed;\n"
	      "126 when the command could not be executed; 127 when there is none.\n",
	      f);
}

static void dump_group(FILE *f, const char *name, const struct cli_group *group)
{
	for (size_t i = 0; i < group->n; i++) {
		const struct cli_option *option = &group->options[i];
		char letter[3] = { '-', option->letter, 0 };
		fprintf(f, "option\t%s\t--%s\t%s\t%s\t%s\n", name, option->name,
			option->letter ? letter : "", option->argument ? option->argument : "",
			option->help);
	}
}

static bool is_shared(const struct cli_group *group)
{
	return group == &cli_group_sandbox || group == &cli_group_environment ||
	       group == &cli_group_command;
}

static void dump_command(FILE *f, const struct cli_command *command)
{
	const char *name = cli_command_name(command);
	fprintf(f, "command\t%s\t%s\t%s\t%s\n", name, command->alias ? command->alias : "",
		command->synopsis, command->summary);
	for (const struct cli_group *const *group = command->groups; *group; group++) {
		if (is_shared(*group))
			fprintf(f, "uses\t%s\t%s\n", name, (*group)->title);
		else
			dump_group(f, name, *group);
	}
	for (const struct cli_command *const *sub = command->subcommands; sub && *sub; sub++)
		dump_command(f, *sub);
}

/*
 * All commands and options, tab-separated, for the test that compares them with what is written
 * down. "option" rows have the command's name, or the title of the group that several share.
 */
void cli_dump_options(FILE *f)
{
	static const struct cli_group *const shared[] = {
		&cli_group_common,
		&cli_group_sandbox,
		&cli_group_environment,
		&cli_group_command,
	};
	for (size_t i = 0; i < ARRAY_SIZE(shared); i++)
		dump_group(f, shared[i]->title, shared[i]);
	for (const struct cli_command *const *c = cli_commands; *c; c++)
		dump_command(f, *c);
}
