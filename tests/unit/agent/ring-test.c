/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness/failing-alloc.h"
#include "harness/tap.h"

/* Byte o of the channel, wherever it is in memory. */
static uint8_t byte_at(uint64_t o)
{
	return (uint8_t)(o * 2654435761u >> 13);
}

/* Writes what fits of n bytes; returns their number. */
static size_t put(struct ring *r, uint64_t keep, size_t n)
{
	struct iovec iov[2];
	size_t room = ring_prepare(r, keep, n, iov);
	CHECK_INT(room, ==, iov[0].iov_len + iov[1].iov_len);
	CHECK_INT(room, <=, n);
	for (size_t i = 0; i < room; i++) {
		uint8_t *p = i < iov[0].iov_len ? (uint8_t *)iov[0].iov_base + i
						: (uint8_t *)iov[1].iov_base + (i - iov[0].iov_len);
		*p = byte_at(r->end + i);
	}
	ring_commit(r, room);
	return room;
}

static void check_bytes(const struct ring *r, uint64_t from)
{
	struct iovec iov[2];
	size_t n = ring_peek(r, from, SIZE_MAX / 2, iov);
	CHECK_INT(n, ==, r->end - from);
	CHECK_INT(n, ==, iov[0].iov_len + iov[1].iov_len);
	for (size_t i = 0; i < n; i++) {
		const uint8_t *p = i < iov[0].iov_len
					   ? (uint8_t *)iov[0].iov_base + i
					   : (uint8_t *)iov[1].iov_base + (i - iov[0].iov_len);
		if (*p != byte_at(from + i))
			tap_fail(__FILE__, __LINE__, "byte %llu is wrong",
				 (unsigned long long)(from + i));
	}
}

static void test_grows(void)
{
	struct ring r;
	CHECK_OK(ring_init(&r, 100000));
	CHECK_INT(r.allocated, ==, RING_FIRST_ALLOCATION);
	CHECK_INT(put(&r, 0, 10), ==, 10);
	CHECK_INT(r.allocated, ==, RING_FIRST_ALLOCATION);
	for (int i = 0; i < 100; i++) {
		put(&r, r.end, 997);
		check_bytes(&r, r.start);
	}
	CHECK_INT(r.start, ==, 0);
	put(&r, r.end, 997);
	CHECK_INT(r.allocated, ==, 100000);
	CHECK_INT(r.end, ==, 10 + 101 * 997);
	CHECK_INT(r.end - r.start, ==, 100000);
	check_bytes(&r, r.start);
	ring_done(&r);
}

static void test_keeps(void)
{
	struct ring r;
	CHECK_OK(ring_init(&r, 5000));
	CHECK_INT(put(&r, 0, 4000), ==, 4000);
	CHECK_INT(put(&r, 0, 4000), ==, 1000); /* nothing may go */
	CHECK_INT(put(&r, 0, 1), ==, 0);
	CHECK_INT(put(&r, 100, 200), ==, 100);
	CHECK_INT(r.start, ==, 100);
	check_bytes(&r, 100);
	CHECK_INT(put(&r, r.end, 100000), ==, 5000); /* all may go */
	CHECK_INT(r.start, ==, 5100);
	check_bytes(&r, r.start);
	/* One that was overtaken is not kept for. */
	CHECK_INT(put(&r, 3, 10), ==, 0);
	ring_done(&r);
}

static void test_extends(void)
{
	struct ring r;
	CHECK_OK(ring_init(&r, 5000));
	while (r.end < 12345)
		put(&r, r.end, 321);
	uint64_t keep = r.start;
	CHECK_INT(put(&r, keep, 1), ==, 0);
	CHECK_OK(ring_extend(&r, keep, 70000));
	check_bytes(&r, keep);
	CHECK_INT(put(&r, keep, 70000), ==, 70000);
	check_bytes(&r, keep);
	CHECK_INT(r.start, ==, keep);
	/* Room that is there already costs nothing. */
	size_t allocated = r.allocated;
	CHECK_OK(ring_extend(&r, r.end, 70000));
	CHECK_INT(r.allocated, ==, allocated);
	ring_done(&r);
}

static void test_trims(void)
{
	struct ring r;
	CHECK_OK(ring_init(&r, 5000));
	ring_trim(&r);
	CHECK_INT(r.allocated, ==, 0);
	check_bytes(&r, 0);
	/* And goes on as if nothing had been. */
	CHECK_INT(put(&r, 0, 17), ==, 17);
	ring_trim(&r);
	CHECK_INT(r.allocated, ==, 17);
	check_bytes(&r, 0);
	while (r.end < 20000) {
		put(&r, r.end, 321);
		check_bytes(&r, r.start);
	}
	ring_trim(&r);
	check_bytes(&r, r.start);
	ring_drop(&r, r.end, 0);
	CHECK_INT(r.allocated, ==, 0);
	CHECK_INT(put(&r, r.end, 100), ==, 100);
	check_bytes(&r, r.end - 100);
	ring_done(&r);
}

static void test_drops(void)
{
	struct ring r;
	CHECK_OK(ring_init(&r, 100000));
	while (r.end < 50000)
		put(&r, 0, 5000);
	size_t allocated = r.allocated;
	ring_drop(&r, 49999, 4096);
	check_bytes(&r, 49999);
	CHECK_INT(r.start, ==, 49999);
	CHECK_INT(r.allocated, ==, allocated);
	/* What was dropped does not come back. */
	ring_drop(&r, 100, 4096);
	CHECK_INT(r.start, ==, 49999);
	ring_drop(&r, 50000, 4096);
	CHECK_INT(r.allocated, ==, 4096);
	/* It goes on, also with what it kept when there is no memory. */
	failing_alloc_arm_from(1);
	CHECK_INT(put(&r, r.end, 5000), ==, 4096);
	CHECK(failing_alloc_disarm());
	check_bytes(&r, 50000);
	while (r.end < 300000)
		put(&r, r.end - MIN(r.end, (uint64_t)1000), 7000);
	check_bytes(&r, r.start);
	ring_drop(&r, r.end, 0);
	CHECK_INT(r.allocated, ==, 0);
	/* There never was anything in this one. */
	ring_done(&r);
	ring_drop(&r, 0, 4096);
	CHECK_INT(r.allocated, ==, 0);
}

static void test_no_memory(void)
{
	struct ring r;
	failing_alloc_arm(1);
	CHECK_INT(ring_init(&r, 5000), ==, -ENOMEM);
	CHECK(failing_alloc_disarm());
	ring_done(&r);

	CHECK_OK(ring_init(&r, 100000));
	CHECK_INT(put(&r, 0, 4000), ==, 4000);
	failing_alloc_arm_from(1);
	CHECK_INT(put(&r, 0, 4000), ==, 96); /* it makes do */
	CHECK_INT(put(&r, 0, 4000), ==, 0);
	CHECK_INT(ring_extend(&r, 0, 10), ==, -ENOMEM);
	CHECK(failing_alloc_disarm());
	check_bytes(&r, 0);
	CHECK_INT(put(&r, 0, 4000), ==, 4000);
	check_bytes(&r, 0);
	ring_done(&r);
}

/* Any sequence of calls, against the bytes that should be there. */
static void test_random(void)
{
	for (unsigned seed = 1; seed <= 50; seed++) {
		struct ring r;
		srandom(seed);
		CHECK_OK(ring_init(&r, 4096 + (size_t)random() % 20000));
		uint64_t keep = 0;
		for (int i = 0; i < 300; i++) {
			put(&r, keep, (size_t)random() % 9000);
			keep += (uint64_t)random() % (r.end - keep + 1);
			if (random() % 50 == 0)
				CHECK_OK(ring_extend(&r, keep, (size_t)random() % 5000));
			if (random() % 20 == 0)
				ring_trim(&r);
			CHECK(r.start <= keep);
			check_bytes(&r, r.start);
		}
		ring_done(&r);
	}
}

static const struct tap_test tests[] = {
	{ "grows", test_grows },   { "keeps", test_keeps }, { "extends", test_extends },
	{ "trims", test_trims },   { "drops", test_drops }, { "no memory", test_no_memory },
	{ "random", test_random },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
