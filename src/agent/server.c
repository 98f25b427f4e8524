/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/log.h"
#include "agent/viewer.h"
#include "base/error.h"
#include "base/fd.h"

#include "agent/poison.h"

/* ---- saying something ---- */

static bool check(struct agent *agent, int r)
{
	/* -ENOENT: the stream was closed meanwhile, and nobody wants to know. */
	if (r < 0 && r != -ENOENT)
		agent->server.broken = true;
	return r >= 0;
}

bool server_send(struct agent *agent, uint32_t stream, uint8_t type,
		 const ProtobufCMessage *message)
{
	return check(agent, wire_send_message(agent->server.link, stream, type, message));
}

void server_send_eof(struct agent *agent, uint32_t stream, unsigned channel, uint64_t total)
{
	check(agent, wire_link_send_eof(agent->server.link, stream, channel, total));
}

void server_send_failure(struct agent *agent, uint32_t stream, uint8_t type,
			 const struct cove_error *err)
{
	check(agent, wire_send_failure(agent->server.link, stream, type, err));
}

void server_acknowledge(struct agent *agent, uint32_t stream, uint32_t request,
			const struct cove_error *err)
{
	Cove__Wire__Ack m = COVE__WIRE__ACK__INIT;
	Cove__Wire__Failure failure = COVE__WIRE__FAILURE__INIT;
	m.request = request;
	if (err) {
		wire_failure_from_error(&failure, err);
		m.failure = &failure;
	}
	server_send(agent, stream, WIRE_ACK, &m.base);
}

bool server_is_flushed(struct agent *agent)
{
	return !wire_link_wants_output(agent->server.link);
}

/* ---- starting again ---- */

/* All streams are gone: by the peer's wish, or because we have to start again. Sessions go on. */
static void forget_streams(struct agent *agent)
{
	shutdown_forget_stream(agent);
	listings_forget(agent);
	LIST_FOREACH_SAFE (i, &agent->sessions.all) {
		struct session *s = LIST_ENTRY(i, struct session, in_all);
		session_drop_kill_requests(s, 0);
		session_input_forget_streams(s);
		/* The last one may take the session with it. */
		for (unsigned left = s->n_viewers; left > 0; left--)
			viewer_free(LIST_ENTRY(s->viewers.next, struct viewer, in_session));
	}
}

static bool start_again(struct agent *agent)
{
	struct server *server = &agent->server;
	int r = wire_link_resync(server->link, 0);
	if (r < 0)
		agent_log("link: %s", error_errno_text(-r));
	server->broken = r < 0; /* another turn, another try */
	forget_streams(agent);
	return !server->broken;
}

/* ---- nobody there ---- */

static bool is_hung_up(int fd)
{
	struct pollfd p = { .fd = fd };
	return poll(&p, 1, 0) > 0 && p.revents & POLLHUP;
}

static void set_async(struct server *server, bool on)
{
	if (fcntl(server->fd, F_SETFL, on ? O_NONBLOCK | O_ASYNC : O_NONBLOCK) < 0)
		agent_log("link: %s", error_errno_text(errno));
}

/*
 * A virtio port without a host reads as end of file and polls as hung up, for as long as that
 * lasts; the driver sends SIGIO when it changes, if asked to (it would send one for each piece of
 * input, too, so it is asked only now). A socket that has ended has ended for good.
 */
static void go_away(struct agent *agent)
{
	struct server *server = &agent->server;
	server->away = true;
	watch_set(server->watch, 0);
	if (!agent->is_init) {
		shutdown_begin(agent, 0, 0);
		return;
	}
	set_async(server, true);
	if (!is_hung_up(server->fd))
		server_on_sigio(agent); /* it came back before it would have been told */
}

void server_on_sigio(struct agent *agent)
{
	struct server *server = &agent->server;
	if (!server->away || is_hung_up(server->fd))
		return;
	set_async(server, false);
	server->away = false;
}

/* ---- reading ---- */

static void on_event(struct agent *agent, const struct wire_event *event)
{
	switch (event->kind) {
	case WIRE_EVENT_SYNCED:
		forget_streams(agent);
		break;
	case WIRE_EVENT_MESSAGE:
	case WIRE_EVENT_DATA:
	case WIRE_EVENT_EOF:
	case WIRE_EVENT_CLOSE:
		requests_handle(agent, event);
		break;
	default:
		break; /* HELLO, CREDIT, PONG, GOODBYE: the engine has done what there is to do */
	}
}

/*
 * Everything that has come, as long as the answers find room: a small request can have a large one,
 * and a bufferful of them more than the queue holds. And only so many starts in a turn, each of which
 * takes a millisecond, or ten: timeouts and others' output come in between. The rest is taken in
 * later turns; until then nothing is read, for the buffer may be full.
 */
static void take_events(struct agent *agent)
{
	struct server *server = &agent->server;
	struct wire_event event;
	unsigned opened = 0;
	int r;
	do {
		server->unread = !wire_link_wants_input(server->link) || opened == SERVER_OPENS_MAX;
		if (server->unread)
			return;
		r = wire_link_next(server->link, &event);
		if (r > 0) {
			opened += event.kind == WIRE_EVENT_MESSAGE && event.opens;
			on_event(agent, &event);
		}
		if (r < 0) {
			agent_log("link: %s", wire_link_error(server->link));
			server->broken = true;
		}
		/* What it looks for then may already be in the rest of the input. */
		if (server->broken && !start_again(agent))
			return;
	} while (r != 0 && r != -ENOMEM);
}

static bool wants_to_read(const struct server *server)
{
	return !server->unread && !server->agent->sessions.bulk.link_held &&
	       wire_link_wants_input(server->link);
}

static void receive(struct agent *agent)
{
	struct server *server = &agent->server;
	for (size_t total = 0; total < SERVER_READ_MAX && wants_to_read(server);) {
		uint8_t *p;
		size_t n;
		wire_link_input(server->link, &p, &n);
		ssize_t k = read(server->fd, p, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && errno == EAGAIN)
			return;
		if (k <= 0) {
			go_away(agent);
			return;
		}
		wire_link_received(server->link, (size_t)k);
		take_events(agent);
		total += (size_t)k;
		/* A port gives a page at a time; less was the last there is. */
		if (k < SERVER_READ_PAGE)
			return;
	}
}

static void on_link(void *userdata, unsigned events)
{
	struct agent *agent = userdata;
	if (events & UV_WRITABLE)
		agent->server.blocked = false;
	if (events & UV_READABLE)
		receive(agent);
}

/* ---- writing ---- */

/*
 * virtio-serial takes SERVER_PORT_WRITE_MAX of a piece and no more, and then writev() ends in the
 * middle of a frame: so the pieces are made that small beforehand. Each of them, and each header, is
 * a request to the device, which is why frames are as large as they may be all the same. A message of
 * megabytes does not fit; its rest is for the next round.
 */
static int cut_pieces(const struct iovec *from, int count, struct iovec *to)
{
	int n = 0;
	for (int i = 0; i < count; i++) {
		uint8_t *p = from[i].iov_base;
		size_t left = from[i].iov_len;
		while (left > 0 && n < SERVER_PIECES_MAX) {
			size_t k = MIN(left, (size_t)SERVER_PORT_WRITE_MAX);
			to[n++] = (struct iovec){ .iov_base = p, .iov_len = k };
			p += k;
			left -= k;
		}
	}
	return n;
}

/* Everything that waits, or as much as one turn of the loop allows. */
static void send_waiting(struct agent *agent)
{
	struct server *server = &agent->server;
	struct iovec iov[SERVER_IOVS_MAX], pieces[SERVER_PIECES_MAX];
	int count;
	for (size_t total = 0; !server->blocked && !server->away && total < SERVER_WRITE_MAX;) {
		count = wire_link_output(server->link, iov, ARRAY_SIZE(iov));
		if (count == 0)
			return;
		int n = cut_pieces(iov, count, pieces);
		ssize_t k = writev(server->fd, pieces, n);
		int error = k < 0 ? errno : 0;
		wire_link_sent(server->link, k > 0 ? (size_t)k : 0);
		if (error == EAGAIN)
			server->blocked = true;
		else if (error && error != EINTR)
			go_away(agent);
		total += k > 0 ? (size_t)k : 0;
	}
}

/* Before the loop waits: whatever its turn has brought is written, and what to wait for is set. */
static void on_prepare(uv_prepare_t *handle)
{
	struct agent *agent = handle->data;
	struct server *server = &agent->server;

	if (server->broken)
		start_again(agent);
	shutdown_step(agent);
	send_waiting(agent);
	if (server->unread && wire_link_wants_input(server->link)) {
		take_events(agent);
		send_waiting(agent);
	}
	if (listings_pending(agent)) {
		listings_step(agent);
		send_waiting(agent);
	}
	shutdown_step(agent);
	if (server->away)
		return;
	unsigned events = wants_to_read(server) ? UV_READABLE : 0;
	/* More of what was left is taken in the next turn, after the sessions had theirs; and more of
	   a list is said. */
	if (wire_link_wants_output(server->link) || server->unread || listings_pending(agent))
		events |= UV_WRITABLE;
	watch_set(server->watch, events);
}

/* ---- life ---- */

int server_init(struct agent *agent, int fd)
{
	struct server *server = &agent->server;
	const struct wire_link_options options = {
		.role = WIRE_RESPONDER,
		.software = "cove-agent " COVE_VERSION,
		.source = { .peek = viewer_peek, .consumed = viewer_consumed },
	};
	*server = (struct server){ .agent = agent, .fd = fd };

	int r = fd_set_nonblocking(fd, true);
	if (r >= 0)
		r = wire_link_new(&options, &server->link);
	if (r >= 0)
		r = watch_new(&agent->loop, fd, on_link, agent, &server->watch);
	if (r >= 0)
		r = uv_prepare_init(&agent->loop, &server->prepare);
	if (r < 0)
		return r;
	server->prepare.data = agent;
	r = uv_prepare_start(&server->prepare, on_prepare);
	if (r < 0 || !agent->is_init)
		return r;

	/* Whom SIGIO goes to: see go_away(). */
	return fcntl(fd, F_SETOWN, getpid()) < 0 ? -errno : 0;
}
