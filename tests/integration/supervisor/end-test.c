/* SPDX-License-Identifier: Apache-2.0 */

/* How sandboxes end, who is told, and that nothing is left. */

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cove/types.h"
#include "peer.h"

static bool is_empty(const char *folder)
{
	unsigned n = 0;
	DIR *dir = opendir(tap_path("%s", folder));
	if (!dir)
		return true;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n == 2;
}

static void check_nothing_left(void)
{
	CHECK(is_empty("data/sandboxes"));
	CHECK(is_empty("run/sandboxes"));
}

static ProtobufCMessage *get_info(struct peer *p)
{
	Cove__Wire__InfoRequest m = COVE__WIRE__INFO_REQUEST__INIT;
	return peer_expect_message(p, peer_open(p, WIRE_INFO, &m.base), WIRE_SANDBOX,
				   &cove__wire__sandbox_info__descriptor);
}

static pid_t machine_pid(struct peer *p)
{
	ProtobufCMessage *m = get_info(p);
	pid_t pid = (pid_t)((const Cove__Wire__SandboxInfo *)m)->vmm_pid;
	wire_message_free(m);
	return pid;
}

static uint32_t open_wait(struct peer *p)
{
	Cove__Wire__WaitRequest m = COVE__WIRE__WAIT_REQUEST__INIT;
	return peer_open(p, WIRE_WAIT, &m.base);
}

static uint32_t open_stop(struct peer *p, bool kill)
{
	Cove__Wire__StopRequest m = COVE__WIRE__STOP_REQUEST__INIT;
	m.has_kill = m.kill = kill;
	m.has_grace_ms = true;
	m.grace_ms = kill ? 0 : 1000;
	return peer_open(p, WIRE_STOP, &m.base);
}

/* SANDBOX on the stream says that it has ended, and nothing of it is there any more. */
static void expect_end(struct peer *p, uint32_t stream, uint32_t cause)
{
	ProtobufCMessage *m =
		peer_expect_message(p, stream, WIRE_SANDBOX, &cove__wire__sandbox_info__descriptor);
	const Cove__Wire__SandboxInfo *info = (const Cove__Wire__SandboxInfo *)m;
	CHECK_INT(info->state, ==, COVE_SANDBOX_ENDED);
	CHECK_INT(info->end_cause, ==, cause);
	tap_note("the end: %s", info->end_text);
	wire_message_free(m);
	check_nothing_left();
}

static void finish(struct supervised *s)
{
	CHECK_INT(supervised_wait(s), ==, 0);
	peer_done(&s->creator);
	check_nothing_left();
}

static void create_detached(struct supervised *s, const char *name)
{
	Cove__Wire__Create m = peer_create(name);
	m.has_detached = m.detached = true;
	supervised_create(s, name, &m);
}

/* ---- asked for ---- */

static void test_kill(void)
{
	struct supervised s;
	supervised_create(&s, "kill", NULL);
	uint32_t wait = open_wait(&s.creator);
	struct peer_stream *hold = peer_exec(&s.creator, "hold", NULL);
	free(peer_expect(&s.creator, hold->id, WIRE_STARTED));
	expect_end(&s.creator, open_stop(&s.creator, true), COVE_END_KILLED);
	expect_end(&s.creator, wait, COVE_END_KILLED);
	peer_expect_goodbye(&s.creator, COVE_END_KILLED);
	finish(&s);
}

/* Everybody who waits hears of it, and what is asked afterwards is answered as well. */
static void test_stop_tells_all(void)
{
	enum { CLIENTS = 5 };
	struct supervised s;
	struct peer clients[CLIENTS];
	uint32_t waits[CLIENTS];
	create_detached(&s, "tell");
	for (int i = 0; i < CLIENTS; i++) {
		peer_connect(&clients[i], "tell");
		waits[i] = open_wait(&clients[i]);
		wire_message_free(get_info(&clients[i]));
	}
	expect_end(&s.creator, open_stop(&s.creator, false), COVE_END_STOPPED);
	for (int i = 0; i < CLIENTS; i++) {
		expect_end(&clients[i], waits[i], COVE_END_STOPPED);
		peer_expect_goodbye(&clients[i], COVE_END_STOPPED);
		peer_done(&clients[i]);
	}
	peer_expect_goodbye(&s.creator, COVE_END_STOPPED);
	finish(&s);
}

/* A guest that does not obey is killed; the second time sooner than the first would have. */
static void test_stop_is_not_obeyed(void)
{
	setenv("COVE_TEST_GUEST", "no-shutdown", 1);
	struct supervised s;
	supervised_create(&s, "deaf", NULL);
	Cove__Wire__StopRequest long_stop = COVE__WIRE__STOP_REQUEST__INIT;
	long_stop.has_grace_ms = true;
	long_stop.grace_ms = UINT64_MAX;
	uint32_t first = peer_open(&s.creator, WIRE_STOP, &long_stop.base);
	ProtobufCMessage *m = get_info(&s.creator);
	CHECK_INT(((const Cove__Wire__SandboxInfo *)m)->state, ==, COVE_SANDBOX_STOPPING);
	wire_message_free(m);
	uint32_t second = open_stop(&s.creator, true);
	expect_end(&s.creator, second, COVE_END_KILLED);
	expect_end(&s.creator, first, COVE_END_KILLED);
	peer_expect_goodbye(&s.creator, COVE_END_KILLED);
	finish(&s);
}

static void test_stop_takes_too_long(void)
{
	setenv("COVE_TEST_GUEST", "no-shutdown", 1);
	struct supervised s;
	supervised_create(&s, "slow", NULL);
	uint32_t stop = open_stop(&s.creator, false);
	ProtobufCMessage *m = peer_expect_message(&s.creator, stop, WIRE_SANDBOX,
						  &cove__wire__sandbox_info__descriptor);
	CHECK_CONTAINS(((const Cove__Wire__SandboxInfo *)m)->end_text, "in time");
	wire_message_free(m);
	peer_expect_goodbye(&s.creator, COVE_END_STOPPED);
	finish(&s);
}

/* What ends before it has said that its disk is safe was not stopped. */
static void test_machine_killed_while_stopping(void)
{
	setenv("COVE_TEST_GUEST", "no-shutdown", 1);
	struct supervised s;
	supervised_create(&s, "halfway", NULL);
	pid_t machine = machine_pid(&s.creator);
	uint32_t stop = open_stop(&s.creator, false);
	wire_message_free(get_info(&s.creator)); /* STOP has been dealt with */
	CHECK_SYS(kill(machine, SIGKILL));
	expect_end(&s.creator, stop, COVE_END_VMM_DIED);
	peer_expect_goodbye(&s.creator, COVE_END_VMM_DIED);
	finish(&s);
}

static void test_signals(void)
{
	const int numbers[] = { SIGTERM, SIGINT };
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct supervised s;
		supervised_create(&s, "signal", NULL);
		CHECK_SYS(kill(s.pid, numbers[i]));
		peer_expect_goodbye(&s.creator, COVE_END_STOPPED);
		finish(&s);
	}
	struct supervised s;
	supervised_create(&s, "signal", NULL);
	CHECK_SYS(kill(s.pid, SIGHUP)); /* the terminal's end is none of its business */
	wire_message_free(get_info(&s.creator));
	expect_end(&s.creator, open_stop(&s.creator, true), COVE_END_KILLED);
	finish(&s);
}

/* ---- the creator ---- */

static void test_creator_closes(void)
{
	struct supervised s;
	struct peer other;
	supervised_create(&s, "attached", NULL);
	peer_connect(&other, "attached");
	wire_message_free(get_info(&other));
	peer_done(&s.creator);
	peer_expect_goodbye(&other, COVE_END_CREATOR_GONE);
	check_nothing_left();
	peer_done(&other);
	CHECK_INT(supervised_wait(&s), ==, 0);
}

static void test_creator_closes_while_booting(void)
{
	setenv("COVE_TEST_BOOT", "hang", 1);
	struct supervised s;
	Cove__Wire__Create m = peer_create("early");
	m.has_detached = m.detached = true;
	supervised_start(&s);
	peer_open(&s.creator, WIRE_CREATE, &m.base);
	PEER_WAIT(&s.creator, s.creator.hello);
	CHECK_WITHIN(!is_empty("data/sandboxes"), 5000);
	peer_done(&s.creator);
	CHECK_INT(supervised_wait(&s), ==, 0);
	check_nothing_left();
}

/*
 * The creator is killed, and a child that it had forked still has the connection open: only the
 * kernel's word on who made it tells.
 */
static void test_creator_killed(void)
{
	struct peer other;
	int go[2], pids[2];
	pid_t supervisor, child;
	CHECK_SYS(pipe2(go, O_CLOEXEC));
	CHECK_SYS(pipe2(pids, O_CLOEXEC));
	pid_t creator = (pid_t)CHECK_SYS(fork());
	if (creator == 0) {
		struct supervised s;
		char c;
		supervised_create(&s, "orphan", NULL);
		child = fork();
		if (child == 0) {
			close(go[1]); /* ends with the test, if not before */
			_exit((int)read(go[0], &c, 1));
		}
		if (write(pids[1], &s.pid, sizeof(s.pid)) < 0 ||
		    write(pids[1], &child, sizeof(child)) < 0)
			_exit(1);
		for (;;)
			pause();
	}
	CHECK_INT(read(pids[0], &supervisor, sizeof(supervisor)), ==, sizeof(supervisor));
	CHECK_INT(read(pids[0], &child, sizeof(child)), ==, sizeof(child));
	peer_connect(&other, "orphan");
	wire_message_free(get_info(&other));
	CHECK_SYS(kill(creator, SIGKILL));
	CHECK_INT(waitpid(creator, NULL, 0), ==, creator);
	peer_expect_goodbye(&other, COVE_END_CREATOR_GONE);
	peer_done(&other);
	CHECK(tap_process_ends(supervisor, 3000));
	check_nothing_left();
	close(go[1]);
	CHECK(tap_process_ends(child, 3000));
	close(go[0]);
	close(pids[0]);
	close(pids[1]);
}

static void test_detached(void)
{
	struct supervised s;
	struct peer other;
	create_detached(&s, "free");
	peer_done(&s.creator);
	peer_connect(&other, "free");
	wire_message_free(get_info(&other));
	free(peer_expect(&other, peer_exec(&other, "exit", NULL)->id, WIRE_STARTED));
	expect_end(&other, open_stop(&other, false), COVE_END_STOPPED);
	peer_done(&other);
	CHECK_INT(supervised_wait(&s), ==, 0);
}

/* An attached one whose disk is kept is stopped in order when its creator goes. */
static void test_creator_of_persistent_closes(void)
{
	struct supervised s;
	struct peer other;
	Cove__Wire__Create m = peer_create("kept");
	m.has_persistent = m.persistent = true;
	supervised_create(&s, "kept", &m);
	peer_connect(&other, "kept");
	wire_message_free(get_info(&other));
	peer_done(&s.creator);
	peer_expect_goodbye(&other, COVE_END_CREATOR_GONE);
	CHECK_SYS(access(tap_path("data/sandboxes/kept/disk.qcow2"), F_OK));
	CHECK(is_empty("run/sandboxes"));
	peer_done(&other);
	CHECK_INT(supervised_wait(&s), ==, 0);
}

/* ---- the machine ---- */

static void test_machine_killed(void)
{
	struct supervised s;
	create_detached(&s, "murder");
	uint32_t wait = open_wait(&s.creator);
	struct peer_stream *hold = peer_exec(&s.creator, "hold", NULL);
	free(peer_expect(&s.creator, hold->id, WIRE_STARTED));
	CHECK_SYS(kill(machine_pid(&s.creator), SIGKILL));
	expect_end(&s.creator, wait, COVE_END_VMM_DIED);
	peer_expect_goodbye(&s.creator, COVE_END_VMM_DIED);
	CHECK_CONTAINS(s.creator.text, "killed by signal 9");
	finish(&s);
}

static void test_guest_panics(void)
{
	struct supervised s;
	create_detached(&s, "panic");
	peer_exec(&s.creator, "die", NULL);
	peer_expect_goodbye(&s.creator, COVE_END_GUEST_PANIC);
	CHECK_STR(s.creator.text, "the guest's kernel panicked: Kernel panic - not syncing: "
				  "Attempted to kill init!");
	finish(&s);
}

static void test_guest_powers_off(void)
{
	struct supervised s;
	create_detached(&s, "off");
	peer_exec(&s.creator, "off", NULL);
	peer_expect_goodbye(&s.creator, COVE_END_GUEST_OFF);
	finish(&s);
}

/* What the guest said before its end arrives, before the goodbye, though the reader is late. */
static void test_last_output(void)
{
	struct supervised s;
	create_detached(&s, "last");
	struct peer_stream *spew = peer_exec(&s.creator, "spew", "200000");
	struct peer other;
	peer_connect(&other, "last");
	free(peer_expect(&s.creator, spew->id, WIRE_STARTED));
	free(peer_expect(&other, peer_exec(&other, "exit", NULL)->id, WIRE_STARTED));
	peer_open(&other, WIRE_STOP, &(Cove__Wire__StopRequest)COVE__WIRE__STOP_REQUEST__INIT.base);
	peer_expect_goodbye(&other, COVE_END_STOPPED);
	peer_expect_goodbye(&s.creator, COVE_END_STOPPED);
	CHECK_INT(spew->bytes[WIRE_STDOUT], ==, 200000);
	CHECK(!spew->wrong);
	peer_done(&other);
	finish(&s);
}

/* A client that reads nothing does not hold up the end for long. */
static void test_end_with_a_deaf_client(void)
{
	struct supervised s;
	struct peer deaf;
	create_detached(&s, "deaf");
	peer_connect(&deaf, "deaf");
	struct peer_stream *spew = peer_exec(&deaf, "spew", "100000000");
	spew->slow = true;
	free(peer_expect(&deaf, spew->id, WIRE_STARTED));
	expect_end(&s.creator, open_stop(&s.creator, true), COVE_END_KILLED);
	peer_expect_goodbye(&s.creator, COVE_END_KILLED);
	CHECK(tap_process_ends(s.pid, 3000));
	peer_done(&deaf);
	finish(&s);
}

static void test_stalled(void)
{
	struct supervised s;
	ProtobufCMessage *m;
	create_detached(&s, "frozen");
	free(peer_expect(&s.creator, peer_exec(&s.creator, "freeze", NULL)->id, WIRE_STARTED));
	bool stalled = false;
	uint64_t end = peer_deadline();
	while (!stalled) {
		CHECK(clock_monotonic_ms() < end);
		peer_pump(&s.creator, clock_monotonic_ms() + 50);
		m = get_info(&s.creator);
		stalled = ((const Cove__Wire__SandboxInfo *)m)->stalled;
		CHECK_INT(((const Cove__Wire__SandboxInfo *)m)->state, ==, COVE_SANDBOX_RUNNING);
		wire_message_free(m);
	}
	expect_end(&s.creator, open_stop(&s.creator, true), COVE_END_KILLED);
	finish(&s);
}

/* A guest that is quiet because nobody wants anything of it is not stalled. */
static void test_quiet_is_not_stalled(void)
{
	struct supervised s;
	create_detached(&s, "quiet");
	/* Several heartbeats (300 ms each in this supervisor) go by. */
	uint64_t end = clock_monotonic_ms() + 2000;
	while (clock_monotonic_ms() < end)
		peer_pump(&s.creator, end);
	ProtobufCMessage *m = get_info(&s.creator);
	CHECK(!((const Cove__Wire__SandboxInfo *)m)->stalled);
	wire_message_free(m);
	expect_end(&s.creator, open_stop(&s.creator, true), COVE_END_KILLED);
	finish(&s);
}

static void test_nobody_speaks(void)
{
	struct supervised s;
	supervised_start(&s);
	peer_expect_close(&s.creator); /* no HELLO in time */
	finish(&s);
}

static const struct tap_test tests[] = {
	{ "kill", test_kill },
	{ "stop tells all who wait", test_stop_tells_all },
	{ "stop, then kill, a guest that does not obey", test_stop_is_not_obeyed },
	{ "stop has an end", test_stop_takes_too_long, .timeout_s = 40 },
	{ "a machine that dies while it is stopped", test_machine_killed_while_stopping },
	{ "SIGTERM and SIGINT stop it in order", test_signals },
	{ "attached: the creator closes", test_creator_closes },
	{ "the creator closes while it boots", test_creator_closes_while_booting },
	{ "attached: the creator is killed", test_creator_killed },
	{ "detached: the creator closes", test_detached },
	{ "persistent: the creator closes", test_creator_of_persistent_closes },
	{ "the machine is killed", test_machine_killed },
	{ "the guest panics", test_guest_panics },
	{ "the guest powers off", test_guest_powers_off },
	{ "the last output arrives", test_last_output },
	{ "a deaf client does not hold up the end", test_end_with_a_deaf_client },
	{ "a frozen guest is stalled", test_stalled, .timeout_s = 40 },
	{ "a quiet guest is not", test_quiet_is_not_stalled },
	{ "a creator that does not speak", test_nobody_speaks },
};

int main(int argc, char **argv)
{
	peer_use_fake_guest();
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
