/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/log.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"

#include "agent/poison.h"

/* A command may make cgroups below its own. Deeper ones than this are left to tree_kill(). */
#define TREE_DEPTH_MAX 16
/* Of cgroup.procs: a hundred thousand processes. */
#define TREE_PROCS_MAX ((size_t)1024 * 1024)
/* Rounds of killing where it is not atomic: each one finds what was born during the last. */
#define TREE_KILL_ROUNDS 16

int tree_init(struct tree *tree, int parent_fd, uint64_t serial)
{
	*tree = (struct tree){ .parent_fd = parent_fd, .fd = -1 };
	if (parent_fd < 0)
		return 0;

	snprintf(tree->name, sizeof(tree->name), "s%llu", (unsigned long long)serial);
	if (mkdirat(parent_fd, tree->name, 0755) < 0)
		return -errno;
	tree->fd = openat(parent_fd, tree->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tree->fd < 0) {
		int r = -errno;
		unlinkat(parent_fd, tree->name, AT_REMOVEDIR);
		return r;
	}
	return 0;
}

/* Calls for the cgroup and those below it, the deepest first. */
static void visit(int fd, unsigned depth, void (*call)(int fd, int value), int value)
{
	_cleanup_close_ int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
	if (dir) {
		TAKE_FD(copy);
		struct dirent *entry;
		while (depth < TREE_DEPTH_MAX && (entry = readdir(dir))) {
			if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
				continue;
			_cleanup_close_ int child =
				openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			if (child >= 0)
				visit(child, depth + 1, call, value);
		}
	}
	call(fd, value);
}

static void signal_procs(int fd, int signal)
{
	_cleanup_free_ char *text = NULL;
	if (fd_read_file(fd, "cgroup.procs", TREE_PROCS_MAX, true, &text, NULL) < 0)
		return;
	for (char *p = text; *p;) {
		/* 0: a process that this pid namespace has no number for. 1: us. */
		long pid = strtol(p, &p, 10);
		if (pid > 1)
			kill((pid_t)pid, signal);
		while (*p && (*p < '0' || *p > '9'))
			p++;
	}
}

/* cgroups below, once they are empty; a directory of cgroupfs is removed with its files. */
static void remove_children(int fd, int unused)
{
	(void)unused;
	_cleanup_close_ int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
	if (!dir)
		return;
	TAKE_FD(copy);
	struct dirent *entry;
	while ((entry = readdir(dir)))
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			unlinkat(fd, entry->d_name, AT_REMOVEDIR);
}

void tree_done(struct tree *tree)
{
	if (tree->fd >= 0) {
		tree->fd = fd_close(tree->fd);
		unlinkat(tree->parent_fd, tree->name, AT_REMOVEDIR);
	}
	tree->empty = true;
}

void tree_signal(struct tree *tree, int signal)
{
	if (tree->empty || tree->leader <= 0)
		return;
	if (tree->fd < 0)
		tree_proc_signal(tree->leader, signal);
	else
		visit(tree->fd, 0, signal_procs, signal);
}

void tree_kill(struct tree *tree)
{
	if (tree->empty || tree->leader <= 0)
		return;
	if (tree->fd >= 0 && fd_write_string(tree->fd, "cgroup.kill", "1") >= 0)
		return;
	/* No cgroup, or a kernel before 5.14 (where this is a test's agent on somebody's host). */
	for (unsigned i = 0; i < TREE_KILL_ROUNDS; i++)
		tree_signal(tree, SIGKILL);
}

static bool is_populated(const struct tree *tree)
{
	_cleanup_free_ char *text = NULL;
	if (fd_read_file(tree->fd, "cgroup.events", 4096, true, &text, NULL) < 0)
		return true;
	return !strstr(text, "populated 0");
}

bool tree_update(struct tree *tree)
{
	if (tree->empty)
		return true;
	if (tree->fd < 0) {
		tree->empty = tree->leader <= 0 || tree_proc_signal(tree->leader, 0) == 0;
		return tree->empty;
	}

	/* Almost always it is empty when the leader is dead, so trying is the quickest way. */
	if (unlinkat(tree->parent_fd, tree->name, AT_REMOVEDIR) < 0 && errno != ENOENT) {
		if (is_populated(tree))
			return false;
		visit(tree->fd, 0, remove_children, 0);
		if (unlinkat(tree->parent_fd, tree->name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			agent_log("cgroup %s: cannot be removed: %s", tree->name,
				  error_errno_text(errno));
	}
	tree->fd = fd_close(tree->fd);
	tree->empty = true;
	return true;
}

int tree_watch_fd(struct tree *tree)
{
	if (tree->fd < 0)
		return -ENOTSUP;
	int fd = openat(tree->fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void tree_rearm(int watch_fd)
{
	/* kernfs signals POLLPRI until the file is read again. */
	char text[128];
	ssize_t k = pread(watch_fd, text, sizeof(text), 0);
	(void)k;
}

bool tree_was_oom_killed(const struct tree *tree)
{
	static const char key[] = "\noom_kill ";
	_cleanup_free_ char *text = NULL;
	if (tree->fd < 0 || fd_read_file(tree->fd, "memory.events", 4096, true, &text, NULL) < 0)
		return false;
	const char *p = strstr(text, key);
	return p && p[sizeof(key) - 1] != '0';
}
