/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdlib.h>

#include "base/fd.h"
#include "cli/cli.h"
#include "harness/failing-alloc.h"
#include "harness/tap.h"

/* Two commands like `cove run` and like `cove ls`. */

static const struct cli_option own_options[] = {
	{ "all", 'a', CLI_FLAG, NULL, CLI_AT(bool, all), .help = "all" },
	{ "quiet", 'q', CLI_FLAG, NULL, CLI_AT(bool, quiet), .help = "quiet" },
};
static const struct cli_group own_group = { "own", "Own", own_options, ARRAY_SIZE(own_options) };

static const struct cli_command runs = {
	.name = "runs",
	.synopsis = "",
	.groups = { &cli_group_sandbox, &cli_group_environment, &cli_group_command, &own_group },
	.command_follows = true,
	.needs = { "an image", "a command" },
	.max_operands = -1,
};

static const struct cli_command lists = {
	.name = "lists",
	.synopsis = "",
	.groups = { &cli_group_sandbox, &own_group },
	.needs = { "a name" },
	.max_operands = 2,
};

/* Like `cove shell`, and like `cove attach`. */
static const struct cli_command shells = {
	.name = "shells",
	.synopsis = "",
	.groups = { &cli_group_command },
	.command_follows = true,
	.needs = { "a name" },
	.terminal_operands = 1,
	.max_operands = 2,
};

static const struct cli_option attach_options[] = {
	{ "since", 0, CLI_SINCE, "OFFSET", CLI_AT(struct cli_since, since), .help = "since" },
	{ "detach-keys", 0, CLI_LIST, "KEYS", CLI_AT(struct cli_list, detach_keys),
	  .help = "keys" },
};
static const struct cli_group attach_group = { "attaches", "Own", attach_options,
					       ARRAY_SIZE(attach_options) };
static const struct cli_command attaches = {
	.name = "attaches",
	.synopsis = "",
	.groups = { &attach_group },
	.needs = { "a name" },
	.max_operands = 2,
};

#define ARGV(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void parse(const struct cli_command *command, const char *const *argv, struct cli_args *ret)
{
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cli_args_parse(command, argv, ret, &err), &err);
}

static void check_refused(const struct cli_command *command, const char *const *argv,
			  const char *message)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cli_args args;
	CHECK_INT(cli_args_parse(command, argv, &args, &err), ==, COVE_E_INVALID);
	CHECK_CONTAINS(err.message, message);
	CHECK(!strchr(err.message, '\n'));
}

static void test_defaults(void)
{
	struct cli_args args;
	parse(&runs, ARGV("busybox", "true"), &args);
	CHECK_INT(args.n_operands, ==, 2);
	CHECK_STR(args.operands[0], "busybox");
	CHECK_STR(args.operands[1], "true");
	CHECK_STR(args.operands[2], NULL);
	CHECK_INT(args.values.output_limit_bytes, ==, 0);
	CHECK_INT(args.values.output_policy, ==, COVE_OUTPUT_KILL);
	CHECK_INT(args.values.stop_grace_ms, ==, CLI_STOP_GRACE_MS);
	CHECK_INT(args.values.cpus, ==, 0);
	CHECK(!args.values.name && !args.values.env.items);
	CHECK(!args.values.interactive && !args.values.tty && !args.values.detach);
	CHECK(!args.values.detach_keys.items); /* not the same as none */
	CHECK_INT(args.values.since.from, ==, COVE_FROM_START);
	cli_args_done(&args);
}

static void test_all_values(void)
{
	struct cli_args args;
	parse(&runs,
	      ARGV("-n", "box", "--cpus", "2", "--memory=1G", "--hostname", "h", "--shell=/bin/ash",
		   "--read-only", "--boot-timeout", "5", "-w/app", "-u", "u:g", "--timeout=1.5s",
		   "--timeout-signal", "INT", "--timeout-grace", "20ms", "--rlimit", "nofile=10",
		   "--rlimit=core=0:5", "--rlimit", "nofile=20:30", "--output-limit=7",
		   "--output-policy", "tail", "--linger", "9ms", "--wait-eof",
		   "--kill-tree-on-exit", "--kill-on-disconnect", "--replay", "4K", "--id", "Job.1",
		   "-aiq", "image", "cmd"),
	      &args);
	const struct cli_values *v = &args.values;
	CHECK_STR(v->name, "box");
	CHECK_INT(v->cpus, ==, 2);
	CHECK_INT(v->memory_bytes, ==, 1LL << 30);
	CHECK_STR(v->hostname, "h");
	CHECK_STR(v->shell, "/bin/ash");
	CHECK(v->read_only);
	CHECK_INT(v->boot_timeout_ms, ==, 5000);
	CHECK_STR(v->workdir, "/app");
	CHECK_STR(v->user, "u:g");
	CHECK_INT(v->timeout_ms, ==, 1500);
	CHECK_INT(v->timeout_signal, ==, 2);
	CHECK_INT(v->timeout_grace_ms, ==, 20);
	CHECK_INT(v->n_rlimits, ==, 2); /* the second nofile is in the place of the first */
	CHECK_INT(v->rlimits[0].resource, ==, COVE_RLIMIT_NOFILE);
	CHECK_INT(v->rlimits[0].soft, ==, 20);
	CHECK_INT(v->rlimits[0].hard, ==, 30);
	CHECK_INT(v->rlimits[1].resource, ==, COVE_RLIMIT_CORE);
	CHECK_INT(v->output_limit_bytes, ==, 7);
	CHECK_INT(v->output_policy, ==, COVE_OUTPUT_TAIL);
	CHECK_INT(v->linger_ms, ==, 9);
	CHECK(v->wait_eof && v->kill_tree_on_exit && v->kill_on_disconnect);
	CHECK(v->all && v->quiet && v->interactive);
	CHECK_INT(v->replay_bytes, ==, 4096);
	CHECK_STR(v->id, "Job.1");
	CHECK_STR(args.operands[0], "image");
	cli_args_done(&args);
}

/* As docker has it: what follows the image is not looked at. */
static void test_command_follows(void)
{
	struct cli_args args;
	parse(&runs, ARGV("-a", "image", "cmd", "-q", "--cpus", "--", "--help", "-"), &args);
	CHECK_INT(args.n_operands, ==, 7);
	CHECK_STR(args.operands[2], "-q");
	CHECK_STR(args.operands[4], "--");
	CHECK(args.values.all && !args.values.quiet && !args.values.help);
	cli_args_done(&args);

	parse(&runs, ARGV("-a", "--", "image", "cmd", "-q"), &args);
	CHECK_INT(args.n_operands, ==, 3);
	CHECK_STR(args.operands[0], "image");
	cli_args_done(&args);

	parse(&runs, ARGV("--", "-image", "-cmd"), &args);
	CHECK_STR(args.operands[0], "-image");
	cli_args_done(&args);
}

static void test_options_anywhere(void)
{
	struct cli_args args;
	parse(&lists, ARGV("one", "-a", "--", "-q"), &args);
	CHECK_INT(args.n_operands, ==, 2);
	CHECK_STR(args.operands[1], "-q");
	CHECK(args.values.all && !args.values.quiet);
	cli_args_done(&args);

	parse(&lists, ARGV("-"), &args); /* no option: stdin, to those who know it */
	CHECK_STR(args.operands[0], "-");
	cli_args_done(&args);
}

static void test_help_needs_nothing_else(void)
{
	struct cli_args args;
	parse(&runs, ARGV("--help"), &args);
	CHECK(args.values.help);
	cli_args_done(&args);
	parse(&lists, ARGV("-ah", "1", "2", "3"), &args);
	CHECK(args.values.help);
	cli_args_done(&args);
}

static void test_refused(void)
{
	check_refused(&runs, ARGV("--nope", "i", "c"), "unknown option --nope");
	check_refused(&runs, ARGV("--nope=1", "i", "c"), "unknown option --nope");
	check_refused(&runs, ARGV("--cpu", "1", "i", "c"),
		      "unknown option --cpu"); /* no prefixes */
	check_refused(&runs, ARGV("--=1", "i", "c"), "unknown option --");
	check_refused(&runs, ARGV("-x", "i", "c"), "unknown option -x");
	check_refused(&runs, ARGV("-axq", "i", "c"), "unknown option -x");
	check_refused(&lists, ARGV("--env", "a=b", "i"), "unknown option --env");
	check_refused(&runs, ARGV("--cpus"), "--cpus needs a value: N");
	check_refused(&runs, ARGV("-n"), "-n needs a value: NAME");
	check_refused(&runs, ARGV("--all=yes", "i", "c"), "--all takes no value");
	check_refused(&runs, ARGV("--cpus=", "i", "c"), "--cpus \"\": must be a whole number");
	check_refused(&runs, ARGV("--cpus", "0", "i", "c"), "--cpus 0: the least is 1");
	check_refused(&runs, ARGV("--cpus", "65", "i", "c"), "--cpus 65: the most is 64");
	check_refused(&runs, ARGV("--memory", "127M", "i", "c"),
		      "--memory 127M: the least is 128M");
	check_refused(&runs, ARGV("--memory", "2T", "i", "c"), "--memory 2T: the most is 1T");
	check_refused(&runs, ARGV("--memory", "99999999999999999999", "i", "c"), "too large");
	check_refused(&runs, ARGV("--name", "A", "i", "c"), "--name A: must be a name");
	check_refused(&runs, ARGV("--name", "../x", "i", "c"), "--name ../x: must be a name");
	check_refused(&runs, ARGV("--id", "a/b", "i", "c"), "--id a/b: must be an id");
	check_refused(&runs, ARGV("-w", "app", "i", "c"),
		      "--workdir app: must be an absolute path");
	check_refused(&runs, ARGV("-u", "", "i", "c"), "--user \"\": must be something");
	check_refused(&runs, ARGV("--linger", "0", "i", "c"), "--linger 0: the least is 1ms");
	check_refused(&runs, ARGV("--timeout", "soon", "i", "c"), "--timeout soon: must be a time");
	check_refused(&runs, ARGV("--timeout", "9000h", "i", "c"), "--timeout 9000h: the most is");
	check_refused(&runs, ARGV("--timeout-signal", "NO", "i", "c"), "must be a signal");
	check_refused(&runs, ARGV("--output-policy", "mid", "i", "c"),
		      "--output-policy mid: must be one of head, tail, kill");
	check_refused(&runs, ARGV("--output-policy", "tail", "i", "c"),
		      "--output-policy needs --output-limit");
	check_refused(&runs, ARGV("--replay", "4095", "i", "c"), "--replay 4095: the least is 4K");
	check_refused(&runs, ARGV("--replay", "65M", "i", "c"), "--replay 65M: the most is 64M");
	check_refused(&runs, ARGV("--rlimit", "nofile=2:1", "i", "c"),
		      "--rlimit nofile=2:1: the soft limit is above the hard one");
	check_refused(&runs, ARGV("--rlimit", "nofiles=2", "i", "c"), "must be a limit");
	check_refused(&runs, ARGV("-e", "=b", "i", "c"), "--env: \"=b\" has no name");
	check_refused(&runs, ARGV("-e", "", "i", "c"), "--env: \"\" has no name");
	check_refused(&runs, ARGV("-a"), "an image is needed");
	check_refused(&runs, ARGV("i"), "a command is needed");
	check_refused(&lists, ARGV("1", "2", "three"), "three is one argument too many");
}

static void check_terminal(const struct cli_command *command, const char *const *argv,
			   bool interactive, bool tty, bool detach)
{
	struct cli_args args;
	parse(command, argv, &args);
	CHECK_INT(args.values.interactive, ==, interactive);
	CHECK_INT(args.values.tty, ==, tty);
	CHECK_INT(args.values.detach, ==, detach);
	cli_args_done(&args);
}

static void test_terminals(void)
{
	check_terminal(&runs, ARGV("-it", "i", "c"), true, true, false);
	check_terminal(&runs, ARGV("-t", "i", "c"), false, true, false);
	check_terminal(&runs, ARGV("-itd", "i", "c"), true, true, true);
	check_terminal(&runs, ARGV("--detach", "i", "c"), false, false, true);
	check_terminal(&runs, ARGV("-t", "--output-limit", "1", "i", "c"), false, true, false);
	check_terminal(&runs, ARGV("-d", "--output-limit", "1", "i", "c"), false, false, true);
	check_terminal(&runs, ARGV("-it", "--kill-on-disconnect", "i", "c"), true, true, false);
	/* Without a script it is for somebody who types. */
	check_terminal(&shells, ARGV("n"), true, true, false);
	check_terminal(&shells, ARGV("n", "s"), false, false, false);
	check_terminal(&shells, ARGV("-t", "n", "s"), false, true, false);
	check_terminal(&shells, ARGV("-d", "n", "s"), false, false, true);

	check_refused(&shells, ARGV("-d", "n"), "--detach needs a script");
	check_refused(&shells, ARGV("-itd", "n"), "--detach needs a script");
	check_refused(&runs, ARGV("-d", "--kill-on-disconnect", "i", "c"),
		      "--kill-on-disconnect: not with --detach");
	check_refused(&runs, ARGV("-d", "--output-limit", "1", "--output-policy", "head", "i", "c"),
		      "--output-policy: with --detach only kill");
	check_refused(&runs, ARGV("-d", "--output-limit", "1", "--output-policy", "tail", "i", "c"),
		      "--output-policy: with --detach only kill");
	check_refused(&runs, ARGV("-it", "--output-limit", "1", "i", "c"),
		      "--output-limit: not with -it");
	check_refused(&shells, ARGV("--output-limit", "1", "n"), "--output-limit: not with -it");
}

static void test_detach_keys(void)
{
	struct cli_args args;
	parse(&runs, ARGV("-it", "--detach-keys", "a,b c", "--detach-keys=", "i", "c"), &args);
	CHECK_INT(args.values.detach_keys.n, ==, 2);
	CHECK_STR(args.values.detach_keys.items[0], "a,b c");
	CHECK_STR(args.values.detach_keys.items[1], "");
	cli_args_done(&args);
	parse(&shells, ARGV("--detach-keys", "x", "n"), &args);
	cli_args_done(&args);
	parse(&attaches, ARGV("--detach-keys", "x", "n"), &args);
	cli_args_done(&args);

	check_refused(&runs, ARGV("--detach-keys", "x", "i", "c"), "--detach-keys: only with -it");
	check_refused(&runs, ARGV("-i", "--detach-keys", "x", "i", "c"), "only with -it");
	check_refused(&runs, ARGV("-t", "--detach-keys", "", "i", "c"), "only with -it");
	check_refused(&runs, ARGV("-itd", "--detach-keys", "x", "i", "c"),
		      "only with -it, and not with --detach");
	check_refused(&shells, ARGV("--detach-keys", "x", "n", "s"), "only with -it");
}

static void test_since(void)
{
	struct cli_args args;
	parse(&attaches, ARGV("n", "--since", "7:8"), &args);
	CHECK_INT(args.values.since.from, ==, COVE_FROM_OFFSET);
	CHECK_INT(args.values.since.stdout_offset, ==, 7);
	CHECK_INT(args.values.since.stderr_offset, ==, 8);
	cli_args_done(&args);
	check_refused(&attaches, ARGV("--since", "7:", "n"),
		      "--since 7:: must be start, now, or an offset");
	check_refused(&attaches, ARGV("--since", "", "n"), "--since \"\": must be start");
	check_refused(&attaches, ARGV("--since", "18446744073709551616", "n"), "too large");
}

static void check_env(const struct cli_args *args, const char *const *expected)
{
	size_t n = 0;
	for (; expected[n]; n++) {
		CHECK_INT(n, <, args->values.env.n);
		CHECK_STR(args->values.env.items[n], expected[n]);
	}
	CHECK_INT(args->values.env.n, ==, n);
	CHECK_STR(args->values.env.items[n], NULL);
}

static void test_env(void)
{
	struct cli_args args;
	CHECK_SYS(setenv("HERE", "from here", 1));
	CHECK_SYS(setenv("EMPTY", "", 1));
	CHECK_SYS(unsetenv("NOT_HERE"));
	parse(&runs,
	      ARGV("-e", "A=1", "-eB=", "--env=C=x=y", "--env", "HERE", "-e", "EMPTY", "-e",
		   "NOT_HERE", "i", "c"),
	      &args);
	check_env(&args, (const char *const[]){ "A=1", "B=", "C=x=y", "HERE=from here",
						"EMPTY=", "NOT_HERE", NULL });
	cli_args_done(&args);
}

static void write_file(const char *path, const char *text, size_t size)
{
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, path, text, size, 0600));
}

static void test_env_file(void)
{
	static const char text[] =
		"# a comment\n\n  A=1 2 \nB='q'\r\n\tC=#3\nHERE\nNOT_HERE\nLAST=x";
	const char *one = tap_path("one"), *two = tap_path("two");
	struct cli_args args;

	CHECK_SYS(setenv("HERE", "v", 1));
	CHECK_SYS(unsetenv("NOT_HERE"));
	write_file(one, text, strlen(text));
	write_file(two, "TWO=2\n", 6);
	/* --env comes last wherever it stands. */
	parse(&runs, ARGV("-e", "A=0", "--env-file", one, "--env-file", two, "i", "c"), &args);
	check_env(&args, (const char *const[]){ "A=1 2 ", "B='q'", "C=#3", "HERE=v", "NOT_HERE",
						"LAST=x", "TWO=2", "A=0", NULL });
	cli_args_done(&args);
}

static void check_file_refused(const char *text, size_t size, const char *message)
{
	const char *path = tap_path("file");
	write_file(path, text, size);
	check_refused(&runs, ARGV("--env-file", path, "i", "c"), message);
}

static void test_env_file_refused(void)
{
	check_file_refused("A=1\n=secret", 11, "file:2: \"=secret\" has no name");
	check_file_refused("A = secret", 10, "file:1: white space in a variable's name");
	check_file_refused("export A=1", 10, "file:1: white space in a variable's name");
	check_file_refused("A=1\0B", 5, "holds a NUL byte");
	check_refused(&runs, ARGV("--env-file", tap_path("none"), "i", "c"),
		      "No such file or directory");
	check_refused(&runs, ARGV("--env-file", tap_dir(), "i", "c"), "--env-file: cannot read");
	check_refused(&runs, ARGV("--env-file", "/dev/zero", "i", "c"), "File too large");
}

static void test_no_memory(void)
{
	const char *file = tap_path("file");
	write_file(file, "F=1\nG=2\n", 8);
	for (unsigned long n = 1;; n++) {
		struct cove_error err = COVE_ERROR_INIT;
		struct cli_args args;
		failing_alloc_arm(n);
		int r = cli_args_parse(&runs,
				       ARGV("-e", "A=1", "--env-file", file, "-e", "PATH", "-it",
					    "--detach-keys", "x", "i", "c"),
				       &args, &err);
		if (!failing_alloc_disarm()) {
			CHECK_COVE(r, &err);
			cli_args_done(&args);
			break;
		}
		CHECK_INT(r, <, 0);
		CHECK_CONTAINS(err.message, "memory");
	}
}

/* What the tables have to keep to for the parser, the help and the docs. */
static void test_tables(void)
{
	static const struct cli_group *const groups[] = {
		&cli_group_common,
		&cli_group_sandbox,
		&cli_group_environment,
		&cli_group_command,
	};
	for (size_t g = 0; g < ARRAY_SIZE(groups); g++)
		for (size_t i = 0; i < groups[g]->n; i++) {
			const struct cli_option *option = &groups[g]->options[i];
			tap_note("--%s", option->name);
			CHECK((option->kind == CLI_FLAG) == !option->argument);
			CHECK((option->kind == CLI_CHOICE) == !!option->choices);
			CHECK(!strpbrk(option->name, " =") && *option->name != '-');
			CHECK(!strpbrk(option->help, "\t\n"));
			CHECK(option->help[strlen(option->help) - 1] != '.');
			/* found by name and letter as itself: nothing is twice in a command */
			CHECK(cli_option_find(&runs, option->name, strlen(option->name), 0) ==
			      option);
			if (option->letter)
				CHECK(cli_option_find(&runs, NULL, 0, option->letter) == option);
		}
}

static const struct tap_test tests[] = {
	{ "defaults", test_defaults },
	{ "every option", test_all_values },
	{ "options end at the image", test_command_follows },
	{ "options anywhere", test_options_anywhere },
	{ "help needs nothing else", test_help_needs_nothing_else },
	{ "bad command lines", test_refused },
	{ "-i, -t and -d", test_terminals },
	{ "--detach-keys", test_detach_keys },
	{ "--since", test_since },
	{ "--env", test_env },
	{ "--env-file", test_env_file },
	{ "bad --env-file", test_env_file_refused },
	{ "no memory", test_no_memory },
	{ "the tables", test_tables },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
