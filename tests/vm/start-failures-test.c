/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Commands that cannot be started: a typed error each, ten thousand times, and nothing leaks in the
 * client, the supervisor or the agent.
 */

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "rounds.h"
#include "vm.h"

static char long_argument[200 * 1024]; /* over the kernel's 128 KiB for one string */

struct failure {
	const char *what;
	const char *const *argv;
	const char *cwd, *user;
	struct cove_rlimit rlimit;
	enum cove_stage stage;
	int os_errno;
	const char *says; /* what the message must name */
};

static const struct failure failures[] = {
	{ "missing name", ARGV("no-such-command"), .stage = COVE_STAGE_EXEC, .os_errno = ENOENT,
	  .says = "no-such-command" },
	{ "missing path", ARGV("/no/such/file"), .stage = COVE_STAGE_EXEC, .os_errno = ENOENT,
	  .says = "/no/such/file" },
	{ "empty name", ARGV(""), .stage = COVE_STAGE_EXEC, .os_errno = ENOENT },
	{ "a folder", ARGV("/etc"), .stage = COVE_STAGE_EXEC, .os_errno = EACCES, .says = "/etc" },
	{ "no x bit", ARGV("/etc/passwd"), .stage = COVE_STAGE_EXEC, .os_errno = EACCES,
	  .says = "/etc/passwd" },
	{ "below a file", ARGV("/etc/passwd/x"), .stage = COVE_STAGE_EXEC, .os_errno = ENOTDIR },
	{ "a bad ELF", ARGV("/tmp/bad-elf"), .stage = COVE_STAGE_EXEC, .os_errno = ENOEXEC,
	  .says = "/tmp/bad-elf" },
	{ "a missing interpreter", ARGV("/tmp/no-interpreter"), .stage = COVE_STAGE_EXEC,
	  .os_errno = ENOENT, .says = "/tmp/no-interpreter" },
	{ "a loop of links", ARGV("/tmp/loop"), .stage = COVE_STAGE_EXEC, .os_errno = ELOOP },
	{ "too long an argument", ARGV("true", long_argument), .stage = COVE_STAGE_EXEC,
	  .os_errno = E2BIG },
	{ "missing cwd", ARGV("true"), .cwd = "/no/such/folder", .stage = COVE_STAGE_CWD,
	  .os_errno = ENOENT, .says = "/no/such/folder" },
	{ "cwd is a file", ARGV("true"), .cwd = "/etc/passwd", .stage = COVE_STAGE_CWD,
	  .os_errno = ENOTDIR, .says = "/etc/passwd" },
	{ "cwd is closed to the user", ARGV("true"), .cwd = "/root/closed", .user = "user",
	  .stage = COVE_STAGE_CWD, .os_errno = EACCES, .says = "/root/closed" },
	{ "unknown user", ARGV("true"), .user = "nobody-like-this", .stage = COVE_STAGE_USER,
	  .os_errno = ENOENT, .says = "nobody-like-this" },
	{ "unknown group", ARGV("true"), .user = "root:no-such-group", .stage = COVE_STAGE_GROUP,
	  .os_errno = ENOENT, .says = "no-such-group" },
	{ "over the kernel's limit", ARGV("true"),
	  .rlimit = { COVE_RLIMIT_NOFILE, 2000000000, 2000000000 }, .stage = COVE_STAGE_RLIMIT,
	  .os_errno = EPERM },
};

static void try_one(cove_sandbox *sandbox, const struct failure *f)
{
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.cwd = f->cwd;
	options.user = f->user;
	options.rlimits = &f->rlimit;
	options.n_rlimits = f->stage == COVE_STAGE_RLIMIT;

	cove_output *out = NULL;
	struct cove_error err = COVE_ERROR_INIT;
	int r = cove_exec(sandbox, f->argv, &options, &out, &err);
	if (r != COVE_E_START || err.stage != (int)f->stage || err.os_errno != f->os_errno)
		tap_note("%s: %d, stage %d, errno %d: %s", f->what, r, err.stage, err.os_errno,
			 err.message);
	CHECK_INT(r, ==, COVE_E_START);
	CHECK_INT(err.stage, ==, f->stage);
	CHECK_INT(err.os_errno, ==, f->os_errno);
	CHECK_INT(err.origin, ==, COVE_ORIGIN_GUEST);
	if (f->says)
		CHECK_CONTAINS(err.message, f->says);
	CHECK(out == NULL);
}

struct levels {
	long long agent_fds, agent_rss, processes, cgroups, supervisor_fds, supervisor_rss, own_fds;
	size_t own_heap;
};

static struct levels measure(cove_sandbox *sandbox, int supervisor)
{
	struct levels l;
	l.agent_fds = vm_number(sandbox, "ls /proc/1/fd | wc -l");
	l.agent_rss = vm_number(sandbox, "awk '/VmRSS/{print $2}' /proc/1/status");
	l.processes = vm_number(sandbox, "cat /sys/fs/cgroup/cove/pids.current");
	l.cgroups = vm_number(sandbox, "find /sys/fs/cgroup -type d | wc -l");
	l.supervisor_fds = vm_open_fds(supervisor);
	l.supervisor_rss = vm_rss_kib(supervisor);
	l.own_fds = vm_open_fds(getpid());
	l.own_heap = mallinfo2().uordblks;
	return l;
}

static void test_failures(void)
{
	memset(long_argument, 'x', sizeof(long_argument) - 1);
	cove_sandbox *sandbox = vm_create("failures", "busybox", NULL);
	cove_output *out =
		vm_shell(sandbox,
			 "printf '\\177ELFgarbage' >/tmp/bad-elf;"
			 "printf '#!/no/such/interpreter\\n' >/tmp/no-interpreter;"
			 "chmod 755 /tmp/bad-elf /tmp/no-interpreter; ln -s loop /tmp/loop;"
			 "mkdir -m 700 /root/closed; chmod 700 /root",
			 NULL);
	CHECK_STR(out->stderr_data, "");
	cove_output_free(out);
	struct cove_sandbox_info *info = vm_info("failures");
	int supervisor = info->supervisor_pid;
	cove_sandbox_info_free(info);

	for (size_t i = 0; i < 5 * ARRAY_SIZE(failures); i++) /* caches fill */
		try_one(sandbox, &failures[i % ARRAY_SIZE(failures)]);
	struct levels before = measure(sandbox, supervisor);

	size_t rounds = rounds_or(2000);
	for (size_t i = 0; i < rounds; i++)
		try_one(sandbox, &failures[i % ARRAY_SIZE(failures)]);

	/* What the last command left is cleared away after its end was told. */
	struct levels after;
	CHECK_WITHIN((after = measure(sandbox, supervisor)).agent_fds == before.agent_fds, 3000);
	tap_note(
		"%zu failed starts; agent %lld → %lld KiB, supervisor %lld → %lld KiB, heap %zu → %zu",
		rounds, before.agent_rss, after.agent_rss, before.supervisor_rss,
		after.supervisor_rss, before.own_heap, after.own_heap);
	CHECK_INT(after.processes, ==, before.processes);
	CHECK_INT(after.cgroups, ==, before.cgroups);
	CHECK_INT(after.supervisor_fds, ==, before.supervisor_fds);
	CHECK_INT(after.own_fds, ==, before.own_fds);
	CHECK_INT(after.agent_rss, <=, before.agent_rss + 256);
	CHECK_INT(after.supervisor_rss, <=, before.supervisor_rss + 256);
	CHECK_INT(after.own_heap, <=, before.own_heap + 4096);
	cove_sandbox_free(sandbox);
}

/* Refused on the host, in the caller's words, before anything is started. */
static void test_bad_requests(void)
{
	static const struct cove_rlimit upside_down = { COVE_RLIMIT_NOFILE, 20, 10 };
	cove_sandbox *sandbox = vm_create("requests", "busybox", NULL);
	cove_output *out = NULL;
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;

	CHECK_INT(cove_exec(sandbox, (const char *const[]){ NULL }, NULL, &out, &err), ==,
		  COVE_E_INVALID);
	CHECK_CONTAINS(err.message, "argv");

	options.rlimits = &upside_down;
	options.n_rlimits = 1;
	CHECK_INT(cove_exec(sandbox, ARGV("true"), &options, &out, &err), ==, COVE_E_INVALID);
	CHECK_CONTAINS(err.message, "nofile");

	options = (struct cove_exec_options)COVE_EXEC_OPTIONS_INIT;
	options.cwd = "relative";
	CHECK_INT(cove_exec(sandbox, ARGV("true"), &options, &out, &err), ==, COVE_E_INVALID);
	CHECK_CONTAINS(err.message, "relative");

	options = (struct cove_exec_options)COVE_EXEC_OPTIONS_INIT;
	options.id = "../up";
	CHECK_INT(cove_exec(sandbox, ARGV("true"), &options, &out, &err), ==, COVE_E_INVALID);
	CHECK_INT(err.origin, ==, COVE_ORIGIN_HOST);
	cove_sandbox_free(sandbox);
}

static const struct tap_test tests[] = {
	{ "typed failures, and no leak", test_failures, .timeout_s = 600 },
	{ "bad requests are refused on the host", test_bad_requests, .timeout_s = 60 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
