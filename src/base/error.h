/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

/*
 * Filling struct cove_error. Every function here takes err == NULL, and returns `code`, so that
 *
 *	return error_set(err, COVE_E_INVALID, "the name is empty");
 *
 * is the whole of an error path. The origin is that of the process (error_set_origin), since one
 * process is one part.
 */

#include "base/macro.h"
#include "cove/error.h"

/* What this process is. Called once, first thing in main(); COVE_ORIGIN_HOST if never called. */
void error_set_origin(enum cove_origin origin);

int error_set(struct cove_error *err, int code, const char *format, ...) _printf_(3, 4);

/* With an errno (positive or negative), whose text is appended: "…: No such file or directory". */
int error_set_errno(struct cove_error *err, int code, int os_errno, const char *format, ...)
	_printf_(4, 5);

/* A failed start: COVE_E_START with stage and errno. */
int error_set_start(struct cove_error *err, enum cove_stage stage, int os_errno, const char *format,
		    ...) _printf_(4, 5);

/* Puts "context: " before the message that is there. Returns err->code, or `code` without err. */
int error_add_context(struct cove_error *err, int code, const char *format, ...) _printf_(3, 4);

const char *error_code_name(int code); /* "INVALID", or "?" */
const char *error_code_text(int code);
const char *error_stage_name(int stage);   /* "exec", or "?" */
const char *error_origin_name(int origin); /* "guest", or "?" */

/*
 * strerror() without locale and without allocation, the same in the static agent and the library:
 * "No such file or directory". Unknown numbers give "errno N" in a static buffer per thread.
 */
const char *error_errno_text(int os_errno);

#endif
