/* SPDX-License-Identifier: Apache-2.0 */

/* Sandboxes that their creator lets go of, and that end with a session. The guest is fake-guest.c. */

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "cove/types.h"
#include "peer.h"

/* ---- requests ---- */

static uint32_t open_detach(struct peer *p, const char *until)
{
	Cove__Wire__DetachRequest m = COVE__WIRE__DETACH_REQUEST__INIT;
	m.has_until_session = until != NULL;
	m.until_session = wire_string(until);
	return peer_open(p, WIRE_DETACH, &m.base);
}

/* SANDBOX on the stream: detached, until that session (""). */
static void expect_detached(struct peer *p, uint32_t stream, const char *until)
{
	ProtobufCMessage *m =
		peer_expect_message(p, stream, WIRE_SANDBOX, &cove__wire__sandbox_info__descriptor);
	const Cove__Wire__SandboxInfo *info = (const Cove__Wire__SandboxInfo *)m;
	CHECK(info->detached);
	CHECK_MEM(info->until_session.data, info->until_session.len, until, strlen(until));
	wire_message_free(m);
	peer_close(p, stream);
}

static void detach(struct peer *p, const char *until)
{
	expect_detached(p, open_detach(p, until), until ? until : "");
}

static void refused(struct peer *p, const char *until, int code)
{
	struct cove_error err;
	uint32_t stream = open_detach(p, until);
	peer_expect_failure(p, stream, WIRE_REFUSED, &err);
	CHECK_INT(err.code, ==, code);
	peer_close(p, stream);
}

static ProtobufCMessage *get_info(struct peer *p)
{
	Cove__Wire__InfoRequest m = COVE__WIRE__INFO_REQUEST__INIT;
	return peer_expect_message(p, peer_open(p, WIRE_INFO, &m.base), WIRE_SANDBOX,
				   &cove__wire__sandbox_info__descriptor);
}

static uint32_t open_stop(struct peer *p, bool kill)
{
	Cove__Wire__StopRequest m = COVE__WIRE__STOP_REQUEST__INIT;
	m.has_kill = m.kill = kill;
	m.has_grace_ms = true;
	m.grace_ms = 0;
	return peer_open(p, WIRE_STOP, &m.base);
}

/* What the guest has counted. */
static int32_t attaches(struct peer *p)
{
	struct peer_stream *s = peer_exec(p, "attaches", NULL);
	free(peer_expect(p, s->id, WIRE_STARTED));
	ProtobufCMessage *m =
		peer_expect_message(p, s->id, WIRE_EXITED, &cove__wire__exited__descriptor);
	int32_t n = ((const Cove__Wire__Exited *)m)->code;
	wire_message_free(m);
	return n;
}

static void create(struct supervised *s, const char *name)
{
	peer_use_fake_guest();
	supervised_create(s, name, NULL);
}

static void finish(struct supervised *s)
{
	CHECK_INT(supervised_wait(s), ==, 0);
	peer_done(&s->creator);
	CHECK(access(tap_path("data/sandboxes/box"), F_OK) < 0);
}

/* The session ends, and the sandbox with it. */
static void end_session(struct supervised *s)
{
	peer_exec(&s->creator, "end", NULL);
	peer_expect_goodbye(&s->creator, COVE_END_SESSION_ENDED);
	finish(s);
}

/* ---- letting go ---- */

static void test_detach(void)
{
	struct supervised s;
	struct peer other;
	create(&s, "box");
	detach(&s.creator, NULL);
	detach(&s.creator, NULL);
	peer_done(&s.creator);
	/* Whoever finds it dead finds that, too. */
	_cleanup_free_ char *data = NULL;
	size_t size;
	int dir = (int)CHECK_SYS(open(tap_path("data/sandboxes/box"), O_RDONLY | O_CLOEXEC));
	CHECK_OK(fd_read_file(dir, "state", 65536, false, &data, &size));
	close(dir);
	ProtobufCMessage *m =
		wire_message_unpack(&cove__wire__sandbox_info__descriptor, data, size);
	CHECK(((const Cove__Wire__SandboxInfo *)m)->detached);
	wire_message_free(m);

	/* Its creator has gone. Anybody may say what it is to end with. */
	peer_connect(&other, "box");
	detach(&other, "run");
	peer_exec(&other, "end", NULL);
	peer_expect_goodbye(&other, COVE_END_SESSION_ENDED);
	CHECK_INT(supervised_wait(&s), ==, 0);
	peer_done(&other);
}

static void test_refused(void)
{
	struct supervised s;
	create(&s, "box");
	refused(&s.creator, "none", COVE_E_NOT_FOUND);
	refused(&s.creator, "gone", COVE_E_GONE);
	refused(&s.creator, "", COVE_E_INVALID);
	refused(&s.creator, "../x", COVE_E_INVALID);
	uint32_t stream;
	struct cove_error err;
	CHECK_OK(wire_link_open(s.creator.link, WIRE_DETACH, "\377", 1, NULL, &stream));
	peer_expect_failure(&s.creator, stream, WIRE_REFUSED, &err);
	CHECK_INT(err.code, ==, COVE_E_PROTOCOL);
	/* So it is not detached. */
	ProtobufCMessage *m = get_info(&s.creator);
	CHECK(!((const Cove__Wire__SandboxInfo *)m)->detached);
	CHECK(!((const Cove__Wire__SandboxInfo *)m)->has_until_session);
	wire_message_free(m);
	CHECK_INT(attaches(&s.creator), ==, 2);
	peer_done(&s.creator);
	CHECK_INT(supervised_wait(&s), ==, 0);
}

/* ---- until the end of a session ---- */

static void test_replace(void)
{
	struct supervised s;
	create(&s, "box");
	detach(&s.creator, "run");
	detach(&s.creator, "other"); /* takes its place */
	peer_exec(&s.creator, "end-previous", NULL);
	CHECK_INT(attaches(&s.creator), ==, 2);
	detach(&s.creator, NULL); /* none */
	peer_exec(&s.creator, "end", NULL);
	CHECK_INT(attaches(&s.creator), ==, 2);
	detach(&s.creator, "third");
	refused(&s.creator, "none", COVE_E_NOT_FOUND); /* changes nothing */
	ProtobufCMessage *m = get_info(&s.creator);
	const Cove__Wire__SandboxInfo *info = (const Cove__Wire__SandboxInfo *)m;
	CHECK_MEM(info->until_session.data, info->until_session.len, "third", 5);
	wire_message_free(m);
	end_session(&s);
}

static void test_ended(void)
{
	struct supervised s;
	create(&s, "box");
	detach(&s.creator, "ended");
	peer_expect_goodbye(&s.creator, COVE_END_SESSION_ENDED);
	CHECK_CONTAINS(s.creator.text, "session ended ended");
	finish(&s);
}

static void resync(struct peer *p)
{
	struct cove_error err;
	struct peer_stream *stream = peer_exec(p, "resync", NULL);
	peer_expect_failure(p, stream->id, WIRE_FAILED, &err);
	CHECK_INT(err.code, ==, COVE_E_LOST);
}

/* The guest loses its place on the link: it is asked for the sessions again. */
static void test_resync(void)
{
	struct supervised s;
	create(&s, "box");
	detach(&s.creator, "run");
	uint32_t pending = open_detach(&s.creator, "silent");
	resync(&s.creator);
	resync(&s.creator);
	CHECK_INT(attaches(&s.creator), ==, 6);
	/* Still not answered; and the other is what counts. */
	peer_close(&s.creator, pending);
	end_session(&s);
}

/* It ended while the link was down. */
static void test_vanished(void)
{
	struct supervised s;
	create(&s, "box");
	detach(&s.creator, "vanishes");
	peer_exec(&s.creator, "resync", NULL);
	peer_expect_goodbye(&s.creator, COVE_END_SESSION_ENDED);
	finish(&s);
}

/* ---- waiting for the answer ---- */

static void test_unanswered(void)
{
	struct supervised s;
	struct peer other;
	struct cove_error err;
	create(&s, "box");
	/* Given up, by the stream and by the connection. */
	peer_close(&s.creator, open_detach(&s.creator, "silent"));
	peer_connect(&other, "box");
	open_detach(&other, "silent");
	PEER_WAIT(&other, other.hello);
	peer_done(&other);
	CHECK_INT(attaches(&s.creator), >=, 1);
	/* Overtaken by the end. */
	uint32_t asked = open_detach(&s.creator, "silent");
	uint32_t stop = open_stop(&s.creator, true);
	peer_expect_failure(&s.creator, asked, WIRE_REFUSED, &err);
	CHECK_INT(err.code, ==, COVE_E_STATE);
	free(peer_expect(&s.creator, stop, WIRE_SANDBOX));
	peer_expect_goodbye(&s.creator, COVE_END_KILLED);
	finish(&s);
}

static void test_stopping(void)
{
	struct supervised s;
	struct cove_error err;
	setenv("COVE_TEST_GUEST", "no-shutdown", 1);
	create(&s, "box");
	uint32_t asked = open_detach(&s.creator, "silent");
	uint32_t stop = open_stop(&s.creator, false);
	peer_expect_failure(&s.creator, asked, WIRE_REFUSED, &err);
	CHECK_INT(err.code, ==, COVE_E_STATE);
	CHECK_CONTAINS(err.message, "stopping");
	refused(&s.creator, NULL, COVE_E_STATE);
	refused(&s.creator, "run", COVE_E_STATE);
	open_stop(&s.creator, true);
	free(peer_expect(&s.creator, stop, WIRE_SANDBOX));
	/* What is said after the end is refused as well. */
	peer_expect_goodbye(&s.creator, COVE_END_KILLED);
	finish(&s);
}

/* A stop ends the session, too, and gives others the time that it said, not what that end would give. */
static void test_ends_by_stop(void)
{
	struct supervised s;
	setenv("COVE_TEST_GUEST", "no-shutdown", 1);
	create(&s, "box");
	detach(&s.creator, "run");
	Cove__Wire__StopRequest m = COVE__WIRE__STOP_REQUEST__INIT;
	m.has_grace_ms = true;
	m.grace_ms = 3600 * 1000;
	uint32_t stop = peer_open(&s.creator, WIRE_STOP, &m.base);
	peer_exec(&s.creator, "end", NULL);
	CHECK_INT(attaches(&s.creator), ==, 1); /* the end is there by now */
	_cleanup_free_ char *log = NULL;
	size_t size;
	int dir = (int)CHECK_SYS(open(tap_path("data/sandboxes/box"), O_RDONLY | O_CLOEXEC));
	CHECK_OK(fd_read_file(dir, "supervisor.log", 65536, true, &log, &size));
	close(dir);
	CHECK_CONTAINS(log, "let go of");
	CHECK(!strstr(log, "has ended"));
	open_stop(&s.creator, true);
	free(peer_expect(&s.creator, stop, WIRE_SANDBOX));
	peer_expect_goodbye(&s.creator, COVE_END_KILLED);
	finish(&s);
}

/* The machine's end of the link is closed, and it is given a moment to end. */
static void test_no_link(void)
{
	struct supervised s;
	struct cove_error err;
	create(&s, "box");
	free(peer_expect(&s.creator, peer_exec(&s.creator, "hang up", NULL)->id, WIRE_STARTED));
	for (unsigned i = 0; i < 5; i++) /* so that it surely knows */
		wire_message_free(get_info(&s.creator));
	peer_expect_failure(&s.creator, open_detach(&s.creator, "silent"), WIRE_REFUSED, &err);
	CHECK(err.code == COVE_E_LIMIT || err.code == COVE_E_STATE);
	peer_expect_goodbye(&s.creator, COVE_END_VMM_DIED);
	finish(&s);
}

/* Before there is a sandbox. */
static void test_before(void)
{
	struct supervised s;
	struct cove_error err;
	peer_use_fake_guest();
	supervised_start(&s);
	uint32_t stream = open_detach(&s.creator, "run");
	peer_expect_failure(&s.creator, stream, WIRE_REFUSED, &err);
	CHECK_INT(err.code, ==, COVE_E_STATE);
	peer_done(&s.creator);
	CHECK_INT(supervised_wait(&s), ==, 0);
}

/* ---- guests that lie ---- */

static void test_hostile(void)
{
	static const char *const lies[] = { "rude", "failing", "twice" };
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct supervised s;
		create(&s, "box");
		open_detach(&s.creator, lies[i]);
		peer_expect_goodbye(&s.creator, COVE_END_GUEST_HOSTILE);
		finish(&s);
	}
}

static const struct tap_test tests[] = {
	{ "let go", test_detach },
	{ "refused", test_refused },
	{ "one session in the place of another", test_replace },
	{ "a session that has ended", test_ended },
	{ "the link starts anew", test_resync },
	{ "a session ends while the link is down", test_vanished },
	{ "no answer", test_unanswered },
	{ "while it stops", test_stopping },
	{ "its session ends as it stops", test_ends_by_stop },
	{ "no link to the guest", test_no_link },
	{ "before there is a sandbox", test_before },
	{ "guests that lie", test_hostile, .timeout_s = 60 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
