/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUPERVISOR_LIMITS_H
#define SUPERVISOR_LIMITS_H

/*
 * Everything that a guest or a client can make grow, or take long, and how far it may. Tests build
 * with shorter times.
 */

/* Connections at once. Each is a process of the same user; their number must only be finite. */
#define CLIENTS_MAX 256

/* Who connects and does not say HELLO holds a slot of CLIENTS_MAX for nothing. */
#ifndef CLIENT_HANDSHAKE_MS
#define CLIENT_HANDSHAKE_MS 5000
#endif

/* Streams of one client: a thousand sessions with room to spare, half of what the guest's link
 * takes, so that one client cannot use up all of those. */
#define CLIENT_STREAMS_MAX 4096

/*
 * Control messages that wait for one client. Above it the client is cut off: it does not read, and
 * neither its requests nor a guest that floods it may grow the supervisor. Two of the largest
 * messages fit.
 */
#define CLIENT_QUEUE_MAX (8u * 1024 * 1024)

/*
 * Data that waits for one client, all its streams together. Each channel is bounded by the credit
 * that the client gave; a thousand sessions whose both channels fill the initial window fit. A stream
 * that has more for a client that has stopped reading is lost, with an error, and no other.
 */
#ifndef CLIENT_DATA_MAX
#define CLIENT_DATA_MAX (512u * 1024 * 1024)
#endif

/* The creator's CREATE must follow within this time. */
#ifndef CREATE_WAIT_MS
#define CREATE_WAIT_MS 10000
#endif

/* Jumps in the offsets of what waits on one channel. An honest agent makes at most one for each
 * credit it gets, and those come in quarters of a window. */
#define RING_GAPS_MAX 32

/* How often in its life a guest may lose its place on the link. Each time ends all streams, so an
 * honest one does not come near it. */
#define GUEST_RESYNC_MAX 8

/* A guest that is silent is asked whether it lives, and is said to be stalled after that many
 * questions without an answer. */
#ifndef HEARTBEAT_MS
#define HEARTBEAT_MS 5000
#endif
#define HEARTBEAT_MISSED 3

/* The machine's console and QEMU's own words: kept for the message of a failure, and in a file. */
#define CONSOLE_KEEP	   (64u * 1024)
#define CONSOLE_LOG_MAX	   (1024u * 1024)
#define VMM_KEEP	   (4u * 1024)
#define VMM_LOG_MAX	   (256u * 1024)
#define SUPERVISOR_LOG_MAX (256u * 1024)

/* Bytes read of each descriptor of a machine that has ended: more than its buffers can hold. */
#define MACHINE_DRAIN_MAX (8u * 1024 * 1024)

#define BOOT_TIMEOUT_DEFAULT_MS 60000
#define BOOT_TIMEOUT_MAX_MS	(24 * 3600 * 1000)
/* A boot that takes longer than this is worth a line to the creator. */
#define BOOT_PROGRESS_MS 3000

/* From SIGTERM to SIGKILL for the commands of a sandbox that is stopped. */
#define STOP_GRACE_DEFAULT_MS 10000
#define STOP_GRACE_MAX_MS     (24 * 3600 * 1000)
/* The same when the creator of an attached sandbox that keeps its disk has gone: nobody waits. */
#define STOP_GRACE_ORPHAN_MS 1000
/* What the agent gets on top of the grace time, to flush and unmount. */
#define STOP_MARGIN_MS 5000
/* From "the disk is safe" to the end of the machine. */
#define POWER_OFF_MS 2000
/* The machine closed its end of a socket: its process ends in this time or is made to. */
#define MACHINE_EXIT_MS 1000

/*
 * When all is over: to deliver what the guest said last to clients that read, then the last words
 * to those that do not. Together below the 3 s in which everybody is told of a death.
 */
#define LAST_DATA_MS  1500
#define LAST_WORDS_MS 500

#endif
