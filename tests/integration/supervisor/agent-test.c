/* SPDX-License-Identifier: Apache-2.0 */

/* The supervisor and the real agent, which is a process here. */

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "cove/types.h"
#include "peer.h"

static struct peer_stream *exec_script(struct peer *p, const char *script)
{
	struct peer_stream *e = calloc(1, sizeof(*e));
	CHECK(e);
	e->text = true;
	Cove__Wire__Exec m = COVE__WIRE__EXEC__INIT;
	ProtobufCBinaryData argv[] = { wire_string(script) };
	m.has_shell = m.shell = true;
	m.n_argv = 1;
	m.argv = argv;
	CHECK_OK(wire_open_message(p->link, WIRE_EXEC, &m.base, e, &e->id));
	list_append(&p->streams, &e->entry);
	return e;
}

/* Waits for its end: how, and what it wrote. */
static void expect_exit(struct peer *p, struct peer_stream *e, uint32_t cause, int32_t code)
{
	ProtobufCMessage *m =
		peer_expect_message(p, e->id, WIRE_EXITED, &cove__wire__exited__descriptor);
	const Cove__Wire__Exited *exited = (const Cove__Wire__Exited *)m;
	CHECK_INT(exited->cause, ==, cause);
	CHECK_INT(exited->code, ==, code);
	PEER_WAIT(p, e->bytes[WIRE_STDOUT] >= exited->stdout_total);
	CHECK_INT(e->bytes[WIRE_STDOUT], ==, exited->stdout_total);
	wire_message_free(m);
}

static void start(struct supervised *s, const char *name)
{
	ProtobufCBinaryData env[] = { wire_string("BOTH=sandbox"), wire_string("OWN=own") };
	Cove__Wire__Create m = peer_create(name);
	m.has_cwd = true;
	m.cwd = wire_string("/usr");
	m.n_env = ARRAY_SIZE(env);
	m.env = env;
	supervised_create(s, name, &m);
}

static void test_commands(void)
{
	struct supervised s;
	start(&s, "agent");
	struct peer_stream *e = exec_script(&s.creator, "echo $FROM_IMAGE $BOTH $OWN; pwd; exit 3");
	free(peer_expect(&s.creator, e->id, WIRE_STARTED));
	expect_exit(&s.creator, e, 0, 3);
	CHECK_STR(e->head, "image sandbox own\n/usr\n");
	peer_close(&s.creator, e->id);

	e = exec_script(&s.creator, "head -c 30000000 /dev/zero");
	free(peer_expect(&s.creator, e->id, WIRE_STARTED));
	expect_exit(&s.creator, e, 0, 0);
	CHECK_INT(e->bytes[WIRE_STDOUT], ==, 30000000);
	peer_close(&s.creator, e->id);
	peer_done(&s.creator);
	CHECK_INT(supervised_wait(&s), ==, 0);
}

/* An orderly stop: the commands end by it, say something still, and all of that arrives. */
static void test_stop(void)
{
	struct supervised s;
	start(&s, "stop");
	struct peer_stream *e = exec_script(
		&s.creator, "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.01; done");
	free(peer_expect(&s.creator, e->id, WIRE_STARTED));
	PEER_WAIT(&s.creator, e->bytes[WIRE_STDOUT] == 3);
	Cove__Wire__StopRequest stop = COVE__WIRE__STOP_REQUEST__INIT;
	uint32_t stream = peer_open(&s.creator, WIRE_STOP, &stop.base);
	expect_exit(&s.creator, e, 6, 5);
	CHECK_STR(e->head, "up\nbye\n");
	free(peer_expect(&s.creator, stream, WIRE_SANDBOX));
	peer_expect_goodbye(&s.creator, COVE_END_STOPPED);
	peer_done(&s.creator);
	CHECK_INT(supervised_wait(&s), ==, 0);
}

/* A client that dies takes nothing with it; another finds the session. */
static void test_client_dies(void)
{
	struct supervised s;
	struct peer one, two;
	start(&s, "client");
	peer_connect(&one, "client");
	struct peer_stream *e =
		exec_script(&one, "echo up; read line </dev/null; sleep 0.2; echo done");
	ProtobufCMessage *m =
		peer_expect_message(&one, e->id, WIRE_STARTED, &cove__wire__started__descriptor);
	PEER_WAIT(&one, e->bytes[WIRE_STDOUT] == 3);

	Cove__Wire__Attach attach = COVE__WIRE__ATTACH__INIT;
	attach.id = ((const Cove__Wire__Started *)m)->id;
	peer_done(&one);
	peer_connect(&two, "client");
	struct peer_stream *again = calloc(1, sizeof(*again));
	CHECK(again);
	again->text = true;
	CHECK_OK(wire_open_message(two.link, WIRE_ATTACH, &attach.base, again, &again->id));
	list_append(&two.streams, &again->entry);
	wire_message_free(m);
	free(peer_expect(&two, again->id, WIRE_STARTED));
	expect_exit(&two, again, 0, 0);
	CHECK_STR(again->head, "up\ndone\n");
	peer_done(&two);
	peer_done(&s.creator);
	CHECK_INT(supervised_wait(&s), ==, 0);
}

static void test_agent_killed(void)
{
	struct supervised s;
	start(&s, "killed");
	exec_script(&s.creator, "kill -KILL $PPID; sleep 1000");
	peer_expect_goodbye(&s.creator, COVE_END_GUEST_PANIC);
	peer_done(&s.creator);
	CHECK_INT(supervised_wait(&s), ==, 0);
}

static const struct tap_test tests[] = {
	{ "commands", test_commands },
	{ "an orderly stop", test_stop },
	{ "a client that dies", test_client_dies },
	{ "the agent is killed", test_agent_killed },
};

int main(int argc, char **argv)
{
	unsetenv("COVE_TEST_AGENT");
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
