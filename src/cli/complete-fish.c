/* SPDX-License-Identifier: Apache-2.0 */
/* Completion for fish: one `complete` line per command and option. */
#include <string.h>

#include "cli/cli.h"

/* Inside '…'. */
static void print_escaped(FILE *f, const char *text)
{
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			fputc('\\', f);
		fputc(*text, f);
	}
}

/* complete -c cove, where "cove NAME" was typed. */
static void print_start(FILE *f, const struct cli_command *command)
{
	fprintf(f, "complete -c cove -n '__cove_is %s", cli_command_name(command));
	if (command->alias)
		fprintf(f, "; or __cove_is %s", command->alias);
	fputs("'", f);
}

/* complete -c cove, where the next word is a command: one of `parent`, or of cove. */
static void print_word(FILE *f, const struct cli_command *parent, const struct cli_command *command)
{
	fprintf(f, "complete -c cove -n '__cove_is%s%s \"\"' -a %s -d '", parent ? " " : "",
		parent ? parent->name : "", command->name);
	print_escaped(f, command->summary);
	fputs("'\n", f);
}

static void print_option(FILE *f, const struct cli_option *option)
{
	fprintf(f, " -l %s", option->name);
	if (option->letter)
		fprintf(f, " -s %c", option->letter);
	if (option->kind != CLI_FLAG)
		fputs(option->kind == CLI_ENV_FILE ? " -r -F" : " -x", f);
	if (option->choices) {
		fputs(" -a '", f);
		for (size_t i = 0; option->choices[i]; i++)
			fprintf(f, "%s%s", i ? " " : "", option->choices[i]);
		fputs("'", f);
	}
	fputs(" -d '", f);
	print_escaped(f, option->help);
	fputs("'\n", f);
}

static void print_operands(FILE *f, const struct cli_command *command)
{
	static const char *const actions[] = {
		[CLI_OPERAND_NONE] = NULL,
		[CLI_OPERAND_IMAGE] = "(__cove_images)",
		[CLI_OPERAND_SANDBOX] = "(cove ls --all --quiet 2>/dev/null)",
		[CLI_OPERAND_SESSION] = "(__cove_sessions)",
		[CLI_OPERAND_COMMAND] = "(__cove_commands)",
		[CLI_OPERAND_FILE] = NULL,
	};

	if (command->operand == CLI_OPERAND_FILE) {
		print_start(f, command);
		fputs(" -F\n", f);
	}
	if (!command->words && !actions[command->operand])
		return;
	print_start(f, command);
	fputs(" -a '", f);
	for (size_t i = 0; command->words && command->words[i]; i++)
		fprintf(f, "%s%s", i ? " " : "", command->words[i]);
	if (!command->words)
		fputs(actions[command->operand], f);
	fputs("'\n", f);
}

static void print_command(FILE *f, const struct cli_command *command)
{
	for (const struct cli_group *const *group = command->groups; *group; group++)
		for (size_t i = 0; i < (*group)->n; i++) {
			print_start(f, command);
			print_option(f, &(*group)->options[i]);
		}
	print_operands(f, command);
	for (const struct cli_command *const *sub = command->subcommands; sub && *sub; sub++) {
		print_word(f, command, *sub);
		print_command(f, *sub);
	}
}

void cli_complete_fish(FILE *f)
{
	fputs("# Completion of cove for fish, made by `cove completion fish`.\n\n"
	      "# Whether the first words are these.\n"
	      "function __cove_is\n"
	      "\tset -l words (commandline -opc)\n"
	      "\tset -e words[1]\n"
	      "\tfor i in (seq (count $argv))\n"
	      "\t\ttest \"$words[$i]\" = \"$argv[$i]\"; or return 1\n"
	      "\tend\n"
	      "end\n\n"
	      "# The names of sandboxes, or, after one, the ids of its sessions.\n"
	      "function __cove_sessions\n"
	      "\tset -l words (commandline -opc)\n"
	      "\tset -l operands (string match -v -- '-*' $words[3..-1])\n"
	      "\tif test (count $operands) -eq 0\n"
	      "\t\tcove ls --quiet 2>/dev/null\n"
	      "\telse\n"
	      "\t\tcove sessions --all --quiet $operands[1] 2>/dev/null\n"
	      "\tend\n"
	      "end\n\n"
	      "function __cove_images\n"
	      "\tcove image ls 2>/dev/null | awk 'NR > 1 { print $1 }'\n"
	      "end\n\n"
	      "function __cove_commands\n",
	      f);
	for (const struct cli_command *const *c = cli_commands; *c; c++)
		fprintf(f, "\techo %s\n", (*c)->name);
	fputs("end\n\n"
	      "complete -c cove -f\n"
	      "complete -c cove -s h -l help -d 'show help'\n",
	      f);
	for (const struct cli_command *const *c = cli_commands; *c; c++)
		print_word(f, NULL, *c);
	for (const struct cli_command *const *c = cli_commands; *c; c++)
		print_command(f, *c);
}
