/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LINT_ANALYZER_ERRNO_H
#define LINT_ANALYZER_ERRNO_H

/*
 * Included by force when clang-tidy reads a file, never in a build. The analyzer takes errno for any
 * number, so that after `return -errno` it looks at what would happen if that were no failure, and
 * it cannot negate a number that it only knows to be positive. Here errno is one of a few that code
 * asks for, and one that it does not.
 */

#include <errno.h>

int analyzer_unknown(void);

#undef errno
#define errno                                                                                      \
	(*({                                                                                       \
		int *_errno = __errno_location();                                                  \
		*_errno = analyzer_unknown()   ? EINTR                                             \
			  : analyzer_unknown() ? ENOENT                                            \
					       : EIO;                                              \
		_errno;                                                                            \
	}))

#endif
