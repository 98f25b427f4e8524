/* SPDX-License-Identifier: Apache-2.0 */
/* An interactive program, on a terminal of its own, driven by this one. */

#include <cove/cove.h>
#include <err.h>
#include <stdio.h>
#include <string.h>

/* What is typed, each when the prompt asks for it. */
static const char *const lines[] = { "print(2 + 2)\n", "exit()\n", NULL };
static const char prompt[] = ">>> ";

/* Types a line after each prompt. Output is cut anywhere, so a prompt may come in pieces. */
static int answer(cove_stdin *in, const char *data, size_t n, struct cove_error *error)
{
	static size_t line, matched;
	for (size_t i = 0; i < n; i++) {
		if (data[i] != prompt[matched])
			matched = 0;
		if (data[i] == prompt[matched])
			matched++;
		if (prompt[matched])
			continue;
		matched = 0;
		if (lines[line]) {
			int r = cove_stdin_write(in, lines[line], strlen(lines[line]), error);
			if (r < 0)
				return r;
			line++;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct cove_error error;
	struct cove_sandbox_options sandbox_options = COVE_SANDBOX_OPTIONS_INIT;
	sandbox_options.image = argc > 1 ? argv[1] : "python";

	cove_sandbox *sandbox;
	if (cove_sandbox_create(NULL, &sandbox_options, &sandbox, &error) < 0)
		errx(1, "%s", error.message);

	const char *const command[] = { "python", "-q", NULL };
	const char *const env[] = { "TERM=dumb", NULL }; /* plain text: nobody looks at it */
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.stdin_mode = COVE_STDIN_PIPE;
	options.tty = true;
	options.env = env;
	cove_process *process;
	if (cove_exec_stream(sandbox, command, &options, &process, &error) < 0)
		errx(1, "%s", error.message);
	cove_stdin *in = cove_process_take_stdin(process);

	const struct cove_event *event;
	int r, code = 1;
	while ((r = cove_process_recv(process, &event, -1, &error)) > 0) {
		if (event->kind == COVE_EVENT_STDOUT) { /* of a terminal: stderr as well */
			fwrite(event->data, 1, event->bytes, stdout);
			if (answer(in, event->data, event->bytes, &error) < 0)
				errx(1, "%s", error.message);
		} else if (event->kind == COVE_EVENT_EXITED) {
			code = event->exit.code;
		} else if (event->kind == COVE_EVENT_FAILED || event->kind == COVE_EVENT_LOST) {
			warnx("%s", event->error->message);
		}
	}
	if (r < 0)
		errx(1, "%s", error.message);

	cove_stdin_free(in);
	cove_process_free(process);
	cove_sandbox_free(sandbox);
	return code;
}
