/* SPDX-License-Identifier: Apache-2.0 */
#include "image/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int text_format(char **ret, const char *format, ...)
{
	char *text;
	va_list args;
	va_start(args, format);
	int n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0)
		return -ENOMEM;
	*ret = text;
	return 0;
}
