/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_ATTACH_INTERNAL_H
#define LIB_ATTACH_INTERNAL_H

/*
 * One call of cove_attach() and its like: attach.c checks, connects and cleans up, attach-loop.c is
 * the time in between.
 */

#include <cove/cove.h>

#include "base/buffer.h"
#include "base/name.h"
#include "lib/attach-keys.h"
#include "lib/attach-screen.h"
#include "lib/attach-signals.h"
#include "lib/attach-terminal.h"
#include "lib/process.h"

/* Output that is looked through for questions at a time. */
#define ATTACH_PIECE_BYTES 4096

/*
 * The size of the terminal is changed for a program to draw its screen anew. Where it has changed
 * anyway, once; where it has not, there and back, and of two signals that come too close to each other
 * a program sees one, and then the size that it knows.
 */
enum attach_nudge {
	NUDGE_NONE,
	NUDGE_DUE,  /* one row less, as soon as that can be sent */
	NUDGE_SENT, /* and back to the real size, when the program has seen it */
};

struct attach {
	cove_sandbox *sandbox; /* a handle of our own */
	struct process *process;
	/* What started the command, when it turned out to have been there before. */
	struct process *starter;
	struct process *in; /* the process's stdin, once it has started */
	struct attach_terminal terminal;
	struct attach_signals signals;
	struct attach_keys keys;
	bool looks; /* read_only */

	bool opened;  /* the process is one that was there, and is shown from where was asked for */
	bool started; /* and the session is one that can be shown */
	bool ended;   /* and nothing more comes of it */
	bool cut;     /* the sandbox's descriptor is not to be polled any more */
	bool more;    /* there is output, for the next turn */
	bool blocked; /* output waits for the terminal */

	struct attach_size size; /* of the user's terminal */
	struct attach_size sent; /* what the command's has been told */
	enum attach_nudge nudge;
	uint64_t nudged_ms;
	bool answered; /* output has come since */

	/* Output: what of the last event is to be shown still, and where that is in the stream. */
	const uint8_t *data;
	size_t data_bytes;
	uint64_t offset;
	uint64_t replay_end; /* the first byte that is new */
	bool live;	     /* what has been shown before is over */
	uint64_t shown;	     /* after the last byte that was */
	/* Of a session that was there: where its output was asked for from. */
	enum cove_open_from from;
	uint64_t from_offset;
	/* The modes that the command has switched on before that, as control sequences. */
	uint8_t modes[SCREEN_MODES_BYTES];
	size_t modes_size;
	/* What goes out as it is: looked through, or of our own. */
	uint8_t piece[ATTACH_PIECE_BYTES + 2 * ATTACH_SCREEN_HOLD];
	size_t piece_first, piece_end;

	/* Keys that the command has not taken. */
	struct buffer input;
	bool deaf; /* it takes none any more */

	uint64_t
		detach_ms; /* when what is left of them is given up; 0: nobody has asked to detach */
	uint64_t missing_bytes;

	/* The way out. */
	bool over;
	int code; /* and `failure` */
	struct cove_error failure;
	enum cove_attach_end end;
	int signal;
	struct cove_exit exit;
	char id[SESSION_ID_MAX_BYTES + 1];
	uint64_t unsent_bytes;
};

/* From the started process to `over`. */
void attach_loop(struct attach *a);

#endif
