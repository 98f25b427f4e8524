/* SPDX-License-Identifier: Apache-2.0 */
/* A session's processes by searching /proc; see tree.h for when and how good that is. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/tree.h"
#include "base/cleanup.h"
#include "base/fd.h"

#include "agent/poison.h"

struct process {
	pid_t pid;
	pid_t parent;
	pid_t session;
	bool member;
};

/* "pid (name) state ppid pgrp session …"; the name may hold anything. False: gone, or a zombie. */
static bool read_process(int proc_fd, const char *pid, struct process *ret)
{
	char path[32];
	_cleanup_free_ char *text = NULL;
	snprintf(path, sizeof(path), "%.10s/stat", pid);
	if (fd_read_file(proc_fd, path, 4096, true, &text, NULL) < 0)
		return false;
	char *p = strrchr(text, ')');
	if (!p || strlen(p) < 4)
		return false;
	char state = p[2];
	p += 3;
	*ret = (struct process){ .pid = (pid_t)strtol(pid, NULL, 10) };
	ret->parent = (pid_t)strtol(p, &p, 10);
	strtol(p, &p, 10);
	ret->session = (pid_t)strtol(p, &p, 10);
	return state != 'Z' && state != 'X';
}

static size_t read_processes(struct process **ret)
{
	size_t n = 0, allocated = 0;
	_cleanup_free_ struct process *list = NULL;
	_cleanup_closedir_ DIR *dir = opendir("/proc");
	struct dirent *entry;
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		if (n == allocated) {
			struct process *more =
				reallocarray(list, allocated * 2 + 64, sizeof(*list));
			if (!more)
				break;
			list = more;
			allocated = allocated * 2 + 64;
		}
		if (read_process(dirfd(dir), entry->d_name, &list[n]))
			n++;
	}
	*ret = TAKE_PTR(list);
	return n;
}

/* A process whose parent is a member becomes one. True when there was such a process. */
static bool spread(struct process *list, size_t n)
{
	bool found = false;
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < n && !list[i].member; j++)
			if (list[j].member && list[i].parent == list[j].pid)
				list[i].member = found = true;
	return found;
}

unsigned tree_proc_signal(pid_t leader, int signal)
{
	_cleanup_free_ struct process *list = NULL;
	size_t n = read_processes(&list);
	for (size_t i = 0; i < n; i++)
		list[i].member = list[i].session == leader || list[i].pid == leader;
	while (spread(list, n))
		;

	unsigned members = 0;
	for (size_t i = 0; i < n; i++)
		if (list[i].member) {
			members++;
			if (signal)
				kill(list[i].pid, signal);
		}
	return members;
}
