/* SPDX-License-Identifier: Apache-2.0 */
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "pattern.h"

uint64_t peer_deadline(void)
{
	return clock_monotonic_ms() + PEER_TIMEOUT_MS;
}

/* ---- the process ---- */

void supervised_start(struct supervised *s)
{
	int fds[2];
	char path[512], number[16];
	const char *folder = getenv("COVE_LIBEXEC_DIR");
	CHECK(folder);
	CHECK_SYS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
	snprintf(path, sizeof(path), "%s/cove-supervisor", folder);
	snprintf(number, sizeof(number), "%d", fds[1]);
	s->pid = (pid_t)CHECK_SYS(fork());
	if (s->pid == 0) {
		fcntl(fds[1], F_SETFD, 0);
		execl(path, path, "--fd", number, (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	peer_init(&s->creator, fds[0]);
}

Cove__Wire__Create peer_create(const char *name)
{
	Cove__Wire__Create m = COVE__WIRE__CREATE__INIT;
	m.name = (char *)name;
	m.image = (char *)"test";
	return m;
}

void supervised_create(struct supervised *s, const char *name, const Cove__Wire__Create *create)
{
	Cove__Wire__Create m = create ? *create : peer_create(name);
	m.name = (char *)name;
	supervised_start(s);
	uint32_t stream = peer_open(&s->creator, WIRE_CREATE, &m.base);
	free(peer_expect(&s->creator, stream, WIRE_SANDBOX));
	peer_close(&s->creator, stream);
}

int supervised_wait(struct supervised *s)
{
	int status;
	CHECK(tap_process_ends(s->pid, PEER_TIMEOUT_MS));
	CHECK_INT(waitpid(s->pid, &status, 0), ==, s->pid);
	return status;
}

/* ---- the link ---- */

static size_t peek(void *userdata, uint32_t stream, unsigned channel, size_t max,
		   struct wire_chunk *ret)
{
	struct peer_stream *s = userdata;
	(void)stream;
	(void)channel;
	size_t n = (size_t)MIN(s->stdin_left, (uint64_t)max);
	*ret = (struct wire_chunk){ .offset = s->stdin_offset };
	ret->iov[0] = (struct iovec){ (void *)pattern_at(s->stdin_offset), n };
	return n;
}

static void consumed(void *userdata, uint32_t stream, unsigned channel, size_t n)
{
	struct peer_stream *s = userdata;
	(void)stream;
	(void)channel;
	s->stdin_left -= n;
	s->stdin_offset += n;
}

void peer_init(struct peer *p, int fd)
{
	static uint64_t nonce = 1;
	struct wire_link_options options = {
		.role = WIRE_INITIATOR,
		.nonce = nonce++,
		.software = "test",
		.source = { .peek = peek, .consumed = consumed },
	};
	*p = (struct peer){ .fd = fd };
	list_init(&p->streams);
	list_init(&p->messages);
	CHECK_OK(fd_set_nonblocking(fd, true));
	CHECK_OK(wire_link_new(&options, &p->link));
}

void peer_connect(struct peer *p, const char *name)
{
	/* From inside the folder, since its path may be too long for an address. */
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char folder[1024];
	snprintf(folder, sizeof(folder), "%s/run/sandboxes", getenv("COVE_HOME"));
	int dir = (int)CHECK_SYS(open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s.sock", dir, name);
	int fd = (int)CHECK_SYS(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	CHECK_SYS(connect(fd, (struct sockaddr *)&address, sizeof(address)));
	close(dir);
	peer_init(p, fd);
}

void peer_done(struct peer *p)
{
	LIST_FOREACH_SAFE (i, &p->streams) {
		free(LIST_ENTRY(i, struct peer_stream, entry));
	}
	LIST_FOREACH_SAFE (i, &p->messages) {
		free(LIST_ENTRY(i, struct peer_message, entry));
	}
	wire_link_free(p->link);
	close(p->fd);
}

static void on_message(struct peer *p, const struct wire_event *event)
{
	struct peer_message *m = malloc(sizeof(*m) + event->size);
	CHECK(m);
	m->stream = event->stream;
	m->type = event->type;
	m->size = event->size;
	memcpy(m->data, event->data, event->size);
	list_append(&p->messages, &m->entry);
}

static void on_data(struct peer *p, const struct wire_event *event)
{
	struct peer_stream *s = event->userdata;
	CHECK(s);
	s->bytes[event->channel] += event->size;
	s->next[event->channel] = event->offset + event->size;
	if (!s->text)
		s->wrong = s->wrong ||
			   memcmp(event->data, pattern_at(event->offset), event->size) != 0;
	else if (event->channel == WIRE_STDOUT && event->offset + event->size < sizeof(s->head))
		memcpy(s->head + event->offset, event->data, event->size);
	if (!s->slow)
		CHECK_OK(wire_link_consumed(p->link, event->stream, event->channel, event->size));
}

static void on_goodbye(struct peer *p, const struct wire_event *event)
{
	ProtobufCMessage *m =
		wire_message_unpack(&cove__wire__goodbye__descriptor, event->data, event->size);
	const Cove__Wire__Goodbye *goodbye = (const Cove__Wire__Goodbye *)m;
	CHECK(goodbye);
	p->goodbye = true;
	p->cause = goodbye->cause;
	snprintf(p->text, sizeof(p->text), "%s", goodbye->text ? goodbye->text : "");
	wire_message_free(m);
}

static void on_event(struct peer *p, const struct wire_event *event)
{
	struct peer_stream *s = event->userdata;
	switch (event->kind) {
	case WIRE_EVENT_HELLO:
		p->hello = true;
		break;
	case WIRE_EVENT_MESSAGE:
		on_message(p, event);
		break;
	case WIRE_EVENT_DATA:
		on_data(p, event);
		break;
	case WIRE_EVENT_EOF:
		s->eof[event->channel] = true;
		s->totals[event->channel] = event->offset;
		break;
	case WIRE_EVENT_GOODBYE:
		on_goodbye(p, event);
		break;
	default:
		break;
	}
}

void peer_flush(struct peer *p)
{
	struct iovec iov[16];
	int n;
	while ((n = wire_link_output(p->link, iov, 16)) > 0) {
		struct msghdr message = { .msg_iov = iov, .msg_iovlen = (size_t)n };
		ssize_t k = sendmsg(p->fd, &message, MSG_NOSIGNAL);
		wire_link_sent(p->link, k < 0 ? 0 : (size_t)k);
		if (k < 0)
			return; /* full, or closed: reading will tell */
	}
}

void peer_pump(struct peer *p, uint64_t deadline)
{
	struct wire_event event;
	uint8_t *data;
	size_t size;
	LIST_FOREACH (i, &p->streams) {
		struct peer_stream *s = LIST_ENTRY(i, struct peer_stream, entry);
		if (s->stdin_eof && s->stdin_left == 0) {
			s->stdin_eof = false;
			CHECK_OK(wire_link_send_eof(p->link, s->id, WIRE_STDIN, s->stdin_offset));
		}
	}
	peer_flush(p);
	struct pollfd poll_fd = { .fd = p->fd, .events = POLLIN };
	if (wire_link_wants_output(p->link))
		poll_fd.events |= POLLOUT;
	uint64_t now = clock_monotonic_ms();
	if (poll(&poll_fd, 1, now < deadline ? (int)(deadline - now) : 0) <= 0)
		return;
	if (!(poll_fd.revents & (POLLIN | POLLHUP | POLLERR)))
		return;
	wire_link_input(p->link, &data, &size);
	ssize_t n = read(p->fd, data, size);
	if (n <= 0) {
		p->closed = n == 0 || errno != EAGAIN;
		return;
	}
	wire_link_received(p->link, (size_t)n);
	int r;
	while ((r = wire_link_next(p->link, &event)) > 0)
		on_event(p, &event);
	if (r < 0)
		tap_fail(__FILE__, __LINE__, "the supervisor broke the protocol: %s",
			 wire_link_error(p->link));
	peer_flush(p);
}

/* ---- requests ---- */

uint32_t peer_open(struct peer *p, uint8_t type, const ProtobufCMessage *m)
{
	uint32_t stream;
	CHECK_OK(wire_open_message(p->link, type, m, NULL, &stream));
	return stream;
}

struct peer_stream *peer_exec(struct peer *p, const char *command, const char *argument)
{
	struct peer_stream *s = calloc(1, sizeof(*s));
	CHECK(s);
	Cove__Wire__Exec m = COVE__WIRE__EXEC__INIT;
	ProtobufCBinaryData argv[] = { wire_string(command), wire_string(argument) };
	m.n_argv = argument ? 2 : 1;
	m.argv = argv;
	CHECK_OK(wire_open_message(p->link, WIRE_EXEC, &m.base, s, &s->id));
	list_append(&p->streams, &s->entry);
	return s;
}

void peer_close(struct peer *p, uint32_t stream)
{
	wire_link_close(p->link, stream);
	peer_flush(p);
}

void peer_check_open(const struct peer *p)
{
	if (p->closed)
		tap_fail(__FILE__, __LINE__, "the connection was closed: %s",
			 p->goodbye ? p->text : "without a word");
}

static struct peer_message *find(struct peer *p, uint32_t stream)
{
	LIST_FOREACH (i, &p->messages) {
		struct peer_message *m = LIST_ENTRY(i, struct peer_message, entry);
		if (m->stream == stream) {
			list_remove(&m->entry);
			return m;
		}
	}
	return NULL;
}

struct peer_message *peer_expect(struct peer *p, uint32_t stream, uint8_t type)
{
	struct peer_message *m = NULL;
	PEER_WAIT(p, (m = find(p, stream)));
	if (m->type != type && (m->type == WIRE_REFUSED || m->type == WIRE_FAILED)) {
		struct cove_error err;
		ProtobufCMessage *failure =
			wire_message_unpack(&cove__wire__failure__descriptor, m->data, m->size);
		wire_failure_to_error((const Cove__Wire__Failure *)failure, &err);
		tap_note("%s", err.message);
	}
	CHECK_STR(wire_type_info(m->type)->name, wire_type_info(type)->name);
	return m;
}

ProtobufCMessage *peer_expect_message(struct peer *p, uint32_t stream, uint8_t type,
				      const ProtobufCMessageDescriptor *descriptor)
{
	struct peer_message *m = peer_expect(p, stream, type);
	ProtobufCMessage *unpacked = wire_message_unpack(descriptor, m->data, m->size);
	CHECK(unpacked);
	free(m);
	return unpacked;
}

void peer_expect_failure(struct peer *p, uint32_t stream, uint8_t type, struct cove_error *ret)
{
	ProtobufCMessage *m =
		peer_expect_message(p, stream, type, &cove__wire__failure__descriptor);
	wire_failure_to_error((const Cove__Wire__Failure *)m, ret);
	wire_message_free(m);
	tap_note("%s", ret->message);
}

void peer_expect_close(struct peer *p)
{
	uint64_t end = peer_deadline();
	while (!p->closed) {
		CHECK(clock_monotonic_ms() < end);
		peer_pump(p, end);
	}
}

void peer_expect_goodbye(struct peer *p, uint32_t cause)
{
	peer_expect_close(p);
	CHECK(p->goodbye);
	tap_note("goodbye: %s", p->text);
	CHECK_INT(p->cause, ==, cause);
}

void peer_use_fake_guest(void)
{
	char guest[512];
	snprintf(guest, sizeof(guest), "%s/tests/integration/supervisor/fake-guest",
		 getenv("COVE_BUILD_DIR"));
	setenv("COVE_TEST_AGENT", guest, 1);
}
