/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LINT_ANALYZER_H
#define LINT_ANALYZER_H

/*
 * Included by force when clang-tidy reads a file, never in a build: what the analyzer cannot know,
 * so that it does not go on past a `return` of an error as if it had been a success.
 */

#include <errno.h>

#include "base/error.h"

int analyzer_unknown(void);

/*
 * errno would be any number, and a number that is only known to be positive cannot be negated. So
 * it is one of a few that code asks for, or one that it does not.
 */
#undef errno
#define errno                                                                                      \
	(*({                                                                                       \
		int *_errno = __errno_location();                                                  \
		*_errno = analyzer_unknown() ? EINTR : (analyzer_unknown() ? ENOENT : EIO);        \
		_errno;                                                                            \
	}))

/* These return their code. */
#define error_set(err, code, ...)	  (error_set(err, code, __VA_ARGS__), (code))
#define error_set_errno(err, code, ...)	  (error_set_errno(err, code, __VA_ARGS__), (code))
#define error_set_start(err, stage, ...)  (error_set_start(err, stage, __VA_ARGS__), COVE_E_START)
#define error_add_context(err, code, ...) (error_add_context(err, code, __VA_ARGS__), (code))

#endif
