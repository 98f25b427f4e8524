/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static enum cove_origin process_origin = COVE_ORIGIN_HOST;

void error_set_origin(enum cove_origin origin)
{
	process_origin = origin;
}

/* A message is one line whatever a path or a peer put into it. */
static void make_one_line(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

static _printf_(5, 0) int set(struct cove_error *err, int code, enum cove_stage stage, int os_errno,
			      const char *format, va_list args)
{
	if (!err)
		return code;
	if (os_errno < 0)
		os_errno = -os_errno;
	err->code = code;
	err->os_errno = os_errno;
	err->stage = stage;
	err->origin = process_origin;
	vsnprintf(err->message, sizeof(err->message), format, args);
	if (os_errno) {
		size_t n = strlen(err->message);
		snprintf(err->message + n, sizeof(err->message) - n, ": %s",
			 error_errno_text(os_errno));
	}
	make_one_line(err->message);
	return code;
}

int error_set(struct cove_error *err, int code, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int r = set(err, code, COVE_STAGE_NONE, 0, format, args);
	va_end(args);
	return r;
}

int error_set_errno(struct cove_error *err, int code, int os_errno, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int r = set(err, code, COVE_STAGE_NONE, os_errno, format, args);
	va_end(args);
	return r;
}

int error_set_start(struct cove_error *err, enum cove_stage stage, int os_errno, const char *format,
		    ...)
{
	va_list args;
	va_start(args, format);
	int r = set(err, COVE_E_START, stage, os_errno, format, args);
	va_end(args);
	return r;
}

int error_add_context(struct cove_error *err, int code, const char *format, ...)
{
	if (!err)
		return code;

	char old[COVE_ERROR_MESSAGE_MAX];
	memcpy(old, err->message, sizeof(old));

	va_list args;
	va_start(args, format);
	vsnprintf(err->message, sizeof(err->message), format, args);
	va_end(args);

	size_t n = strlen(err->message);
	snprintf(err->message + n, sizeof(err->message) - n, ": %s", old);
	make_one_line(err->message);
	return err->code ? err->code : code;
}

const char *error_code_name(int code)
{
	switch (code) {
#define NAME(name, number, text)                                                                   \
	case COVE_E_##name:                                                                        \
		return #name;
		COVE_ERROR_LIST(NAME)
#undef NAME
	}
	return "?";
}

const char *error_code_text(int code)
{
	switch (code) {
#define TEXT(name, number, text)                                                                   \
	case COVE_E_##name:                                                                        \
		return text;
		COVE_ERROR_LIST(TEXT)
#undef TEXT
	}
	return "unknown error";
}

const char *error_stage_name(int stage)
{
	static const char *const names[] = {
		[COVE_STAGE_NONE] = "none",   [COVE_STAGE_REQUEST] = "request",
		[COVE_STAGE_CWD] = "cwd",     [COVE_STAGE_USER] = "user",
		[COVE_STAGE_GROUP] = "group", [COVE_STAGE_RLIMIT] = "rlimit",
		[COVE_STAGE_TTY] = "tty",     [COVE_STAGE_STDIO] = "stdio",
		[COVE_STAGE_EXEC] = "exec",
	};
	return stage >= 0 && (size_t)stage < ARRAY_SIZE(names) ? names[stage] : "?";
}

const char *error_origin_name(int origin)
{
	static const char *const names[] = {
		[COVE_ORIGIN_HOST] = "host",
		[COVE_ORIGIN_SUPERVISOR] = "supervisor",
		[COVE_ORIGIN_GUEST] = "guest",
	};
	return origin >= 0 && (size_t)origin < ARRAY_SIZE(names) ? names[origin] : "?";
}

const char *error_errno_text(int os_errno)
{
	static _Thread_local char unknown[32];

	/* strerrordesc_np() neither translates nor allocates (glibc ≥ 2.32). */
	const char *text = strerrordesc_np(os_errno < 0 ? -os_errno : os_errno);
	if (text)
		return text;
	snprintf(unknown, sizeof(unknown), "errno %d", os_errno);
	return unknown;
}
