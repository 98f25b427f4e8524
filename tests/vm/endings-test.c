/* SPDX-License-Identifier: Apache-2.0 */

/* How commands end: every cause is told apart, and what must be gone is gone. */

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "base/clock.h"
#include "vm.h"

static void check_exit(const cove_output *out, enum cove_cause cause, int code, int sig)
{
	CHECK_STR(cove_cause_name(out->exit.cause), cove_cause_name(cause));
	CHECK_INT(out->exit.code, ==, code);
	CHECK_INT(out->exit.signal, ==, sig);
	CHECK(cove_exit_success(&out->exit) == (cause == COVE_CAUSE_EXITED && code == 0));
}

struct waiter {
	cove_sandbox *sandbox;
	cove_output *out;
	struct cove_error err;
	int result;
};

static void *wait_for_sleep(void *data)
{
	struct waiter *w = data;
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.id = "sleeper";
	w->result = cove_shell(w->sandbox, "echo asleep; touch /tmp/asleep; exec sleep 1000",
			       &options, &w->out, &w->err);
	return NULL;
}

static void test_causes(void)
{
	struct cove_sandbox_options sandbox_options = COVE_SANDBOX_OPTIONS_INIT;
	sandbox_options.memory_bytes = 192 << 20;
	cove_sandbox *sandbox = vm_create("causes", "busybox", &sandbox_options);
	vm_put_helper(sandbox);

	cove_output *out = vm_shell(sandbox, "exit 137", NULL);
	check_exit(out, COVE_CAUSE_EXITED, 137, 0);
	cove_output_free(out);

	out = vm_shell(sandbox, "exit 124", NULL);
	check_exit(out, COVE_CAUSE_EXITED, 124, 0);
	cove_output_free(out);

	out = vm_shell(sandbox, "kill -9 $$", NULL);
	check_exit(out, COVE_CAUSE_SIGNALED, 137, SIGKILL);
	cove_output_free(out);

	static const struct cove_rlimit core = { COVE_RLIMIT_CORE, COVE_RLIMIT_UNLIMITED,
						 COVE_RLIMIT_UNLIMITED };
	struct cove_exec_options with_core = COVE_EXEC_OPTIONS_INIT;
	with_core.cwd = "/tmp";
	with_core.rlimits = &core;
	with_core.n_rlimits = 1;
	out = vm_shell(sandbox, "kill -SEGV $$", &with_core);
	check_exit(out, COVE_CAUSE_SIGNALED, 139, SIGSEGV);
	CHECK(out->exit.core_dumped);
	cove_output_free(out);
	out = vm_shell(sandbox, "kill -SEGV $$", NULL);
	check_exit(out, COVE_CAUSE_SIGNALED, 139, SIGSEGV);
	CHECK(!out->exit.core_dumped);
	cove_output_free(out);

	out = vm_exec(sandbox, ARGV(VM_HELPER, "eat"), NULL);
	check_exit(out, COVE_CAUSE_OOM_KILLED, 137, SIGKILL);
	cove_output_free(out);

	struct cove_error err = COVE_ERROR_INIT;
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.timeout_ms = 300;
	out = NULL;
	CHECK_INT(cove_shell(sandbox, "echo so far; sleep 100", &options, &out, &err), ==,
		  COVE_E_TIMEOUT);
	check_exit(out, COVE_CAUSE_TIMED_OUT, 137, SIGKILL);
	CHECK_STR(out->stdout_data, "so far\n");
	cove_output_free(out);

	options = (struct cove_exec_options)COVE_EXEC_OPTIONS_INIT;
	options.output_limit_bytes = 100000;
	options.output_policy = COVE_OUTPUT_KILL;
	out = vm_exec(sandbox, ARGV("cat", "/dev/zero"), &options);
	check_exit(out, COVE_CAUSE_OUTPUT_LIMIT, 137, SIGKILL);
	CHECK(out->limited);
	CHECK_INT(out->stdout_bytes, ==, 100000);
	CHECK_INT(out->stdout_total, >=, 100000);
	cove_output_free(out);

	/* The machine goes down in order while a command runs. */
	struct waiter waiter = { .sandbox = sandbox };
	pthread_t thread;
	CHECK_INT(pthread_create(&thread, NULL, wait_for_sleep, &waiter), ==, 0);
	out = vm_shell(sandbox, "until [ -e /tmp/asleep ]; do usleep 10000; done", NULL);
	cove_output_free(out);
	uint64_t start = clock_monotonic_ms();
	CHECK_COVE(cove_sandbox_stop(sandbox, NULL, &err), &err);
	tap_note("stop took %llu ms", (unsigned long long)(clock_monotonic_ms() - start));
	CHECK_INT(pthread_join(thread, NULL), ==, 0);
	CHECK_COVE(waiter.result, &waiter.err);
	check_exit(waiter.out, COVE_CAUSE_STOPPED, 128 + SIGTERM, SIGTERM);
	CHECK_STR(waiter.out->stdout_data, "asleep\n");
	cove_output_free(waiter.out);
	cove_sandbox_free(sandbox);
}

static void test_timeout_kills_the_tree(void)
{
	cove_sandbox *sandbox = vm_create("tree", "busybox", NULL);
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.timeout_ms = 1000;

	cove_output *out = NULL;
	uint64_t start = clock_monotonic_ms();
	CHECK_INT(cove_shell(
			  sandbox,
			  "echo partial; (sleep 900 &); setsid sleep 901 & trap '' TERM; sleep 902",
			  &options, &out, &err),
		  ==, COVE_E_TIMEOUT);
	uint64_t took = clock_monotonic_ms() - start;
	CHECK_INT(took, >=, 1000);
	CHECK_INT(took, <=, 2000);
	CHECK_STR(out->stdout_data, "partial\n");
	CHECK_INT(out->exit.cause, ==, COVE_CAUSE_TIMED_OUT);
	cove_output_free(out);

	CHECK_INT(vm_number(sandbox, "ps | grep -c '[s]leep 90' || true"), ==, 0);
	cove_sandbox_free(sandbox);
}

static void test_first_signal_and_grace(void)
{
	cove_sandbox *sandbox = vm_create("grace", "busybox", NULL);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.timeout_ms = 300;
	options.timeout_signal = SIGTERM;
	options.timeout_grace_ms = 5000;

	cove_output *out = NULL;
	CHECK_INT(cove_shell(sandbox,
			     "trap 'echo bye; exit 3' TERM; while :; do usleep 20000; done",
			     &options, &out, NULL),
		  ==, COVE_E_TIMEOUT);
	check_exit(out, COVE_CAUSE_TIMED_OUT, 3, 0);
	CHECK_STR(out->stdout_data, "bye\n");
	cove_output_free(out);

	options.timeout_grace_ms = 200;
	CHECK_INT(cove_shell(sandbox, "trap '' TERM; sleep 100", &options, &out, NULL), ==,
		  COVE_E_TIMEOUT);
	check_exit(out, COVE_CAUSE_TIMED_OUT, 137, SIGKILL);
	cove_output_free(out);
	cove_sandbox_free(sandbox);
}

static void test_background_child(void)
{
	cove_sandbox *sandbox = vm_create("background", "busybox", NULL);
	uint64_t start = clock_monotonic_ms();
	cove_output *out = vm_shell(sandbox, "sleep 600 & echo hi; exit 3", NULL);
	CHECK_INT(clock_monotonic_ms() - start, <, 3000);
	check_exit(out, COVE_CAUSE_EXITED, 3, 0);
	CHECK_STR(out->stdout_data, "hi\n");
	cove_output_free(out);
	CHECK_INT(vm_number(sandbox, "ps | grep -c '[s]leep 600'"), ==, 1);

	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.kill_tree_on_exit = true;
	out = vm_shell(sandbox, "sleep 700 & echo hi; exit 4", &options);
	check_exit(out, COVE_CAUSE_EXITED, 4, 0);
	cove_output_free(out);
	CHECK_INT(vm_number(sandbox, "ps | grep -c '[s]leep 700' || true"), ==, 0);

	options = (struct cove_exec_options)COVE_EXEC_OPTIONS_INIT;
	options.wait_eof = true;
	out = vm_shell(sandbox, "(sleep 1; echo late) & echo early", &options);
	check_exit(out, COVE_CAUSE_EXITED, 0, 0);
	CHECK_STR(out->stdout_data, "early\nlate\n");
	cove_output_free(out);

	/* Orphans are reaped by the agent: no zombies of anybody's. */
	CHECK_INT(vm_number(sandbox, "ps -o stat | grep -c '^Z' || true"), ==, 0);
	cove_sandbox_free(sandbox);
}

/* Greedy commands hurt themselves, and the sandbox still answers. */
static void test_greed(void)
{
	struct cove_sandbox_options sandbox_options = COVE_SANDBOX_OPTIONS_INIT;
	sandbox_options.memory_bytes = 192 << 20;
	cove_sandbox *sandbox = vm_create("greed", "busybox", &sandbox_options);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	cove_output *out = NULL;

	options.timeout_ms = 2000;
	CHECK_INT(cove_shell(sandbox, "f() { f & f & wait; }; f 2>/dev/null", &options, &out, NULL),
		  ==, COVE_E_TIMEOUT);
	cove_output_free(out);
	CHECK_INT(vm_number(sandbox, "echo 1"), ==, 1);

	out = vm_shell(sandbox,
		       "ulimit -n 100000; i=3; while eval \"exec $i</dev/null\"; do "
		       "i=$((i+1)); [ $i -lt 2000 ] || break; done 2>/dev/null; echo $i",
		       NULL);
	cove_output_free(out);
	out = vm_shell(sandbox,
		       "dd if=/dev/zero of=/dev/shm/full bs=1M 2>/dev/null; "
		       "rm /dev/shm/full; echo cleaned",
		       NULL);
	CHECK_STR(out->stdout_data, "cleaned\n");
	cove_output_free(out);
	CHECK_INT(vm_number(sandbox, "echo 2"), ==, 2);
	cove_sandbox_free(sandbox);
}

static const struct tap_test tests[] = {
	{ "seven endings are seven results", test_causes, .timeout_s = 60 },
	{ "a timeout kills the whole tree", test_timeout_kills_the_tree, .timeout_s = 60 },
	{ "a first signal and a grace time", test_first_signal_and_grace, .timeout_s = 60 },
	{ "background children", test_background_child, .timeout_s = 60 },
	{ "greedy commands", test_greed, .timeout_s = 90 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
