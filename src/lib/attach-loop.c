/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One thread and one poll(): the user's terminal on one side, the command's on the other.
 *
 * Nothing here waits but for that poll(), so that detach keys and signals work whatever the command,
 * the terminal and the sandbox do: output that the terminal does not take stays where it is, which in
 * the end stops the command, and keys that the command does not take are kept, up to INPUT_BYTES.
 */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/macro.h"
#include "lib/attach-internal.h"
#include "lib/sandbox.h"
#include "lib/session.h"

/*
 * Keys that are read ahead of a command that does not read, on top of what the library and the guest
 * keep: as long as there is room, detach keys are seen behind them. A paste of more than this is
 * stopped, as it would be by any terminal.
 */
#define INPUT_BYTES (256u * 1024)
/* What a terminal gives at once. */
#define INPUT_PIECE 4096

/* Output in a turn: then keys and signals are looked at again. */
#define TURN_BYTES (64u * 1024)

/* How long leaving may take for keys typed before to arrive. A guest that is frozen takes none. */
#define DETACH_MS 1000

/*
 * From the changed size to the real one: not before the program has written something, which is the
 * redrawing, if it is going to; and that may have been on its way before, hence not too soon either.
 */
#define NUDGE_MIN_MS 50
#define NUDGE_MAX_MS 500

/* ---- the way out ---- */

static void fail(struct attach *a, int code)
{
	a->over = true;
	a->code = code;
}

static void finish(struct attach *a, enum cove_attach_end end)
{
	a->over = true;
	a->end = end;
}

static void interrupt(struct attach *a, int number)
{
	a->signal = number;
	finish(a, COVE_ATTACH_INTERRUPTED);
}

/* The terminal is gone; which would have been a SIGHUP, if anybody had been told. */
static void hang_up(struct attach *a)
{
	interrupt(a, SIGHUP);
}

/* ---- the size ---- */

static bool same(struct attach_size a, struct attach_size b)
{
	return a.rows == b.rows && a.cols == b.cols;
}

static uint64_t nudge_deadline(const struct attach *a)
{
	if (a->nudge != NUDGE_SENT)
		return UINT64_MAX;
	return a->nudged_ms + (a->answered ? NUDGE_MIN_MS : NUDGE_MAX_MS);
}

static void begin_nudge(struct attach *a)
{
	if (a->started && !a->looks)
		a->nudge = NUDGE_DUE;
}

/* Tells the command, if there is something to tell. What finds no room is told in the next turn. */
static void tell_size(struct attach *a, uint64_t now_ms)
{
	struct attach_size size = a->size;
	if (!a->started || a->looks)
		return;
	if (a->nudge == NUDGE_SENT && now_ms < nudge_deadline(a))
		return;
	if (a->nudge == NUDGE_DUE && same(a->size, a->sent))
		size.rows += size.rows > 1 ? -1u : 1u;
	if (same(size, a->sent)) {
		a->nudge = NUDGE_NONE;
		return;
	}
	if (process_resize(a->process, size.rows, size.cols, NULL) == COVE_E_AGAIN)
		return;
	/* Anything else that is wrong with it will be heard of. */
	a->sent = size;
	a->nudge = same(size, a->size) ? NUDGE_NONE : NUDGE_SENT;
	a->nudged_ms = now_ms;
	a->answered = false;
}

/* ---- output ---- */

/*
 * The modes that the command has, unless the terminal has them already. At the end of what is shown
 * again; and before it, where that does not begin at the beginning: what was written to a second screen
 * is shown there, even if what has switched it on is not kept.
 */
static void put_modes(struct attach *a)
{
	if (a->terminal.shows && !a->live)
		a->piece_end += attach_terminal_adjust(&a->terminal, a->modes, a->modes_size,
						       a->piece + a->piece_end);
}

/* A session of that id was there: its stdin is at some offset, and its output shown again. */
static void reopen(struct attach *a)
{
	struct cove_open_options options = COVE_OPEN_OPTIONS_INIT;
	options.flags = COVE_EXEC_NONBLOCK;
	options.keep_stdin_open = true;
	/* It is kept, for it may be what keeps the command alive, but takes no output. */
	a->starter = a->process;
	a->process = NULL;
	(void)process_wait(a->starter, 0, NULL, NULL);
	int r = session_open(a->sandbox->connection, a->id, &options, false, &a->process,
			     &a->failure);
	a->opened = true;
	if (r < 0)
		fail(a, r);
}

static void on_started(struct attach *a, const struct cove_event *event)
{
	snprintf(a->id, sizeof(a->id), "%s", event->id);
	if (!event->tty) {
		fail(a,
		     error_set(&a->failure, COVE_E_STATE, "the session %s has no terminal", a->id));
		return;
	}
	if (event->was_there && !a->opened) {
		reopen(a);
		return;
	}
	a->started = true;
	a->live = !a->opened || !a->terminal.shows; /* nobody would answer */
	a->replay_end = event->stdout_total;
	a->shown = a->from == COVE_FROM_NOW ? event->stdout_total : a->from_offset;
	a->modes_size = MIN(event->bytes, sizeof(a->modes));
	if (a->modes_size > 0)
		memcpy(a->modes, event->data, a->modes_size);
	a->piece_first = a->piece_end = 0;
	if (a->from != COVE_FROM_START)
		put_modes(a);
	a->sent = (struct attach_size){ event->rows, event->cols };
	if (a->opened)
		begin_nudge(a);
	if (!a->looks)
		a->in = process_take_stdin(a->process);
}

static void on_gap(struct attach *a, const struct cove_event *event)
{
	if (event->stream != COVE_STDOUT)
		return;
	bool first = a->from == COVE_FROM_START && a->shown == 0;
	a->missing_bytes += event->missing_bytes;
	a->shown = event->offset + event->missing_bytes;
	if (a->terminal.shows) {
		a->piece_first = 0;
		a->piece_end = attach_terminal_cancel(&a->terminal, a->piece);
		if (first)
			put_modes(a);
	}
}

static void on_output(struct attach *a, const struct cove_event *event)
{
	a->data = event->data;
	a->data_bytes = event->bytes;
	a->offset = event->offset;
	a->answered = a->answered || event->offset + event->bytes > a->replay_end;
}

/* What waits to be judged at the end of what is shown again comes after the modes: it goes on. */
static void end_replay(struct attach *a)
{
	a->piece_first = a->piece_end = 0;
	put_modes(a);
	a->piece_end += attach_terminal_release(&a->terminal, a->piece + a->piece_end);
	a->live = true;
}

/* False: there is none. */
static bool next_event(struct attach *a)
{
	const struct cove_event *event;
	if (a->ended) {
		finish(a, COVE_ATTACH_EXITED);
		return false;
	}
	int r = process_try_recv(a->process, &event, &a->failure);
	if (r == COVE_E_AGAIN || r == 0)
		return false;
	if (r < 0) {
		fail(a, r);
		return false;
	}
	switch (event->kind) {
	case COVE_EVENT_STARTED:
		on_started(a, event);
		break;
	case COVE_EVENT_STDOUT:
		on_output(a, event);
		break;
	case COVE_EVENT_STDERR: /* a terminal has none */
		break;
	case COVE_EVENT_STDIN_ERROR:
		a->deaf = true;
		break;
	case COVE_EVENT_GAP:
		on_gap(a, event);
		break;
	case COVE_EVENT_EXITED:
		a->exit = event->exit;
		a->ended = true;
		if (!a->live)
			end_replay(a);
		break;
	case COVE_EVENT_FAILED:
	case COVE_EVENT_LOST:
		a->failure = *event->error;
		fail(a, event->error->code);
		break;
	}
	return true;
}

/* 0: has to wait. */
static size_t write_out(struct attach *a, const uint8_t *data, size_t n, bool follow)
{
	ssize_t k = attach_terminal_write(&a->terminal, data, MIN(n, TURN_BYTES), follow);
	a->blocked = k == 0;
	if (k == -EIO && a->terminal.shows)
		hang_up(a);
	else if (k < 0)
		fail(a, error_set_errno(&a->failure, COVE_E_SYSTEM, (int)k,
					"cannot write the output"));
	return k > 0 ? (size_t)k : 0;
}

/* Shows some of the last event; how much of it was shown, or is in the piece to be. */
static size_t show_data(struct attach *a)
{
	if (a->live)
		return write_out(a, a->data, a->data_bytes, a->terminal.shows);
	size_t n = MIN(a->data_bytes, (size_t)ATTACH_PIECE_BYTES);
	n = (size_t)MIN((uint64_t)n, a->replay_end - a->offset);
	a->piece_first = 0;
	a->piece_end = attach_terminal_filter(&a->terminal, a->data, n, a->piece);
	return n;
}

static void pump_output(struct attach *a)
{
	size_t shown = 0;
	a->blocked = a->more = false;
	while (!a->over && !a->blocked && !a->more) {
		size_t n = 0;
		if (a->piece_first < a->piece_end) {
			n = write_out(a, a->piece + a->piece_first, a->piece_end - a->piece_first,
				      false);
			a->piece_first += n;
		} else if (a->started && !a->live && a->shown >= a->replay_end) {
			end_replay(a);
		} else if (a->data_bytes > 0) {
			n = show_data(a);
			a->data += n;
			a->data_bytes -= n;
			a->offset += n;
			a->shown = a->offset;
		} else if (!next_event(a)) {
			break;
		}
		shown += n;
		a->more = shown >= TURN_BYTES;
	}
}

/* ---- input ---- */

/* As many of the keys as the command takes. */
static void push_input(struct attach *a)
{
	size_t taken = 0;
	int r = 0;
	while (a->in && a->input.size > 0 && !a->deaf && r == 0) {
		r = process_stdin_try_write(a->in, buffer_front(&a->input), a->input.size, &taken,
					    NULL);
		if (r == 0)
			buffer_consume(&a->input, taken);
		else if (r != COVE_E_AGAIN && r != COVE_E_NO_MEMORY)
			a->deaf = true; /* the event that says why is on its way */
	}
	if (a->deaf || a->looks)
		buffer_consume(&a->input, a->input.size);
	buffer_trim(&a->input, INPUT_PIECE);
}

static void begin_detaching(struct attach *a, uint64_t now_ms)
{
	if (a->detach_ms == 0)
		a->detach_ms = now_ms + DETACH_MS;
}

static void take_keys(struct attach *a, const uint8_t *data, size_t n, uint64_t now_ms)
{
	uint8_t passed[INPUT_PIECE + ATTACH_KEYS_LENGTH];
	size_t k = attach_keys_feed(&a->keys, data, n, now_ms, passed);
	if (a->keys.detached || (a->looks && n > 0 && memchr(data, 'C' - '@', n)))
		begin_detaching(a, now_ms);
	if (!a->looks && !a->deaf && buffer_append(&a->input, passed, k) < 0)
		fail(a, error_set(&a->failure, COVE_E_NO_MEMORY, "out of memory for the input"));
}

static bool wants_input(const struct attach *a)
{
	return a->detach_ms == 0 && a->input.size + INPUT_PIECE + ATTACH_KEYS_LENGTH <= INPUT_BYTES;
}

static void read_input(struct attach *a, uint64_t now_ms)
{
	uint8_t data[INPUT_PIECE];
	ssize_t k = read(a->terminal.read_fd, data, sizeof(data));
	if (k > 0)
		take_keys(a, data, (size_t)k, now_ms);
	else if (k == 0 || errno == EIO)
		hang_up(a);
	else if (errno != EINTR && errno != EAGAIN)
		fail(a, error_set_errno(&a->failure, COVE_E_SYSTEM, errno,
					"cannot read the terminal"));
}

/*
 * Leaves when everything that was typed before has arrived, or time is up. Until the command has
 * started it has no id to come back to.
 */
static void detach(struct attach *a, uint64_t now_ms)
{
	struct cove_error err = COVE_ERROR_INIT;
	bool late = now_ms >= a->detach_ms;
	int r = 0;
	if (!late && (!a->started || a->input.size > 0))
		return;
	if (a->in && !a->deaf && a->input.size == 0)
		r = process_stdin_flush(a->in, deadline_after_ms(late ? 0 : a->detach_ms - now_ms),
					&err);
	if (r == COVE_E_LOST || r == COVE_E_PROTOCOL) {
		a->failure = err;
		fail(a, r);
		return;
	}
	finish(a, COVE_ATTACH_DETACHED);
}

/* ---- signals ---- */

static void take_terminal_again(struct attach *a)
{
	int r = attach_terminal_raw(&a->terminal, true, &a->failure);
	if (r < 0)
		fail(a, r);
	begin_nudge(a);
}

static void on_signals(struct attach *a)
{
	static const int ends[] = { SIGHUP, SIGTERM, SIGINT, SIGQUIT };
	uint64_t set = attach_signals_take(&a->signals);
	bool stop = set & 1ULL << SIGTSTP;
	if (stop) {
		attach_terminal_restore(&a->terminal, false);
		attach_signals_stop(&a->signals);
	}
	if (stop || set & 1ULL << SIGCONT) {
		take_terminal_again(a);
		/* Those that came meanwhile; one that continued us has been obeyed. */
		set |= attach_signals_take(&a->signals) & ~(1ULL << SIGCONT | 1ULL << SIGTSTP);
	}
	a->size = attach_terminal_size(&a->terminal);
	for (size_t i = 0; i < ARRAY_SIZE(ends) && !a->over; i++)
		if (set & 1ULL << ends[i])
			interrupt(a, ends[i]);
}

/* ---- the loop ---- */

enum { POLL_SIGNALS, POLL_INPUT, POLL_SANDBOX, POLL_OUTPUT, N_POLLS };

static int wait_ms(const struct attach *a, uint64_t now_ms)
{
	uint64_t deadline = MIN(attach_keys_deadline(&a->keys), nudge_deadline(a));
	if (a->detach_ms > 0)
		deadline = MIN(deadline, a->detach_ms);
	if (a->more || deadline <= now_ms)
		return 0;
	return deadline == UINT64_MAX ? -1 : (int)(deadline - now_ms);
}

static void dispatch(struct attach *a)
{
	cove_process *ready[4]; /* there are two at most, and both are looked at anyway */
	if (cove_sandbox_dispatch(a->sandbox, ready, ARRAY_SIZE(ready), NULL) < 0)
		a->cut = true;
}

static void turn(struct attach *a)
{
	struct pollfd p[N_POLLS] = {
		[POLL_SIGNALS] = { a->signals.fd, POLLIN, 0 },
		[POLL_INPUT] = { a->terminal.read_fd, wants_input(a) ? POLLIN : 0, 0 },
		[POLL_SANDBOX] = { a->cut ? -1 : cove_sandbox_fd(a->sandbox, NULL), POLLIN, 0 },
		[POLL_OUTPUT] = { a->blocked ? a->terminal.write_fd : -1, POLLOUT, 0 },
	};
	int n = poll(p, N_POLLS, wait_ms(a, clock_monotonic_ms()));
	uint64_t now_ms = clock_monotonic_ms();
	if (n < 0 && errno != EINTR)
		fail(a, error_set_errno(&a->failure, COVE_E_SYSTEM, errno, "poll"));
	if (n < 0) /* a handler of the program's may have been for SIGWINCH */
		a->size = attach_terminal_size(&a->terminal);
	if (n > 0 && p[POLL_SIGNALS].revents)
		on_signals(a);
	if (n > 0 && p[POLL_SANDBOX].revents)
		dispatch(a);
	if (a->over)
		return;
	if (n > 0 && p[POLL_INPUT].revents & POLLIN)
		read_input(a, now_ms);
	else if (n > 0 && p[POLL_INPUT].revents)
		hang_up(a);
	else if (attach_keys_deadline(&a->keys) <= now_ms)
		take_keys(a, NULL, 0, now_ms);
}

void attach_loop(struct attach *a)
{
	buffer_init(&a->input, INPUT_BYTES);
	while (!a->over) {
		pump_output(a);
		if (a->over)
			break;
		uint64_t now_ms = clock_monotonic_ms();
		push_input(a);
		tell_size(a, now_ms);
		if (a->detach_ms > 0)
			detach(a, now_ms);
		if (!a->over)
			turn(a);
	}
	a->unsent_bytes = a->deaf ? 0 : a->input.size;
	if (a->in && !a->deaf)
		a->unsent_bytes += process_stdin_waiting(a->in);
	buffer_done(&a->input);
}
