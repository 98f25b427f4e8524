/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "cove/types.h"
#include "lib/connection-internal.h"

/*
 * Theory of operation. `reading` is the reader's role; it is only true while its holder polls
 * without the lock, so a thread that holds the lock and finds it false may take it. No wake-up is
 * lost because of three rules, all kept here:
 *
 *   - Whoever lets go of the lock while nobody is reading wakes one of those who sleep. That one
 *     finds either that it has what it wants (and applies this rule in turn) or takes the role.
 *   - The reader polls for the socket's readiness to be written only if it knew of unsent output
 *     when it began. Who leaves some behind later pokes it through wake_fd.
 *   - The reader is a waiter like the others. An event loop reads without the role, so what the
 *     reader waits for may be read by somebody else; it is then poked in the same way.
 */

/*
 * A channel with the large window may have 768 KiB more on the way than others. A thousand streams
 * with both windows full, and these, are just what a supervisor holds for one client before it gives
 * up streams (CLIENT_DATA_MAX, 512 MiB). More bulk flows than this share the link anyway.
 */
#define WIDE_MAX 16

/*
 * Streams at once: as many as a supervisor takes from one client (CLIENT_STREAMS_MAX). It cuts off
 * whoever opens more; here they wait until another is closed.
 */
#define STREAMS_MAX 4096

/* A thread in connection_wait(). */
struct waiter {
	struct list in_connection;
	struct list in_stream;
	enum stream_news news; /* that it waits for */
	bool polls;	       /* it is the reader; else it sleeps on cond */
	pthread_cond_t cond;
	struct connection *connection;
	bool woken;
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

static int new_link(struct wire_link **ret)
{
	struct wire_link_options options = {
		.role = WIRE_INITIATOR,
		.max_streams = STREAMS_MAX,
		.software = "libcove " COVE_VERSION,
		.source = connection_source,
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
	c->refs = 1;
	c->loop.fd = c->loop.event_fd = -1;
	list_init(&c->waiters);
	list_init(&c->open);
	list_init(&c->owing);
	list_init(&c->loop.ready);
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

static void destroy(struct connection *c)
{
	assert(list_empty(&c->waiters) && list_empty(&c->open));
	wire_link_free(c->link);
	for (unsigned i = 0; i < c->n_spare; i++)
		buffer_done(&c->spare[i]);
	loop_done(c);
	/* Closing is not enough: a process that the program has forked may hold a copy. */
	shutdown(c->fd, SHUT_RDWR);
	fd_close(c->fd);
	fd_close(c->wake_fd);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

void connection_ref(struct connection *c)
{
	c->refs++;
}

void connection_drop_ref(struct connection *c)
{
	assert(c->refs > 1);
	c->refs--;
}

struct connection *connection_unref(struct connection *c)
{
	if (!c)
		return NULL;
	connection_lock(c);
	bool last = --c->refs == 0;
	connection_unlock(c);
	if (last)
		destroy(c);
	return NULL;
}

struct connection *connection_cut(struct connection *c)
{
	if (!c)
		return NULL;
	connection_lock(c);
	if (!c->gone.code) {
		error_set(&c->gone, COVE_E_LOST, "the handle of the sandbox %s was freed", c->name);
		connection_end(c);
	}
	/* The supervisor of an attached sandbox ends by that, also while processes hold us. */
	shutdown(c->fd, SHUT_RDWR);
	connection_unlock(c);
	return connection_unref(c);
}

void connection_lock(struct connection *c)
{
	pthread_mutex_lock(&c->lock);
}

static void wake(struct waiter *w)
{
	if (w->woken)
		return;
	w->woken = true;
	if (w->polls)
		(void)eventfd_write(w->connection->wake_fd, 1);
	else
		pthread_cond_signal(&w->cond);
}

void connection_unlock(struct connection *c)
{
	loop_tell(c);
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

void connection_end(struct connection *c)
{
	LIST_FOREACH (i, &c->waiters)
		wake(LIST_ENTRY(i, struct waiter, in_connection));
	LIST_FOREACH_SAFE (i, &c->open) {
		struct stream *stream = LIST_ENTRY(i, struct stream, in_open);
		if (stream->ops->lost)
			stream->ops->lost(stream);
	}
}

/* ---- streams ---- */

void stream_init(struct stream *stream, const struct stream_ops *ops)
{
	*stream = (struct stream){ .ops = ops };
	list_init(&stream->waiters);
	list_init(&stream->in_open);
	list_init(&stream->in_owing);
	list_init(&stream->in_ready);
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
		if (waited == -ETIMEDOUT || deadline == 0)
			return -ETIMEDOUT;
		/* Too much is waiting to be sent, or too many streams are open. */
		waited = connection_wait_room(c, deadline);
	}
	if (r < 0)
		return r;
	list_append(&c->open, &stream->in_open);
	connection_flush(c);
	return 0;
}

void stream_close(struct connection *c, struct stream *stream)
{
	list_remove(&stream->in_open);
	list_remove(&stream->in_owing);
	if (stream->id == 0)
		return;
	wire_link_close(c->link, stream->id);
	stream->id = 0;
	connection_flush(c);
}

void stream_wake(struct stream *stream, enum stream_news news)
{
	LIST_FOREACH (i, &stream->waiters) {
		struct waiter *w = LIST_ENTRY(i, struct waiter, in_stream);
		if (w->news & news)
			wake(w);
	}
}

void stream_owes(struct connection *c, struct stream *stream)
{
	if (list_empty(&stream->in_owing))
		list_append(&c->owing, &stream->in_owing);
}

/* ---- shared by all streams ---- */

bool connection_take_wide(struct connection *c)
{
	if (c->n_wide == WIDE_MAX)
		return false;
	c->n_wide++;
	return true;
}

void connection_return_wide(struct connection *c)
{
	c->n_wide--;
}

void connection_lend_buffer(struct connection *c, struct buffer *empty)
{
	if (c->n_spare == 0)
		return;
	struct buffer *spare = &c->spare[--c->n_spare];
	empty->data = spare->data;
	empty->allocated = spare->allocated;
}

void connection_return_buffer(struct connection *c, struct buffer *empty)
{
	if (empty->allocated == 0)
		return;
	if (c->n_spare < SPARE_BUFFERS) {
		c->spare[c->n_spare++] = *empty;
		buffer_init(empty, empty->max);
	} else {
		buffer_done(empty);
	}
}

/* ---- waiting ---- */

static void enlist(struct waiter *w, struct stream *stream)
{
	list_append(&w->connection->waiters, &w->in_connection);
	list_append(&stream->waiters, &w->in_stream);
}

static void delist(struct waiter *w)
{
	list_remove(&w->in_connection);
	list_remove(&w->in_stream);
}

/* Sleeps until the socket has something, with the lock let go of. */
static void poll_socket(struct waiter *w, struct stream *stream, uint64_t left_ns)
{
	struct connection *c = w->connection;
	struct pollfd fds[] = {
		{ .fd = c->fd, .events = (short)(POLLIN | (c->blocked ? POLLOUT : 0)) },
		{ .fd = c->wake_fd, .events = POLLIN },
	};
	struct timespec timeout = {
		.tv_sec = (time_t)(left_ns / 1000000000),
		.tv_nsec = (long)(left_ns % 1000000000),
	};

	w->polls = true;
	enlist(w, stream);
	c->polls_output = c->blocked;
	c->reading = true;
	loop_tell(c);
	pthread_mutex_unlock(&c->lock);
	int n = ppoll(fds, ARRAY_SIZE(fds), left_ns == DEADLINE_NEVER ? NULL : &timeout, NULL);
	pthread_mutex_lock(&c->lock);
	c->reading = false;
	delist(w);

	if (n <= 0)
		return; /* time, or a signal: the caller looks again */
	eventfd_t value;
	if (fds[1].revents)
		(void)eventfd_read(c->wake_fd, &value);
	if (fds[0].revents & POLLOUT)
		connection_flush(c);
}

/* Sleeps until somebody else has read something for the stream, or passes the reader's role on. */
static void sleep_until_woken(struct waiter *w, struct stream *stream, uint64_t deadline)
{
	struct connection *c = w->connection;
	pthread_condattr_t attributes;
	struct timespec until = {
		.tv_sec = (time_t)(deadline / 1000000000),
		.tv_nsec = (long)(deadline % 1000000000),
	};

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&w->cond, &attributes);
	pthread_condattr_destroy(&attributes);
	enlist(w, stream);
	loop_tell(c);

	int r = 0;
	while (!w->woken && r == 0)
		r = deadline == DEADLINE_NEVER ? pthread_cond_wait(&w->cond, &c->lock)
					       : pthread_cond_timedwait(&w->cond, &c->lock, &until);

	delist(w);
	pthread_cond_destroy(&w->cond);
}

int connection_wait(struct connection *c, struct stream *stream, enum stream_news news,
		    uint64_t deadline)
{
	if (c->gone.code || (!c->reading && connection_receive(c)))
		return 0;
	uint64_t now = deadline == DEADLINE_NEVER ? 0 : clock_monotonic_ns();
	if (now >= deadline)
		return -ETIMEDOUT;
	struct waiter w = { .news = news, .connection = c };
	if (c->reading)
		sleep_until_woken(&w, stream, deadline);
	else
		poll_socket(&w, stream,
			    deadline == DEADLINE_NEVER ? DEADLINE_NEVER : deadline - now);
	return 0;
}

int connection_wait_room(struct connection *c, uint64_t deadline)
{
	return connection_wait(c, &c->room, STREAM_ALL, deadline);
}

void connection_wait_written(struct connection *c)
{
	/* Whatever is queued later goes behind it. */
	uint64_t until = c->written + wire_link_pending(c->link);
	while (c->written < until && !c->deaf && !c->gone.code)
		connection_wait_room(c, DEADLINE_NEVER);
}
