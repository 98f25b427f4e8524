/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stdin: written through at once where the command's pipe takes it; what it does not take waits
 * here, and the stream it came on gets no new credit until it is written. So a command that does
 * not read blocks its own writer only, and holds no more than the windows of its viewers.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>

#include "agent/agent.h"
#include "agent/viewer.h"
#include "base/fd.h"

#include "agent/poison.h"

/* Small writes one after the other share an allocation. */
#define INPUT_CHUNK_MIN 4096u
/*
 * A command that has read much gets a pipe of this size: a whole window fits into it, and command and
 * agent take turns with hundreds of KiB, not with 64. Each turn costs an emulated processor some 0.4
 * ms; 150 instead of 75 MB/s. Only then, for it pins memory when it is full.
 */
#define INPUT_PIPE_WIDE	      (1024 * 1024)
#define INPUT_WIDE_AFTER_READ (256u * 1024)

struct input_chunk {
	struct list in_chunks;
	uint32_t stream; /* whose credit it is; 0: nobody's any more */
	size_t allocated;
	size_t head;
	size_t tail;
	uint8_t data[];
};

static void on_writable(void *userdata, unsigned events);

int session_input_init(struct session_input *in, struct session *s, int fd)
{
	*in = (struct session_input){ .fd = fd };
	list_init(&in->chunks);
	return fd < 0 ? 0 : watch_new(&s->agent->loop, fd, on_writable, s, &in->watch);
}

static void close_sink(struct session *s)
{
	struct session_input *in = &s->input;
	s->agent->sessions.n_wide_inputs -= in->widened;
	in->widened = false;
	in->watch = watch_free(in->watch);
	in->fd = fd_close(in->fd);
}

/* n bytes of the stream are written, or given up: its writer may send as many more. */
static void give_credit(struct session *s, uint32_t stream, size_t n)
{
	if (!stream || !n)
		return;
	int r = wire_link_consumed(s->agent->server.link, stream, WIRE_STDIN, n);
	if (r < 0 && r != -ENOENT)
		s->agent->server.broken = true;
}

static void free_chunk(struct session *s, struct input_chunk *c)
{
	give_credit(s, c->stream, c->tail - c->head);
	s->input.queued -= c->allocated;
	list_remove(&c->in_chunks);
	free(c);
}

static struct input_chunk *first_chunk(struct session_input *in)
{
	return list_empty(&in->chunks) ? NULL
				       : LIST_ENTRY(in->chunks.next, struct input_chunk, in_chunks);
}

static void drop_chunks(struct session *s)
{
	struct input_chunk *c;
	while ((c = first_chunk(&s->input)))
		free_chunk(s, c);
}

void session_input_done(struct session *s)
{
	session_input_forget_streams(s);
	drop_chunks(s);
	close_sink(s);
}

void session_input_forget_streams(struct session *s)
{
	LIST_FOREACH (i, &s->input.chunks)
		LIST_ENTRY(i, struct input_chunk, in_chunks)->stream = 0;
}

/* Nobody reads it any more. Writers learn it once each, when they next write or did already. */
static void fail(struct session *s, int error)
{
	s->input.error = error;
	LIST_FOREACH (i, &s->input.chunks) {
		uint32_t stream = LIST_ENTRY(i, struct input_chunk, in_chunks)->stream;
		LIST_FOREACH (j, &s->viewers) {
			struct viewer *v = LIST_ENTRY(j, struct viewer, in_session);
			if (v->stream == stream)
				viewer_stdin_error(v, error);
		}
	}
	drop_chunks(s);
	close_sink(s);
	viewers_settle_flushes(s);
}

/* Bytes written, at least 1; negative errno. */
static ssize_t write_some(struct session_input *in, const uint8_t *data, size_t n)
{
	ssize_t k;
	do
		k = write(in->fd, data, n);
	while (k < 0 && errno == EINTR);
	if (k <= 0)
		return k < 0 ? -errno : -EAGAIN;
	in->typed = data[k - 1];
	in->written += (size_t)k;
	return k;
}

/* All that was written but a pipe's usual 64 KiB has been read, and there is more. */
static void widen(struct session *s)
{
	struct session_input *in = &s->input;
	struct sessions *all = &s->agent->sessions;
	if (in->widened || s->tty || in->written < INPUT_WIDE_AFTER_READ ||
	    all->n_wide_inputs == SESSIONS_WIDE_INPUTS_MAX)
		return;
	/* It goes without, too; and is not tried again for every frame. */
	in->widened = true;
	all->n_wide_inputs++;
	(void)fcntl(in->fd, F_SETPIPE_SZ, INPUT_PIPE_WIDE);
}

/*
 * Whether the terminal has a line that was begun and not ended, as far as what was typed last tells.
 * It cannot see all (somebody may have erased the line again, or read it in raw mode): then there is
 * one EOF more than needed, for whoever reads next. One too few would be a reader that waits for ever.
 */
static bool line_is_begun(const struct termios *t, uint8_t typed)
{
	static const uint8_t ends[] = { VEOF, VEOL, VEOL2, VKILL };
	static const uint8_t flushes[] = { VINTR, VQUIT, VSUSP };
	if (typed == 0 || typed == '\n' || (typed == '\r' && t->c_iflag & ICRNL))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (typed == t->c_cc[ends[i]])
			return false;
	for (size_t i = 0; i < ARRAY_SIZE(flushes) && t->c_lflag & ISIG; i++)
		if (typed == t->c_cc[flushes[i]])
			return false;
	return true;
}

/*
 * The terminal's EOF character, where a line discipline is there to make it an end. It hands over the
 * line as far as it is there; only after an empty one is that nothing, which is the end. -EAGAIN: later.
 */
static int type_eof(struct session_input *in)
{
	struct termios t;
	if (tcgetattr(in->fd, &t) < 0 || !(t.c_lflag & ICANON) || t.c_cc[VEOF] == 0)
		return 0;
	const uint8_t eof[] = { t.c_cc[VEOF], t.c_cc[VEOF] };
	ssize_t n = line_is_begun(&t, in->typed) ? 2 : 1;
	ssize_t k = write_some(in, eof, (size_t)n);
	/* One of two: the line is ended now, so that the other is what is typed next. */
	return k == -EAGAIN || (k > 0 && k < n) ? -EAGAIN : 0;
}

static void finish_closing(struct session *s)
{
	struct session_input *in = &s->input;
	if (!s->tty) {
		in->closing = false;
		close_sink(s);
		return;
	}
	in->closing = type_eof(in) == -EAGAIN;
	watch_set(in->watch, in->closing ? UV_WRITABLE : 0);
}

/* Writes what is queued, as far as it goes. */
static void flush(struct session *s)
{
	struct session_input *in = &s->input;
	struct input_chunk *c;
	while ((c = first_chunk(in))) {
		ssize_t k = write_some(in, c->data + c->head, c->tail - c->head);
		if (k == -EAGAIN) {
			watch_set(in->watch, UV_WRITABLE);
			return;
		}
		if (k < 0) {
			fail(s, (int)-k);
			return;
		}
		give_credit(s, c->stream, (size_t)k);
		c->head += (size_t)k;
		if (c->head == c->tail)
			free_chunk(s, c);
	}
	watch_set(in->watch, 0);
	if (in->closing)
		finish_closing(s);
}

static void on_writable(void *userdata, unsigned events)
{
	(void)events;
	flush(userdata);
}

static int queue(struct session_input *in, uint32_t stream, const uint8_t *data, size_t n)
{
	if (!list_empty(&in->chunks)) {
		struct input_chunk *last =
			LIST_ENTRY(in->chunks.prev, struct input_chunk, in_chunks);
		if (last->stream == stream && n <= last->allocated - last->tail) {
			memcpy(last->data + last->tail, data, n);
			last->tail += n;
			return 0;
		}
	}

	size_t allocated = MAX(n, (size_t)INPUT_CHUNK_MIN);
	if (allocated > SESSION_INPUT_MAX - in->queued)
		return -ENOBUFS;
	struct input_chunk *c = malloc(sizeof(*c) + allocated);
	if (!c)
		return -ENOMEM;
	*c = (struct input_chunk){ .stream = stream, .allocated = allocated, .tail = n };
	memcpy(c->data, data, n);
	list_append(&in->chunks, &c->in_chunks);
	in->queued += allocated;
	return 0;
}

int session_input_error(const struct session *s)
{
	const struct session_input *in = &s->input;
	if (in->fd >= 0 && (!in->closing || s->tty))
		return 0;
	return in->error ? in->error : EPIPE;
}

int session_input_write(struct session *s, uint32_t stream, const void *data, size_t n)
{
	struct session_input *in = &s->input;
	const uint8_t *p = data;
	size_t size = n;
	int r = -session_input_error(s);

	if (r == 0) {
		widen(s);
		while (n > 0 && list_empty(&in->chunks)) {
			ssize_t k = write_some(in, p, n);
			if (k == -EAGAIN)
				break;
			if (k < 0) {
				r = (int)k;
				fail(s, -r);
				break;
			}
			give_credit(s, stream, (size_t)k);
			in->accepted += (size_t)k;
			p += k;
			n -= (size_t)k;
		}
	}
	if (r == 0)
		bulk_input(s, size, n == 0);
	if (r == 0 && n > 0) {
		r = queue(in, stream, p, n);
		if (r == 0) {
			in->accepted += n;
			watch_set(in->watch, UV_WRITABLE);
		}
	}
	/* What is not wanted does not block its writer either. */
	if (r < 0)
		give_credit(s, stream, n);
	return r;
}

void session_input_close(struct session *s)
{
	struct session_input *in = &s->input;
	if (in->fd < 0)
		return;
	in->closing = true;
	if (list_empty(&in->chunks))
		finish_closing(s);
	viewers_settle_flushes(s);
}
