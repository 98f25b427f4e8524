/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/cli.h"

#define TEXT_MAX_BYTES 2048

/*
 * Messages may hold what the guest said (its console, its paths): no byte of theirs may move the
 * cursor or answer back in the user's terminal. C1 controls are C2 80 to C2 9F in UTF-8.
 */
void cli_make_harmless(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p; p++) {
		bool c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f;
		if (*p < ' ' || *p == 0x7f)
			*p = '?';
		else if (c1)
			p[0] = p[1] = '?';
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
