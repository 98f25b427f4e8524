/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor/conn.h"

#include <assert.h>
#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

/*
 * Full buffers read in a row before others get their turn: enough to make a turn of the loop cheap
 * for bulk data, little enough that a keystroke does not wait for long.
 */
#define CONN_READS_MAX 4
#define CONN_IOVS      16

static void on_poll(uv_poll_t *poll, int status, int events);

/* Tells the loop what is being waited for, if that has changed. */
static void arm(struct conn *conn)
{
	if (conn->closed)
		return;
	int events = (conn->holding ? 0 : UV_READABLE) | (conn->blocked ? UV_WRITABLE : 0);
	if (events == conn->armed)
		return;
	conn->armed = events;
	if (events)
		uv_poll_start(&conn->poll, events, on_poll);
	else
		uv_poll_stop(&conn->poll);
}

static void fail(struct conn *conn, int error)
{
	if (conn->closed)
		return;
	conn->busy = true;
	conn->ops->failed(conn, error);
	conn->busy = false;
}

/* False when reading must not go on. */
static bool dispatch(struct conn *conn, const struct wire_event *event)
{
	conn->busy = true;
	int r = conn->ops->event(conn, event);
	conn->busy = false;
	if (conn->closed)
		return false;
	if (r < 0) {
		fail(conn, r);
		return false;
	}
	if (r == CONN_HOLD) {
		conn->held = *event; /* what it borrows stays as long as the link is left alone */
		conn->holding = true;
		arm(conn);
		return false;
	}
	return true;
}

/* Everything that is in the link. False when reading must not go on. */
static bool process(struct conn *conn)
{
	struct wire_event event;
	int r;
	while ((r = wire_link_next(conn->link, &event)) > 0)
		if (!dispatch(conn, &event))
			return false;
	/* The engine answers SYNC, PING and CLOSE by itself, and credit sets data free. */
	if (wire_link_wants_output(conn->link))
		conn_touch(conn);
	if (r < 0)
		fail(conn, r);
	return r == 0;
}

/* One read, of *ret_size bytes. True when it filled the buffer, so that there may be more. */
static bool read_once(struct conn *conn, size_t *ret_size)
{
	uint8_t *p;
	size_t size;
	wire_link_input(conn->link, &p, &size);
	ssize_t n;
	do {
		n = read(conn->fd, p, size);
	} while (n < 0 && errno == EINTR);
	*ret_size = n > 0 ? (size_t)n : 0;
	if (n < 0) {
		if (errno != EAGAIN)
			fail(conn, -errno);
		return false;
	}
	if (n == 0) {
		fail(conn, 0);
		return false;
	}
	conn->heard = true;
	wire_link_received(conn->link, (size_t)n);
	return process(conn) && (size_t)n == size;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct conn *conn = CONTAINER_OF(poll, struct conn, poll);
	if (status < 0) {
		/*
		 * An error on the socket (it was closed with bytes of ours unread), at which libuv
		 * stops watching. What is there to read comes before the error. Writing finds out
		 * that it is pointless: watching for that again would bring us back here at once.
		 */
		conn->armed = 0;
		events = UV_READABLE | UV_WRITABLE;
	}
	if (events & UV_WRITABLE) {
		conn->blocked = false;
		conn_touch(conn);
	}
	size_t n;
	if ((events & UV_READABLE) && !conn->holding)
		for (int i = 0; i < CONN_READS_MAX && read_once(conn, &n); i++)
			;
	arm(conn);
}

void conn_drain(struct conn *conn, size_t max)
{
	size_t total = 0, n;
	if (conn->busy || conn->closed || conn->holding)
		return; /* from within one of its own events: what it borrows must not move */
	while (total < max && read_once(conn, &n))
		total += n;
}

void conn_touch(struct conn *conn)
{
	if (!conn->closed && list_empty(&conn->dirty))
		list_append(conn->dirty_list, &conn->dirty);
}

void conn_resume(struct conn *conn)
{
	if (!conn->holding || conn->closed)
		return;
	conn->holding = false;
	struct wire_event event = conn->held;
	if (dispatch(conn, &event))
		process(conn);
	arm(conn);
}

void conn_flush(struct conn *conn)
{
	struct iovec iov[CONN_IOVS];
	list_remove(&conn->dirty);
	while (!conn->blocked && !conn->broken && !conn->closed) {
		int n = wire_link_output(conn->link, iov, CONN_IOVS);
		if (n == 0)
			break;
		size_t want = 0;
		for (int i = 0; i < n; i++)
			want += iov[i].iov_len;
		ssize_t k;
		do {
			k = writev(conn->fd, iov, n);
		} while (k < 0 && errno == EINTR);
		int error = k < 0 ? errno : 0;
		wire_link_sent(conn->link, k < 0 ? 0 : (size_t)k);
		if (error == EPIPE || error == ECONNRESET) {
			/* What the peer said before it closed is still to be read; the end comes
			 * right after it. */
			conn->broken = true;
			break;
		}
		if (error && error != EAGAIN) {
			fail(conn, -error);
			return;
		}
		conn->blocked = error || (size_t)k < want;
	}
	arm(conn);
	if (!conn->blocked && !conn->closed && conn->ops->drained)
		conn->ops->drained(conn);
}

void conn_flush_all(struct list *dirty_list)
{
	/* Writing may touch others (one that had to wait for this): until nobody is left. */
	while (!list_empty(dirty_list))
		conn_flush(LIST_ENTRY(dirty_list->next, struct conn, dirty));
}

int conn_init(struct conn *conn, uv_loop_t *loop, int fd, struct wire_link *link,
	      const struct conn_ops *ops, struct list *dirty_list)
{
	*conn = (struct conn){ .ops = ops, .fd = fd, .link = link, .dirty_list = dirty_list };
	list_init(&conn->dirty);
	int r = uv_poll_init(loop, &conn->poll, fd);
	if (r < 0)
		return r;
	arm(conn);
	conn_touch(conn);
	return 0;
}

void conn_close(struct conn *conn, uv_close_cb closed)
{
	assert(!conn->closed);
	conn->closed = true;
	list_remove(&conn->dirty);
	uv_close((uv_handle_t *)&conn->poll, closed);
}
