/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "agent/environment.h"
#include "agent/spawn-child.h"
#include "base/cleanup.h"
#include "base/error.h"

#include "agent/poison.h"

/* The child calls a few small functions deep; below it is a page that must not be touched. */
#define SPAWN_STACK_SIZE (64u * 1024)
#define SPAWN_GUARD_SIZE 4096u

/* Mapped once: children use it one at a time. NULL without memory for it. */
static uint8_t *child_stack(void)
{
	static uint8_t *stack;
	if (stack)
		return stack;
	uint8_t *p = mmap(NULL, SPAWN_GUARD_SIZE + SPAWN_STACK_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	mprotect(p, SPAWN_GUARD_SIZE, PROT_NONE);
	stack = p + SPAWN_GUARD_SIZE;
	return stack;
}

static long clone_new(struct spawn_child *child, uint8_t *stack, int cgroup_fd)
{
	struct clone_args args = {
		.flags = CLONE_VM | CLONE_VFORK,
		.exit_signal = SIGCHLD,
		.stack = (uintptr_t)stack,
		.stack_size = SPAWN_STACK_SIZE,
	};
	if (cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)cgroup_fd;
	}
	return spawn_child_clone(SYS_clone3, (long)&args, sizeof(args), spawn_child_main, child);
}

/* Without clone3(): a sandbox around a test's agent may refuse it, whatever the kernel has. */
static long clone_old(struct spawn_child *child, uint8_t *stack, int cgroup_fd)
{
	_cleanup_close_ int join_fd = -1;
	if (cgroup_fd >= 0) {
		join_fd = openat(cgroup_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
		if (join_fd < 0)
			return -errno;
	}
	child->join_fd = join_fd;
	return spawn_child_clone(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD,
				 (long)(stack + SPAWN_STACK_SIZE), spawn_child_main, child);
}

static const char *rlimit_name(int resource)
{
	static const char *const names[] = {
		"cpu",	   "fsize", "data",  "stack",	   "core",     "rss",  "nproc",	 "nofile",
		"memlock", "as",    "locks", "sigpending", "msgqueue", "nice", "rtprio", "rttime",
	};
	return resource >= 0 && (size_t)resource < ARRAY_SIZE(names) ? names[resource] : "?";
}

static int explain_exec(const struct spawn_child *child, struct cove_error *err)
{
	const char *name = child->options->argv[0];
	int error = child->error;

	if (!strchr(name, '/')) {
		if (error == ENOENT)
			return error_set_start(err, COVE_STAGE_EXEC, error, "'%s' in PATH '%s'",
					       name, child->path ? child->path : "(not set)");
		return error_set_start(err, COVE_STAGE_EXEC, error, "'%s' (%s)", name, child->file);
	}
	/* The kernel's answer is the same for both, and has cost many an hour. */
	if (error == ENOENT && name[0] == '/' && access(name, F_OK) == 0)
		return error_set_start(err, COVE_STAGE_EXEC, error,
				       "'%s' is there, but not the interpreter that it asks for",
				       name);
	return error_set_start(err, COVE_STAGE_EXEC, error, "'%s'", name);
}

static int explain(const struct spawn_child *child, struct cove_error *err)
{
	const struct spawn_options *o = child->options;
	const struct user *user = o->user;
	const char *name = user->name ? user->name : "";
	int stage = child->stage, error = child->error;

	switch (stage) {
	case COVE_STAGE_CWD:
		return error_set_start(err, stage, error, "working directory '%s'", o->cwd);
	case COVE_STAGE_USER:
		return error_set_start(err, stage, error, "becoming user %u (%s)", user->uid, name);
	case COVE_STAGE_GROUP:
		return error_set_start(err, stage, error, "group %u and %zu more of user %u (%s)",
				       user->gid, user->n_groups, user->uid, name);
	case COVE_STAGE_RLIMIT: {
		const struct spawn_rlimit *l = &o->rlimits[child->rlimit];
		return error_set_start(err, stage, error, "rlimit %s to %llu:%llu",
				       rlimit_name(l->resource),
				       (unsigned long long)l->limit.rlim_cur,
				       (unsigned long long)l->limit.rlim_max);
	}
	case COVE_STAGE_TTY:
		return error_set_start(err, stage, error, "taking the terminal");
	case COVE_STAGE_STDIO:
		return error_set_start(err, stage, error, "descriptors 0, 1 and 2");
	default:
		return explain_exec(child, err);
	}
}

/* Already the one to become, with no groups to leave: so for most commands of a machine. */
static bool is_self(const struct user *user)
{
	if (user->uid != geteuid())
		return false;
	if (geteuid() != 0)
		return true; /* could not change anything, so it is taken as it is */
	return user->gid == getegid() && user->n_groups == 0 && getgroups(0, NULL) == 0;
}

int spawn(const struct spawn_options *options, pid_t *ret_pid, struct cove_error *err)
{
	struct spawn_child child;
	child.options = options;
	child.path = environment_get(options->env, "PATH");
	child.set_ids = !is_self(options->user);
	child.join_fd = -1;
	child.stage = COVE_STAGE_NONE;
	child.error = 0;
	child.rlimit = 0;
	child.file[0] = 0;

	uint8_t *stack = child_stack();
	if (!stack)
		return error_set_start(err, COVE_STAGE_EXEC, ENOMEM, "a new process");

	/* The child ends by a signal once it is itself, not while it is half of us. */
	sigset_t all, before;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	long pid = clone_new(&child, stack, options->cgroup_fd);
	if (pid == -ENOSYS || pid == -EPERM)
		pid = clone_old(&child, stack, options->cgroup_fd);
	sigprocmask(SIG_SETMASK, &before, NULL);

	if (pid < 0)
		return error_set_start(err, COVE_STAGE_EXEC, (int)pid, "a new process for '%s'",
				       options->argv[0]);
	if (child.stage != COVE_STAGE_NONE) {
		/* It is past its last instruction; this takes microseconds. */
		while (waitpid((pid_t)pid, NULL, 0) < 0 && errno == EINTR)
			;
		return explain(&child, err);
	}
	*ret_pid = (pid_t)pid;
	return 0;
}
