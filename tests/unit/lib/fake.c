/* SPDX-License-Identifier: Apache-2.0 */
#include "fake.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness/tap.h"
#include "lib/sandbox.h"

struct chunk {
	struct list entry;
	uint32_t stream;
	unsigned channel;
	uint64_t offset;
	size_t size;
	size_t sent;
	bool echo;
	uint8_t data[];
};

/* ---- the engine ---- */

static struct chunk *find(struct fake *f, uint32_t stream, unsigned channel)
{
	LIST_FOREACH (i, &f->chunks) {
		struct chunk *chunk = LIST_ENTRY(i, struct chunk, entry);
		if (chunk->stream == stream && chunk->channel == channel)
			return chunk;
	}
	return NULL;
}

static size_t peek(void *userdata, uint32_t stream, unsigned channel, size_t max,
		   struct wire_chunk *ret)
{
	struct chunk *chunk = find(userdata, stream, channel);
	if (!chunk)
		return 0;
	size_t n = MIN(max, chunk->size - chunk->sent);
	*ret = (struct wire_chunk){ .offset = chunk->offset + chunk->sent };
	ret->iov[0] = (struct iovec){ chunk->data + chunk->sent, n };
	return n;
}

static void consumed(void *userdata, uint32_t stream, unsigned channel, size_t n)
{
	struct fake *f = userdata;
	struct chunk *chunk = find(f, stream, channel);
	chunk->sent += n;
	if (chunk->echo)
		f->echoed += n;
	if (chunk->sent < chunk->size)
		return;
	list_remove(&chunk->entry);
	free(chunk);
}

static void flush(struct fake *f)
{
	struct iovec iov[16];
	int n;
	while (!f->gone && !f->deaf && !f->mute && (n = wire_link_output(f->link, iov, 16)) > 0) {
		struct msghdr m = { .msg_iov = iov, .msg_iovlen = (size_t)n };
		ssize_t k = sendmsg(f->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		int e = k < 0 ? errno : 0;
		wire_link_sent(f->link, k > 0 ? (size_t)k : 0);
		if (e == EPIPE || e == ECONNRESET)
			f->deaf = true; /* what it said before is still there to be read */
		else if (e == EAGAIN)
			return;
		else
			CHECK_INT(e, ==, 0);
	}
}

/* Waits for the socket, and reads. After flush(): what can be written must be. */
static void turn(struct fake *f)
{
	uint8_t *p;
	size_t n;
	if (f->gone)
		return;
	bool blocked = wire_link_wants_output(f->link) && !f->mute && !f->deaf;
	struct pollfd fd = { f->fd, (short)(POLLIN | (blocked ? POLLOUT : 0)), 0 };
	CHECK_SYS(poll(&fd, 1, -1));
	if (!(fd.revents & (POLLIN | POLLHUP)))
		return;
	wire_link_input(f->link, &p, &n);
	ssize_t k = recv(f->fd, p, n, MSG_DONTWAIT);
	if (k == 0 || (k < 0 && errno == ECONNRESET))
		f->gone = true;
	else if (k > 0)
		wire_link_received(f->link, (size_t)k);
}

static bool next(struct fake *f, struct wire_event *event)
{
	int r = wire_link_next(f->link, event);
	if (r < 0)
		tap_note("the client broke the protocol: %s", wire_link_error(f->link));
	CHECK_OK(r);
	return r > 0;
}

bool fake_next(struct fake *f, struct wire_event *event)
{
	for (;;) {
		while (next(f, event))
			if (event->kind == WIRE_EVENT_MESSAGE || event->kind == WIRE_EVENT_DATA ||
			    event->kind == WIRE_EVENT_EOF || event->kind == WIRE_EVENT_CLOSE)
				return true;
		flush(f);
		if (f->gone)
			return false;
		turn(f);
	}
}

void fake_drain(struct fake *f)
{
	struct wire_event event;
	for (;;) {
		while (next(f, &event)) {
			if (event.kind != WIRE_EVENT_MESSAGE)
				continue;
			CHECK_STR(wire_type_info(event.type)->name, "KILL");
			f->kills++;
		}
		flush(f);
		if (f->gone || list_empty(&f->chunks))
			return;
		turn(f);
	}
}

/* ---- messages ---- */

uint32_t fake_expect(struct fake *f, uint8_t type)
{
	struct wire_event event;
	CHECK(fake_next(f, &event));
	CHECK_INT(event.kind, ==, WIRE_EVENT_MESSAGE);
	CHECK_STR(wire_type_info(event.type)->name, wire_type_info(type)->name);
	return event.stream;
}

Cove__Wire__Exec *fake_expect_exec(struct fake *f, uint32_t *ret_stream)
{
	struct wire_event event;
	do
		CHECK(fake_next(f, &event));
	while (event.kind == WIRE_EVENT_CLOSE); /* of the one before */
	CHECK_INT(event.kind, ==, WIRE_EVENT_MESSAGE);
	CHECK_INT(event.type, ==, WIRE_EXEC);
	ProtobufCMessage *m =
		wire_message_unpack(&cove__wire__exec__descriptor, event.data, event.size);
	CHECK(m);
	*ret_stream = event.stream;
	return (Cove__Wire__Exec *)m;
}

void fake_send(struct fake *f, uint32_t stream, uint8_t type, const ProtobufCMessage *message)
{
	CHECK_OK(wire_send_message(f->link, stream, type, message));
	flush(f);
}

void fake_started(struct fake *f, uint32_t stream)
{
	Cove__Wire__Started m = COVE__WIRE__STARTED__INIT;
	m.id = wire_string("s1");
	m.pid = 42;
	fake_send(f, stream, WIRE_STARTED, &m.base);
}

void fake_exited(struct fake *f, uint32_t stream, uint64_t stdout_total, uint64_t stderr_total)
{
	Cove__Wire__Exited m = COVE__WIRE__EXITED__INIT;
	m.has_stdout_total = m.has_stderr_total = true;
	m.stdout_total = stdout_total;
	m.stderr_total = stderr_total;
	fake_send(f, stream, WIRE_EXITED, &m.base);
}

void fake_failed(struct fake *f, uint32_t stream, uint8_t type, int code, const char *text)
{
	Cove__Wire__Failure m = COVE__WIRE__FAILURE__INIT;
	m.code = code;
	m.has_os_errno = m.has_stage = m.has_origin = m.has_text = true;
	m.os_errno = ENOENT;
	m.stage = COVE_STAGE_EXEC;
	m.origin = COVE_ORIGIN_GUEST;
	m.text = wire_string(text);
	fake_send(f, stream, type, &m.base);
}

void fake_ack(struct fake *f, uint32_t stream, uint32_t request, int code)
{
	Cove__Wire__Failure failure = COVE__WIRE__FAILURE__INIT;
	Cove__Wire__Ack m = COVE__WIRE__ACK__INIT;
	m.request = request;
	failure.code = code;
	if (code)
		m.failure = &failure;
	fake_send(f, stream, WIRE_ACK, &m.base);
}

void fake_goodbye(struct fake *f, unsigned cause, const char *text)
{
	uint8_t packed[512];
	Cove__Wire__Goodbye m = COVE__WIRE__GOODBYE__INIT;
	m.cause = cause;
	m.text = (char *)text;
	size_t n = cove__wire__goodbye__pack(&m, packed);
	CHECK_OK(wire_link_goodbye(f->link, packed, n));
	flush(f);
}

static struct chunk *queue(struct fake *f, uint32_t stream, unsigned channel, uint64_t offset,
			   const void *data, size_t n)
{
	struct chunk *chunk = malloc(sizeof(*chunk) + n);
	CHECK(chunk);
	*chunk = (struct chunk){ .stream = stream, .channel = channel };
	chunk->offset = offset;
	chunk->size = n;
	memcpy(chunk->data, data, n);
	list_append(&f->chunks, &chunk->entry);
	return chunk;
}

void fake_data(struct fake *f, uint32_t stream, unsigned channel, uint64_t offset, const void *data,
	       size_t n)
{
	if (n == 0)
		return;
	queue(f, stream, channel, offset, data, n);
	wire_link_ready(f->link, stream, channel);
}

void fake_cat(struct fake *f, uint32_t stream)
{
	struct wire_event event;
	uint64_t total = UINT64_MAX, received = 0;
	f->echoed = 0;
	while (received < total || !list_empty(&f->chunks)) {
		while (next(f, &event)) {
			if (event.stream != stream)
				continue;
			if (event.kind == WIRE_EVENT_EOF)
				total = event.offset;
			if (event.kind != WIRE_EVENT_DATA)
				continue;
			CHECK_INT(event.offset, ==, received);
			struct chunk *chunk =
				queue(f, stream, WIRE_STDOUT, event.offset, event.data, event.size);
			chunk->echo = true;
			received += event.size;
			wire_link_ready(f->link, stream, WIRE_STDOUT);
		}
		flush(f);
		CHECK(!f->gone);
		if (f->echoed > 0) {
			CHECK_OK(wire_link_consumed(f->link, stream, WIRE_STDIN, f->echoed));
			f->echoed = 0;
			continue;
		}
		if (received < total || !list_empty(&f->chunks))
			turn(f);
	}
	fake_exited(f, stream, total, 0);
}

void fake_until_closed(struct fake *f, uint32_t stream)
{
	struct wire_event event;
	while (fake_next(f, &event))
		if (event.kind == WIRE_EVENT_CLOSE && event.stream == stream)
			return;
}

/* ---- life ---- */

static void prepare(struct fake *f, int fd, void (*script)(struct fake *f), void *data)
{
	*f = (struct fake){ .fd = fd, .script = script, .data = data };
	list_init(&f->chunks);
	CHECK_OK(wire_link_new(
		&(struct wire_link_options){
			.role = WIRE_RESPONDER,
			.software = "fake",
			.source = { .peek = peek, .consumed = consumed },
			.userdata = f,
		},
		&f->link));
}

static void *run(void *data)
{
	struct fake *f = data;
	f->script(f);
	flush(f);
	close(f->fd);
	while (!list_empty(&f->chunks)) {
		struct chunk *chunk = LIST_ENTRY(f->chunks.next, struct chunk, entry);
		list_remove(&chunk->entry);
		free(chunk);
	}
	wire_link_free(f->link);
	return NULL;
}

void fake_run(struct fake *f, int fd, void (*script)(struct fake *f), void *data)
{
	prepare(f, fd, script, data);
	run(f);
}

cove_sandbox *fake_start(struct fake *f, void (*script)(struct fake *f), void *data)
{
	int fds[2];
	CHECK_SYS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
	prepare(f, fds[1], script, data);

	cove_sandbox *s = calloc(1, sizeof(*s));
	CHECK(s);
	s->supervisor = s->child = (struct supervisor)SUPERVISOR_NONE;
	strcpy(s->name, "fake");
	CHECK_OK(connection_new(fds[0], "fake", &s->connection));
	/* Signals are for the test. */
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	CHECK_INT(pthread_create(&f->thread, NULL, run, f), ==, 0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return s;
}

void fake_end(struct fake *f, cove_sandbox *sandbox)
{
	cove_sandbox_free(sandbox);
	CHECK_INT(pthread_join(f->thread, NULL), ==, 0);
}
