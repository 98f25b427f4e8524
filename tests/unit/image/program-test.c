/* SPDX-License-Identifier: Apache-2.0 */
/* cove-image as a program: what it prints, its exit statuses, and how signals end it. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "image-test.h"

#define ARGV(...) ((const char *const[]){ "cove-image", __VA_ARGS__, NULL })

/* Open, because a normal user may not be able to go to where it is. */
static int program = -1;

/* Starts it with stdout and stderr into files of the test's folder, and stdin from a descriptor. */
static pid_t start(const char *const argv[], int input)
{
	int out = open(tap_path("out"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	int err = open(tap_path("err"), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	CHECK_SYS(out);
	CHECK_SYS(err);
	pid_t pid = fork();
	CHECK_SYS(pid);
	if (pid == 0) {
		if (dup2(input, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
			_exit(99);
		fexecve(program, (char *const *)argv, environ);
		_exit(99);
	}
	close(out);
	close(err);
	return pid;
}

static int finish(pid_t pid)
{
	int status;
	CHECK_SYS(waitpid(pid, &status, 0));
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static char *text(const char *name)
{
	char *data;
	CHECK_OK(fd_read_file(AT_FDCWD, tap_path("%s", name), 1 << 20, false, &data, NULL));
	return data;
}

static int run(const char *const argv[])
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int status = finish(start(argv, null));
	close(null);
	char *err = text("err");
	if (*err)
		tap_note("%s", err);
	free(err);
	return status;
}

static void check_text(const char *name, const char *expected)
{
	char *data = text(name);
	CHECK_STR(data, expected);
	free(data);
}

static void check_contains(const char *name, const char *part)
{
	char *data = text(name);
	CHECK_CONTAINS(data, part);
	free(data);
}

static json_t *json(void)
{
	char *data = text("out");
	json_error_t error;
	json_t *value = json_loads(data, 0, &error);
	if (!value)
		tap_fail(__FILE__, __LINE__, "not JSON: %s", data);
	free(data);
	return value;
}

static const char *make_tar(void)
{
	static char path[256];
	struct tar tar = tar_begin("t.tar.gz", archive_write_add_filter_gzip);
	tar_file(&tar, "etc/hostname", 0644, "box\n");
	tar_end(&tar);
	memcpy(path, tar.path, sizeof(path));
	return path;
}

static void import_list_remove(void)
{
	const char *source = make_tar();
	CHECK_SYS(setenv("COVE_SHARE_DIR", tap_path("share"), 1));
	CHECK_INT(run(ARGV("ls")), ==, 0);
	check_text("out", "NAME  SIZE       CREATED              BUILT-IN\n");
	CHECK_INT(run(ARGV("import", "box", source, "--size", "32M", "--env", "A=1", "-e", "B=x y",
			   "--workdir", "/app", "--user", "user", "--shell", "/bin/bash")),
		  ==, 0);
	check_text("out", "box\n");
	check_text("err", "");
	fs_close(fs_open("box"));

	CHECK_INT(run(ARGV("import", "box", "--", source)), ==, 125);
	check_text("err", "cove: image import: there is an image named box already\n");
	CHECK_INT(run(ARGV("import", "--replace", "--size", "20971520", "box", source)), ==, 0);
	CHECK_INT(run(ARGV("import", "another-image", source)), ==, 0);
	CHECK_INT(run(ARGV("ls")), ==, 0);
	check_contains("out", "\nbox            ");
	check_contains("out", "  no\n");

	CHECK_INT(run(ARGV("ls", "--json")), ==, 0);
	json_t *list = json();
	CHECK_INT(json_array_size(list), ==, 2);
	json_t *first = json_array_get(list, 0);
	CHECK_STR(json_string_value(json_object_get(first, "name")), "another-image");
	json_decref(list);

	CHECK_INT(run(ARGV("rm", "box", "nothing", "another-image")), ==, 125);
	check_text("out", "box\nanother-image\n");
	check_contains("err", "cove: image rm: no image named nothing in ");
	CHECK_INT(store_entries(), ==, 0);
}

static void test_import_list_remove(void)
{
	import_list_remove();
}

static void test_as_nobody(void)
{
	as_nobody(import_list_remove);
}

static void test_inspect(void)
{
	CHECK_INT(run(ARGV("import", "box", make_tar(), "--env", "A=1", "--shell", "/bin/ash")), ==,
		  0);
	CHECK_INT(run(ARGV("inspect", "--", "box")), ==, 0);
	json_t *image = json(), *config = json_object_get(image, "config");
	CHECK_STR(json_string_value(json_object_get(image, "disk")),
		  tap_path("data/images/box/disk.ext4"));
	CHECK(json_is_false(json_object_get(image, "built_in")));
	CHECK_INT(json_integer_value(json_object_get(image, "disk_bytes")), ==,
		  IMAGE_DISK_DEFAULT_BYTES);
	CHECK_STR(json_string_value(json_array_get(json_object_get(config, "Env"), 0)), "A=1");
	CHECK_STR(json_string_value(json_object_get(config, "Shell")), "/bin/ash");
	CHECK(json_is_null(json_object_get(config, "User")));
	json_decref(image);
	CHECK_INT(run(ARGV("inspect", "nothing")), ==, 125);
	check_contains("err", "cove: image inspect: no image named nothing");
}

static void test_usage(void)
{
	static const char *const wrong[][6] = {
		{ "cove-image", NULL },
		{ "cove-image", "fly", NULL },
		{ "cove-image", "import", NULL },
		{ "cove-image", "import", "a", NULL },
		{ "cove-image", "import", "a", "b", "c", NULL },
		{ "cove-image", "import", "--nothing", "a", "b", NULL },
		{ "cove-image", "import", "a", "b", "--size", NULL },
		{ "cove-image", "import", "a", "b", "--size", "0" },
		{ "cove-image", "rm", NULL },
		{ "cove-image", "inspect", NULL },
		{ "cove-image", "ls", "x", NULL },
	};
	static const char *const sizes[] = { "",    "-1", "12x", "1MM", "M", "99999999999T",
					     "0x1", " 1", "1.5G" };
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		const char *argv[8] = { NULL };
		memcpy(argv, wrong[i], sizeof(wrong[i]));
		CHECK_INT(run(argv), ==, 125);
		check_contains("err", "usage:");
		check_text("out", "");
	}
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		CHECK_INT(run(ARGV("import", "a", "/dev/null", "--size", sizes[i])), ==, 125);
	CHECK_INT(run(ARGV("--help")), ==, 0);
	check_contains("out", "cove image import");
	CHECK_INT(store_entries(), ==, 0);
}

/* It waits for its stdin, with its folder there; then the signal comes. */
static void end_by(int signo)
{
	int fds[2];
	CHECK_SYS(pipe2(fds, O_CLOEXEC));
	pid_t pid = start(ARGV("import", "box", "-"), fds[0]);
	CHECK_WITHIN(store_entries() == 1, 5000);
	CHECK_SYS(kill(pid, signo));
	CHECK_INT(finish(pid), ==, 128 + signo);
	check_text("err", "cove: image import: interrupted\n");
	check_text("out", "");
	CHECK_INT(store_entries(), ==, 0);
	close(fds[0]);
	close(fds[1]);
}

static void test_signals(void)
{
	end_by(SIGINT);
	end_by(SIGTERM);
	end_by(SIGHUP);
}

static void test_notes(void)
{
	struct tar tar = tar_begin("t.tar", NULL);
	char name[32];
	for (int i = 0; i < 13; i++) {
		snprintf(name, sizeof(name), "file\033%d", i);
		struct archive_entry *e = tar_entry(name, AE_IFREG, 0644);
		archive_entry_xattr_add_entry(e, "other.x", "x", 1);
		tar_put(&tar, e, "", 0);
	}
	tar_end(&tar);
	CHECK_INT(run(ARGV("import", "box", tar.path)), ==, 0);
	check_contains(
		"err",
		"note: file?0: left out the extended attribute other.x\ncove: image import: ");
	check_contains("err", "16 more of these\n"); /* libarchive writes each twice */
}

/* Nothing of an image is to be lost behind a closed descriptor. */
static void test_closed_descriptors(void)
{
	const char *source = make_tar();
	pid_t pid = fork();
	CHECK_SYS(pid);
	if (pid == 0) {
		for (int fd = 0; fd <= 2; fd++)
			close(fd);
		fexecve(program, (char *const *)ARGV("import", "box", source), environ);
		_exit(99);
	}
	CHECK_INT(finish(pid), ==, 0);
	ext2_filsys fs = fs_open("box");
	fs_check_text(fs, "etc/hostname", "box\n");
	fs_close(fs);
}

static const struct tap_test tests[] = {
	{ "import, ls and rm", test_import_list_remove },
	{ "import, ls and rm, as a normal user", test_as_nobody },
	{ "inspect", test_inspect },
	{ "a wrong command line", test_usage },
	{ "ended by a signal", test_signals },
	{ "notes", test_notes },
	{ "closed descriptors", test_closed_descriptors },
};

int main(int argc, char **argv)
{
	const char *build = getenv("COVE_BUILD_DIR");
	char path[4096];
	snprintf(path, sizeof(path), "%s/cove-image", build ? build : ".");
	program = open(path, O_RDONLY | O_CLOEXEC);
	if (program < 0) {
		perror(path);
		return 1;
	}
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
