/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/event.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "agent/poison.h"

struct watch {
	uv_poll_t handle; /* first: libuv's handles are found by their address */
	unsigned events;
	void (*callback)(void *userdata, unsigned events);
	void *userdata;
};

struct timer {
	uv_timer_t handle;
	void (*callback)(void *userdata);
	void *userdata;
};

static void free_handle(uv_handle_t *handle)
{
	free(handle);
}

int watch_new(uv_loop_t *loop, int fd, void (*callback)(void *userdata, unsigned events),
	      void *userdata, struct watch **ret)
{
	struct watch *w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->callback = callback;
	w->userdata = userdata;
	int r = uv_poll_init(loop, &w->handle, fd);
	if (r < 0) {
		free(w); /* libuv did not keep it */
		return r;
	}
	*ret = w;
	return 0;
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
	struct watch *w = (struct watch *)handle;
	unsigned wanted = w->events;

	if (status < 0) {
		/*
		 * libuv has stopped the handle: an error condition is there (a pipe without
		 * readers). Whoever watches finds out by trying, and sets what it wants again.
		 */
		w->events = 0;
		w->callback(w->userdata, wanted);
	} else {
		w->callback(w->userdata, (unsigned)events & wanted);
	}
}

void watch_set(struct watch *w, unsigned events)
{
	if (w->events == events)
		return;
	w->events = events;
	int r = events ? uv_poll_start(&w->handle, (int)events, on_poll) : uv_poll_stop(&w->handle);
	assert(r == 0); /* fails for a handle that is being closed only */
	(void)r;
}

struct watch *watch_free(struct watch *w)
{
	if (w)
		uv_close((uv_handle_t *)&w->handle, free_handle);
	return NULL;
}

static void on_timer(uv_timer_t *handle)
{
	struct timer *t = (struct timer *)handle;
	t->callback(t->userdata);
}

int timer_new(uv_loop_t *loop, void (*callback)(void *userdata), void *userdata, struct timer **ret)
{
	struct timer *t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->callback = callback;
	t->userdata = userdata;
	uv_timer_init(loop, &t->handle);
	*ret = t;
	return 0;
}

void timer_start(struct timer *t, uint64_t ms)
{
	/* The loop's idea of now is that of the beginning of its turn. */
	uv_update_time(t->handle.loop);
	uv_timer_start(&t->handle, on_timer, ms, 0);
}

void timer_stop(struct timer *t)
{
	if (t)
		uv_timer_stop(&t->handle);
}

struct timer *timer_free(struct timer *t)
{
	if (t)
		uv_close((uv_handle_t *)&t->handle, free_handle);
	return NULL;
}
