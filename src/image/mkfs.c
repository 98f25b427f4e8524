/* SPDX-License-Identifier: Apache-2.0 */
#include "image/mkfs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/macro.h"
#include "image/text.h"

#define BLOCK_SIZE UINT64_C(4096)
#define MIB	   (UINT64_C(1) << 20)

/*
 * The journal is where a guest's metadata goes round and round, so it is what an overlay grows by
 * even when little is kept; 16 MiB is plenty for the load of one sandbox.
 */
#define JOURNAL_MIN_MIB 4
#define JOURNAL_MAX_MIB 16

/* Group descriptors are reserved for growing up to here; they cost 256 KiB. */
#define RESIZE_MAX_BYTES (UINT64_C(1) << 40)

/*
 * - Checksums guard against bad storage; under this filesystem lies the host's, which has its own
 *   idea of that. Each metadata block read would cost a CRC in a possibly emulated guest.
 *   uninit_bg is what is left of them, and needed to leave the inode tables unwritten.
 * - 64bit is for more than 16 TiB.
 */
#define FEATURES                                                                                   \
	"none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,flex_bg,sparse_super,"   \
	"large_file,huge_file,uninit_bg,dir_nlink,extra_isize"

static int find_program(const char *name, char *ret, size_t size)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *places = NULL;
	if (text_format(&places, "%s:/usr/sbin:/sbin", path ? path : "") < 0)
		return -ENOMEM;
	char *rest = places;
	for (const char *place; (place = strsep(&rest, ":"));) {
		int n = snprintf(ret, size, "%s/%s", place, name);
		if (*place == '/' && n > 0 && (size_t)n < size && access(ret, X_OK) == 0)
			return 0;
	}
	return -ENOENT;
}

/* Only async-signal-safe calls: the caller may have threads. */
static void child(const char *program, const char *const argv[], int output)
	__attribute__((noreturn));
static void child(const char *program, const char *const argv[], int output)
{
	static const char *const environment[] = {
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
		"LC_ALL=C",
		"MKE2FS_CONFIG=/dev/null", /* the same everywhere, whatever the administrator likes */
		NULL,
	};
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);

	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
	    dup2(output, STDERR_FILENO) < 0)
		_exit(127);
	execve(program, (char *const *)argv, (char *const *)environment);
	_exit(127);
}

/* The program's last words: the last line of its standard error. */
static void read_last_line(int fd, char *ret, size_t size)
{
	char text[4096];
	size_t used = 0;
	ssize_t n;
	do {
		if (used == sizeof(text)) { /* the beginning is the less interesting half */
			memcpy(text, text + sizeof(text) / 2, sizeof(text) / 2);
			used = sizeof(text) / 2;
		}
		n = read(fd, text + used, sizeof(text) - used);
		if (n > 0)
			used += (size_t)n;
	} while (n > 0 || (n < 0 && errno == EINTR));

	while (used > 0 && strchr("\n ", text[used - 1]))
		used--;
	size_t start = used;
	while (start > 0 && text[start - 1] != '\n')
		start--;
	snprintf(ret, size, "%.*s", (int)(used - start), text + start);
}

static int run(const char *program, const char *const argv[], struct cove_error *err)
{
	int pipe_fds[2];
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return error_set_errno(err, COVE_E_SYSTEM, errno, "pipe");
	_cleanup_close_ int reader = pipe_fds[0];
	_cleanup_close_ int writer = pipe_fds[1];

	pid_t pid = fork();
	if (pid < 0)
		return error_set_errno(err, COVE_E_SYSTEM, errno, "fork");
	if (pid == 0)
		child(program, argv, writer);
	close(TAKE_FD(writer));

	char words[256];
	int status;
	read_last_line(reader, words, sizeof(words));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return error_set_errno(err, COVE_E_SYSTEM, errno, "waiting for %s",
					       program);
	if (WIFSIGNALED(status))
		return error_set(err, COVE_E_SYSTEM, "%s was ended by signal %d", program,
				 WTERMSIG(status));
	if (WEXITSTATUS(status) != 0 && *words)
		return error_set(err, COVE_E_SYSTEM, "%s", words); /* they begin with its name */
	if (WEXITSTATUS(status) != 0)
		return error_set(err, COVE_E_SYSTEM, "%s failed", program);
	return 0;
}

int mkfs_ext4(const char *path, uint64_t size, struct cove_error *err)
{
	char program[4096];
	int r = find_program("mke2fs", program, sizeof(program));
	if (r == -ENOMEM)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	if (r < 0)
		return error_set(err, COVE_E_MISSING,
				 "mke2fs is not installed (Debian: apt install e2fsprogs)");

	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return error_set_errno(err, COVE_E_SYSTEM, errno, "%.200s", path);

	char journal[32], extended[256];
	uint64_t journal_mib = MAX(size / MIB / 64, (uint64_t)JOURNAL_MIN_MIB);
	journal_mib = MIN(journal_mib, (uint64_t)JOURNAL_MAX_MIB);
	snprintf(journal, sizeof(journal), "size=%u", (unsigned)journal_mib);
	int n = snprintf(
		extended, sizeof(extended),
		"nodiscard,lazy_itable_init=1,lazy_journal_init=1,"
		/* a new file reads as zeros: nothing is left for the guest to initialise */
		"assume_storage_prezeroed=1,root_owner=0:0");
	if (size < RESIZE_MAX_BYTES)
		snprintf(extended + n, sizeof(extended) - (size_t)n, ",resize=%llu",
			 (unsigned long long)(RESIZE_MAX_BYTES / BLOCK_SIZE));

	/* clang-format off */
	const char *const argv[] = {
		"mke2fs", "-q", "-F", "-b", "4096", "-I", "256", "-i", "8192", "-m", "0",
		"-O", FEATURES, "-J", journal, "-E", extended, path, NULL,
	};
	/* clang-format on */
	return run(program, argv, err);
}
