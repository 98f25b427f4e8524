/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tap.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "supervisor/doctor.h"
#include "vmm/doctor.h"

static const struct doctor_finding *find(const struct doctor_report *report, const char *name)
{
	for (size_t i = 0; i < report->n; i++)
		if (!strcmp(report->findings[i].name, name))
			return &report->findings[i];
	tap_fail(__FILE__, __LINE__, "nothing is said about \"%s\"", name);
}

static void install_guest(void)
{
	setenv("COVE_SHARE_DIR", tap_path("share"), 1);
	CHECK_OK(fd_mkdir_parents(tap_path("share/guest"), 0755));
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, tap_path("share/guest/vmlinuz"), "k", 1, 0644));
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, tap_path("share/guest/initramfs.cpio"), "i", 1,
				      0644));
}

/* Everything that the tests themselves need is there. */
static void test_complete(void)
{
	install_guest();
	struct doctor_report report;
	doctor_examine(&report);
	for (size_t i = 0; i < report.n; i++) {
		const struct doctor_finding *f = &report.findings[i];
		tap_note("%s: %s: %s", f->name, doctor_status_name(f->status), f->found);
		CHECK(f->found[0]);
		CHECK_INT(f->status, !=, DOCTOR_FAIL);
	}
	CHECK_INT(doctor_verdict(&report), !=, DOCTOR_FAIL);
	CHECK_INT(find(&report, "qemu")->status, ==, DOCTOR_OK);
	CHECK_STR(find(&report, "machine type")->found, "microvm");
	CHECK_INT(find(&report, "accelerator")->status, ==,
		  report.accel.accel == VMM_ACCEL_KVM ? DOCTOR_OK : DOCTOR_WARN);
	CHECK_CONTAINS(find(&report, "accelerator")->found, report.accel.reason);
	CHECK_CONTAINS(find(&report, "data")->found, "MiB free");
	/* It only looks. */
	CHECK(access(tap_path("data"), F_OK) < 0);
	CHECK(access(tap_path("run"), F_OK) < 0);
}

static void test_guest_missing(void)
{
	setenv("COVE_SHARE_DIR", tap_path("share"), 1);
	struct doctor_report report;
	doctor_examine(&report);
	const struct doctor_finding *f = find(&report, "guest kernel");
	CHECK_INT(f->status, ==, DOCTOR_FAIL);
	CHECK_CONTAINS(f->found, "share/guest/vmlinuz: No such file or directory");
	CHECK(f->fix[0]);
	CHECK_INT(find(&report, "guest initramfs")->status, ==, DOCTOR_FAIL);
	CHECK_INT(doctor_verdict(&report), ==, DOCTOR_FAIL);
}

static void test_not_writable(void)
{
	CHECK_SYS(chmod(tap_dir(), 0555));
	if (geteuid() == 0)
		CHECK_SYS(setresuid(65534, 65534, 65534));
	struct doctor_report report;
	doctor_examine(&report);
	CHECK_INT(find(&report, "data")->status, ==, DOCTOR_FAIL);
	CHECK_CONTAINS(find(&report, "runtime")->found, "Permission denied");
	CHECK_CONTAINS(find(&report, "runtime")->fix, "COVE_HOME");
}

/* What doctor_main() prints, and its exit status. */
static char *run_main(const char *option, int *ret_status)
{
	char *argv[] = { (char *)(uintptr_t) "cove-supervisor", (char *)(uintptr_t) "--doctor",
			 (char *)(uintptr_t)option, NULL };
	fflush(stdout);
	_cleanup_close_ int before = (int)CHECK_SYS(fcntl(1, F_DUPFD_CLOEXEC, 3));
	_cleanup_close_ int file =
		(int)CHECK_SYS(open(tap_path("out"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
	CHECK_SYS(dup2(file, 1));
	*ret_status = doctor_main(option ? 3 : 2, argv);
	fflush(stdout);
	CHECK_SYS(dup2(before, 1));
	char *text;
	CHECK_OK(fd_read_file(AT_FDCWD, tap_path("out"), 1 << 20, false, &text, NULL));
	return text;
}

static void test_table(void)
{
	int status;
	install_guest();
	setenv("LC_ALL", "C", 1);
	_cleanup_free_ char *ascii = run_main(NULL, &status);
	CHECK_INT(status, ==, 0);
	CHECK_CONTAINS(ascii, "\n+  machine type     microvm\n");
	CHECK_CONTAINS(ascii, "\n\nSandboxes can run here");
	for (const char *p = ascii; *p; p++)
		CHECK((*p >= ' ' && *p < 0x7f) || *p == '\n');

	setenv("LC_ALL", "C.UTF-8", 1);
	CHECK_SYS(unlink(tap_path("share/guest/vmlinuz")));
	_cleanup_free_ char *utf8 = run_main(NULL, &status);
	CHECK_INT(status, ==, 1);
	CHECK_CONTAINS(utf8, "\n✓  machine type     microvm\n");
	CHECK_CONTAINS(utf8, "\n✗  guest kernel     ");
	CHECK_CONTAINS(utf8, "\n\nSandboxes cannot run here.\n");
	CHECK(!strchr(utf8, '\033')); /* not a terminal */
}

static void test_json(void)
{
	int status;
	install_guest();
	_cleanup_free_ char *text = run_main("--json", &status);
	CHECK_INT(status, ==, 0);
	json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	CHECK(o);
	CHECK(json_is_true(json_object_get(o, "ready")));
	json_t *accel = json_object_get(o, "accelerator");
	CHECK(json_is_string(json_object_get(accel, "name")));
	CHECK(json_is_string(json_object_get(accel, "reason")));
	CHECK(json_is_integer(json_object_get(accel, "probe_ns")));
	json_t *findings = json_object_get(o, "findings");
	CHECK_INT(json_array_size(findings), >=, 9);
	json_t *first = json_array_get(findings, 0);
	CHECK_STR(json_string_value(json_object_get(first, "name")), "qemu");
	CHECK_STR(json_string_value(json_object_get(first, "status")), "ok");
	CHECK_STR(json_string_value(json_object_get(first, "fix")), "");
	json_decref(o);
}

static void test_usage(void)
{
	int status;
	_cleanup_free_ char *text = run_main("--yaml", &status);
	CHECK_INT(status, ==, 2);
	CHECK_STR(text, "");
}

static const struct tap_test tests[] = {
	{ "a complete machine", test_complete },
	{ "the guest is missing", test_guest_missing },
	{ "folders that cannot be written", test_not_writable },
	{ "the table", test_table },
	{ "JSON", test_json },
	{ "bad arguments", test_usage },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
