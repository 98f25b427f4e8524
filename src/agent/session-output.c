/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a pipe or terminal into a replay ring. Reading stops while the ring is full of bytes that a
 * lossless viewer has not got; then the pipe fills, and the command waits. That is all the flow
 * control there is: what a viewer takes is what the link has credit for.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "agent/agent.h"
#include "agent/viewer.h"
#include "base/fd.h"

#include "agent/poison.h"

/* The first read is for a line or two; a stream soon reads as much as one frame carries. */
#define OUTPUT_READ_FIRST 4096u
#define OUTPUT_READ_MAX	  65536u
/*
 * A pipe that is read 64 KiB at a time gets this size: fewer turns between command and agent, 300
 * instead of 220 MB/s in an emulated guest. Only then, for it pins memory when it is full.
 */
#define OUTPUT_PIPE_WIDE (1024 * 1024)
/* And only when this much was taken: more than a ring and a window of the usual sizes hold, so that
   a stream that nobody reads does not come here. */
#define OUTPUT_WIDE_AFTER_READ (1024u * 1024)
/* What a pipe or terminal can hold when its command dies. */
#define OUTPUT_HELD_MAX ((size_t)OUTPUT_PIPE_WIDE)

static void on_readable(void *userdata, unsigned events);

int session_output_init(struct session_output *o, struct session *s, unsigned channel, int fd,
			size_t ring_size)
{
	*o = (struct session_output){
		.session = s,
		.channel = channel,
		.fd = fd,
		.read_size = OUTPUT_READ_FIRST,
		.eof = fd < 0,
	};
	list_init(&o->in_bulk);
	if (fd < 0)
		return 0;
	int r = ring_init(&o->ring, ring_size);
	if (r < 0)
		return r;
	r = watch_new(&s->agent->loop, fd, on_readable, o, &o->watch);
	if (r < 0)
		return r;
	watch_set(o->watch, UV_READABLE);
	return 0;
}

static void close_source(struct session_output *o)
{
	list_remove(&o->in_bulk);
	if (o->widened)
		o->session->agent->sessions.n_wide_outputs--;
	o->widened = false;
	o->watch = watch_free(o->watch);
	o->fd = fd_close(o->fd);
	o->held = 0;
}

void session_output_done(struct session_output *o)
{
	close_source(o);
	ring_done(&o->ring);
}

/* A full read: the next one may be larger, and so may the pipe. */
static void read_more_next_time(struct session_output *o)
{
	struct sessions *all = &o->session->agent->sessions;
	if (o->read_size < OUTPUT_READ_MAX) {
		o->read_size *= 2;
		return;
	}
	bulk_add(o);
	if (!o->widened && !o->session->tty && o->ring.end >= OUTPUT_WIDE_AFTER_READ &&
	    all->n_wide_outputs < SESSIONS_WIDE_OUTPUTS_MAX) {
		o->widened = true;
		all->n_wide_outputs++;
		(void)fcntl(o->fd, F_SETPIPE_SZ, OUTPUT_PIPE_WIDE); /* it goes without, too */
	}
}

/* What is to be waited for, as things are. */
static void watch_source(struct session_output *o)
{
	if (o->watch)
		watch_set(o->watch, o->full || o->held_back ? 0 : UV_READABLE);
}

void session_output_hold(struct session_output *o, bool hold)
{
	o->held_back = hold;
	watch_source(o);
}

/* For those who come when what has set the terminal's modes is not kept any more. */
static void follow_screen(struct screen *screen, const struct iovec iov[2], size_t n)
{
	size_t first = MIN(n, iov[0].iov_len);
	screen_follow(screen, iov[0].iov_base, first);
	screen_follow(screen, iov[1].iov_base, n - first);
}

/* Bytes read; 0: the end; -EAGAIN; -ENOBUFS: no room that is not spoken for. */
static ssize_t read_some(struct session_output *o)
{
	struct iovec iov[2];
	uint64_t keep = viewers_keep(o->session, o->channel);
	size_t n = ring_prepare(&o->ring, keep, o->read_size, iov);
	if (n == 0)
		return -ENOBUFS;

	ssize_t k;
	do
		k = readv(o->fd, iov, iov[1].iov_len ? 2 : 1);
	while (k < 0 && errno == EINTR);
	if (k < 0)
		/* EIO is how a terminal says that nobody has it open any more. */
		return errno == EAGAIN ? -EAGAIN : 0;
	ring_commit(&o->ring, (size_t)k);
	if (o->session->screen)
		follow_screen(o->session->screen, iov, (size_t)k);
	o->held -= MIN(o->held, (size_t)k);
	if ((size_t)k == o->read_size)
		read_more_next_time(o);
	return k;
}

static void say_eof(struct session_output *o)
{
	o->eof = true;
	session_update_size(o->session); /* for who asks when it is not there any more */
	close_source(o);
	viewers_eof(o->session, o->channel);
}

/* What follows from read_some(), except for who waits for the end. */
static void took(struct session_output *o, ssize_t k)
{
	struct session *s = o->session;
	if (k > 0) {
		viewers_output(s, o->channel);
		session_drop_output(s);
		uint64_t total = s->outputs[0].ring.end + s->outputs[1].ring.end;
		if (s->output_kill_bytes && total > s->output_kill_bytes && !s->tree_killed)
			session_kill(s, SESSION_OUTPUT_LIMIT);
	} else if (k == 0) {
		say_eof(o);
	} else if (k == -EAGAIN) {
		o->held = 0;
	}
}

static void on_readable(void *userdata, unsigned events)
{
	struct session_output *o = userdata;
	bool awaited = o->held > 0;
	(void)events;

	ssize_t k = read_some(o);
	o->full = k == -ENOBUFS;
	took(o, k);
	watch_source(o);
	if (k > 0)
		bulk_answered(o);
	if (o->eof || (awaited && o->held == 0))
		session_settle(o->session);
}

void session_output_resume(struct session_output *o)
{
	if (!o->watch)
		return;
	/* Not for every byte: a viewer that takes little at a time would wake us as often. */
	uint64_t keep = MAX(viewers_keep(o->session, o->channel), o->ring.start);
	uint64_t kept = o->ring.end - keep;
	if (kept <= o->ring.capacity / 2) {
		o->full = false;
		watch_source(o);
	}
}

/*
 * Room for all that is in the pipe at once: a ring that grows read by read is copied as often, and the
 * agent does nothing else for a tenth of a second.
 */
static int make_room(struct session_output *o)
{
	int n = 0;
	if (ioctl(o->fd, FIONREAD, &n) < 0 || n < 0)
		n = 0;
	size_t held = MIN((size_t)n, OUTPUT_HELD_MAX);
	return ring_extend(&o->ring, viewers_keep(o->session, o->channel), MAX(held, o->read_size));
}

void session_output_drain(struct session_output *o)
{
	if (o->eof)
		return;
	o->held = OUTPUT_HELD_MAX;
	while (o->held > 0) {
		ssize_t k = read_some(o);
		if (k == -ENOBUFS && make_room(o) < 0)
			return; /* on_readable() goes on when viewers have made room */
		took(o, k);
	}
}

int session_output_close(struct session_output *o)
{
	if (o->session->tty)
		return -ENOTTY;
	/* What was written before the close still comes; only what is written while it is being
	   closed may go missing, as with any pipe. */
	session_output_drain(o);
	if (!o->eof)
		say_eof(o);
	return 0;
}
