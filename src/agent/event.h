/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_EVENT_H
#define AGENT_EVENT_H

/*
 * libuv's handles, which are freed by the loop some time after they were closed, as objects with
 * one owner: free means that no callback comes any more, and the descriptor may be closed at once.
 */

#include <stdint.h>
#include <uv.h>

#include "base/cleanup.h"
#include "base/macro.h"

struct watch;
struct timer;

/*
 * Watches a nonblocking descriptor; nothing until watch_set(). The callback gets the events that
 * are there (UV_READABLE | UV_WRITABLE | UV_PRIORITIZED); on an error condition it gets all it
 * asked for, and the system call that it then makes has the errno. The descriptor is not owned.
 */
int watch_new(uv_loop_t *loop, int fd, void (*callback)(void *userdata, unsigned events),
	      void *userdata, struct watch **ret) _must_check_;
/* Which events to wait for; 0: none. Costs nothing when it is what it was. */
void watch_set(struct watch *w, unsigned events);
struct watch *watch_free(struct watch *w);
DEFINE_CLEANUP(struct watch *, watch_free)

int timer_new(uv_loop_t *loop, void (*callback)(void *userdata), void *userdata,
	      struct timer **ret) _must_check_;
/* Once, ms from now; starts over when it was running. */
void timer_start(struct timer *t, uint64_t ms);
void timer_stop(struct timer *t);
struct timer *timer_free(struct timer *t);
DEFINE_CLEANUP(struct timer *, timer_free)

#endif
