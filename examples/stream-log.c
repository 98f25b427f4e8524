/* SPDX-License-Identifier: Apache-2.0 */
/* Follows a log while it grows, and ends that from outside when it has seen enough. */

#include <cove/cove.h>
#include <err.h>
#include <stdio.h>

#define ENOUGH 5 /* lines */

/* Whether it is enough with these bytes, and was not before. */
static bool enough_now(const char *data, size_t n)
{
	static unsigned lines;
	unsigned before = lines;
	for (size_t i = 0; i < n; i++)
		lines += data[i] == '\n';
	return before < ENOUGH && lines >= ENOUGH;
}

int main(void)
{
	struct cove_error error;
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	options.image = "busybox";

	cove_sandbox *sandbox;
	if (cove_sandbox_create(NULL, &options, &sandbox, &error) < 0)
		errx(1, "%s", error.message);

	/* Something that writes a log; it goes on when the command that started it has ended. */
	static const char writer[] = "mkdir -p /var/log && exec >/var/log/app.log 2>&1 && "
				     "{ while date; do sleep 0.1; done & }";
	cove_output *out;
	if (cove_shell(sandbox, writer, NULL, &out, &error) < 0)
		errx(1, "%s", error.message);
	cove_output_free(out);

	const char *const command[] = { "tail", "-f", "/var/log/app.log", NULL };
	cove_process *process;
	if (cove_exec_stream(sandbox, command, NULL, &process, &error) < 0)
		errx(1, "%s", error.message);
	cove_control *control = cove_process_control(process);

	const struct cove_event *event;
	int r, status = 1;
	while ((r = cove_process_recv(process, &event, -1, &error)) > 0) {
		switch (event->kind) {
		case COVE_EVENT_STDOUT: /* any number of bytes, cut anywhere */
			fwrite(event->data, 1, event->bytes, stdout);
			fflush(stdout);
			if (enough_now(event->data, event->bytes) &&
			    cove_control_kill(control, &error) < 0)
				errx(1, "%s", error.message);
			break;
		case COVE_EVENT_STDERR:
			fwrite(event->data, 1, event->bytes, stderr);
			break;
		case COVE_EVENT_EXITED: /* what was written before the kill has come by now */
			printf("%s\n", cove_cause_name(event->exit.cause));
			status = event->exit.cause == COVE_CAUSE_KILLED ? 0 : 1;
			break;
		case COVE_EVENT_FAILED: /* it was not started */
		case COVE_EVENT_LOST:	/* the sandbox is gone: how it ended is not known */
			warnx("%s", event->error->message);
			break;
		default:
			break;
		}
	}
	if (r < 0)
		errx(1, "%s", error.message);

	cove_control_unref(control);
	cove_process_free(process);
	cove_sandbox_free(sandbox);
	return status;
}
