/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/id-set.h"

#include <stdio.h>
#include <stdlib.h>

#include "harness/failing-alloc.h"
#include "harness/tap.h"

static const char *name(unsigned i)
{
	static char text[32];
	snprintf(text, sizeof(text), "job-%u", i);
	return text;
}

static void test_remembers(void)
{
	struct id_set set = { 0 };
	CHECK(!id_set_has(&set, "a"));
	for (unsigned i = 0; i < 10000; i++)
		id_set_add(&set, name(i));
	id_set_add(&set, name(3)); /* twice is once */
	CHECK_INT(set.newer.used, ==, 10000);
	for (unsigned i = 0; i < 10000; i++)
		CHECK(id_set_has(&set, name(i)));
	for (unsigned i = 10000; i < 20000; i++)
		CHECK(!id_set_has(&set, name(i)));
	id_set_done(&set);
}

static void test_is_bounded(void)
{
	struct id_set set = { 0 };
	for (unsigned i = 0; i < 3 * ID_SET_GENERATION; i++)
		id_set_add(&set, name(i));
	CHECK_INT(set.newer.n_slots, <=, 2 * ID_SET_GENERATION);
	CHECK_INT(set.older.n_slots, <=, 2 * ID_SET_GENERATION);
	for (unsigned i = 2 * ID_SET_GENERATION; i < 3 * ID_SET_GENERATION; i++)
		CHECK(id_set_has(&set, name(i)));
	CHECK(!id_set_has(&set, name(0)));
	id_set_done(&set);
}

static void test_no_memory(void)
{
	struct id_set set = { 0 };
	failing_alloc_arm_from(1);
	id_set_add(&set, "a");
	CHECK(failing_alloc_disarm());
	CHECK(!id_set_has(&set, "a"));
	id_set_add(&set, "a");
	CHECK(id_set_has(&set, "a"));
	id_set_done(&set);
}

static const struct tap_test tests[] = {
	{ "remembers", test_remembers },
	{ "is bounded", test_is_bounded },
	{ "no memory", test_no_memory },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
