/* SPDX-License-Identifier: Apache-2.0 */

/* Not a byte is lost: short outputs by the thousand, long ones whole, input likewise. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "pattern.h"
#include "rounds.h"
#include "vm.h"

static void check_pattern(const char *data, size_t n, uint64_t seed)
{
	unsigned char block[4096];
	for (size_t done = 0; done < n;) {
		size_t part = MIN(n - done, sizeof(block));
		pattern_fill(block, part, seed, done);
		CHECK_MEM(data + done, part, block, part);
		done += part;
	}
}

/* Lengths around every buffer's size, most of them short. */
static size_t random_length(uint64_t seed)
{
	uint64_t r = pattern_mix(seed);
	unsigned bits = (unsigned)(r % 18);
	return (size_t)((r >> 8) & ((1u << bits) - 1)) + (r >> 40) % 3;
}

static void test_random_lengths(void)
{
	cove_sandbox *sandbox = vm_create("lengths", "busybox", NULL);
	vm_put_helper(sandbox);
	uint64_t first = clock_realtime_ns();
	tap_note("first seed %llu", (unsigned long long)first);

	size_t rounds = rounds_or(2500);
	for (size_t i = 0; i < rounds; i++) {
		uint64_t seed = first + i;
		char text[3][32];
		size_t out_n = random_length(seed), err_n = i % 4 ? 0 : random_length(~seed);
		snprintf(text[0], sizeof(text[0]), "%llu", (unsigned long long)seed);
		snprintf(text[1], sizeof(text[1]), "%zu", out_n);
		snprintf(text[2], sizeof(text[2]), "%zu", err_n);
		cove_output *out = vm_exec(
			sandbox, ARGV(VM_HELPER, "pattern", text[0], text[1], text[2]), NULL);
		CHECK_INT(out->exit.cause, ==, COVE_CAUSE_EXITED);
		CHECK_INT(out->exit.code, ==, seed % 100);
		CHECK_INT(out->stdout_bytes, ==, out_n);
		CHECK_INT(out->stderr_bytes, ==, err_n);
		CHECK_INT(out->stdout_total, ==, out_n);
		check_pattern(out->stdout_data, out_n, seed);
		check_pattern(out->stderr_data, err_n, ~seed);
		cove_output_free(out);
	}
	cove_sandbox_free(sandbox);
}

#define BULK 100000000u

static void test_bulk(void)
{
	cove_sandbox *sandbox = vm_create("bulk", "busybox", NULL);
	vm_put_helper(sandbox);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.output_limit_bytes = UINT64_MAX;

	char size[32];
	snprintf(size, sizeof(size), "%u", BULK);
	uint64_t start = clock_monotonic_ms();
	cove_output *out = vm_exec(sandbox, ARGV(VM_HELPER, "pattern", "5", size, "0"), &options);
	tap_note("100 MB out: %llu ms", (unsigned long long)(clock_monotonic_ms() - start));
	CHECK_INT(out->stdout_bytes, ==, BULK);
	check_pattern(out->stdout_data, out->stdout_bytes, 5);

	/* The same bytes back in: the guest's hash against that of the guest's own pattern. */
	options.stdin_mode = COVE_STDIN_BYTES;
	options.stdin_data = out->stdout_data;
	options.stdin_bytes = out->stdout_bytes;
	start = clock_monotonic_ms();
	cove_output *there = vm_exec(sandbox, ARGV("sha256sum"), &options);
	tap_note("100 MB in: %llu ms", (unsigned long long)(clock_monotonic_ms() - start));
	cove_output *local =
		vm_shell(sandbox, VM_HELPER " pattern 5 100000000 0 | sha256sum", NULL);
	CHECK_STR(there->stdout_data, local->stdout_data);
	CHECK_INT(there->stdout_bytes, ==, 64 + 4);
	cove_output_free(local);
	cove_output_free(there);

	/* And both at once, from one thread. */
	there = vm_exec(sandbox, ARGV("cat"), &options);
	CHECK_MEM(there->stdout_data, there->stdout_bytes, out->stdout_data, out->stdout_bytes);
	cove_output_free(there);
	cove_output_free(out);
	cove_sandbox_free(sandbox);
}

static void test_stdin(void)
{
	cove_sandbox *sandbox = vm_create("stdin", "busybox", NULL);
	cove_output *out = vm_exec(sandbox, ARGV("cat"), NULL); /* /dev/null: ends at once */
	CHECK_INT(out->stdout_bytes, ==, 0);
	CHECK_INT(out->exit.code, ==, 0);
	cove_output_free(out);

	char all[256];
	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.stdin_mode = COVE_STDIN_BYTES;
	options.stdin_data = all;
	for (size_t n = 0; n <= sizeof(all); n += n ? 255 : 1) {
		options.stdin_bytes = n;
		out = vm_shell(sandbox, "cat; echo after >&2", &options);
		CHECK_MEM(out->stdout_data, out->stdout_bytes, all, n);
		CHECK_STR(out->stderr_data, "after\n");
		CHECK_INT(out->stdin_errno, ==, 0);
		cove_output_free(out);
	}

	/* A command that does not want its input: told, and everything else is right. */
	static char much[1 << 20];
	options.stdin_data = much;
	options.stdin_bytes = sizeof(much);
	out = vm_shell(sandbox, "exec <&-; sleep 0.2; echo done; exit 5", &options);
	CHECK_STR(out->stdout_data, "done\n");
	CHECK_INT(out->exit.code, ==, 5);
	CHECK_INT(out->stdin_errno, ==, EPIPE);
	cove_output_free(out);
	cove_sandbox_free(sandbox);
}

static void test_large_environment(void)
{
	cove_sandbox *sandbox = vm_create("environment", "busybox", NULL);
	enum { N = 16, LENGTH = 65536 };
	static char entries[N][LENGTH + 1];
	const char *env[N + 1] = { NULL };
	for (int i = 0; i < N; i++) {
		memset(entries[i], 'a' + i, LENGTH);
		int n = snprintf(entries[i], LENGTH, "LARGE_%d=", i);
		entries[i][n] = (char)('a' + i);
		env[i] = entries[i];
	}
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.env = env;
	cove_output *out = vm_shell(sandbox, "env | grep '^LARGE_' | sort -t_ -k2n", &options);
	CHECK_INT(out->stdout_bytes, ==, N * (LENGTH + 1));
	const char *p = out->stdout_data;
	for (int i = 0; i < N; i++, p += LENGTH + 1)
		CHECK_MEM(p, LENGTH, entries[i], LENGTH);
	cove_output_free(out);

	/* The sandbox's own environment may be as large: it does not go through the kernel's
	 * command line. */
	cove_sandbox_free(sandbox);
	struct cove_sandbox_options sandbox_options = COVE_SANDBOX_OPTIONS_INIT;
	sandbox_options.env = env;
	sandbox = vm_create("environment", "busybox", &sandbox_options);
	CHECK_INT(vm_number(sandbox, "env | grep -c '^LARGE_'"), ==, N);
	cove_sandbox_free(sandbox);
}

static void test_output_policies(void)
{
	cove_sandbox *sandbox = vm_create("policies", "busybox", NULL);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.output_limit_bytes = 10;
	options.output_policy = COVE_OUTPUT_HEAD;
	cove_output *out = vm_shell(sandbox, "seq 1 1000; echo error output >&2", &options);
	CHECK_STR(out->stdout_data, "1\n2\n3\n4\n5\n");
	CHECK_STR(out->stderr_data, "error outp");
	CHECK_INT(out->stdout_total, ==, 3893);
	CHECK_INT(out->stderr_total, ==, 13);
	CHECK(out->limited);
	CHECK(cove_exit_success(&out->exit));
	cove_output_free(out);

	options.output_policy = COVE_OUTPUT_TAIL;
	out = vm_shell(sandbox, "seq 1 1000", &options);
	CHECK_STR(out->stdout_data, "\n999\n1000\n");
	CHECK_INT(out->stdout_total, ==, 3893);
	CHECK(out->limited);
	cove_output_free(out);

	options.output_limit_bytes = 3893;
	out = vm_shell(sandbox, "seq 1 1000", &options);
	CHECK_INT(out->stdout_bytes, ==, 3893);
	CHECK(!out->limited);
	cove_output_free(out);
	cove_sandbox_free(sandbox);
}

static const struct tap_test tests[] = {
	{ "random lengths", test_random_lengths, .timeout_s = 600 },
	{ "100 MB each way", test_bulk, .timeout_s = 180 },
	{ "standard input", test_stdin, .timeout_s = 60 },
	{ "a large environment", test_large_environment, .timeout_s = 60 },
	{ "output policies", test_output_policies, .timeout_s = 60 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
