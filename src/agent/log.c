/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/poison.h"

#define LOG_PREFIX "cove-agent: "

void agent_log(const char *format, ...)
{
	char line[512] = LOG_PREFIX;
	va_list args;

	va_start(args, format);
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): clang 14 overlooks va_start() */
	vsnprintf(line + sizeof(LOG_PREFIX) - 1, sizeof(line) - sizeof(LOG_PREFIX), format, args);
	va_end(args);

	size_t n = strlen(line);
	line[n++] = '\n';
	/* One write, so that lines of others do not come in between. Nobody to tell if it fails. */
	ssize_t k = write(STDERR_FILENO, line, n);
	(void)k;
}
