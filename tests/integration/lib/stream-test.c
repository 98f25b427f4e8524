/* SPDX-License-Identifier: Apache-2.0 */

/* Live commands through every layer but the virtual machine. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "box.h"
#include "harness/tap.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define BULK (10u << 20)
#else
#define BULK (100u << 20)
#endif

#define PIPE_MODE .stdin_mode = COVE_STDIN_PIPE

/* ---- events ---- */

static void test_events(void)
{
	cove_sandbox *s = box_create("a", NULL);
	cove_process *p = box_stream(s, "echo out; echo err >&2; exit 3", NULL);
	const struct cove_event *event = box_receive(p, COVE_EVENT_STARTED);
	const char *id;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_INT(event->pid, >, 0);
	CHECK_COVE(cove_process_id(p, &id, &err), &err);
	CHECK_STR(event->id, id);
	char text[2][16] = { "", "" };
	for (unsigned i = 0; i < 2; i++) {
		CHECK_INT(cove_process_recv(p, &event, 10000, &err), ==, 1);
		unsigned k = event->kind == COVE_EVENT_STDERR;
		strncat(text[k], event->data, event->bytes);
	}
	CHECK_STR(text[0], "out\n");
	CHECK_STR(text[1], "err\n");
	event = box_receive(p, COVE_EVENT_EXITED);
	CHECK_INT(event->exit.code, ==, 3);
	CHECK_INT(event->stdout_total, ==, 4);
	CHECK_INT(event->stderr_total, ==, 4);
	CHECK_INT(cove_process_recv(p, &event, -1, &err), ==, 0);
	cove_process_free(p);

	p = box_stream_argv(s, ARGV("/no/such/command"), NULL);
	event = box_receive(p, COVE_EVENT_FAILED);
	CHECK_INT(event->error->code, ==, COVE_E_START);
	CHECK_INT(event->error->stage, ==, COVE_STAGE_EXEC);
	CHECK_INT(event->error->os_errno, ==, ENOENT);
	CHECK_INT(cove_process_wait(p, -1, NULL, &err), ==, COVE_E_START);
	CHECK_INT(cove_process_kill(p, &err), ==, COVE_E_START);
	cove_process_free(p);

	/* Something that stays behind does not hold up the end. */
	p = box_stream(s, "(sleep 100; echo late) & echo now", NULL);
	box_receive(p, COVE_EVENT_STARTED);
	box_receive(p, COVE_EVENT_STDOUT);
	box_receive(p, COVE_EVENT_EXITED);
	cove_process_free(p);
	box_stop(s);
}

/* A growing log is followed until somebody has seen enough. */
static void test_follow(void)
{
	cove_sandbox *s = box_create("a", NULL);
	struct cove_error err = COVE_ERROR_INIT;
	char script[256], line[32];
	const char *log = tap_path("log");
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, log, "line 0\n", 7, 0644));
	snprintf(script, sizeof(script), "exec tail -n +1 -f %s", log);
	cove_process *p = box_stream(s, script, NULL);
	box_receive(p, COVE_EVENT_STARTED);
	for (unsigned i = 0; i < 5; i++) {
		snprintf(line, sizeof(line), "line %u\n", i);
		box_receive_text(p, line);
		snprintf(script, sizeof(script), "echo line %u >>%s", i + 1, log);
		box_prints(s, script, NULL, "");
	}
	CHECK_COVE(cove_process_kill(p, &err), &err);
	const struct cove_event *event;
	do
		CHECK_INT(cove_process_recv(p, &event, 10000, &err), ==, 1);
	while (event->kind == COVE_EVENT_STDOUT);
	CHECK_INT(event->kind, ==, COVE_EVENT_EXITED);
	CHECK_INT(event->exit.cause, ==, COVE_CAUSE_KILLED);
	CHECK_INT(event->exit.code, ==, 137);
	CHECK_INT(cove_process_kill(p, &err), ==, COVE_E_STATE);
	cove_process_free(p);
	box_stop(s);
}

static void test_lost(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = box_create("a", NULL);
	struct cove_sandbox_info *info = box_inspect("a");
	cove_process *p = box_stream(s, "echo partial; exec sleep 1000", EXEC(PIPE_MODE));
	cove_stdin *in = cove_process_take_stdin(p);
	cove_control *control = cove_process_control(p);
	box_receive(p, COVE_EVENT_STARTED);
	box_receive_text(p, "partial\n");
	uint64_t begin = clock_monotonic_ms();
	CHECK_SYS(kill(info->supervisor_pid, SIGKILL));
	const struct cove_event *event = box_receive(p, COVE_EVENT_LOST);
	CHECK_INT(clock_monotonic_ms() - begin, <, 3000);
	CHECK_INT(event->error->code, ==, COVE_E_LOST);
	CHECK_INT(cove_process_recv(p, &event, -1, &err), ==, 0);
	CHECK_INT(cove_control_signal(control, SIGTERM, &err), ==, COVE_E_LOST);
	CHECK_INT(cove_stdin_write(in, "x", 1, &err), ==, COVE_E_LOST);
	CHECK_INT(cove_process_wait(p, -1, NULL, &err), ==, COVE_E_LOST);
	/* In any order. */
	cove_sandbox_free(s);
	cove_process_free(p);
	cove_stdin_free(in);
	CHECK_INT(cove_control_kill(control, &err), ==, COVE_E_LOST);
	cove_control_unref(control);
	cove_sandbox_info_free(info);
}

/* An attached sandbox ends with its handle, whatever handles of processes are left. */
static void test_sandbox_freed(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = box_create("a", NULL);
	cove_process *p = box_stream(s, "exec sleep 1000", NULL);
	box_receive(p, COVE_EVENT_STARTED);
	cove_sandbox_free(s);
	struct cove_sandbox_info *info;
	CHECK_INT(cove_sandbox_inspect("a", &info, &err), ==, COVE_E_NOT_FOUND);
	box_receive(p, COVE_EVENT_LOST);
	cove_process_free(p);
}

/* ---- standard input ---- */

static void test_stdin(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = box_create("a", NULL);
	cove_process *p = box_stream_argv(s, ARGV("cat"), EXEC(PIPE_MODE));
	cove_stdin *in = cove_process_take_stdin(p);
	CHECK(!cove_process_take_stdin(p));
	box_receive(p, COVE_EVENT_STARTED);
	for (unsigned i = 0; i < 10; i++) {
		char line[16];
		snprintf(line, sizeof(line), "%u\n", i);
		CHECK_COVE(cove_stdin_write(in, line, strlen(line), &err), &err);
		box_receive_text(p, line);
	}
	CHECK_COVE(cove_stdin_close(in, &err), &err);
	CHECK_INT(box_receive(p, COVE_EVENT_EXITED)->exit.code, ==, 0);
	cove_stdin_free(in);
	cove_process_free(p);

	/* Nobody takes it: it ends with the process's handle, and so does cat. */
	p = box_stream_argv(s, ARGV("cat"), EXEC(PIPE_MODE));
	cove_control *control = cove_process_control(p);
	CHECK_COVE(cove_control_signal(control, SIGCONT, &err), &err);
	cove_process_free(p);
	CHECK_WITHIN(cove_control_signal(control, SIGCONT, &err) == COVE_E_STATE, 10000);
	cove_control_unref(control);

	/* One that closes its stdin goes on all the same. */
	p = box_stream(s, "exec <&-; echo closed; exec sleep 1000", EXEC(PIPE_MODE));
	in = cove_process_take_stdin(p);
	box_receive(p, COVE_EVENT_STARTED);
	box_receive_text(p, "closed\n");
	int r;
	while ((r = cove_stdin_write(in, "some more bytes", 15, &err)) == 0)
		;
	CHECK(r == COVE_E_SYSTEM || r == COVE_E_STATE);
	const struct cove_event *event = box_receive(p, COVE_EVENT_STDIN_ERROR);
	CHECK_INT(event->os_errno, ==, EPIPE);
	cove_process_kill(p, NULL);
	cove_stdin_free(in);
	cove_process_free(p);
	box_stop(s);
}

/* All handles are gone, and the bytes arrive. */
static void test_stdin_arrives(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	char script[512];
	size_t n = 0, written = 0;
	_cleanup_free_ char *bytes = malloc(BULK / 10);
	memset(bytes, 'x', BULK / 10);
	cove_sandbox *s = box_create("a", NULL);
	for (unsigned way = 0; way < 3; way++) {
		const char *path = tap_path("copy-%u", way);
		snprintf(script, sizeof(script), "sleep 0.1; cat >%s.new && mv %s.new %s", path,
			 path, path);
		cove_process *p =
			box_stream(s, script,
				   way == 2 ? EXEC(.stdin_mode = COVE_STDIN_BYTES,
						   .stdin_data = bytes, .stdin_bytes = BULK / 10)
					    : EXEC(PIPE_MODE));
		cove_stdin *in = cove_process_take_stdin(p);
		if (way == 0)
			CHECK_COVE(cove_stdin_write(in, bytes, BULK / 10, &err), &err);
		for (written = 0; way == 1 && written < 200000; written += n)
			if (cove_stdin_try_write(in, bytes, 200000 - written, &n, &err) < 0)
				n = 0;
		cove_stdin_free(in);
		cove_process_free(p);
		/* Somebody has to be in a call for anything to be sent. */
		snprintf(
			script, sizeof(script),
			"i=0; while [ ! -e %s ]; do i=$((i+1)); [ $i -gt 400 ] && exit 1; sleep 0.02; "
			"done; wc -c <%s",
			path, path);
		char expected[32];
		snprintf(expected, sizeof(expected), "%u\n", way == 1 ? 200000u : BULK / 10);
		box_prints(s, script, NULL, expected);
	}
	box_stop(s);
}

/* ---- bulk ---- */

static void check_bytes(const struct cove_event *event)
{
	for (size_t i = 0; i < event->bytes; i++)
		if (((const uint8_t *)event->data)[i] != (event->offset + i) % 251)
			CHECK_INT(event->offset + i, ==, UINT64_MAX);
}

static void *feed(void *data)
{
	cove_stdin *in = data;
	struct cove_error err = COVE_ERROR_INIT;
	_cleanup_free_ uint8_t *bytes = malloc(1000003);
	for (size_t sent = 0, n; sent < BULK; sent += n) {
		n = MIN((size_t)1000003, (size_t)BULK - sent);
		for (size_t i = 0; i < n; i++)
			bytes[i] = (uint8_t)((sent + i) % 251);
		CHECK_COVE(cove_stdin_write(in, bytes, n, &err), &err);
	}
	CHECK_COVE(cove_stdin_close(in, &err), &err);
	return NULL;
}

static void test_duplex(void)
{
	pthread_t thread;
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = box_create("a", NULL);
	cove_process *p = box_stream_argv(s, ARGV("cat"), EXEC(PIPE_MODE));
	cove_stdin *in = cove_process_take_stdin(p);
	CHECK_INT(pthread_create(&thread, NULL, feed, in), ==, 0);
	const struct cove_event *event;
	uint64_t received = 0;
	while (CHECK_COVE(cove_process_recv(p, &event, 20000, &err), &err) == 1) {
		if (event->kind != COVE_EVENT_STDOUT)
			continue;
		CHECK_INT(event->offset, ==, received);
		check_bytes(event);
		received += event->bytes;
	}
	pthread_join(thread, NULL);
	CHECK_INT(received, ==, BULK);
	cove_stdin_free(in);
	cove_process_free(p);
	box_stop(s);
}

/* One thread that writes what can be written and receives what can be received, and polls. */
static void test_duplex_loop(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	_cleanup_free_ uint8_t *bytes = malloc(BULK);
	uint64_t received = 0;
	size_t sent = 0, n;
	for (size_t i = 0; i < BULK; i++)
		bytes[i] = (uint8_t)(i % 251);
	cove_sandbox *s = box_create("a", NULL);
	cove_process *p =
		box_stream_argv(s, ARGV("cat"), EXEC(PIPE_MODE, .flags = COVE_EXEC_NONBLOCK));
	cove_stdin *in = cove_process_take_stdin(p);
	for (;;) {
		const struct cove_event *event;
		int r;
		while (sent < BULK && (r = cove_stdin_try_write(in, bytes + sent, BULK - sent, &n,
								&err)) != COVE_E_AGAIN) {
			CHECK_COVE(r, &err);
			sent += n;
			if (sent == BULK)
				CHECK_COVE(cove_stdin_close(in, &err), &err);
		}
		while ((r = cove_process_try_recv(p, &event, &err)) > 0) {
			if (event->kind != COVE_EVENT_STDOUT)
				continue;
			CHECK_INT(event->offset, ==, received);
			check_bytes(event);
			received += event->bytes;
		}
		if (r == 0)
			break;
		CHECK_INT(r, ==, COVE_E_AGAIN);
		cove_process *ready[1];
		struct pollfd fd = { .fd = cove_sandbox_fd(s, &err), .events = POLLIN };
		CHECK_INT(CHECK_SYS(poll(&fd, 1, 20000)), ==, 1);
		CHECK_COVE(cove_sandbox_dispatch(s, ready, 1, &err), &err);
	}
	CHECK_INT(received, ==, BULK);
	cove_stdin_free(in);
	cove_process_free(p);
	box_stop(s);
}

/* What is waited for without being received is not transferred, and does not stop the command. */
static void test_wait(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_exit exit;
	cove_sandbox *s = box_create("a", NULL);
	/* As much as would take minutes through all of it. */
	cove_process *p = box_stream(s, "head -c 3000000000 /dev/zero; exit 7", NULL);
	CHECK_INT(cove_process_wait(p, 0, &exit, &err), ==, COVE_E_TIMEOUT);
	CHECK_COVE(cove_process_wait(p, -1, &exit, &err), &err);
	CHECK_INT(exit.code, ==, 7);
	box_receive(p, COVE_EVENT_STARTED);
	CHECK_INT(box_receive(p, COVE_EVENT_EXITED)->stdout_total, ==, 3000000000);
	cove_process_free(p);

	p = box_stream(s, "sleep 1000", EXEC(.timeout_ms = 100));
	CHECK_COVE(cove_process_wait(p, -1, &exit, &err), &err);
	CHECK_INT(exit.cause, ==, COVE_CAUSE_TIMED_OUT);
	cove_process_free(p);
	/* Nobody receives, and a control is left: it runs on, to its end. */
	p = box_stream(s, "head -c 10000000 /dev/zero; exec sleep 1000", NULL);
	box_receive(p, COVE_EVENT_STARTED);
	cove_control *control = cove_process_control(p);
	cove_process_free(p);
	box_prints(s,
		   "i=0; while ! pgrep -f '^sleep 1000$' >/dev/null; do i=$((i+1)); "
		   "[ $i -gt 400 ] && exit 1; sleep 0.02; done; echo there",
		   NULL, "there\n");
	CHECK_COVE(cove_control_kill(control, &err), &err);
	cove_control_unref(control);
	box_stop(s);
}

static void test_collect(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_output *out;
	cove_sandbox *s = box_create("a", NULL);
	cove_process *p =
		box_stream(s, "echo first; read x; echo second; seq 100000", EXEC(PIPE_MODE));
	cove_stdin *in = cove_process_take_stdin(p);
	box_receive(p, COVE_EVENT_STARTED);
	box_receive_text(p, "first\n");
	CHECK_COVE(cove_stdin_write(in, "\n", 1, &err), &err);
	CHECK_COVE(cove_process_collect(p, &out, &err), &err);
	CHECK_INT(out->stdout_bytes, ==, 7 + 588895);
	CHECK(memcmp(out->stdout_data, "second\n1\n2\n", 11) == 0);
	CHECK_INT(out->stdout_total, ==, 6 + 7 + 588895);
	CHECK(!out->limited);
	cove_output_free(out);
	cove_stdin_free(in);
	cove_process_free(p);

	p = box_stream(s, "exec cat /dev/zero", NULL);
	CHECK_COVE(cove_process_collect(p, &out, &err), &err);
	CHECK_INT(out->exit.cause, ==, COVE_CAUSE_OUTPUT_LIMIT);
	CHECK_INT(out->stdout_bytes, ==, COVE_OUTPUT_LIMIT_DEFAULT);
	CHECK(out->limited);
	cove_output_free(out);
	cove_process_free(p);
	box_stop(s);
}

/* ---- control ---- */

static void test_control(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = box_create("a", NULL);
	cove_process *p = box_stream(
		s,
		"exec 2>/dev/null; trap 'echo usr1' USR1; trap 'echo term; exit 9' TERM; echo up; "
		"while :; do sleep 0.02; done",
		NULL);
	cove_control *control = cove_process_control(p);
	box_receive(p, COVE_EVENT_STARTED);
	box_receive_text(p, "up\n");
	CHECK_COVE(cove_process_signal(p, SIGUSR1, &err), &err);
	box_receive_text(p, "usr1\n");
	CHECK_INT(cove_process_signal(p, 65, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_process_resize(p, 10, 10, &err), ==, COVE_E_STATE);
	CHECK_COVE(cove_control_signal(control, SIGTERM, &err), &err);
	box_receive_text(p, "term\n");
	CHECK_INT(box_receive(p, COVE_EVENT_EXITED)->exit.code, ==, 9);
	CHECK_INT(cove_process_signal(p, SIGTERM, &err), ==, COVE_E_STATE);
	cove_process_free(p);
	CHECK_INT(cove_control_signal(control, SIGTERM, &err), ==, COVE_E_STATE);
	cove_control_unref(control);

	/* A kill takes all of it, and is over when it returns. */
	p = box_stream(s, "trap '' TERM; setsid sleep 1000 & echo $!; wait", NULL);
	box_receive(p, COVE_EVENT_STARTED);
	char text[32] = "", script[256];
	const struct cove_event *event = box_receive(p, COVE_EVENT_STDOUT);
	strncat(text, event->data, event->bytes);
	CHECK_COVE(cove_process_kill(p, &err), &err);
	snprintf(script, sizeof(script),
		 "i=0; while kill -0 %d 2>/dev/null; do i=$((i+1)); [ $i -gt 100 ] && exit 1; "
		 "sleep 0.02; done; echo gone",
		 atoi(text));
	box_prints(s, script, NULL, "gone\n");
	cove_process_free(p);
	box_stop(s);
}

static void test_close_output(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = box_create("a", NULL);
	cove_process *p = box_stream(s, "exec yes", NULL);
	box_receive(p, COVE_EVENT_STARTED);
	const struct cove_event *event = box_receive(p, COVE_EVENT_STDOUT);
	uint64_t received = event->bytes;
	CHECK_COVE(cove_process_close_output(p, COVE_STDOUT, &err), &err);
	do {
		CHECK_INT(cove_process_recv(p, &event, 10000, &err), ==, 1);
		received += event->bytes;
	} while (event->kind == COVE_EVENT_STDOUT);
	CHECK_INT(event->kind, ==, COVE_EVENT_EXITED);
	CHECK_INT(event->exit.code, ==, 128 + SIGPIPE);
	CHECK_INT(event->exit.signal, ==, SIGPIPE);
	CHECK_INT(event->stdout_total, ==, received);
	cove_process_free(p);

	/* One that ignores the signal sees EPIPE. */
	p = box_stream(
		s, "trap '' PIPE; read x; echo gone 2>/dev/null || { echo broken >&2; exit 6; }",
		EXEC(PIPE_MODE));
	cove_stdin *in = cove_process_take_stdin(p);
	CHECK_COVE(cove_process_close_output(p, COVE_STDOUT, &err), &err);
	CHECK_COVE(cove_stdin_write(in, "\n", 1, &err), &err);
	box_receive(p, COVE_EVENT_STARTED);
	event = box_receive(p, COVE_EVENT_STDERR);
	CHECK(memcmp(event->data, "broken\n", event->bytes) == 0);
	CHECK_INT(box_receive(p, COVE_EVENT_EXITED)->exit.code, ==, 6);
	cove_stdin_free(in);
	cove_process_free(p);

	p = box_stream(s, "exec sleep 1000", EXEC(.tty = true));
	CHECK_INT(cove_process_close_output(p, COVE_STDOUT, &err), ==, COVE_E_STATE);
	CHECK_COVE(cove_process_kill(p, &err), &err);
	cove_process_free(p);
	box_stop(s);
}

static void test_kill_on_disconnect(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = box_create("a", NULL);
	for (unsigned kills = 0; kills < 2; kills++) {
		cove_process *p = box_stream(s, "echo up; exec sleep 1000",
					     EXEC(.kill_on_disconnect = kills, PIPE_MODE,
						  .id = kills ? "mortal" : "immortal"));
		box_receive(p, COVE_EVENT_STARTED);
		box_receive_text(p, "up\n");
		cove_process_free(p);
	}
	struct cove_exit exit;
	cove_process *p;
	CHECK_COVE(cove_process_open(s, "mortal", NULL, &p, &err), &err);
	CHECK_COVE(cove_process_wait(p, 10000, &exit, &err), &err);
	CHECK_INT(exit.cause, ==, COVE_CAUSE_KILLED);
	cove_process_free(p);
	CHECK_COVE(cove_process_open(s, "immortal", NULL, &p, &err), &err);
	CHECK_INT(cove_process_wait(p, 50, &exit, &err), ==, COVE_E_TIMEOUT);
	CHECK_COVE(cove_process_kill(p, &err), &err);
	cove_process_free(p);
	box_stop(s);
}

/* ---- the thread rule ---- */

#define LINES 2000

struct shared {
	cove_sandbox *sandbox;
	cove_process *process;
	cove_stdin *in;
	cove_control *control;
	bool tty;
	atomic_bool over;
	sem_t asked; /* something was asked and answered, while it ran */
};

static void *write_lines(void *data)
{
	struct shared *shared = data;
	struct cove_error err = COVE_ERROR_INIT;
	char line[64];
	for (unsigned i = 0; i < LINES; i++) {
		size_t n = (size_t)snprintf(line, sizeof(line), "line %u of what is typed\n", i);
		CHECK_COVE(cove_stdin_write(shared->in, line, n, &err), &err);
	}
	CHECK_SYS(sem_wait(&shared->asked)); /* on a busy machine the lines may have been quicker */
	CHECK_COVE(cove_stdin_close(shared->in, &err), &err);
	return NULL;
}

static void *signal_and_resize(void *data)
{
	struct shared *shared = data;
	struct cove_error err = COVE_ERROR_INIT;
	unsigned size = 1;
	while (!atomic_load(&shared->over)) {
		int r = cove_control_signal(shared->control, SIGCONT, &err);
		if (r == 0 && shared->tty)
			r = cove_control_resize(shared->control, size, size, &err);
		if (r == COVE_E_STATE) /* it has ended */
			break;
		CHECK_COVE(r, &err);
		if (size == 1)
			CHECK_SYS(sem_post(&shared->asked));
		size = size % 500 + 1;
	}
	return NULL;
}

static void *run_commands(void *data)
{
	struct shared *shared = data;
	for (unsigned i = 0; i < 10 || !atomic_load(&shared->over); i++)
		box_prints(
			shared->sandbox, "cat",
			EXEC(.stdin_mode = COVE_STDIN_BYTES, .stdin_data = "in", .stdin_bytes = 2),
			"in");
	return NULL;
}

/* One receives, one writes, one signals and resizes, others run commands: all on one sandbox. */
static void share(cove_sandbox *s, bool tty)
{
	static void *(*const works[])(void *) = { write_lines, signal_and_resize, run_commands,
						  run_commands };
	pthread_t threads[ARRAY_SIZE(works)];
	struct cove_error err = COVE_ERROR_INIT;
	struct shared shared = { .sandbox = s, .tty = tty };
	CHECK_SYS(sem_init(&shared.asked, 0, 0));
	/* The kernel drops echoes when nobody reads for a while. */
	shared.process = box_stream(s, tty ? "stty -echo; echo; exec cat" : "echo; exec cat",
				    EXEC(PIPE_MODE, .tty = tty));
	shared.in = cove_process_take_stdin(shared.process);
	shared.control = cove_process_control(shared.process);
	box_receive(shared.process, COVE_EVENT_STARTED);
	box_receive_text(shared.process, tty ? "\r\n" : "\n");
	for (unsigned i = 0; i < ARRAY_SIZE(works); i++)
		CHECK_INT(pthread_create(&threads[i], NULL, works[i], &shared), ==, 0);
	const struct cove_event *event;
	uint64_t received = tty ? 2 : 1;
	unsigned lines = 0;
	while (CHECK_COVE(cove_process_recv(shared.process, &event, 20000, &err), &err) == 1) {
		if (event->kind == COVE_EVENT_EXITED)
			CHECK(cove_exit_success(&event->exit));
		if (event->kind != COVE_EVENT_STDOUT)
			continue;
		CHECK_INT(event->offset, ==, received);
		received += event->bytes;
		for (size_t i = 0; i < event->bytes; i++)
			lines += ((const char *)event->data)[i] == '\n';
	}
	CHECK_INT(lines, ==, LINES);
	atomic_store(&shared.over, true);
	for (unsigned i = 0; i < ARRAY_SIZE(works); i++)
		pthread_join(threads[i], NULL);
	sem_destroy(&shared.asked);
	cove_stdin_free(shared.in);
	cove_control_unref(shared.control);
	cove_process_free(shared.process);
}

static void test_threads(void)
{
	cove_sandbox *s = box_create("a", NULL);
	share(s, false);
	share(s, true);
	box_stop(s);
}

/* ---- an event loop ---- */

#define JOBS 150

static void test_loop(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct {
		cove_process *process;
		cove_stdin *in;
		uint64_t received;
	} jobs[JOBS];
	cove_sandbox *s = box_create("a", NULL);
	for (unsigned i = 0; i < JOBS; i++) {
		jobs[i].received = 0;
		jobs[i].process = box_stream_argv(
			s, ARGV("cat"),
			EXEC(PIPE_MODE, .flags = COVE_EXEC_NONBLOCK, .user_data = &jobs[i]));
		jobs[i].in = cove_process_take_stdin(jobs[i].process);
		size_t n;
		CHECK_COVE(cove_stdin_try_write(jobs[i].in, "0123456789", 10, &n, &err), &err);
		CHECK_INT(n, ==, 10);
	}
	unsigned left = JOBS;
	while (left > 0) {
		cove_process *ready[7];
		struct pollfd fd = { .fd = cove_sandbox_fd(s, &err),
				     .events = cove_sandbox_events(s) };
		CHECK_INT(CHECK_SYS(poll(&fd, 1, 20000)), ==, 1);
		int n = CHECK_COVE(cove_sandbox_dispatch(s, ready, ARRAY_SIZE(ready), &err), &err);
		for (int i = 0; i < n; i++) {
			typeof(&jobs[0]) job = cove_process_user_data(ready[i]);
			const struct cove_event *event;
			int r;
			while ((r = cove_process_try_recv(ready[i], &event, &err)) > 0) {
				if (event->kind == COVE_EVENT_EXITED)
					left--;
				job->received += event->bytes;
				if (event->kind == COVE_EVENT_STDOUT && job->received == 10)
					CHECK_COVE(cove_stdin_close(job->in, &err), &err);
			}
			CHECK(r == 0 || r == COVE_E_AGAIN);
		}
	}
	for (unsigned i = 0; i < JOBS; i++) {
		CHECK_INT(jobs[i].received, ==, 10);
		cove_stdin_free(jobs[i].in);
		cove_process_free(jobs[i].process);
	}
	box_stop(s);
}

static const struct tap_test tests[] = {
	{ "events", test_events },
	{ "following a log", test_follow },
	{ "the end of the sandbox", test_lost },
	{ "the sandbox is freed first", test_sandbox_freed },
	{ "stdin", test_stdin },
	{ "stdin arrives", test_stdin_arrives, .timeout_s = 60 },
	{ "both directions", test_duplex, .timeout_s = 120 },
	{ "both directions, one thread", test_duplex_loop, .timeout_s = 120 },
	{ "waiting", test_wait, .timeout_s = 60 },
	{ "collecting", test_collect, .timeout_s = 60 },
	{ "control", test_control },
	{ "closing an output", test_close_output },
	{ "kill on disconnect", test_kill_on_disconnect },
	{ "threads", test_threads, .timeout_s = 60 },
	{ "an event loop", test_loop, .timeout_s = 60 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
