/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_UTF8_H
#define LIB_UTF8_H

#include <stddef.h>

/*
 * How many of the n bytes, from the first, are valid UTF-8 without NUL: n when all are, else the
 * offset of the first byte of the first sequence that is not. Surrogates, overlong forms and what
 * is above U+10FFFF are not.
 */
size_t utf8_valid(const char *data, size_t n);

#endif
