/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buffer.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "harness/failing-alloc.h"
#include "harness/tap.h"

static void test_empty(void)
{
	struct buffer b;
	buffer_init(&b, 10);
	CHECK_INT(b.size, ==, 0);
	CHECK(!buffer_front(&b));
	CHECK_OK(buffer_append(&b, NULL, 0));
	CHECK_OK(buffer_reserve(&b, 0, NULL));
	buffer_consume(&b, 0);
	buffer_trim(&b, 0);
	buffer_done(&b);
	buffer_done(&b);
	CHECK_INT(b.max, ==, 10);
}

static void test_maximum(void)
{
	struct buffer b;
	uint8_t *end;
	buffer_init(&b, 1000);
	CHECK_OK(buffer_append(&b, "0123456789", 10));
	CHECK_INT(buffer_reserve(&b, 991, &end), ==, -ENOBUFS);
	CHECK_INT(buffer_reserve(&b, SIZE_MAX, &end), ==, -ENOBUFS);
	CHECK_MEM(buffer_front(&b), b.size, "0123456789", 10);

	CHECK_OK(buffer_reserve(&b, 990, &end));
	memset(end, 'x', 990);
	buffer_commit(&b, 990);
	CHECK_INT(b.size, ==, 1000);
	CHECK_INT(buffer_append(&b, "x", 1), ==, -ENOBUFS);

	/* What was consumed is room again. */
	buffer_consume(&b, 999);
	CHECK_OK(buffer_append(&b, "y", 1));
	CHECK_MEM(buffer_front(&b), b.size, "xy", 2);
	CHECK_INT(b.allocated, <=, 1000);
	buffer_done(&b);

	buffer_init(&b, 0);
	CHECK_INT(buffer_append(&b, "x", 1), ==, -ENOBUFS);
	buffer_done(&b);
}

/* Against a model: what goes in comes out, in order, whatever the pieces. */
static void test_any_pieces(void)
{
	struct buffer b;
	buffer_init(&b, 5000);
	unsigned seed = 1;
	uint8_t in = 0, out = 0;
	for (int round = 0; round < 20000; round++) {
		size_t n = (size_t)rand_r(&seed) % 700;
		if (rand_r(&seed) % 2) {
			uint8_t *end;
			int r = buffer_reserve(&b, n, &end);
			if (n > 5000 - b.size) {
				CHECK_INT(r, ==, -ENOBUFS);
				continue;
			}
			CHECK_OK(r);
			for (size_t i = 0; i < n; i++)
				end[i] = in++;
			buffer_commit(&b, n);
		} else {
			n = MIN(n, b.size);
			for (size_t i = 0; i < n; i++)
				CHECK_INT(buffer_front(&b)[i], ==, out++);
			buffer_consume(&b, n);
		}
	}
	buffer_done(&b);
}

static void test_trim(void)
{
	struct buffer b;
	buffer_init(&b, 100000);
	uint8_t *end;
	CHECK_OK(buffer_reserve(&b, 50000, &end));
	buffer_commit(&b, 50000);
	buffer_trim(&b, 4096); /* holds something: nothing to give back */
	CHECK_INT(b.allocated, >=, 50000);
	buffer_consume(&b, 50000);
	buffer_trim(&b, 100000);
	CHECK_INT(b.allocated, >=, 50000);
	buffer_trim(&b, 4096);
	CHECK_INT(b.allocated, ==, 0);
	CHECK_OK(buffer_append(&b, "again", 5));
	CHECK_MEM(buffer_front(&b), b.size, "again", 5);
	buffer_done(&b);
}

static void test_no_memory(void)
{
	struct buffer b;
	buffer_init(&b, 100000);
	failing_alloc_arm(1);
	CHECK_INT(buffer_append(&b, "x", 1), ==, -ENOMEM);
	CHECK(failing_alloc_disarm());
	CHECK_OK(buffer_append(&b, "kept", 4));

	uint8_t *end;
	failing_alloc_arm(1);
	CHECK_INT(buffer_reserve(&b, 90000, &end), ==, -ENOMEM);
	CHECK(failing_alloc_disarm());
	CHECK_MEM(buffer_front(&b), b.size, "kept", 4);
	CHECK_OK(buffer_reserve(&b, 90000, &end));
	buffer_done(&b);
}

static const struct tap_test tests[] = {
	{ "an empty buffer", test_empty },
	{ "never past the maximum", test_maximum },
	{ "any pieces, in order", test_any_pieces },
	{ "trim gives memory back", test_trim },
	{ "no memory changes nothing", test_no_memory },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
