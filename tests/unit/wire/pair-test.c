/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/macro.h"
#include "harness/tap.h"
#include "pair.h"
#include "wire/link-internal.h"

static void test_one_command(void)
{
	_cleanup_(pair_freep) struct pair *pair = pair_new(0);
	pair_exec(pair, &(struct pair_request){ .out = { 5, 6, 7 } });
	pair_run(pair);
	pair_check_done(pair);
}

/* Streams are opened before the peer said anything, and everything is in one write. */
static void small_talk(struct pair *pair)
{
	pair_exec(pair, &(struct pair_request){ .out = { 0, 40, 0 } });
	pair_exec(pair, &(struct pair_request){ .out = { 30, 0, 10 }, .padding = 100 });
	pair_exec(pair, &(struct pair_request){ .out = { 1, 1, 1 } });
	pair_run(pair);
	pair_exec(pair, &(struct pair_request){ .out = { 0, 0, 0 } });
	pair_run(pair);
	pair_check_done(pair);
}

static void test_cut_everywhere(void)
{
	struct pair *whole = pair_new(0);
	small_talk(whole);
	uint64_t n[] = { whole->written[0], whole->written[1] };
	pair_free(whole);
	CHECK_INT(n[0], >, 300);
	CHECK_INT(n[1], >, 300);

	for (unsigned d = 0; d < 2; d++) {
		for (uint64_t cut = 1; cut < n[d]; cut++) {
			struct pair *pair = pair_new(0);
			pair->cut[d] = cut;
			small_talk(pair);
			pair_free(pair);
		}
	}
}

/* Both directions, each cut at each place of a part that has all kinds of frames. */
static void test_cut_twice(void)
{
	for (uint64_t a = 1; a < 150; a += 3) {
		for (uint64_t b = 1; b < 150; b += 3) {
			struct pair *pair = pair_new(0);
			pair->cut[PAIR_TO_SERVER] = a;
			pair->cut[PAIR_TO_CLIENT] = b;
			pair_exec(pair, &(struct pair_request){ .out = { 9, 8, 7 } });
			pair_run(pair);
			pair_check_done(pair);
			pair_free(pair);
		}
	}
}

/* Frames of the largest size, cut around all their borders. */
static void test_cut_large(void)
{
	const struct pair_request request = { .out = { 70000, 70000, 0 }, .padding = 70000 };
	for (unsigned d = 0; d < 2; d++) {
		for (int64_t frame = 1; frame <= 2; frame++) {
			for (int64_t i = -60; i < 200; i += 7) {
				struct pair *pair = pair_new(0);
				pair->cut[d] = (uint64_t)(frame * WIRE_DATA_MAX + i);
				pair_exec(pair, &request);
				pair_run(pair);
				pair_check_done(pair);
				pair_free(pair);
			}
		}
	}
}

static void test_random_cuts(void)
{
	for (uint64_t seed = 1; seed <= 150; seed++) {
		struct pair *pair = pair_new(seed * 0x9e3779b97f4a7c15u);
		for (unsigned round = 0; round < 3; round++) {
			for (unsigned i = 0; i < 4; i++) {
				struct pair_request request = {
					.padding = (uint32_t)(pair_random(pair) % 20000),
				};
				for (unsigned k = 0; k < WIRE_CHANNELS; k++)
					request.out[k] = (uint32_t)(pair_random(pair) % 30000);
				pair_exec(pair, &request);
			}
			pair_run(pair);
		}
		pair_check_done(pair);
		pair_free(pair);
	}
}

/* Many times the window, both ways at once. */
static void test_bulk(void)
{
	for (uint64_t random = 0; random < 2; random++) {
		struct pair *pair = pair_new(random);
		for (unsigned i = 0; i < 3; i++)
			pair_exec(pair,
				  &(struct pair_request){ .out = { 3000000, 4000000, 2000000 } });
		pair_run(pair);
		pair_check_done(pair);
		pair_free(pair);
	}
}

static void test_little_by_little(void)
{
	for (size_t most = 1; most < 50; most++) {
		struct pair *pair = pair_new(0);
		pair->most = most;
		pair_exec(pair, &(struct pair_request){ .out = { 300, 200, 100 }, .padding = 300 });
		pair_run(pair);
		pair_check_done(pair);
		pair_free(pair);
	}
}

/* The largest message that there is. */
static void test_large_request(void)
{
	for (uint64_t random = 0; random < 2; random++) {
		struct pair *pair = pair_new(random);
		uint32_t padding = WIRE_MESSAGE_MAX - (uint32_t)sizeof(struct pair_request);
		pair_exec(pair, &(struct pair_request){ .padding = padding });
		pair_exec(pair, &(struct pair_request){ .padding = padding - 65536 });
		pair_run(pair);
		pair_check_done(pair);
		pair_free(pair);
	}
}

/*
 * A client that does not read gets exactly its window, per channel; other streams go on. When it
 * reads, it gets the rest.
 */
static void test_slow_reader(void)
{
	_cleanup_(pair_freep) struct pair *pair = pair_new(0);
	pair->client.slow = true;
	struct pair_command *slow =
		pair_exec(pair, &(struct pair_request){ .out = { 0, 1000000, 300000 } });
	pair_run(pair);
	CHECK_INT(slow->received[WIRE_STDOUT], ==, WIRE_INITIAL_WINDOW);
	CHECK_INT(slow->received[WIRE_STDERR], ==, WIRE_INITIAL_WINDOW);
	CHECK(slow->exited); /* control is not behind data */
	CHECK(!slow->closed);
	const struct pair_command *s = pair->server.commands[0];
	CHECK_INT(s->sent[WIRE_STDOUT], ==, WIRE_INITIAL_WINDOW);
	CHECK_INT(wire_link_credit(pair->server.link, s->stream, WIRE_STDOUT), ==, 0);
	CHECK(!wire_link_wants_output(pair->server.link));

	struct pair_command *other =
		pair_exec(pair, &(struct pair_request){ .out = { 600000, 100000, 0 } });
	pair_run(pair);
	CHECK(other->closed);

	for (unsigned i = 0; i < 5; i++) {
		pair_read_up(&pair->client);
		pair_run(pair);
	}
	pair_check_done(pair);
}

/* The same with a command that does not read its input. */
static void test_slow_server(void)
{
	_cleanup_(pair_freep) struct pair *pair = pair_new(0);
	pair->server.slow = true;
	pair_exec(pair, &(struct pair_request){ .out = { 700000, 500000, 0 } });
	pair_run(pair);
	CHECK_INT(pair->server.commands[0]->received[0], ==, WIRE_INITIAL_WINDOW);
	CHECK_INT(pair->client.commands[0]->received[WIRE_STDOUT], ==, 500000);
	for (unsigned i = 0; i < 4; i++) {
		pair_read_up(&pair->server);
		pair_run(pair);
	}
	pair_check_done(pair);
}

static void test_all_streams(void)
{
	_cleanup_(pair_freep) struct pair *pair = pair_new(0);
	/* Not closed while they wait for input, which nobody sends. */
	for (unsigned i = 0; i < WIRE_STREAMS_MAX; i++)
		pair_exec(pair, &(struct pair_request){ .out = { 10, 10, 0 } });
	uint32_t stream;
	CHECK_INT(wire_link_open(pair->client.link, WIRE_EXEC, NULL, 0, NULL, &stream), ==,
		  -ENOBUFS);
	pair_run(pair);
	pair_check_done(pair);
	CHECK_INT(pair->server.n_commands, ==, WIRE_STREAMS_MAX);
}

static void test_taking_turns(void)
{
	_cleanup_(pair_freep) struct pair *pair = pair_new(0);
	for (unsigned i = 0; i < 20; i++)
		pair_exec(pair, &(struct pair_request){ .out = { 0, 200000, 200000 } });
	pair_run(pair);
	pair_check_done(pair);
}

static const struct tap_test tests[] = {
	{ "one command", test_one_command },
	{ "cut at every byte", test_cut_everywhere, .timeout_s = 60 },
	{ "cut in both directions", test_cut_twice, .timeout_s = 60 },
	{ "large frames cut", test_cut_large, .timeout_s = 60 },
	{ "random cuts", test_random_cuts, .timeout_s = 60 },
	{ "little by little", test_little_by_little },
	{ "bulk both ways", test_bulk, .timeout_s = 60 },
	{ "the largest request", test_large_request },
	{ "slow reader", test_slow_reader },
	{ "slow server", test_slow_server },
	{ "as many streams as there may be", test_all_streams },
	{ "many busy channels", test_taking_turns },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
