/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/environment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "harness/failing-alloc.h"
#include "harness/tap.h"

/* String literals, which nobody writes to. */
#define LAYER(...) ((char **)(const char *[]){ __VA_ARGS__, NULL })

static void check(char **env, const char *const *expected)
{
	size_t i;
	for (i = 0; expected[i]; i++) {
		CHECK(env[i] != NULL);
		CHECK_STR(env[i], expected[i]);
	}
	CHECK(env[i] == NULL);
	free(env);
}

static void test_layers(void)
{
	char *const *layers[] = {
		LAYER("PATH=/bin", "HOME=/", "A=1"),
		NULL,
		LAYER("A=2", "B=image", "C=image"),
		LAYER("B", "C=call", "AA=x", "A", "PATH=", "=odd", "D=x=y=z"),
	};
	char **env;
	CHECK_OK(environment_compose(layers, ARRAY_SIZE(layers), &env));
	CHECK_STR(environment_get(env, "C"), "call");
	CHECK_STR(environment_get(env, "PATH"), "");
	CHECK_STR(environment_get(env, "D"), "x=y=z");
	CHECK(environment_get(env, "A") == NULL);
	CHECK(environment_get(env, "HOM") == NULL);
	check(env,
	      (const char *[]){ "HOME=/", "C=call", "AA=x", "PATH=", "=odd", "D=x=y=z", NULL });
}

static void test_last_counts(void)
{
	char *const *layers[] = { LAYER("A=1", "A=2", "A", "A=3", "B=1", "B", "", "C") };
	char **env;
	CHECK_OK(environment_compose(layers, 1, &env));
	check(env, (const char *[]){ "A=3", NULL });
	CHECK_OK(environment_compose(layers, 0, &env));
	check(env, (const char *[]){ NULL });
}

/* A hundred thousand entries, all of which the next layer repeats. */
static void test_many(void)
{
	enum { N = 100000 };
	char **list = calloc(N + 1, sizeof(*list));
	for (int i = 0; i < N; i++)
		CHECK_INT(asprintf(&list[i], "K%d=%d", i * 7919 % N, i), >, 0);
	char *const *layers[] = { list, list };
	char **env;
	uint64_t before = clock_monotonic_ms();
	CHECK_OK(environment_compose(layers, 2, &env));
	CHECK_INT(clock_monotonic_ms() - before, <,
		  5000); /* comparing all with all takes minutes */
	CHECK_STR(env[N - 1], list[N - 1]);
	CHECK(env[N] == NULL);
	for (int i = 0; i < N; i++)
		free(list[i]);
	free(list);
	free(env);
}

static void test_no_memory(void)
{
	char *const *layers[] = { LAYER("A=1") };
	for (unsigned long n = 1;; n++) {
		char **env;
		failing_alloc_arm(n);
		int r = environment_compose(layers, 1, &env);
		if (!failing_alloc_disarm()) {
			CHECK_OK(r);
			free(env);
			break;
		}
		CHECK_INT(r, ==, -ENOMEM);
	}
}

static const struct tap_test tests[] = {
	{ "layers", test_layers },
	{ "last counts", test_last_counts },
	{ "many", test_many },
	{ "no memory", test_no_memory },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
