/* SPDX-License-Identifier: Apache-2.0 */

/* Commands on the user's terminal: attaching, leaving, coming back, and how the terminal is after. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/macro.h"
#include "box.h"
#include "harness/tap.h"
#include "harness/terminal.h"

/* ---- a program that attaches, in the terminal ---- */

/* What it is to do, and where it says how that went. */
struct user {
	const char *script;  /* for a command: cove_attach() of sh -c; */
	bool shell;	     /* or the shell, */
	const char *id;	     /* or a session */
	const char *new_id;  /* of a command */
	const char *sandbox; /* default: box */
	struct cove_attach_options options;
	struct cove_exec_options exec;
	int (*before)(void); /* called first */
	/* Shared with the test. */
	struct report *report;
};

struct report {
	bool done;
	int r;
	struct cove_attach_result result;
	struct cove_error err;
};

/* In the terminal. Its report goes to a file, since it is another process. */
static int use(void *data)
{
	struct user *user = data;
	struct report report = { .err = COVE_ERROR_INIT };
	cove_sandbox *s;
	if (user->before && user->before() != 0)
		return 99;
	report.r = cove_sandbox_connect(user->sandbox ? user->sandbox : "box", &s, &report.err);
	if (report.r < 0)
		return 98;
	user->options.struct_size = sizeof(user->options);
	if (!user->id) {
		user->exec.struct_size = sizeof(user->exec);
		user->exec.id = user->new_id;
		user->options.exec = &user->exec;
	}
	report.r = user->id	 ? cove_attach_session(s, user->id, &user->options, &report.result,
						       &report.err)
		   : user->shell ? cove_attach_shell(s, &user->options, &report.result, &report.err)
				 : cove_attach(s, ARGV("/bin/sh", "-c", user->script),
					       &user->options, &report.result, &report.err);
	report.done = true;
	cove_sandbox_free(s);
	int fd = open(tap_path("report"), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0 || fd_write_full(fd, &report, sizeof(report)) < 0)
		return 97;
	close(fd);
	return report.r < 0 ? 1 : 0;
}

static void read_report(struct report *ret)
{
	int fd = CHECK_SYS(open(tap_path("report"), O_RDONLY | O_CLOEXEC));
	CHECK_OK(fd_read_full(fd, ret, sizeof(*ret)));
	close(fd);
	CHECK_SYS(unlink(tap_path("report")));
}

/* Waits until the call has returned and the program has ended; the terminal has to be as before. */
static struct report wait_report(struct terminal *t, int r)
{
	struct report report;
	int status = terminal_wait_exit(t);
	if (status > 1)
		terminal_dump(t);
	CHECK_INT(status, <=, 1);
	read_report(&report);
	if (report.r != r)
		tap_note("%s", report.err.message);
	CHECK_INT(report.r, ==, r);
	terminal_check_restored(t);
	return report;
}

static struct cove_attach_result wait_end(struct terminal *t, enum cove_attach_end end)
{
	struct report report = wait_report(t, 0);
	CHECK_INT(report.result.end, ==, end);
	return report.result;
}

#define ATTACH(t, ...) terminal_run_function(t, use, &(struct user){ __VA_ARGS__ })

/* ---- tests ---- */

static void test_runs(void)
{
	cove_sandbox *s = box_create("box", NULL);
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(30, 100);
	ATTACH(t, .script = "stty size; echo $TERM; read x; echo \"<$x>\"; exit 7");
	terminal_wait_text(t, "30 100");
	terminal_wait_text(t, "xterm-256color");
	terminal_type(t, "hello\r");
	terminal_wait_text(t, "<hello>");
	struct cove_attach_result result = wait_end(t, COVE_ATTACH_EXITED);
	CHECK_INT(result.exit.code, ==, 7);
	CHECK_INT(result.exit.cause, ==, COVE_CAUSE_EXITED);
	CHECK_INT(result.missing_bytes, ==, 0);
	box_stop(s);
}

static void test_detaches(void)
{
	cove_sandbox *s = box_create("box", NULL);
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(24, 80);
	ATTACH(t, .script = "echo up; while read x; do echo \"<$x>\"; done", .new_id = "one");
	terminal_wait_text(t, "up");
	terminal_type(t, "a\r");
	terminal_wait_text(t, "<a>");
	terminal_type(t, "b\r\035not for the shell\r");
	struct cove_attach_result result = wait_end(t, COVE_ATTACH_DETACHED);
	CHECK_STR(result.id, "one");
	CHECK_INT(result.unsent_bytes, ==, 0);

	ATTACH(t, .id = "one");
	terminal_wait_text(t, "<b>");
	CHECK(!terminal_has_text(t, "not for"));
	terminal_type(t, "c\r");
	terminal_wait_text(t, "<c>");
	terminal_type(t, "\004");
	result = wait_end(t, COVE_ATTACH_EXITED);
	CHECK_INT(result.exit.code, ==, 0);
	box_stop(s);
}

static const struct tap_test tests[] = {
	{ "a command on the terminal", test_runs },
	{ "leaving and coming back", test_detaches },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
