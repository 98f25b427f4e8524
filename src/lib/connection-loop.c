/* SPDX-License-Identifier: Apache-2.0 */

/*
 * For programs with an event loop. The descriptor is an epoll descriptor: readable when the socket
 * is readable (or can be written, while something waits for that), or when somebody is in line whom
 * dispatch has not returned. The latter is what the eventfd says; with one thread and room for all
 * that are ready it is never needed, and costs no system call.
 */

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/fd.h"
#include "lib/connection-internal.h"

/*
 * Reads of 128 KiB in one dispatch: enough to empty a socket's buffer, and then the loop has its
 * turn again, however fast the peer is.
 */
#define READS_MAX 8

void loop_tell(struct connection *c)
{
	if (c->loop.fd < 0 || c->loop.signalled || (list_empty(&c->loop.ready) && !c->gone.code))
		return;
	if (eventfd_write(c->loop.event_fd, 1) == 0)
		c->loop.signalled = true;
}

void loop_update(struct connection *c)
{
	if (c->loop.fd < 0 || c->loop.polls_output == c->blocked)
		return;
	struct epoll_event event = { .events = EPOLLIN | (c->blocked ? EPOLLOUT : 0u) };
	if (epoll_ctl(c->loop.fd, EPOLL_CTL_MOD, c->fd, &event) == 0)
		c->loop.polls_output = c->blocked;
}

void loop_done(struct connection *c)
{
	fd_close(c->loop.fd);
	fd_close(c->loop.event_fd);
}

int connection_fd(struct connection *c)
{
	if (c->loop.fd >= 0)
		return c->loop.fd;
	_cleanup_close_ int fd = epoll_create1(EPOLL_CLOEXEC);
	_cleanup_close_ int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0 || event_fd < 0)
		return -errno;
	struct epoll_event event = { .events = EPOLLIN };
	if (epoll_ctl(fd, EPOLL_CTL_ADD, event_fd, &event) < 0 ||
	    epoll_ctl(fd, EPOLL_CTL_ADD, c->fd, &event) < 0)
		return -errno;
	c->loop.fd = TAKE_FD(fd);
	c->loop.event_fd = TAKE_FD(event_fd);
	loop_update(c);
	return c->loop.fd;
}

void stream_ready(struct connection *c, struct stream *stream)
{
	if (list_empty(&stream->in_ready))
		list_append(&c->loop.ready, &stream->in_ready);
}

int connection_dispatch(struct connection *c, struct stream **ret, size_t max,
			struct cove_error *err)
{
	eventfd_t value;
	size_t n = 0;

	connection_flush(c);
	for (unsigned i = 0; i < READS_MAX && !c->gone.code; i++)
		if (connection_receive(c) != RECEIVED_PART)
			break;
	while (n < max && !list_empty(&c->loop.ready)) {
		ret[n] = LIST_ENTRY(c->loop.ready.next, struct stream, in_ready);
		list_remove(&ret[n]->in_ready);
		n++;
	}
	/* Whoever is left in line keeps it readable, and so does the end: loop_tell(). */
	if (c->loop.signalled && list_empty(&c->loop.ready) && !c->gone.code &&
	    eventfd_read(c->loop.event_fd, &value) == 0)
		c->loop.signalled = false;
	return n == 0 && max > 0 && c->gone.code ? connection_gone(c, err) : (int)n;
}
