/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/name.h"
#include "cli/cli.h"

/* What a value should have been, for the message. */
static const char *const expected[] = {
	[CLI_TEXT] = "something, not nothing",
	[CLI_NAME] = "a name: a-z and 0-9, then also . _ -, at most 63",
	[CLI_ID] = "an id: letters and digits, then also . _ -, at most 64",
	[CLI_PATH] = "an absolute path",
	[CLI_NUMBER] = "a whole number",
	[CLI_SIZE] = "a size, like 512M or 2G",
	[CLI_DURATION] = "a time, like 500ms, 30s, 2m or 1h",
	[CLI_SIGNAL] = "a signal, like TERM or 15",
	[CLI_RLIMIT] = "a limit, like nofile=1024, nofile=1024:4096 or core=unlimited",
	[CLI_SINCE] = "start, now, or an offset: 4096, or 4096:0 for stdout and stderr",
};

static const struct cli_option *find_in_group(const struct cli_group *group, const char *name,
					      size_t name_size, char letter)
{
	for (size_t i = 0; i < group->n; i++) {
		const struct cli_option *option = &group->options[i];
		if (name ? strlen(option->name) == name_size &&
				    !memcmp(option->name, name, name_size)
			 : option->letter && option->letter == letter)
			return option;
	}
	return NULL;
}

const struct cli_option *cli_option_find(const struct cli_command *command, const char *name,
					 size_t name_size, char letter)
{
	const struct cli_option *option = find_in_group(&cli_group_common, name, name_size, letter);
	for (const struct cli_group *const *group = command->groups; !option && *group; group++)
		option = find_in_group(*group, name, name_size, letter);
	return option;
}

static void number_text(const struct cli_option *option, uint64_t value, char *buffer, size_t size)
{
	if (option->kind == CLI_SIZE)
		cli_size_text(value, buffer, size);
	else
		snprintf(buffer, size, "%llu%s", (unsigned long long)value,
			 option->kind == CLI_DURATION ? "ms" : "");
}

static int check_range(const struct cli_option *option, uint64_t value, const char *text,
		       struct cove_error *err)
{
	char min[32], max[32];

	if (value >= option->min && (!option->max || value <= option->max))
		return 0;
	number_text(option, option->min, min, sizeof(min));
	number_text(option, option->max, max, sizeof(max));
	if (option->max && value > option->max)
		return error_set(err, COVE_E_INVALID, "--%s %s: the most is %s", option->name, text,
				 max);
	return error_set(err, COVE_E_INVALID, "--%s %s: the least is %s", option->name, text, min);
}

static int store_rlimit(struct cli_values *values, const char *text)
{
	struct cove_rlimit limit;
	int r = cli_value_rlimit(text, &limit);
	if (r < 0)
		return r;
	size_t i = 0;
	while (i < values->n_rlimits && values->rlimits[i].resource != limit.resource)
		i++;
	values->rlimits[i] = limit;
	if (i == values->n_rlimits)
		values->n_rlimits++;
	return 0;
}

static int store_choice(const struct cli_option *option, const char *text, uint64_t *field,
			struct cove_error *err)
{
	char list[128] = "";

	for (uint64_t i = 0; option->choices[i]; i++) {
		if (!strcmp(option->choices[i], text)) {
			*field = i;
			return 0;
		}
		size_t n = strlen(list);
		snprintf(list + n, sizeof(list) - n, "%s%s", i ? ", " : "", option->choices[i]);
	}
	return error_set(err, COVE_E_INVALID, "--%s %s: must be one of %s", option->name, text,
			 list);
}

static int store_number(const struct cli_option *option, const char *text, uint64_t *field)
{
	switch (option->kind) {
	case CLI_SIZE:
		return cli_value_size(text, field);
	case CLI_DURATION:
		return cli_value_duration_ms(text, field);
	case CLI_SIGNAL:
		return cli_value_signal(text, field);
	default:
		return cli_value_number(text, field);
	}
}

static bool text_valid(enum cli_kind kind, const char *text)
{
	switch (kind) {
	case CLI_NAME:
		return name_valid(text);
	case CLI_ID:
		return session_id_valid(text, strlen(text));
	case CLI_PATH:
		return *text == '/';
	default:
		return *text;
	}
}

static int store_item(struct cli_list *list, const char *text, struct cove_error *err)
{
	if (cli_list_append(list, strdup(text)) < 0)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	return 0;
}

/* text is NULL for a flag. */
static int store(const struct cli_option *option, const char *text, struct cli_values *values,
		 struct cove_error *err)
{
	void *field = (char *)values + option->offset;
	int r = 0;

	switch (option->kind) {
	case CLI_FLAG:
		*(bool *)field = true;
		return 0;
	case CLI_TEXT:
	case CLI_NAME:
	case CLI_ID:
	case CLI_PATH:
		if (!text_valid(option->kind, text))
			r = -EINVAL;
		else
			*(const char **)field = text;
		break;
	case CLI_NUMBER:
	case CLI_SIZE:
	case CLI_DURATION:
	case CLI_SIGNAL:
		r = store_number(option, text, field);
		if (r == 0)
			return check_range(option, *(uint64_t *)field, text, err);
		break;
	case CLI_CHOICE:
		return store_choice(option, text, field, err);
	case CLI_ENV:
		r = cli_env_add(field, text, err);
		return r < 0 ? error_add_context(err, r, "--%s", option->name) : 0;
	case CLI_ENV_FILE:
		r = cli_env_add_file(field, text, err);
		return r < 0 ? error_add_context(err, r, "--%s", option->name) : 0;
	case CLI_RLIMIT:
		r = store_rlimit(values, text);
		break;
	case CLI_LIST:
		return store_item(field, text, err);
	case CLI_SINCE:
		r = cli_value_since(text, field);
		break;
	}
	if (r == -EDOM)
		return error_set(err, COVE_E_INVALID,
				 "--%s %s: the soft limit is above the hard one", option->name,
				 text);
	if (r == -ERANGE)
		return error_set(err, COVE_E_INVALID, "--%s %s: too large", option->name, text);
	if (r < 0)
		return error_set(err, COVE_E_INVALID, "--%s %s: must be %s", option->name,
				 *text ? text : "\"\"", expected[option->kind]);
	return 0;
}

/* "--name", "--name=value" or "--name value"; *argv is moved over what was used. */
static int parse_long(struct cli_args *args, const char *const **argv, struct cove_error *err)
{
	const char *text = **argv + 2;
	size_t size = strcspn(text, "=");
	const char *value = text[size] ? text + size + 1 : NULL;

	const struct cli_option *option = cli_option_find(args->command, text, size, 0);
	if (!option)
		return error_set(err, COVE_E_INVALID, "unknown option --%.*s", (int)size, text);
	++*argv;
	if (option->kind == CLI_FLAG) {
		if (value)
			return error_set(err, COVE_E_INVALID, "--%s takes no value", option->name);
	} else if (!value) {
		value = *(*argv)++;
		if (!value)
			return error_set(err, COVE_E_INVALID, "--%s needs a value: %s",
					 option->name, option->argument);
	}
	return store(option, value, &args->values, err);
}

/* "-abc", "-nvalue" or "-n value". */
static int parse_letters(struct cli_args *args, const char *const **argv, struct cove_error *err)
{
	const char *p = **argv + 1;

	++*argv;
	while (*p) {
		const struct cli_option *option = cli_option_find(args->command, NULL, 0, *p);
		if (!option)
			return error_set(err, COVE_E_INVALID, "unknown option -%c", *p);
		p++;
		if (option->kind == CLI_FLAG) {
			store(option, NULL, &args->values, err);
			continue;
		}
		const char *value = *p ? p : *(*argv)++;
		if (!value)
			return error_set(err, COVE_E_INVALID, "-%c needs a value: %s",
					 option->letter, option->argument);
		return store(option, value, &args->values, err);
	}
	return 0;
}

static int check_operands(const struct cli_args *args, struct cove_error *err)
{
	const struct cli_command *command = args->command;
	int needed = 0;

	for (; needed < (int)ARRAY_SIZE(command->needs) && command->needs[needed]; needed++)
		if (args->n_operands <= needed)
			return error_set(err, COVE_E_INVALID, "%s is needed",
					 command->needs[needed]);
	if (command->max_operands >= 0 && args->n_operands > command->max_operands)
		return error_set(err, COVE_E_INVALID, "%s is one argument too many",
				 args->operands[command->max_operands]);
	return 0;
}

/* What makes no sense together. */
static int check_values(const struct cli_args *args, struct cove_error *err)
{
	const struct cli_values *v = &args->values;
	bool has_terminal = v->interactive && v->tty && !v->detach;

	if (v->output_policy != COVE_OUTPUT_KILL && !v->output_limit_bytes)
		return error_set(err, COVE_E_INVALID, "--output-policy needs --output-limit");
	if (v->output_policy != COVE_OUTPUT_KILL && v->detach)
		return error_set(err, COVE_E_INVALID,
				 "--output-policy: with --detach only kill, since nobody is here "
				 "to cut the output");
	if (v->output_limit_bytes && has_terminal)
		return error_set(err, COVE_E_INVALID,
				 "--output-limit: not with -it, a terminal shows all of it");
	if (v->kill_on_disconnect && v->detach)
		return error_set(err, COVE_E_INVALID,
				 "--kill-on-disconnect: not with --detach, which lets go of the "
				 "command at once");
	if (v->detach_keys.n && !has_terminal && cli_option_find(args->command, "tty", 3, 0))
		return error_set(err, COVE_E_INVALID, "--detach-keys: only with -it%s",
				 v->detach ? ", and not with --detach" : "");
	return 0;
}

/* Without a script, a shell is for somebody who types. */
static int imply_terminal(struct cli_args *args, struct cove_error *err)
{
	const struct cli_command *command = args->command;

	if (!command->terminal_operands || args->n_operands != command->terminal_operands)
		return 0;
	if (args->values.detach)
		return error_set(err, COVE_E_INVALID, "--detach needs a script");
	args->values.interactive = args->values.tty = true;
	return 0;
}

void cli_args_done(struct cli_args *args)
{
	cli_list_done(&args->values.env);
	cli_list_done(&args->values.env_files);
	cli_list_done(&args->values.detach_keys);
	free(args->operands);
	args->operands = NULL;
}

static int parse(struct cli_args *args, const char *const *argv, struct cove_error *err)
{
	bool options_end = false;

	while (*argv) {
		const char *arg = *argv;
		int r = 0;

		if (options_end || arg[0] != '-' || !arg[1]) { /* "-" alone is an operand */
			args->operands[args->n_operands++] = *argv++;
			options_end |= args->command->command_follows;
		} else if (!strcmp(arg, "--")) {
			options_end = true;
			argv++;
		} else if (arg[1] == '-') {
			r = parse_long(args, &argv, err);
		} else {
			r = parse_letters(args, &argv, err);
		}
		if (r < 0)
			return r;
	}
	if (args->values.help)
		return 0;
	int r = check_operands(args, err);
	if (r == 0)
		r = imply_terminal(args, err);
	return r < 0 ? r : check_values(args, err);
}

/* Whatever the order on the command line, --env wins over --env-file. */
static int merge_env(struct cli_values *values, struct cove_error *err)
{
	if (cli_list_move(&values->env_files, &values->env) < 0)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	values->env = values->env_files;
	values->env_files = (struct cli_list){ NULL, 0 };
	return 0;
}

int cli_args_parse(const struct cli_command *command, const char *const *argv, struct cli_args *ret,
		   struct cove_error *err)
{
	struct cli_args args = { .command = command, .values = CLI_VALUES_INIT };
	size_t n = 0;

	while (argv[n])
		n++;
	args.operands = calloc(n + 1, sizeof(*args.operands));
	if (!args.operands)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	int r = parse(&args, argv, err);
	if (r == 0)
		r = merge_env(&args.values, err);
	if (r < 0) {
		cli_args_done(&args);
		return r;
	}
	*ret = args;
	return 0;
}
