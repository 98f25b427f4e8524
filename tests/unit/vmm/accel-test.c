/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tap.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "vmm/vmm.h"

/* What the probe promises at worst, with room for a machine that is busy with other tests. */
#define PROBE_MS 5000

static void test_probe(void)
{
	unsetenv("COVE_ACCEL");
	struct vmm_accel_report report;
	uint64_t start = clock_monotonic_ms();
	vmm_accel_probe(&report);
	CHECK_INT(clock_monotonic_ms() - start, <, PROBE_MS);
	tap_note("%s: %s", vmm_accel_name(report.accel), report.reason);

	CHECK(report.reason[0]);
	CHECK_INT(report.kvm_present, ==, access("/dev/kvm", F_OK) == 0);
	CHECK_INT(report.kvm_opened, ==, access("/dev/kvm", R_OK | W_OK) == 0);
	if (!report.kvm_opened) {
		CHECK_INT(report.accel, ==, VMM_ACCEL_TCG);
		CHECK_INT(report.probe_ns, ==, 0);
		CHECK_CONTAINS(report.reason, "/dev/kvm");
	} else if (report.probe_ns) {
		/* 20,000 instructions: neither in no time nor in a second. */
		CHECK_INT(report.probe_ns, >, 1000);
		CHECK_INT(report.probe_ns, <, 1000000000);
		CHECK_INT(report.accel == VMM_ACCEL_KVM, ==, report.probe_ns <= 1000000);
	}
	/* The child in which it ran is reaped. */
	CHECK_INT(waitpid(-1, NULL, WNOHANG), ==, -1);
	CHECK_INT(errno, ==, ECHILD);
}

static void test_unprivileged(void)
{
	if (geteuid() == 0)
		CHECK_SYS(setresuid(65534, 65534, 65534));
	test_probe();
}

static void test_override(void)
{
	struct vmm_accel_report report;
	setenv("COVE_ACCEL", "kvm", 1);
	vmm_accel_probe(&report);
	CHECK_INT(report.accel, ==, VMM_ACCEL_KVM);
	CHECK_STR(report.reason, "COVE_ACCEL=kvm says so");
	CHECK_INT(report.probe_ns, ==, 0);

	setenv("COVE_ACCEL", "tcg", 1);
	vmm_accel_probe(&report);
	CHECK_INT(report.accel, ==, VMM_ACCEL_TCG);
	CHECK_STR(vmm_accel_name(report.accel), "tcg");

	setenv("COVE_ACCEL", "xen", 1);
	vmm_accel_probe(&report);
	CHECK_CONTAINS(report.reason, "COVE_ACCEL is neither kvm nor tcg");
}

#ifdef __x86_64__
#include <x86intrin.h>

static uint64_t raw_ns(void)
{
	struct timespec t;
	CHECK_SYS(clock_gettime(CLOCK_MONOTONIC_RAW, &t));
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

struct moment {
	uint64_t tsc, ns;
};

/* Both at once: of some tries the one in which nobody else ran in between. */
static struct moment now(void)
{
	struct moment best = { 0 };
	uint64_t shortest = UINT64_MAX;
	for (unsigned i = 0; i < 32; i++) {
		uint64_t before = __rdtsc(), ns = raw_ns(), after = __rdtsc();
		if (after - before < shortest) {
			shortest = after - before;
			best = (struct moment){ .tsc = before, .ns = ns };
		}
	}
	return best;
}

static void test_tsc(void)
{
	struct moment first = now();
	uint64_t khz = vmm_tsc_khz();
	CHECK_INT(khz, >, 500000);
	CHECK_INT(khz, <, 10000000);

	/* Over a time twenty times as long. */
	nanosleep(&(struct timespec){ .tv_nsec = 160000000 }, NULL);
	struct moment last = now();
	double expected = (double)(last.tsc - first.tsc) * 1e6 / (double)(last.ns - first.ns);
	tap_note("%llu kHz, over a longer time %.0f", (unsigned long long)khz, expected);
	CHECK((double)khz > expected * 0.999 && (double)khz < expected * 1.001);

	uint64_t start = clock_monotonic_ns();
	CHECK_INT(vmm_tsc_khz(), ==, khz);
	CHECK_INT(clock_monotonic_ns() - start, <, 1000000); /* is remembered */
}
#else
static void test_tsc(void)
{
	CHECK_INT(vmm_tsc_khz(), ==, 0);
}
#endif

static const struct tap_test tests[] = {
	{ "the probe", test_probe },
	{ "the probe as another user", test_unprivileged },
	{ "COVE_ACCEL", test_override },
	{ "the TSC's frequency", test_tsc },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
