/* SPDX-License-Identifier: Apache-2.0 */
#include "base/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "harness/failing-alloc.h"
#include "harness/tap.h"

static void check_path(enum paths_base base, const char *expected)
{
	_cleanup_free_ char *path = NULL;
	CHECK_OK(paths_make(base, &path, "x/%s", "y"));
	CHECK_STR(path, expected);
}

static void clear(void)
{
	static const char *const names[] = {
		"COVE_HOME", "XDG_DATA_HOME",  "XDG_CACHE_HOME",   "XDG_RUNTIME_DIR",
		"HOME",	     "COVE_SHARE_DIR", "COVE_LIBEXEC_DIR",
	};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unsetenv(names[i]);
}

static void test_state(void)
{
	char run[64];
	snprintf(run, sizeof(run), "/tmp/cove-run-%u/x/y", (unsigned)getuid());
	char *path = (char *)"mine";

	clear();
	CHECK_INT(paths_make(PATHS_DATA, &path, "x"), ==, -ENOENT);
	CHECK_STR(path, "mine");
	check_path(PATHS_RUNTIME, run);

	setenv("HOME", "/h", 1);
	check_path(PATHS_DATA, "/h/.local/share/cove/x/y");
	check_path(PATHS_CACHE, "/h/.cache/cove/x/y");
	check_path(PATHS_RUNTIME, run);

	setenv("XDG_DATA_HOME", "/d", 1);
	setenv("XDG_CACHE_HOME", "", 1); /* empty counts as not there */
	setenv("XDG_RUNTIME_DIR", "/r", 1);
	check_path(PATHS_DATA, "/d/cove/x/y");
	check_path(PATHS_CACHE, "/h/.cache/cove/x/y");
	check_path(PATHS_RUNTIME, "/r/cove/x/y");

	setenv("COVE_HOME", "/c", 1);
	check_path(PATHS_DATA, "/c/data/x/y");
	check_path(PATHS_CACHE, "/c/cache/x/y");
	check_path(PATHS_RUNTIME, "/c/run/x/y");

	_cleanup_free_ char *bare = NULL;
	CHECK_OK(paths_make(PATHS_DATA, &bare, "%s", ""));
	CHECK_STR(bare, "/c/data");
}

static void test_installation_by_environment(void)
{
	setenv("COVE_SHARE_DIR", "/s", 1);
	setenv("COVE_LIBEXEC_DIR", "/l", 1);
	check_path(PATHS_SHARE, "/s/x/y");
	_cleanup_free_ char *path = NULL;
	CHECK_OK(paths_libexec("cove-image", &path));
	CHECK_STR(path, "/l/cove-image");
}

/* This program, copied to a place in a tree, is asked there. */
static void ask_copy(const char *at, const char *question, char *ret, size_t size)
{
	_cleanup_free_ char *self = NULL, *command = NULL;
	size_t n;
	CHECK_OK(fd_read_file(AT_FDCWD, "/proc/self/exe", 1 << 28, false, &self, &n));
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, at, self, n, 0700));
	CHECK_SYS(asprintf(&command, "%s --ask %s", at, question));
	FILE *p = popen(command, "re");
	CHECK(p && fgets(ret, (int)size, p));
	CHECK_INT(pclose(p), ==, 0);
	ret[strcspn(ret, "\n")] = 0;
}

static int answer(const char *question)
{
	_cleanup_free_ char *path = NULL;
	int r = !strcmp(question, "share") ? paths_make(PATHS_SHARE, &path, "guest/vmlinuz")
					   : paths_libexec("cove-supervisor", &path);
	if (r < 0)
		return 1;
	puts(path);
	return 0;
}

static void test_build_folder(void)
{
	char path[4096];
	clear();
	CHECK_OK(fd_mkdir_parents(tap_path("build/guest"), 0700));
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, tap_path("build/guest/vmlinuz"), "", 0, 0600));
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, tap_path("build/cove-supervisor"), "", 0, 0700));
	ask_copy(tap_path("build/cove"), "share", path, sizeof(path));
	CHECK_STR(path, tap_path("build/guest/vmlinuz"));
	ask_copy(tap_path("build/cove"), "libexec", path, sizeof(path));
	CHECK_STR(path, tap_path("build/cove-supervisor"));
}

static void test_installed(void)
{
	static const char *const places[] = { "bin", "lib/x86_64-linux-gnu", "libexec/cove" };
	char path[4096];
	clear();
	CHECK_OK(fd_mkdir_parents(tap_path("usr/share/cove"), 0700));
	CHECK_OK(fd_mkdir_parents(tap_path("usr/libexec/cove"), 0700));
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, tap_path("usr/libexec/cove/cove-supervisor"), "", 0,
				      0700));
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		CHECK_OK(fd_mkdir_parents(tap_path("usr/%s", places[i]), 0700));
		ask_copy(tap_path("usr/%s/program", places[i]), "share", path, sizeof(path));
		CHECK_STR(path, tap_path("usr/share/cove/guest/vmlinuz"));
		ask_copy(tap_path("usr/%s/program", places[i]), "libexec", path, sizeof(path));
		CHECK_STR(path, tap_path("usr/libexec/cove/cove-supervisor"));
	}
}

static void test_nowhere(void)
{
	char path[4096];
	clear();
	ask_copy(tap_path("program"), "share", path, sizeof(path));
	CHECK_STR(path, COVE_SHARE_DIR "/guest/vmlinuz");
	ask_copy(tap_path("program"), "libexec", path, sizeof(path));
	CHECK_STR(path, COVE_LIBEXEC_DIR "/cove-supervisor");
}

/* Never another path than with all the memory that is wanted. */
static void check_no_memory(int (*make)(char **ret))
{
	for (unsigned long n = 1;; n++) {
		_cleanup_free_ char *path = NULL;
		failing_alloc_arm(n);
		int r = make(&path);
		if (!failing_alloc_disarm()) {
			CHECK_OK(r);
			CHECK(path);
			return;
		}
		CHECK_INT(r, ==, -ENOMEM);
		CHECK(!path);
	}
}

static int make_data(char **ret)
{
	return paths_make(PATHS_DATA, ret, "images/%s", "x");
}

static int make_share(char **ret)
{
	return paths_make(PATHS_SHARE, ret, "images/%s", "x");
}

static int make_libexec(char **ret)
{
	return paths_libexec("cove-image", ret);
}

static void test_no_memory(void)
{
	check_no_memory(make_data);
	check_no_memory(make_share);
	check_no_memory(make_libexec);
	setenv("COVE_SHARE_DIR", "/s", 1);
	setenv("COVE_LIBEXEC_DIR", "/l", 1);
	check_no_memory(make_share);
	check_no_memory(make_libexec);
}

static const struct tap_test tests[] = {
	{ "the user's state", test_state },
	{ "the installation, by environment", test_installation_by_environment },
	{ "in a build folder", test_build_folder },
	{ "in an installation", test_installed },
	{ "as configured otherwise", test_nowhere },
	{ "without memory", test_no_memory },
};

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--ask"))
		return answer(argv[2]);
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
