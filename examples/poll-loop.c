/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fifty commands at a time, each with its own input and output, over one descriptor, in one thread,
 * with plain poll().
 */

#include <cove/cove.h>
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMANDS 50
#define BYTES	 200000 /* of input for each: more than is taken over at once */

struct command {
	cove_process *process;
	cove_stdin *in; /* NULL when it has been closed */
	size_t written;
	char answer[32];
	size_t answer_bytes;
};

static char input[BYTES];

/* False when it is to be tried again, after the next dispatch. */
static bool start(cove_sandbox *sandbox, struct command *c)
{
	struct cove_error error;
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.stdin_mode = COVE_STDIN_PIPE;
	options.flags = COVE_EXEC_NONBLOCK;
	options.user_data = c;
	const char *const argv[] = { "wc", "-c", NULL };
	int r = cove_exec_stream(sandbox, argv, &options, &c->process, &error);
	if (r == COVE_E_AGAIN)
		return false;
	if (r < 0)
		errx(1, "%s", error.message);
	c->in = cove_process_take_stdin(c->process);
	return true;
}

static void feed(struct command *c)
{
	struct cove_error error;
	while (c->in) {
		size_t n;
		int r = cove_stdin_try_write(c->in, input + c->written, BYTES - c->written, &n,
					     &error);
		if (r == COVE_E_AGAIN)
			return; /* dispatch names this command when there is room again */
		if (r < 0)
			errx(1, "%s", error.message);
		c->written += n;
		if (c->written == BYTES)
			c->in = cove_stdin_free(c->in); /* closes it: the end of the file */
	}
}

/* True when that was the last of it. */
static bool receive(struct command *c)
{
	struct cove_error error;
	const struct cove_event *event;
	int r;
	while ((r = cove_process_try_recv(c->process, &event, &error)) > 0) {
		switch (event->kind) {
		case COVE_EVENT_STDOUT:
			if (event->bytes > sizeof(c->answer) - 1 - c->answer_bytes)
				errx(1, "%s: a long answer", event->id);
			memcpy(c->answer + c->answer_bytes, event->data, event->bytes);
			c->answer_bytes += event->bytes;
			break;
		case COVE_EVENT_EXITED:
			if (!cove_exit_success(&event->exit))
				errx(1, "%s: %s %d", event->id, cove_cause_name(event->exit.cause),
				     event->exit.code);
			if (strtol(c->answer, NULL, 10) != BYTES)
				errx(1, "%s counted %s", event->id, c->answer);
			break;
		case COVE_EVENT_FAILED:
		case COVE_EVENT_LOST:
			errx(1, "%s", event->error->message);
		default:
			break;
		}
	}
	if (r == COVE_E_AGAIN)
		return false; /* nothing more for now */
	if (r < 0)
		errx(1, "%s", error.message);
	return true;
}

int main(void)
{
	struct cove_error error;
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	options.image = "busybox";

	cove_sandbox *sandbox;
	if (cove_sandbox_create(NULL, &options, &sandbox, &error) < 0)
		errx(1, "%s", error.message);
	struct pollfd p = { .fd = cove_sandbox_fd(sandbox, &error) };
	if (p.fd < 0)
		errx(1, "%s", error.message);

	static struct command commands[COMMANDS];
	int started = 0, ended = 0;
	while (ended < COMMANDS) {
		while (started < COMMANDS && start(sandbox, &commands[started]))
			feed(&commands[started++]);

		p.events = cove_sandbox_events(sandbox); /* asked anew each time */
		if (poll(&p, 1, -1) < 0 && errno != EINTR)
			err(1, "poll");

		cove_process *ready[16];
		int n = cove_sandbox_dispatch(sandbox, ready, 16, &error);
		if (n < 0)
			errx(1, "%s", error.message);
		for (int i = 0; i < n; i++) {
			struct command *c = cove_process_user_data(ready[i]);
			feed(c);
			if (receive(c)) {
				c->process = cove_process_free(c->process);
				ended++;
			}
		}
	}
	printf("%d commands have counted %d bytes each\n", ended, BYTES);

	cove_sandbox_free(sandbox);
	return 0;
}
