/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/cgroup.h"

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

/* A command may make cgroups below its own. Deeper ones than this are left to the kernel's kill. */
#define CGROUP_DEPTH_MAX 16
/* Of cgroup.procs: a hundred thousand processes. */
#define CGROUP_PROCS_MAX ((size_t)1024 * 1024)
/* Rounds of killing where it is not atomic: each one finds what was born during the last. */
#define CGROUP_KILL_ROUNDS 16

void cgroups_init(struct cgroups *all, int dir_fd)
{
	*all = (struct cgroups){ .dir_fd = dir_fd };
	list_init(&all->spare);
}

/* ---- one of them ---- */

static void close_cgroup(struct cgroup *c)
{
	fd_close(c->dir_fd);
	fd_close(c->events_fd);
	fd_close(c->memory_fd);
	free(c);
}

static int remove_folder(const struct cgroup *c)
{
	return unlinkat(c->all->dir_fd, c->name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

static int make(struct cgroups *all, struct cgroup **ret)
{
	struct cgroup *c = malloc(sizeof(*c));
	if (!c)
		return -ENOMEM;
	*c = (struct cgroup){ .all = all, .dir_fd = -1, .events_fd = -1, .memory_fd = -1 };
	list_init(&c->in_spare);
	int r;
	do { /* a name that a command has taken, or that could not be removed, is passed over */
		snprintf(c->name, sizeof(c->name), "s%llu", (unsigned long long)++all->serial);
		r = mkdirat(all->dir_fd, c->name, 0755) < 0 ? -errno : 0;
	} while (r == -EEXIST);
	if (r < 0) {
		free(c);
		return r;
	}
	c->dir_fd = openat(all->dir_fd, c->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->dir_fd >= 0)
		c->events_fd = openat(c->dir_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	if (c->events_fd < 0) {
		r = -errno;
		remove_folder(c);
		close_cgroup(c);
		return r;
	}
	c->memory_fd = openat(c->dir_fd, "memory.events", O_RDONLY | O_CLOEXEC);
	*ret = c;
	return 0;
}

/* The number after the key, at the beginning of a line, in one of the kernel's small tables. */
static uint64_t read_field(int fd, const char *key)
{
	char text[512];
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);
	if (n < 0)
		return 0;
	text[n] = 0;
	size_t size = strlen(key);
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, key, size) == 0 && line[size] == ' ')
			return strtoull(line + size, NULL, 10);
	}
	return 0;
}

static uint64_t count_oom_kills(const struct cgroup *c)
{
	return read_field(c->memory_fd, "oom_kill");
}

bool cgroup_was_oom_killed(struct cgroup *c)
{
	return count_oom_kills(c) > c->oom_kills;
}

/* ---- in and out ---- */

static void put_aside(struct cgroup *c)
{
	list_append(&c->all->spare, &c->in_spare);
	c->all->n_spare++;
}

void cgroups_prepare(struct cgroups *all)
{
	struct cgroup *c;
	while (all->dir_fd >= 0 && all->n_spare < CGROUPS_SPARE_FIRST && make(all, &c) >= 0)
		put_aside(c);
}

int cgroup_take(struct cgroups *all, struct cgroup **ret)
{
	*ret = NULL;
	if (all->dir_fd < 0)
		return 0;
	if (list_empty(&all->spare))
		return make(all, ret);
	struct cgroup *c = LIST_ENTRY(all->spare.next, struct cgroup, in_spare);
	list_remove(&c->in_spare);
	all->n_spare--;
	c->oom_kills = count_oom_kills(c);
	*ret = c;
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
		while (depth < CGROUP_DEPTH_MAX && (entry = readdir(dir))) {
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

/* A folder of cgroupfs is removed with its files. */
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

/*
 * Never killed, and without cgroups below it. Some kernels (6.18 is one) compare a counter of kills
 * with the wrong cgroup's when a process is born into another cgroup than its parent's, and kill
 * whatever is born into one that was killed before.
 */
static bool is_as_made(const struct cgroup *c)
{
	struct stat st;
	return !c->killed && fstat(c->dir_fd, &st) == 0 && st.st_nlink == 2;
}

bool cgroup_give_back(struct cgroup *c)
{
	if (read_field(c->events_fd, "populated") != 0)
		return false;
	if (c->all->n_spare < CGROUPS_SPARE_MAX && is_as_made(c)) {
		put_aside(c);
		return true;
	}
	int r = remove_folder(c);
	if (r < 0) {
		visit(c->dir_fd, 0, remove_children, 0);
		r = remove_folder(c);
	}
	if (r < 0)
		agent_log("cgroup %s stays: %s", c->name, error_errno_text(r));
	close_cgroup(c);
	return true;
}

void cgroup_abandon(struct cgroup *c)
{
	if (!cgroup_give_back(c))
		close_cgroup(c);
}

void cgroups_done(struct cgroups *all)
{
	LIST_FOREACH_SAFE (i, &all->spare) {
		struct cgroup *c = LIST_ENTRY(i, struct cgroup, in_spare);
		list_remove(&c->in_spare);
		remove_folder(c);
		close_cgroup(c);
	}
	all->n_spare = 0;
	all->dir_fd = fd_close(all->dir_fd);
}

/* ---- signals ---- */

static void signal_procs(int fd, int signal)
{
	_cleanup_free_ char *text = NULL;
	if (fd_read_file(fd, "cgroup.procs", CGROUP_PROCS_MAX, true, &text, NULL) < 0)
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

void cgroup_signal(struct cgroup *c, int signal)
{
	visit(c->dir_fd, 0, signal_procs, signal);
}

void cgroup_kill(struct cgroup *c)
{
	c->killed = true;
	if (fd_write_string(c->dir_fd, "cgroup.kill", "1") >= 0)
		return;
	/* A kernel before 5.14: this is a test's agent on somebody's host. */
	for (unsigned i = 0; i < CGROUP_KILL_ROUNDS; i++)
		cgroup_signal(c, SIGKILL);
}
