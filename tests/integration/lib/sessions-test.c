/* SPDX-License-Identifier: Apache-2.0 */

/* Sessions that outlive who started them: found, waited for, written to, collected by others. */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "box.h"
#include "harness/tap.h"

#define PIPE_MODE .stdin_mode = COVE_STDIN_PIPE

/* ---- other processes ---- */

/* Commands of the sandbox "a" find the test's folder in $DIR. */
static cove_sandbox *create_with_folder(void)
{
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	char variable[4096];
	snprintf(variable, sizeof(variable), "DIR=%s", tap_dir());
	options.env = (const char *const[]){ variable, NULL };
	return box_create("a", &options);
}

/* Runs it in a process with a connection of its own to the sandbox "a". */
static pid_t in_child(void (*run)(cove_sandbox *s, int n), int n)
{
	pid_t pid = (pid_t)CHECK_SYS(fork());
	if (pid > 0)
		return pid;
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s;
	CHECK_COVE(cove_sandbox_connect("a", &s, &err), &err);
	run(s, n);
	_exit(0); /* as if it were killed: nothing is freed */
}

static void child_ends(pid_t pid)
{
	int status;
	CHECK_INT(waitpid(pid, &status, 0), ==, pid);
	CHECK_INT(status, ==, 0);
}

/* ---- lists ---- */

static void test_list(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_session_info **list;
	size_t n;
	cove_sandbox *s = box_create("a", NULL);
	CHECK_COVE(cove_session_list(s, &list, &n, &err), &err);
	CHECK_INT(n, ==, 0);
	cove_session_list_free(list, n);

	cove_output_free(box_shell(s, "echo taken", EXEC(.id = "taken")));
	cove_output_free(box_shell(s, "printf abc; printf err >&2; exit 3", EXEC(.id = "done")));
	cove_process *p = box_stream_argv(
		s, ARGV("cat", "-u"),
		EXEC(.id = "running", PIPE_MODE, .tty = true, .rows = 33, .cols = 99));
	box_receive(p, COVE_EVENT_STARTED);
	CHECK_COVE(cove_session_collect(s, "taken", NULL, &err), &err);
	CHECK_COVE(cove_session_list(s, &list, &n, &err), &err);
	CHECK_INT(n, ==, 3);

	CHECK_STR(list[0]->id, "taken");
	CHECK_STR(cove_session_state_name(list[0]->state), "collected");
	CHECK_INT(list[0]->stdout_total, ==, 6);
	CHECK_INT(list[0]->stdout_start, ==, 6); /* nothing of it is kept */
	CHECK_INT(list[0]->exit.code, ==, 0);
	CHECK_STR(list[1]->id, "done");
	CHECK_STR(cove_session_state_name(list[1]->state), "ended");
	CHECK_INT(list[1]->exit.code, ==, 3);
	CHECK_INT(list[1]->viewers, ==, 0);
	CHECK_INT(list[1]->stdout_start, ==, 0);
	CHECK_INT(list[1]->stdout_total, ==, 3);
	CHECK_INT(list[1]->stderr_total, ==, 3);
	CHECK(!list[1]->tty && !list[1]->stdin_open && !list[1]->has_processes);
	CHECK_STR(list[2]->id, "running");
	CHECK_STR(cove_session_state_name(list[2]->state), "running");
	CHECK_STR(list[2]->argv[0], "cat");
	CHECK_STR(list[2]->argv[1], "-u");
	CHECK(!list[2]->argv[2]);
	CHECK_INT(list[2]->pid, >, 0);
	CHECK_INT(list[2]->viewers, ==, 1);
	CHECK(list[2]->tty && list[2]->stdin_open && list[2]->has_processes);
	CHECK_INT(list[2]->rows, ==, 33);
	CHECK_INT(list[2]->cols, ==, 99);
	CHECK_INT(list[2]->started_ns, >=, list[1]->started_ns);
	cove_session_list_free(list, n);
	cove_process_free(p);
	box_stop(s);
}

/* ---- what STARTED says ---- */

static void test_started(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = box_create("a", NULL);
	cove_process *p = box_stream(s, "printf abc; exec cat",
				     EXEC(.id = "job", PIPE_MODE, .tty = true, .cols = 132));
	const struct cove_event *event = box_receive(p, COVE_EVENT_STARTED);
	CHECK(!event->was_there && event->tty);
	CHECK_INT(event->rows, ==, 24);
	CHECK_INT(event->cols, ==, 132);
	box_receive_text(p, "abc");
	CHECK_COVE(cove_process_resize(p, 50, 60, &err), &err);
	/* From another process, or by its id once more: what it is now. */
	for (unsigned i = 0; i < 2; i++) {
		cove_process *q;
		if (i == 0)
			CHECK_COVE(cove_process_open(s, "job", NULL, &q, &err), &err);
		else
			q = box_stream(s, "true", EXEC(.id = "job", .tty = true));
		event = box_receive(q, COVE_EVENT_STARTED);
		CHECK(event->was_there && event->tty);
		CHECK_INT(event->rows, ==, 50);
		CHECK_INT(event->cols, ==, 60);
		CHECK_INT(event->stdout_total, ==, 3);
		CHECK_INT(event->stderr_total, ==, 0);
		cove_process_free(q);
	}
	CHECK_COVE(cove_process_kill(p, &err), &err);
	cove_process_free(p);
	box_stop(s);
}

/* ---- waiting, collecting ---- */

static void test_wait(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_exit exit;
	cove_sandbox *s = box_create("a", NULL);
	cove_process *p = box_stream(s, "read x; exit 7", EXEC(.id = "job", PIPE_MODE));
	box_receive(p, COVE_EVENT_STARTED);
	CHECK_INT(cove_session_wait(s, "job", 0, &exit, &err), ==, COVE_E_TIMEOUT);
	CHECK_INT(cove_session_wait(s, "job", 50, &exit, &err), ==, COVE_E_TIMEOUT);
	CHECK_INT(cove_session_wait(s, "other", 0, &exit, &err), ==, COVE_E_NOT_FOUND);
	CHECK_INT(cove_session_wait(s, "other", -1, &exit, &err), ==, COVE_E_NOT_FOUND);
	cove_process_free(p); /* the end of its stdin */
	CHECK_COVE(cove_session_wait(s, "job", -1, &exit, &err), &err);
	CHECK_INT(exit.code, ==, 7);
	/* The result stays: just a look is enough, each time. */
	exit.code = 0;
	for (unsigned i = 0; i < 20; i++)
		CHECK_COVE(cove_session_wait(s, "job", 0, &exit, &err), &err);
	CHECK_INT(exit.code, ==, 7);
	box_stop(s);
}

static void test_collect(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_output *out = NULL;
	cove_process *p;
	cove_sandbox *s = box_create("a", NULL);
	/* While it runs, collecting waits; and nobody else gets it afterwards. */
	p = box_stream(s, "sleep 0.2; echo out; echo err >&2; exit 5", EXEC(.id = "job"));
	CHECK_INT(cove_session_collect(s, "other", &out, &err), ==, COVE_E_NOT_FOUND);
	cove_process_free(p);
	CHECK_COVE(cove_session_collect(s, "job", &out, &err), &err);
	CHECK_STR(out->stdout_data, "out\n");
	CHECK_STR(out->stderr_data, "err\n");
	CHECK_STR(out->id, "job");
	CHECK_INT(out->exit.code, ==, 5);
	CHECK(!out->limited);
	out = cove_output_free(out);

	CHECK_INT(cove_session_collect(s, "job", &out, &err), ==, COVE_E_GONE);
	CHECK_INT(cove_session_collect(s, "job", NULL, &err), ==, COVE_E_GONE);
	CHECK_INT(cove_session_wait(s, "job", -1, NULL, &err), ==, COVE_E_GONE);
	CHECK_INT(cove_session_wait(s, "job", 0, NULL, &err), ==, COVE_E_GONE);
	CHECK_INT(cove_shell(s, "echo again", EXEC(.id = "job"), &out, &err), ==, COVE_E_GONE);
	CHECK_INT(err.origin, ==, COVE_ORIGIN_GUEST);
	CHECK_COVE(cove_process_open(s, "job", NULL, &p, &err), &err);
	CHECK_INT(box_receive(p, COVE_EVENT_FAILED)->error->code, ==, COVE_E_GONE);
	cove_process_free(p);

	/* What is kept no more is said to be missing; a time limit is an error with a result. */
	cove_output_free(box_shell(s, "seq 1 100000", EXEC(.id = "long", .replay_bytes = 4096)));
	CHECK_COVE(cove_session_collect(s, "long", &out, &err), &err);
	CHECK(out->limited);
	CHECK_INT(out->stdout_total, ==, 588895);
	CHECK_INT(out->stdout_bytes, >=, 4096);
	CHECK_INT(out->stdout_bytes, <, 588895);
	out = cove_output_free(out);
	p = box_stream(s, "echo before; exec sleep 100", EXEC(.id = "late", .timeout_ms = 100));
	cove_process_free(p);
	CHECK_INT(cove_session_collect(s, "late", &out, &err), ==, COVE_E_TIMEOUT);
	CHECK_STR(out->stdout_data, "before\n");
	CHECK_INT(out->exit.cause, ==, COVE_CAUSE_TIMED_OUT);
	out = cove_output_free(out);
	CHECK_INT(cove_session_collect(s, "late", &out, &err), ==, COVE_E_GONE);
	box_stop(s);
}

/* ---- stdin that others go on with ---- */

static void write_all(cove_stdin *in, const void *data, size_t n)
{
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_stdin_write(in, data, n, &err), &err);
}

static void write_and_leave(cove_sandbox *s, int n)
{
	(void)n;
	struct cove_error err = COVE_ERROR_INIT;
	cove_process *p =
		box_stream(s, "cat", EXEC(.id = "job", PIPE_MODE, .keep_stdin_open = true));
	cove_stdin *in = cove_process_take_stdin(p);
	write_all(in, "one\n", 4);
	CHECK_COVE(cove_stdin_flush(in, -1, &err), &err);
}

static void test_keep(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = box_create("a", NULL);
	child_ends(in_child(write_and_leave, 0));
	/* A second, which lets go of it in order, leaves it open as well. */
	struct cove_open_options options = COVE_OPEN_OPTIONS_INIT;
	options.keep_stdin_open = true;
	for (unsigned i = 0; i < 2; i++) {
		cove_process *p;
		CHECK_COVE(cove_process_open(s, "job", &options, &p, &err), &err);
		cove_stdin *in = cove_process_take_stdin(p);
		write_all(in, i ? "three\n" : "two\n", i ? 6 : 4);
		if (i == 1)
			CHECK_COVE(cove_stdin_close(in, &err), &err);
		box_receive(p, COVE_EVENT_STARTED);
		box_receive_text(p, i ? "one\ntwo\nthree\n" : "one\ntwo\n");
		cove_stdin_free(in);
		cove_process_free(p);
	}
	cove_output *out;
	CHECK_COVE(cove_session_collect(s, "job", &out, &err), &err);
	CHECK_STR(out->stdout_data, "one\ntwo\nthree\n");
	cove_output_free(out);
	box_stop(s);
}

#define FLUSHED_BYTES 200000 /* more than a pipe holds, less than what the guest takes ahead */

/* Its command does not read before its writer has gone. */
static void flush_and_leave(cove_sandbox *s, int n)
{
	static char bytes[FLUSHED_BYTES];
	struct cove_error err = COVE_ERROR_INIT;
	char id[32];
	snprintf(id, sizeof(id), "job-%d", n);
	cove_process *p = box_stream(s, "while ! [ -e \"$DIR/go\" ]; do sleep 0.01; done; wc -c",
				     EXEC(.id = id, PIPE_MODE, .keep_stdin_open = true));
	cove_stdin *in = cove_process_take_stdin(p);
	write_all(in, bytes, sizeof(bytes));
	CHECK_COVE(cove_stdin_flush(in, 10000, &err), &err);
}

static void test_flush(void)
{
	enum { JOBS = 8 };
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = create_with_folder();
	for (int i = 0; i < JOBS; i++)
		child_ends(in_child(flush_and_leave, i));
	cove_output *out = box_shell(s, "touch \"$DIR/go\"", NULL);
	cove_output_free(out);
	for (int i = 0; i < JOBS; i++) {
		char id[32];
		cove_process *p;
		snprintf(id, sizeof(id), "job-%d", i);
		CHECK_COVE(cove_process_open(s, id, NULL, &p, &err), &err);
		cove_stdin *in = cove_process_take_stdin(p);
		CHECK_COVE(cove_stdin_close(in, &err), &err);
		cove_stdin_free(in);
		CHECK_COVE(cove_process_collect(p, &out, &err), &err);
		CHECK_INT(atoi(out->stdout_data), ==, FLUSHED_BYTES);
		cove_output_free(out);
		cove_process_free(p);
	}
	box_stop(s);
}

/* The guest takes a window ahead of a command that does not read; then it has to read first. */
static void test_flush_blocked(void)
{
	static char bytes[2 * 1024 * 1024];
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = box_create("a", NULL);
	cove_process *p =
		box_stream(s, "kill -STOP $$; wc -c", EXEC(PIPE_MODE, .flags = COVE_EXEC_NONBLOCK));
	cove_stdin *in = cove_process_take_stdin(p);
	size_t total = 0, n;
	int r;
	for (unsigned i = 0; total < sizeof(bytes) && i < 1000; i++) {
		while ((r = cove_stdin_try_write(in, bytes, sizeof(bytes) - total, &n, &err)) == 0)
			total += n;
		if (r == COVE_E_AGAIN && cove_stdin_flush(in, 20, &err) == COVE_E_TIMEOUT)
			break;
	}
	CHECK_INT(cove_stdin_flush(in, 20, &err), ==, COVE_E_TIMEOUT);
	CHECK_INT(total, >, 256 * 1024);
	CHECK_INT(total, <, sizeof(bytes));
	box_receive(p, COVE_EVENT_STARTED);
	CHECK_COVE(cove_process_signal(p, SIGCONT, &err), &err);
	CHECK_COVE(cove_stdin_flush(in, -1, &err), &err);
	CHECK_COVE(cove_stdin_close(in, &err), &err);
	cove_stdin_free(in);
	CHECK_INT(atoi(box_receive(p, COVE_EVENT_STDOUT)->data), ==, total);
	box_receive(p, COVE_EVENT_EXITED);
	cove_process_free(p);
	box_stop(s);
}

/* ---- the same id, twice at once ---- */

#define RACES 50

static int race_fd; /* where the processes that race write what they got */

static void race(cove_sandbox *s, int n)
{
	struct cove_error err = COVE_ERROR_INIT;
	char id[32], text[64];
	cove_output *out;
	snprintf(id, sizeof(id), "race-%d", n);
	CHECK_COVE(cove_shell(s, "echo run >>\"$DIR/runs\"; echo $$; seq 1 1000; exit 9",
			      EXEC(.id = id), &out, &err),
		   &err);
	CHECK_INT(out->exit.code, ==, 9);
	CHECK(!out->limited);
	/* Its pid; and all the rest is what it has to be: 3893 bytes of numbers. */
	long pid = strtol(out->stdout_data, NULL, 10);
	int length = snprintf(text, sizeof(text), "%ld\n", pid);
	CHECK_INT(out->stdout_bytes, ==, length + 3893);
	CHECK_INT(write(race_fd, text, (size_t)length), ==, length);
}

static void test_race(void)
{
	int fds[2];
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = create_with_folder();
	for (int i = 0; i < RACES; i++) {
		char text[256] = "", id[32];
		CHECK_SYS(pipe2(fds, O_CLOEXEC));
		race_fd = fds[1];
		pid_t one = in_child(race, i), two = in_child(race, i);
		child_ends(one);
		child_ends(two);
		ssize_t n = read(fds[0], text, sizeof(text) - 1);
		CHECK_INT(n, >, 0);
		/* Both saw the same run. */
		size_t half = (size_t)n / 2;
		CHECK_MEM(text, half, text + half, (size_t)n - half);
		close(fds[0]);
		close(fds[1]);
		snprintf(id, sizeof(id), "race-%d", i);
		CHECK_COVE(cove_session_collect(s, id, NULL, &err), &err);
	}
	cove_output *out = box_shell(s, "wc -l <\"$DIR/runs\"", NULL);
	CHECK_INT(atoi(out->stdout_data), ==, RACES);
	cove_output_free(out);
	box_stop(s);
}

static const struct tap_test tests[] = {
	{ "lists", test_list },
	{ "what STARTED says", test_started },
	{ "waiting", test_wait },
	{ "collecting", test_collect },
	{ "stdin that is kept open", test_keep },
	{ "what was flushed is there", test_flush },
	{ "flushing waits for the reader", test_flush_blocked },
	{ "one id from two processes", test_race, .timeout_s = 60 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
