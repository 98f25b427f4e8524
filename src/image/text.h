/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_TEXT_H
#define IMAGE_TEXT_H

#include "base/macro.h"

/* asprintf() that leaves *ret alone when it fails: -ENOMEM. What it leaves otherwise is anything. */
int text_format(char **ret, const char *format, ...) _printf_(2, 3) _must_check_;

#endif
