/* SPDX-License-Identifier: Apache-2.0 */
#include "base/name.h"

#include <stdlib.h>

#include "harness/tap.h"

static void test_names(void)
{
	static const char *const good[] = { "a", "0", "a-b", "a.b_c-9", "9..", "a-" };
	static const char *const bad[] = {
		"",    ".",   "..",  "-a",	 "_a",	"A",	"aB",
		"a/b", "a b", "a\n", "\303\244", "a:b", "../x",
	};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (!name_valid(good[i]))
			tap_fail(__FILE__, __LINE__, "\"%s\" is refused", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (name_valid(bad[i]))
			tap_fail(__FILE__, __LINE__, "\"%s\" is accepted", bad[i]);
}

static void test_length(void)
{
	char name[NAME_MAX_BYTES + 2];
	memset(name, 'x', sizeof(name));
	name[NAME_MAX_BYTES] = 0;
	CHECK(name_valid(name));
	name[NAME_MAX_BYTES] = 'x';
	name[NAME_MAX_BYTES + 1] = 0;
	CHECK(!name_valid(name));
}

/* Every byte in every place, against the sentence in the header. */
static void test_all_bytes(void)
{
	for (int c = 1; c < 256; c++) {
		bool lower = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
		bool punctuation = c == '_' || c == '.' || c == '-';
		bool upper = c >= 'A' && c <= 'Z';
		char first[] = { (char)c, 'a', 0 }, second[] = { 'a', (char)c, 0 };
		CHECK_INT(name_valid(first), ==, lower);
		CHECK_INT(name_valid(second), ==, lower || punctuation);
		CHECK_INT(session_id_valid(first, 2), ==, lower || upper);
		CHECK_INT(session_id_valid(second, 2), ==, lower || upper || punctuation);
	}
}

static void test_session_ids(void)
{
	CHECK(!session_id_valid("", 0));
	CHECK(session_id_valid("1b4e28ba-2fa1-11d2-883f-0016d3cca427", 36));
	CHECK(!session_id_valid("a\0b", 3));
	char id[SESSION_ID_MAX_BYTES + 1]; /* not terminated: nothing past the size is read */
	memset(id, 'f', sizeof(id));
	CHECK(session_id_valid(id, SESSION_ID_MAX_BYTES));
	CHECK(!session_id_valid(id, SESSION_ID_MAX_BYTES + 1));
}

static const struct tap_test tests[] = {
	{ "names", test_names },
	{ "how long a name may be", test_length },
	{ "every byte in every place", test_all_bytes },
	{ "session ids", test_session_ids },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
