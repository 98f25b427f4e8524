/* SPDX-License-Identifier: Apache-2.0 */
#include "base/name.h"

#include <string.h>

/* Not isalnum(): these names must not depend on a locale. */
static bool is_lower_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_punctuation(char c)
{
	return c == '_' || c == '.' || c == '-';
}

bool name_valid(const char *name)
{
	size_t n = strnlen(name, NAME_MAX_BYTES + 1);
	if (n == 0 || n > NAME_MAX_BYTES || !is_lower_or_digit(name[0]))
		return false;
	for (size_t i = 1; i < n; i++)
		if (!is_lower_or_digit(name[i]) && !is_punctuation(name[i]))
			return false;
	return true;
}

bool session_id_valid(const void *id, size_t size)
{
	const char *s = id;
	if (size == 0 || size > SESSION_ID_MAX_BYTES || is_punctuation(s[0]))
		return false;
	for (size_t i = 0; i < size; i++)
		if (!is_lower_or_digit(s[i]) && !(s[i] >= 'A' && s[i] <= 'Z') &&
		    !is_punctuation(s[i]))
			return false;
	return true;
}
