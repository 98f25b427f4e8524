/* SPDX-License-Identifier: Apache-2.0 */
/* docs/cli.md and docs/cove.1 name exactly the commands and options that the program has. */
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "harness/tap.h"
#include "integration/cli/command.h"

#define DOC_MAX	 (1u << 20)
#define ROWS_MAX 512

/* How a document is marked up. */
struct markup {
	const char *path;
	const char *heading;  /* of a section: what its line begins with */
	const char *synopsis; /* of a command: what its line begins with */
	const char *option;   /* what the line of an option begins with */
	void (*write_option)(char *buffer, size_t size, const char *name, const char *letter,
			     const char *argument);
};

/* | `-n`, `--name NAME` | … */
static void write_markdown(char *buffer, size_t size, const char *name, const char *letter,
			   const char *argument)
{
	snprintf(buffer, size, "| %s%s%s`%s%s%s` |", *letter ? "`" : "", letter,
		 *letter ? "`, " : "", name, *argument ? " " : "", argument);
}

/* .It Fl n , Fl -name Ar NAME */
static void write_mdoc(char *buffer, size_t size, const char *name, const char *letter,
		       const char *argument)
{
	snprintf(buffer, size, ".It %s%s%sFl %s%s%s", *letter ? "Fl " : "",
		 *letter ? letter + 1 : "", *letter ? " , " : "", name + 1, *argument ? " Ar " : "",
		 argument);
}

static const struct markup markdown = {
	"docs/cli.md", "## ", "cove ", "| `-", write_markdown,
};
static const struct markup mdoc = {
	"docs/cove.1", ".Ss ", ".D1 cove ", ".It Fl ", write_mdoc,
};

/* "section\tline", for each option; and for each command its synopsis. */
struct rows {
	char *items[ROWS_MAX];
	size_t n;
};

static void rows_done(struct rows *rows)
{
	for (size_t i = 0; i < rows->n; i++)
		free(rows->items[i]);
}

static void add_row(struct rows *rows, const char *section, const char *text)
{
	CHECK_INT(rows->n, <, ROWS_MAX);
	CHECK_INT(asprintf(&rows->items[rows->n++], "%s: %s", section, text), >, 0);
}

/* What the document should hold, by `cove --dump-options`. */
static void read_dump(const struct markup *m, char *dump, struct rows *rows)
{
	for (char *line; (line = strsep(&dump, "\n")) && *line;) {
		char section[64], text[256];
		const char *kind = strsep(&line, "\t"), *owner = strsep(&line, "\t");
		CHECK(kind && owner);
		bool shared = isupper((unsigned char)*owner);
		snprintf(section, sizeof(section), "%s%s", shared ? "" : "cove ", owner);
		if (!strcmp(kind, "option")) {
			const char *name = strsep(&line, "\t"), *letter = strsep(&line, "\t");
			const char *argument = strsep(&line, "\t");
			CHECK(argument && line);
			m->write_option(text, sizeof(text), name, letter, argument);
			add_row(rows, section, text);
		} else if (!strcmp(kind, "command")) {
			strsep(&line, "\t");
			const char *synopsis = strsep(&line, "\t");
			CHECK(synopsis);
			snprintf(text, sizeof(text), "%s%s%s%s", m->synopsis, owner,
				 *synopsis ? " " : "", synopsis);
			add_row(rows, section, text);
		} else {
			CHECK_STR(kind, "uses");
		}
	}
}

static void read_document(const struct markup *m, char *document, struct rows *rows)
{
	const char *section = "";
	bool options = false; /* those before it are examples */

	for (char *line; (line = strsep(&document, "\n"));) {
		if (!strncmp(line, m->heading, strlen(m->heading))) {
			section = line + strlen(m->heading);
			options = !strncmp(section, "cove ", 5);
		} else if (!strncmp(line, m->option, strlen(m->option))) {
			char *end = strstr(line + 1, " |"); /* of a table's first cell */
			if (end)
				end[2] = 0;
			add_row(rows, section, line);
		} else if (options && !strncmp(line, m->synopsis, strlen(m->synopsis))) {
			/* the first one in the section; further ones are examples */
			add_row(rows, section, line);
			options = false;
		}
	}
}

static void check_all_in(const struct rows *rows, const struct rows *others, const char *what)
{
	for (size_t i = 0; i < rows->n; i++) {
		size_t k = 0;
		while (k < others->n && strcmp(rows->items[i], others->items[k]) != 0)
			k++;
		if (k == others->n)
			tap_fail(__FILE__, __LINE__, "%s: %s", what, rows->items[i]);
	}
}

static char *read_source(const char *path)
{
	char *text = NULL;
	size_t size;
	CHECK_OK(fd_read_file(AT_FDCWD, command_source_path(path), DOC_MAX, false, &text, &size));
	CHECK(text);
	return text;
}

static void check_document(const struct markup *m)
{
	_cleanup_(command_done) struct command c = { 0 };
	_cleanup_(rows_done) struct rows program = { .n = 0 }, written = { .n = 0 };
	_cleanup_free_ char *document = read_source(m->path);

	COVE(&c, "--dump-options");
	CHECK_COMMAND(&c, 0, NULL, "");
	read_dump(m, c.out, &program);
	read_document(m, document, &written);
	CHECK_INT(program.n, >, 40);
	check_all_in(&program, &written, "not in the document");
	check_all_in(&written, &program, "not in the program");
	CHECK_INT(program.n, ==, written.n); /* nothing is there twice */
}

static void test_markdown(void)
{
	check_document(&markdown);
}

static void test_man_page(void)
{
	check_document(&mdoc);
}

/* All of a section as one line of lower case, for phrases that may be broken anywhere. */
static char *section_phrases(const struct markup *m, const char *title)
{
	char *document = read_source(m->path), *line, *rest = document;
	bool inside = false;
	size_t n = 0;

	while ((line = strsep(&rest, "\n"))) {
		if (!strncmp(line, m->heading, strlen(m->heading)))
			inside = !strcmp(line + strlen(m->heading), title);
		if (!inside)
			continue;
		for (; *line; line++)
			document[n++] = (char)tolower((unsigned char)*line);
		document[n++] = ' ';
	}
	document[n] = 0;
	return document;
}

/* Each command's section says which of the shared options it takes, and no others. */
static void check_uses(const struct markup *m)
{
	static const char *const titles[] = { "Sandbox options", "Environment options",
					      "Command options" };
	_cleanup_(command_done) struct command c = { 0 };
	unsigned commands = 0;

	COVE(&c, "--dump-options");
	for (char *line = c.out; line; line = strchr(line, '\n')) {
		char name[32], title[64];
		line += *line == '\n';
		if (sscanf(line, "command\t%31[^\t]", name) != 1)
			continue;
		commands++;
		snprintf(title, sizeof(title), "cove %s", name);
		_cleanup_free_ char *text = section_phrases(m, title);
		for (size_t i = 0; i < ARRAY_SIZE(titles); i++) {
			char use[128], phrase[64];
			snprintf(use, sizeof(use), "uses\t%s\t%s\n", name, titles[i]);
			snprintf(phrase, sizeof(phrase), "%s", titles[i]);
			phrase[0] = (char)tolower((unsigned char)phrase[0]);
			if (!strstr(c.out, use) != !strstr(text, phrase))
				tap_fail(__FILE__, __LINE__, "%s: %s: %s, and the program %s",
					 m->path, name, titles[i],
					 strstr(c.out, use) ? "takes them" : "does not");
		}
	}
	CHECK_INT(commands, >, 12);
}

static void test_markdown_uses(void)
{
	check_uses(&markdown);
}

static void test_man_page_uses(void)
{
	check_uses(&mdoc);
}

/* `tests/…-test.c` "case" in a document: the file is there and has that case. */
static void check_case(const char *reference)
{
	char path[128], name[128], text[160];

	if (sscanf(reference, "`%127[^`]` \"%127[^\"]\"", path, name) != 2)
		return;
	_cleanup_free_ char *source = read_source(path);
	snprintf(text, sizeof(text), "{ \"%s\",", name);
	if (!strstr(source, text))
		tap_fail(__FILE__, __LINE__, "%s has no case \"%s\"", path, name);
}

/* Also the further cases of a file: `tests/…-test.c` "one", "two". */
static void check_cases(const char *reference)
{
	char path[128];
	int n = 0;

	if (sscanf(reference, "`%127[^`]`%n", path, &n) != 1 || n == 0)
		return;
	const char *p = reference + n;
	while (strncmp(p, " \"", 2) == 0 || strncmp(p, ", \"", 3) == 0) {
		const char *name = strchr(p, '"'), *end = strchr(name + 1, '"');
		char one[288];
		CHECK(end);
		snprintf(one, sizeof(one), "`%s` %.*s", path, (int)(end + 1 - name), name);
		check_case(one);
		p = end + 1;
	}
}

static void check_named_tests(const char *path)
{
	_cleanup_free_ char *document = read_source(path);
	unsigned n = 0;

	/* Lines may be broken anywhere in a name. */
	size_t k = 0;
	for (const char *p = document; *p; p++)
		if (!isspace((unsigned char)*p))
			document[k++] = *p;
		else if (k && document[k - 1] != ' ')
			document[k++] = ' ';
	document[k] = 0;
	for (const char *p = document; (p = strstr(p, "`tests/")); p++, n++)
		check_cases(p);
	CHECK_INT(n, >, 20);
}

static void test_failures(void)
{
	check_named_tests("docs/failures.md");
}

static void test_api(void)
{
	check_named_tests("docs/api.md");
}

/* How far to the right a piece of code stands is the place's matter. */
static void strip_indentation(char *text)
{
	size_t k = 0;
	bool at_start = true;
	for (const char *p = text; *p; p++) {
		at_start = at_start && *p == '\t';
		if (!at_start)
			text[k++] = *p;
		if (*p == '\n')
			at_start = true;
	}
	text[k] = 0;
}

/* The README's C is out of the examples that are named above it, word for word. */
static void test_readme_examples(void)
{
	_cleanup_free_ char *readme = read_source("README.md");
	unsigned n = 0;

	for (char *p = readme; (p = strstr(p, "```c\n")); n++) {
		char name[64];
		char *end = strstr(p + 5, "```\n"), *mark = p;
		CHECK(end);
		while (mark > readme && strncmp(mark, "<!-- ", 5) != 0)
			mark--;
		CHECK_INT(sscanf(mark, "<!-- %63s -->", name), ==, 1);
		_cleanup_free_ char *example = read_source(name),
				    *piece = strndup(p + 5, end - p - 5);
		CHECK(piece);
		strip_indentation(example);
		strip_indentation(piece);
		if (!strstr(example, piece))
			tap_fail(__FILE__, __LINE__, "%s is not in %s", piece, name);
		p = end + 4;
	}
	CHECK_INT(n, >=, 2);
}

static const struct tap_test tests[] = {
	{ "docs/cli.md", test_markdown },
	{ "docs/cove.1", test_man_page },
	{ "shared options in docs/cli.md", test_markdown_uses },
	{ "shared options in docs/cove.1", test_man_page_uses },
	{ "the tests that docs/failures.md names", test_failures },
	{ "the tests that docs/api.md names", test_api },
	{ "the README's examples", test_readme_examples },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
