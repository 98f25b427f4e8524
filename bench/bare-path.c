/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PID 1 of the machine that streams are held against: it does for one command what the agent does,
 * and nothing else. The same kernel, drivers, port, pipes and commands, moved in the same portions,
 * but no frames, no credit, no replay ring, no event loop.
 *
 * The way to the port is the agent's own (agent/boot.h), so the two machines cannot drift apart.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/boot.h"
#include "bare.h"
#include "base/fd.h"

/* As large as the agent makes the pipe of a command that writes much. More is no quicker. */
#define PIPE_BYTES (1024 * 1024)

static char chunk[BARE_CHUNK];

static void check(int r, const char *what)
{
	if (r < 0)
		err(1, "%s", what);
}

static void make_pipe(int ends[2])
{
	check(pipe2(ends, O_CLOEXEC), "pipe");
	check(fcntl(ends[0], F_SETPIPE_SZ, PIPE_BYTES), "F_SETPIPE_SZ");
}

static pid_t start(int in, int out, const char *const *argv)
{
	pid_t pid = fork();
	check(pid, "fork");
	if (pid == 0) {
		check(dup2(in, 0), "dup2");
		check(dup2(out, 1), "dup2");
		execv("/busybox", (char *const *)argv);
		err(127, "/busybox");
	}
	return pid;
}

static void wait_for(pid_t pid)
{
	int status;
	check(waitpid(pid, &status, 0), "waitpid");
	if (status != 0)
		errx(1, "the command ended with %#x", status);
}

static void move_out(int port, uint64_t bytes)
{
	int ends[2];
	char count[32];
	make_pipe(ends);
	snprintf(count, sizeof(count), "count=%llu", (unsigned long long)bytes / BARE_CHUNK);
	pid_t pid = start(0, ends[1],
			  (const char *const[]){ "dd", "if=/dev/zero", "bs=64k", count, NULL });
	close(ends[1]);
	for (ssize_t n; (n = read(ends[0], chunk, sizeof(chunk))) > 0;)
		check(fd_write_full(port, chunk, (size_t)n), "writing to the port");
	close(ends[0]);
	wait_for(pid);
}

/*
 * What there is, at most n bytes, but something. The driver gives no more than a page at a time, and
 * a command woken for each would cost more than all the rest.
 */
static size_t take(int port, size_t n)
{
	struct pollfd p = { .fd = port, .events = POLLIN };
	size_t got = 0;
	while (got < n) {
		ssize_t k = read(port, chunk + got, n - got);
		if (k > 0)
			got += (size_t)k;
		else if (k == 0 || errno != EAGAIN)
			err(1, "reading from the port");
		else if (got > 0)
			break;
		else
			check(poll(&p, 1, -1), "poll");
	}
	return got;
}

static void move_in(int port, uint64_t bytes)
{
	int ends[2];
	make_pipe(ends);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	pid_t pid = start(ends[0], null, (const char *const[]){ "cat", NULL });
	close(ends[0]);
	check(fd_set_nonblocking(port, true), "the port");
	while (bytes > 0) {
		size_t n = take(port, MIN(bytes, sizeof(chunk)));
		check(fd_write_full(ends[1], chunk, n), "writing to the pipe");
		bytes -= n;
	}
	check(fd_set_nonblocking(port, false), "the port");
	close(ends[1]);
	wait_for(pid);
	close(null);
	check(fd_write_full(port, "", 1), "writing to the port");
}

static int open_port(void)
{
	struct cove_error error;
	int devices, port;
	if (boot_mount_kernel_filesystems(&error) < 0)
		errx(1, "%s", error.message);
	boot_open_console();
	if (boot_listen_for_devices(&devices, &error) < 0 || boot_load_modules(&error) < 0 ||
	    boot_open_port(devices, &port, &error) < 0)
		errx(1, "%s", error.message);
	close(devices);
	check(fd_set_nonblocking(port, false), "the port");
	return port;
}

int main(void)
{
	if (getpid() != 1)
		errx(2, "this is for a machine of its own");
	int port = open_port();
	check(fd_write_full(port, "", 1), "writing to the port"); /* ready */
	for (struct bare_request request;;) {
		if (fd_read_full(port, &request, sizeof(request)) < 0)
			errx(1, "no more requests");
		if (request.what == BARE_OUT)
			move_out(port, request.bytes);
		else if (request.what == BARE_IN)
			move_in(port, request.bytes);
		else
			check(fd_write_full(port, "", 1), "writing to the port");
	}
}
