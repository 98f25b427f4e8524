/* SPDX-License-Identifier: Apache-2.0 */

/* Sandboxes from birth to death, with a machine that is a process. */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "box.h"
#include "harness/tap.h"

/* A sandbox's end reaches all who wait within this time. */
#define END_MS 3000

/* A command in a thread, to be waited for. */
struct waiter {
	pthread_t thread;
	cove_sandbox *sandbox;
	char script[1024];
	char started[512]; /* a file that the script makes */
	int result;
	struct cove_error err;
	cove_output *out;
};

static void *wait_for_command(void *data)
{
	struct waiter *w = data;
	w->result = cove_shell(w->sandbox, w->script, NULL, &w->out, &w->err);
	return NULL;
}

static void waiter_start(struct waiter *w, cove_sandbox *s)
{
	*w = (struct waiter){ .sandbox = s };
	snprintf(w->started, sizeof(w->started), "%s", tap_path("started"));
	unlink(w->started);
	snprintf(w->script, sizeof(w->script), "echo partial; : >%s; sleep 1000", w->started);
	CHECK_INT(pthread_create(&w->thread, NULL, wait_for_command, w), ==, 0);
	CHECK_WITHIN(access(w->started, F_OK) == 0, 10000);
}

static void waiter_end(struct waiter *w, uint64_t since_ms)
{
	pthread_join(w->thread, NULL);
	CHECK_INT(clock_monotonic_ms() - since_ms, <, END_MS);
}

static void no_sandboxes(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_sandbox_info **list;
	size_t n;
	CHECK_COVE(cove_sandbox_list(&list, &n, &err), &err);
	CHECK_INT(n, ==, 0);
	cove_sandbox_list_free(list, n);
}

static void test_stop(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_sandbox_info *info;
	cove_sandbox *s = box_create("box", NULL);
	CHECK_INT(cove_sandbox_wait(s, 0, &info, &err), ==, COVE_E_TIMEOUT);
	CHECK_INT(cove_sandbox_wait(s, 20, &info, &err), ==, COVE_E_TIMEOUT);

	struct waiter w;
	waiter_start(&w, s);
	uint64_t begin = clock_monotonic_ms();
	struct cove_stop_options too_long = COVE_STOP_OPTIONS_INIT;
	too_long.grace_ms = UINT64_MAX;
	CHECK_INT(cove_sandbox_stop(s, &too_long, &err), ==, COVE_E_INVALID);
	CHECK_COVE(cove_sandbox_stop(s, NULL, &err), &err);
	waiter_end(&w, begin);
	CHECK_COVE(w.result, &w.err);
	CHECK_INT(w.out->exit.cause, ==, COVE_CAUSE_STOPPED);
	CHECK_STR(w.out->stdout_data, "partial\n");
	cove_output_free(w.out);

	CHECK_COVE(cove_sandbox_stop(s, NULL, &err), &err); /* again */
	CHECK_COVE(cove_sandbox_wait(s, -1, &info, &err), &err);
	CHECK_INT(info->state, ==, COVE_SANDBOX_ENDED);
	CHECK_INT(info->end_cause, ==, COVE_END_STOPPED);
	CHECK_STR(info->name, "box");
	cove_sandbox_info_free(info);
	box_shell_fails(s, "true", COVE_E_LOST, "box");
	no_sandboxes();

	/* The name is free while the old handle is still there. */
	cove_sandbox *again = box_create("box", NULL);
	cove_sandbox_free(s);
	box_prints(again, "echo new", NULL, "new\n");
	box_stop(again);
	no_sandboxes();
}

static void test_kill(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_sandbox_info *info;
	cove_sandbox *s = box_create("box", NULL);
	struct waiter w;
	waiter_start(&w, s);
	uint64_t begin = clock_monotonic_ms();
	CHECK_COVE(cove_sandbox_kill(s, &err), &err);
	waiter_end(&w, begin);
	CHECK_INT(w.result, ==, COVE_E_LOST);
	CHECK(!w.out);
	CHECK_COVE(cove_sandbox_wait(s, -1, &info, &err), &err);
	CHECK_INT(info->end_cause, ==, COVE_END_KILLED);
	cove_sandbox_info_free(info);
	cove_sandbox_free(s);
	no_sandboxes();
}

/* Each kind of sudden death: a clear error in time, nothing in the way of the next. */
static void test_deaths(void)
{
	for (int round = 0; round < 4; round++) {
		bool supervisor = round % 2, detached = round / 2;
		struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
		options.detached = detached;
		cove_sandbox *s = box_create("box", &options);
		struct cove_sandbox_info *info = box_inspect("box");
		int supervisor_pid = info->supervisor_pid, vmm_pid = info->vmm_pid;
		CHECK_INT(supervisor_pid, >, 0);
		CHECK_INT(vmm_pid, >, 0);
		cove_sandbox_info_free(info);

		struct waiter w;
		waiter_start(&w, s);
		uint64_t begin = clock_monotonic_ms();
		CHECK_SYS(kill(supervisor ? supervisor_pid : vmm_pid, SIGKILL));
		waiter_end(&w, begin);
		tap_note("%s", w.err.message);
		CHECK_INT(w.result, ==, COVE_E_LOST);
		CHECK_CONTAINS(w.err.message, supervisor ? "its supervisor ended" : "9");
		CHECK(tap_process_ends(vmm_pid, END_MS));

		struct cove_error err = COVE_ERROR_INIT;
		CHECK_COVE(cove_sandbox_wait(s, END_MS, &info, &err), &err);
		CHECK_INT(info->end_cause, ==,
			  supervisor ? COVE_END_SUPERVISOR_DIED : COVE_END_VMM_DIED);
		cove_sandbox_info_free(info);
		if (supervisor) {
			info = box_inspect("box");
			CHECK_INT(info->end_cause, ==, COVE_END_SUPERVISOR_DIED);
			cove_sandbox_info_free(info);
			cove_sandbox *none;
			CHECK_INT(cove_sandbox_connect("box", &none, &err), ==, COVE_E_STATE);
		}
		cove_sandbox_free(s);

		s = box_create("box", NULL);
		box_prints(s, "echo fine", NULL, "fine\n");
		box_stop(s);
	}
	no_sandboxes();
}

static void test_names(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	cove_sandbox *s = box_create("box", NULL), *other = NULL;
	options.image = "test";
	CHECK_INT(cove_sandbox_create("box", &options, &other, &err), ==, COVE_E_EXISTS);
	CHECK_INT(err.origin, ==, COVE_ORIGIN_SUPERVISOR);
	options.image = "no-such-image";
	CHECK_INT(cove_sandbox_create("other", &options, &other, &err), ==, COVE_E_NOT_FOUND);
	CHECK_CONTAINS(err.message, "no-such-image");
	CHECK_INT(cove_sandbox_connect("other", &other, &err), ==, COVE_E_NOT_FOUND);
	CHECK_INT(cove_sandbox_remove("other", true, &err), ==, COVE_E_NOT_FOUND);
	struct cove_sandbox_info *info;
	CHECK_INT(cove_sandbox_inspect("other", &info, &err), ==, COVE_E_NOT_FOUND);
	CHECK(!other);
	box_stop(s);
	no_sandboxes();
}

/* By name, from another process. */
static void test_connect(void)
{
	cove_sandbox *s = box_create("box", NULL);
	pid_t pid = fork();
	CHECK_SYS(pid);
	if (pid == 0) {
		struct cove_error err = COVE_ERROR_INIT;
		cove_sandbox *mine;
		CHECK_COVE(cove_sandbox_connect("box", &mine, &err), &err);
		CHECK_STR(cove_sandbox_name(mine), "box");
		box_prints(mine, "echo from the child", NULL, "from the child\n");
		cove_sandbox_free(mine);
		_exit(0);
	}
	int status;
	CHECK_SYS(waitpid(pid, &status, 0));
	CHECK_INT(status, ==, 0);
	box_prints(s, "echo still here", NULL, "still here\n"); /* not ended by that free */

	/* Ended by another handle than its creator's. */
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_sandbox_info *info;
	cove_sandbox *other;
	CHECK_COVE(cove_sandbox_connect("box", &other, &err), &err);
	CHECK_COVE(cove_sandbox_stop(other, NULL, &err), &err);
	no_sandboxes();
	CHECK_COVE(cove_sandbox_wait(s, END_MS, &info, &err), &err);
	CHECK_INT(info->end_cause, ==, COVE_END_STOPPED);
	cove_sandbox_info_free(info);
	cove_sandbox_free(other);
	cove_sandbox_free(s);
}

/* A path far longer than a socket's address can be. */
static void test_long_path(void)
{
	char name[201];
	memset(name, 'x', 200);
	name[200] = 0;
	CHECK_SYS(setenv("COVE_HOME", tap_path("%s", name), 1));
	cove_sandbox *s = box_create("box", NULL), *other;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_sandbox_connect("box", &other, &err), &err);
	box_prints(other, "echo far away", NULL, "far away\n");
	cove_sandbox_free(other);
	box_stop(s);
}

static void test_inspect(void)
{
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	options.cpus = 2;
	options.memory_bytes = 256 << 20;
	options.hostname = "host-1";
	options.read_only = true;
	cove_sandbox *b = box_create("b", &options), *a = box_create("a", NULL);

	struct cove_sandbox_info *info = box_inspect("b");
	CHECK_STR(info->name, "b");
	CHECK_STR(info->image, "test");
	CHECK_STR(info->hostname, "host-1");
	CHECK_INT(info->state, ==, COVE_SANDBOX_RUNNING);
	CHECK_INT(info->cpus, ==, 2);
	CHECK_INT(info->memory_bytes, ==, 256 << 20);
	CHECK(info->read_only && !info->detached && !info->persistent && !info->stalled);
	CHECK_INT(info->created_ns, >, 1000000000ULL * 1000000000ULL);
	CHECK_INT(info->ended_ns, ==, 0);
	CHECK_INT(info->end_cause, ==, COVE_END_NONE);
	CHECK_STR(info->accelerator, "tcg");
	CHECK_INT(strlen(info->kernel), >, 0);
	CHECK_INT(info->boot_us, >, 0);
	cove_sandbox_info_free(info);

	struct cove_error err = COVE_ERROR_INIT;
	struct cove_sandbox_info **list;
	size_t n;
	CHECK_COVE(cove_sandbox_list(&list, &n, &err), &err);
	CHECK_INT(n, ==, 2);
	CHECK_STR(list[0]->name, "a");
	CHECK_INT(list[0]->cpus, ==, 1);
	CHECK_INT(list[0]->memory_bytes, ==, 512 << 20);
	CHECK_STR(list[0]->hostname, "a");
	CHECK_STR(list[1]->name, "b");
	cove_sandbox_list_free(list, n);
	box_stop(a);
	box_stop(b);
}

static void test_persistent(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	options.persistent = true;
	cove_sandbox *s = box_create("box", &options), *none = NULL;
	CHECK_INT(cove_sandbox_remove("box", false, &err), ==, COVE_E_STATE);
	box_stop(s);

	struct cove_sandbox_info *info = box_inspect("box");
	CHECK_INT(info->state, ==, COVE_SANDBOX_ENDED);
	CHECK_INT(info->end_cause, ==, COVE_END_STOPPED);
	CHECK_INT(info->supervisor_pid, ==, 0);
	CHECK_INT(info->ended_ns, >, info->created_ns);
	cove_sandbox_info_free(info);
	CHECK_INT(cove_sandbox_connect("box", &none, &err), ==, COVE_E_STATE);
	options.image = "test";
	CHECK_INT(cove_sandbox_create("box", &options, &none, &err), ==, COVE_E_EXISTS);
	CHECK_COVE(cove_sandbox_remove("box", false, &err), &err);
	no_sandboxes();
}

static void test_remove_by_force(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	options.detached = true;
	for (int persistent = 0; persistent < 2; persistent++) {
		options.persistent = persistent;
		cove_sandbox *s = box_create("box", &options);
		struct waiter w;
		waiter_start(&w, s);
		uint64_t begin = clock_monotonic_ms();
		CHECK_INT(cove_sandbox_remove("box", false, &err), ==, COVE_E_STATE);
		CHECK_COVE(cove_sandbox_remove("box", true, &err), &err);
		waiter_end(&w, begin);
		CHECK_INT(w.result, ==, COVE_E_LOST);
		no_sandboxes();
		CHECK_INT(access(tap_path("data/sandboxes/box"), F_OK), ==, -1);
		CHECK_INT(access(tap_path("run/sandboxes/box.sock"), F_OK), ==, -1);
		cove_sandbox_free(s);
	}
}

/* The creator is killed: the attached sandbox goes with it, the detached one does not. */
static void test_creator_dies(void)
{
	for (int detached = 0; detached < 2; detached++) {
		int ready[2];
		char c;
		CHECK_SYS(pipe2(ready, O_CLOEXEC));
		pid_t pid = fork();
		CHECK_SYS(pid);
		if (pid == 0) {
			struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
			options.detached = detached;
			box_create("box", &options);
			CHECK_INT(write(ready[1], "x", 1), ==, 1);
			pause();
		}
		CHECK_INT(read(ready[0], &c, 1), ==, 1);
		struct cove_sandbox_info *info = box_inspect("box");
		CHECK_SYS(kill(pid, SIGKILL));
		CHECK_SYS(waitpid(pid, NULL, 0));
		if (detached) {
			struct cove_error err = COVE_ERROR_INIT;
			cove_sandbox *s;
			CHECK_COVE(cove_sandbox_connect("box", &s, &err), &err);
			box_prints(s, "echo alive", NULL, "alive\n");
			box_stop(s);
		}
		CHECK(tap_process_ends(info->supervisor_pid, END_MS));
		CHECK(tap_process_ends(info->vmm_pid, END_MS));
		cove_sandbox_info_free(info);
		no_sandboxes();
		close(ready[0]);
		close(ready[1]);
	}
}

/* A process that was forked, and holds copies of our descriptors, keeps no sandbox alive. */
static void test_forked(void)
{
	for (int how = 0; how < 2; how++) {
		cove_sandbox *s = box_create("box", NULL);
		struct cove_sandbox_info *info = box_inspect("box");
		pid_t pid = fork();
		CHECK_SYS(pid);
		if (pid == 0) {
			pause();
			_exit(0);
		}
		uint64_t begin = clock_monotonic_ms();
		if (how == 0)
			cove_sandbox_free(s);
		else
			box_stop(s);
		CHECK_INT(clock_monotonic_ms() - begin, <, END_MS);
		CHECK(tap_process_ends(info->supervisor_pid, 0));
		cove_sandbox_info_free(info);
		CHECK_SYS(kill(pid, SIGKILL));
		CHECK_SYS(waitpid(pid, NULL, 0));
		no_sandboxes();
	}
}

static void test_boot_fails(void)
{
	static const struct {
		const char *how;
		int code;
	} cases[] = { { "exit", COVE_E_BOOT }, { "hang", COVE_E_BOOT } };
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cove_error err = COVE_ERROR_INIT;
		struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
		cove_sandbox *s = NULL;
		CHECK_SYS(setenv("COVE_TEST_BOOT", cases[i].how, 1));
		/* Under emulation a boot that hangs is tried again. */
		CHECK_SYS(setenv("COVE_TEST_ACCEL", "kvm", 1));
		options.image = "test";
		options.boot_timeout_ms = 500;
		CHECK_INT(cove_sandbox_create("box", &options, &s, &err), ==, cases[i].code);
		tap_note("%s", err.message);
		CHECK_INT(err.origin, ==, COVE_ORIGIN_SUPERVISOR);
		CHECK(!s);
		no_sandboxes();
		CHECK_INT(waitpid(-1, NULL, WNOHANG), ==, -1);
	}
	CHECK_SYS(unsetenv("COVE_TEST_BOOT"));
	box_stop(box_create("box", NULL));
}

static void *create_and_stop(void *data)
{
	(void)data;
	for (int i = 0; i < 3; i++) {
		cove_sandbox *s = box_create(NULL, NULL);
		box_prints(s, "echo one of many", NULL, "one of many\n");
		box_stop(s);
	}
	return NULL;
}

/* Many at a time from many threads: names, children and folders do not get mixed up. */
static void test_many(void)
{
	pthread_t threads[6];
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
		CHECK_INT(pthread_create(&threads[i], NULL, create_and_stop, NULL), ==, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	no_sandboxes();
	CHECK_INT(waitpid(-1, NULL, WNOHANG), ==, -1);
}

static const struct tap_test tests[] = {
	{ "stop", test_stop },
	{ "kill", test_kill },
	{ "sudden deaths", test_deaths, .timeout_s = 60 },
	{ "names", test_names },
	{ "connect", test_connect },
	{ "a long path", test_long_path },
	{ "inspect and list", test_inspect },
	{ "persistent", test_persistent },
	{ "remove by force", test_remove_by_force },
	{ "the creator dies", test_creator_dies },
	{ "a forked process", test_forked },
	{ "boot fails", test_boot_fails },
	{ "many at once", test_many, .timeout_s = 60 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
