/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "vmm/overlay.h"
#include "vmm/program.h"
#include "vmm/vmm.h"

static int dir_open(void)
{
	return (int)CHECK_SYS(open(tap_dir(), O_PATH | O_DIRECTORY | O_CLOEXEC));
}

/* What QEMU's own tool says of the file. */
static json_t *qemu_img(const char *command, const char *file)
{
	_cleanup_free_ char *program = NULL;
	CHECK_OK(program_find("qemu-img", &program));
	char *argv[] = { program, (char *)(uintptr_t)command, (char *)(uintptr_t) "--output=json",
			 (char *)(uintptr_t)file, NULL };
	char output[8192];
	int status = program_run(argv, NULL, 10000, output, sizeof(output));
	tap_note("qemu-img %s: %d", command, status);
	CHECK_INT(status, ==, 0);
	json_t *o = json_loads(output, 0, NULL);
	CHECK(o);
	return o;
}

static void test_valid(void)
{
	_cleanup_close_ int dir = dir_open();
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(vmm_overlay_create(dir, "overlay.qcow2", &err), &err);

	json_t *check = qemu_img("check", tap_path("overlay.qcow2"));
	CHECK_INT(json_integer_value(json_object_get(check, "check-errors")), ==, 0);
	CHECK(!json_object_get(check, "corruptions"));
	CHECK(!json_object_get(check, "leaks"));
	json_decref(check);

	json_t *info = qemu_img("info", tap_path("overlay.qcow2"));
	CHECK_STR(json_string_value(json_object_get(info, "format")), "qcow2");
	CHECK_INT(json_integer_value(json_object_get(info, "virtual-size")), ==, VMM_DISK_BYTES);
	CHECK(!json_object_get(info, "backing-filename"));
	json_t *data = json_object_get(json_object_get(info, "format-specific"), "data");
	CHECK_STR(json_string_value(json_object_get(data, "compat")), "1.1");
	CHECK(json_is_false(json_object_get(data, "corrupt")));
	json_decref(info);
}

static void test_small_and_private(void)
{
	_cleanup_close_ int dir = dir_open();
	umask(0);
	CHECK_OK(vmm_overlay_create(dir, "o", NULL));
	struct stat st;
	CHECK_SYS(stat(tap_path("o"), &st));
	CHECK_INT(st.st_mode & 0777, ==, 0600);
	CHECK_INT(st.st_blocks * 512, <=, 64 * 1024);
}

static void test_taken(void)
{
	_cleanup_close_ int dir = dir_open();
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_OK(vmm_overlay_create(dir, "o", NULL));
	CHECK_INT(vmm_overlay_create(dir, "o", &err), ==, COVE_E_EXISTS);
	CHECK_CONTAINS(err.message, "o cannot be made: File exists");

	/* Nor through a link. */
	CHECK_SYS(symlink("elsewhere", tap_path("link")));
	CHECK_INT(vmm_overlay_create(dir, "link", &err), ==, COVE_E_EXISTS);
	CHECK(access(tap_path("elsewhere"), F_OK) < 0);
}

static void test_no_room(void)
{
	_cleanup_close_ int dir = dir_open();
	signal(SIGXFSZ, SIG_IGN);
	CHECK_SYS(setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 4096, 4096 }));
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_INT(vmm_overlay_create(dir, "o", &err), ==, COVE_E_SYSTEM);
	CHECK_INT(err.os_errno, ==, EFBIG);
	CHECK(access(tap_path("o"), F_OK) < 0);
}

/* A header as a QEMU might leave it that its guest has taken over. */
static void test_check(void)
{
	static const struct {
		const char *what;
		off_t offset;
		uint8_t value;
	} changes[] = {
		{ "magic", 0, 0 },
		{ "version 2", 7, 2 },
		{ "a backing file", 15, 0x80 },
		{ "its name's length", 19, 4 },
		{ "another size", 31, 1 },
		{ "encryption", 35, 2 },
		{ "an external data file", 79, 4 },
		{ "another cluster format", 79, 16 },
		{ "a feature nobody knows", 72, 0x80 },
	};
	_cleanup_close_ int dir = dir_open();
	CHECK_OK(vmm_overlay_create(dir, "o", NULL));
	_cleanup_close_ int fd = (int)CHECK_SYS(open(tap_path("o"), O_RDWR | O_CLOEXEC));
	CHECK_OK(overlay_check(fd));
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		tap_note("%s", changes[i].what);
		uint8_t before;
		CHECK_INT(pread(fd, &before, 1, changes[i].offset), ==, 1);
		CHECK_INT(before, !=, changes[i].value);
		CHECK_INT(pwrite(fd, &changes[i].value, 1, changes[i].offset), ==, 1);
		CHECK_INT(overlay_check(fd), ==, -EBADMSG);
		CHECK_INT(pwrite(fd, &before, 1, changes[i].offset), ==, 1);
		CHECK_OK(overlay_check(fd));
	}
	/* What QEMU sets while a machine runs. */
	CHECK_INT(pwrite(fd, "\3", 1, 79), ==, 1);
	CHECK_OK(overlay_check(fd));
	CHECK_SYS(ftruncate(fd, 100));
	CHECK_INT(overlay_check(fd), ==, -EBADMSG);
}

static const struct tap_test tests[] = {
	{ "valid to qemu-img", test_valid },
	{ "small, and for its owner only", test_small_and_private },
	{ "a taken name is refused", test_taken },
	{ "nothing is left without room", test_no_room },
	{ "changed headers are refused", test_check },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
