/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/arguments.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * The code that TCG has translated, in MiB. QEMU's own default is up to 1 GiB, which a guest can
 * make it fill; this holds a Python start-up several times over, and when it is full it is emptied.
 */
#define TCG_CACHE_MIB 128

const struct machine_files arguments_confined_files = {
	.kernel = "/vmlinuz",
	.initramfs = "/initramfs",
};

void arguments_done(struct arguments *a)
{
	for (size_t i = 0; i < a->n; i++)
		free(a->v[i]);
	*a = (struct arguments){ 0 };
}

void arguments_add(struct arguments *a, const char *format, ...)
{
	if (a->error)
		return;
	if (a->n >= ARGUMENTS_MAX) {
		a->error = -E2BIG;
		return;
	}
	va_list args;
	va_start(args, format);
	int k = vasprintf(&a->v[a->n], format, args);
	va_end(args);
	if (k < 0) {
		a->v[a->n] = NULL;
		a->error = -ENOMEM;
		return;
	}
	a->n++;
}

static void add_all(struct arguments *a, const char *const *list)
{
	for (; *list; list++)
		arguments_add(a, "%s", *list);
}

/* ---- the machine ---- */

static void add_processor(struct arguments *a, const struct vmm_config *config)
{
	if (config->accel == VMM_ACCEL_KVM) {
		arguments_add(a, "-accel");
		arguments_add(a, "kvm");
		arguments_add(a, "-cpu");
		arguments_add(a, "host");
	} else {
		arguments_add(a, "-accel");
		arguments_add(a, "tcg,thread=multi,tb-size=%d", TCG_CACHE_MIB);
		/* Without ERMS and FSRM the guest's kernel copies a word at a time; with them it
		 * uses "rep movsb", which TCG emulates byte by byte, a third as fast. */
		arguments_add(a, "-cpu");
		arguments_add(a, "max,-erms,-fsrm");
	}
	arguments_add(a, "-smp");
	arguments_add(a, "cpus=%u", config->cpus);
	arguments_add(a, "-m");
	arguments_add(a, "size=%" PRIu64 "B", config->memory_bytes);
}

static void add_boot(struct arguments *a, const struct vmm_config *config,
		     const struct machine_files *files, uint64_t tsc_khz)
{
	char clock[96] = "";
	if (config->accel == VMM_ACCEL_TCG) {
		/* Told, not measured: calibrating against an emulated timer fails on a busy host,
		 * and then the boot never ends. KVM guests have kvm-clock. */
		int n = snprintf(clock, sizeof(clock), " tsc=reliable no_timer_check");
		if (tsc_khz)
			snprintf(clock + n, sizeof(clock) - (size_t)n, " tsc_early_khz=%" PRIu64,
				 tsc_khz);
	}
	arguments_add(a, "-kernel");
	arguments_add(a, "%s", files->kernel);
	arguments_add(a, "-initrd");
	arguments_add(a, "%s", files->initramfs);
	arguments_add(a, "-append");
	/* A panic reboots at once, by triple fault, and -no-reboot makes that the machine's end.
	 * What protects is the machine's boundary, so nothing is spent on the one inside. */
	arguments_add(a,
		      "console=ttyS0 quiet panic=-1 reboot=t%s random.trust_cpu=on mitigations=off "
		      "init_on_alloc=0",
		      clock);
}

static void add_channels(struct arguments *a)
{
	arguments_add(a, "-chardev");
	arguments_add(a, "socket,id=qmp,fd=%d", MACHINE_FD_QMP);
	arguments_add(a, "-mon");
	arguments_add(a, "chardev=qmp,mode=control");
	/* A console that nobody reads fills its socket, and then waits: the guest's printing
	 * becomes slow, nothing here grows. */
	arguments_add(a, "-chardev");
	arguments_add(a, "socket,id=console,fd=%d", MACHINE_FD_CONSOLE);
	arguments_add(a, "-serial");
	arguments_add(a, "chardev:console");
	arguments_add(a, "-chardev");
	arguments_add(a, "socket,id=agent,fd=%d", MACHINE_FD_AGENT);
	/* Port 0 belongs to consoles, so the agent's is the second of two. */
	arguments_add(a, "-device");
	arguments_add(a, "virtio-serial-device,max_ports=2");
	arguments_add(a, "-device");
	arguments_add(a, "virtserialport,nr=1,chardev=agent,name=" VMM_AGENT_PORT);
}

static void add_disk(struct arguments *a)
{
	arguments_add(a, "-add-fd");
	arguments_add(a, "fd=%d,set=1", MACHINE_FD_BASE_DISK);
	arguments_add(a, "-add-fd");
	arguments_add(a, "fd=%d,set=2", MACHINE_FD_OVERLAY);
	/* Shared by all sandboxes of the image, written by none: nothing to lock. */
	arguments_add(a, "-blockdev");
	arguments_add(a, "driver=file,node-name=base,filename=/dev/fdset/1,read-only=on,"
			 "locking=off");
	arguments_add(a, "-blockdev");
	arguments_add(a, "driver=file,node-name=overlay,filename=/dev/fdset/2,discard=unmap");
	arguments_add(a, "-blockdev");
	arguments_add(a, "driver=qcow2,node-name=disk,file=overlay,backing=base,discard=unmap");
	/* "report": a full disk of the host is an error in the guest, not a machine that stops. */
	arguments_add(a, "-device");
	arguments_add(a, "virtio-blk-device,drive=disk,werror=report,rerror=report");
}

void arguments_machine(struct arguments *a, const struct vmm_config *config,
		       const struct machine_files *files, uint64_t tsc_khz)
{
	add_all(a, (const char *const[]){ "-M", "microvm,acpi=on,rtc=on,dump-guest-core=off",
					  "-nodefaults", "-no-user-config", "-display", "none",
					  "-no-reboot", "-global", "virtio-mmio.force-legacy=off",
					  "-sandbox",
					  "on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
					  "resourcecontrol=deny",
					  NULL });
	add_processor(a, config);
	add_channels(a);
	add_disk(a);
	/* getrandom(), so no device file is needed. */
	arguments_add(a, "-object");
	arguments_add(a, "rng-builtin,id=rng");
	arguments_add(a, "-device");
	arguments_add(a, "virtio-rng-device,rng=rng");
	add_boot(a, config, files, tsc_khz);
}

/* ---- the confinement ---- */

/* Where /lib is still a folder of its own and not a link into /usr, it is needed as well. */
static void add_libraries(struct arguments *a)
{
	static const char *const folders[] = { "lib", "lib64" };

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		char path[16], target[64];
		snprintf(path, sizeof(path), "/%s", folders[i]);
		ssize_t n = readlink(path, target, sizeof(target) - 1);
		struct stat st;
		if (n > 0) {
			target[n] = 0;
			arguments_add(a, "--symlink");
			arguments_add(a, "%s", target);
			arguments_add(a, "%s", path);
		} else if (stat(path, &st) == 0) {
			arguments_add(a, "--ro-bind");
			arguments_add(a, "%s", path);
			arguments_add(a, "%s", path);
		}
	}
}

void arguments_confine(struct arguments *a, const char *bwrap, const struct vmm_config *config,
		       enum confine_give give)
{
	arguments_add(a, "%s", bwrap);
	/* --unshare-all only tries to get a user namespace; without one there is no point. The
	 * user is the same whoever runs this. As PID 1, QEMU needs no bubblewrap beside it inside,
	 * and whatever it might start dies with it. */
	add_all(a, (const char *const[]){ "--unshare-all", "--unshare-user", "--uid", "65534",
					  "--gid", "65534", "--die-with-parent", "--as-pid-1",
					  "--cap-drop", "ALL", "--ro-bind", "/usr", "/usr",
					  "--dev-bind", "/dev/null", "/dev/null", NULL });
	add_libraries(a);
	if (give == CONFINE_BIND) {
		arguments_add(a, "--ro-bind");
		arguments_add(a, "%s", config->kernel);
		arguments_add(a, "%s", arguments_confined_files.kernel);
		arguments_add(a, "--ro-bind");
		arguments_add(a, "%s", config->initramfs);
		arguments_add(a, "%s", arguments_confined_files.initramfs);
	} else if (give == CONFINE_COPY) {
		arguments_add(a, "--ro-bind-data");
		arguments_add(a, "%d", MACHINE_FD_KERNEL);
		arguments_add(a, "%s", arguments_confined_files.kernel);
		arguments_add(a, "--ro-bind-data");
		arguments_add(a, "%d", MACHINE_FD_INITRAMFS);
		arguments_add(a, "%s", arguments_confined_files.initramfs);
	}
	if (config && config->accel == VMM_ACCEL_KVM)
		add_all(a, (const char *const[]){ "--dev-bind", "/dev/kvm", "/dev/kvm", NULL });
	add_all(a, (const char *const[]){ "--remount-ro", "/", "--chdir", "/", "--", NULL });
}
