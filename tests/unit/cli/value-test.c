/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>

#include "cli/cli.h"
#include "harness/tap.h"

struct value_case {
	const char *text;
	int r;
	uint64_t value;
};

static void check_cases(int (*parse)(const char *, uint64_t *), const struct value_case *cases,
			size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t value = 42;
		tap_note("\"%s\"", cases[i].text);
		CHECK_INT(parse(cases[i].text, &value), ==, cases[i].r);
		CHECK_INT(value, ==, cases[i].r < 0 ? 42 : cases[i].value);
	}
}

static void test_number(void)
{
	static const struct value_case cases[] = {
		{ "0", 0, 0 },
		{ "007", 0, 7 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE },
		{ "99999999999999999999", -ERANGE },
		{ "", -EINVAL },
		{ "-1", -EINVAL },
		{ "+1", -EINVAL },
		{ " 1", -EINVAL },
		{ "1 ", -EINVAL },
		{ "0x10", -EINVAL },
		{ "1.0", -EINVAL },
	};
	check_cases(cli_value_number, cases, ARRAY_SIZE(cases));
}

static void test_size(void)
{
	static const struct value_case cases[] = {
		{ "0", 0, 0 },
		{ "1024", 0, 1024 },
		{ "512M", 0, 512ULL << 20 },
		{ "512m", 0, 512ULL << 20 },
		{ "2G", 0, 2ULL << 30 },
		{ "2GB", 0, 2ULL << 30 },
		{ "2GiB", 0, 2ULL << 30 },
		{ "2gib", 0, 2ULL << 30 },
		{ "1k", 0, 1024 },
		{ "1T", 0, 1ULL << 40 },
		{ "7B", 0, 7 },
		{ "16777215T", 0, 16777215ULL << 40 },
		{ "16777216T", -ERANGE },
		{ "", -EINVAL },
		{ "M", -EINVAL },
		{ "1X", -EINVAL },
		{ "1MM", -EINVAL },
		{ "1Mi", -EINVAL },
		{ "1iB", -EINVAL },
		{ "1.5G", -EINVAL },
		{ "-1M", -EINVAL },
	};
	check_cases(cli_value_size, cases, ARRAY_SIZE(cases));
}

static void test_size_text(void)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{ 0, "0" },
		{ 1, "1" },
		{ 1023, "1023" },
		{ 1024, "1K" },
		{ 1025, "1025" },
		{ 512ULL << 20, "512M" },
		{ 1536ULL << 20, "1536M" },
		{ 1ULL << 30, "1G" },
		{ 2048ULL << 40, "2048T" },
		{ UINT64_MAX, "18446744073709551615" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[32];
		uint64_t back;
		cli_size_text(cases[i].bytes, text, sizeof(text));
		CHECK_STR(text, cases[i].text);
		CHECK_OK(cli_value_size(text, &back));
		CHECK(back == cases[i].bytes);
	}
}

static void test_duration(void)
{
	static const struct value_case cases[] = {
		{ "0", 0, 0 },
		{ "30", 0, 30000 },
		{ "30s", 0, 30000 },
		{ "500ms", 0, 500 },
		{ "2m", 0, 120000 },
		{ "1h", 0, 3600000 },
		{ "0.5", 0, 500 },
		{ "1.5s", 0, 1500 },
		{ "0.25h", 0, 900000 },
		{ "1.25ms", 0, 2 }, /* up: a limit that was asked for never becomes none */
		{ "0.0001", 0, 1 },
		{ "0.0000000001", 0, 1 },
		{ "0.0000000000", 0, 0 },
		{ "1.999999999999999999999", 0, 2000 },
		{ "18446744073709551615ms", 0, UINT64_MAX },
		{ "18446744073709551615.5ms", -ERANGE },
		{ "18446744073709552s", -ERANGE },
		{ "", -EINVAL },
		{ "s", -EINVAL },
		{ "1.", -EINVAL },
		{ ".5", -EINVAL },
		{ "1.s", -EINVAL },
		{ "1d", -EINVAL },
		{ "1 s", -EINVAL },
		{ "1m30s", -EINVAL },
		{ "-1s", -EINVAL },
		{ "1,5", -EINVAL },
	};
	check_cases(cli_value_duration_ms, cases, ARRAY_SIZE(cases));
}

static void test_signal(void)
{
	static const struct value_case cases[] = {
		{ "TERM", 0, SIGTERM },
		{ "SIGTERM", 0, SIGTERM },
		{ "sigterm", 0, SIGTERM },
		{ "int", 0, SIGINT },
		{ "9", 0, SIGKILL },
		{ "64", 0, 64 },
		{ "0", -EINVAL },
		{ "65", -EINVAL },
		{ "99999999999999999999", -ERANGE },
		{ "", -EINVAL },
		{ "SIG", -EINVAL },
		{ "TERMINATE", -EINVAL },
		{ "-9", -EINVAL },
	};
	check_cases(cli_value_signal, cases, ARRAY_SIZE(cases));
}

static void test_rlimit(void)
{
	static const struct {
		const char *text;
		int r;
		struct cove_rlimit limit;
	} cases[] = {
		{ "nofile=1024", 0, { COVE_RLIMIT_NOFILE, 1024, 1024 } },
		{ "NOFILE=1:2", 0, { COVE_RLIMIT_NOFILE, 1, 2 } },
		{ "core=0", 0, { COVE_RLIMIT_CORE, 0, 0 } },
		{ "core=0:unlimited", 0, { COVE_RLIMIT_CORE, 0, COVE_RLIMIT_UNLIMITED } },
		{ "as=unlimited",
		  0,
		  { COVE_RLIMIT_AS, COVE_RLIMIT_UNLIMITED, COVE_RLIMIT_UNLIMITED } },
		{ "cpu=2:1", -EDOM },
		{ "cpu=unlimited:1", -EDOM },
		{ "cpu=99999999999999999999", -ERANGE },
		{ "cpu", -EINVAL },
		{ "cpu=", -EINVAL },
		{ "cpu=1:", -EINVAL },
		{ "cpu=:1", -EINVAL },
		{ "cpu=1:2:3", -EINVAL },
		{ "cpu=-1", -EINVAL },
		{ "=1", -EINVAL },
		{ "files=1", -EINVAL },
		{ "cpuu=1", -EINVAL },
		{ "", -EINVAL },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cove_rlimit limit = { COVE_RLIMIT_NICE, 5, 6 };
		tap_note("\"%s\"", cases[i].text);
		CHECK_INT(cli_value_rlimit(cases[i].text, &limit), ==, cases[i].r);
		if (cases[i].r == 0)
			CHECK_MEM(&limit, sizeof(limit), &cases[i].limit, sizeof(limit));
		else
			CHECK_INT(limit.resource, ==, COVE_RLIMIT_NICE);
	}
}

static void test_rlimit_names(void)
{
	for (unsigned i = 0; i < CLI_RLIMITS; i++) {
		char text[32];
		struct cove_rlimit limit;
		CHECK(cli_rlimit_names[i]);
		snprintf(text, sizeof(text), "%s=3", cli_rlimit_names[i]);
		CHECK_OK(cli_value_rlimit(text, &limit));
		CHECK_INT(limit.resource, ==, i);
	}
}

static void test_since(void)
{
	static const struct {
		const char *text;
		int r;
		struct cli_since since;
	} cases[] = {
		{ "start", 0, { COVE_FROM_START, 0, 0 } },
		{ "now", 0, { COVE_FROM_NOW, 0, 0 } },
		{ "0", 0, { COVE_FROM_OFFSET, 0, 0 } },
		{ "12", 0, { COVE_FROM_OFFSET, 12, 0 } },
		{ "12:34", 0, { COVE_FROM_OFFSET, 12, 34 } },
		{ "18446744073709551615:0", 0, { COVE_FROM_OFFSET, UINT64_MAX, 0 } },
		{ "18446744073709551616", -ERANGE },
		{ "0:18446744073709551616", -ERANGE },
		{ "", -EINVAL },
		{ "Now", -EINVAL },
		{ "nows", -EINVAL },
		{ ":", -EINVAL },
		{ "1:", -EINVAL },
		{ ":1", -EINVAL },
		{ "1:2:3", -EINVAL },
		{ "-1", -EINVAL },
		{ "1K", -EINVAL },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cli_since since = { COVE_FROM_NOW, 1, 2 };
		tap_note("\"%s\"", cases[i].text);
		CHECK_INT(cli_value_since(cases[i].text, &since), ==, cases[i].r);
		CHECK_INT(since.from, ==, cases[i].r ? COVE_FROM_NOW : cases[i].since.from);
		CHECK_INT(since.stdout_offset, ==, cases[i].r ? 1 : cases[i].since.stdout_offset);
		CHECK_INT(since.stderr_offset, ==, cases[i].r ? 2 : cases[i].since.stderr_offset);
	}
}

static const struct tap_test tests[] = {
	{ "numbers", test_number },
	{ "sizes", test_size },
	{ "sizes as text", test_size_text },
	{ "durations", test_duration },
	{ "signals", test_signal },
	{ "resource limits", test_rlimit },
	{ "every resource has its name", test_rlimit_names },
	{ "where output begins", test_since },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
