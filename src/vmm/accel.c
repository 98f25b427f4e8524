/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Is KVM worth using?
 *
 * That /dev/kvm is there says little: on a machine that is itself virtual it may be emulated an
 * instruction at a time, and then no kernel ever finishes booting in it, while QEMU's own emulation
 * boots one in two seconds. What tells the two apart is speed, so a tiny guest is timed: one page of
 * memory, a real-mode loop of known length, one exit.
 *
 * All of it happens in a child process with a deadline, because nothing else ends a KVM_RUN that
 * does not come back, and because nothing of it then stays in ours.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "vmm/vmm.h"

/*
 * Hardware needs some 10 µs for these (two instructions each, and one exit), the slowest emulation
 * met so far 8,400 µs. The threshold lies far from both: a hundred times slower than hardware
 * leaves room for nested virtualization, for page faults of a first run, and for a busy machine.
 */
#define PROBE_ITERATIONS   10000u
#define PROBE_THRESHOLD_NS 1000000u

/* Enough that one of them is not interrupted by other work, on a machine with much of it. */
#define PROBE_RUNS_MAX 5

/* For opening the device, making a machine and all runs. Only something broken takes longer. */
#define PROBE_DEADLINE_MS 1000

#define GUEST_PAGE    4096u
#define GUEST_ADDRESS 0x1000u

/* What the child reports through its pipe; smaller than PIPE_BUF, so in one piece. */
struct probe_result {
	int error;	  /* a negative errno, or 0 */
	const char *step; /* what failed: a literal, so valid in the parent as well */
	uint64_t wall_ns; /* the quickest run */
};

const char *vmm_accel_name(enum vmm_accel accel)
{
	return accel == VMM_ACCEL_KVM ? "kvm" : "tcg";
}

/* ---- in the child ---- */

struct probe_guest {
	int vcpu_fd;
	struct kvm_run *run;
	struct kvm_sregs sregs; /* what every run starts from */
};

static int guest_memory(int vm_fd)
{
	/* 66 b9 imm32: mov ecx, N / 66 49: dec ecx / 75 fc: jnz -4 / f4: hlt */
	uint8_t code[] = { 0x66, 0xb9, 0, 0, 0, 0, 0x66, 0x49, 0x75, 0xfc, 0xf4 };
	uint32_t n = PROBE_ITERATIONS;
	memcpy(code + 2, &n, sizeof(n));

	void *page =
		mmap(NULL, GUEST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return -errno;
	memcpy(page, code, sizeof(code));

	struct kvm_userspace_memory_region region = {
		.guest_phys_addr = GUEST_ADDRESS,
		.memory_size = GUEST_PAGE,
		.userspace_addr = (uintptr_t)page,
	};
	return ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

static int guest_vcpu(int kvm_fd, int vm_fd, struct probe_guest *ret)
{
	int vcpu_fd = ioctl(vm_fd, KVM_CREATE_VCPU, 0ul);
	if (vcpu_fd < 0)
		return -errno;
	int size = ioctl(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0ul);
	if (size < (int)sizeof(struct kvm_run))
		return size < 0 ? -errno : -EPROTO;
	struct kvm_run *run =
		mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd, 0);
	if (run == MAP_FAILED)
		return -errno;
	struct kvm_sregs sregs;
	if (ioctl(vcpu_fd, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	*ret = (struct probe_guest){ .vcpu_fd = vcpu_fd, .run = run, .sregs = sregs };
	return 0;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* One run of the loop. cpu_ns leaves out the time in which other programs had the processor. */
static int guest_run(struct probe_guest *g, uint64_t *ret_wall_ns, uint64_t *ret_cpu_ns)
{
	struct kvm_regs regs = { .rip = GUEST_ADDRESS, .rflags = 2 };
	if (ioctl(g->vcpu_fd, KVM_SET_SREGS, &g->sregs) < 0 ||
	    ioctl(g->vcpu_fd, KVM_SET_REGS, &regs) < 0)
		return -errno;

	uint64_t wall = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	if (ioctl(g->vcpu_fd, KVM_RUN, 0ul) < 0)
		return -errno;
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	wall = clock_ns(CLOCK_MONOTONIC) - wall;

	if (g->run->exit_reason != KVM_EXIT_HLT)
		return -EPROTO;
	*ret_wall_ns = wall;
	*ret_cpu_ns = cpu;
	return 0;
}

static int probe_failed(struct probe_result *result, const char *step, int r)
{
	result->step = step;
	result->error = r;
	return r;
}

static int probe(int kvm_fd, struct probe_result *result)
{
	int version = ioctl(kvm_fd, KVM_GET_API_VERSION, 0ul);
	if (version != KVM_API_VERSION)
		return probe_failed(result, "asking for its version",
				    version < 0 ? -errno : -EPROTO);
	int vm_fd = ioctl(kvm_fd, KVM_CREATE_VM, 0ul);
	if (vm_fd < 0)
		return probe_failed(result, "making a machine", -errno);
	int r = guest_memory(vm_fd);
	if (r < 0)
		return probe_failed(result, "giving a machine memory", r);
	struct probe_guest guest;
	r = guest_vcpu(kvm_fd, vm_fd, &guest);
	if (r < 0)
		return probe_failed(result, "giving a machine a processor", r);

	result->wall_ns = UINT64_MAX;
	for (int i = 0; i < PROBE_RUNS_MAX; i++) {
		uint64_t wall_ns = 0, cpu_ns = 0;
		r = guest_run(&guest, &wall_ns, &cpu_ns);
		if (r < 0)
			return probe_failed(result, "running a machine", r);
		result->wall_ns = MIN(result->wall_ns, wall_ns);
		/* Quick once is quick. What was slow by its own doing does not get quicker; what
		 * was slow because others had the processor may. */
		if (wall_ns <= PROBE_THRESHOLD_NS || cpu_ns > PROBE_THRESHOLD_NS)
			break;
	}
	return 0;
}

/* ---- in the parent ---- */

static int wait_for_result(int fd, struct probe_result *ret)
{
	uint64_t end = clock_monotonic_ms() + PROBE_DEADLINE_MS;
	for (;;) {
		uint64_t now = clock_monotonic_ms();
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int r = poll(&p, 1, now < end ? (int)(end - now) : 0);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			return -ETIMEDOUT;
		return fd_read_full(fd, ret, sizeof(*ret));
	}
}

static int probe_in_child(int kvm_fd, struct probe_result *ret)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	_cleanup_close_ int from_child = ends[0], to_parent = ends[1];

	pid_t parent = getpid(), pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) { /* system calls only: the parent may have threads */
		struct probe_result result = { 0 };
		sigset_t all;
		sigfillset(&all); /* a signal would end KVM_RUN early */
		sigprocmask(SIG_BLOCK, &all, NULL);
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent) {
			probe(kvm_fd, &result);
			ssize_t n = write(to_parent, &result, sizeof(result));
			(void)n;
		}
		_exit(0);
	}
	to_parent = fd_close(to_parent);

	struct probe_result result;
	int r = wait_for_result(from_child, &result);
	kill(pid, SIGKILL); /* out of KVM_RUN, too, which looks for signals at every entry */
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (r < 0)
		return r;
	*ret = result;
	return 0;
}

/* ---- the verdict ---- */

static void decide(struct vmm_accel_report *report, enum vmm_accel accel, const char *format, ...)
	_printf_(3, 4);
static void decide(struct vmm_accel_report *report, enum vmm_accel accel, const char *format, ...)
{
	report->accel = accel;
	va_list args;
	va_start(args, format);
	vsnprintf(report->reason, sizeof(report->reason), format, args);
	va_end(args);
}

static void probe_device(struct vmm_accel_report *report)
{
	_cleanup_close_ int kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int r = kvm_fd < 0 ? -errno : 0;
	report->kvm_present = r != -ENOENT;
	report->kvm_opened = kvm_fd >= 0;
	if (r == -ENOENT) {
		decide(report, VMM_ACCEL_TCG, "there is no /dev/kvm");
		return;
	}
	if (r == -EACCES) {
		decide(report, VMM_ACCEL_TCG,
		       "/dev/kvm may not be opened by this user (is it in the group kvm?)");
		return;
	}
	if (r < 0) {
		decide(report, VMM_ACCEL_TCG, "/dev/kvm cannot be opened: %s", error_errno_text(r));
		return;
	}

	struct probe_result result;
	r = probe_in_child(kvm_fd, &result);
	if (r == -ETIMEDOUT) {
		decide(report, VMM_ACCEL_TCG,
		       "/dev/kvm is unusable: a tiny guest was not done after %d ms",
		       PROBE_DEADLINE_MS);
		return;
	}
	if (r < 0) {
		decide(report, VMM_ACCEL_TCG, "/dev/kvm could not be tried: %s",
		       error_errno_text(r));
		return;
	}
	if (result.error < 0) {
		decide(report, VMM_ACCEL_TCG, "/dev/kvm is unusable: %s: %s", result.step,
		       error_errno_text(result.error));
		return;
	}
	report->probe_ns = result.wall_ns;
	double us = (double)result.wall_ns / 1000;
	if (result.wall_ns <= PROBE_THRESHOLD_NS)
		decide(report, VMM_ACCEL_KVM,
		       "/dev/kvm runs at native speed: a loop of %u took %.1f us", PROBE_ITERATIONS,
		       us);
	else
		decide(report, VMM_ACCEL_TCG,
		       "/dev/kvm is emulated itself, and slower than QEMU's emulation: a loop of "
		       "%u took %.0f us, on hardware it takes some 10 us",
		       PROBE_ITERATIONS, us);
}

void vmm_accel_probe(struct vmm_accel_report *ret)
{
	*ret = (struct vmm_accel_report){ 0 };

	const char *wanted = getenv("COVE_ACCEL");
	bool kvm = wanted && !strcmp(wanted, "kvm"), tcg = wanted && !strcmp(wanted, "tcg");
	if (kvm || tcg) {
		ret->kvm_present = access("/dev/kvm", F_OK) == 0;
		ret->kvm_opened = access("/dev/kvm", R_OK | W_OK) == 0;
		decide(ret, kvm ? VMM_ACCEL_KVM : VMM_ACCEL_TCG, "COVE_ACCEL=%s says so", wanted);
		return;
	}

	probe_device(ret);
	if (wanted && *wanted) {
		size_t n = strlen(ret->reason);
		snprintf(ret->reason + n, sizeof(ret->reason) - n,
			 " (COVE_ACCEL is neither kvm nor tcg)");
	}
}
