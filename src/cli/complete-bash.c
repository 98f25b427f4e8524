/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completion for bash: a function with one case per command, made from the tables. Only the case is
 * generated; what is done with it is the same text for all.
 */
#include "cli/cli.h"

static void print_options(FILE *f, const struct cli_group *group, bool valued_only)
{
	for (size_t i = 0; i < group->n; i++) {
		const struct cli_option *option = &group->options[i];
		if (valued_only && option->kind == CLI_FLAG)
			continue;
		fprintf(f, " --%s", option->name);
		if (option->letter)
			fprintf(f, " -%c", option->letter);
	}
}

static void print_all_options(FILE *f, const struct cli_command *command, bool valued_only)
{
	for (const struct cli_group *const *group = command->groups; *group; group++)
		print_options(f, *group, valued_only);
	print_options(f, &cli_group_common, valued_only);
}

static void print_names(FILE *f, const struct cli_command *const *commands)
{
	for (const char *gap = ""; *commands; commands++, gap = " ")
		fprintf(f, "%s%s", gap, (*commands)->name);
}

static void print_operands(FILE *f, const struct cli_command *command)
{
	static const char *const kinds[] = {
		[CLI_OPERAND_NONE] = "",
		[CLI_OPERAND_IMAGE] = "images",
		[CLI_OPERAND_SANDBOX] = "sandboxes",
		[CLI_OPERAND_SESSION] = "sessions",
		[CLI_OPERAND_COMMAND] = "commands",
		[CLI_OPERAND_FILE] = "files",
	};

	fprintf(f, " operands='%s'", kinds[command->operand]);
	if (command->words) {
		fputs(" words='", f);
		for (size_t i = 0; command->words[i]; i++)
			fprintf(f, "%s%s", i ? " " : "", command->words[i]);
		fputs("'", f);
	}
	if (command->command_follows)
		fputs(" follows=1", f);
	else if (command->max_operands >= 0)
		fprintf(f, " most=%d", command->max_operands);
}

static void print_case(FILE *f, const struct cli_command *command)
{
	fprintf(f, "\t'%s'", cli_command_name(command));
	if (command->alias)
		fprintf(f, " | '%s'", command->alias);
	fputs(")\n", f);
	if (command->subcommands) {
		fputs("\t\tsubcommands='", f);
		print_names(f, command->subcommands);
		fputs("' ;;\n", f);
		for (const struct cli_command *const *sub = command->subcommands; *sub; sub++)
			print_case(f, *sub);
		return;
	}
	fputs("\t\toptions='", f);
	print_all_options(f, command, false);
	fputs(" '\n\t\tvalued='", f);
	print_all_options(f, command, true);
	fputs(" '\n\t\t", f);
	print_operands(f, command);
	fputs(" ;;\n", f);
}

static void print_values(FILE *f, const struct cli_command *command)
{
	for (const struct cli_group *const *group = command->groups; *group; group++)
		for (size_t i = 0; i < (*group)->n; i++) {
			const struct cli_option *option = &(*group)->options[i];
			if (option->kind != CLI_CHOICE && option->kind != CLI_ENV_FILE)
				continue;
			fprintf(f, "\t'%s --%s') ", cli_command_name(command), option->name);
			if (option->kind == CLI_ENV_FILE) {
				fputs("mapfile -t COMPREPLY < <(compgen -f -- \"$2\") ;;\n", f);
				continue;
			}
			fputs("mapfile -t COMPREPLY < <(compgen -W '", f);
			for (size_t k = 0; option->choices[k]; k++)
				fprintf(f, "%s%s", k ? " " : "", option->choices[k]);
			fputs("' -- \"$2\") ;;\n", f);
		}
}

void cli_complete_bash(FILE *f)
{
	fputs("# Completion of cove for bash, made by `cove completion bash`.\n\n"
	      "# Sets what command $1 takes: options, valued, operands, words, follows, most,\n"
	      "# subcommands.\n"
	      "_cove_command() {\n"
	      "\toptions='' valued='' operands='' words=''\n"
	      "\tfollows='' most=9999 subcommands=''\n"
	      "\tcase $1 in\n",
	      f);
	for (const struct cli_command *const *c = cli_commands; *c; c++)
		print_case(f, *c);
	fputs("\tesac\n"
	      "}\n\n"
	      "# Completes $2, the value of an option: $1 is \"command --option\".\n"
	      "_cove_value() {\n"
	      "\tcase $1 in\n",
	      f);
	for (const struct cli_command *const *c = cli_commands; *c; c++)
		print_values(f, *c);
	fputs("\tesac\n"
	      "}\n\n"
	      "_cove_operand() {\n"
	      "\tcase $operands in\n"
	      "\timages) words=$(cove image ls 2>/dev/null | awk 'NR > 1 { print $1 }') ;;\n"
	      "\tsandboxes) words=$(cove ls --all --quiet 2>/dev/null) ;;\n"
	      "\tsessions)\n"
	      "\t\tif ((n == 0)); then\n"
	      "\t\t\twords=$(cove ls --quiet 2>/dev/null)\n"
	      "\t\telse\n"
	      "\t\t\twords=$(cove sessions --all --quiet \"$first\" 2>/dev/null)\n"
	      "\t\tfi ;;\n"
	      "\tcommands) words='",
	      f);
	print_names(f, cli_commands);
	fputs("' ;;\n"
	      "\tfiles)\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$1\")\n"
	      "\t\treturn ;;\n"
	      "\tesac\n"
	      "\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$1\")\n"
	      "}\n\n"
	      "_cove() {\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} command='' previous='' n=0 i word first=''\n"
	      "\tlocal options valued operands words follows most subcommands='",
	      f);
	print_names(f, cli_commands);
	fputs("'\n"
	      "\tCOMPREPLY=()\n"
	      "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\tword=${COMP_WORDS[i]}\n"
	      "\t\tif [[ $subcommands ]]; then\n"
	      "\t\t\tcommand=${command:+$command }$word\n"
	      "\t\t\t_cove_command \"$command\"\n"
	      "\t\telif [[ $previous ]]; then\n"
	      "\t\t\t[[ $word == '=' ]] || previous=''\n"
	      "\t\telif [[ $valued == *\" $word \"* ]]; then\n"
	      "\t\t\tprevious=$word\n"
	      "\t\telif [[ $word != -* ]]; then\n"
	      "\t\t\tn=$((n + 1)) first=${first:-$word}\n"
	      "\t\tfi\n"
	      "\tdone\n"
	      "\tif [[ $subcommands ]]; then\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -W \"$subcommands\" -- \"$cur\")\n"
	      "\telif [[ $previous ]]; then\n"
	      "\t\t[[ $cur == '=' ]] && cur=''\n"
	      "\t\t_cove_value \"$command $previous\" \"$cur\"\n"
	      "\telif [[ $follows ]] && ((n > 0)); then\n"
	      "\t\t: # the words of the command in the guest\n"
	      "\telif [[ $cur == -* ]]; then\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n"
	      "\telif ((n < most)); then\n"
	      "\t\t_cove_operand \"$cur\"\n"
	      "\tfi\n"
	      "}\n\n"
	      "complete -o default -F _cove cove\n",
	      f);
}
