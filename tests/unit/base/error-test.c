/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <errno.h>
#include <stdio.h>

#include "harness/tap.h"

static void test_set(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_INT(error_set(&err, COVE_E_INVALID, "%s is %d", "x", 3), ==, COVE_E_INVALID);
	CHECK_INT(err.code, ==, COVE_E_INVALID);
	CHECK_INT(err.os_errno, ==, 0);
	CHECK_INT(err.stage, ==, COVE_STAGE_NONE);
	CHECK_INT(err.origin, ==, COVE_ORIGIN_HOST);
	CHECK_STR(err.message, "x is 3");

	/* errno with either sign. */
	CHECK_INT(error_set_errno(&err, COVE_E_SYSTEM, -ENOENT, "open"), ==, COVE_E_SYSTEM);
	CHECK_INT(err.os_errno, ==, ENOENT);
	CHECK_STR(err.message, "open: No such file or directory");
	error_set_errno(&err, COVE_E_SYSTEM, ENOENT, "open");
	CHECK_INT(err.os_errno, ==, ENOENT);

	error_set_origin(COVE_ORIGIN_GUEST);
	CHECK_INT(error_set_start(&err, COVE_STAGE_EXEC, EACCES, "/x"), ==, COVE_E_START);
	CHECK_INT(err.code, ==, COVE_E_START);
	CHECK_INT(err.stage, ==, COVE_STAGE_EXEC);
	CHECK_INT(err.origin, ==, COVE_ORIGIN_GUEST);
	CHECK_STR(err.message, "/x: Permission denied");

	/* Nothing of an earlier error is left. */
	error_set(&err, COVE_E_LOST, "gone");
	CHECK_INT(err.os_errno, ==, 0);
	CHECK_INT(err.stage, ==, COVE_STAGE_NONE);
}

static void test_no_error_wanted(void)
{
	CHECK_INT(error_set(NULL, COVE_E_LIMIT, "x"), ==, COVE_E_LIMIT);
	CHECK_INT(error_set_errno(NULL, COVE_E_SYSTEM, ENOENT, "x"), ==, COVE_E_SYSTEM);
	CHECK_INT(error_set_start(NULL, COVE_STAGE_CWD, ENOENT, "x"), ==, COVE_E_START);
	CHECK_INT(error_add_context(NULL, COVE_E_BOOT, "x"), ==, COVE_E_BOOT);
}

static void test_context(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	error_set_start(&err, COVE_STAGE_CWD, ENOTDIR, "/etc/passwd");
	CHECK_INT(error_add_context(&err, COVE_E_SYSTEM, "sandbox \"%s\"", "a"), ==, COVE_E_START);
	CHECK_STR(err.message, "sandbox \"a\": /etc/passwd: Not a directory");
	CHECK_INT(err.os_errno, ==, ENOTDIR);
	CHECK_INT(err.stage, ==, COVE_STAGE_CWD);
}

/* A path, or a hostile guest, must not forge lines or reach the terminal. */
static void test_one_line(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	error_set(&err, COVE_E_INVALID, "a\nb\033[2Jc\r\177");
	CHECK_STR(err.message, "a?b?[2Jc??");
	error_add_context(&err, COVE_E_INVALID, "x\ny");
	CHECK_STR(err.message, "x?y: a?b?[2Jc??");
	error_set(&err, COVE_E_INVALID, "gr\303\274n"); /* UTF-8 stays */
	CHECK_STR(err.message, "gr\303\274n");
}

static void test_too_long(void)
{
	char text[2 * COVE_ERROR_MESSAGE_MAX];
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;

	struct cove_error err = COVE_ERROR_INIT;
	error_set_errno(&err, COVE_E_INVALID, EIO, "%s", text);
	CHECK_INT(strlen(err.message), ==, COVE_ERROR_MESSAGE_MAX - 1);
	error_add_context(&err, COVE_E_INVALID, "%s", text);
	CHECK_INT(strlen(err.message), ==, COVE_ERROR_MESSAGE_MAX - 1);
}

static void test_names(void)
{
	/* Every code has a name and a text, is negative, and no number is used twice. */
	static const struct {
		int number;
		const char *name, *text;
	} codes[] = {
#define CODE(name, number, text) { COVE_E_##name, #name, text },
		COVE_ERROR_LIST(CODE)
#undef CODE
	};
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		CHECK_STR(error_code_name(codes[i].number), codes[i].name);
		CHECK_STR(error_code_text(codes[i].number), codes[i].text);
		CHECK_INT(codes[i].number, <, 0);
		for (size_t j = 0; j < i; j++)
			CHECK_INT(codes[i].number, !=, codes[j].number);
	}
	CHECK_STR(error_code_name(0), "?");
	CHECK_STR(error_code_name(-1000), "?");
	CHECK_STR(error_code_text(-1000), "unknown error");

	CHECK_STR(error_stage_name(COVE_STAGE_EXEC), "exec");
	CHECK_STR(error_stage_name(COVE_STAGE_NONE), "none");
	CHECK_STR(error_stage_name(COVE_STAGE_EXEC + 1), "?");
	CHECK_STR(error_stage_name(-1), "?");
	CHECK_STR(error_origin_name(COVE_ORIGIN_GUEST), "guest");
	CHECK_STR(error_origin_name(99), "?");

	CHECK_STR(error_errno_text(ENOENT), "No such file or directory");
	CHECK_STR(error_errno_text(-ENOENT), "No such file or directory");
	CHECK_STR(error_errno_text(4000), "errno 4000");
}

static const struct tap_test tests[] = {
	{ "set", test_set },
	{ "without a place for it", test_no_error_wanted },
	{ "context goes before", test_context },
	{ "a message is one line", test_one_line },
	{ "a message that is too long", test_too_long },
	{ "names and texts", test_names },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
