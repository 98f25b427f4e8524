/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>

/*
 * The bytes of the character at p, of which n > 0 bytes are there; 0 when it is not valid UTF-8, or is
 * NUL.
 */
size_t utf8_character(const void *p, size_t n);

/*
 * How many of the n bytes, from the first, are valid UTF-8 without NUL: n when all are, else the
 * offset of the first byte of the first sequence that is not. Surrogates, overlong forms and what
 * is above U+10FFFF are not.
 */
size_t utf8_valid(const char *data, size_t n);

#endif
