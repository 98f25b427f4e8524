/* SPDX-License-Identifier: Apache-2.0 */

/* The library's pieces without a sandbox: options, output that is kept, text, states on disk. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/claim.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/utf8.h"
#include "harness/failing-alloc.h"
#include "harness/tap.h"
#include "lib/folder.h"
#include "lib/info.h"
#include "lib/keep.h"
#include "lib/options.h"

/* ---- options ---- */

/* The structure as a later version may have it. */
struct later_options {
	struct cove_exec_options now;
	uint64_t later;
};

static void test_struct_size(void)
{
	struct cove_error err;
	struct cove_exec_options got, own = COVE_EXEC_OPTIONS_INIT;

	CHECK_INT(options_read(&got, sizeof(got), NULL, "o", &err), ==, 0);
	CHECK_INT(got.timeout_ms, ==, 0);

	own.timeout_ms = 5;
	own.id = "x";
	CHECK_INT(options_read(&got, sizeof(got), &own, "o", &err), ==, 0);
	CHECK_INT(got.timeout_ms, ==, 5);
	CHECK_STR(got.id, "x");

	/* An older caller: it has no `id`, and what follows its structure is its own business. */
	own.struct_size = offsetof(struct cove_exec_options, id);
	CHECK_INT(options_read(&got, sizeof(got), &own, "o", &err), ==, 0);
	CHECK_INT(got.timeout_ms, ==, 5);
	CHECK(!got.id);

	/* A newer caller that does not use what is new. */
	struct later_options newer = { .now = { .struct_size = sizeof(newer), .timeout_ms = 6 } };
	CHECK_INT(options_read(&got, sizeof(got), &newer, "o", &err), ==, 0);
	CHECK_INT(got.timeout_ms, ==, 6);

	/* And one that does. */
	newer.later = 1ULL << 40;
	CHECK_INT(options_read(&got, sizeof(got), &newer, "options", &err), ==, COVE_E_INVALID);
	CHECK_CONTAINS(err.message, "options: a field at byte");

	/* One that forgot the macro. */
	own.struct_size = 0;
	CHECK_INT(options_read(&got, sizeof(got), &own, "options", &err), ==, COVE_E_INVALID);
	CHECK_CONTAINS(err.message, "options.struct_size: 0");
	own.struct_size = SIZE_MAX;
	CHECK_INT(options_read(&got, sizeof(got), &own, "options", &err), ==, COVE_E_INVALID);
}

static void refused(const struct cove_exec_options *o, const char *text)
{
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_INT(options_check_exec(o, true, &err), ==, COVE_E_INVALID);
	CHECK_CONTAINS(err.message, text);
	CHECK_INT(err.origin, ==, COVE_ORIGIN_HOST);
	CHECK_INT(options_check_exec(o, true, NULL), ==, COVE_E_INVALID);
}

#define EXEC(...) (&(struct cove_exec_options){ COVE_EXEC_OPTIONS_DEFAULTS, __VA_ARGS__ })

static void test_exec_options(void)
{
	struct cove_error err;
	refused(EXEC(.cwd = "app"), "cwd: \"app\" is not an absolute path");
	refused(EXEC(.cwd = ""), "cwd");
	refused(EXEC(.user = ""), "user");
	refused(EXEC(.user = ":g"), "user");
	refused(EXEC(.user = "u:"), "user");
	refused(EXEC(.user = "a:b:c"), "user");
	refused(EXEC(.env = (const char *const[]){ "A=1", "=x", NULL }), "env[1]: \"=x\"");
	refused(EXEC(.env = (const char *const[]){ "", NULL }), "env[0]");
	refused(EXEC(.stdin_mode = COVE_STDIN_BYTES, .stdin_bytes = 1), "stdin_data");
	refused(EXEC(.stdin_data = "x"), "stdin_data");
	refused(EXEC(.stdin_mode = (enum cove_stdin_mode)9), "stdin_mode: 9");
	refused(EXEC(.timeout_signal = -1), "timeout_signal");
	refused(EXEC(.timeout_signal = 65), "timeout_signal: 65");
	refused(EXEC(.output_policy = (enum cove_output_policy)3), "output_policy");
	refused(EXEC(.id = ""), "id");
	refused(EXEC(.id = "-x"), "id: \"-x\"");
	refused(EXEC(.id = "a b"), "id");
	refused(EXEC(.n_rlimits = 1), "rlimits");

	CHECK_INT(options_check_exec(EXEC(.cwd = "/", .user = "0:0", .timeout_signal = 64,
					  .env = (const char *const[]){ "A", "B==", NULL },
					  .id = "7b.X_y-z"),
				     true, &err),
		  ==, 0);
}

static void test_rlimits(void)
{
	struct cove_error err;
	struct cove_rlimit l[17];
	for (unsigned i = 0; i < 16; i++)
		l[i] = (struct cove_rlimit){ (enum cove_rlimit_resource)i, i, i };
	CHECK_INT(options_check_exec(EXEC(.rlimits = l, .n_rlimits = 16), true, &err), ==, 0);

	l[7] = (struct cove_rlimit){ COVE_RLIMIT_NOFILE, COVE_RLIMIT_UNLIMITED, 1024 };
	refused(EXEC(.rlimits = l, .n_rlimits = 16), "rlimits[7]: the soft limit of nofile");
	l[7] = (struct cove_rlimit){ COVE_RLIMIT_NOFILE, 3, COVE_RLIMIT_UNLIMITED };
	CHECK_INT(options_check_exec(EXEC(.rlimits = l, .n_rlimits = 16), true, &err), ==, 0);
	l[16] = l[0];
	refused(EXEC(.rlimits = l, .n_rlimits = 17), "rlimits[16]: cpu is given twice");
	l[3].resource = (enum cove_rlimit_resource)16;
	refused(EXEC(.rlimits = l, .n_rlimits = 16), "rlimits[3]: 16 is no resource");
}

static void refused_sandbox(const struct cove_sandbox_options *o, const char *text)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s = NULL;
	CHECK_INT(cove_sandbox_create("a", o, &s, &err), ==, COVE_E_INVALID);
	CHECK_CONTAINS(err.message, text);
	CHECK(!s);
	CHECK_INT(cove_sandbox_create("a", o, &s, NULL), ==, COVE_E_INVALID);
}

#define SANDBOX(...)                                                                               \
	(&(struct cove_sandbox_options){ COVE_SANDBOX_OPTIONS_DEFAULTS, .image = "i", __VA_ARGS__ })

static void test_sandbox_options(void)
{
	struct cove_error err;
	cove_sandbox *s;
	char long_name[65];
	memset(long_name, 'a', 64);
	long_name[64] = 0;

	refused_sandbox(NULL, "image: it must be given");
	refused_sandbox(
		&(struct cove_sandbox_options){ COVE_SANDBOX_OPTIONS_DEFAULTS, .image = "" },
		"image");
	refused_sandbox(SANDBOX(.cpus = 65), "cpus: 65 is more than 64");
	refused_sandbox(SANDBOX(.memory_bytes = (128 << 20) - 1), "memory_bytes");
	refused_sandbox(SANDBOX(.memory_bytes = (1ULL << 40) + 1), "memory_bytes");
	refused_sandbox(SANDBOX(.cwd = "x"), "cwd");
	refused_sandbox(SANDBOX(.shell = "sh"), "shell");
	refused_sandbox(SANDBOX(.user = ":"), "user");
	refused_sandbox(SANDBOX(.env = (const char *const[]){ "=", NULL }), "env[0]");
	refused_sandbox(SANDBOX(.hostname = ""), "hostname");
	refused_sandbox(SANDBOX(.hostname = long_name), "hostname: it has 64 bytes");
	refused_sandbox(SANDBOX(.hostname = "a b"), "hostname");
	refused_sandbox(SANDBOX(.hostname = "-a"), "hostname");

	static const char *const names[] = { "", "A", "-a", ".a", "a/b", "a b", "ä", "..", NULL };
	for (unsigned i = 0; names[i]; i++) {
		CHECK_INT(cove_sandbox_create(names[i], SANDBOX(), &s, &err), ==, COVE_E_INVALID);
		CHECK_CONTAINS(err.message, "name: ");
		CHECK_INT(cove_sandbox_connect(names[i], &s, &err), ==, COVE_E_INVALID);
		CHECK_INT(cove_sandbox_remove(names[i], true, &err), ==, COVE_E_INVALID);
		struct cove_sandbox_info *info;
		CHECK_INT(cove_sandbox_inspect(names[i], &info, &err), ==, COVE_E_INVALID);
	}
	CHECK_INT(cove_sandbox_create(long_name, SANDBOX(), &s, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_sandbox_connect(NULL, &s, &err), ==, COVE_E_INVALID);
}

static void test_supervisor_missing(void)
{
	struct cove_error err;
	cove_sandbox *s = NULL;
	CHECK_SYS(setenv("COVE_LIBEXEC_DIR", tap_dir(), 1));
	for (int detached = 0; detached < 2; detached++) {
		struct cove_sandbox_options o = COVE_SANDBOX_OPTIONS_INIT;
		o.image = "i";
		o.detached = detached;
		CHECK_INT(cove_sandbox_create(NULL, &o, &s, &err), ==, COVE_E_MISSING);
		CHECK_CONTAINS(err.message, "cove-supervisor");
		CHECK(!s);
	}
}

/* ---- names ---- */

static void test_names(void)
{
	CHECK_STR(cove_version(), COVE_VERSION);
	CHECK_STR(cove_cause_name(COVE_CAUSE_TIMED_OUT), "timed_out");
	CHECK_STR(cove_cause_name((enum cove_cause)7), "unknown");
	CHECK_STR(cove_cause_name((enum cove_cause) - 1), "unknown");
	CHECK_STR(cove_end_cause_name(COVE_END_SUPERVISOR_DIED), "supervisor_died");
	CHECK_STR(cove_end_cause_name(COVE_END_SESSION_ENDED), "session_ended");
	CHECK_STR(cove_end_cause_name((enum cove_end_cause)11), "unknown");
	CHECK_STR(cove_sandbox_state_name(COVE_SANDBOX_ENDED), "ended");
	CHECK(cove_exit_success(&(struct cove_exit){ .cause = COVE_CAUSE_EXITED }));
	CHECK(!cove_exit_success(&(struct cove_exit){ .cause = COVE_CAUSE_KILLED }));
	CHECK(!cove_exit_success(&(struct cove_exit){ .code = 1 }));
	CHECK(!cove_output_free(NULL));
	CHECK(!cove_sandbox_free(NULL));
	CHECK(!cove_sandbox_info_free(NULL));
	CHECK(!cove_sandbox_list_free(NULL, 0));
}

/* ---- text ---- */

static void test_utf8(void)
{
	static const struct {
		const char *bytes;
		size_t size, valid;
	} cases[] = {
		{ "", 0, 0 },
		{ "plain\n", 6, 6 },
		{ "a\0b", 3, 1 },
		{ "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9, 9 },
		{ "\x7f\xc2\x80\xdf\xbf", 5, 5 },
		{ "\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf", 12, 12 },
		{ "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8, 8 },
		{ "x\x80", 2, 1 },	      /* a continuation alone */
		{ "x\xc3", 2, 1 },	      /* cut */
		{ "\xe2\x82", 2, 0 },	      /* cut */
		{ "\xf0\x9f\x98", 3, 0 },     /* cut */
		{ "\xc0\xaf", 2, 0 },	      /* overlong */
		{ "\xc1\xbf", 2, 0 },	      /* overlong */
		{ "\xe0\x9f\xbf", 3, 0 },     /* overlong */
		{ "\xf0\x8f\xbf\xbf", 4, 0 }, /* overlong */
		{ "ab\xed\xa0\x80", 5, 2 },   /* a surrogate */
		{ "\xf4\x90\x80\x80", 4, 0 }, /* above U+10FFFF */
		{ "\xf5\x80\x80\x80", 4, 0 },
		{ "\xff", 1, 0 },
		{ "\xc3\xc3\xa4", 3, 0 },
		{ "\xe2\x28\xa1", 3, 0 },
		{ "\xe2\x82\x28", 3, 0 },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		CHECK_INT(utf8_valid(cases[i].bytes, cases[i].size), ==, cases[i].valid);
}

/* ---- output that is kept ---- */

/* Adds n counting bytes in pieces and checks what is kept of them. */
static void try_keep(size_t n, size_t max, bool tail, size_t piece)
{
	struct keep k;
	keep_init(&k, max, tail);
	for (size_t i = 0; i < n;) {
		uint8_t bytes[64];
		size_t m = MIN(piece, n - i);
		for (size_t j = 0; j < m; j++)
			bytes[j] = (uint8_t)(i + j);
		CHECK_OK(keep_add(&k, bytes, m));
		CHECK_INT(k.allocated, <=, max + 1);
		i += m;
	}

	_cleanup_free_ char *data = NULL;
	size_t size, expected = MIN(n, max);
	CHECK_INT(k.cut, ==, n > max);
	CHECK_OK(keep_take(&k, &data, &size));
	CHECK_INT(size, ==, expected);
	CHECK_INT(data[size], ==, 0);
	for (size_t i = 0; i < size; i++)
		CHECK_INT((uint8_t)data[i], ==, (uint8_t)(i + (tail ? n - expected : 0)));
}

static void test_keep(void)
{
	static const size_t sizes[] = { 0, 1, 2, 7, 63, 64, 65, 511, 512, 513, 2000 };
	static const size_t maxima[] = { 0, 1, 2, 3, 64, 100, 511, 512, 513, 1999, 2000, 5000 };
	static const size_t pieces[] = { 1, 3, 64 };
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		for (unsigned j = 0; j < ARRAY_SIZE(maxima); j++)
			for (unsigned k = 0; k < ARRAY_SIZE(pieces); k++) {
				try_keep(sizes[i], maxima[j], false, pieces[k]);
				try_keep(sizes[i], maxima[j], true, pieces[k]);
			}
}

static void test_keep_without_memory(void)
{
	struct keep k;
	char *data;
	size_t size;
	keep_init(&k, UINT64_MAX, false);
	failing_alloc_arm(1);
	CHECK_INT(keep_add(&k, "x", 1), ==, -ENOMEM);
	CHECK(failing_alloc_disarm());
	CHECK_OK(keep_add(&k, "x", 1));
	keep_done(&k);
	keep_init(&k, 5, true);
	failing_alloc_arm(1);
	CHECK_INT(keep_take(&k, &data, &size), ==, -ENOMEM);
	CHECK(failing_alloc_disarm());
	keep_done(&k);
}

/* ---- folders ---- */

static void make_folder(const char *name, const Cove__Wire__SandboxInfo *state)
{
	CHECK_OK(fd_mkdir_parents(tap_path("data/sandboxes/%s", name), 0700));
	int fd = open(tap_path("data/sandboxes/%s/lock", name), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	CHECK_SYS(fd);
	close(fd);
	if (!state)
		return;
	uint8_t packed[512];
	size_t n = cove__wire__sandbox_info__pack(state, packed);
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, tap_path("data/sandboxes/%s/state", name), packed,
				      n, 0600));
}

static void test_folders(void)
{
	struct cove_error err;
	struct cove_sandbox_info *info, **list;
	cove_sandbox *s;
	size_t n;

	CHECK_COVE(cove_sandbox_list(&list, &n, &err), &err);
	CHECK_INT(n, ==, 0);
	cove_sandbox_list_free(list, n);
	CHECK_INT(cove_sandbox_inspect("a", &info, &err), ==, COVE_E_NOT_FOUND);
	CHECK_INT(cove_sandbox_connect("a", &s, &err), ==, COVE_E_NOT_FOUND);
	CHECK_INT(cove_sandbox_remove("a", true, &err), ==, COVE_E_NOT_FOUND);

	Cove__Wire__SandboxInfo state = COVE__WIRE__SANDBOX_INFO__INIT;
	state.name = (char *)"other"; /* the folder's name is what counts */
	state.image = (char *)"busybox";
	state.state = COVE_SANDBOX_ENDED;
	state.has_end_cause = state.has_ended_ns = true;
	state.end_cause = COVE_END_GUEST_PANIC;
	state.end_text = (char *)"the kernel gave up";
	state.ended_ns = 12345;
	make_folder("zz", &state);
	state.state = COVE_SANDBOX_RUNNING;
	state.end_cause = 0;
	state.end_text = NULL;
	make_folder("dead", &state);
	make_folder("unborn", NULL);
	make_folder("live", &state);
	int lock = open(tap_path("data/sandboxes/live/lock"), O_RDWR | O_CLOEXEC);
	CHECK_SYS(flock(lock, LOCK_EX));
	CHECK_OK(fd_mkdir_parents(tap_path("data/sandboxes/.removing-x"), 0700));
	CHECK_OK(fd_write_file_atomic(AT_FDCWD, tap_path("data/sandboxes/file"), "", 0, 0600));
	CHECK_SYS(unlink(tap_path("data/sandboxes/file")));

	CHECK_COVE(cove_sandbox_list(&list, &n, &err), &err);
	CHECK_INT(n, ==, 3);
	CHECK_STR(list[0]->name, "dead");
	CHECK_STR(list[1]->name, "live");
	CHECK_STR(list[2]->name, "zz");
	CHECK_INT(list[0]->state, ==, COVE_SANDBOX_ENDED);
	CHECK_INT(list[0]->end_cause, ==, COVE_END_SUPERVISOR_DIED);
	CHECK_STR(list[0]->end_text, "its supervisor died");
	CHECK_INT(list[1]->state, ==, COVE_SANDBOX_RUNNING);
	CHECK_INT(list[2]->end_cause, ==, COVE_END_GUEST_PANIC);
	CHECK_STR(list[2]->end_text, "the kernel gave up");
	CHECK_STR(list[2]->image, "busybox");
	CHECK_STR(list[2]->kernel, "");
	CHECK(!cove_sandbox_list_free(list, n));

	CHECK_INT(cove_sandbox_connect("zz", &s, &err), ==, COVE_E_STATE);
	CHECK_CONTAINS(err.message, "the kernel gave up");
	CHECK_INT(cove_sandbox_connect("live", &s, &err), ==, COVE_E_STATE);

	CHECK_INT(cove_sandbox_remove("live", false, &err), ==, COVE_E_STATE);
	CHECK_SYS(close(lock));
	CHECK_COVE(cove_sandbox_remove("live", false, &err), &err);
	CHECK_COVE(cove_sandbox_remove("zz", true, &err), &err);
	CHECK_COVE(cove_sandbox_remove("dead", false, &err), &err);
	CHECK_COVE(cove_sandbox_remove("unborn", false, &err), &err);
	CHECK_INT(access(tap_path("data/sandboxes/zz"), F_OK), ==, -1);
}

/* A sandbox that root made in a user's folder does not keep the user from seeing the others. */
static void test_foreign_folder(void)
{
	struct cove_error err;
	struct cove_sandbox_info *info, **list;
	size_t n;
	Cove__Wire__SandboxInfo state = COVE__WIRE__SANDBOX_INFO__INIT;
	state.name = state.image = (char *)"x";
	state.state = COVE_SANDBOX_ENDED;
	make_folder("foreign", &state);
	make_folder("own", &state);
	CHECK_SYS(chmod(tap_dir(), 0755));
	CHECK_SYS(chmod(tap_path("data"), 0755));
	CHECK_SYS(chmod(tap_path("data/sandboxes"), 0755));
	CHECK_SYS(chmod(tap_path("data/sandboxes/foreign"), 0));
	if (geteuid() == 0) {
		CHECK_SYS(chown(tap_path("data/sandboxes/own"), 65534, 65534));
		CHECK_SYS(chown(tap_path("data/sandboxes/own/state"), 65534, 65534));
		CHECK_SYS(seteuid(65534));
	}
	CHECK_INT(cove_sandbox_inspect("foreign", &info, &err), ==, COVE_E_DENIED);
	CHECK_COVE(cove_sandbox_list(&list, &n, &err), &err);
	CHECK_INT(n, ==, 1);
	CHECK_STR(list[0]->name, "own");
	cove_sandbox_list_free(list, n);
	if (getuid() == 0)
		CHECK_SYS(seteuid(0));
	CHECK_SYS(chmod(tap_path("data/sandboxes/foreign"), 0700));
}

/* Who lists the sandboxes has a shared lock for a moment. That is not a sandbox that runs. */
static void *look_over_and_over(void *data)
{
	const bool *stop = data;
	while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
		struct cove_sandbox_info *info;
		if (cove_sandbox_inspect("raced", &info, NULL) == 0)
			cove_sandbox_info_free(info);
	}
	return NULL;
}

static void test_remove_while_looked_at(void)
{
	bool stop = false;
	pthread_t thread;
	Cove__Wire__SandboxInfo state = COVE__WIRE__SANDBOX_INFO__INIT;
	state.name = (char *)"raced";
	state.image = (char *)"busybox";
	state.state = COVE_SANDBOX_RUNNING;
	CHECK_INT(pthread_create(&thread, NULL, look_over_and_over, &stop), ==, 0);
	for (int i = 0; i < 300; i++) {
		struct cove_error err;
		make_folder("raced", &state);
		CHECK_COVE(cove_sandbox_remove("raced", false, &err), &err);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}

/* What a removal meets may be a new sandbox of that name: then it leaves all of it alone. */
static void *remove_over_and_over(void *data)
{
	const bool *stop = data;
	while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
		struct cove_error err;
		int r = cove_sandbox_remove("raced", false, &err);
		if (r != COVE_E_NOT_FOUND && r != COVE_E_STATE)
			CHECK_COVE(r, &err);
	}
	return NULL;
}

static void test_remove_while_created(void)
{
	bool stop = false;
	pthread_t threads[2];
	CHECK_OK(fd_mkdir_parents(tap_path("data/sandboxes"), 0700));
	int parent = open(tap_path("data/sandboxes"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_SYS(parent);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		CHECK_INT(pthread_create(&threads[i], NULL, remove_over_and_over, &stop), ==, 0);
	for (int i = 0; i < 300; i++) {
		int folder, lock, r;
		while ((r = claim_take(parent, "raced", true, &folder, &lock)) == -EBUSY)
			;
		CHECK_OK(r);
		/* Ours: what we write stays, until we let go of it. */
		CHECK_OK(fd_write_file_atomic(folder, "state", "x", 1, 0600));
		CHECK_OK(fd_write_file_atomic(folder, "disk", "x", 1, 0600));
		sched_yield();
		struct stat ours, there;
		CHECK_SYS(fstat(folder, &ours));
		CHECK_SYS(stat(tap_path("data/sandboxes/raced"), &there));
		CHECK_INT(ours.st_ino, ==, there.st_ino);
		CHECK_SYS(faccessat(folder, "state", F_OK, 0));
		CHECK_SYS(faccessat(folder, "disk", F_OK, 0));
		close(folder);
		close(lock);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	close(parent);
}

static void test_hostile_state(void)
{
	static const struct {
		const char *bytes;
		size_t size;
	} cases[] = {
		{ "", 0 },
		{ "\xff\xff\xff\xff", 4 },
		{ "\x0a\xff\xff\xff\xff\x0f", 6 }, /* a name of 4 GiB */
		{ "\x0a\x01x\x10\x63", 5 },	   /* a state that is none */
		{ "\x0a\x01x", 3 },		   /* no state */
	};
	struct cove_error err;
	make_folder("h", NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cove_sandbox_info *info;
		CHECK_OK(fd_write_file_atomic(AT_FDCWD, tap_path("data/sandboxes/h/state"),
					      cases[i].bytes, cases[i].size, 0600));
		CHECK_COVE(cove_sandbox_inspect("h", &info, &err), &err);
		CHECK_STR(info->name, "h");
		CHECK_INT(info->end_cause, ==, COVE_END_SUPERVISOR_DIED);
		cove_sandbox_info_free(info);
	}

	/* A FIFO blocks nobody, a link leads nowhere. */
	struct cove_sandbox_info *info;
	CHECK_SYS(unlink(tap_path("data/sandboxes/h/state")));
	CHECK_SYS(mkfifo(tap_path("data/sandboxes/h/state"), 0600));
	CHECK_COVE(cove_sandbox_inspect("h", &info, &err), &err);
	CHECK_INT(info->end_cause, ==, COVE_END_SUPERVISOR_DIED);
	cove_sandbox_info_free(info);
	CHECK_SYS(symlink("h", tap_path("data/sandboxes/link")));
	CHECK_INT(cove_sandbox_inspect("link", &info, &err), ==, COVE_E_NOT_FOUND);
	CHECK_SYS(unlink(tap_path("data/sandboxes/link")));
}

static void test_info_without_memory(void)
{
	struct cove_sandbox_info info = { .name = "x" }, *copy;
	failing_alloc_arm(1);
	CHECK_INT(info_copy(&info, &copy), ==, -ENOMEM);
	CHECK(failing_alloc_disarm());
	CHECK_OK(info_copy(&info, &copy));
	CHECK_STR(copy->name, "x");
	CHECK_STR(copy->end_text, "");
	cove_sandbox_info_free(copy);
}

static const struct tap_test tests[] = {
	{ "struct_size, both ways", test_struct_size },
	{ "options of commands", test_exec_options },
	{ "resource limits", test_rlimits },
	{ "options of sandboxes", test_sandbox_options },
	{ "no supervisor", test_supervisor_missing },
	{ "names of numbers", test_names },
	{ "UTF-8", test_utf8 },
	{ "keeping heads and tails", test_keep },
	{ "keeping without memory", test_keep_without_memory },
	{ "folders", test_folders },
	{ "another user's folder", test_foreign_folder },
	{ "removing while somebody looks", test_remove_while_looked_at },
	{ "removing while somebody creates", test_remove_while_created, .timeout_s = 60 },
	{ "hostile state files", test_hostile_state },
	{ "info without memory", test_info_without_memory },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
