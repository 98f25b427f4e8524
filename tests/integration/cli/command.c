/* SPDX-License-Identifier: Apache-2.0 */
#include "integration/cli/command.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "harness/tap.h"

#define OUTPUT_MAX (512u * 1024 * 1024) /* far above what any test makes */
#define CHUNK	   65536

static const char *join(char *buffer, const char *variable, const char *path)
{
	const char *folder = getenv(variable);
	CHECK(folder);
	CHECK_INT(snprintf(buffer, PATH_MAX, "%s/%s", folder, path), <, PATH_MAX);
	return buffer;
}

const char *command_source_path(const char *path)
{
	static char buffer[PATH_MAX];
	return join(buffer, "COVE_SOURCE_DIR", path);
}

const char *command_build_path(const char *path)
{
	static char buffer[PATH_MAX];
	return join(buffer, "COVE_BUILD_DIR", path);
}

void command_done(struct command *c)
{
	free(c->out);
	free(c->err);
	*c = (struct command){ 0 };
}

void command_start_from(struct command *c, int stdin_fd, const char *const *argv)
{
	int out[2], err[2];
	const char *program = argv[0];

	command_done(c);
	CHECK_SYS(pipe2(out, O_CLOEXEC));
	CHECK_SYS(pipe2(err, O_CLOEXEC));
	if (!strncmp(program, "cove", 4))
		program = command_build_path(program);
	pid_t pid = fork();
	CHECK_SYS(pid);
	if (pid == 0) {
		if (stdin_fd > 0)
			dup2(stdin_fd, STDIN_FILENO);
		else if (stdin_fd < 0)
			close(STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		dup2(err[1], STDERR_FILENO);
		execvp(program, (char *const *)argv);
		_exit(127);
	}
	close(out[1]);
	close(err[1]);
	c->pid = pid;
	c->out_fd = out[0];
	c->err_fd = err[0];
}

void command_start(struct command *c, const char *const *argv)
{
	command_start_from(c, STDIN_FILENO, argv);
}

void command_start_piped(struct command *c, const char *const *argv)
{
	int in[2];

	CHECK_SYS(pipe2(in, O_CLOEXEC));
	command_start_from(c, in[0], argv);
	close(in[0]);
	c->in_fd = in[1];
}

static void expect(int fd, const char *text, const char *stream)
{
	char got[256];
	size_t n = 0, size = strlen(text);
	unsigned long long deadline = tap_deadline(COMMAND_WAIT_MS);

	CHECK_INT(size, <, sizeof(got));
	while (n < size) {
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		CHECK_SYS(poll(&wait, 1, 100));
		if (!wait.revents) {
			if (!tap_before(deadline))
				tap_fail(__FILE__, __LINE__,
					 "%s has only \"%.*s\" instead of \"%s\"", stream, (int)n,
					 got, text);
			continue;
		}
		ssize_t k = read(fd, got + n, size - n);
		CHECK_SYS(k);
		if (k == 0)
			tap_fail(__FILE__, __LINE__, "%s ended after \"%.*s\" instead of \"%s\"",
				 stream, (int)n, got, text);
		n += (size_t)k;
	}
	got[n] = 0;
	if (strcmp(got, text) != 0)
		tap_fail(__FILE__, __LINE__, "%s is \"%s\" instead of \"%s\"", stream, got, text);
}

void command_expect(struct command *c, const char *text)
{
	expect(c->out_fd, text, "stdout");
}

void command_expect_err(struct command *c, const char *text)
{
	expect(c->err_fd, text, "stderr");
}

void command_write(struct command *c, const void *data, size_t n)
{
	CHECK_OK(fd_write_full(c->in_fd, data, n));
}

void command_close_in(struct command *c)
{
	if (c->in_fd > 0)
		fd_close(c->in_fd);
	c->in_fd = 0;
}

void command_close_out(struct command *c)
{
	c->out_fd = fd_close(c->out_fd);
}

static int unread(int fd)
{
	int n;
	CHECK_SYS(ioctl(fd, FIONREAD, &n));
	return n;
}

void command_wait_blocked(struct command *c)
{
	int capacity = fcntl(c->out_fd, F_GETPIPE_SZ);
	CHECK_SYS(capacity);
	/* Its last page may be less than full: writers put what fits into pages of their own. */
	CHECK_WITHIN(unread(c->out_fd) > capacity - 2 * 4096, COMMAND_WAIT_MS);
}

static char *read_status(pid_t pid)
{
	char path[64], *text = NULL;
	size_t size;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	CHECK_OK(fd_read_file(AT_FDCWD, path, 1 << 20, true, &text, &size));
	return text;
}

static bool is_pending(pid_t pid, int signal)
{
	static const char name[] = "\nShdPnd:";
	_cleanup_free_ char *text = read_status(pid);
	const char *line = strstr(text, name);
	/* What has ended of it keeps it for good. */
	return line && !strstr(text, "State:\tZ") &&
	       strtoull(line + strlen(name), NULL, 16) >> (signal - 1) & 1;
}

void command_signal(const struct command *c, int signal)
{
	CHECK_SYS(kill(c->pid, signal));
	CHECK_WITHIN(!is_pending(c->pid, signal), COMMAND_WAIT_MS);
}

size_t command_peak_bytes(const struct command *c)
{
	_cleanup_free_ char *text = read_status(c->pid);
	const char *line = strstr(text, "VmHWM:");
	size_t kib = 0;
	CHECK(line && sscanf(line, "VmHWM: %zu", &kib) == 1);
	return kib * 1024;
}

/* False at the end. */
static bool read_some(int fd, struct buffer *b)
{
	uint8_t *end;
	CHECK_OK(buffer_reserve(b, CHUNK, &end));
	ssize_t n = read(fd, end, CHUNK);
	CHECK_SYS(n);
	buffer_commit(b, (size_t)n);
	return n > 0;
}

static char *take_text(struct buffer *b, size_t *ret_size)
{
	CHECK_OK(buffer_append(b, "", 1));
	char *text = malloc(b->size);
	CHECK(text);
	memcpy(text, buffer_front(b), b->size);
	*ret_size = b->size - 1;
	buffer_done(b);
	return text;
}

void command_finish(struct command *c)
{
	struct buffer buffers[2];
	struct pollfd fds[2] = { { c->out_fd, POLLIN, 0 }, { c->err_fd, POLLIN, 0 } };
	int status;

	command_close_in(c);
	for (int i = 0; i < 2; i++)
		buffer_init(&buffers[i], OUTPUT_MAX);
	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		CHECK_SYS(poll(fds, 2, -1));
		for (int i = 0; i < 2; i++)
			if (fds[i].revents && !read_some(fds[i].fd, &buffers[i]))
				fds[i].fd = fd_close(fds[i].fd);
	}
	c->out = take_text(&buffers[0], &c->out_size);
	c->err = take_text(&buffers[1], &c->err_size);
	CHECK_INT(waitpid(c->pid, &status, 0), ==, c->pid);
	c->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
	c->pid = 0;
}

void command_run(struct command *c, const char *const *argv)
{
	command_start(c, argv);
	command_finish(c);
}

void command_create_box(const char *image)
{
	_cleanup_(command_done) struct command c = { 0 };
	char variable[PATH_MAX];

	CHECK_INT(snprintf(variable, sizeof(variable), "T=%s", tap_dir()), <, PATH_MAX);
	COVE(&c, "create", "-n", "box", "-e", variable, image);
	CHECK_COMMAND(&c, 0, "box\n", "");
}

void command_remove_box(void)
{
	_cleanup_(command_done) struct command c = { 0 };
	COVE(&c, "rm", "--force", "box");
	CHECK_COMMAND(&c, 0, "box\n", "");
	COVE(&c, "ls", "-aq");
	CHECK_COMMAND(&c, 0, "", "");
}

void command_check(const char *file, int line, const struct command *c, int status, const char *out,
		   const char *err_part)
{
	if (c->status != status)
		tap_fail(file, line,
			 "exit status %d instead of %d; stdout: \"%.200s\" stderr: \"%.400s\"",
			 c->status, status, c->out, c->err);
	if (out && (strlen(out) != c->out_size || memcmp(out, c->out, c->out_size) != 0))
		tap_fail(file, line,
			 "stdout is \"%.400s\" instead of \"%.400s\"; stderr: \"%.400s\"", c->out,
			 out, c->err);
	if (err_part && !*err_part && c->err_size)
		tap_fail(file, line, "stderr is not empty: \"%.400s\"", c->err);
	if (err_part && !strstr(c->err, err_part))
		tap_fail(file, line, "stderr is \"%.400s\" without \"%s\"", c->err, err_part);
}
