/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/connection.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/name.h"
#include "cove/types.h"

/*
 * Theory of operation. `reading` is the reader's role; it is only true while its holder polls
 * without the lock, so a thread that holds the lock and finds it false may take it. No wake-up is
 * lost because of two rules, both kept here:
 *
 *   - Whoever lets go of the lock while nobody is reading wakes one of those who sleep. That one
 *     finds either that it has what it wants (and applies this rule in turn) or takes the role.
 *   - The reader polls for the socket's readiness to be written only if it knew of unsent output
 *     when it began. Who leaves some behind later pokes it through wake_fd.
 */

#define OUTPUT_IOVS 32

/* A thread asleep in connection_wait(). */
struct waiter {
	struct list in_connection;
	struct list in_stream;
	pthread_cond_t cond;
	bool woken;
};

struct connection {
	pthread_mutex_t lock;
	int fd;
	int wake_fd;
	struct wire_link *link;
	struct list waiters; /* all of them */
	struct stream room;  /* never open: where those wait whose request found no room */

	bool reading;
	bool polls_output; /* the reader waits for the socket to take more, too */
	bool blocked;	   /* the socket took no more at the last attempt */
	bool deaf;	   /* the peer reads no more: what we write goes nowhere */
	bool synced;

	unsigned end_cause;
	char end_text[256];
	struct cove_error gone; /* code != 0: what ended the connection */
	char name[NAME_MAX_BYTES + 1];
};

uint64_t deadline_after_ms(uint64_t ms)
{
	uint64_t now = clock_monotonic_ns();
	return ms >= (DEADLINE_NEVER - now) / 1000000 ? DEADLINE_NEVER : now + ms * 1000000;
}

uint64_t deadline_from_timeout(int timeout_ms)
{
	return timeout_ms < 0 ? DEADLINE_NEVER : deadline_after_ms((uint64_t)timeout_ms);
}

/* ---- life ---- */

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

static int new_link(struct wire_link **ret)
{
	struct wire_link_options options = {
		.role = WIRE_INITIATOR,
		.software = "libcove " COVE_VERSION,
		.source = { .peek = source_peek, .consumed = source_consumed },
	};
	while (options.nonce == 0)
		if (getrandom(&options.nonce, sizeof(options.nonce), 0) < 0 && errno != EINTR)
			return -errno;
	return wire_link_new(&options, ret);
}

int connection_new(int fd, const char *name, struct connection **ret)
{
	_cleanup_free_ struct connection *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	list_init(&c->waiters);
	stream_init(&c->room, NULL);
	snprintf(c->name, sizeof(c->name), "%s", name);

	_cleanup_close_ int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wake_fd < 0)
		return -errno;
	int r = new_link(&c->link);
	if (r < 0)
		return r;
	r = pthread_mutex_init(&c->lock, NULL);
	if (r) {
		wire_link_free(c->link);
		return -r;
	}
	c->fd = fd;
	c->wake_fd = TAKE_FD(wake_fd);
	*ret = TAKE_PTR(c);
	return 0;
}

struct connection *connection_free(struct connection *c)
{
	if (!c)
		return NULL;
	assert(list_empty(&c->waiters));
	wire_link_free(c->link);
	/* Closing is not enough: a process that the program has forked may hold a copy. */
	shutdown(c->fd, SHUT_RDWR);
	fd_close(c->fd);
	fd_close(c->wake_fd);
	pthread_mutex_destroy(&c->lock);
	free(c);
	return NULL;
}

void connection_lock(struct connection *c)
{
	pthread_mutex_lock(&c->lock);
}

static void wake(struct waiter *w)
{
	w->woken = true;
	pthread_cond_signal(&w->cond);
}

void connection_unlock(struct connection *c)
{
	if (!c->reading && !list_empty(&c->waiters))
		wake(LIST_ENTRY(c->waiters.next, struct waiter, in_connection));
	pthread_mutex_unlock(&c->lock);
}

struct wire_link *connection_link(struct connection *c)
{
	return c->link;
}

int connection_gone(const struct connection *c, struct cove_error *err)
{
	if (c->gone.code && err)
		*err = c->gone;
	return c->gone.code;
}

unsigned connection_end_cause(const struct connection *c)
{
	return c->end_cause;
}

const char *connection_end_text(const struct connection *c)
{
	return c->end_text;
}

/* ---- streams ---- */

void stream_init(struct stream *stream, const struct stream_ops *ops)
{
	*stream = (struct stream){ .ops = ops };
	list_init(&stream->waiters);
}

int stream_open(struct connection *c, struct stream *stream, uint8_t type,
		const ProtobufCMessage *message, uint64_t deadline)
{
	int r, waited = 0;
	for (;;) {
		if (c->gone.code)
			return -EPIPE;
		r = wire_open_message(c->link, type, message, stream, &stream->id);
		if (r != -ENOBUFS)
			break;
		if (waited == -ETIMEDOUT)
			return waited;
		/* Too much is waiting to be sent, or too many streams are open. */
		waited = connection_wait(c, &c->room, deadline);
	}
	if (r < 0)
		return r;
	connection_flush(c);
	return 0;
}

void stream_close(struct connection *c, struct stream *stream)
{
	if (stream->id == 0)
		return;
	wire_link_close(c->link, stream->id);
	stream->id = 0;
	connection_flush(c);
}

void stream_wake(struct stream *stream)
{
	LIST_FOREACH (i, &stream->waiters)
		wake(LIST_ENTRY(i, struct waiter, in_stream));
}

/* ---- the end ---- */

static void end(struct connection *c)
{
	LIST_FOREACH (i, &c->waiters)
		wake(LIST_ENTRY(i, struct waiter, in_connection));
}

static void end_by_violation(struct connection *c, const char *text)
{
	error_set(&c->gone, COVE_E_PROTOCOL, "the link to the sandbox %s is broken: %s", c->name,
		  text);
	end(c);
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
	end(c);
}

static void on_goodbye(struct connection *c, const struct wire_event *event)
{
	_cleanup_(wire_message_freep) ProtobufCMessage *m =
		wire_message_unpack(&cove__wire__goodbye__descriptor, event->data, event->size);
	if (!m)
		return; /* its last word only makes the message better; the end comes anyway */
	const Cove__Wire__Goodbye *goodbye = (const Cove__Wire__Goodbye *)m;
	c->end_cause = goodbye->cause <= COVE_END_SUPERVISOR_DIED ? goodbye->cause : COVE_END_NONE;
	if (goodbye->text)
		snprintf(c->end_text, sizeof(c->end_text), "%s", goodbye->text);
}

/* ---- writing ---- */

void connection_flush(struct connection *c)
{
	struct iovec iov[OUTPUT_IOVS];
	int n;

	c->blocked = false;
	while (!c->deaf && (n = wire_link_output(c->link, iov, OUTPUT_IOVS)) > 0) {
		struct msghdr message = { .msg_iov = iov, .msg_iovlen = (size_t)n };
		ssize_t k = sendmsg(c->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		int e = k < 0 ? errno : 0;
		wire_link_sent(c->link, k > 0 ? (size_t)k : 0);
		if (e == EINTR)
			continue;
		if (e == EAGAIN) {
			c->blocked = true;
			break;
		}
		/*
		 * The peer is gone, but what it said before may still be there to be read: only
		 * reading finds the end.
		 */
		if (e)
			c->deaf = true;
	}
	if (c->blocked && c->reading && !c->polls_output)
		(void)eventfd_write(c->wake_fd, 1);
	stream_wake(&c->room);
}

/* ---- reading ---- */

static void dispatch(struct connection *c, const struct wire_event *event)
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
		if (!stream || !stream->id)
			break;
		stream->ops->event(stream, event);
		stream_wake(stream);
		break;
	default: /* HELLO, PONG, CREDIT: the engine has dealt with them */
		break;
	}
}

/* What is there to read. 1: something was; 0: nothing, for now; the connection may be gone. */
static int receive(struct connection *c)
{
	uint8_t *p;
	size_t size;
	wire_link_input(c->link, &p, &size);
	ssize_t n = recv(c->fd, p, size, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		end_by_loss(c, n < 0 ? errno : 0);
		return 1;
	}

	struct wire_event event;
	int r;
	wire_link_received(c->link, (size_t)n);
	while (!c->gone.code && (r = wire_link_next(c->link, &event)) != 0) {
		if (r == -ENOMEM) {
			error_set(&c->gone, COVE_E_NO_MEMORY,
				  "out of memory while reading from the sandbox %s", c->name);
			end(c);
		} else if (r < 0) {
			end_by_violation(c, wire_link_error(c->link));
		} else {
			dispatch(c, &event);
		}
	}
	connection_flush(c);
	return 1;
}

/* Sleeps until the socket has something, with the lock let go of. */
static void poll_socket(struct connection *c, uint64_t left_ns)
{
	c->polls_output = c->blocked;
	struct pollfd fds[] = {
		{ .fd = c->fd, .events = (short)(POLLIN | (c->blocked ? POLLOUT : 0)) },
		{ .fd = c->wake_fd, .events = POLLIN },
	};
	struct timespec timeout = {
		.tv_sec = (time_t)(left_ns / 1000000000),
		.tv_nsec = (long)(left_ns % 1000000000),
	};

	c->reading = true;
	pthread_mutex_unlock(&c->lock);
	int n = ppoll(fds, ARRAY_SIZE(fds), left_ns == DEADLINE_NEVER ? NULL : &timeout, NULL);
	pthread_mutex_lock(&c->lock);
	c->reading = false;

	if (n <= 0)
		return; /* time, or a signal: the caller looks again */
	eventfd_t value;
	if (fds[1].revents)
		(void)eventfd_read(c->wake_fd, &value);
	if (fds[0].revents & POLLOUT)
		connection_flush(c);
}

/* Sleeps until somebody else has read something for the stream, or passes the reader's role on. */
static void sleep_until_woken(struct connection *c, struct stream *stream, uint64_t deadline)
{
	struct waiter w = { .woken = false };
	pthread_condattr_t attributes;
	struct timespec until = {
		.tv_sec = (time_t)(deadline / 1000000000),
		.tv_nsec = (long)(deadline % 1000000000),
	};

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&w.cond, &attributes);
	pthread_condattr_destroy(&attributes);
	list_append(&c->waiters, &w.in_connection);
	list_append(&stream->waiters, &w.in_stream);

	int r = 0;
	while (!w.woken && r == 0)
		r = deadline == DEADLINE_NEVER ? pthread_cond_wait(&w.cond, &c->lock)
					       : pthread_cond_timedwait(&w.cond, &c->lock, &until);

	list_remove(&w.in_connection);
	list_remove(&w.in_stream);
	pthread_cond_destroy(&w.cond);
}

int connection_wait(struct connection *c, struct stream *stream, uint64_t deadline)
{
	if (c->gone.code || (!c->reading && receive(c)))
		return 0;
	uint64_t now = deadline == DEADLINE_NEVER ? 0 : clock_monotonic_ns();
	if (now >= deadline)
		return -ETIMEDOUT;
	if (c->reading)
		sleep_until_woken(c, stream, deadline);
	else
		poll_socket(c, deadline == DEADLINE_NEVER ? DEADLINE_NEVER : deadline - now);
	return 0;
}
