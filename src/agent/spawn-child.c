/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens between clone and execve. The child runs in the agent's own memory, on a stack of
 * its own, while the agent waits: it may not call anything of libc, whose state is the agent's (a
 * failing system call would set the agent's errno), so system calls are made bare. It writes
 * nothing but its stack and struct spawn_child. Sanitizers keep books about memory and stacks that
 * would go wrong here, hence CHILD_CODE.
 */
#include "agent/spawn-child.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "agent/poison.h"

#define CHILD_CODE __attribute__((no_sanitize("address", "undefined", "thread"), noinline))

/* clang-format off */
__asm__(
	".pushsection .text.spawn_child_clone, \"ax\", @progbits\n"
	".globl spawn_child_clone\n"
	".hidden spawn_child_clone\n"
	".type spawn_child_clone, @function\n"
	"spawn_child_clone:\n"
	"	mov %rdi, %rax\n"	/* the call's number */
	"	mov %rsi, %rdi\n"
	"	mov %rdx, %rsi\n"
	"	mov %rcx, %r9\n"	/* main: syscall overwrites rcx */
	"	xor %edx, %edx\n"
	"	xor %r10d, %r10d\n"
	"	syscall\n"
	"	test %rax, %rax\n"
	"	jz 1f\n"
	"	ret\n"
	"1:	xor %ebp, %ebp\n"	/* the outermost frame */
	"	mov %r8, %rdi\n"
	"	call *%r9\n"
	"	mov %eax, %edi\n"
	"	mov $60, %eax\n"	/* exit */
	"	syscall\n"
	"	hlt\n"
	".size spawn_child_clone, .-spawn_child_clone\n"
	".popsection\n"
);
/* clang-format on */

static CHILD_CODE long call(long n, long a, long b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long r;
	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return r;
}

static CHILD_CODE int fail(struct spawn_child *child, int stage, long r)
{
	child->error = (int)-r;
	child->stage = stage;
	return 127;
}

static CHILD_CODE long set_stdio(const struct spawn_options *o)
{
	for (int i = 0; i < 3; i++) {
		/* The sources are all above 2, so none is overwritten before it is used. */
		long r = call(SYS_dup2, o->stdio[i], i, 0, 0);
		if (r < 0)
			return r;
	}
	return 0;
}

/* 0, or an error and at which stage. */
static CHILD_CODE long become_user(const struct user *user, int *ret_stage)
{
	*ret_stage = COVE_STAGE_GROUP;
	long r = call(SYS_setgroups, (long)user->n_groups, (long)user->groups, 0, 0);
	if (r >= 0)
		r = call(SYS_setresgid, user->gid, user->gid, user->gid, 0);
	if (r < 0)
		return r;
	*ret_stage = COVE_STAGE_USER;
	return call(SYS_setresuid, user->uid, user->uid, user->uid, 0);
}

/* child->file = dir (dir_size bytes) "/" name. False when that is no path. */
static CHILD_CODE bool join_path(struct spawn_child *child, const char *dir, size_t dir_size,
				 const char *name)
{
	size_t n = 0;
	for (size_t i = 0; i < dir_size && n < sizeof(child->file); i++)
		child->file[n++] = dir[i];
	/* An empty element is the working directory. */
	if (dir_size > 0 && n < sizeof(child->file))
		child->file[n++] = '/';
	while (*name && n < sizeof(child->file))
		child->file[n++] = *name++;
	if (n >= sizeof(child->file))
		return false;
	child->file[n] = 0;
	return true;
}

static CHILD_CODE long execute(struct spawn_child *child)
{
	const struct spawn_options *o = child->options;
	return call(SYS_execve, (long)child->file, (long)o->argv, (long)o->env, 0);
}

/*
 * As execvp() does it: on with the next element where the file is not there, or not for us; but if
 * that was so for any of them, the error in the end is EACCES. Unlike execvp(), what the kernel
 * cannot execute is not given to a shell.
 */
static CHILD_CODE long search_and_execute(struct spawn_child *child, const char *name)
{
	long result = -ENOENT;
	const char *element = child->path, *denied = NULL;
	size_t denied_size = 0;
	while (element) {
		size_t n = 0;
		while (element[n] && element[n] != ':')
			n++;
		long r = -ENAMETOOLONG;
		if (join_path(child, element, n, name))
			r = execute(child);
		if (r == -EACCES) {
			result = r;
			denied = element;
			denied_size = n;
		} else if (r != -ENOENT && r != -ENOTDIR && r != -ENAMETOOLONG) {
			return r;
		}
		element = element[n] ? element + n + 1 : NULL;
	}
	if (denied) /* the error is about that one, not about what was tried last */
		join_path(child, denied, denied_size, name);
	return result;
}

static CHILD_CODE long find_and_execute(struct spawn_child *child)
{
	const char *name = child->options->argv[0];
	bool has_slash = false;
	for (const char *p = name; *p; p++)
		has_slash |= *p == '/';
	if (!*name)
		return -ENOENT;
	if (!has_slash)
		return search_and_execute(child, name);
	return join_path(child, NULL, 0, name) ? execute(child) : -ENAMETOOLONG;
}

CHILD_CODE int spawn_child_main(void *argument)
{
	struct spawn_child *child = argument;
	const struct spawn_options *o = child->options;

	if (child->join_fd >= 0) {
		long r = call(SYS_write, child->join_fd, (long)"0", 1, 0);
		if (r < 0)
			return fail(child, COVE_STAGE_EXEC, r);
	}
	/* SCHED_RESET_ON_FORK resets the agent's priority for the child, but not a policy of batch. */
	const int priority = 0;
	call(SYS_sched_setscheduler, 0, SCHED_OTHER, (long)&priority, 0);
	call(SYS_setsid, 0, 0, 0, 0); /* a new process leads no group, so this cannot fail */

	long r = set_stdio(o);
	if (r < 0)
		return fail(child, COVE_STAGE_STDIO, r);
	if (o->tty) {
		r = call(SYS_ioctl, 0, TIOCSCTTY, 0, 0);
		if (r < 0)
			return fail(child, COVE_STAGE_TTY, r);
	}
	for (size_t i = 0; i < o->n_rlimits; i++) {
		child->rlimit = i;
		r = call(SYS_prlimit64, 0, o->rlimits[i].resource, (long)&o->rlimits[i].limit, 0);
		if (r < 0)
			return fail(child, COVE_STAGE_RLIMIT, r);
	}
	if (child->set_ids) {
		int stage;
		r = become_user(o->user, &stage);
		if (r < 0)
			return fail(child, stage, r);
	}
	r = call(SYS_chdir, (long)o->cwd, 0, 0, 0);
	if (r < 0)
		return fail(child, COVE_STAGE_CWD, r);

	/* From here on signals act; there are no handlers, so on the child alone. */
	const uint64_t none = 0;
	call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&none, 0, sizeof(none));
	return fail(child, COVE_STAGE_EXEC, find_and_execute(child));
}
