/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <stdint.h>

#include "base/macro.h"

/* The table is the one of the Unicode standard (3.9, table 3-7): only the second byte has bounds of its own. */
size_t utf8_character(const void *data, size_t n)
{
	const uint8_t *p = data;
	static const struct {
		uint8_t first, last;	 /* of the first byte */
		uint8_t lowest, highest; /* of the second */
		uint8_t length;
	} forms[] = {
		{ 0x01, 0x7f, 0, 0, 1 },       { 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};
	unsigned i = 0;
	while (i < ARRAY_SIZE(forms) && (p[0] < forms[i].first || p[0] > forms[i].last))
		i++;
	if (i == ARRAY_SIZE(forms) || n < forms[i].length)
		return 0;
	if (forms[i].length > 1 && (p[1] < forms[i].lowest || p[1] > forms[i].highest))
		return 0;
	for (unsigned k = 2; k < forms[i].length; k++)
		if ((p[k] & 0xc0) != 0x80)
			return 0;
	return forms[i].length;
}

size_t utf8_valid(const char *data, size_t n)
{
	size_t i = 0, length;
	while (i < n && (length = utf8_character(data + i, n - i)) > 0)
		i += length;
	return i;
}
