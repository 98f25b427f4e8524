/* SPDX-License-Identifier: Apache-2.0 */

/* examples/attach.c, whose path is the argument: a shell, left with ctrl-], come back to, ended. */

#include <stdio.h>

#include "harness/terminal.h"

#define WAIT_MS 60000

static const char *program;

static void test_attach(void)
{
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(24, 80);
	terminal_set_deadline(t, WAIT_MS);
	terminal_run(t, (const char *const[]){ program, NULL });
	terminal_wait_row(t, 5, "/ #");
	terminal_type(t, "x=kept\r");
	terminal_wait_row(t, 6, "/ #");
	terminal_type(t, "\035");
	CHECK_INT(terminal_wait_exit(t), ==, 0);
	terminal_check_restored(t);

	char name[64], id[64];
	int row = terminal_find(t, "To come back: ", NULL);
	CHECK_INT(row, >=, 0);
	CHECK_INT(sscanf(terminal_row(t, (unsigned)row),
			 "It runs on. To come back: attach %63s %63s", name, id),
		  ==, 2);
	t = terminal_free(t);

	t = terminal_new(30, 100);
	terminal_set_deadline(t, WAIT_MS);
	terminal_run(t, (const char *const[]){ program, name, id, NULL });
	terminal_wait_row(t, 6, "/ #"); /* what it had shown before */
	terminal_type(t, "echo $x; stty size; exit 3\r");
	CHECK_INT(terminal_wait_exit(t), ==, 3);
	CHECK(terminal_has_text(t, "kept"));
	CHECK(terminal_has_text(t, "30 100"));
	terminal_check_restored(t);
	/* The sandbox ends with it: no process is left, or the harness says so. */
}

static const struct tap_test tests[] = {
	{ "attach", test_attach, .timeout_s = 200 },
};

int main(int argc, char **argv)
{
	CHECK_INT(argc, >=, 2);
	program = argv[1];
	return tap_run(1, argv, tests, ARRAY_SIZE(tests));
}
