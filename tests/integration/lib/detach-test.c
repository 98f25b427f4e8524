/* SPDX-License-Identifier: Apache-2.0 */

/* Sandboxes that are let go of while they run, and that end with a session. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "box.h"
#include "harness/tap.h"

#define PIPE_MODE .stdin_mode = COVE_STDIN_PIPE

static void let_go(cove_sandbox *s, const char *until)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_detach_options options = COVE_DETACH_OPTIONS_INIT;
	options.until_session = until;
	CHECK_COVE(cove_sandbox_detach(s, until ? &options : NULL, &err), &err);
}

static cove_sandbox *connect_to(const char *name)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s;
	CHECK_COVE(cove_sandbox_connect(name, &s, &err), &err);
	return s;
}

static void check_no_children(void)
{
	CHECK_INT(waitpid(-1, NULL, WNOHANG), ==, -1);
	CHECK_INT(errno, ==, ECHILD);
}

/* ---- the handle is freed ---- */

static void test_free(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = box_create("a", NULL);
	struct cove_sandbox_info *info = box_inspect("a");
	CHECK(!info->detached);
	CHECK_STR(info->until_session, "");
	cove_sandbox_info_free(info);
	let_go(s, NULL);
	/* Whoever made it has no child of it any more, so there is nothing to be reaped, ever. */
	check_no_children();
	cove_sandbox_free(s);

	s = connect_to("a");
	info = box_inspect("a");
	CHECK(info->detached);
	cove_sandbox_info_free(info);
	box_prints(s, "echo here", NULL, "here\n");
	let_go(s, NULL); /* is fine, from anybody */
	CHECK_COVE(cove_sandbox_stop(s, NULL, &err), &err);
	CHECK_INT(cove_sandbox_detach(s, NULL, &err), ==, COVE_E_LOST);
	cove_sandbox_free(s);
	CHECK_INT(cove_sandbox_inspect("a", &info, &err), ==, COVE_E_NOT_FOUND);
	check_no_children();
}

/* What it was refused for does not let it go. */
static void test_refused(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_detach_options options = COVE_DETACH_OPTIONS_INIT;
	struct cove_sandbox_info *info;
	cove_sandbox *s = box_create("a", NULL);
	options.until_session = "unknown";
	CHECK_INT(cove_sandbox_detach(s, &options, &err), ==, COVE_E_NOT_FOUND);
	CHECK_INT(err.origin, ==, COVE_ORIGIN_GUEST);
	options.until_session = "a b";
	CHECK_INT(cove_sandbox_detach(s, &options, &err), ==, COVE_E_INVALID);
	CHECK_CONTAINS(err.message, "until_session");
	cove_output_free(box_shell(s, "true", EXEC(.id = "job")));
	CHECK_COVE(cove_session_collect(s, "job", NULL, &err), &err);
	options.until_session = "job";
	CHECK_INT(cove_sandbox_detach(s, &options, &err), ==, COVE_E_GONE);
	cove_sandbox_free(s);
	CHECK_INT(cove_sandbox_inspect("a", &info, &err), ==, COVE_E_NOT_FOUND);
	check_no_children();
}

/* ---- its creator is killed ---- */

/* A process that creates the sandbox "a", starts "job" in it, and lets go of it. Killed. */
static void create_and_die(bool until)
{
	int fds[2];
	char byte;
	CHECK_SYS(pipe2(fds, O_CLOEXEC));
	pid_t pid = (pid_t)CHECK_SYS(fork());
	if (pid == 0) {
		cove_sandbox *s = box_create("a", NULL);
		cove_process *p =
			box_stream(s, "echo up; read x; echo got $x", EXEC(.id = "job", PIPE_MODE));
		box_receive(p, COVE_EVENT_STARTED);
		let_go(s, until ? "job" : NULL);
		CHECK_INT(write(fds[1], "x", 1), ==, 1);
		pause();
	}
	close(fds[1]);
	CHECK_INT(read(fds[0], &byte, 1), ==, 1);
	close(fds[0]);
	CHECK_SYS(kill(pid, SIGKILL));
	CHECK_INT(waitpid(pid, NULL, 0), ==, pid);
}

static void test_creator_killed(void)
{
	create_and_die(false);
	cove_sandbox *s = connect_to("a");
	box_prints(s, "echo here", NULL, "here\n");
	box_stop(s);
}

static void test_until(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	create_and_die(true);
	cove_sandbox *s = connect_to("a");
	struct cove_sandbox_info *info = box_inspect("a");
	CHECK(info->detached);
	CHECK_STR(info->until_session, "job");
	cove_sandbox_info_free(info);

	cove_process *p;
	CHECK_COVE(cove_process_open(s, "job", NULL, &p, &err), &err);
	box_receive(p, COVE_EVENT_STARTED);
	cove_stdin *in = cove_process_take_stdin(p);
	CHECK_COVE(cove_stdin_write(in, "it\n", 3, &err), &err);
	box_receive_text(p, "up\ngot it\n");
	box_receive(p, COVE_EVENT_EXITED);
	cove_stdin_free(in);
	cove_process_free(p);
	CHECK_COVE(cove_sandbox_wait(s, 10000, &info, &err), &err);
	CHECK_INT(info->end_cause, ==, COVE_END_SESSION_ENDED);
	CHECK_STR(info->until_session, "job");
	CHECK_CONTAINS(info->end_text, "job");
	cove_sandbox_info_free(info);
	cove_sandbox_free(s);
	/* Nothing of it is left. */
	CHECK_INT(cove_sandbox_inspect("a", &info, &err), ==, COVE_E_NOT_FOUND);
}

/* ---- the last bytes ---- */

/* More than a viewer's window, so that a part waits in the guest for it to be read. */
#define LAST_BYTES 400000

static bool is_stopping(void)
{
	_cleanup_free_ struct cove_sandbox_info *info = box_inspect("a");
	return info->state == COVE_SANDBOX_STOPPING;
}

static void test_slow_viewer(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = box_create("a", NULL);
	cove_process *p =
		box_stream(s, "read x; head -c 400000 /dev/zero", EXEC(.id = "job", PIPE_MODE));
	cove_stdin *in = cove_process_take_stdin(p);
	box_receive(p, COVE_EVENT_STARTED);
	let_go(s, "job");
	CHECK_COVE(cove_stdin_write(in, "\n", 1, &err), &err);
	/* It has ended, and the sandbox is about to, and nothing of it was read. */
	CHECK_WITHIN(is_stopping(), 10000);
	cove_output *out;
	CHECK_COVE(cove_process_collect(p, &out, &err), &err);
	CHECK_INT(out->stdout_bytes, ==, LAST_BYTES);
	CHECK_INT(out->exit.cause, ==, COVE_CAUSE_EXITED);
	CHECK_INT(out->exit.code, ==, 0);
	cove_output_free(out);
	cove_stdin_free(in);
	cove_process_free(p);
	struct cove_sandbox_info *info;
	CHECK_COVE(cove_sandbox_wait(s, 10000, &info, &err), &err);
	CHECK_INT(info->end_cause, ==, COVE_END_SESSION_ENDED);
	cove_sandbox_info_free(info);
	cove_sandbox_free(s);
}

/* What is still running ends as with any stop. */
static void test_others(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = box_create("a", NULL);
	cove_process *other = box_stream(s, "exec sleep 1000", NULL);
	box_receive(other, COVE_EVENT_STARTED);
	cove_output_free(box_shell(s, "true", EXEC(.id = "job")));
	let_go(s, "job"); /* it has ended already */
	const struct cove_event *event = box_receive(other, COVE_EVENT_EXITED);
	CHECK_INT(event->exit.cause, ==, COVE_CAUSE_STOPPED);
	cove_process_free(other);
	struct cove_sandbox_info *info;
	CHECK_COVE(cove_sandbox_wait(s, 10000, &info, &err), &err);
	CHECK_INT(info->end_cause, ==, COVE_END_SESSION_ENDED);
	cove_sandbox_info_free(info);
	cove_sandbox_free(s);
}

/* ---- whose child a supervisor is ---- */

/* The only child of this process, as /proc has it. */
static pid_t only_child(void)
{
	char text[64];
	FILE *f = fopen("/proc/thread-self/children", "re");
	CHECK(f);
	CHECK(fgets(text, sizeof(text), f));
	fclose(f);
	return (pid_t)atoi(text);
}

/*
 * Attached sandboxes leave nothing to init; not even when their supervisor is killed, or the process
 * that stands for it, with which it goes.
 */
static void test_child(void)
{
	for (unsigned killed = 0; killed < 3; killed++) {
		cove_sandbox *s = box_create("a", NULL);
		struct cove_sandbox_info *info = box_inspect("a");
		if (killed == 1)
			CHECK_SYS(kill(info->supervisor_pid, SIGKILL));
		if (killed == 2) {
			CHECK_INT(only_child(), !=, info->supervisor_pid);
			CHECK_SYS(kill(only_child(), SIGKILL));
			CHECK(tap_process_ends(info->supervisor_pid, 5000));
		}
		cove_sandbox_free(s);
		if (killed < 2) /* not even a zombie */
			CHECK_INT(kill(info->supervisor_pid, 0), ==, -1);
		cove_sandbox_info_free(info);
		check_no_children();
	}
}

static const struct tap_test tests[] = {
	{ "and the handle is freed", test_free },
	{ "refused", test_refused },
	{ "and the creator is killed", test_creator_killed },
	{ "until the end of a session", test_until },
	{ "the last bytes of a slow viewer", test_slow_viewer },
	{ "what else runs is stopped", test_others },
	{ "whose child a supervisor is", test_child },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
