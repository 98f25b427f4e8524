/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/execute.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "base/error.h"

/*
 * The command takes no more. What feeds us should see that as if it fed the command itself: the
 * reading end of its pipe is closed.
 */
static void drop_stdin(void)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		close(null);
	}
}

/* 0 at the end, and when there is no stdin. Negative errno. */
static ssize_t read_some(struct pump *pump)
{
	for (;;) {
		ssize_t n = read(STDIN_FILENO, pump->buffer, sizeof(pump->buffer));
		if (n >= 0)
			return n;
		if (errno == EBADF) /* closed before we were started: see main.c */
			return 0;
		if (errno == EAGAIN) { /* somebody made our end of a pipe nonblocking */
			struct pollfd wait = { .fd = STDIN_FILENO, .events = POLLIN };
			poll(&wait, 1, -1);
		} else if (errno != EINTR) {
			return -errno;
		}
	}
}

static void *pump_run(void *data)
{
	struct pump *pump = data;
	ssize_t n;

	while ((n = read_some(pump)) > 0)
		if (cove_stdin_write(pump->in, pump->buffer, (size_t)n, NULL) < 0) {
			/* No failure of ours: the command's output and end are what counts. */
			drop_stdin();
			break;
		}
	if (n < 0) {
		/* Before the end of file, so that it is known when the command ends of that. */
		atomic_store(&pump->failed, true);
		cli_note(pump->command, "cannot read stdin: %s", error_errno_text((int)-n));
	}
	/* Said, since free leaves it open where others may go on writing. */
	cove_stdin_close(pump->in, NULL);
	cove_stdin_free(pump->in);
	return NULL;
}

int pump_start(struct pump *pump, const struct cli_command *command, cove_stdin *in)
{
	pump->command = command;
	pump->in = in;
	return execute_start_thread(pump_run, pump);
}
