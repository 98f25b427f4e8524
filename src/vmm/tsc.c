/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The frequency of the processor's time stamp counter. An emulated guest sees the host's counter,
 * and is told its frequency (tsc_early_khz=) instead of measuring it against an emulated timer,
 * which goes wrong on a busy machine and then hangs the boot for good.
 */

#include <errno.h>
#include <time.h>

#include "vmm/vmm.h"

#ifdef __x86_64__
#include <x86intrin.h>

/*
 * How far apart the two readings are. A reading is right to some 30 ns, so 4 ms of distance give an
 * error of 1 in 100,000: the kernel's own limit for trusting a counter is 500 in a million.
 */
#define TSC_WINDOW_NS 4000000

/* A reading is three calls; the tightest of so many was not interrupted. */
#define TSC_READINGS 8

/* Two windows must agree to this; more tries than this and the counter is no clock. */
#define TSC_TOLERANCE_PPM 100
#define TSC_TRIES	  4

struct reading {
	uint64_t tsc;
	uint64_t ns;
};

/* CLOCK_MONOTONIC_RAW: the other clocks are bent by NTP, by up to 500 ppm. */
static uint64_t raw_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static struct reading read_both(void)
{
	struct reading best = { 0 };
	uint64_t tightest = UINT64_MAX;
	for (int i = 0; i < TSC_READINGS; i++) {
		uint64_t before = __rdtsc(), ns = raw_ns(), after = __rdtsc();
		if (after - before < tightest) {
			tightest = after - before;
			best = (struct reading){ .tsc = before + (after - before) / 2, .ns = ns };
		}
	}
	return best;
}

static double window_khz(void)
{
	struct reading a = read_both();
	struct timespec pause = { .tv_nsec = TSC_WINDOW_NS };
	while (nanosleep(&pause, &pause) < 0 && errno == EINTR)
		;
	struct reading b = read_both();
	return (double)(b.tsc - a.tsc) * 1e6 / (double)(b.ns - a.ns);
}

static uint64_t measure(void)
{
	double last = window_khz();
	for (int i = 0; i < TSC_TRIES; i++) {
		double khz = window_khz(), difference = khz > last ? khz - last : last - khz;
		if (difference <= last * TSC_TOLERANCE_PPM / 1e6)
			return (uint64_t)((khz + last) / 2 + 0.5);
		last = khz;
	}
	return 0;
}
#else
static uint64_t measure(void)
{
	return 0;
}
#endif

uint64_t vmm_tsc_khz(void)
{
	static uint64_t khz;

	if (khz == 0)
		khz = measure();
	return khz;
}
