/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_VM_H
#define TESTS_VM_H

/* What the tests on real virtual machines share. */

#include <cove/cove.h>

#include "base/macro.h"
#include "harness/tap.h"

/* A new attached sandbox on `image` with the other options of `options` (NULL: defaults). */
cove_sandbox *vm_create(const char *name, const char *image,
			const struct cove_sandbox_options *options);

/* argv of a command: ARGV("echo", "hi") */
#define ARGV(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* Runs to the end and gives the output; a failing call fails the test. */
cove_output *vm_exec(cove_sandbox *sandbox, const char *const *argv,
		     const struct cove_exec_options *options);
cove_output *vm_shell(cove_sandbox *sandbox, const char *script,
		      const struct cove_exec_options *options);

/* A script's stdout as a number. */
long long vm_number(cove_sandbox *sandbox, const char *script);

/* Copies the helper program (tests/vm/guest-helper.c) to VM_HELPER in the sandbox. */
#define VM_HELPER "/tmp/helper"
void vm_put_helper(cove_sandbox *sandbox);

/*
 * Resident memory of the agent. Exact, as VmRSS in its status is not: the kernel counts that in
 * batches of a quarter of a MiB.
 */
long long vm_agent_kib(cove_sandbox *sandbox);

/* Of processes of the host: -1 when there is no such process. */
long long vm_open_fds(int pid);
long long vm_rss_kib(int pid);

struct cove_sandbox_info *vm_info(const char *name);

#endif
