/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the program says of itself, compared with help.txt: whoever changes it sees the change in
 * the diff. COVE_UPDATE=1 writes help.txt anew.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "harness/tap.h"
#include "integration/cli/command.h"

#define GOLDEN	   "tests/integration/cli/help.txt"
#define HELP_MAX   (1u << 20)
#define LINE_WIDTH 85
#define NAMES_MAX  64

/* The names of all commands, "image ls" too, by --dump-options. */
struct names {
	char items[NAMES_MAX][32];
	size_t n;
};

static void read_names(struct names *ret)
{
	_cleanup_(command_done) struct command c = { 0 };
	COVE(&c, "--dump-options");
	CHECK_COMMAND(&c, 0, NULL, "");
	ret->n = 0;
	for (char *line = c.out; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		CHECK_INT(ret->n, <, NAMES_MAX);
		if (sscanf(line, "command\t%31[^\t]", ret->items[ret->n]) == 1)
			ret->n++;
	}
	CHECK_INT(ret->n, >, 12);
}

static void run_help(struct command *c, const char *name)
{
	char copy[32], *second = copy;
	snprintf(copy, sizeof(copy), "%s", name);
	const char *first = strsep(&second, " ");
	if (second)
		COVE(c, "help", first, second);
	else
		COVE(c, "help", first);
	CHECK_COMMAND(c, 0, NULL, "");
}

static void check_same_lines(char *a, char *b)
{
	for (unsigned number = 1; a || b; number++) {
		char *x = strsep(&a, "\n"), *y = strsep(&b, "\n");
		if (!x || !y || strcmp(x, y) != 0)
			tap_fail(__FILE__, __LINE__,
				 "line %u of " GOLDEN " is \"%s\", the program says \"%s\"; if it "
				 "should, run this test with COVE_UPDATE=1",
				 number, y ? y : "(missing)", x ? x : "(missing)");
	}
}

static void test_golden(void)
{
	_cleanup_(command_done) struct command c = { 0 };
	_cleanup_free_ char *all = NULL, *golden = NULL;
	size_t size, golden_size;
	struct names names;

	read_names(&names);
	_cleanup_fclose_ FILE *f = open_memstream(&all, &size);
	CHECK(f);
	COVE(&c, "--help");
	CHECK_COMMAND(&c, 0, NULL, "");
	fputs(c.out, f);
	for (size_t i = 0; i < names.n; i++) {
		run_help(&c, names.items[i]);
		fprintf(f, "\n%s\n", c.out);
	}
	CHECK_SYS(fflush(f));
	if (getenv("COVE_UPDATE"))
		CHECK_OK(fd_write_file_atomic(AT_FDCWD, command_source_path(GOLDEN), all, size,
					      0644));
	CHECK_OK(fd_read_file(AT_FDCWD, command_source_path(GOLDEN), HELP_MAX, false, &golden,
			      &golden_size));
	check_same_lines(all, golden);
}

/* Every way to ask gives the same, and it fits a terminal. */
static void test_ways(void)
{
	_cleanup_(command_done) struct command a = { 0 }, b = { 0 };

	COVE(&a, "help");
	COVE(&b, "--help");
	CHECK_COMMAND(&b, 0, a.out, "");
	COVE(&b, "-h");
	CHECK_COMMAND(&b, 0, a.out, "");

	COVE(&a, "help", "run");
	COVE(&b, "run", "--help");
	CHECK_COMMAND(&b, 0, a.out, "");
	COVE(&b, "run", "--cpus", "2", "-h");
	CHECK_COMMAND(&b, 0, a.out, "");
	for (const char *p = a.out, *end; (end = strchr(p, '\n')); p = end + 1)
		CHECK_INT(end - p, <, LINE_WIDTH);

	COVE(&a, "help", "image", "ls");
	COVE(&b, "image", "ls", "--help");
	CHECK_COMMAND(&b, 0, a.out, "");
	COVE(&a, "help", "ls");
	COVE(&b, "ps", "--help");
	CHECK_COMMAND(&b, 0, a.out, "");
	COVE(&a, "help", "image");
	COVE(&b, "image", "--help");
	CHECK_COMMAND(&b, 0, a.out, "");
}

static void test_version(void)
{
	_cleanup_(command_done) struct command c = { 0 };
	COVE(&c, "version");
	CHECK_COMMAND(&c, 0, "cove " COVE_VERSION "\n", "");
	COVE(&c, "--version");
	CHECK_COMMAND(&c, 0, "cove " COVE_VERSION "\n", "");
}

/* One line, status 125, nothing on stdout. */
static void test_bad_commands(void)
{
	static const char *const cases[][5] = {
		{ "nope" },
		{ "--nope" },
		{ "-x" },
		{ "" },
		{ "help", "nope" },
		{ "help", "run", "ls" },
		{ "image" },
		{ "image", "nope" },
		{ "image", "--nope" },
		{ "image", "import", "x" },
		{ "ls", "x" },
		{ "run" },
		{ "run", "x" },
		{ "exec", "x" },
		{ "shell" },
		{ "attach" },
		{ "attach", "--since", "then", "x" },
		{ "sessions" },
		{ "logs", "x" },
		{ "wait", "--collect", "x" },
		{ "run", "-d", "--kill-on-disconnect", "x", "y" },
		{ "create" },
		{ "stop" },
		{ "rm" },
		{ "inspect" },
		{ "completion" },
		{ "completion", "tcsh" },
		{ "version", "x" },
		{ "doctor", "x" },
		{ "run", "-i", "x", "y" },
		{ "run", "-t", "x", "y" },
		{ "kill", "x" },
	};
	_cleanup_(command_done) struct command c = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *argv[7] = { "cove" };
		memcpy(argv + 1, cases[i], sizeof(cases[i]));
		tap_note("cove %s %s", cases[i][0], cases[i][1] ? cases[i][1] : "");
		command_run(&c, argv);
		CHECK_COMMAND(&c, 125, "", "cove: ");
		CHECK(strchr(c.err, '\n') == c.err + c.err_size - 1);
	}
	COMMAND(&c, "cove");
	CHECK_COMMAND(&c, 125, "", "a command is needed");
}

static void test_full_disk(void)
{
	_cleanup_(command_done) struct command c = { 0 };
	COMMAND(&c, "sh", "-c", "\"$1\" help >/dev/full", "sh", command_build_path("cove"));
	CHECK_COMMAND(&c, 125, "", "cannot write to stdout: No space left on device");
	COMMAND(&c, "sh", "-c", "\"$1\" help >&-", "sh", command_build_path("cove"));
	CHECK_COMMAND(&c, 125, "", "cannot write to stdout: Bad file descriptor");
}

static const struct tap_test tests[] = {
	{ "help is as in help.txt", test_golden },
	{ "every way to ask for help", test_ways },
	{ "version", test_version },
	{ "bad commands", test_bad_commands },
	{ "stdout cannot be written", test_full_disk },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
