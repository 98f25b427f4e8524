/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor/ring.h"

#include <errno.h>
#include <stdlib.h>

#include "harness/failing-alloc.h"
#include "harness/tap.h"
#include "supervisor/limits.h"

static uint8_t byte_at(uint64_t offset)
{
	return (uint8_t)(offset * 31 + (offset >> 8));
}

static int push(struct ring *ring, uint64_t offset, size_t n)
{
	static uint8_t bytes[WIRE_WINDOW_MAX];
	for (size_t i = 0; i < n; i++)
		bytes[i] = byte_at(offset + i);
	return ring_push(ring, offset, bytes, n);
}

/* Takes at most max bytes out, which must be those of that offset. */
static size_t pull(struct ring *ring, uint64_t offset, size_t max)
{
	struct wire_chunk chunk;
	size_t n = ring_peek(ring, max, &chunk);
	if (n == 0)
		return 0;
	CHECK_INT(n, <=, max);
	CHECK_INT(chunk.offset, ==, offset);
	CHECK_INT(chunk.iov[0].iov_len + chunk.iov[1].iov_len, ==, n);
	for (size_t i = 0; i < n; i++) {
		const uint8_t *p = i < chunk.iov[0].iov_len ? (uint8_t *)chunk.iov[0].iov_base + i
							    : (uint8_t *)chunk.iov[1].iov_base + i -
								      chunk.iov[0].iov_len;
		CHECK_INT(*p, ==, byte_at(offset + i));
	}
	ring_consume(ring, n);
	return n;
}

/* The same numbers in every run. */
static unsigned next_number(unsigned *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

static void test_first_in_first_out(void)
{
	unsigned state = 1;
	struct ring ring = { 0 };
	uint64_t in = 1000, out = 1000;
	for (int i = 0; i < 20000; i++) {
		size_t n = next_number(&state) % 9000;
		if (next_number(&state) % 2) {
			n = MIN(n, (size_t)(WIRE_WINDOW_MAX - ring.size));
			CHECK_OK(push(&ring, in, n));
			in += n;
		} else {
			out += pull(&ring, out, n + 1);
		}
		CHECK_INT(ring.size, ==, in - out);
	}
	while (ring.size)
		out += pull(&ring, out, 65536);
	CHECK_INT(in, ==, out);
	ring_done(&ring);
}

static void test_limit(void)
{
	struct ring ring = { 0 };
	CHECK_OK(push(&ring, 0, WIRE_WINDOW_MAX));
	CHECK_INT(push(&ring, WIRE_WINDOW_MAX, 1), ==, -ENOBUFS);
	CHECK_INT(ring.size, ==, WIRE_WINDOW_MAX);
	CHECK_INT(pull(&ring, 0, 10), ==, 10);
	CHECK_OK(push(&ring, WIRE_WINDOW_MAX, 10));
	CHECK_INT(push(&ring, WIRE_WINDOW_MAX + 10, 1), ==, -ENOBUFS);
	CHECK_INT(ring.allocated, ==, WIRE_WINDOW_MAX);
	ring_done(&ring);
	CHECK_OK(push(&ring, 5, 0)); /* nothing is nothing */
	CHECK_INT(ring.allocated, ==, 0);
}

/* A frame never holds bytes of both sides of a jump. */
static void test_jumps(void)
{
	struct ring ring = { 0 };
	for (int round = 0; round < 3; round++) {
		for (uint64_t i = 0; i <= RING_GAPS_MAX; i++)
			CHECK_OK(push(&ring, i * 100, 10));
		CHECK_OK(push(&ring, RING_GAPS_MAX * 100 + 10, 5)); /* goes on where it was */
		CHECK_INT(push(&ring, 1000000, 10), ==, -EOVERFLOW);
		CHECK_INT(pull(&ring, 0, 4), ==, 4);
		CHECK_INT(pull(&ring, 4, 65536), ==, 6);
		CHECK_OK(push(&ring, 1000000, 10)); /* one is out, one is in */
		for (uint64_t i = 1; i < RING_GAPS_MAX; i++)
			CHECK_INT(pull(&ring, i * 100, 65536), ==, 10);
		CHECK_INT(pull(&ring, RING_GAPS_MAX * 100, 65536), ==, 15);
		CHECK_INT(pull(&ring, 1000000, 65536), ==, 10);
		CHECK_INT(pull(&ring, 0, 1), ==, 0);
		CHECK_INT(ring.n_pieces, ==, 0);
	}
	ring_done(&ring);
}

static void test_trim(void)
{
	struct ring ring = { 0 };
	CHECK_OK(push(&ring, 0, 200000));
	ring_trim(&ring);
	CHECK_INT(ring.size, ==, 200000); /* not while something is in it */
	while (ring.size)
		pull(&ring, ring.first.offset, 65536);
	CHECK_INT(ring.allocated, >, 0);
	ring_trim(&ring);
	CHECK_INT(ring.allocated, ==, 0);
	CHECK_OK(push(&ring, 200000, 10));
	CHECK_INT(pull(&ring, 200000, 10), ==, 10);
	ring_trim(&ring);
	CHECK_INT(ring.allocated, >, 0); /* little enough to keep */
	ring_done(&ring);
}

static void test_no_memory(void)
{
	for (unsigned long n = 1;; n++) {
		struct ring ring = { 0 };
		failing_alloc_arm(n);
		int r = ring_push(&ring, 0, "abc", 3);
		if (r >= 0)
			r = ring_push(&ring, 10, "def", 3);
		bool failed = failing_alloc_disarm();
		CHECK_INT(r, ==, failed ? -ENOMEM : 0);
		struct wire_chunk chunk;
		size_t size = ring_peek(&ring, 10, &chunk);
		CHECK_INT(size, ==, ring.size ? 3 : 0);
		ring_done(&ring);
		if (!failed)
			break;
	}
}

static const struct tap_test tests[] = {
	{ "first in, first out", test_first_in_first_out },
	{ "the limit", test_limit },
	{ "jumps", test_jumps },
	{ "trim", test_trim },
	{ "no memory", test_no_memory },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
