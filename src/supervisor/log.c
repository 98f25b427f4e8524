/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "supervisor/limits.h"

#define LOG_FILE "supervisor.log"

static size_t space; /* 0: no file, or full */

int log_open(int dir_fd)
{
	_cleanup_close_ int fd =
		openat(dir_fd, LOG_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || dup3(fd, STDERR_FILENO, 0) < 0)
		return -errno;
	space = SUPERVISOR_LOG_MAX;
	return 0;
}

static void write_line(const char *text)
{
	char line[1024];
	struct timespec now;
	struct tm tm;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	size_t n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%S", &tm);
	n += (size_t)snprintf(line + n, sizeof(line) - n, ".%03ldZ %.950s\n", now.tv_nsec / 1000000,
			      text);
	for (size_t i = 0; i < n - 1; i++) /* one line, whoever chose the words */
		if ((unsigned char)line[i] < ' ')
			line[i] = '?';
	if (n > space || fd_write_full(STDERR_FILENO, line, n) < 0)
		space = 0;
	else
		space -= n;
}

void log_line(const char *format, ...)
{
	char *text;
	va_list args;
	va_start(args, format);
	int r = space ? vasprintf(&text, format, args) : -1;
	va_end(args);
	if (r >= 0) {
		write_line(text);
		free(text);
	}
}
