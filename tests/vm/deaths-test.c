/* SPDX-License-Identifier: Apache-2.0 */

/*
 * kill -9 of each part while a command runs: who waits gets a clear error in time, nothing is left
 * running, and the name can be used again at once.
 */

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "vm.h"

#define LOST_WITHIN_MS 3000

struct waiter {
	cove_sandbox *sandbox;
	cove_output *out;
	struct cove_error err;
	int result;
	uint64_t ended_ms;
};

static void *run_forever(void *data)
{
	struct waiter *w = data;
	w->result = cove_shell(w->sandbox, "echo some output; touch /tmp/there; sleep 1000", NULL,
			       &w->out, &w->err);
	w->ended_ms = clock_monotonic_ms();
	return NULL;
}

static void wait_until_there(cove_sandbox *sandbox)
{
	cove_output_free(vm_shell(sandbox, "until [ -e /tmp/there ]; do usleep 10000; done", NULL));
}

static void kill_during_exec(const char *name, bool vmm, bool detached, const char *says)
{
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	options.detached = detached;
	cove_sandbox *sandbox = vm_create(name, "busybox", &options);
	struct cove_sandbox_info *info = vm_info(name);
	struct waiter waiter = { .sandbox = sandbox };
	pthread_t thread;
	CHECK_INT(pthread_create(&thread, NULL, run_forever, &waiter), ==, 0);
	wait_until_there(sandbox);

	uint64_t start = clock_monotonic_ms();
	CHECK_SYS(kill(vmm ? info->vmm_pid : info->supervisor_pid, SIGKILL));
	CHECK_INT(pthread_join(thread, NULL), ==, 0);
	tap_note("told after %llu ms: %s", (unsigned long long)(waiter.ended_ms - start),
		 waiter.err.message);
	CHECK_INT(waiter.result, ==, COVE_E_LOST);
	CHECK_CONTAINS(waiter.err.message, says);
	CHECK_INT(waiter.ended_ms - start, <=, LOST_WITHIN_MS);
	CHECK(waiter.out == NULL);

	CHECK_INT(cove_shell(sandbox, "true", NULL, &waiter.out, &waiter.err), ==, COVE_E_LOST);
	cove_sandbox_free(sandbox);
	CHECK(tap_process_ends(info->vmm_pid, LOST_WITHIN_MS));
	CHECK(tap_process_ends(info->supervisor_pid, LOST_WITHIN_MS));
	cove_sandbox_info_free(info);

	/* The same name works again, whatever the dead left lying about. */
	sandbox = vm_create(name, "busybox", NULL);
	CHECK_INT(vm_number(sandbox, "echo 1"), ==, 1);
	cove_sandbox_free(sandbox);
}

static void test_vmm(void)
{
	kill_during_exec("vmm", true, false, "QEMU");
}

static void test_vmm_of_detached(void)
{
	kill_during_exec("vmm-d", true, true, "QEMU");
}

static void test_supervisor(void)
{
	kill_during_exec("super", false, false, "supervisor");
}

static void test_supervisor_of_detached(void)
{
	kill_during_exec("super-d", false, true, "supervisor");
}

/* A client in a process of its own; says the pids through a pipe, then runs a long command. */
static pid_t start_client(const char *name, bool detached, int *ret_supervisor, int *ret_vmm)
{
	int fds[2];
	CHECK_SYS(pipe(fds));
	pid_t pid = fork();
	CHECK_SYS(pid);
	if (pid == 0) {
		struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
		options.detached = detached;
		cove_sandbox *sandbox = vm_create(name, "busybox", &options);
		struct cove_sandbox_info *info = vm_info(name);
		dprintf(fds[1], "%d %d\n", info->supervisor_pid, info->vmm_pid);
		close(fds[1]);
		vm_shell(sandbox, "touch /tmp/there; sleep 1000; echo ended >/tmp/there", NULL);
		_exit(9);
	}
	close(fds[1]);
	FILE *f = fdopen(fds[0], "r");
	CHECK_INT(fscanf(f, "%d %d", ret_supervisor, ret_vmm), ==, 2);
	fclose(f);
	return pid;
}

static void test_client(void)
{
	int supervisor, vmm;
	pid_t client = start_client("client", false, &supervisor, &vmm);
	cove_sandbox *sandbox;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_sandbox_connect("client", &sandbox, &err), &err);
	wait_until_there(sandbox);
	CHECK_SYS(kill(client, SIGKILL));
	CHECK_SYS(waitpid(client, NULL, 0));

	struct cove_sandbox_info *info;
	CHECK_COVE(cove_sandbox_wait(sandbox, LOST_WITHIN_MS, &info, &err), &err);
	CHECK_INT(info->end_cause, ==, COVE_END_CREATOR_GONE);
	cove_sandbox_info_free(info);
	cove_sandbox_free(sandbox);
	CHECK(tap_process_ends(vmm, LOST_WITHIN_MS));
	CHECK(tap_process_ends(supervisor, LOST_WITHIN_MS));

	struct cove_sandbox_info **list;
	size_t n;
	CHECK_COVE(cove_sandbox_list(&list, &n, &err), &err);
	CHECK_INT(n, ==, 0);
	cove_sandbox_list_free(list, n);
	sandbox = vm_create("client", "busybox", NULL);
	cove_sandbox_free(sandbox);
}

/* A detached sandbox and the command in it do not notice. */
static void test_client_of_detached(void)
{
	int supervisor, vmm;
	pid_t client = start_client("client-d", true, &supervisor, &vmm);
	cove_sandbox *sandbox;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_sandbox_connect("client-d", &sandbox, &err), &err);
	wait_until_there(sandbox);
	CHECK_SYS(kill(client, SIGKILL));
	CHECK_SYS(waitpid(client, NULL, 0));

	CHECK_INT(vm_number(sandbox, "ps | grep -c '[s]leep 1000'"), >=, 1);
	CHECK_SYS(kill(supervisor, 0));
	CHECK_COVE(cove_sandbox_kill(sandbox, &err), &err);
	cove_sandbox_free(sandbox);
	CHECK(tap_process_ends(vmm, LOST_WITHIN_MS));
	CHECK(tap_process_ends(supervisor, LOST_WITHIN_MS));
}

/* The guest ends itself: by power-off, and by a panic. */
static void guest_ends(const char *name, const char *script, enum cove_end_cause cause)
{
	cove_sandbox *sandbox = vm_create(name, "busybox", NULL);
	cove_output *out = NULL;
	struct cove_error err = COVE_ERROR_INIT;
	uint64_t start = clock_monotonic_ms();
	CHECK_INT(cove_shell(sandbox, script, NULL, &out, &err), ==, COVE_E_LOST);
	tap_note("%s (after %llu ms)", err.message,
		 (unsigned long long)(clock_monotonic_ms() - start));
	CHECK_INT(clock_monotonic_ms() - start, <=,
		  LOST_WITHIN_MS + 2000); /* a panic takes its time */
	struct cove_sandbox_info *info;
	CHECK_COVE(cove_sandbox_wait(sandbox, 3000, &info, &err), &err);
	CHECK_STR(cove_end_cause_name(info->end_cause), cove_end_cause_name(cause));
	cove_sandbox_info_free(info);
	cove_sandbox_free(sandbox);
}

static void test_guest_power_off(void)
{
	guest_ends("off", "sync; poweroff -f; sleep 100", COVE_END_GUEST_OFF);
}

static void test_guest_panic(void)
{
	guest_ends("panic", "echo c >/proc/sysrq-trigger; sleep 100", COVE_END_GUEST_PANIC);
}

static const struct tap_test tests[] = {
	{ "the virtual machine monitor", test_vmm, .timeout_s = 60 },
	{ "that of a detached sandbox", test_vmm_of_detached, .timeout_s = 60 },
	{ "the supervisor", test_supervisor, .timeout_s = 60 },
	{ "that of a detached sandbox ", test_supervisor_of_detached, .timeout_s = 60 },
	{ "the client", test_client, .timeout_s = 60 },
	{ "the client of a detached sandbox", test_client_of_detached, .timeout_s = 60 },
	{ "the guest powers off", test_guest_power_off, .timeout_s = 60 },
	{ "the guest panics", test_guest_panic, .timeout_s = 60 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
