/* SPDX-License-Identifier: Apache-2.0 */
/* Images appear whole or not at all, and what a dead or failed import leaves is nobody's problem. */
#include "image/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "harness/failing-alloc.h"
#include "image-test.h"
#include "image/description.h"

static struct cove_error err;

static const char *one_file(const char *text)
{
	static char path[256];
	struct tar tar = tar_begin("t.tar", NULL);
	tar_file(&tar, "file", 0644, text);
	tar_end(&tar);
	memcpy(path, tar.path, sizeof(path));
	return path;
}

static int import_as(const char *name, const char *source, bool replace)
{
	struct image_import_options options = IMAGE_IMPORT_OPTIONS_INIT;
	options.replace = replace;
	options.disk_bytes = 16 << 20;
	return image_store_import(name, source, &options, &err);
}

static void check_file(const char *image, const char *text)
{
	ext2_filsys fs = fs_open(image);
	fs_check_text(fs, "file", text);
	fs_close(fs);
}

static void test_config(void)
{
	const char *env[] = { "PATH=/bin", "EMPTY=", "UTF8=\xc3\xa9", NULL };
	struct image_import_options options = IMAGE_IMPORT_OPTIONS_INIT;
	options.env = env;
	options.cwd = "/app";
	options.user = "user:users";
	options.shell = "/bin/bash";
	const char *source = one_file("x");
	CHECK_COVE(image_store_import("img", source, &options, &err), &err);

	struct image *image;
	CHECK_COVE(image_store_find("img", &image, &err), &err);
	CHECK_STR(image->name, "img");
	CHECK_STR(image->disk_path, tap_path("data/images/img/disk.ext4"));
	CHECK(!image->built_in);
	CHECK(image->problem == NULL);
	CHECK_STR(image->env[0], "PATH=/bin");
	CHECK_STR(image->env[1], "EMPTY=");
	CHECK_STR(image->env[2], "UTF8=\xc3\xa9");
	CHECK(image->env[3] == NULL);
	CHECK_STR(image->cwd, "/app");
	CHECK_STR(image->user, "user:users");
	CHECK_STR(image->shell, "/bin/bash");
	CHECK(image->created_ns > 0);
	struct stat st;
	CHECK_SYS(stat(image->disk_path, &st));
	CHECK_INT(st.st_mode & 0777, ==, 0444);
	CHECK_INT(st.st_size, ==, image->disk_bytes);
	CHECK(image_free(image) == NULL);
	CHECK(image_free(NULL) == NULL);

	CHECK_OK(import_as("plain", source, false));
	CHECK_COVE(image_store_find("plain", &image, &err), &err);
	CHECK(image->env[0] == NULL && !image->cwd && !image->user && !image->shell);
	image_free(image);
}

static void test_bad_options(void)
{
	static const struct {
		const char *env, *cwd, *user, *shell;
	} bad[] = {
		{ .env = "NOVALUE" }, { .env = "=x" },	    { .env = "" },  { .env = "A=\xff" },
		{ .cwd = "app" },     { .cwd = "" },	    { .user = "" }, { .user = "\xe9" },
		{ .shell = "bash" },  { .shell = "/\xff" },
	};
	const char *source = one_file("x");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *env[] = { bad[i].env, NULL };
		struct image_import_options options = IMAGE_IMPORT_OPTIONS_INIT;
		options.env = env;
		options.cwd = bad[i].cwd;
		options.user = bad[i].user;
		options.shell = bad[i].shell;
		CHECK_INT(image_store_import("img", source, &options, &err), ==, COVE_E_INVALID);
		tap_note("%s", err.message);
	}
	CHECK_INT(store_entries(), ==, 0);
}

static void test_names(void)
{
	static const char *const bad[] = { "",	   ".",	    "..",     "a/b",  "/abs",	  "-x",
					   ".tmp", "UPPER", "sp ace", "a\nb", "debian:12" };
	struct image *image;
	const char *source = one_file("x");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK_INT(import_as(bad[i], source, true), ==, COVE_E_INVALID);
		CHECK_INT(image_store_find(bad[i], &image, &err), ==, COVE_E_INVALID);
		CHECK_INT(image_store_remove(bad[i], &err), ==, COVE_E_INVALID);
	}
	CHECK_OK(import_as("a.tmp", source, false)); /* odd, but a name */
	CHECK_OK(import_as("b", source, false));
	check_file("a.tmp", "x");
}

static void test_exists_and_replace(void)
{
	CHECK_OK(import_as("img", one_file("first"), false));
	CHECK_INT(import_as("img", one_file("second"), false), ==, COVE_E_EXISTS);
	CHECK_CONTAINS(err.message, "img");
	check_file("img", "first");

	/* Who has the old one open keeps it. */
	int fd = open(tap_path("data/images/img/disk.ext4"), O_RDONLY | O_CLOEXEC);
	CHECK_SYS(fd);
	CHECK_OK(import_as("img", one_file("second"), true));
	check_file("img", "second");
	struct stat st;
	CHECK_SYS(fstat(fd, &st));
	CHECK_INT(st.st_nlink, ==, 0);
	close(fd);
	CHECK_INT(store_entries(), ==, 1);

	/* A failed replacement changes nothing. */
	CHECK_INT(import_as("img", "/dev/null", true), <, 0);
	check_file("img", "second");
	CHECK_OK(import_as("new", one_file("third"), true));
	CHECK_INT(store_entries(), ==, 2);
}

static void test_not_found(void)
{
	struct image *image = NULL;
	CHECK_SYS(setenv("COVE_SHARE_DIR", tap_path("share"), 1));
	CHECK_INT(image_store_find("nothing", &image, &err), ==, COVE_E_NOT_FOUND);
	CHECK_CONTAINS(err.message, "nothing");
	CHECK_CONTAINS(err.message, tap_path("data/images"));
	CHECK_CONTAINS(err.message, tap_path("share/images"));
	CHECK_INT(image_store_remove("nothing", &err), ==, COVE_E_NOT_FOUND);
	CHECK(image == NULL);
}

static void make_built_in(const char *name, const char *text)
{
	CHECK_OK(import_as(name, one_file(text), false));
	CHECK_OK(fd_mkdir_parents(tap_path("share/images"), 0755));
	CHECK_SYS(rename(tap_path("data/images/%s", name), tap_path("share/images/%s", name)));
	CHECK_SYS(setenv("COVE_SHARE_DIR", tap_path("share"), 1));
}

static void test_built_in(void)
{
	make_built_in("base", "built in");
	make_built_in("other", "built in");
	struct image *image;
	CHECK_COVE(image_store_find("base", &image, &err), &err);
	CHECK(image->built_in);
	image_free(image);
	CHECK_INT(image_store_remove("base", &err), ==, COVE_E_DENIED);
	CHECK_CONTAINS(err.message, "built in");

	/* The user's own hides it, and gives it back. */
	CHECK_OK(import_as("base", one_file("own"), false));
	check_file("base", "own");
	struct image **list;
	size_t n;
	CHECK_COVE(image_store_list(&list, &n, &err), &err);
	CHECK_INT(n, ==, 2);
	CHECK_STR(list[0]->name, "base");
	CHECK(!list[0]->built_in);
	CHECK_STR(list[1]->name, "other");
	CHECK(list[1]->built_in);
	CHECK(image_list_free(list, n) == NULL);
	CHECK_OK(image_store_remove("base", &err));
	check_file("base", "built in");
}

static void test_list(void)
{
	struct image **list;
	size_t n;
	CHECK_SYS(setenv("COVE_SHARE_DIR", tap_path("share"), 1));
	CHECK_COVE(image_store_list(&list, &n, &err), &err);
	CHECK_INT(n, ==, 0);
	image_list_free(list, n);

	const char *source = one_file("x");
	CHECK_OK(import_as("b", source, false));
	CHECK_OK(import_as("a", source, false));
	CHECK_OK(import_as("c", source, false));
	CHECK_SYS(chmod(tap_path("data/images/b/disk.ext4"), 0644));
	CHECK_SYS(truncate(tap_path("data/images/b/disk.ext4"), 4096));
	CHECK_SYS(mkdir(tap_path("data/images/.d.1.tmp"), 0755));
	write_file("data/images/file", "", 0);
	CHECK_COVE(image_store_list(&list, &n, &err), &err);
	CHECK_INT(n, ==, 3);
	CHECK_STR(list[0]->name, "a");
	CHECK_STR(list[1]->name, "b");
	CHECK_STR(list[2]->name, "c");
	CHECK(list[0]->problem == NULL);
	CHECK_CONTAINS(list[1]->problem, "the size it was made with");
	image_list_free(list, n);
	CHECK_OK(image_store_remove("b", &err)); /* broken ones can be removed */
}

static void test_broken(void)
{
	static const char *const texts[] = {
		"",
		"[]",
		"{",
		"{\"version\": 1}",
		"{\"version\": 2, \"config\": {}}",
		"{\"version\": 1, \"config\": {}, \"disk_bytes\": -1, \"created_ns\": 1}",
		"{\"version\": 1, \"config\": {}, \"disk_bytes\": \"1\", \"created_ns\": 1}",
		"{\"version\": 1, \"config\": {\"Env\": {}}, \"disk_bytes\": 16777216, \"created_ns\": 1}",
		"{\"version\": 1, \"config\": {\"Env\": [1]}, \"disk_bytes\": 16777216, \"created_ns\": 1}",
		"{\"version\": 1, \"config\": {\"Env\": [\"x\"]}, \"disk_bytes\": 16777216, "
		"\"created_ns\": 1}",
		"{\"version\": 1, \"config\": {\"User\": 0}, \"disk_bytes\": 16777216, \"created_ns\": 1}",
		"{\"version\": 1, \"config\": {}, \"disk_bytes\": 4096, \"created_ns\": 1}",
	};
	struct image *image = NULL;
	CHECK_OK(import_as("img", one_file("x"), false));
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		write_file("data/images/img/image.json", texts[i], strlen(texts[i]));
		CHECK_INT(image_store_find("img", &image, &err), ==, COVE_E_IMAGE);
		tap_note("%s", err.message);
		CHECK_CONTAINS(err.message, "img");
	}
	CHECK_SYS(unlink(tap_path("data/images/img/image.json")));
	CHECK_INT(image_store_find("img", &image, &err), ==, COVE_E_IMAGE);
	CHECK_SYS(mkfifo(tap_path("data/images/img/image.json"), 0600));
	CHECK_INT(image_store_find("img", &image, &err), ==, COVE_E_IMAGE);
	CHECK(image == NULL);
}

/* A child that imports from a pipe that nothing comes through: it waits with its folder made. */
static pid_t start_waiting_import(int *ret_pipe, int *ret_cancel)
{
	int fds[2], cancel = eventfd(0, EFD_CLOEXEC);
	CHECK_SYS(cancel);
	CHECK_SYS(pipe2(fds, O_CLOEXEC));
	pid_t pid = fork();
	CHECK_SYS(pid);
	if (pid == 0) {
		struct image_import_options options = IMAGE_IMPORT_OPTIONS_INIT;
		dup2(fds[0], STDIN_FILENO);
		close(fds[1]);
		options.cancel_fd = cancel;
		int r = image_store_import("img", "-", &options, &err);
		_exit(r == COVE_E_STATE ? 17 : 1);
	}
	close(fds[0]);

	/* The archive's first bytes; it must have been waiting for them in its folder. */
	const char *source = one_file("x");
	char header[512];
	int fd = open(source, O_RDONLY | O_CLOEXEC);
	CHECK_OK(fd_read_full(fd, header, sizeof(header)));
	close(fd);
	CHECK_OK(fd_write_full(fds[1], header, sizeof(header)));
	CHECK_WITHIN(access(tap_path("data/images/.img.%d.tmp/disk.ext4", (int)pid), F_OK) == 0,
		     5000);
	*ret_pipe = fds[1];
	*ret_cancel = cancel;
	return pid;
}

static int wait_for(pid_t pid)
{
	int status;
	CHECK_SYS(waitpid(pid, &status, 0));
	return status;
}

static void test_cancelled(void)
{
	int input, cancel, status;
	pid_t pid = start_waiting_import(&input, &cancel);
	CHECK_SYS(eventfd_write(cancel, 1));
	status = wait_for(pid);
	CHECK(WIFEXITED(status));
	CHECK_INT(WEXITSTATUS(status), ==, 17);
	CHECK_INT(store_entries(), ==, 0);
	close(input);
	close(cancel);
}

/* Asked for before it began: from a file, where it never waits. */
static void test_cancelled_before(void)
{
	struct image_import_options options = IMAGE_IMPORT_OPTIONS_INIT;
	options.cancel_fd = eventfd(1, EFD_CLOEXEC);
	CHECK_INT(image_store_import("img", one_file("x"), &options, &err), ==, COVE_E_STATE);
	CHECK_CONTAINS(err.message, "interrupted");
	CHECK_INT(image_store_import("img", "/etc", &options, &err), ==, COVE_E_STATE);
	CHECK_INT(store_entries(), ==, 0);
	close(options.cancel_fd);
}

/* A mke2fs that was just being started has the lock of who started it for another moment. */
static void kill_import(pid_t pid)
{
	CHECK_SYS(kill(pid, SIGKILL));
	wait_for(pid);
	int fd = open(tap_path("data/images/.img.%d.tmp/lock", (int)pid), O_RDWR | O_CLOEXEC);
	CHECK_SYS(fd);
	CHECK_WITHIN(flock(fd, LOCK_EX | LOCK_NB) == 0, 5000);
	close(fd);
}

static void test_killed(void)
{
	int input[2], cancel[2];
	pid_t dead = start_waiting_import(&input[0], &cancel[0]);
	kill_import(dead);
	CHECK_INT(store_entries(), ==, 1); /* nobody was there to remove it */

	/* The next import does, and leaves alone what one that lives is making. */
	pid_t living = start_waiting_import(&input[1], &cancel[1]);
	CHECK_OK(import_as("other", one_file("x"), false));
	CHECK_INT(store_entries(), ==, 2);
	CHECK_SYS(access(tap_path("data/images/.img.%d.tmp/disk.ext4", (int)living), F_OK));
	kill_import(living);
	CHECK_OK(import_as("another", one_file("x"), false));
	CHECK_INT(store_entries(), ==, 2);
	for (int i = 0; i < 2; i++) {
		close(input[i]);
		close(cancel[i]);
	}
}

/* Two of one name at once: one of them has it, or with --replace the last one. */
static void test_race(void)
{
	enum { N = 6 };
	pid_t pids[N];
	int made = 0;
	const char *source = one_file("x");
	for (int i = 0; i < N; i++) {
		pids[i] = fork();
		CHECK_SYS(pids[i]);
		if (pids[i] == 0) {
			int r = import_as("img", source, i >= N / 2);
			_exit(r == 0 ? 0 : r == COVE_E_EXISTS ? 1 : 2);
		}
	}
	for (int i = 0; i < N; i++) {
		int status = wait_for(pids[i]);
		CHECK(WIFEXITED(status));
		CHECK_INT(WEXITSTATUS(status), <=, i >= N / 2 ? 0 : 1);
		made += WEXITSTATUS(status) == 0;
	}
	CHECK_INT(made, >=, N / 2);
	check_file("img", "x");
	CHECK_INT(store_entries(), ==, 1);
}

static void _printf_(2, 3) write_proc(const char *path, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	CHECK_SYS(fd);
	CHECK_SYS(vdprintf(fd, format, args));
	close(fd);
	va_end(args);
}

/* In a mount namespace of this test's own: a store on a small filesystem. */
static void enter_small_store(void)
{
	unsigned uid = geteuid(), gid = getegid();
	CHECK_SYS(mkdir(tap_path("mount"), 0755));
	CHECK_SYS(unshare(CLONE_NEWNS | (uid == 0 ? 0 : CLONE_NEWUSER)));
	if (uid != 0) {
		write_proc("/proc/self/setgroups", "deny");
		write_proc("/proc/self/uid_map", "%u %u 1", uid, uid);
		write_proc("/proc/self/gid_map", "%u %u 1", gid, gid);
	}
	CHECK_SYS(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	CHECK_SYS(mount("tmpfs", tap_path("mount"), "tmpfs", 0, "size=8m"));
	CHECK_SYS(setenv("COVE_HOME", tap_path("mount"), 1));
}

static void test_full_disk(void)
{
	uint8_t *data = malloc(32 << 20);
	for (size_t i = 0; i < 32 << 20; i++)
		data[i] = (uint8_t)(i * 31 >> 4);
	struct tar tar = tar_begin("large.tar", NULL);
	tar_put(&tar, tar_entry("large", AE_IFREG, 0644), data, 32 << 20);
	tar_end(&tar);
	free(data);
	CHECK_SYS(rename(one_file("x"), tap_path("small.tar")));
	const char *small = tap_path("small.tar");

	enter_small_store();
	import_fails(tar.path, COVE_E_SYSTEM, "writing the image: No space left on device");
	CHECK_INT(store_entries(), ==, 0);

	/* Nothing of it is left in the way of what does fit. */
	CHECK_OK(import_as("img", small, false));
	check_file("img", "x");
}

/* A little more room each time, so that it runs out at every stage, until all of it goes through. */
static void test_full_at_every_stage(void)
{
	struct tar tar = tar_begin("t.tar", NULL);
	char name[32], options[32];
	tar_file(&tar, "file", 0644, "x");
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "d%d/%d", i / 10, i);
		tar_dir(&tar, name, 0755);
	}
	tar_end(&tar);
	enter_small_store();
	const char *mount_point = getenv("COVE_HOME");
	int failures = 0;
	for (int kib = 64;; kib += 48) {
		snprintf(options, sizeof(options), "size=%dk", kib);
		CHECK_SYS(mount("tmpfs", mount_point, "tmpfs", MS_REMOUNT, options));
		struct image_import_options import = IMAGE_IMPORT_OPTIONS_INIT;
		int r = image_store_import("img", tar.path, &import, &err);
		if (r == 0)
			break;
		tap_note("%d KiB: %s", kib, err.message);
		CHECK_CONTAINS(err.message, "No space left on device");
		CHECK_INT(store_entries(), ==, 0);
		failures++;
	}
	CHECK_INT(failures, >, 10);
	check_file("img", "x");
}

static void test_file_size_limit(void)
{
	struct rlimit limit = { 1 << 20, RLIM_INFINITY };
	const char *source = one_file("x");
	signal(SIGXFSZ, SIG_IGN);
	CHECK_SYS(setrlimit(RLIMIT_FSIZE, &limit));
	import_fails(source, COVE_E_SYSTEM, "File too large");
}

static void test_no_mke2fs(void)
{
	CHECK_SYS(setenv("PATH", tap_dir(), 1));
	if (access("/usr/sbin/mke2fs", X_OK) == 0 || access("/sbin/mke2fs", X_OK) == 0) {
		/* Found where users' PATHs do not lead. */
		CHECK_OK(import_as("img", one_file("x"), false));
		/* And what is in PATH is taken first, and its words are shown. */
		static const char script[] =
			"#!/bin/sh\necho one >&2\necho mke2fs: cannot today >&2\nexit 3\n";
		const char *path = write_file("mke2fs", script, sizeof(script) - 1);
		CHECK_SYS(chmod(path, 0755));
	}
	CHECK_INT(import_as("img2", one_file("x"), false), <, 0);
	CHECK_CONTAINS(err.message, "mke2fs: cannot today");
	CHECK_INT(store_entries(), ==, 1);
}

static void test_unwritable_store(void)
{
	CHECK_SYS(setenv("COVE_HOME", "/proc/nowhere", 1));
	CHECK_INT(import_as("img", "/dev/null", false), ==, COVE_E_SYSTEM);
	CHECK_CONTAINS(err.message, "/proc/nowhere");
}

struct seen {
	uint64_t entries, bytes;
};

static void on_progress(void *arg, uint64_t entries, uint64_t bytes)
{
	struct seen *seen = arg;
	CHECK_INT(entries, ==, seen->entries + 1);
	CHECK_INT(bytes, >=, seen->bytes);
	*seen = (struct seen){ entries, bytes };
}

static void test_progress(void)
{
	struct seen seen = { 0 };
	struct image_import_options options = IMAGE_IMPORT_OPTIONS_INIT;
	struct tar tar = tar_begin("t.tar", NULL);
	tar_dir(&tar, "a", 0755);
	tar_file(&tar, "a/b", 0644, "12345");
	tar_file(&tar, "a/c", 0644, "123");
	tar_end(&tar);
	options.on_progress = on_progress;
	options.arg = &seen;
	CHECK_COVE(image_store_import("img", tar.path, &options, &err), &err);
	CHECK_INT(seen.entries, ==, 3);
	CHECK_INT(seen.bytes, ==, 8);
}

static bool out_of_memory(int r)
{
	return r == COVE_E_NO_MEMORY || (r < 0 && err.os_errno == ENOMEM);
}

/* Each allocation fails once; the image is there or it is not, and nothing else is. */
static void test_out_of_memory(void)
{
	const char *source = one_file("x");
	CHECK_SYS(setenv("COVE_SHARE_DIR", tap_path("share"), 1));
	for (unsigned long n = 1;; n++) {
		err = (struct cove_error)COVE_ERROR_INIT;
		failing_alloc_arm(n);
		int r = import_as("img", source, false);
		if (!failing_alloc_disarm()) {
			CHECK_COVE(r, &err);
			break;
		}
		if (!out_of_memory(r))
			tap_fail(__FILE__, __LINE__, "import, %lu: %d, %s", n, r, err.message);
		CHECK_INT(store_entries(), ==, 0);
	}
	for (unsigned long n = 1;; n++) {
		struct image *image = NULL, **list = NULL;
		size_t count = 0;
		err = (struct cove_error)COVE_ERROR_INIT;
		failing_alloc_arm(n);
		int r = image_store_find("img", &image, &err);
		if (r >= 0)
			r = image_store_list(&list, &count, &err);
		bool failed = failing_alloc_disarm();
		image_free(image);
		image_list_free(list, count);
		if (!failed) {
			CHECK_COVE(r, &err);
			break;
		}
		if (!out_of_memory(r))
			tap_fail(__FILE__, __LINE__, "find, %lu: %d, %s", n, r, err.message);
	}
}

static const struct tap_test tests[] = {
	{ "the config of an image", test_config },
	{ "options that are refused", test_bad_options },
	{ "names that are refused", test_names },
	{ "a taken name, and replacing", test_exists_and_replace },
	{ "an image that is not there", test_not_found },
	{ "built-in images", test_built_in },
	{ "the list", test_list },
	{ "broken images", test_broken },
	{ "cancelled while it waits", test_cancelled },
	{ "cancelled before it began", test_cancelled_before },
	{ "killed, and cleaned up after", test_killed },
	{ "several of one name at once", test_race },
	{ "a full disk", test_full_disk },
	{ "a disk full at every stage", test_full_at_every_stage },
	{ "a limit on the size of files", test_file_size_limit },
	{ "where mke2fs is looked for", test_no_mke2fs },
	{ "a store that cannot be made", test_unwritable_store },
	{ "progress", test_progress },
	{ "out of memory", test_out_of_memory },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
