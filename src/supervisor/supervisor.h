/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUPERVISOR_SUPERVISOR_H
#define SUPERVISOR_SUPERVISOR_H

/* The one sandbox of this process: what all its parts share. */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"
#include "base/name.h"
#include "cove/error.h"
#include "cove/types.h"
#include "image/store.h"
#include "supervisor/folder.h"
#include "supervisor/spec.h"
#include "supervisor/transcript.h"
#include "vmm/vmm.h"

/*
 * The life of a sandbox. sandbox.c alone changes the state; what is legal in which:
 *
 *	             machine  folder  socket  clients     streams to the guest
 *	WAITING      -        -       -       creator     refused
 *	BOOTING      yes      yes     -       creator     refused
 *	STARTING     yes      yes     -       creator     refused
 *	RUNNING      yes      yes     yes     all         passed on
 *	STOPPING     yes      yes     yes     all         passed on; the agent refuses new ones
 *	POWERING_OFF yes      yes     yes     all         what still comes is passed on
 *	ENDED        -        -/kept  -       all so far  what came is delivered, then goodbye
 */
enum sandbox_state {
	SANDBOX_WAITING,      /* for CREATE */
	SANDBOX_BOOTING,      /* for the agent's HELLO */
	SANDBOX_STARTING,     /* for READY */
	SANDBOX_RUNNING,      /* for requests, or an end */
	SANDBOX_STOPPING,     /* for DOWN */
	SANDBOX_POWERING_OFF, /* for the machine's process to end */
	SANDBOX_ENDED,	      /* for the clients to read the last words */
};

struct client;
struct machine;
struct until;

struct supervisor {
	uv_loop_t loop;
	uv_prepare_t flush;  /* writes what a turn of the loop has queued, before it sleeps */
	uv_timer_t deadline; /* of the state */
	uv_timer_t progress;
	uv_timer_t heartbeat;
	uv_signal_t sigterm;
	uv_signal_t sigint;
	uv_poll_t creator_poll; /* on creator_pid_fd */
	uv_poll_t listen_poll;
	int creator_pid_fd;
	int stand_in_fd;   /* for orphan_let_go() */
	struct list dirty; /* connections that may have something to write */

	enum sandbox_state state;
	struct spec *spec;
	struct image *image;
	struct folder folder;
	struct vmm_accel_report accel;
	struct machine *machine; /* NULL before and after */
	unsigned boots;		 /* machines started */
	uint64_t boot_deadline_ms;
	struct transcript console;
	struct transcript vmm_stderr;

	struct list clients;
	unsigned n_clients;
	struct client *creator; /* the connection we were started with, until it closes */
	uint32_t create_stream;
	bool creating; /* create_stream awaits its answer */
	struct cove_error create_error;

	struct until *until;	 /* with the end of this session it ends, too; NULL: with none */
	struct list until_asked; /* the same, of clients who wait for the guest's answer */
	char until_session[SESSION_ID_MAX_BYTES + 1]; /* its id, also when it has ended; or "" */

	uint64_t requested_ns; /* CLOCK_MONOTONIC of CREATE */
	uint64_t created_ns;   /* CLOCK_REALTIME */
	uint64_t boot_us;
	char kernel[128];
	bool stalled;
	unsigned unanswered; /* heartbeats */

	/* The end, as soon as it is asked for. */
	enum cove_end_cause end_cause;
	char end_text[COVE_ERROR_MESSAGE_MAX];
	uint64_t ended_ns;
	bool ending;	 /* on the way to ENDED: whatever else comes of it is void */
	bool last_words; /* ENDED: said to all, whoever has data waiting */
};

#endif
