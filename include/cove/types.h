/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COVE_TYPES_H
#define COVE_TYPES_H

/*
 * Numbers that mean the same in the public interface, on the wire and on disk. They are never
 * reused.
 */

enum cove_sandbox_state {
	COVE_SANDBOX_STARTING = 0,
	COVE_SANDBOX_RUNNING = 1,
	COVE_SANDBOX_STOPPING = 2,
	COVE_SANDBOX_ENDED = 3,
};

/* Why a sandbox ended. */
enum cove_end_cause {
	COVE_END_NONE = 0,	      /* it has not */
	COVE_END_STOPPED = 1,	      /* cove_sandbox_stop() */
	COVE_END_KILLED = 2,	      /* cove_sandbox_kill() */
	COVE_END_CREATOR_GONE = 3,    /* attached, and its creator ended or freed it */
	COVE_END_GUEST_OFF = 4,	      /* the guest powered itself off */
	COVE_END_GUEST_PANIC = 5,     /* the guest's kernel gave up */
	COVE_END_VMM_DIED = 6,	      /* the virtual machine monitor ended unasked */
	COVE_END_BOOT_FAILED = 7,     /* it never came up */
	COVE_END_GUEST_HOSTILE = 8,   /* the guest broke the protocol and was ended for it */
	COVE_END_SUPERVISOR_DIED = 9, /* found dead by a later call */
	COVE_END_SESSION_ENDED = 10,  /* that which cove_sandbox_detach() named */
};

#endif
