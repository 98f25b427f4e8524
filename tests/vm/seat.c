/* SPDX-License-Identifier: Apache-2.0 */
#include "seat.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

#define ARGS_MAX 32

cove_sandbox *seat_box(const char *image)
{
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	options.cwd = "/root";
	if (!strcmp(image, "python"))
		options.shell = "/bin/bash";
	return vm_create("box", image, &options);
}

struct terminal *seat_new(unsigned rows, unsigned cols)
{
	struct terminal *t = terminal_new(rows, cols);
	terminal_set_deadline(t, SEAT_WAIT_MS);
	return t;
}

static const char *cove_path(void)
{
	static char path[4096];
	const char *folder = getenv("COVE_BUILD_DIR");
	CHECK(folder);
	CHECK_INT(snprintf(path, sizeof(path), "%s/cove", folder), <, sizeof(path));
	return path;
}

void seat_cove(struct terminal *t, const char *const *args)
{
	const char *argv[ARGS_MAX] = { cove_path() };
	size_t n = 1;
	for (; *args; args++) {
		CHECK_INT(n, <, ARGS_MAX - 1);
		argv[n++] = *args;
	}
	terminal_run(t, argv);
}

void seat_put_file(cove_sandbox *box, const char *name, const char *content)
{
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.cwd = "/root";
	options.stdin_mode = COVE_STDIN_BYTES;
	options.stdin_data = content;
	options.stdin_bytes = strlen(content);
	cove_output *out = vm_exec(box, ARGV("sh", "-c", "cat >\"$1\"", "-", name), &options);
	CHECK(cove_exit_success(&out->exit));
	cove_output_free(out);
}

void seat_check_file(cove_sandbox *box, const char *name, const char *content)
{
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.cwd = "/root";
	cove_output *out = vm_exec(box, ARGV("cat", name), &options);
	CHECK_STR(out->stderr_data, "");
	CHECK_STR(out->stdout_data, content);
	cove_output_free(out);
}

void seat_put_own_file(const char *name, const char *content)
{
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, tap_path("%s", name), content, strlen(content),
				      0644));
}

void seat_wait_reading(cove_sandbox *box, const char *program)
{
	char script[128];
	snprintf(script, sizeof(script),
		 "until grep -q wait_woken /proc/$(pidof %s)/wchan; do sleep 0.01; done; echo 0",
		 program);
	vm_number(box, script);
}

void seat_check_end(struct terminal *t, int status)
{
	int is = terminal_wait_exit(t);
	if (is != status)
		terminal_dump(t);
	CHECK_INT(is, ==, status);
	terminal_check_restored(t);
}

/* ---- twins ---- */

struct twins twins_new(unsigned rows, unsigned cols)
{
	return (struct twins){ .guest = seat_new(rows, cols), .host = seat_new(rows, cols) };
}

void twins_done(struct twins *t)
{
	t->guest = terminal_free(t->guest);
	t->host = terminal_free(t->host);
}

void twins_run(struct twins *t, const char *const *env, const char *const *argv)
{
	const char *guest[ARGS_MAX] = { "exec", "-it" };
	const char *host[ARGS_MAX] = { "env",	    "-C", tap_dir(), "-u",
				       "LS_COLORS", "-u", "LANG",    "LC_ALL=C.UTF-8" };
	size_t g = 2, h = 8;
	char home[256];
	snprintf(home, sizeof(home), "HOME=%s", tap_dir());
	host[h++] = home;
	guest[g++] = "-e";
	guest[g++] = "LC_ALL=C.UTF-8";
	for (; env && *env; env++) {
		CHECK_INT(g, <, ARGS_MAX - 4);
		guest[g++] = "-e";
		guest[g++] = *env;
		host[h++] = *env;
	}
	guest[g++] = "box";
	for (; *argv; argv++) {
		CHECK_INT(MAX(g, h), <, ARGS_MAX - 1);
		guest[g++] = *argv;
		host[h++] = *argv;
	}
	terminal_run(t->host, host);
	seat_cove(t->guest, guest);
}

static bool same_cells(struct terminal *a, struct terminal *b, unsigned row, unsigned cols)
{
	for (unsigned col = 0; col < cols; col++) {
		struct terminal_cell x = terminal_cell(a, row, col), y = terminal_cell(b, row, col);
		bool blank = (!x.text[0] || !strcmp(x.text, " ")) &&
			     (!y.text[0] || !strcmp(y.text, " "));
		if ((!blank && strcmp(x.text, y.text) != 0) || x.fg != y.fg || x.bg != y.bg ||
		    x.bold != y.bold || x.underline != y.underline || x.reverse != y.reverse)
			return false;
	}
	return true;
}

bool seat_same(struct terminal *a, struct terminal *b)
{
	struct terminal_modes m = terminal_modes(a), n = terminal_modes(b);
	unsigned rows, cols, rows_b, cols_b;
	terminal_size(a, &rows, &cols);
	terminal_size(b, &rows_b, &cols_b);
	if (rows != rows_b || cols != cols_b || m.row != n.row || m.col != n.col ||
	    m.alternate != n.alternate || m.cursor_visible != n.cursor_visible ||
	    m.paste != n.paste || m.mouse != n.mouse ||
	    m.application_cursor != n.application_cursor ||
	    strcmp(terminal_screen(a), terminal_screen(b)) != 0)
		return false;
	for (unsigned row = 0; row < rows; row++)
		if (!same_cells(a, b, row, cols))
			return false;
	return true;
}

void twins_same_at(const char *file, int line, struct twins *t, const char *text)
{
	terminal_wait_begin(t->guest);
	while (!strstr(terminal_screen(t->host), text) || !seat_same(t->guest, t->host)) {
		terminal_pump(t->host);
		if (terminal_too_late(t->guest)) {
			tap_note("the program without Cove:");
			terminal_dump(t->host);
		}
		terminal_wait_more(file, line, t->guest, text);
	}
}

void twins_key(struct twins *t, enum terminal_key key)
{
	terminal_key(t->host, key);
	terminal_key(t->guest, key);
}

void twins_paste(struct twins *t, const char *text)
{
	terminal_paste(t->host, text);
	terminal_paste(t->guest, text);
}

void twins_resize(struct twins *t, unsigned rows, unsigned cols)
{
	struct terminal *both[] = { t->host, t->guest };
	for (size_t i = 0; i < 2; i++) {
		/* Cut to the new size they are the same anyway, before the programs have noticed. */
		if (terminal_modes(both[i]).alternate)
			terminal_wipe(both[i]);
		terminal_resize(both[i], rows, cols);
	}
}
