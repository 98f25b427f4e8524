/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/utf8.h"
#include "cli/cli.h"

#define TEXT_MAX_BYTES 2048

/* C0 and C1; and what ends a line, or turns the direction of what follows (U+2028 to 202E, 2066 to 2069). */
static bool is_control(const unsigned char *p)
{
	if (*p < ' ' || *p == 0x7f)
		return true;
	if (*p == 0xc2)
		return p[1] <= 0x9f;
	return *p == 0xe2 && ((p[1] == 0x80 && p[2] >= 0xa8 && p[2] <= 0xae) ||
			      (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9));
}

/*
 * Messages may hold what the guest said (its console, its paths): no byte of theirs may move the
 * cursor or answer back in the user's terminal, nor show as something else. What is no UTF-8 is a
 * control to terminals that do not use it.
 */
void cli_make_harmless(char *text)
{
	size_t n, left = strlen(text);
	for (unsigned char *p = (unsigned char *)text; left > 0; p += n, left -= n) {
		n = utf8_character(p, left);
		if (n == 0 || is_control(p)) {
			n += n == 0;
			memset(p, '?', n);
		}
	}
}

void cli_note(const struct cli_command *command, const char *format, ...)
{
	char text[TEXT_MAX_BYTES], line[TEXT_MAX_BYTES + 64];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	cli_make_harmless(text);
	snprintf(line, sizeof(line), "cove: %s%s%s\n", command ? cli_command_name(command) : "",
		 command ? ": " : "", text);
	/* One write, so that lines of several processes do not mix. There is nobody to tell. */
	_unused_ ssize_t k = write(STDERR_FILENO, line, strlen(line));
}

void cli_note_gap(const struct cli_args *args, uint64_t bytes, const char *what)
{
	cli_note(args->command, "%llu bytes of its %s %s", (unsigned long long)bytes, what,
		 args->values.lossy ? "are not kept any more, or were not taken in time (--lossy)"
				    : "are not kept any more (--replay)");
}

int cli_fail_error(const struct cli_command *command, const struct cove_error *err,
		   const char *hint)
{
	char where[64] = "";

	if (err->code == COVE_E_START)
		snprintf(where, sizeof(where), " [%s, at %s]", error_origin_name(err->origin),
			 error_stage_name(err->stage));
	else if (err->origin != COVE_ORIGIN_HOST)
		snprintf(where, sizeof(where), " [%s]", error_origin_name(err->origin));
	return cli_fail(command, "%s%s%s%s%s", err->message, where, hint ? " (" : "",
			hint ? hint : "", hint ? ")" : "");
}

int cli_finish(const struct cli_command *command, int status)
{
	bool bad = ferror(stdout);
	errno = 0;
	bad |= fflush(stdout) != 0;
	if (!bad)
		return status;
	if (errno == EPIPE)
		return CLI_EXIT_FAILURE;
	return cli_fail(command, "cannot write to stdout%s%s", errno ? ": " : "",
			errno ? error_errno_text(errno) : "");
}

void cli_state_text(const struct cove_sandbox_info *info, char *buffer, size_t size)
{
	const char *state = cove_sandbox_state_name(info->state);
	if (info->state == COVE_SANDBOX_ENDED)
		snprintf(buffer, size, "%s (%s)", state, cove_end_cause_name(info->end_cause));
	else
		snprintf(buffer, size, "%s%s", state, info->stalled ? " (stalled)" : "");
}
