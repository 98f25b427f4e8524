/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/execute.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

/*
 * Signals are blocked in all threads, and one thread takes them with sigtimedwait(): no handler, no
 * interrupted system calls, and the dispositions stay as they were, so that "as to any program" is
 * raise() at any time.
 *
 * That thread never waits for anything else. A guest that is stalled confirms nothing, and then the
 * next Ctrl-C is the one that matters. Signals are sent by a second thread, which is there while there
 * are some, and the kill by a third, which does not queue behind them. Like the kernel, we remember of
 * each signal only that it is pending.
 */

/* Two within this are one wish, to be rid of it. */
#define IMPATIENCE_MS 1000
/* What a guest that is well, on a machine that is busy, takes for killing a large tree. */
#define KILL_CONFIRM_MS 5000

static const int forwarded[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

static uint64_t bit(int signal)
{
	return (uint64_t)1 << (signal - 1);
}

/* What the signal does to any program. */
static void die(int signal)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signal);
	raise(signal);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	_exit(128 + signal);
}

static void give_up(const struct forward *f)
{
	cli_note(f->command, "the sandbox does not answer: %s",
		 f->sandbox_is_ours ? "it is ended as it is" : "the command may be running still");
	_exit(CLI_EXIT_FAILURE);
}

/* The command's terminal is as large as ours. That it has ended is said by an event. */
static void send_size(const struct forward *f)
{
	unsigned rows, cols;

	if (terminal_size(STDOUT_FILENO, &rows, &cols))
		cove_control_resize(f->control, rows, cols, NULL);
}

static void *send_signals(void *data)
{
	struct forward *f = data;

	pthread_mutex_lock(&f->lock);
	while (f->pending) {
		int signal = __builtin_ffsll((long long)f->pending);
		f->pending &= ~bit(signal);
		f->sending = bit(signal);
		pthread_mutex_unlock(&f->lock);
		int r = 0;
		if (signal == SIGWINCH)
			send_size(f);
		else
			r = cove_control_signal(f->control, signal, NULL);
		pthread_mutex_lock(&f->lock);
		f->sending = 0;
		if (signal == SIGWINCH)
			continue;
		uint64_t now = clock_monotonic_ms();
		if (r == 0) {
			f->delivered |= bit(signal);
			f->delivered_ms = now;
			continue;
		}
		f->ended = true;
		/*
		 * It had ended by itself, and its last output is being written. Where it ended of a
		 * signal just before this one, or of the kill after it, both are the same wish.
		 */
		if (r == COVE_E_STATE && !f->killing && now - f->delivered_ms >= IMPATIENCE_MS)
			die(signal);
	}
	f->sender_runs = false;
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

static void *send_kill(void *data)
{
	struct forward *f = data;

	/* Gone, whether by this or before; or lost, which the main thread hears as well. */
	cove_control_kill(f->control, NULL);
	forward_end(f);
	return NULL;
}

/* The rest is called with the lock. */

static void pass_on(struct forward *f, int signal)
{
	f->pending |= bit(signal);
	if (f->sender_runs)
		return;
	if (execute_start_thread(send_signals, f) == 0)
		f->sender_runs = true;
	else if (signal != SIGWINCH)
		die(signal);
}

static void start_kill(struct forward *f)
{
	f->killing = true;
	if (execute_start_thread(send_kill, f) < 0)
		give_up(f);
}

/* The next signal; 0 when the deadline has passed first (0: there is none). */
static int next_signal(const struct forward *f, uint64_t deadline_ms)
{
	for (;;) {
		uint64_t now = clock_monotonic_ms();
		uint64_t left = deadline_ms > now ? deadline_ms - now : 0;
		struct timespec timeout = { (time_t)(left / 1000), (long)(left % 1000) * 1000000 };
		int signal = deadline_ms ? sigtimedwait(&f->set, NULL, &timeout)
					 : sigwaitinfo(&f->set, NULL);
		if (signal > 0)
			return signal;
		if (errno == EAGAIN && clock_monotonic_ms() >= deadline_ms)
			return 0;
	}
}

static void *take_signals(void *data)
{
	struct forward *f = data;
	uint64_t last_int_ms = 0, kill_deadline_ms = 0;

	for (;;) {
		int signal = next_signal(f, kill_deadline_ms);
		uint64_t now = clock_monotonic_ms();

		pthread_mutex_lock(&f->lock);
		if (signal == SIGWINCH) {
			if (!f->ended)
				pass_on(f, signal);
		} else if (f->ended && signal) {
			die(signal);
		} else if (f->ended) {
			kill_deadline_ms = 0;
		} else if (f->killing && (!signal || signal == SIGINT)) {
			give_up(f);
		} else if (signal == SIGINT &&
			   (((f->pending | f->sending) & bit(SIGINT)) ||
			    (last_int_ms && now - last_int_ms < IMPATIENCE_MS))) {
			start_kill(f);
			kill_deadline_ms = now + KILL_CONFIRM_MS;
		} else {
			if (signal == SIGINT)
				last_int_ms = now;
			pass_on(f, signal);
		}
		pthread_mutex_unlock(&f->lock);
	}
	return NULL;
}

void forward_hold(struct forward *f)
{
	sigemptyset(&f->set);
	for (size_t i = 0; i < ARRAY_SIZE(forwarded); i++) {
		struct sigaction action;
		if (sigaction(forwarded[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
			sigaddset(&f->set, forwarded[i]);
	}
	if (f->resizes) /* does nothing by itself, but waits where it is blocked */
		sigaddset(&f->set, SIGWINCH);
	pthread_sigmask(SIG_BLOCK, &f->set, NULL);
}

int forward_start(struct forward *f, const struct cli_command *command, bool sandbox_is_ours,
		  cove_control *control)
{
	f->command = command;
	f->sandbox_is_ours = sandbox_is_ours;
	f->control = control;
	return execute_start_thread(take_signals, f);
}

void forward_end(struct forward *f)
{
	pthread_mutex_lock(&f->lock);
	f->ended = true;
	pthread_mutex_unlock(&f->lock);
}

bool forward_was_sent(struct forward *f, int signal)
{
	pthread_mutex_lock(&f->lock);
	uint64_t sent = f->sending | f->delivered | (f->killing ? bit(SIGKILL) : 0);
	pthread_mutex_unlock(&f->lock);
	return signal && (sent & bit(signal));
}
