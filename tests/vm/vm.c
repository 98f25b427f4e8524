/* SPDX-License-Identifier: Apache-2.0 */
#include "vm.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/fd.h"

cove_sandbox *vm_create(const char *name, const char *image,
			const struct cove_sandbox_options *options)
{
	struct cove_sandbox_options own = COVE_SANDBOX_OPTIONS_INIT;
	if (options)
		own = *options;
	own.image = image;

	cove_sandbox *sandbox;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_sandbox_create(name, &own, &sandbox, &err), &err);
	return sandbox;
}

cove_output *vm_exec(cove_sandbox *sandbox, const char *const *argv,
		     const struct cove_exec_options *options)
{
	cove_output *out;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_exec(sandbox, argv, options, &out, &err), &err);
	return out;
}

cove_output *vm_shell(cove_sandbox *sandbox, const char *script,
		      const struct cove_exec_options *options)
{
	cove_output *out;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_shell(sandbox, script, options, &out, &err), &err);
	return out;
}

long long vm_number(cove_sandbox *sandbox, const char *script)
{
	cove_output *out = vm_shell(sandbox, script, NULL);
	if (!cove_exit_success(&out->exit))
		tap_note("%s: %s", script, out->stderr_data);
	CHECK(cove_exit_success(&out->exit));
	long long n = strtoll(out->stdout_data, NULL, 10);
	cove_output_free(out);
	return n;
}

long long vm_agent_kib(cove_sandbox *sandbox)
{
	return vm_number(sandbox, "awk '/^Rss:/ { print $2 }' /proc/1/smaps_rollup");
}

void vm_put_helper(cove_sandbox *sandbox)
{
	_cleanup_free_ char *program = NULL;
	size_t size;
	CHECK_OK(fd_read_file(AT_FDCWD, GUEST_HELPER, 64 << 20, false, &program, &size));

	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.stdin_mode = COVE_STDIN_BYTES;
	options.stdin_data = program;
	options.stdin_bytes = size;
	cove_output *out = vm_shell(sandbox,
				    "cat >" VM_HELPER ".new && chmod 755 " VM_HELPER
				    ".new && mv " VM_HELPER ".new " VM_HELPER,
				    &options);
	CHECK_STR(out->stderr_data, "");
	CHECK(cove_exit_success(&out->exit));
	cove_output_free(out);
}

long long vm_open_fds(int pid)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	_cleanup_closedir_ DIR *dir = opendir(path);
	if (!dir)
		return -1;
	long long n = 0;
	while (readdir(dir))
		n++;
	return n;
}

long long vm_rss_kib(int pid)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	_cleanup_free_ char *text = NULL;
	if (fd_read_file(AT_FDCWD, path, 1 << 20, true, &text, NULL) < 0)
		return -1;
	const char *line = strstr(text, "VmRSS:");
	return line ? strtoll(line + 6, NULL, 10) : -1;
}

struct cove_sandbox_info *vm_info(const char *name)
{
	struct cove_sandbox_info *info;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_sandbox_inspect(name, &info, &err), &err);
	return info;
}
