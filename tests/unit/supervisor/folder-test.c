/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "harness/failing-alloc.h"
#include "harness/tap.h"

static bool is_there(const char *path)
{
	struct stat st;
	return lstat(tap_path("%s", path), &st) == 0;
}

static void test_claim_and_release(void)
{
	struct folder a = FOLDER_INIT, b = FOLDER_INIT;
	struct cove_error err;
	CHECK_COVE(folder_claim(&a, "one", &err), &err);
	CHECK_STR(a.path, tap_path("data/sandboxes/one"));
	CHECK_COVE(folder_listen(&a, &err), &err);
	CHECK(is_there("run/sandboxes/one.sock"));

	CHECK_INT(folder_claim(&b, "one", &err), ==, COVE_E_EXISTS);
	folder_release(&b, true); /* not its own, so nothing of it goes */
	CHECK(is_there("run/sandboxes/one.sock"));
	CHECK(is_there("data/sandboxes/one/lock"));

	folder_release(&a, true);
	CHECK(!is_there("run/sandboxes/one.sock"));
	CHECK(!is_there("data/sandboxes/one"));
	CHECK(!is_there("data/sandboxes/.removing-one"));
	folder_release(&a, true); /* again: nothing */

	CHECK_COVE(folder_claim(&a, "one", &err), &err);
	folder_release(&a, false);
	CHECK(is_there("data/sandboxes/one"));
}

/* What a killed supervisor leaves is nobody's, and goes. */
static void test_stale(void)
{
	struct folder a = FOLDER_INIT;
	struct cove_error err;
	CHECK_OK(fd_mkdir_parents(tap_path("data/sandboxes/stale/sub"), 0700));
	CHECK_OK(fd_mkdir_parents(tap_path("data/sandboxes/.removing-x/sub"), 0700));
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, tap_path("data/sandboxes/stale/state"), "junk", 4,
				      0600));
	CHECK_COVE(folder_claim(&a, "stale", &err), &err);
	CHECK(!is_there("data/sandboxes/stale/sub"));
	CHECK(!is_there("data/sandboxes/stale/state"));
	CHECK(!is_there("data/sandboxes/.removing-x"));
	CHECK(is_there("data/sandboxes/stale/lock"));
	folder_release(&a, true);
}

/* Who lists the sandboxes takes a shared lock to see whether somebody owns one. */
static void *look_over_and_over(void *data)
{
	const bool *stop = data;
	while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
		int fd = open(tap_path("data/sandboxes/seen/lock"), O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		flock(fd, LOCK_SH | LOCK_NB);
		close(fd);
	}
	return NULL;
}

static void test_looked_at(void)
{
	bool stop = false;
	pthread_t thread;
	CHECK_INT(pthread_create(&thread, NULL, look_over_and_over, &stop), ==, 0);
	for (int i = 0; i < 2000; i++) {
		struct folder a = FOLDER_INIT;
		struct cove_error err;
		CHECK_COVE(folder_claim(&a, "seen", &err), &err);
		folder_release(&a, i % 2);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}

/* Threads that claim and release one name: never two at a time, and each gets it in the end. */
static unsigned owners;

static void *claim_over_and_over(void *data)
{
	unsigned *got = data;
	for (int i = 0; i < 500; i++) {
		struct folder a = FOLDER_INIT;
		struct cove_error err;
		int r = folder_claim(&a, "wanted", &err);
		CHECK(r == 0 || r == COVE_E_EXISTS);
		if (r == 0) {
			CHECK_INT(__atomic_add_fetch(&owners, 1, __ATOMIC_SEQ_CST), ==, 1);
			(*got)++;
			__atomic_sub_fetch(&owners, 1, __ATOMIC_SEQ_CST);
		}
		folder_release(&a, true);
	}
	return NULL;
}

static void test_race(void)
{
	enum { THREADS = 4 };
	pthread_t threads[THREADS];
	unsigned got[THREADS] = { 0 }, total = 0;
	for (int i = 0; i < THREADS; i++)
		CHECK_INT(pthread_create(&threads[i], NULL, claim_over_and_over, &got[i]), ==, 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		total += got[i];
	}
	CHECK_INT(total, >, 0);
	CHECK(!is_there("data/sandboxes/wanted"));
}

/* In a shared folder somebody else may have made ours first. */
static void test_foreign_runtime_folder(void)
{
	struct folder a = FOLDER_INIT;
	struct cove_error err;
	CHECK_COVE(folder_claim(&a, "sockets", &err), &err);
	CHECK_SYS(symlink("/tmp", tap_path("run")));
	CHECK_INT(folder_listen(&a, &err), <, 0);
	CHECK_SYS(unlink(tap_path("run")));
	CHECK_SYS(mkdir(tap_path("run"), 0777));
	CHECK_SYS(chmod(tap_path("run"), 0777));
	if (geteuid() == 0) {
		CHECK_SYS(chown(tap_path("run"), 12345, 12345));
		CHECK_INT(folder_listen(&a, &err), ==, COVE_E_DENIED);
		CHECK_SYS(chown(tap_path("run"), 0, 0));
	}
	CHECK_COVE(folder_listen(&a, &err), &err);
	struct stat st;
	CHECK_SYS(stat(tap_path("run"), &st));
	CHECK_INT(st.st_mode & 0777, ==, 0700);
	folder_release(&a, true);
}

static void test_no_memory(void)
{
	for (unsigned long n = 1;; n++) {
		struct folder a = FOLDER_INIT;
		struct cove_error err;
		failing_alloc_arm(n);
		int r = folder_claim(&a, "memory", &err);
		if (r >= 0)
			r = folder_listen(&a, &err);
		bool failed = failing_alloc_disarm();
		folder_release(&a, true);
		CHECK(!is_there("data/sandboxes/memory"));
		CHECK(!is_there("run/sandboxes/memory.sock"));
		if (!failed) {
			CHECK_COVE(r, &err);
			break;
		}
	}
}

static const struct tap_test tests[] = {
	{ "claim and release", test_claim_and_release },
	{ "what is stale goes", test_stale },
	{ "being looked at does not matter", test_looked_at },
	{ "one owner at a time", test_race },
	{ "somebody else's runtime folder", test_foreign_runtime_folder },
	{ "no memory", test_no_memory },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
