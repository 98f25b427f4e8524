/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "harness/failing-alloc.h"
#include "harness/tap.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/bash\n"
			     "# a comment\n"
			     "\n"
			     "short:x:5\n"
			     "bad:x:nan:0::/:/bin/sh\n"
			     "huge:x:4294967295:0::/:/bin/sh\n"
			     "ann:x:1000:1001:Ann,,,:/home/ann:/bin/zsh\n"
			     "2000:x:1234:1:a number as a name:/home/n:\n"
			     "twin:x:1000:7::/home/twin:/bin/sh\n"
			     "bare:x:1500:1500\n"
			     "last:x:1600:1600::/home/last:/bin/last";
static const char group[] = "root:x:0:\n"
			    "ann:x:1001:\n"
			    "wheel:x:10:root,ann\n"
			    "audio:x:29:x,ann,y\n"
			    "own:x:1001:ann\n"
			    "prefix:x:31:an,anna,nann\n"
			    "again:x:29:ann\n"
			    "77:x:78:\n"
			    "broken:x\n";

static void check_fails(const char *spec, int stage, int os_errno)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct user user;
	CHECK_INT(user_resolve(spec, passwd, group, &user, &err), ==, COVE_E_START);
	CHECK_INT(err.stage, ==, stage);
	CHECK_INT(err.os_errno, ==, os_errno);
}

static struct user resolve(const char *spec)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct user user;
	CHECK_COVE(user_resolve(spec, passwd, group, &user, &err), &err);
	return user;
}

static void test_names(void)
{
	struct user u = resolve("ann");
	CHECK_INT(u.uid, ==, 1000);
	CHECK_INT(u.gid, ==, 1001);
	CHECK_STR(u.name, "ann");
	CHECK_STR(u.home, "/home/ann");
	CHECK_STR(u.shell, "/bin/zsh");
	CHECK_INT(u.n_groups, ==, 2); /* each once, and not her own */
	CHECK_INT(u.groups[0], ==, 10);
	CHECK_INT(u.groups[1], ==, 29);
	user_done(&u);

	u = resolve("bare");
	CHECK_STR(u.home, "/");
	CHECK_STR(u.shell, "/bin/sh");
	user_done(&u);
	u = resolve("last");
	CHECK_STR(u.shell, "/bin/last");
	user_done(&u);

	check_fails("nobody", COVE_STAGE_USER, ENOENT);
	check_fails("an", COVE_STAGE_USER, ENOENT);
	check_fails("short", COVE_STAGE_USER, ENOENT);
	check_fails("bad", COVE_STAGE_USER, ENOENT);
	check_fails("huge", COVE_STAGE_USER, ENOENT);
	check_fails("ann\nroot", COVE_STAGE_USER, EINVAL);
}

static void test_numbers(void)
{
	struct user u = resolve("1000"); /* the first entry with it */
	CHECK_STR(u.name, "ann");
	CHECK_INT(u.n_groups, ==, 2);
	user_done(&u);

	u = resolve("2000"); /* a name wins */
	CHECK_INT(u.uid, ==, 1234);
	CHECK_STR(u.shell, "/bin/sh");
	user_done(&u);

	u = resolve("4000");
	CHECK_INT(u.uid, ==, 4000);
	CHECK_INT(u.gid, ==, 0);
	CHECK(u.name == NULL);
	CHECK_STR(u.home, "/");
	CHECK_INT(u.n_groups, ==, 0);
	user_done(&u);

	u = resolve("4294967294");
	CHECK_INT(u.uid, ==, 4294967294u);
	user_done(&u);
	check_fails("4294967295", COVE_STAGE_USER, ENOENT);
	check_fails("99999999999999999999", COVE_STAGE_USER, ENOENT);
	check_fails("-1", COVE_STAGE_USER, ENOENT);
	check_fails("0x10", COVE_STAGE_USER, ENOENT);
}

static void test_groups(void)
{
	struct user u = resolve("ann:wheel");
	CHECK_INT(u.gid, ==, 10);
	CHECK_INT(u.n_groups, ==, 2);
	CHECK_INT(u.groups[0], ==, 29);
	CHECK_INT(u.groups[1], ==, 1001);
	user_done(&u);
	u = resolve("4000:5000");
	CHECK_INT(u.gid, ==, 5000);
	user_done(&u);
	u = resolve("ann:77"); /* a name wins */
	CHECK_INT(u.gid, ==, 78);
	user_done(&u);
	u = resolve(":audio");
	CHECK_INT(u.uid, ==, 0);
	CHECK_INT(u.gid, ==, 29);
	CHECK_STR(u.home, "/root");
	user_done(&u);
	u = resolve("");
	CHECK_INT(u.uid, ==, 0);
	user_done(&u);
	check_fails("ann:nogroup", COVE_STAGE_GROUP, ENOENT);
	check_fails("ann:", COVE_STAGE_USER, EINVAL);
	check_fails(":", COVE_STAGE_USER, EINVAL);
	check_fails("ann:10:10", COVE_STAGE_GROUP, ENOENT);
	check_fails("ann:broken", COVE_STAGE_GROUP, ENOENT);
}

static void test_no_files(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct user u;
	CHECK_COVE(user_load("root", "/no/such/folder", &u, &err), &err);
	CHECK_INT(u.uid, ==, 0);
	CHECK_STR(u.name, "root");
	CHECK_STR(u.home, "/");
	user_done(&u);
	CHECK_COVE(user_load("12:13", tap_dir(), &u, &err), &err);
	CHECK_INT(u.gid, ==, 13);
	user_done(&u);
	CHECK_INT(user_load("ann", tap_dir(), &u, &err), ==, COVE_E_START);
}

/* What a command may have put in the place of the files. */
static void test_bad_files(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct user u;
	const char *path = tap_path("passwd");
	CHECK_SYS(mkfifo(path, 0644));
	CHECK_INT(user_load("root", tap_dir(), &u, &err), ==, COVE_E_START);
	CHECK_INT(err.stage, ==, COVE_STAGE_USER);
	CHECK_INT(err.os_errno, ==, EINVAL);
	CHECK_CONTAINS(err.message, path);
	CHECK_SYS(unlink(path));

	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	CHECK_SYS(ftruncate(fd, USER_FILE_MAX + 1));
	close(fd);
	CHECK_INT(user_load("root", tap_dir(), &u, &err), ==, COVE_E_START);
	CHECK_INT(err.os_errno, ==, EFBIG);
	CHECK_SYS(unlink(path));

	CHECK_SYS(mkdir(tap_path("group"), 0755));
	CHECK_INT(user_load("root", tap_dir(), &u, &err), ==, COVE_E_START);
	CHECK_INT(err.stage, ==, COVE_STAGE_GROUP);
}

static void test_many_groups(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct user u;
	char *text = calloc(1, 100000), *p = text;
	for (int i = 0; i < USER_GROUPS_MAX; i++)
		p += sprintf(p, "g%d:x:%d:ann\n", i, 5000 + i);
	CHECK_COVE(user_resolve("ann", passwd, text, &u, &err), &err);
	CHECK_INT(u.n_groups, ==, USER_GROUPS_MAX);
	user_done(&u);
	sprintf(p, "more:x:4999:ann\n");
	CHECK_INT(user_resolve("ann", passwd, text, &u, &err), ==, COVE_E_START);
	CHECK_INT(err.stage, ==, COVE_STAGE_GROUP);
	CHECK_INT(err.os_errno, ==, E2BIG);
	free(text);
}

/* Never a user of before a change, however quick that was. */
static void test_cache_follows(void)
{
	struct user_cache cache = { 0 };
	struct cove_error err = COVE_ERROR_INIT;
	const struct user *u;
	for (int i = 0; i < 200; i++) {
		char text[100];
		int n = snprintf(text, sizeof(text), "ann:x:%d:7::/:/bin/sh\n", 1000 + i);
		int fd = open(tap_path("passwd"), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
		CHECK_OK(fd_write_full(fd, text, (size_t)n)); /* the same file, of the same size */
		close(fd);
		CHECK_COVE(user_cache_load(&cache, "ann", tap_dir(), &u, &err), &err);
		CHECK_INT(u->uid, ==, 1000 + i);
	}
	CHECK_INT(user_cache_load(&cache, "bob", tap_dir(), &u, &err), ==, COVE_E_START);
	user_cache_done(&cache);
}

static void test_cache_remembers(void)
{
	struct user_cache cache = { 0 };
	struct cove_error err = COVE_ERROR_INIT;
	const struct user *u;
	CHECK_COVE(user_cache_load(&cache, "root", "/etc", &u, &err), &err); /* an old file */
	const char *name = u->name;
	CHECK_COVE(user_cache_load(&cache, "root", "/etc", &u, &err), &err);
	CHECK(u->name == name);
	CHECK_COVE(user_cache_load(&cache, "0:0", "/etc", &u, &err), &err);
	CHECK_STR(cache.spec, "0:0");
	user_cache_done(&cache);
}

static void test_no_memory(void)
{
	for (unsigned long n = 1;; n++) {
		struct cove_error err = COVE_ERROR_INIT;
		struct user u;
		failing_alloc_arm(n);
		int r = user_resolve("ann:wheel", passwd, group, &u, &err);
		if (!failing_alloc_disarm()) {
			CHECK_COVE(r, &err);
			user_done(&u);
			break;
		}
		CHECK_INT(r, ==, COVE_E_START);
		CHECK_INT(err.os_errno, ==, ENOMEM);
	}
}

static const struct tap_test tests[] = {
	{ "names", test_names },
	{ "numbers", test_numbers },
	{ "groups", test_groups },
	{ "no files", test_no_files },
	{ "bad files", test_bad_files },
	{ "many groups", test_many_groups },
	{ "no memory", test_no_memory },
	{ "cache follows", test_cache_follows },
	{ "cache remembers", test_cache_remembers },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
