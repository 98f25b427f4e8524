/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/doctor.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/paths.h"
#include "vmm/confine.h"
#include "vmm/program.h"

/* The one that Debian 12 has, and all tests run with. */
#define QEMU_MAJOR 7
#define QEMU_MINOR 2

/* A sandbox with the default memory, and one overlay as a small build fills it. */
#define MEMORY_WANTED_MIB 512
#define DISK_WANTED_MIB	  1024

#define RUN_TIMEOUT_MS 10000

static struct doctor_finding *finding(struct doctor_report *report, const char *name)
{
	assert(report->n < DOCTOR_FINDINGS_MAX);
	struct doctor_finding *f = &report->findings[report->n++];
	*f = (struct doctor_finding){ .name = name };
	return f;
}

static void say(struct doctor_finding *f, enum doctor_status status, const char *format, ...)
	_printf_(3, 4);
static void say(struct doctor_finding *f, enum doctor_status status, const char *format, ...)
{
	f->status = status;
	va_list args;
	va_start(args, format);
	vsnprintf(f->found, sizeof(f->found), format, args);
	va_end(args);
}

static void fix(struct doctor_finding *f, const char *format, ...) _printf_(2, 3);
static void fix(struct doctor_finding *f, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(f->fix, sizeof(f->fix), format, args);
	va_end(args);
}

/* ---- programs ---- */

static int run(const char *program, const char *argument, const char *argument2, char *output,
	       size_t size)
{
	char *argv[] = { (char *)(uintptr_t)program, (char *)(uintptr_t)argument,
			 (char *)(uintptr_t)argument2, NULL };
	return program_run(argv, NULL, RUN_TIMEOUT_MS, output, size);
}

static int parse_version(const char *text, unsigned long *ret_major, unsigned long *ret_minor)
{
	static const char start[] = "QEMU emulator version ";
	char *end;
	if (strncmp(text, start, strlen(start)) != 0)
		return -EINVAL;
	unsigned long major = strtoul(text + strlen(start), &end, 10);
	if (*end != '.')
		return -EINVAL;
	*ret_major = major;
	*ret_minor = strtoul(end + 1, NULL, 10);
	return 0;
}

static void examine_qemu(struct doctor_report *report)
{
	struct doctor_finding *f = finding(report, "qemu");
	_cleanup_free_ char *qemu = NULL;
	if (program_find("qemu-system-x86_64", &qemu) < 0) {
		say(f, DOCTOR_FAIL, "qemu-system-x86_64 is not installed");
		fix(f, "apt install qemu-system-x86");
		return;
	}

	char output[16384];
	unsigned long major, minor;
	int r = run(qemu, "--version", NULL, output, sizeof(output));
	if (r != 0 || parse_version(output, &major, &minor) < 0) {
		say(f, DOCTOR_FAIL, "%s does not tell its version", qemu);
		fix(f, "apt install --reinstall qemu-system-x86");
		return;
	}
	say(f, DOCTOR_OK, "%s, version %lu.%lu", qemu, major, minor);
	if (major < QEMU_MAJOR || (major == QEMU_MAJOR && minor < QEMU_MINOR)) {
		f->status = DOCTOR_WARN;
		fix(f, "Cove is tested with %u.%u and newer", QEMU_MAJOR, QEMU_MINOR);
	}

	f = finding(report, "machine type");
	r = run(qemu, "-machine", "help", output, sizeof(output));
	if (r == 0 && strstr(output, "\nmicrovm ")) {
		say(f, DOCTOR_OK, "microvm");
	} else {
		say(f, DOCTOR_FAIL, "this QEMU has no machine type microvm");
		fix(f, "apt install qemu-system-x86");
	}
}

static void examine_accelerator(struct doctor_report *report)
{
	vmm_accel_probe(&report->accel);
	struct doctor_finding *f = finding(report, "accelerator");
	if (report->accel.accel == VMM_ACCEL_KVM) {
		say(f, DOCTOR_OK, "KVM: %s", report->accel.reason);
		return;
	}
	say(f, DOCTOR_WARN, "QEMU's emulation (TCG), slower than KVM: %s", report->accel.reason);
	if (report->accel.kvm_present && !report->accel.kvm_opened)
		fix(f, "usermod -aG kvm USER, and log in again");
	else if (!report->accel.kvm_present)
		fix(f,
		    "enable virtualization in the firmware, or nested virtualization, if you can");
}

static void examine_confinement(struct doctor_report *report)
{
	struct doctor_finding *f = finding(report, "confinement");
	_cleanup_free_ char *bwrap = NULL;
	if (program_find("bwrap", &bwrap) < 0) {
		say(f, DOCTOR_WARN, "bwrap is not installed: QEMU has only its seccomp filter");
		fix(f, "apt install bubblewrap");
		return;
	}
	char reason[160];
	if (confine_try(bwrap, reason, sizeof(reason)) < 0) {
		say(f, DOCTOR_WARN, "%s does not work here, QEMU has only its seccomp filter: %s",
		    bwrap, reason);
		fix(f, "allow user namespaces: sysctl kernel.unprivileged_userns_clone, "
		       "user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns");
		return;
	}
	say(f, DOCTOR_OK, "%s works", bwrap);
}

static void examine_mke2fs(struct doctor_report *report)
{
	struct doctor_finding *f = finding(report, "e2fsprogs");
	_cleanup_free_ char *mke2fs = NULL;
	if (program_find("mke2fs", &mke2fs) < 0) {
		say(f, DOCTOR_FAIL, "mke2fs is not installed: no image can be made");
		fix(f, "apt install e2fsprogs");
		return;
	}
	say(f, DOCTOR_OK, "%s", mke2fs);
}

/* ---- files ---- */

static void examine_guest(struct doctor_report *report)
{
	static const struct {
		const char *name, *file;
	} files[] = {
		{ "guest kernel", "guest/vmlinuz" },
		{ "guest initramfs", "guest/initramfs.cpio" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct doctor_finding *f = finding(report, files[i].name);
		_cleanup_free_ char *path = NULL;
		int r = paths_make(PATHS_SHARE, &path, "%s", files[i].file);
		if (r < 0) {
			say(f, DOCTOR_FAIL, "it cannot be told where it is: %s",
			    error_errno_text(r));
			continue;
		}
		struct stat st;
		if (stat(path, &st) < 0 || access(path, R_OK) < 0) {
			say(f, DOCTOR_FAIL, "%s: %s", path, error_errno_text(errno));
			fix(f, "install Cove whole, or set COVE_SHARE_DIR to where %s is",
			    files[i].file);
			continue;
		}
		say(f, DOCTOR_OK, "%s, %.1f MiB", path, (double)st.st_size / (1 << 20));
	}
}

/* The folder itself, or the nearest one above it that is there. */
static void nearest_existing(char *path)
{
	struct stat st;
	while (stat(path, &st) < 0) {
		char *slash = strrchr(path, '/');
		if (!slash || slash == path) {
			path[1] = 0; /* the root, which is there */
			return;
		}
		*slash = 0;
	}
}

static void examine_folder(struct doctor_report *report, const char *name, enum paths_base base)
{
	struct doctor_finding *f = finding(report, name);
	_cleanup_free_ char *path = NULL;
	int r = paths_make(base, &path, "%s", "");
	if (r < 0) {
		say(f, DOCTOR_FAIL, "%s", error_errno_text(r));
		fix(f, "set COVE_HOME, or HOME");
		return;
	}
	_cleanup_free_ char *there = strdup(path);
	if (!there) {
		say(f, DOCTOR_FAIL, "%s", error_errno_text(ENOMEM));
		return;
	}
	nearest_existing(there);
	if (access(there, W_OK | X_OK) < 0) {
		say(f, DOCTOR_FAIL, "%s: %s", there, error_errno_text(errno));
		fix(f, "make it writable, or set COVE_HOME to a folder that is");
		return;
	}
	struct statvfs vfs;
	if (base != PATHS_DATA || statvfs(there, &vfs) < 0) {
		say(f, DOCTOR_OK, "%s", path);
		return;
	}
	uint64_t mib = (uint64_t)vfs.f_bavail * vfs.f_frsize >> 20;
	say(f, mib < DISK_WANTED_MIB ? DOCTOR_WARN : DOCTOR_OK, "%s, %" PRIu64 " MiB free", path,
	    mib);
	if (f->status != DOCTOR_OK)
		fix(f, "images and sandboxes want %d MiB; COVE_HOME can be on another disk",
		    DISK_WANTED_MIB);
}

static void examine_memory(struct doctor_report *report)
{
	struct doctor_finding *f = finding(report, "memory");
	_cleanup_free_ char *text = NULL;
	uint64_t kib = 0;
	if (fd_read_file(-1, "/proc/meminfo", 65536, true, &text, NULL) >= 0) {
		const char *line = strstr(text, "MemAvailable:");
		if (line)
			kib = strtoull(line + strlen("MemAvailable:"), NULL, 10);
	}
	if (kib == 0) {
		say(f, DOCTOR_WARN, "it cannot be told how much is available");
		return;
	}
	bool enough = kib >= MEMORY_WANTED_MIB * 1024;
	say(f, enough ? DOCTOR_OK : DOCTOR_WARN, "%" PRIu64 " MiB available", kib / 1024);
	if (!enough)
		fix(f, "a sandbox may want %d MiB", MEMORY_WANTED_MIB);
}

/* ---- all of it ---- */

void doctor_examine(struct doctor_report *ret)
{
	*ret = (struct doctor_report){ 0 };
	examine_qemu(ret);
	examine_accelerator(ret);
	examine_confinement(ret);
	examine_guest(ret);
	examine_mke2fs(ret);
	examine_folder(ret, "data", PATHS_DATA);
	examine_folder(ret, "runtime", PATHS_RUNTIME);
	examine_memory(ret);
}

enum doctor_status doctor_verdict(const struct doctor_report *report)
{
	enum doctor_status worst = DOCTOR_OK;
	for (size_t i = 0; i < report->n; i++)
		worst = MAX(worst, report->findings[i].status);
	return worst;
}

const char *doctor_status_name(enum doctor_status status)
{
	static const char *const names[] = {
		[DOCTOR_OK] = "ok",
		[DOCTOR_WARN] = "warn",
		[DOCTOR_FAIL] = "fail",
	};
	return names[status];
}
