/* SPDX-License-Identifier: Apache-2.0 */
/* Where a command's output goes: all of it, its head, its tail; and where nobody takes it. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/execute.h"
#include "harness/failing-alloc.h"
#include "harness/tap.h"

#define MODEL_BYTES 300000

static char noted[512];

/* In the place of report.c. */
void cli_note(_unused_ const struct cli_command *command, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(noted, sizeof(noted), format, args);
	va_end(args);
}

static struct sink sink_to(int fd, enum cove_output_policy policy, uint64_t limit)
{
	return (struct sink){ .fd = fd, .policy = policy, .limit = limit };
}

static int open_file(const char *path)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
	CHECK_SYS(fd);
	return fd;
}

static void check_file(const char *path, const uint8_t *expected, size_t size)
{
	char *text = NULL;
	size_t n;
	CHECK_OK(fd_read_file(AT_FDCWD, path, MODEL_BYTES, true, &text, &n));
	CHECK_MEM(text, n, expected, size);
	free(text);
}

/* Pieces of all sizes, against what the policy says of the whole. */
static void check_policy(enum cove_output_policy policy, size_t limit, unsigned seed)
{
	static uint8_t model[MODEL_BYTES];
	static const size_t largest[] = { 1, 100, 5000, 70000, MODEL_BYTES };
	const char *path = tap_path("out");
	int fd = open_file(path);
	struct sink sink = sink_to(fd, policy, limit);
	size_t most = largest[seed % ARRAY_SIZE(largest)], size = most == 1 ? 3000 : MODEL_BYTES;

	srand(seed);
	for (size_t i = 0; i < size; i++)
		model[i] = (uint8_t)rand();
	for (size_t offset = 0, n; offset < size; offset += n) {
		n = 1 + (size_t)rand() % most;
		n = MIN(n, size - offset);
		CHECK(sink_put(&sink, model + offset, n));
		CHECK_INT(sink.tail_capacity, <=, limit);
	}
	sink_end(&sink);
	CHECK(!sink.closed && !sink.failed && !sink.tail);
	size_t kept = policy == COVE_OUTPUT_KILL ? size : MIN(size, limit);
	check_file(path, policy == COVE_OUTPUT_TAIL ? model + size - kept : model, kept);
	if (policy != COVE_OUTPUT_KILL)
		CHECK_INT(sink.written, ==, kept);
	close(fd);
}

static void test_policies(void)
{
	static const size_t limits[] = { 1,	2,	3,	1000,	65535,	     65536,
					 65537, 131072, 131073, 299999, MODEL_BYTES, 1ULL << 60 };
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		for (unsigned seed = 0; seed < 10; seed++) {
			check_policy(COVE_OUTPUT_HEAD, limits[i], seed);
			check_policy(COVE_OUTPUT_TAIL, limits[i], seed);
			check_policy(COVE_OUTPUT_KILL, limits[i], seed);
		}
}

/* Nobody reads: nothing to say, and what still comes is dropped. */
static void test_closed(void)
{
	int fds[2];

	CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
	CHECK_SYS(pipe2(fds, O_CLOEXEC));
	struct sink sink = sink_to(fds[1], COVE_OUTPUT_KILL, 0);
	CHECK(sink_put(&sink, "x", 1));
	close(fds[0]);
	CHECK(!sink_put(&sink, "x", 1));
	CHECK(sink.closed && !sink.failed);
	CHECK(sink_put(&sink, "x", 1)); /* said once */
	sink_end(&sink);
	CHECK_STR(noted, "");
	close(fds[1]);

	/* A tail meets it at the end. */
	CHECK_SYS(pipe2(fds, O_CLOEXEC));
	close(fds[0]);
	sink = sink_to(fds[1], COVE_OUTPUT_TAIL, 10);
	CHECK(sink_put(&sink, "x", 1));
	sink_end(&sink);
	CHECK(sink.closed && !sink.failed && !sink.tail);
	close(fds[1]);
}

static void test_failed(void)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	CHECK_SYS(fd);
	struct sink sink = sink_to(fd, COVE_OUTPUT_KILL, 0);
	CHECK(!sink_put(&sink, "x", 1));
	CHECK(sink.closed && sink.failed);
	CHECK_STR(noted, "cannot write to stderr: No space left on device");
	noted[0] = 0;
	CHECK(sink_put(&sink, "x", 1));
	sink_end(&sink);
	CHECK_STR(noted, "");
	close(fd);
}

/* Others share our end of the pipe, and made it nonblocking. */
static void test_nonblocking(void)
{
	static uint8_t data[1 << 20];
	int fds[2], status;

	CHECK_SYS(pipe2(fds, O_CLOEXEC));
	CHECK_OK(fd_set_nonblocking(fds[1], true));
	pid_t pid = fork();
	CHECK_SYS(pid);
	if (pid == 0) {
		close(fds[0]);
		struct sink sink = sink_to(fds[1], COVE_OUTPUT_KILL, 0);
		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = (uint8_t)(i ^ i >> 8);
		_exit(sink_put(&sink, data, sizeof(data)) ? 0 : 1);
	}
	close(fds[1]);
	CHECK_OK(fd_read_full(fds[0], data, sizeof(data)));
	for (size_t i = 0; i < sizeof(data); i++)
		CHECK_INT(data[i], ==, (uint8_t)(i ^ i >> 8));
	CHECK_INT(waitpid(pid, &status, 0), ==, pid);
	CHECK_INT(status, ==, 0);
	close(fds[0]);
}

static void test_no_memory(void)
{
	static uint8_t data[100000];

	for (unsigned long n = 1;; n++) {
		struct sink sink = sink_to(STDOUT_FILENO, COVE_OUTPUT_TAIL, sizeof(data));
		bool ok = true;
		noted[0] = 0;
		failing_alloc_arm(n);
		for (size_t i = 0; i < sizeof(data); i += 1000)
			ok &= sink_put(&sink, data + i, 1000);
		bool failed = failing_alloc_disarm();
		CHECK_INT(ok, ==, !failed);
		CHECK_INT(sink.failed, ==, failed);
		CHECK_STR(noted,
			  failed ? "cannot write to stdout: out of memory for its tail" : "");
		sink.closed = true; /* not into the test's own output */
		sink_end(&sink);
		if (!failed)
			break;
	}
}

static const struct tap_test tests[] = {
	{ "all, head and tail", test_policies, .timeout_s = 60 },
	{ "nobody reads", test_closed },
	{ "a full disk", test_failed },
	{ "a nonblocking pipe", test_nonblocking },
	{ "no memory", test_no_memory },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
