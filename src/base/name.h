/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_NAME_H
#define BASE_NAME_H

/* Which names are names: of sandboxes and images, and the ids of sessions. */

#include <stdbool.h>
#include <stddef.h>

#define NAME_MAX_BYTES	     63 /* sandboxes: a hostname label, and a file name */
#define SESSION_ID_MAX_BYTES 64 /* long enough for a UUID or a hash */

/* [a-z0-9][a-z0-9_.-]{0,62} */
bool name_valid(const char *name);
/* [A-Za-z0-9][A-Za-z0-9_.-]{0,63} */
bool session_id_valid(const void *id, size_t size);

#endif
