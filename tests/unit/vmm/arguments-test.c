/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tap.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/failing-alloc.h"
#include "vmm/arguments.h"

static const struct vmm_config config = {
	.accel = VMM_ACCEL_TCG,
	.kernel = "/share/vmlinuz",
	.initramfs = "/share/initramfs.cpio",
	.cpus = 2,
	.memory_bytes = 512ull << 20,
	.base_disk = "/base.ext4",
	.overlay = "/overlay.qcow2",
	.confine = true,
};

/* Word by word, each list of the two taken apart at " ". */
static void check_line(const struct arguments *a, const char *const *expected)
{
	CHECK_INT(a->error, ==, 0);
	for (size_t i = 0; expected[i] || i < a->n; i++)
		CHECK_STR(i < a->n ? a->v[i] : NULL, expected[i]);
	CHECK(!a->v[a->n]);
}

#define MACHINE_START                                                                              \
	"-M", "microvm,acpi=on,rtc=on,dump-guest-core=off", "-nodefaults", "-no-user-config",      \
		"-display", "none", "-no-reboot", "-global", "virtio-mmio.force-legacy=off",       \
		"-sandbox",                                                                        \
		"on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

#define MACHINE_DEVICES                                                                            \
	"-smp", "cpus=2", "-m", "size=536870912B", "-chardev", "socket,id=qmp,fd=4", "-mon",       \
		"chardev=qmp,mode=control", "-chardev", "socket,id=console,fd=5", "-serial",       \
		"chardev:console", "-chardev", "socket,id=agent,fd=3", "-device",                  \
		"virtio-serial-device,max_ports=2", "-device",                                     \
		"virtserialport,nr=1,chardev=agent,name=org.cove.agent.0", "-add-fd",              \
		"fd=6,set=1", "-add-fd", "fd=7,set=2", "-blockdev",                                \
		"driver=file,node-name=base,filename=/dev/fdset/1,read-only=on,locking=off",       \
		"-blockdev", "driver=file,node-name=overlay,filename=/dev/fdset/2,discard=unmap",  \
		"-blockdev",                                                                       \
		"driver=qcow2,node-name=disk,file=overlay,backing=base,discard=unmap", "-device",  \
		"virtio-blk-device,drive=disk,werror=report,rerror=report", "-object",             \
		"rng-builtin,id=rng", "-device", "virtio-rng-device,rng=rng", "-kernel",           \
		"/vmlinuz", "-initrd", "/initramfs", "-append"

static void test_tcg(void)
{
	_cleanup_(arguments_done) struct arguments a = { 0 };
	arguments_machine(&a, &config, &arguments_confined_files, 2596138);
	check_line(&a, (const char *const[]){
			       MACHINE_START, "-accel", "tcg,thread=multi,tb-size=128", "-cpu",
			       "max,-erms,-fsrm", MACHINE_DEVICES,
			       "console=ttyS0 quiet panic=-1 reboot=t tsc=reliable no_timer_check "
			       "tsc_early_khz=2596138 random.trust_cpu=on mitigations=off "
			       "init_on_alloc=0",
			       NULL });
}

/* The same but for the processor, and what the guest is told of its clock. */
static void test_kvm(void)
{
	_cleanup_(arguments_done) struct arguments a = { 0 };
	struct vmm_config kvm = config;
	kvm.accel = VMM_ACCEL_KVM;
	arguments_machine(&a, &kvm, &arguments_confined_files, 0);
	check_line(&a, (const char *const[]){
			       MACHINE_START, "-accel", "kvm", "-cpu", "host", MACHINE_DEVICES,
			       "console=ttyS0 quiet panic=-1 reboot=t random.trust_cpu=on "
			       "mitigations=off init_on_alloc=0",
			       NULL });
}

static void test_tsc_unknown(void)
{
	_cleanup_(arguments_done) struct arguments a = { 0 };
	arguments_machine(&a, &config, &arguments_confined_files, 0);
	CHECK_STR(a.v[a.n - 1], "console=ttyS0 quiet panic=-1 reboot=t tsc=reliable no_timer_check "
				"random.trust_cpu=on mitigations=off init_on_alloc=0");
}

/* The words of a that start at the first one equal to `word`. */
static size_t index_of(const struct arguments *a, const char *word)
{
	for (size_t i = 0; i < a->n; i++)
		if (!strcmp(a->v[i], word))
			return i;
	return a->n;
}

static void test_confined(void)
{
	static const char *const first[] = {
		"/usr/bin/bwrap",
		"--unshare-all",
		"--unshare-user",
		"--uid",
		"65534",
		"--gid",
		"65534",
		"--die-with-parent",
		"--as-pid-1",
		"--cap-drop",
		"ALL",
		"--ro-bind",
		"/usr",
		"/usr",
		"--dev-bind",
		"/dev/null",
		"/dev/null",
	};
	static const char *const bind[] = {
		"--ro-bind",  "/share/vmlinuz", "/vmlinuz", "--ro-bind", "/share/initramfs.cpio",
		"/initramfs", "--remount-ro",	"/",	    "--chdir",	 "/",
		"--",
	};
	static const char *const copy[] = {
		"--ro-bind-data",
		"8",
		"/vmlinuz",
		"--ro-bind-data",
		"9",
		"/initramfs",
		"--remount-ro",
		"/",
		"--chdir",
		"/",
		"--",
	};
	const struct {
		enum confine_give give;
		const char *const *end;
		size_t n;
	} cases[] = {
		{ CONFINE_NOTHING, copy + 6, ARRAY_SIZE(copy) - 6 },
		{ CONFINE_BIND, bind, ARRAY_SIZE(bind) },
		{ CONFINE_COPY, copy, ARRAY_SIZE(copy) },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(arguments_done) struct arguments a = { 0 };
		arguments_confine(&a, "/usr/bin/bwrap", &config, cases[i].give);
		CHECK_INT(a.error, ==, 0);
		CHECK_INT(a.n, >=, ARRAY_SIZE(first) + cases[i].n);
		for (size_t k = 0; k < ARRAY_SIZE(first); k++)
			CHECK_STR(a.v[k], first[k]);
		for (size_t k = 0; k < cases[i].n; k++)
			CHECK_STR(a.v[a.n - cases[i].n + k], cases[i].end[k]);
		CHECK_INT(index_of(&a, "/dev/kvm"), ==, a.n);
	}
}

static void test_confined_kvm(void)
{
	struct vmm_config kvm = config;
	kvm.accel = VMM_ACCEL_KVM;
	_cleanup_(arguments_done) struct arguments a = { 0 };
	arguments_confine(&a, "/usr/bin/bwrap", &kvm, CONFINE_BIND);
	size_t i = index_of(&a, "/dev/kvm");
	CHECK_INT(i + 1, <, a.n);
	CHECK_STR(a.v[i - 1], "--dev-bind");
	CHECK_STR(a.v[i + 1], "/dev/kvm");
}

static void test_limits(void)
{
	_cleanup_(arguments_done) struct arguments a = { 0 };
	for (int i = 0; i < ARGUMENTS_MAX; i++)
		arguments_add(&a, "%d", i);
	CHECK_INT(a.error, ==, 0);
	arguments_add(&a, "one more");
	CHECK_INT(a.error, ==, -E2BIG);
	CHECK_INT(a.n, ==, ARGUMENTS_MAX);
	CHECK(!a.v[ARGUMENTS_MAX]);
}

static void test_no_memory(void)
{
	for (unsigned long n = 1;; n++) {
		_cleanup_(arguments_done) struct arguments a = { 0 };
		failing_alloc_arm(n);
		arguments_confine(&a, "/usr/bin/bwrap", &config, CONFINE_BIND);
		arguments_machine(&a, &config, &arguments_confined_files, 1);
		bool failed = failing_alloc_disarm();
		CHECK_INT(a.error, ==, failed ? -ENOMEM : 0);
		if (!failed)
			return;
		CHECK_INT(a.n, ==, n - 1); /* the ones after it are not tried */
	}
}

static const struct tap_test tests[] = {
	{ "emulated", test_tcg },
	{ "with KVM", test_kvm },
	{ "without the TSC's frequency", test_tsc_unknown },
	{ "confined", test_confined },
	{ "confined with KVM", test_confined_kvm },
	{ "a limit", test_limits },
	{ "the n-th allocation fails", test_no_memory },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
