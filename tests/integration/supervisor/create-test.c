/* SPDX-License-Identifier: Apache-2.0 */

/* Making sandboxes: what is refused, how names are taken, how boots fail, and what is left then. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "cove/types.h"
#include "peer.h"

static bool exists(const char *folder, const char *name, const char *suffix)
{
	char path[1024];
	struct stat st;
	snprintf(path, sizeof(path), "%s/%s/%s%s", getenv("COVE_HOME"), folder, name, suffix);
	return lstat(path, &st) == 0;
}

static unsigned count_entries(const char *folder)
{
	unsigned n = 0;
	DIR *dir = opendir(tap_path("%s", folder));
	if (!dir)
		return 0;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2;
}

static void check_nothing_left(void)
{
	CHECK_INT(count_entries("data/sandboxes"), ==, 0);
	CHECK_INT(count_entries("run/sandboxes"), ==, 0);
}

/* Creates, is refused, and finds that nothing is left. */
static void check_refused_after(bool retried, const Cove__Wire__Create *create, int code,
				const char *words)
{
	struct supervised s;
	struct cove_error err;
	supervised_start(&s);
	uint32_t stream = peer_open(&s.creator, WIRE_CREATE, &create->base);
	if (retried)
		free(peer_expect(&s.creator, stream, WIRE_PROGRESS));
	peer_expect_failure(&s.creator, stream, WIRE_REFUSED, &err);
	CHECK_INT(err.code, ==, code);
	CHECK_CONTAINS(err.message, words);
	check_nothing_left(); /* when we are told, not some time later */
	peer_expect_close(&s.creator);
	CHECK_INT(supervised_wait(&s), ==, 0);
	peer_done(&s.creator);
}

static void check_refused(const Cove__Wire__Create *create, int code, const char *words)
{
	check_refused_after(false, create, code, words);
}

static ProtobufCMessage *read_state_file(const char *name)
{
	char *data, path[128];
	size_t size;
	snprintf(path, sizeof(path), "data/sandboxes/%s/state", name);
	CHECK_OK(fd_read_file(AT_FDCWD, tap_path("%s", path), 65536, false, &data, &size));
	ProtobufCMessage *m =
		wire_message_unpack(&cove__wire__sandbox_info__descriptor, data, size);
	CHECK(m);
	free(data);
	return m;
}

static void check_state_file(const char *name, uint32_t state)
{
	ProtobufCMessage *m = read_state_file(name);
	CHECK_INT(((const Cove__Wire__SandboxInfo *)m)->state, ==, state);
	CHECK_STR(((const Cove__Wire__SandboxInfo *)m)->name, name);
	wire_message_free(m);
}

static void check_state_file_end(const char *name, uint32_t cause)
{
	ProtobufCMessage *m = read_state_file(name);
	CHECK_INT(((const Cove__Wire__SandboxInfo *)m)->end_cause, ==, cause);
	wire_message_free(m);
}

/* ---- tests ---- */

static void test_create(void)
{
	struct supervised s;
	supervised_start(&s);
	Cove__Wire__Create create = peer_create("first");
	create.has_memory_bytes = true;
	create.memory_bytes = (200 << 20) - 5;
	create.has_cpus = true;
	create.cpus = 3;
	create.has_detached = create.detached = true;
	uint32_t stream = peer_open(&s.creator, WIRE_CREATE, &create.base);
	ProtobufCMessage *m = peer_expect_message(&s.creator, stream, WIRE_SANDBOX,
						  &cove__wire__sandbox_info__descriptor);
	const Cove__Wire__SandboxInfo *info = (const Cove__Wire__SandboxInfo *)m;
	CHECK_STR(info->name, "first");
	CHECK_STR(info->image, "test");
	CHECK_STR(info->hostname, "first");
	CHECK_STR(info->accelerator, "tcg");
	CHECK_STR(info->kernel, "0.0-fake?[31m");
	CHECK_INT(info->state, ==, COVE_SANDBOX_RUNNING);
	CHECK_INT(info->cpus, ==, 3);
	CHECK_INT(info->memory_bytes, ==, 200 << 20);
	CHECK_INT(info->supervisor_pid, ==, s.pid);
	CHECK_INT(info->vmm_pid, >, 0);
	CHECK_INT(info->boot_us, >, 0);
	CHECK_INT(info->created_ns, >, 0);
	CHECK_INT(info->ended_ns, ==, 0);
	CHECK(info->detached && !info->persistent && !info->read_only && !info->stalled);
	wire_message_free(m);

	/* When we hear of it, it is there. */
	struct stat st;
	CHECK_SYS(stat(tap_path("run/sandboxes/first.sock"), &st));
	CHECK_SYS(stat(tap_path("run/sandboxes"), &st));
	CHECK_INT(st.st_mode & 0777, ==, 0700);
	CHECK_SYS(stat(tap_path("data/sandboxes/first"), &st));
	CHECK_INT(st.st_mode & 0777, ==, 0700);
	check_state_file("first", COVE_SANDBOX_RUNNING);
	struct peer other;
	peer_connect(&other, "first");
	Cove__Wire__InfoRequest request = COVE__WIRE__INFO_REQUEST__INIT;
	free(peer_expect(&other, peer_open(&other, WIRE_INFO, &request.base), WIRE_SANDBOX));

	Cove__Wire__StopRequest stop = COVE__WIRE__STOP_REQUEST__INIT;
	stream = peer_open(&other, WIRE_STOP, &stop.base);
	m = peer_expect_message(&other, stream, WIRE_SANDBOX,
				&cove__wire__sandbox_info__descriptor);
	info = (const Cove__Wire__SandboxInfo *)m;
	CHECK_INT(info->state, ==, COVE_SANDBOX_ENDED);
	CHECK_INT(info->end_cause, ==, COVE_END_STOPPED);
	CHECK_INT(info->ended_ns, >, info->created_ns);
	CHECK_INT(info->supervisor_pid, ==, 0);
	wire_message_free(m);
	check_nothing_left();
	peer_expect_goodbye(&other, COVE_END_STOPPED);
	peer_expect_goodbye(&s.creator, COVE_END_STOPPED);
	CHECK_INT(supervised_wait(&s), ==, 0);
	peer_done(&other);
	peer_done(&s.creator);
}

static void test_refused(void)
{
	ProtobufCBinaryData bad_env[] = { wire_string("A=1"), wire_string("=2") };
	ProtobufCBinaryData nul_env[] = { wire_bytes("A\0B", 3) };
	const Cove__Wire__Create ok = peer_create("refused");
	Cove__Wire__Create m = ok;
#define REFUSED(code, words)                                                                       \
	do {                                                                                       \
		check_refused(&m, code, words);                                                    \
		m = ok;                                                                            \
	} while (0)
	m.name = (char *)"";
	REFUSED(COVE_E_INVALID, "not a name");
	m.name = (char *)"../up";
	REFUSED(COVE_E_INVALID, "not a name");
	m.has_cpus = true;
	m.cpus = 65;
	REFUSED(COVE_E_INVALID, "65 cpus");
	m.has_memory_bytes = true;
	m.memory_bytes = (128 << 20) - 1;
	REFUSED(COVE_E_INVALID, "memory");
	m.has_memory_bytes = true;
	m.memory_bytes = UINT64_MAX;
	REFUSED(COVE_E_INVALID, "memory");
	m.hostname = (char *)"";
	REFUSED(COVE_E_INVALID, "hostname");
	m.hostname = (char *)"a b";
	REFUSED(COVE_E_INVALID, "hostname");
	m.hostname = (char *)"0123456789012345678901234567890123456789012345678901234567890123";
	REFUSED(COVE_E_INVALID, "64 bytes");
	m.has_cwd = true;
	m.cwd = wire_string("relative");
	REFUSED(COVE_E_INVALID, "cwd is not an absolute path");
	m.has_shell = true;
	m.shell = wire_string("sh");
	REFUSED(COVE_E_INVALID, "shell is not an absolute path");
	m.has_user = true;
	m.user = wire_bytes("ro\0ot", 5);
	REFUSED(COVE_E_INVALID, "NUL");
	m.n_env = 2;
	m.env = bad_env;
	REFUSED(COVE_E_INVALID, "'=2'");
	m.n_env = 1;
	m.env = nul_env;
	REFUSED(COVE_E_INVALID, "NUL");
	m.image = (char *)"no-such-image";
	REFUSED(COVE_E_NOT_FOUND, "no-such-image");
	m.image = (char *)"../../etc";
	REFUSED(COVE_E_INVALID, "image");
#undef REFUSED
}

static void test_not_a_message(void)
{
	struct supervised s;
	struct cove_error err;
	uint32_t stream;
	supervised_start(&s);
	CHECK_OK(wire_link_open(s.creator.link, WIRE_CREATE, "\xff\xff", 2, NULL, &stream));
	peer_expect_failure(&s.creator, stream, WIRE_REFUSED, &err);
	CHECK_INT(err.code, ==, COVE_E_PROTOCOL);
	CHECK_INT(err.origin, ==, COVE_ORIGIN_SUPERVISOR);
	peer_expect_close(&s.creator);
	supervised_wait(&s);
	peer_done(&s.creator);
}

static void test_before_create(void)
{
	struct supervised s;
	struct cove_error err;
	supervised_start(&s);
	Cove__Wire__InfoRequest info = COVE__WIRE__INFO_REQUEST__INIT;
	peer_expect_failure(&s.creator, peer_open(&s.creator, WIRE_INFO, &info.base), WIRE_REFUSED,
			    &err);
	CHECK_INT(err.code, ==, COVE_E_STATE);
	peer_expect_failure(&s.creator, peer_exec(&s.creator, "exit", NULL)->id, WIRE_FAILED, &err);
	CHECK_INT(err.code, ==, COVE_E_STATE);

	Cove__Wire__Create create = peer_create("once");
	uint32_t stream = peer_open(&s.creator, WIRE_CREATE, &create.base);
	free(peer_expect(&s.creator, stream, WIRE_SANDBOX));
	stream = peer_open(&s.creator, WIRE_CREATE, &create.base);
	peer_expect_failure(&s.creator, stream, WIRE_REFUSED, &err);
	CHECK_INT(err.code, ==, COVE_E_STATE);
	peer_done(&s.creator);
	supervised_wait(&s);
	check_nothing_left();
}

static void test_name_taken(void)
{
	struct supervised s;
	supervised_create(&s, "mine", NULL);
	struct supervised again;
	struct cove_error err;
	Cove__Wire__Create create = peer_create("mine");
	supervised_start(&again);
	uint32_t stream = peer_open(&again.creator, WIRE_CREATE, &create.base);
	peer_expect_failure(&again.creator, stream, WIRE_REFUSED, &err);
	CHECK_INT(err.code, ==, COVE_E_EXISTS);
	CHECK(exists("run/sandboxes", "mine", ".sock"));
	CHECK(exists("data/sandboxes", "mine", "/state"));
	peer_done(&again.creator);
	supervised_wait(&again);

	/* The first one is none the worse. */
	free(peer_expect(&s.creator, peer_exec(&s.creator, "exit", NULL)->id, WIRE_STARTED));
	peer_done(&s.creator);
	supervised_wait(&s);
	check_nothing_left();
}

/* Several creators at once, over and over: always exactly one gets the name. */
static void test_name_race(void)
{
	enum { CREATORS = 4, ROUNDS = 10 };
	Cove__Wire__Create create = peer_create("race");
	for (int round = 0; round < ROUNDS; round++) {
		struct supervised s[CREATORS];
		uint32_t streams[CREATORS];
		int winners = 0;
		for (int i = 0; i < CREATORS; i++)
			supervised_start(&s[i]);
		for (int i = 0; i < CREATORS; i++) {
			streams[i] = peer_open(&s[i].creator, WIRE_CREATE, &create.base);
			peer_pump(&s[i].creator, 0);
		}
		for (int i = 0; i < CREATORS; i++) {
			struct peer *p = &s[i].creator;
			PEER_WAIT(p, !list_empty(&p->messages));
			struct peer_message *m =
				LIST_ENTRY(p->messages.next, struct peer_message, entry);
			CHECK_INT(m->stream, ==, streams[i]);
			winners += m->type == WIRE_SANDBOX;
		}
		CHECK_INT(winners, ==, 1);
		for (int i = 0; i < CREATORS; i++)
			peer_done(&s[i].creator);
		for (int i = 0; i < CREATORS; i++)
			supervised_wait(&s[i]);
		check_nothing_left();
	}
}

/* ---- boots that fail ---- */

static void test_boot_hangs(void)
{
	setenv("COVE_TEST_BOOT", "hang", 1);
	Cove__Wire__Create create = peer_create("hang");
	create.has_boot_timeout_ms = true;
	create.boot_timeout_ms = 300;
	setenv("COVE_TEST_ACCEL", "kvm", 1);
	check_refused(&create, COVE_E_BOOT,
		      "within 300 ms; its console says: Linux version 0.0 (a process) | "
		      "Calibrating delay loop...");
}

static void test_boot_hangs_once(void)
{
	setenv("COVE_TEST_BOOT", "hang-once", 1);
	struct supervised s;
	supervised_start(&s);
	Cove__Wire__Create create = peer_create("twice");
	create.has_boot_timeout_ms = true;
	create.boot_timeout_ms = 1500;
	uint32_t stream = peer_open(&s.creator, WIRE_CREATE, &create.base);
	ProtobufCMessage *m = peer_expect_message(&s.creator, stream, WIRE_PROGRESS,
						  &cove__wire__progress__descriptor);
	CHECK_CONTAINS(((const Cove__Wire__Progress *)m)->text, "once more");
	wire_message_free(m);
	free(peer_expect(&s.creator, stream, WIRE_SANDBOX));
	peer_done(&s.creator);
	supervised_wait(&s);
	check_nothing_left();
}

static void test_agent_silent(void)
{
	setenv("COVE_TEST_GUEST", "silent", 1);
	Cove__Wire__Create create = peer_create("silent");
	create.has_boot_timeout_ms = true;
	create.boot_timeout_ms = 300;
	check_refused_after(true, &create, COVE_E_BOOT, "within 300 ms, in two tries");
}

static void test_vmm_exits(void)
{
	setenv("COVE_TEST_BOOT", "exit", 1);
	Cove__Wire__Create create = peer_create("exit");
	check_refused(&create, COVE_E_BOOT,
		      "QEMU exited with status 1: qemu: this machine does not like you");
}

static void test_agent_crashes(void)
{
	setenv("COVE_TEST_GUEST", "crash", 1);
	Cove__Wire__Create create = peer_create("crash");
	check_refused(&create, COVE_E_BOOT,
		      "the guest's kernel panicked: Kernel panic - not syncing: Attempted to");
}

static void test_agent_not_ready(void)
{
	setenv("COVE_TEST_GUEST", "not-ready", 1);
	struct supervised s;
	struct cove_error err;
	Cove__Wire__Create create = peer_create("not-ready");
	supervised_start(&s);
	uint32_t stream = peer_open(&s.creator, WIRE_CREATE, &create.base);
	peer_expect_failure(&s.creator, stream, WIRE_REFUSED, &err);
	CHECK_INT(err.code, ==, COVE_E_BOOT);
	CHECK_INT(err.origin, ==, COVE_ORIGIN_GUEST);
	CHECK_INT(err.os_errno, ==, ENODEV);
	CHECK_CONTAINS(err.message, "/dev/vda");
	peer_done(&s.creator);
	supervised_wait(&s);
	check_nothing_left();
}

static void test_agent_garbage(void)
{
	setenv("COVE_TEST_GUEST", "garbage", 1);
	Cove__Wire__Create create = peer_create("garbage");
	check_refused(&create, COVE_E_BOOT, "the guest broke the protocol");
}

static void test_agent_loses_its_place(void)
{
	setenv("COVE_TEST_GUEST", "resync-forever", 1);
	Cove__Wire__Create create = peer_create("resync");
	check_refused(&create, COVE_E_BOOT, "lost its place");
}

static void test_disk_full(void)
{
	setenv("COVE_TEST_BOOT", "enospc", 1);
	Cove__Wire__Create create = peer_create("full");
	check_refused(&create, COVE_E_SYSTEM, "No space left on device");
}

static void test_no_kernel(void)
{
	setenv("COVE_SHARE_DIR", tap_dir(), 1);
	Cove__Wire__Create create = peer_create("kernel");
	CHECK_SYS(mkdir(tap_path("images"), 0700));
	CHECK_SYS(symlink(tap_path("../../../../../../../%s/tests/harness/share/images/test",
				   getenv("COVE_SOURCE_DIR")),
			  tap_path("images/test")));
	check_refused(&create, COVE_E_MISSING, "kernel");
}

/* ---- folders ---- */

static void test_not_writable(void)
{
	Cove__Wire__Create create = peer_create("denied");
	CHECK_SYS(mkdir(tap_path("data"), 0700));
	int fd = (int)CHECK_SYS(
		open(tap_path("data/sandboxes"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	close(fd);
	struct supervised s;
	struct cove_error err;
	supervised_start(&s);
	uint32_t stream = peer_open(&s.creator, WIRE_CREATE, &create.base);
	peer_expect_failure(&s.creator, stream, WIRE_REFUSED, &err);
	CHECK_INT(err.code, ==, COVE_E_SYSTEM);
	CHECK_INT(err.os_errno, ==, EEXIST);
	CHECK_CONTAINS(err.message, tap_path("data/sandboxes"));
	peer_done(&s.creator);
	supervised_wait(&s);
}

static void test_long_path(void)
{
	char home[1024];
	int n = snprintf(home, sizeof(home), "%s", tap_dir());
	for (int i = 0; i < 5; i++)
		n += snprintf(home + n, sizeof(home) - (size_t)n,
			      "/a-folder-with-a-name-that-no-socket-address-can-hold");
	CHECK_OK(fd_mkdir_parents(home, 0700));
	setenv("COVE_HOME", home, 1);
	struct supervised s;
	supervised_create(&s, "deep", NULL);
	struct peer other;
	peer_connect(&other, "deep");
	free(peer_expect(&other, peer_exec(&other, "exit", NULL)->id, WIRE_STARTED));
	peer_done(&other);
	peer_done(&s.creator);
	supervised_wait(&s);
	CHECK(!exists("run/sandboxes", "deep", ".sock"));
}

static void test_relative_home(void)
{
	CHECK_SYS(chdir(tap_dir()));
	setenv("COVE_HOME", "here", 1);
	struct supervised s;
	supervised_create(&s, "relative", NULL);
	CHECK_SYS(access(tap_path("here/run/sandboxes/relative.sock"), F_OK));
	peer_done(&s.creator);
	supervised_wait(&s);
}

/* ---- what crashes leave ---- */

static void test_supervisor_killed(void)
{
	struct supervised s;
	supervised_create(&s, "phoenix", NULL);
	Cove__Wire__InfoRequest request = COVE__WIRE__INFO_REQUEST__INIT;
	ProtobufCMessage *m =
		peer_expect_message(&s.creator, peer_open(&s.creator, WIRE_INFO, &request.base),
				    WIRE_SANDBOX, &cove__wire__sandbox_info__descriptor);
	pid_t machine = (pid_t)((const Cove__Wire__SandboxInfo *)m)->vmm_pid;
	wire_message_free(m);

	CHECK_SYS(kill(s.pid, SIGKILL));
	peer_expect_close(&s.creator);
	CHECK(!s.creator.goodbye);
	CHECK_INT(WTERMSIG(supervised_wait(&s)), ==, SIGKILL);
	CHECK(tap_process_ends(machine, 3000));
	peer_done(&s.creator);
	CHECK(exists("run/sandboxes", "phoenix", ".sock"));
	CHECK(exists("data/sandboxes", "phoenix", "/disk.qcow2"));

	/* Nothing of that is in the way, and nothing of it stays. */
	int fd = (int)CHECK_SYS(open(tap_path("data/sandboxes/phoenix/leftover"),
				     O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	close(fd);
	CHECK_SYS(mkdir(tap_path("data/sandboxes/.removing-other"), 0700));
	supervised_create(&s, "phoenix", NULL);
	CHECK(!exists("data/sandboxes", "phoenix", "/leftover"));
	peer_done(&s.creator);
	supervised_wait(&s);
	check_nothing_left();
}

static void test_persistent(void)
{
	struct supervised s;
	Cove__Wire__Create create = peer_create("kept");
	create.has_persistent = create.persistent = true;
	supervised_create(&s, "kept", &create);
	Cove__Wire__StopRequest stop = COVE__WIRE__STOP_REQUEST__INIT;
	free(peer_expect(&s.creator, peer_open(&s.creator, WIRE_STOP, &stop.base), WIRE_SANDBOX));
	CHECK(exists("data/sandboxes", "kept", "/disk.qcow2"));
	CHECK(!exists("run/sandboxes", "kept", ".sock"));
	check_state_file("kept", COVE_SANDBOX_ENDED);
	peer_done(&s.creator);
	supervised_wait(&s);

	/* Its name is taken, and taking it harms nothing. */
	struct cove_error err;
	supervised_start(&s);
	uint32_t stream = peer_open(&s.creator, WIRE_CREATE, &create.base);
	peer_expect_failure(&s.creator, stream, WIRE_REFUSED, &err);
	CHECK_INT(err.code, ==, COVE_E_EXISTS);
	CHECK_CONTAINS(err.message, "kept");
	CHECK(exists("data/sandboxes", "kept", "/disk.qcow2"));
	check_state_file_end("kept", COVE_END_STOPPED);
	peer_done(&s.creator);
	supervised_wait(&s);
}

/* One that never came up is not kept either. */
static void test_persistent_boot_fails(void)
{
	setenv("COVE_TEST_GUEST", "crash", 1);
	Cove__Wire__Create create = peer_create("stillborn");
	create.has_persistent = create.persistent = true;
	check_refused(&create, COVE_E_BOOT, "Kernel panic");
}

static const struct tap_test tests[] = {
	{ "create, info, stop", test_create },
	{ "bad requests are refused", test_refused, .timeout_s = 60 },
	{ "what is no CREATE is refused", test_not_a_message },
	{ "CREATE is the first request, and the only one", test_before_create },
	{ "a name is taken once", test_name_taken },
	{ "a name is taken once by many at once", test_name_race, .timeout_s = 60 },
	{ "a boot that hangs", test_boot_hangs },
	{ "a boot that hangs is tried again", test_boot_hangs_once },
	{ "an agent that never speaks", test_agent_silent },
	{ "a machine that ends at once", test_vmm_exits },
	{ "an agent that crashes", test_agent_crashes },
	{ "an agent that cannot start", test_agent_not_ready },
	{ "an agent that speaks something else", test_agent_garbage },
	{ "an agent that loses its place for ever", test_agent_loses_its_place },
	{ "no space for the disk", test_disk_full },
	{ "no kernel", test_no_kernel },
	{ "no folder for the sandboxes", test_not_writable },
	{ "a path longer than a socket's", test_long_path },
	{ "a relative COVE_HOME", test_relative_home },
	{ "a killed supervisor leaves nothing in the way", test_supervisor_killed },
	{ "a persistent sandbox is kept", test_persistent },
	{ "a persistent sandbox that never ran is not", test_persistent_boot_fails },
};

int main(int argc, char **argv)
{
	peer_use_fake_guest();
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
