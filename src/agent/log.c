/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/poison.h"

void agent_log(const char *format, ...)
{
	static const char prefix[] = "cove-agent: ";
	char line[512];
	va_list args;

	va_start(args, format);
	memcpy(line, prefix, sizeof(prefix));
	vsnprintf(line + sizeof(prefix) - 1, sizeof(line) - sizeof(prefix), format, args);
	va_end(args);

	size_t n = strlen(line);
	line[n++] = '\n';
	/* One write, so that lines of others do not come in between. Nobody to tell if it fails. */
	ssize_t k = write(STDERR_FILENO, line, n);
	(void)k;
}
