/* SPDX-License-Identifier: Apache-2.0 */
/* One thread receives what a command writes; another one acts on the command. */

#include <cove/cove.h>
#include <err.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>

/* Says a line for each of the things that happen to it, and does not end by itself. */
static const char script[] = "trap 'stty size' WINCH\n"
			     "trap 'echo interrupted' INT\n"
			     "echo ready\n"
			     "while :; do sleep 1000 & wait $!; done\n";

struct steering {
	cove_control *control;
	sem_t lines; /* lines that came and were not waited for */
};

/* Each of the calls returns when the guest has done it, so an error is one of that moment. */
static void *steer(void *data)
{
	struct steering *s = data;
	struct cove_error error;

	sem_wait(&s->lines);
	if (cove_control_resize(s->control, 50, 132, &error) < 0)
		errx(1, "resize: %s", error.message);
	sem_wait(&s->lines);
	if (cove_control_signal(s->control, SIGINT, &error) < 0)
		errx(1, "signal: %s", error.message);
	sem_wait(&s->lines);
	if (cove_control_kill(s->control, &error) < 0) /* with what it has started */
		errx(1, "kill: %s", error.message);
	cove_control_unref(s->control);
	return NULL;
}

int main(void)
{
	struct cove_error error;
	struct cove_sandbox_options sandbox_options = COVE_SANDBOX_OPTIONS_INIT;
	sandbox_options.image = "busybox";

	cove_sandbox *sandbox;
	if (cove_sandbox_create(NULL, &sandbox_options, &sandbox, &error) < 0)
		errx(1, "%s", error.message);

	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.tty = true;
	cove_process *process;
	if (cove_shell_stream(sandbox, script, &options, &process, &error) < 0)
		errx(1, "%s", error.message);

	/* A reference of its own: it would stay good even if the process were freed first. */
	struct steering s = { .control = cove_process_control(process) };
	sem_init(&s.lines, 0, 0);
	pthread_t thread;
	if (pthread_create(&thread, NULL, steer, &s) != 0)
		errx(1, "no thread");

	const struct cove_event *event;
	bool killed = false;
	int r;
	while ((r = cove_process_recv(process, &event, -1, &error)) > 0) {
		if (event->kind == COVE_EVENT_STDOUT) {
			const char *data = event->data;
			fwrite(data, 1, event->bytes, stdout);
			for (size_t i = 0; i < event->bytes; i++)
				if (data[i] == '\n')
					sem_post(&s.lines);
		} else if (event->kind == COVE_EVENT_EXITED) {
			printf("%s\n", cove_cause_name(event->exit.cause));
			killed = event->exit.cause == COVE_CAUSE_KILLED;
		} else if (event->kind == COVE_EVENT_FAILED || event->kind == COVE_EVENT_LOST) {
			errx(1, "%s", event->error->message);
		}
	}
	if (r < 0)
		errx(1, "%s", error.message);
	if (!killed)
		return 1;

	pthread_join(thread, NULL);
	sem_destroy(&s.lines);
	cove_process_free(process);
	cove_sandbox_free(sandbox);
	return 0;
}
