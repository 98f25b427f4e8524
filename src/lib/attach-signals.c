/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/attach-signals.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/macro.h"

static const int numbers[ATTACH_SIGNALS] = { SIGWINCH, SIGCONT, SIGTSTP, SIGINT,
					     SIGTERM,  SIGHUP,	SIGQUIT };

/* Handlers have no argument: what they need is the process's. Only one can use it at a time. */
static atomic_bool in_use;
static atomic_int handler_fd = -1;
static atomic_uint handlers; /* running, in whatever thread */
static _Atomic uint64_t caught;

static void on_signal(int number)
{
	int saved = errno;
	atomic_fetch_add(&handlers, 1);
	atomic_fetch_or(&caught, 1ULL << number);
	int fd = atomic_load(&handler_fd);
	if (fd >= 0)
		(void)!write(fd, &(uint64_t){ 1 }, sizeof(uint64_t));
	atomic_fetch_sub(&handlers, 1);
	errno = saved;
}

static bool is_default(const struct sigaction *action)
{
	return !(action->sa_flags & SA_SIGINFO) && action->sa_handler == SIG_DFL;
}

static void set_handler(struct attach_signals *s, size_t i)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	sigemptyset(&action.sa_mask);
	s->ours[i] = sigaction(numbers[i], NULL, &s->old[i]) == 0 && is_default(&s->old[i]) &&
		     sigaction(numbers[i], &action, NULL) == 0;
}

static void unset_handler(struct attach_signals *s, size_t i)
{
	struct sigaction now;
	/* Another thread may have set one of its own meanwhile. */
	if (s->ours[i] && sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler == on_signal)
		(void)sigaction(numbers[i], &s->old[i], NULL);
	s->ours[i] = false;
}

int attach_signals_claim(struct cove_error *err)
{
	if (atomic_exchange(&in_use, true))
		return error_set(err, COVE_E_STATE,
				 "this process is attached to a terminal already");
	return 0;
}

void attach_signals_release(void)
{
	atomic_store(&in_use, false);
}

/* ---- SIGPIPE, which is sent to the thread that writes ---- */

static void pipe_set(sigset_t *ret)
{
	sigemptyset(ret);
	sigaddset(ret, SIGPIPE);
}

static void block_pipe(struct attach_signals *s)
{
	sigset_t set, old;
	pipe_set(&set);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	s->pipe_was_blocked = sigismember(&old, SIGPIPE);
}

static void unblock_pipe(struct attach_signals *s)
{
	sigset_t set;
	if (s->pipe_was_blocked)
		return;
	pipe_set(&set);
	(void)sigtimedwait(&set, NULL, &(struct timespec){ 0 });
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* ---- life ---- */

int attach_signals_init(struct attach_signals *s, struct cove_error *err)
{
	s->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->fd < 0)
		return error_set_errno(err, COVE_E_SYSTEM, errno, "cannot make a descriptor");
	atomic_store(&caught, 0);
	atomic_store(&handler_fd, s->fd);
	for (size_t i = 0; i < ATTACH_SIGNALS; i++)
		set_handler(s, i);
	block_pipe(s);
	return 0;
}

void attach_signals_done(struct attach_signals *s)
{
	if (s->fd < 0)
		return;
	unblock_pipe(s);
	for (size_t i = 0; i < ATTACH_SIGNALS; i++)
		unset_handler(s, i);
	atomic_store(&handler_fd, -1);
	/* One that has seen the descriptor may be about to write to it, in another thread. */
	while (atomic_load(&handlers) > 0)
		sched_yield();
	s->fd = fd_close(s->fd);
}

uint64_t attach_signals_take(struct attach_signals *s)
{
	eventfd_t value;
	(void)!eventfd_read(s->fd, &value); /* first: what comes in between is told of again */
	return atomic_exchange(&caught, 0);
}

void attach_signals_stop(struct attach_signals *s)
{
	sigset_t stop, old;
	size_t i = 0;
	while (numbers[i] != SIGTSTP)
		i++;
	unset_handler(s, i);
	sigemptyset(&stop);
	sigaddset(&stop, SIGTSTP);
	pthread_sigmask(SIG_UNBLOCK, &stop, &old);
	raise(SIGTSTP); /* returns after SIGCONT; or at once, where there is no shell to continue it */
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	set_handler(s, i);
}
