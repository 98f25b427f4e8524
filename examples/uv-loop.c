/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three sessions in the event loop of libuv. A timer types a line into each of them, again and
 * again, and what they answer is printed as it comes.
 */

#include <cove/cove.h>
#include <err.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#define SESSIONS 3
#define LINES	 3
#define TICK_MS	 100

struct session {
	int number;
	cove_process *process;
	cove_stdin *in;
};

static cove_sandbox *sandbox;
static struct session sessions[SESSIONS];
static int running;
static uv_poll_t watcher;
static uv_timer_t timer;

static void on_ready(uv_poll_t *handle, int status, int events);

/* What to poll for changes with every call on the sandbox, so each callback ends with this. */
static void watch(void)
{
	if (running == 0) {
		uv_close((uv_handle_t *)&watcher, NULL);
		uv_close((uv_handle_t *)&timer, NULL);
		return;
	}
	short events = cove_sandbox_events(sandbox);
	uv_poll_start(&watcher,
		      (events & POLLIN ? UV_READABLE : 0) | (events & POLLOUT ? UV_WRITABLE : 0),
		      on_ready);
}

static void receive(struct session *s)
{
	struct cove_error error;
	const struct cove_event *event;
	int r;
	while ((r = cove_process_try_recv(s->process, &event, &error)) > 0) {
		if (event->kind == COVE_EVENT_STDOUT) {
			fwrite(event->data, 1, event->bytes, stdout);
		} else if (event->kind == COVE_EVENT_EXITED) {
			printf("%d: code %d\n", s->number, event->exit.code);
		} else if (event->kind == COVE_EVENT_FAILED || event->kind == COVE_EVENT_LOST) {
			errx(1, "%s", event->error->message);
		}
	}
	if (r == COVE_E_AGAIN)
		return;
	if (r < 0)
		errx(1, "%s", error.message);
	s->in = cove_stdin_free(s->in);
	s->process = cove_process_free(s->process);
	running--;
}

static void on_ready(uv_poll_t *handle, int status, int events)
{
	(void)handle, (void)status, (void)events; /* dispatch finds out by itself */
	struct cove_error error;
	cove_process *ready[8];
	int n = cove_sandbox_dispatch(sandbox, ready, 8, &error);
	if (n < 0)
		errx(1, "%s", error.message);
	for (int i = 0; i < n; i++)
		receive(cove_process_user_data(ready[i]));
	watch();
}

static void on_tick(uv_timer_t *handle)
{
	static int tick;
	struct cove_error error;
	char line[32];
	int length = snprintf(line, sizeof(line), "tick %d\n", ++tick);
	for (int i = 0; i < SESSIONS; i++) {
		struct session *s = &sessions[i];
		size_t n;
		if (!s->in) /* it has ended */
			continue;
		if (tick > LINES) {
			s->in = cove_stdin_free(s->in); /* the end of its input */
			continue;
		}
		/* So little always finds room here: the last line was read long ago. */
		if (cove_stdin_try_write(s->in, line, (size_t)length, &n, &error) < 0)
			errx(1, "%s", error.message);
	}
	if (tick > LINES)
		uv_timer_stop(handle);
	watch();
}

static void start(struct session *s)
{
	struct cove_error error;
	char name[16];
	snprintf(name, sizeof(name), "NAME=%d", s->number);
	const char *const env[] = { name, NULL };
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.env = env;
	options.stdin_mode = COVE_STDIN_PIPE;
	options.flags = COVE_EXEC_NONBLOCK;
	options.user_data = s;
	if (cove_shell_stream(sandbox,
			      "while read -r line; do echo \"$NAME: $line!\"; done; exit 5",
			      &options, &s->process, &error) < 0)
		errx(1, "%s", error.message);
	s->in = cove_process_take_stdin(s->process);
	running++;
}

int main(void)
{
	struct cove_error error;
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	options.image = "busybox";
	if (cove_sandbox_create(NULL, &options, &sandbox, &error) < 0)
		errx(1, "%s", error.message);

	uv_loop_t *loop = uv_default_loop();
	int fd = cove_sandbox_fd(sandbox, &error);
	if (fd < 0)
		errx(1, "%s", error.message);
	if (uv_poll_init(loop, &watcher, fd) < 0 || uv_timer_init(loop, &timer) < 0)
		errx(1, "libuv");

	for (int i = 0; i < SESSIONS; i++) {
		sessions[i].number = i;
		start(&sessions[i]);
	}
	uv_timer_start(&timer, on_tick, TICK_MS, TICK_MS);
	watch();
	uv_run(loop, UV_RUN_DEFAULT);
	uv_loop_close(loop);

	cove_sandbox_free(sandbox);
	return 0;
}
