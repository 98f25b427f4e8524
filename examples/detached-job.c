/* SPDX-License-Identifier: Apache-2.0 */
/* A job is started and left; another process comes back to it, to the byte, and takes its result. */

#include <cove/cove.h>
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char job[] =
	"for i in 1 2 3 4 5; do echo part $i; sleep 0.2; done; echo warm >&2; exit 3";

/* Starts it in a sandbox that outlives this process, looks at the first bytes, and leaves. */
static uint64_t start(const char *name)
{
	struct cove_error error;
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	options.image = "busybox";
	options.detached = true;
	cove_sandbox *sandbox;
	if (cove_sandbox_create(name, &options, &sandbox, &error) < 0)
		errx(1, "%s", error.message);

	/* With an id of its own, it would not be started twice, however often this is tried. */
	struct cove_exec_options exec = COVE_EXEC_OPTIONS_INIT;
	exec.id = "job-1";
	cove_process *process;
	if (cove_shell_stream(sandbox, job, &exec, &process, &error) < 0)
		errx(1, "%s", error.message);

	uint64_t offset = 0;
	const struct cove_event *event;
	while (offset == 0) {
		if (cove_process_recv(process, &event, -1, &error) <= 0)
			errx(1, "%s", error.message);
		if (event->kind == COVE_EVENT_FAILED || event->kind == COVE_EVENT_LOST)
			errx(1, "%s", event->error->message);
		if (event->kind != COVE_EVENT_STDOUT)
			continue;
		printf("first: %.*s", (int)event->bytes, (const char *)event->data);
		offset = event->offset + event->bytes;
	}
	cove_process_free(process); /* the job runs on */
	cove_sandbox_free(sandbox);
	return offset;
}

static int come_back(const char *name, uint64_t offset)
{
	struct cove_error error;
	cove_sandbox *sandbox;
	if (cove_sandbox_connect(name, &sandbox, &error) < 0)
		errx(1, "%s", error.message);

	struct cove_open_options options = COVE_OPEN_OPTIONS_INIT;
	options.from = COVE_FROM_OFFSET;
	options.stdout_offset = offset;
	cove_process *process;
	if (cove_process_open(sandbox, "job-1", &options, &process, &error) < 0)
		errx(1, "%s", error.message);
	const struct cove_event *event;
	int r;
	while ((r = cove_process_recv(process, &event, -1, &error)) > 0) {
		if (event->kind == COVE_EVENT_STDOUT)
			printf("then: %.*s", (int)event->bytes, (const char *)event->data);
		else if (event->kind == COVE_EVENT_GAP) /* had it written more than is kept */
			printf("%" PRIu64 " bytes are lost\n", event->missing_bytes);
		else if (event->kind == COVE_EVENT_FAILED || event->kind == COVE_EVENT_LOST)
			warnx("%s", event->error->message);
	}
	if (r < 0)
		errx(1, "%s", error.message);
	cove_process_free(process);

	/* All of it at once; and from now on the sandbox need not remember it. */
	cove_output *out;
	if (cove_session_collect(sandbox, "job-1", &out, &error) < 0)
		errx(1, "%s", error.message);
	printf("in all: %zu bytes, %zu of them on stderr, code %d\n",
	       out->stdout_bytes + out->stderr_bytes, out->stderr_bytes, out->exit.code);
	cove_output_free(out);
	if (cove_session_wait(sandbox, "job-1", 0, NULL, &error) == COVE_E_GONE)
		printf("collected\n");

	cove_sandbox_stop(sandbox, NULL, NULL);
	cove_sandbox_remove(name, true, NULL);
	cove_sandbox_free(sandbox);
	return 0;
}

int main(void)
{
	char name[32];
	uint64_t offset;
	int fds[2];
	snprintf(name, sizeof(name), "job-%d", (int)getpid());
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		err(1, "socketpair");

	/* Two processes that know of each other the name, the id and the offset, and no more. */
	pid_t pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (pid == 0) {
		offset = start(name);
		fflush(stdout);
		_exit(write(fds[1], &offset, sizeof(offset)) != sizeof(offset));
	}
	close(fds[1]);
	if (read(fds[0], &offset, sizeof(offset)) != sizeof(offset))
		errx(1, "the job was not started");
	waitpid(pid, NULL, 0);
	return come_back(name, offset);
}
