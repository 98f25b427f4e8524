/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <strings.h>

#include "cli/cli.h"

#define SIGNAL_MAX 64 /* of Linux on x86-64 */

const char *const cli_rlimit_names[CLI_RLIMITS] = {
	[COVE_RLIMIT_CPU] = "cpu",	     [COVE_RLIMIT_FSIZE] = "fsize",
	[COVE_RLIMIT_DATA] = "data",	     [COVE_RLIMIT_STACK] = "stack",
	[COVE_RLIMIT_CORE] = "core",	     [COVE_RLIMIT_RSS] = "rss",
	[COVE_RLIMIT_NPROC] = "nproc",	     [COVE_RLIMIT_NOFILE] = "nofile",
	[COVE_RLIMIT_MEMLOCK] = "memlock",   [COVE_RLIMIT_AS] = "as",
	[COVE_RLIMIT_LOCKS] = "locks",	     [COVE_RLIMIT_SIGPENDING] = "sigpending",
	[COVE_RLIMIT_MSGQUEUE] = "msgqueue", [COVE_RLIMIT_NICE] = "nice",
	[COVE_RLIMIT_RTPRIO] = "rtprio",     [COVE_RLIMIT_RTTIME] = "rttime",
};

/*
 * Decimal digits at *text, which is moved behind them. Not strtoull(): that takes a sign and
 * leading white space, and "-1" for a very large number.
 */
static int take_digits(const char **text, uint64_t *ret)
{
	const char *p = *text;
	uint64_t value = 0;

	if (!isdigit((unsigned char)*p))
		return -EINVAL;
	for (; isdigit((unsigned char)*p); p++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			return -ERANGE;
	*text = p;
	*ret = value;
	return 0;
}

int cli_value_number(const char *text, uint64_t *ret)
{
	uint64_t value;
	int r = take_digits(&text, &value);
	if (r < 0)
		return r;
	if (*text)
		return -EINVAL;
	*ret = value;
	return 0;
}

/* "", "B", and "K", "KB" or "KiB" and so on: the power of two that they stand for. */
static int unit_shift(const char *text)
{
	static const char units[] = "KMGT";

	if (!*text || !strcasecmp(text, "B"))
		return 0;
	for (int i = 0; units[i]; i++)
		if (!strncasecmp(text, &units[i], 1) &&
		    (!text[1] || !strcasecmp(text + 1, "B") || !strcasecmp(text + 1, "iB")))
			return 10 * (i + 1);
	return -EINVAL;
}

int cli_value_size(const char *text, uint64_t *ret)
{
	uint64_t value;

	int r = take_digits(&text, &value);
	if (r < 0)
		return r;
	int shift = unit_shift(text);
	if (shift < 0)
		return shift;
	if (value > UINT64_MAX >> shift)
		return -ERANGE;
	*ret = value << shift;
	return 0;
}

void cli_size_text(uint64_t bytes, char *buffer, size_t size)
{
	static const char units[] = "KMGT";
	int unit = -1;

	while (bytes && bytes % 1024 == 0 && unit < 3) {
		bytes /= 1024;
		unit++;
	}
	snprintf(buffer, size, "%llu%.*s", (unsigned long long)bytes, unit >= 0,
		 &units[MAX(unit, 0)]);
}

/* What is after the dot, in microseconds; what is finer is rounded up, so that 0 stays "none". */
static int take_fraction_us(const char **text, uint64_t *ret)
{
	const char *p = *text;
	uint64_t value = 0;
	bool more = false;

	if (!isdigit((unsigned char)*p))
		return -EINVAL;
	for (uint64_t digit = 100000; isdigit((unsigned char)*p); p++, digit /= 10) {
		value += (uint64_t)(*p - '0') * digit;
		more |= digit == 0 && *p != '0';
	}
	*text = p;
	*ret = value + more;
	return 0;
}

int cli_value_duration_ms(const char *text, uint64_t *ret)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {
		{ "ms", 1 }, { "s", 1000 }, { "", 1000 }, { "m", 60 * 1000 }, { "h", 3600 * 1000 },
	};
	uint64_t value, fraction = 0;

	int r = take_digits(&text, &value);
	if (r < 0)
		return r;
	if (*text == '.') {
		text++;
		r = take_fraction_us(&text, &fraction);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (strcmp(text, units[i].name) != 0)
			continue;
		/* The fraction is of a unit: millionths of it. */
		uint64_t part = (fraction * units[i].ms + 999999) / 1000000;
		if (__builtin_mul_overflow(value, units[i].ms, &value) ||
		    __builtin_add_overflow(value, part, &value))
			return -ERANGE;
		*ret = value;
		return 0;
	}
	return -EINVAL;
}

int cli_value_signal(const char *text, uint64_t *ret)
{
	uint64_t number;
	int r = cli_value_number(text, &number);
	if (r == 0) {
		if (number < 1 || number > SIGNAL_MAX)
			return -EINVAL;
		*ret = number;
		return 0;
	}
	if (r == -ERANGE)
		return r;
	if (!strncasecmp(text, "SIG", 3))
		text += 3;
	for (int i = 1; i < NSIG; i++) {
		const char *name = sigabbrev_np(i);
		if (name && !strcasecmp(text, name)) {
			*ret = (uint64_t)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int rlimit_value(const char *text, size_t size, uint64_t *ret)
{
	char copy[32];

	if (size >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, size);
	copy[size] = 0;
	if (!strcmp(copy, "unlimited")) {
		*ret = COVE_RLIMIT_UNLIMITED;
		return 0;
	}
	return cli_value_number(copy, ret);
}

/* RESOURCE=SOFT[:HARD] */
int cli_value_rlimit(const char *text, struct cove_rlimit *ret)
{
	struct cove_rlimit limit = { .resource = 0 };
	const char *equals = strchr(text, '=');
	if (!equals)
		return -EINVAL;

	size_t name_size = (size_t)(equals - text), i;
	for (i = 0; i < CLI_RLIMITS; i++)
		if (strlen(cli_rlimit_names[i]) == name_size &&
		    !strncasecmp(text, cli_rlimit_names[i], name_size))
			break;
	if (i == CLI_RLIMITS)
		return -EINVAL;
	limit.resource = (enum cove_rlimit_resource)i;

	const char *soft = equals + 1;
	const char *colon = strchr(soft, ':');
	int r = rlimit_value(soft, colon ? (size_t)(colon - soft) : strlen(soft), &limit.soft);
	if (r < 0)
		return r;
	limit.hard = limit.soft;
	if (colon) {
		r = rlimit_value(colon + 1, strlen(colon + 1), &limit.hard);
		if (r < 0)
			return r;
	}
	if (limit.soft > limit.hard)
		return -EDOM;
	*ret = limit;
	return 0;
}

int cli_value_since(const char *text, struct cli_since *ret)
{
	struct cli_since since = { .from = COVE_FROM_OFFSET };

	if (!strcmp(text, "start") || !strcmp(text, "now")) {
		since.from = *text == 's' ? COVE_FROM_START : COVE_FROM_NOW;
		*ret = since;
		return 0;
	}
	int r = take_digits(&text, &since.stdout_offset);
	if (r == 0 && *text == ':') {
		text++;
		r = take_digits(&text, &since.stderr_offset);
	}
	if (r < 0)
		return r;
	if (*text)
		return -EINVAL;
	*ret = since;
	return 0;
}
