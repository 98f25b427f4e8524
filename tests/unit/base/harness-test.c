/* SPDX-License-Identifier: Apache-2.0 */
/* The harness is only worth something if its tests can fail: each way of failing, and of passing.
 */
#include "harness/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "harness/failing-alloc.h"

static void bad_check(void)
{
	CHECK_INT(1 + 1, ==, 3);
}

static void bad_string(void)
{
	CHECK_STR("a", "b");
}

static void bad_dies(void)
{
	raise(SIGKILL);
}

static void bad_endless(void)
{
	for (;;)
		pause();
}

static void bad_leaks_fd(void)
{
	CHECK_SYS(dup(1));
}

static void bad_closes_fd(void)
{
	close(0);
}

static void bad_leaves_daemon(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		setsid();
		if (fork() == 0)
			for (;;)
				pause();
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

static void bad_tells_exit(void)
{
	exit(3);
}

static void good_nothing(void)
{
}

static void good_skip(void)
{
	tap_skip("not here");
}

/* The table that the tests below run, by giving this program its own name and "inner". */
static const struct tap_test inner[] = {
	{ "bad_check", bad_check },
	{ "bad_string", bad_string },
	{ "bad_dies", bad_dies },
	{ "bad_endless", bad_endless, .timeout_s = 1 },
	{ "bad_leaks_fd", bad_leaks_fd },
	{ "bad_closes_fd", bad_closes_fd },
	{ "bad_leaves_daemon", bad_leaves_daemon },
	{ "bad_tells_exit", bad_tells_exit },
	{ "good_nothing", good_nothing },
	{ "good_skip", good_skip },
};

/* The exit status, and all the output, of the inner program with that one test. */
static int run_inner(const char *name, char **ret_output)
{
	int p[2];
	CHECK_SYS(pipe2(p, O_CLOEXEC));
	pid_t pid = fork();
	if (pid == 0) {
		dup2(p[1], STDOUT_FILENO);
		dup2(p[1], STDERR_FILENO);
		execl("/proc/self/exe", "test", "--inner", name, NULL);
		_exit(127);
	}
	close(p[1]);
	_cleanup_fclose_ FILE *f = fdopen(p[0], "r");
	char *output = calloc(1, 16384);
	CHECK(f && output);
	CHECK_INT(fread(output, 1, 16383, f), >, 0);
	int status;
	CHECK_INT(waitpid(pid, &status, 0), ==, pid);
	CHECK(WIFEXITED(status));
	*ret_output = output;
	return WEXITSTATUS(status);
}

static void check_bad(const char *name, const char *why)
{
	_cleanup_free_ char *output = NULL;
	CHECK_INT(run_inner(name, &output), ==, 1);
	CHECK_CONTAINS(output, "1..1\n");
	CHECK_CONTAINS(output, "not ok 1 - ");
	CHECK_CONTAINS(output, why);
}

static void test_failures(void)
{
	check_bad("bad_check", "1 + 1 == 3: 2 against 3");
	check_bad("bad_string", "\"a\" is \"a\", not \"b\"");
	check_bad("bad_dies", "was ended by signal 9");
	check_bad("bad_tells_exit", "ended with status 3");
	check_bad("bad_leaks_fd", "was closed, is ");
	check_bad("bad_closes_fd", "descriptor 0 was ");
}

static void test_time_limit(void)
{
	check_bad("bad_endless", "is not done after 1 s");
}

static void test_left_running(void)
{
	check_bad("bad_leaves_daemon", "left running: process");
}

static void test_success(void)
{
	_cleanup_free_ char *passed = NULL, *skipped = NULL;
	CHECK_INT(run_inner("good_nothing", &passed), ==, 0);
	CHECK_CONTAINS(passed, "\nok 1 - good_nothing\n");
	CHECK_INT(run_inner("good_skip", &skipped), ==, 0);
	CHECK_CONTAINS(skipped, "\nok 1 - good_skip # SKIP not here\n");
}

static void test_own_folder(void)
{
	CHECK_STR(getenv("COVE_HOME"), tap_dir());
	struct stat st;
	CHECK_SYS(stat(tap_dir(), &st));
	CHECK(S_ISDIR(st.st_mode));
	CHECK_OK(fd_mkdir_parents(tap_path("a/b/%d", 7), 0700));
	CHECK_SYS(access(tap_path("a/b/7"), F_OK));
	CHECK_SYS(chmod(tap_path("a/b"), 0)); /* is removed all the same */
}

static void test_failing_alloc(void)
{
	failing_alloc_arm(2);
	char *a = strdup("a"), *b = strdup("b"), *c = strdup("c");
	CHECK(failing_alloc_disarm());
	CHECK(a && !b && c);
	free(a);
	free(c);

	failing_alloc_arm_from(2);
	a = malloc(1), b = malloc(1), c = calloc(1, 1);
	CHECK(failing_alloc_disarm());
	CHECK(a && !b && !c);
	free(a);

	failing_alloc_arm(2);
	a = malloc(1);
	CHECK(!failing_alloc_disarm());
	free(a);
}

static const struct tap_test tests[] = {
	{ "failures are seen", test_failures },
	{ "the time limit ends a test", test_time_limit },
	{ "a daemon left behind is seen", test_left_running },
	{ "success and skip", test_success },
	{ "each test has its own folder", test_own_folder },
	{ "the n-th allocation fails", test_failing_alloc },
};

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--inner"))
		return tap_run(argc - 1, argv + 1, inner, ARRAY_SIZE(inner));
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
