/* SPDX-License-Identifier: Apache-2.0 */

/* Terminals, and sessions that are looked at by others than who started them. */

#include <signal.h>
#include <stdlib.h>

#include "box.h"
#include "harness/tap.h"

#define PIPE_MODE .stdin_mode = COVE_STDIN_PIPE

/* ---- terminals ---- */

/* What a terminal has shown, and how much of that was looked at. */
struct screen {
	cove_process *process;
	char text[8192];
	size_t seen;
};

/* Receives until the text has come, after what was looked for before. */
static void see(struct screen *screen, const char *text)
{
	struct cove_error err = COVE_ERROR_INIT;
	const char *found;
	while (!(found = strstr(screen->text + screen->seen, text))) {
		const struct cove_event *event;
		int r = cove_process_recv(screen->process, &event, 10000, &err);
		if (r != 1 || event->kind > COVE_EVENT_STDOUT)
			tap_note("so far: %s", screen->text);
		CHECK_INT(CHECK_COVE(r, &err), ==, 1);
		CHECK_INT(event->kind, <=, COVE_EVENT_STDOUT);
		CHECK_INT(strlen(screen->text) + event->bytes, <, sizeof(screen->text));
		if (event->bytes > 0)
			strncat(screen->text, event->data, event->bytes);
	}
	screen->seen = (size_t)(found - screen->text) + strlen(text);
}

static void type(cove_stdin *in, const char *text)
{
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_stdin_write(in, text, strlen(text), &err), &err);
}

static void test_tty(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = box_create("a", NULL);
	cove_process *p = box_stream(s,
				     "stty size; echo err >&2; "
				     "while read line; do echo \"<$line>\"; done; echo end",
				     EXEC(.tty = true, .rows = 33, .cols = 77, PIPE_MODE));
	cove_stdin *in = cove_process_take_stdin(p);
	struct screen screen = { .process = p };
	see(&screen, "33 77\r\n");
	see(&screen, "err\r\n");
	type(in, "hello\n");
	see(&screen, "hello\r\n"); /* the echo */
	see(&screen, "<hello>\r\n");
	CHECK_COVE(cove_stdin_close(in, &err), &err);
	see(&screen, "end\r\n");
	CHECK_INT(box_receive(p, COVE_EVENT_EXITED)->exit.code, ==, 0);
	CHECK_INT(cove_process_resize(p, 1, 1, &err), ==, COVE_E_STATE);
	cove_stdin_free(in);
	cove_process_free(p);

	p = box_stream(s, "trap 'stty size' WINCH; echo up; while :; do sleep 0.02; done",
		       EXEC(.tty = true));
	screen = (struct screen){ .process = p };
	see(&screen, "up\r\n");
	CHECK_COVE(cove_process_resize(p, 50, 100, &err), &err);
	see(&screen, "50 100\r\n");
	CHECK_COVE(cove_process_kill(p, &err), &err);
	cove_process_free(p);

	/* The default size; and what is typed reaches the foreground as a signal. */
	p = box_stream(s, "stty size; exec sleep 1000", EXEC(.tty = true, PIPE_MODE));
	in = cove_process_take_stdin(p);
	screen = (struct screen){ .process = p };
	see(&screen, "24 80\r\n");
	type(in, "\003");
	see(&screen, "^C");
	const struct cove_event *event = box_receive(p, COVE_EVENT_EXITED);
	CHECK_INT(event->exit.signal, ==, SIGINT);
	cove_stdin_free(in);
	cove_process_free(p);

	cove_output *out = box_shell(s, "cat; tty >/dev/null && echo tty",
				     EXEC(.tty = true, .stdin_mode = COVE_STDIN_BYTES,
					  .stdin_data = "typed\n", .stdin_bytes = 6));
	CHECK_CONTAINS(out->stdout_data, "typed\r\n");
	CHECK_CONTAINS(out->stdout_data, "tty\r\n");
	CHECK_INT(out->stderr_total, ==, 0);
	cove_output_free(out);
	box_stop(s);
}

/* ---- sessions that are there ---- */

static void test_open(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_open_options options = COVE_OPEN_OPTIONS_INIT;
	cove_sandbox *s = box_create("a", NULL);
	cove_process *p, *q;
	CHECK_COVE(cove_process_open(s, "unknown", NULL, &p, &err), &err);
	CHECK_INT(box_receive(p, COVE_EVENT_FAILED)->error->code, ==, COVE_E_NOT_FOUND);
	cove_process_free(p);

	p = box_stream(s, "echo one; while read line; do echo $line; done",
		       EXEC(PIPE_MODE, .id = "job"));
	box_receive(p, COVE_EVENT_STARTED);
	box_receive_text(p, "one\n");
	/* Another handle sees it from the start, from an offset, from now. */
	options.read_only = true;
	CHECK_COVE(cove_process_open(s, "job", &options, &q, &err), &err);
	box_receive(q, COVE_EVENT_STARTED);
	box_receive_text(q, "one\n");
	CHECK_INT(cove_process_kill(q, &err), ==, COVE_E_DENIED);
	cove_process_free(q);
	options.from = COVE_FROM_OFFSET;
	options.stdout_offset = 2;
	CHECK_COVE(cove_process_open(s, "job", &options, &q, &err), &err);
	box_receive(q, COVE_EVENT_STARTED);
	CHECK_INT(box_receive(q, COVE_EVENT_STDOUT)->offset, ==, 2);
	cove_process_free(q);
	options = (struct cove_open_options)COVE_OPEN_OPTIONS_INIT;
	options.from = COVE_FROM_NOW;
	CHECK_COVE(cove_process_open(s, "job", &options, &q, &err), &err);
	box_receive(q, COVE_EVENT_STARTED);
	/* It may type, and both see the answer; its end is the end for all. */
	cove_stdin *in = cove_process_take_stdin(q);
	CHECK_COVE(cove_stdin_write(in, "two\n", 4, &err), &err);
	box_receive_text(q, "two\n");
	box_receive_text(p, "two\n");
	CHECK(!cove_stdin_free(in));
	box_receive(q, COVE_EVENT_EXITED);
	box_receive(p, COVE_EVENT_EXITED);
	cove_process_free(q);
	cove_process_free(p);

	/* Ended: its result is there, once more; from now there is none of its output. */
	CHECK_COVE(cove_process_open(s, "job", NULL, &q, &err), &err);
	box_receive(q, COVE_EVENT_STARTED);
	box_receive_text(q, "one\ntwo\n");
	box_receive(q, COVE_EVENT_EXITED);
	cove_process_free(q);
	CHECK_COVE(cove_process_open(s, "job", &options, &q, &err), &err);
	box_receive(q, COVE_EVENT_STARTED);
	CHECK_INT(box_receive(q, COVE_EVENT_EXITED)->stdout_total, ==, 8);
	cove_process_free(q);
	box_stop(s);
}

static void test_gap(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = box_create("a", NULL);
	cove_output *out = box_shell(s, "seq 1 100000", EXEC(.id = "job", .replay_bytes = 4096));
	CHECK_INT(out->stdout_bytes, ==, 588895);
	CHECK(!out->limited);
	cove_output_free(out);
	/* Looked at later: what is not kept is a gap, and the rest is there. */
	for (unsigned way = 0; way < 2; way++) {
		cove_process *p;
		if (way == 0)
			p = box_stream(s, "seq 1 100000", EXEC(.id = "job"));
		else
			CHECK_COVE(cove_process_open(s, "job", NULL, &p, &err), &err);
		box_receive(p, COVE_EVENT_STARTED);
		const struct cove_event *event = box_receive(p, COVE_EVENT_GAP);
		CHECK_INT(event->stream, ==, COVE_STDOUT);
		CHECK_INT(event->offset, ==, 0);
		CHECK_INT(event->missing_bytes, >, 0);
		CHECK_INT(event->missing_bytes, <=, 588895 - 4096);
		uint64_t next = event->missing_bytes;
		while ((cove_process_recv(p, &event, 10000, &err)) == 1 &&
		       event->kind == COVE_EVENT_STDOUT) {
			CHECK_INT(event->offset, ==, next);
			next += event->bytes;
		}
		CHECK_INT(event->kind, ==, COVE_EVENT_EXITED);
		CHECK_INT(next, ==, 588895);
		cove_process_free(p);
	}
	out = box_shell(s, "seq 1 100000", EXEC(.id = "job"));
	CHECK_INT(out->stdout_bytes, >=, 4096);
	CHECK_INT(out->stdout_bytes, <, 588895);
	CHECK(out->limited);
	cove_output_free(out);
	box_stop(s);
}

/* A viewer that may lose output does not hold the command up, and knows what it has missed. */
static void test_lossy(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_open_options options = COVE_OPEN_OPTIONS_INIT;
	options.lossy = true;
	cove_sandbox *s = box_create("a", NULL);
	cove_process *p = box_stream(s, "read x; head -c 20000000 /dev/zero",
				     EXEC(.id = "job", .replay_bytes = 65536, PIPE_MODE));
	cove_process *q;
	box_receive(p, COVE_EVENT_STARTED);
	CHECK_COVE(cove_process_open(s, "job", &options, &q, &err), &err);
	box_receive(q, COVE_EVENT_STARTED);
	cove_stdin *in = cove_process_take_stdin(p);
	CHECK_COVE(cove_stdin_write(in, "\n", 1, &err), &err);
	cove_stdin_free(in);
	CHECK_COVE(cove_process_wait(p, -1, NULL, &err), &err);
	cove_process_free(p);
	uint64_t next = 0, missing = 0;
	const struct cove_event *event;
	while (cove_process_recv(q, &event, 10000, &err) == 1 && event->kind != COVE_EVENT_EXITED) {
		CHECK_INT(event->offset, ==, next);
		next += event->bytes + event->missing_bytes;
		missing += event->missing_bytes;
	}
	CHECK_INT(event->kind, ==, COVE_EVENT_EXITED);
	CHECK_INT(next, ==, 20000000);
	CHECK_INT(missing, >, 0);
	cove_process_free(q);
	box_stop(s);
}

static const struct tap_test tests[] = {
	{ "terminals", test_tty },
	{ "opening", test_open },
	{ "a gap", test_gap },
	{ "a viewer that may lose output", test_lossy, .timeout_s = 60 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
