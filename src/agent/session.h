/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_SESSION_H
#define AGENT_SESSION_H

/*
 * A session: one command, its processes, its terminal or pipes, its replay rings, its end. It
 * belongs to the machine; viewers (viewer.h) come and go.
 *
 *	session-start.c   from a request to a running command
 *	session.c         finding sessions, their end, keeping and forgetting them
 *	session-output.c  stdout and stderr into the rings
 *	session-input.c   stdin
 *
 * Its result is there for everybody, by its id, until somebody says that he has it (COLLECT), or it
 * is too old. From then on nobody new can look, and of the output only that is kept which those who
 * look have still to get. Its entry in the list stays after COLLECT, too, until it is too old: then
 * the session is forgotten, but for the id (id-set.h), as soon as nobody looks.
 *
 * Standard input stays open when streams go away, whether by detaching or by a client's death,
 * which look the same: only an EOF frame closes it. A library that lets go of its sink sends one. A
 * client attaching later can go on writing, also in a copy of the machine resumed from a snapshot.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "agent/bulk.h"
#include "agent/event.h"
#include "agent/id-set.h"
#include "agent/ring.h"
#include "agent/tree.h"
#include "base/list.h"
#include "base/macro.h"
#include "base/screen.h"
#include "cove/error.h"
#include "wire/cove.pb-c.h"

struct agent;

/* ---- limits ---- */

/* Sessions that are not over: some ten descriptors and 32 KiB each. */
#define SESSIONS_OPEN_MAX 4096
/* Sessions that are over, whose result is kept, and for how long. */
#define SESSIONS_KEPT_MAX 1024
#ifndef SESSIONS_KEPT_MS /* a test has less patience */
#define SESSIONS_KEPT_MS (10u * 60 * 1000)
#endif
/* What the rings of those may hold together; beyond it the oldest keep their result only. */
#define SESSIONS_KEPT_BYTES ((size_t)8 * 1024 * 1024)
/* A replay ring of one channel. */
#define SESSION_RING_DEFAULT (256u * 1024)
#define SESSION_RING_MIN     4096u
#define SESSION_RING_MAX     (64u * 1024 * 1024)
/* Streams looking at one session; each may have a window of stdin on its way. */
#define SESSION_VIEWERS_MAX 16
/* Stdin not yet written to the command. More than the windows of all viewers comes from streams
   that were closed and opened again meanwhile, and is refused. */
#define SESSION_INPUT_MAX ((size_t)SESSION_VIEWERS_MAX * 256 * 1024)
/*
 * Stdin pipes that were made larger, at one time: those of commands that stop reading are full, and
 * what is in them is the kernel's memory on the agent's account.
 */
#define SESSIONS_WIDE_INPUTS_MAX 16
/* The same of stdout and stderr: streams whose readers stop leave their pipes full. */
#define SESSIONS_WIDE_OUTPUTS_MAX 16
/* Each resource may be named once, and then some. */
#define SESSION_RLIMITS_MAX 64
/* Kill requests that wait for the tree to be empty. */
#define SESSION_KILLS_MAX 64
/* Of argv, kept to be listed. */
#define SESSION_ARGV_MAX 4096u
/* Descriptors that sessions leave free, so that reading users' files and killing always works. */
#define SESSION_FDS_RESERVED 64

#define SESSION_LINGER_MS 50
/* How long an end waits for a killed tree to be empty: uninterruptible processes take their time.
 */
#define SESSION_KILL_CONFIRM_MS 500

/* ---- types ---- */

enum session_state {
	SESSION_RUNNING, /* its first process, the leader, lives */
	SESSION_ENDING,	 /* the leader is dead; waiting for its last output, or a killed tree */
	SESSION_ENDED,	 /* Exited is said. Background processes may go on */
};

/* enum cove_cause of the public header, which the guest does not include; a test compares them. */
enum session_cause {
	SESSION_EXITED = 0,
	SESSION_SIGNALED = 1,
	SESSION_TIMED_OUT = 2,
	SESSION_OOM_KILLED = 3,
	SESSION_KILLED = 4,
	SESSION_OUTPUT_LIMIT = 5,
	SESSION_STOPPED = 6,
};

struct session_output {
	struct session *session;
	unsigned channel; /* enum wire_channel */
	int fd;
	struct watch *watch;
	struct list in_bulk; /* once it reads as much at a time as there is to a read */
	struct ring ring;
	size_t read_size; /* of the next read: grows with what comes */
	size_t held;	  /* bytes in the pipe at the leader's death, not read yet */
	bool widened;	  /* the pipe was made larger */
	bool full;	  /* viewers have to take something first */
	bool held_back;	  /* others come first: see bulk.h */
	bool eof;
};

struct session_input {
	int fd; /* -1: none, closed, or failed */
	struct watch *watch;
	struct list chunks; /* struct input_chunk, oldest first */
	size_t queued;	    /* bytes they allocate */
	uint64_t accepted;  /* bytes that came, of all streams */
	uint64_t written;   /* bytes that the command's pipe or terminal took */
	bool widened;	    /* the pipe was made larger */
	uint64_t started; /* the end of what came of those who started it, who all send the same */
	bool closing;	  /* EOF came: close after the last chunk */
	uint8_t typed;	  /* the last byte written to a terminal */
	int error;	  /* why it cannot be written any more; 0: it can, or was closed in order */
};

struct session {
	struct agent *agent;
	struct list in_all;
	struct list in_ids;  /* empty when forgotten */
	struct list in_pids; /* while the leader is not reaped */
	struct list in_kept; /* when over */
	enum session_state state;

	char *id;
	uint64_t number; /* in the order of their start */
	pid_t pid;
	bool tty;
	struct winsize size; /* of the terminal, as of session_update_size() */
	char **argv;	     /* for the list: shortened */
	struct tree tree;
	struct watch *tree_watch;

	struct session_output outputs[2]; /* stdout, stderr */
	struct screen *screen;		  /* what a terminal's output has switched on; else NULL */
	struct session_input input;
	struct list viewers;
	unsigned n_viewers;
	struct list kills; /* struct kill_request: to be acknowledged */
	unsigned n_kills;

	/* As asked for. */
	int timeout_signal;
	uint64_t timeout_grace_ms;
	uint64_t linger_ms;
	bool wait_eof;
	bool kill_tree_on_exit;
	bool kill_on_disconnect;
	uint64_t output_kill_bytes;

	struct timer *timeout; /* NULL without one */
	struct timer *end;     /* linger, then confirmation of a kill */
	bool timeout_signalled;
	bool lingered;		/* the linger time is over */
	bool tree_killed;	/* by us */
	bool confirm_over;	/* not waiting for the killed tree any longer */
	bool drained;		/* nothing can be in the pipes any more */
	bool over;		/* nothing of it goes on, no process and no open pipe */
	bool collected;		/* nobody new may look: what is kept is for those who do */
	uint64_t asked_signals; /* bit n-1: signal n was asked for over the link */

	/* The end. */
	bool cause_known; /* the first to end it names the cause */
	enum session_cause cause;
	int code;
	int signal;
	bool core_dumped;
	uint64_t totals[2];
	uint64_t started_ns; /* CLOCK_REALTIME */
	uint64_t started_monotonic_ns;
	uint64_t ended_ns;
	uint64_t elapsed_ns;
	uint64_t over_ms; /* the loop's time at which it was put among the kept */
	struct rusage usage;
};

#define SESSIONS_BUCKETS 1024

struct sessions {
	struct list all;
	struct list ids[SESSIONS_BUCKETS];
	struct list pids[SESSIONS_BUCKETS];
	struct list kept; /* over, oldest first */
	unsigned n_all;
	unsigned n_open; /* of them not over */
	unsigned n_kept;
	unsigned n_wide_inputs;
	unsigned n_wide_outputs;
	struct bulk bulk;
	size_t kept_bytes;
	uint64_t serial;
	uint64_t n_started;
	struct id_set forgotten;
	struct timer *expiry;
};

/* ---- all sessions ---- */

int sessions_init(struct agent *agent) _must_check_;
struct session *sessions_find(struct agent *agent, const void *id, size_t size);
struct session *sessions_find_pid(struct agent *agent, pid_t pid);
/* Whether the id named a session that is not kept any more. */
bool sessions_id_used(struct agent *agent, const char *id);
/* SIGCHLD came: for trees that have nothing better to go by. */
void sessions_update_trees(struct agent *agent);
/* All ended, with all their processes. */
bool sessions_are_quiet(struct agent *agent);

/* ---- one session ---- */

/* Starts what the request asks for. On failure nothing is left of it. */
int session_start(struct agent *agent, const Cove__Wire__Exec *exec, struct session **ret,
		  struct cove_error *err) _must_check_;
/* Puts a new session into the tables; before that session_free() is all that may be called. */
void session_register(struct session *s);
struct session *session_free(struct session *s);
DEFINE_CLEANUP(struct session *, session_free)

/* The timeout's callback: the first signal, or the kill. */
void session_on_timeout(void *session);
void session_on_end_timer(void *session);
/* The leader was reaped. May free the session. */
void session_on_exit(struct session *s, int status, const struct rusage *usage);
/* To the leader's process group, or a terminal's foreground. -ESRCH when it has ended, -EINVAL. */
int session_signal(struct session *s, int signal) _must_check_;
/* None of its processes is left. May free the session, unless it has a viewer. */
bool session_is_empty(struct session *s);
/* SIGKILL to the tree. If the leader lives, `cause` is why it ends, unless there is one already. */
void session_kill(struct session *s, enum session_cause cause);
/* SIGTERM to the tree (and SIGHUP where there is a terminal): the machine goes down. */
void session_stop(struct session *s);
int session_resize(struct session *s, unsigned rows, unsigned columns) _must_check_;
/* Asks the terminal, if it is there: its programs may change the size, too. */
void session_update_size(struct session *s);
/* Its result is with somebody: who does not look already will not any more. -EBUSY: it runs. */
int session_collect(struct session *s) _must_check_;
/* If it is collected: of its output, drops what nobody has still to get. */
void session_drop_output(struct session *s);
/*
 * Asks for an ACK on `stream` when the tree is empty, at once if it is. stream 0 drops them all: a
 * link that starts anew has other streams.
 */
int session_await_empty(struct session *s, uint32_t stream, uint32_t request) _must_check_;
void session_drop_kill_requests(struct session *s, uint32_t stream);

/*
 * Something happened that may be the last that its end, or its being forgotten, was waiting for. May
 * free the session: nothing may use it after.
 */
void session_settle(struct session *s);

/* How it ended; `usage` is a message's part that must live as long as the message. */
void session_fill_exited(const struct session *s, Cove__Wire__Exited *ret,
			 Cove__Wire__Usage *usage);

/* ---- output ---- */

/* Takes over fd, which is readable, may be -1 for a channel that has nothing. */
int session_output_init(struct session_output *o, struct session *s, unsigned channel, int fd,
			size_t ring_size) _must_check_;
void session_output_done(struct session_output *o);
/* Viewers took bytes, or left: there may be room again. */
void session_output_resume(struct session_output *o);
/* Leaves it alone for now, or no longer. */
void session_output_hold(struct session_output *o, bool hold);
/* The leader is dead: reads what it left in the pipe, whether anybody takes it or not. */
void session_output_drain(struct session_output *o);
/* Reads what is in the pipe, then closes it: who writes to it gets EPIPE. -ENOTTY for a terminal. */
int session_output_close(struct session_output *o) _must_check_;

/* ---- input ---- */

int session_input_init(struct session_input *in, struct session *s, int fd) _must_check_;
void session_input_done(struct session *s);
/* Bytes of a stream; 0, or a negative errno, and then the stream must be told. */
int session_input_write(struct session *s, uint32_t stream, const void *data,
			size_t n) _must_check_;
/* 0: it can be written; else the errno that writing it has from now on. */
int session_input_error(const struct session *s);
/* The end of it; for a terminal, its EOF character. */
void session_input_close(struct session *s);
/* The link starts anew: nobody waits for credit for what is queued. */
void session_input_forget_streams(struct session *s);

#endif
