/* SPDX-License-Identifier: Apache-2.0 */

/* What goes through the socket. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/error.h"
#include "cove/types.h"
#include "lib/connection-internal.h"

#define OUTPUT_IOVS 32

/* ---- the link's source ---- */

static size_t source_peek(void *userdata, uint32_t id, unsigned channel, size_t max,
			  struct wire_chunk *ret)
{
	struct stream *stream = userdata;
	(void)id;
	(void)channel; /* an initiator only sends STDIN */
	return stream && stream->ops->peek ? stream->ops->peek(stream, max, ret) : 0;
}

static void source_consumed(void *userdata, uint32_t id, unsigned channel, size_t n)
{
	struct stream *stream = userdata;
	(void)id;
	(void)channel;
	stream->ops->consumed(stream, n);
}

const struct wire_source connection_source = { .peek = source_peek, .consumed = source_consumed };

/* ---- the end ---- */

static void end_by_violation(struct connection *c, const char *text)
{
	error_set(&c->gone, COVE_E_PROTOCOL, "the link to the sandbox %s is broken: %s", c->name,
		  text);
	connection_end(c);
}

/* os_errno: 0 for an orderly end of file. */
static void end_by_loss(struct connection *c, int os_errno)
{
	if (c->end_text[0])
		error_set(&c->gone, COVE_E_LOST,
			  c->end_cause == COVE_END_NONE ? "the sandbox %s has cut us off: %s"
							: "the sandbox %s is gone: %s",
			  c->name, c->end_text);
	else if (os_errno && os_errno != ECONNRESET)
		error_set_errno(&c->gone, COVE_E_LOST, os_errno,
				"the link to the sandbox %s failed", c->name);
	else
		error_set(&c->gone, COVE_E_LOST, "the sandbox %s is gone: its supervisor ended",
			  c->name);
	connection_end(c);
}

static void on_goodbye(struct connection *c, const struct wire_event *event)
{
	_cleanup_(wire_message_freep) ProtobufCMessage *m =
		wire_message_unpack(&cove__wire__goodbye__descriptor, event->data, event->size);
	if (!m)
		return; /* its last word only makes the message better; the end comes anyway */
	const Cove__Wire__Goodbye *goodbye = (const Cove__Wire__Goodbye *)m;
	c->end_cause = goodbye->cause <= COVE_END_SESSION_ENDED ? goodbye->cause : COVE_END_NONE;
	if (goodbye->text)
		snprintf(c->end_text, sizeof(c->end_text), "%s", goodbye->text);
}

/* ---- writing ---- */

/* Takes up what found no room before. False when there is nothing to write after it. */
static bool pay_owed(struct connection *c)
{
	while (!list_empty(&c->owing)) {
		struct list *first = c->owing.next;
		struct stream *stream = LIST_ENTRY(first, struct stream, in_owing);
		list_remove(first);
		stream->ops->pay(stream);
		if (!list_empty(first))
			break; /* in line again: there is still no room */
	}
	return wire_link_pending(c->link) > 0;
}

/* As far as the socket takes it. */
static void write_out(struct connection *c)
{
	struct iovec iov[OUTPUT_IOVS];
	int n;

	c->blocked = false;
	while (!c->deaf && (n = wire_link_output(c->link, iov, OUTPUT_IOVS)) > 0) {
		struct msghdr message = { .msg_iov = iov, .msg_iovlen = (size_t)n };
		ssize_t k = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		int e = k < 0 ? errno : 0;
		wire_link_sent(c->link, k > 0 ? (size_t)k : 0);
		c->written += k > 0 ? (uint64_t)k : 0;
		if (e == EINTR)
			continue;
		if (e == EAGAIN) {
			c->blocked = true;
			break;
		}
		if (!e)
			continue;
		/*
		 * The peer is gone, but what it said before may still be there to be read: only
		 * reading finds the end. If it is not gone (there was no memory for it), what we say
		 * now is lost all the same, and the end has to be found.
		 */
		c->deaf = true;
		if (e != EPIPE && e != ECONNRESET)
			shutdown(c->fd, SHUT_RDWR);
	}
}

void connection_flush(struct connection *c)
{
	if (c->gone.code)
		return;
	do
		write_out(c);
	while (pay_owed(c) && !c->blocked && !c->deaf);
	if (c->blocked && c->reading && !c->polls_output)
		(void)eventfd_write(c->wake_fd, 1);
	loop_update(c);
	stream_wake(&c->room, STREAM_ALL);
}

/* ---- reading ---- */

static void on_event(struct connection *c, const struct wire_event *event)
{
	struct stream *stream = event->userdata;

	switch (event->kind) {
	case WIRE_EVENT_SYNCED:
		if (c->synced)
			end_by_violation(c, "the supervisor started it anew");
		c->synced = true;
		break;
	case WIRE_EVENT_RESYNC_WANTED:
		end_by_violation(c, "the supervisor could not make sense of what it got");
		break;
	case WIRE_EVENT_GOODBYE:
		on_goodbye(c, event);
		break;
	case WIRE_EVENT_MESSAGE:
	case WIRE_EVENT_DATA:
	case WIRE_EVENT_EOF:
		/* The engine tells of nothing that comes on a stream after its close. */
		stream->ops->event(stream, event);
		break;
	default: /* HELLO, PONG, CREDIT: the engine has dealt with them */
		break;
	}
}

enum received connection_receive(struct connection *c)
{
	uint8_t *p;
	size_t size;
	wire_link_input(c->link, &p, &size);
	ssize_t n = recv(c->fd, p, size, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return RECEIVED_NOTHING;
	if (n <= 0) {
		end_by_loss(c, n < 0 ? errno : 0);
		return RECEIVED_ALL;
	}

	struct wire_event event;
	int r;
	wire_link_received(c->link, (size_t)n);
	while (!c->gone.code && (r = wire_link_next(c->link, &event)) != 0) {
		if (r == -ENOMEM) {
			error_set(&c->gone, COVE_E_NO_MEMORY,
				  "out of memory while reading from the sandbox %s", c->name);
			connection_end(c);
		} else if (r < 0) {
			end_by_violation(c, wire_link_error(c->link));
		} else {
			on_event(c, &event);
		}
	}
	connection_flush(c);
	return (size_t)n == size ? RECEIVED_PART : RECEIVED_ALL;
}
