/* SPDX-License-Identifier: Apache-2.0 */

/* A command runs in a machine of its own, and its surroundings are what the contract says. */

#include <stdlib.h>
#include <sys/utsname.h>
#include <time.h>

#include "vm.h"

static void test_guest_kernel(void)
{
	struct utsname host;
	CHECK_SYS(uname(&host));

	cove_sandbox *sandbox = vm_create("kernel", "python", NULL);
	cove_output *out = vm_exec(
		sandbox, ARGV("python", "-c", "import platform; print(platform.release())"), NULL);
	const char *text;
	CHECK_OK(cove_output_text(out, &text, NULL));
	CHECK_CONTAINS(text, "cloud-amd64");
	CHECK(strncmp(text, host.release, strlen(host.release)) != 0);

	struct cove_sandbox_info *info = vm_info("kernel");
	CHECK(strncmp(text, info->kernel, strlen(info->kernel)) == 0);
	cove_sandbox_info_free(info);
	cove_output_free(out);

	out = vm_exec(sandbox, ARGV("python", "-c", "import sys; sys.exit(7)"), NULL);
	CHECK_INT(out->exit.cause, ==, COVE_CAUSE_EXITED);
	CHECK_INT(out->exit.code, ==, 7);
	CHECK(out->exit.elapsed_ns > 0 && out->exit.ended_ns > out->exit.started_ns);
	CHECK(out->exit.user_us + out->exit.system_us > 0);
	CHECK(out->exit.max_rss_bytes > 1 << 20);
	cove_output_free(out);
	cove_sandbox_free(sandbox);
}

static void check_shell(cove_sandbox *sandbox, const struct cove_exec_options *options,
			const char *script, const char *expected)
{
	cove_output *out = vm_shell(sandbox, script, options);
	CHECK_STR(out->stderr_data, "");
	CHECK_STR(out->stdout_data, expected);
	CHECK_INT(out->exit.code, ==, 0);
	cove_output_free(out);
}

static void test_surroundings(void)
{
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	options.cpus = 2;
	options.memory_bytes = 256 << 20;
	options.cwd = "/tmp";
	options.user = "user";
	options.env = ARGV("STAGE=sandbox", "KEPT=1", "GONE=1");
	options.hostname = "an-other";
	cove_sandbox *sandbox = vm_create("surroundings", "busybox", &options);

	check_shell(sandbox, NULL, "pwd; id -un; echo $HOME; hostname; nproc",
		    "/tmp\nuser\n/home/user\nan-other\n2\n");
	check_shell(sandbox, NULL, "echo $STAGE $KEPT $GONE", "sandbox 1 1\n");

	struct cove_exec_options exec = COVE_EXEC_OPTIONS_INIT;
	exec.env = ARGV("STAGE=call", "GONE");
	exec.cwd = "/";
	exec.user = "root";
	check_shell(sandbox, &exec, "echo $STAGE $KEPT ${GONE-gone}; pwd; id -u",
		    "call 1 gone\n/\n0\n");

	/* Nothing but lo; a set clock; a tmpfs for /run; entropy; both controllers. */
	check_shell(sandbox, NULL, "ls /sys/class/net", "lo\n");
	check_shell(sandbox, &exec, "ping -c1 -W1 127.0.0.1 >/dev/null && echo up", "up\n");
	long long drift = vm_number(sandbox, "date +%s") - (long long)time(NULL);
	CHECK_INT(llabs(drift), <=, 2);
	cove_sandbox_free(sandbox);
}

static void test_clean_child(void)
{
	cove_sandbox *sandbox = vm_create("clean", "busybox", NULL);
	vm_put_helper(sandbox);
	cove_output *out = vm_exec(sandbox, ARGV(VM_HELPER, "fds"), NULL);
	CHECK_STR(out->stdout_data, "fd 0\nfd 1\nfd 2\nSigBlk:\t0000000000000000\n"
				    "SigIgn:\t0000000000000000\n");
	cove_output_free(out);

	/* Nothing of how the agent itself is scheduled: nice value, and policy. */
	CHECK_INT(vm_number(sandbox, "awk '{ print $19 }' /proc/self/stat"), ==, 0);
	CHECK_INT(vm_number(sandbox, "awk '{ print $41 }' /proc/self/stat"), ==, 0);
	CHECK_INT(vm_number(sandbox, "cat /proc/self/oom_score_adj"), ==, 0);
	cove_sandbox_free(sandbox);
}

static void test_read_only(void)
{
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	options.read_only = true;
	cove_sandbox *sandbox = vm_create("read-only", "busybox", &options);
	cove_output *out = vm_shell(sandbox, "echo x >/root/x", NULL);
	CHECK_CONTAINS(out->stderr_data, "Read-only file system");
	CHECK_INT(out->exit.code, !=, 0);
	cove_output_free(out);
	check_shell(sandbox, NULL, "echo x >/tmp/x && echo y >/dev/shm/y && cat /tmp/x /dev/shm/y",
		    "x\ny\n");
	cove_sandbox_free(sandbox);
}

/* What one sandbox writes no other sees: the image is not touched. */
static void test_image_is_not_written(void)
{
	cove_sandbox *sandbox = vm_create("writer", "busybox", NULL);
	check_shell(sandbox, NULL, "echo x >/root/x; sync; cat /root/x", "x\n");
	CHECK_OK(cove_sandbox_stop(sandbox, NULL, NULL));
	cove_sandbox_free(sandbox);

	sandbox = vm_create("writer", "busybox", NULL);
	check_shell(sandbox, NULL, "ls /root", "");
	cove_sandbox_free(sandbox);
}

static void test_connect_and_list(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	options.image = "busybox";
	options.detached = true;
	options.persistent = true;
	cove_sandbox *sandbox, *other;
	CHECK_COVE(cove_sandbox_create("kept", &options, &sandbox, &err), &err);
	CHECK_INT(cove_sandbox_create("kept", &options, &other, &err), ==, COVE_E_EXISTS);
	sandbox = cove_sandbox_free(sandbox);

	/* The handle is gone, the sandbox is not. */
	CHECK_COVE(cove_sandbox_connect("kept", &sandbox, &err), &err);
	check_shell(sandbox, NULL, "echo here", "here\n");

	struct cove_sandbox_info **list, *info;
	size_t n;
	CHECK_COVE(cove_sandbox_list(&list, &n, &err), &err);
	CHECK_INT(n, ==, 1);
	CHECK_STR(list[0]->name, "kept");
	CHECK_INT(list[0]->state, ==, COVE_SANDBOX_RUNNING);
	int supervisor = list[0]->supervisor_pid, vmm = list[0]->vmm_pid;
	cove_sandbox_list_free(list, n);

	CHECK_INT(cove_sandbox_wait(sandbox, 0, &info, &err), ==, COVE_E_TIMEOUT);
	CHECK_COVE(cove_sandbox_stop(sandbox, NULL, &err), &err);
	CHECK_COVE(cove_sandbox_stop(sandbox, NULL, &err), &err);
	CHECK_COVE(cove_sandbox_wait(sandbox, -1, &info, &err), &err);
	CHECK_INT(info->end_cause, ==, COVE_END_STOPPED);
	cove_sandbox_info_free(info);
	CHECK(tap_process_ends(vmm, 3000) && tap_process_ends(supervisor, 3000));
	cove_sandbox_free(sandbox);

	CHECK_INT(cove_sandbox_connect("kept", &sandbox, &err), ==, COVE_E_STATE);
	info = vm_info("kept");
	CHECK_INT(info->state, ==, COVE_SANDBOX_ENDED);
	CHECK_INT(info->end_cause, ==, COVE_END_STOPPED);
	cove_sandbox_info_free(info);
	CHECK_COVE(cove_sandbox_remove("kept", false, &err), &err);
	CHECK_INT(cove_sandbox_remove("kept", false, &err), ==, COVE_E_NOT_FOUND);
}

/* No two machines take themselves for the same one. */
static void test_identity(void)
{
	cove_output *out[2];
	for (int i = 0; i < 2; i++) {
		cove_sandbox *sandbox = vm_create(i ? "one" : "other", "busybox", NULL);
		out[i] = vm_shell(sandbox,
				  "cat /etc/machine-id; head -c 32 /dev/urandom | sha256sum;"
				  "cat /proc/sys/kernel/random/uuid",
				  NULL);
		CHECK_STR(out[i]->stderr_data, "");
		CHECK_INT(out[i]->stdout_bytes, ==, 33 + 68 + 37);
		cove_sandbox_free(sandbox);
	}
	for (size_t at = 0; at < out[0]->stdout_bytes; at += at == 0 ? 33 : 68)
		CHECK(memcmp(out[0]->stdout_data + at, out[1]->stdout_data + at, 16) != 0);
	cove_output_free(out[0]);
	cove_output_free(out[1]);
}

static const struct tap_test tests[] = {
	{ "the guest's kernel, and exit codes", test_guest_kernel, .timeout_s = 60 },
	{ "options of the sandbox shape its commands", test_surroundings, .timeout_s = 60 },
	{ "a command has three descriptors and clean signals", test_clean_child, .timeout_s = 60 },
	{ "a read-only root", test_read_only, .timeout_s = 60 },
	{ "the image is not written", test_image_is_not_written, .timeout_s = 60 },
	{ "machine ids and random numbers differ", test_identity, .timeout_s = 60 },
	{ "connect, list, wait, stop, remove", test_connect_and_list, .timeout_s = 60 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
