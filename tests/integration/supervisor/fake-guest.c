/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A guest for the tests of the supervisor: speaks the protocol like the agent, runs nothing, and
 * does what an honest agent would never do where it is asked to. COVE_TEST_GUEST says how it
 * behaves while it starts and stops, the first word of a command what that command does.
 */

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "pattern.h"
#include "wire/message.h"

/* As many as a stream's window, so that echo never holds more. */
#define ECHO_MAX WIRE_WINDOW_MAX

struct session {
	uint32_t stream;
	struct buffer echo; /* "cat" */
	uint64_t offset;    /* of the next byte of stdout */
	uint64_t left;	    /* "spew": bytes to come */
	bool echoes, gaps, spews;
	bool ended;
};

static struct wire_link *the_link;
static int the_fd;
static uint32_t flooded; /* the stream of "acks" */
static uint32_t viewed;	 /* the last stream of ATTACH that was accepted */
static uint32_t viewed_before;
static unsigned attaches;

static const char *mode(void)
{
	const char *m = getenv("COVE_TEST_GUEST");
	return m ? m : "";
}

static void check(int r)
{
	if (r < 0) {
		fprintf(stderr, "fake-guest: %s\n", strerror(-r));
		_exit(1);
	}
}

static void send_raw(const void *p, size_t n)
{
	check(fd_write_full(the_fd, p, n));
}

/* ---- sending ---- */

static void flush(void)
{
	struct iovec iov[16];
	int n;
	while ((n = wire_link_output(the_link, iov, 16)) > 0) {
		ssize_t k = writev(the_fd, iov, n);
		if (k < 0)
			check(-errno);
		wire_link_sent(the_link, (size_t)k);
	}
}

static void send_exited(struct session *session, uint32_t cause, int32_t code, uint64_t total)
{
	Cove__Wire__Exited m = COVE__WIRE__EXITED__INIT;
	if (session->ended)
		return;
	session->ended = true;
	m.cause = cause;
	m.code = code;
	m.has_stdout_total = true;
	m.stdout_total = total;
	check(wire_link_send_eof(the_link, session->stream, WIRE_STDOUT, m.stdout_total));
	check(wire_send_message(the_link, session->stream, WIRE_EXITED, &m.base));
}

static void send_ack(uint32_t stream, uint32_t request)
{
	Cove__Wire__Ack m = COVE__WIRE__ACK__INIT;
	m.request = request;
	check(wire_send_message(the_link, stream, WIRE_ACK, &m.base));
}

static size_t peek(void *userdata, uint32_t stream, unsigned channel, size_t max,
		   struct wire_chunk *ret)
{
	struct session *session = userdata;
	(void)stream;
	if (channel != WIRE_STDOUT)
		return 0;
	ret->iov[1].iov_len = 0;
	ret->offset = session->offset;
	if (session->gaps) {
		ret->offset = session->offset += 10;
		ret->iov[0] = (struct iovec){ (void *)pattern_at(ret->offset), 1 };
		return 1;
	}
	size_t n = session->spews ? (size_t)MIN(session->left, (uint64_t)WIRE_DATA_MAX)
				  : session->echo.size;
	n = MIN(n, max);
	ret->iov[0].iov_base =
		session->spews ? (void *)pattern_at(session->offset) : buffer_front(&session->echo);
	ret->iov[0].iov_len = n;
	return n;
}

static void consumed(void *userdata, uint32_t stream, unsigned channel, size_t n)
{
	struct session *session = userdata;
	(void)channel;
	session->offset += n;
	if (session->spews)
		session->left -= n;
	if (!session->echoes)
		return;
	buffer_consume(&session->echo, n);
	check(wire_link_consumed(the_link, stream, WIRE_STDIN, n));
}

/* ---- commands ---- */

static void overrun(uint32_t stream)
{
	static uint8_t frame[WIRE_HEADER_SIZE + WIRE_PAYLOAD_MAX];
	struct wire_header h = { .length = WIRE_PAYLOAD_MAX, .type = WIRE_DATA, .stream = stream };
	h.flags = WIRE_STDOUT;
	wire_header_encode(&h, frame);
	for (uint64_t offset = 0; offset <= WIRE_INITIAL_WINDOW; offset += WIRE_DATA_MAX) {
		wire_put_u64(frame + WIRE_HEADER_SIZE, offset);
		send_raw(frame, sizeof(frame));
	}
}

static void lie(uint32_t stream)
{
	uint8_t header[WIRE_HEADER_SIZE] = { 0xff, 0xff, 0xff, 0xff, WIRE_STARTED };
	wire_put_u32(header + 8, stream);
	send_raw(header, sizeof(header));
}

static void send_big(uint32_t stream)
{
	static char id[2 * 1024 * 1024];
	Cove__Wire__Started m = COVE__WIRE__STARTED__INIT;
	memset(id, 'x', sizeof(id));
	m.id = wire_bytes(id, sizeof(id));
	check(wire_send_message(the_link, stream, WIRE_STARTED, &m.base));
}

/* The stream that was looked at before this one, if it is still open. */
static void end_previous(void)
{
	Cove__Wire__Exited m = COVE__WIRE__EXITED__INIT;
	int r = wire_send_message(the_link, viewed_before, WIRE_EXITED, &m.base);
	check(r == -ENOENT ? 0 : r);
}

static void run(struct session *session, const char *command, const char *argument)
{
	uint32_t stream = session->stream;
	if (!strcmp(command, "overrun"))
		overrun(stream);
	else if (!strcmp(command, "lie"))
		lie(stream);
	else if (!strcmp(command, "ready"))
		check(wire_link_send(the_link, stream, WIRE_READY, NULL, 0));
	else if (!strcmp(command, "resync"))
		check(wire_link_resync(the_link, 0));
	else if (!strcmp(command, "die"))
		_exit(3);
	else if (!strcmp(command, "off"))
		_exit(0);
	else if (!strcmp(command, "hang up"))
		for (flush(), close(the_fd);;)
			pause();
	else if (!strcmp(command, "freeze"))
		for (flush();;)
			pause();
	else if (!strcmp(command, "acks"))
		flooded = stream;
	else if (!strcmp(command, "big"))
		send_big(stream);
	else if (!strcmp(command, "exit"))
		send_exited(session, 0, 0, 0);
	else if (!strcmp(command, "attaches"))
		send_exited(session, 0, (int32_t)attaches, 0);
	else if (!strcmp(command, "end") && viewed)
		send_exited(&(struct session){ .stream = viewed }, 0, 0, 1);
	else if (!strcmp(command, "end-previous"))
		end_previous();
	else if (!strcmp(command, "cat"))
		session->echoes = true;
	else if (!strcmp(command, "gaps"))
		session->gaps = true;
	else if (!strcmp(command, "spew")) {
		session->spews = true;
		session->left = strtoull(argument, NULL, 10);
		send_exited(session, 0, 0, session->left);
	}
	wire_link_ready(the_link, stream, WIRE_STDOUT);
}

static char *word(const Cove__Wire__Exec *m, size_t i)
{
	char *s = NULL;
	if (i < m->n_argv)
		check(wire_bytes_to_string(&m->argv[i], &s));
	return s ? s : strdup("");
}

static void on_exec(const struct wire_event *event)
{
	ProtobufCMessage *m =
		wire_message_unpack(&cove__wire__exec__descriptor, event->data, event->size);
	struct session *session = calloc(1, sizeof(*session));
	if (!m || !session)
		_exit(1);
	session->stream = event->stream;
	buffer_init(&session->echo, ECHO_MAX);
	wire_link_set_userdata(the_link, event->stream, session);

	const Cove__Wire__Exec *exec = (const Cove__Wire__Exec *)m;
	_cleanup_free_ char *command = word(exec, 0), *argument = word(exec, 1);
	if (strcmp(command, "big") != 0) {
		Cove__Wire__Started started = COVE__WIRE__STARTED__INIT;
		started.id = wire_string(command);
		started.pid = 1;
		check(wire_send_message(the_link, event->stream, WIRE_STARTED, &started.base));
	}
	run(session, command, argument);
	wire_message_free(m);
}

/* ---- looking at sessions ---- */

/* A byte that nobody wants. */
static void send_byte(uint32_t stream)
{
	uint8_t frame[WIRE_HEADER_SIZE + 9] = { 0 };
	struct wire_header h = { .length = 9, .type = WIRE_DATA, .stream = stream };
	h.flags = WIRE_STDOUT;
	wire_header_encode(&h, frame);
	flush();
	send_raw(frame, sizeof(frame));
}

static void refuse(uint32_t stream, int code)
{
	struct cove_error err;
	error_set_origin(COVE_ORIGIN_GUEST);
	error_set(&err, code, "no session");
	check(wire_send_failure(the_link, stream, WIRE_FAILED, &err));
}

/* What is done with the session is its id. */
static void on_attach(const struct wire_event *event)
{
	ProtobufCMessage *m =
		wire_message_unpack(&cove__wire__attach__descriptor, event->data, event->size);
	if (!m)
		_exit(1);
	const Cove__Wire__Attach *attach = (const Cove__Wire__Attach *)m;
	_cleanup_free_ char *id = NULL;
	uint32_t stream = event->stream;
	struct session session = { .stream = stream };
	check(wire_bytes_to_string(&attach->id, &id));
	check(attach->lossy && !attach->write ? 0 : -EPROTO);
	attaches++;
	bool again = attaches > 1;
	if (!strcmp(id, "none") || (!strcmp(id, "vanishes") && again)) {
		refuse(stream, COVE_E_NOT_FOUND);
	} else if (!strcmp(id, "gone")) {
		refuse(stream, COVE_E_GONE);
	} else if (!strcmp(id, "rude")) {
		send_exited(&session, 0, 0, 0);
	} else if (strcmp(id, "silent") != 0) {
		Cove__Wire__Started started = COVE__WIRE__STARTED__INIT;
		started.id = wire_bytes(attach->id.data, attach->id.len);
		started.pid = 1;
		check(wire_send_message(the_link, stream, WIRE_STARTED, &started.base));
		send_byte(stream);
		viewed_before = viewed;
		viewed = stream;
		if (!strcmp(id, "failing"))
			refuse(stream, COVE_E_LIMIT);
		if (!strcmp(id, "ended"))
			send_exited(&session, 0, 0, 1);
		if (!strcmp(id, "twice"))
			check(wire_send_message(the_link, stream, WIRE_STARTED, &started.base));
	}
	wire_message_free(m);
}

/* ---- what comes in ---- */

static void on_start(uint32_t stream)
{
	if (!strcmp(mode(), "not-ready")) {
		struct cove_error err;
		error_set_origin(COVE_ORIGIN_GUEST);
		error_set_errno(&err, COVE_E_BOOT, ENODEV, "mounting /dev/vda");
		check(wire_send_failure(the_link, stream, WIRE_NOT_READY, &err));
		return;
	}
	Cove__Wire__Ready ready = COVE__WIRE__READY__INIT;
	ready.kernel = (char *)"0.0-fake\033[31m";
	check(wire_send_message(the_link, stream, WIRE_READY, &ready.base));
}

static void on_message(const struct wire_event *event)
{
	struct session *session = event->userdata;
	switch (event->type) {
	case WIRE_START:
		on_start(event->stream);
		break;
	case WIRE_EXEC:
		on_exec(event);
		break;
	case WIRE_ATTACH:
		on_attach(event);
		break;
	case WIRE_MUTE:
		break;
	case WIRE_KILL:
		send_ack(event->stream, 1);
		send_exited(session, 4, 137, session->offset);
		break;
	case WIRE_SHUTDOWN:
		if (!strcmp(mode(), "no-shutdown"))
			break;
		check(wire_link_send(the_link, event->stream, WIRE_DOWN, NULL, 0));
		flush();
		_exit(0);
	default:
		check(-EPROTO);
	}
}

static void on_event(const struct wire_event *event)
{
	struct session *session = event->userdata;
	switch (event->kind) {
	case WIRE_EVENT_MESSAGE:
		on_message(event);
		break;
	case WIRE_EVENT_DATA:
		if (session->echoes) {
			check(buffer_append(&session->echo, event->data, event->size));
			wire_link_ready(the_link, event->stream, WIRE_STDOUT);
		}
		break;
	case WIRE_EVENT_EOF:
		/* Before the last of the data, perhaps: this says how much there is. */
		send_exited(session, 0, 0, event->offset);
		break;
	case WIRE_EVENT_CLOSE:
		dprintf(STDERR_FILENO, "closed %u\n", event->stream);
		if (flooded == event->stream)
			flooded = 0;
		if (viewed == event->stream)
			viewed = 0;
		if (session)
			buffer_done(&session->echo);
		free(session);
		break;
	default:
		break;
	}
}

static void receive(void)
{
	uint8_t *p;
	size_t size;
	struct wire_event event;
	wire_link_input(the_link, &p, &size);
	ssize_t n = read(the_fd, p, size);
	if (n <= 0)
		_exit(1);
	wire_link_received(the_link, (size_t)n);
	int r;
	while ((r = wire_link_next(the_link, &event)) > 0)
		on_event(&event);
	check(r);
}

int main(int argc, char **argv)
{
	if (argc != 3 || strcmp(argv[1], "--fd") != 0)
		return 2;
	the_fd = atoi(argv[2]);
	if (!strcmp(mode(), "silent"))
		pause();
	if (!strcmp(mode(), "crash"))
		return 3;
	if (!strcmp(mode(), "garbage"))
		for (;;)
			send_raw(argv, 64);

	struct wire_link_options options = {
		.role = WIRE_RESPONDER,
		.software = "fake-guest",
		.source = { .peek = peek, .consumed = consumed },
	};
	check(wire_link_new(&options, &the_link));
	check(fd_set_nonblocking(the_fd, false));
	for (;;) {
		while (flooded && wire_link_queued(the_link) < WIRE_CONTROL_QUEUE_HIGH)
			send_ack(flooded, 7);
		flush();
		struct pollfd p = { .fd = the_fd, .events = POLLIN };
		if (poll(&p, 1, flooded ? 0 : -1) > 0)
			receive();
		if (!strcmp(mode(), "resync-forever"))
			check(wire_link_resync(the_link, 0));
	}
}
