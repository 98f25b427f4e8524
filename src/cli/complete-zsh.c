/* SPDX-License-Identifier: Apache-2.0 */
/* Completion for zsh: one function per command, which gives its options to _arguments. */
#include <string.h>

#include "cli/cli.h"

/* Inside '…', in an option's [explanation] or a word's :explanation. */
static void print_escaped(FILE *f, const char *text)
{
	for (; *text; text++) {
		if (*text == '\'')
			fputs("'\\''", f);
		else if (strchr("[]:\\", *text))
			fprintf(f, "\\%c", *text);
		else
			fputc(*text, f);
	}
}

static void print_function_name(FILE *f, const struct cli_command *command)
{
	fputs("_cove_", f);
	for (const char *p = cli_command_name(command); *p; p++)
		fputc(*p == ' ' ? '_' : *p, f);
}

static void print_action(FILE *f, const struct cli_option *option)
{
	if (option->kind == CLI_FLAG)
		return;
	fputs(":", f);
	print_escaped(f, option->argument);
	fputs(":", f);
	if (option->kind == CLI_ENV_FILE)
		fputs("_files", f);
	for (size_t i = 0; option->choices && option->choices[i]; i++)
		fprintf(f, "%s%s", i ? " " : "(", option->choices[i]);
	if (option->choices)
		fputs(")", f);
}

/* '(-n --name)'{-n+,--name=}'[what it does]:NAME:' and the like. */
static void print_option(FILE *f, const struct cli_option *option)
{
	bool repeats = option->kind == CLI_ENV || option->kind == CLI_ENV_FILE ||
		       option->kind == CLI_RLIMIT || option->kind == CLI_LIST;
	const char *equals = option->kind == CLI_FLAG ? "" : "=";
	const char *plus = option->kind == CLI_FLAG ? "" : "+";

	fputs(" \\\n\t\t", f);
	if (repeats)
		fputs("'*'", f);
	else if (option->letter)
		fprintf(f, "'(-%c --%s)'", option->letter, option->name);
	if (option->letter)
		fprintf(f, "{-%c%s,--%s%s}'[", option->letter, plus, option->name, equals);
	else
		fprintf(f, "'--%s%s[", option->name, equals);
	print_escaped(f, option->help);
	fputs("]", f);
	print_action(f, option);
	fputs("'", f);
}

static void print_words(FILE *f, const struct cli_command *const *commands)
{
	for (const struct cli_command *const *c = commands; *c; c++) {
		fprintf(f, "\n\t\t'%s:", (*c)->name);
		print_escaped(f, (*c)->summary);
		fputs("'", f);
	}
}

static void print_operands(FILE *f, const struct cli_command *command)
{
	static const char *const actions[] = {
		[CLI_OPERAND_NONE] = "",
		[CLI_OPERAND_IMAGE] = "_cove_images",
		[CLI_OPERAND_SANDBOX] = "_cove_sandboxes",
		[CLI_OPERAND_SESSION] = "_cove_sandboxes",
		[CLI_OPERAND_COMMAND] = "_cove_commands",
		[CLI_OPERAND_FILE] = "_files",
	};
	bool one = command->command_follows || command->max_operands == 1 ||
		   command->operand == CLI_OPERAND_SESSION;

	if (command->words) {
		fputs(" \\\n\t\t'1:word:(", f);
		for (size_t i = 0; command->words[i]; i++)
			fprintf(f, "%s%s", i ? " " : "", command->words[i]);
		fputs(")'", f);
	} else if (command->operand != CLI_OPERAND_NONE) {
		fprintf(f, " \\\n\t\t'%s:name:%s'", one ? "1" : "*", actions[command->operand]);
	}
	if (command->operand == CLI_OPERAND_SESSION)
		fputs(" \\\n\t\t'2:session:_cove_sessions'", f);
	if (command->command_follows)
		fputs(" \\\n\t\t'*::argument: '", f);
}

/* What dispatches to the functions of the commands in a list. */
static void print_dispatch(FILE *f, const struct cli_command *const *commands, const char *prefix)
{
	fputs("\tlocal state line\n"
	      "\tlocal -a commands=(",
	      f);
	print_words(f, commands);
	fprintf(f,
		"\n\t)\n"
		"\t_arguments -C '(- *)'{-h,--help}'[show help]' '1:command:->command' "
		"'*::argument:->argument'\n"
		"\tcase $state in\n"
		"\tcommand) _describe command commands ;;\n"
		"\targument) (( $+functions[%s_$words[1]] )) && %s_$words[1] ;;\n"
		"\tesac\n",
		prefix, prefix);
}

static void print_function(FILE *f, const struct cli_command *command)
{
	for (const struct cli_command *const *sub = command->subcommands; sub && *sub; sub++)
		print_function(f, *sub);
	print_function_name(f, command);
	fputs("() {\n", f);
	if (command->subcommands) {
		print_dispatch(f, command->subcommands, "_cove_image");
	} else {
		fputs("\t_arguments -s -S", f);
		for (const struct cli_group *const *group = command->groups; *group; group++)
			for (size_t i = 0; i < (*group)->n; i++)
				print_option(f, &(*group)->options[i]);
		for (size_t i = 0; i < cli_group_common.n; i++)
			print_option(f, &cli_group_common.options[i]);
		print_operands(f, command);
		fputs("\n", f);
	}
	fputs("}\n\n", f);
	if (command->alias)
		fprintf(f, "_cove_%s() {\n\t_cove_%s\n}\n\n", command->alias, command->name);
}

void cli_complete_zsh(FILE *f)
{
	fputs("#compdef cove\n"
	      "# Completion of cove for zsh, made by `cove completion zsh`.\n\n"
	      "_cove_images() {\n"
	      "\tlocal -a names=(${(f)\"$(cove image ls 2>/dev/null | "
	      "awk 'NR > 1 { print $1 }')\"})\n"
	      "\tcompadd -a names\n"
	      "}\n\n"
	      "_cove_sandboxes() {\n"
	      "\tlocal -a names=(${(f)\"$(cove ls --all --quiet 2>/dev/null)\"})\n"
	      "\tcompadd -a names\n"
	      "}\n\n"
	      "# Of the sandbox that is the first word without a dash.\n"
	      "_cove_sessions() {\n"
	      "\tlocal -a operands=(${words[2,CURRENT-1]:#-*})\n"
	      "\tlocal -a names=(${(f)\"$(cove sessions --all --quiet \"$operands[1]\" "
	      "2>/dev/null)\"})\n"
	      "\tcompadd -a names\n"
	      "}\n\n"
	      "_cove_commands() {\n"
	      "\tlocal -a commands=(",
	      f);
	print_words(f, cli_commands);
	fputs("\n\t)\n"
	      "\t_describe command commands\n"
	      "}\n\n",
	      f);
	for (const struct cli_command *const *c = cli_commands; *c; c++)
		print_function(f, *c);
	fputs("_cove() {\n", f);
	print_dispatch(f, cli_commands, "_cove");
	fputs("}\n\n"
	      "if [[ $funcstack[1] == _cove ]]; then\n"
	      "\t_cove \"$@\"\n"
	      "else\n"
	      "\tcompdef _cove cove\n"
	      "fi\n",
	      f);
}
