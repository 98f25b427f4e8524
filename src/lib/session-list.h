/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_SESSION_LIST_H
#define LIB_SESSION_LIST_H

/* The list of sessions, from the messages of a guest that may say anything. */

#include <stdbool.h>

#include <cove/cove.h>

/* More than an agent ever has: 4096 that run, 1024 that have ended. */
#define SESSION_LIST_MAX 8192
/*
 * Memory of the messages of one list, unpacked; what is kept of them is less. The longest of an honest
 * agent takes some 20 MiB: 4 MiB of arguments, and 3 KiB of everything else for each session.
 */
#define SESSION_LIST_BYTES_MAX ((size_t)64 * 1024 * 1024)

struct session_list {
	struct cove_session_info **sessions;
	size_t count;
	size_t allocated;
	size_t bytes_left; /* of SESSION_LIST_BYTES_MAX */
};

#define SESSION_LIST_INIT                                                                          \
	{                                                                                          \
		.bytes_left = SESSION_LIST_BYTES_MAX                                               \
	}

void session_list_done(struct session_list *list);

/* Adds those of one SESSIONS message; *ret_more: another follows. PROTOCOL, NO_MEMORY. */
int session_list_add(struct session_list *list, const void *data, size_t size, bool *ret_more,
		     struct cove_error *err);

#endif
