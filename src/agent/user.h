/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_USER_H
#define AGENT_USER_H

/*
 * Who a command runs as, looked up in the guest's own /etc/passwd and /etc/group as they are for
 * each command: another one may have changed them.
 *
 *	spec        "USER", "USER:GROUP" or ":GROUP"; each a name or a decimal number
 *	USER        a name wins over a number. A number without an entry is fine: group 0, home "/",
 *	            no name. Missing: root. "root" needs no entry either.
 *	GROUP       a name wins over a number; replaces the entry's group.
 *	the rest    supplementary groups are those that list the user's name as a member.
 */

#include <stddef.h>
#include <sys/types.h>
#include <time.h>

#include "base/macro.h"
#include "cove/error.h"

/* Of each file: far above any real one, so that what a command puts there cannot exhaust memory. */
#define USER_FILE_MAX ((size_t)1024 * 1024)
/* The kernel would take 65,536; a user in more than this many groups is somebody's mistake. */
#define USER_GROUPS_MAX 1024

struct user {
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* supplementary ones, gid not among them */
	size_t n_groups;
	char *name; /* NULL: none known */
	char *home;
	char *shell;
};

/*
 * `passwd` and `group` are the texts of the files, NUL-terminated; NULL for one that is not there.
 * Fails with COVE_E_START, stage user or group: ENOENT (unknown), EINVAL (cannot be a user), E2BIG.
 */
int user_resolve(const char *spec, const char *passwd, const char *group, struct user *ret,
		 struct cove_error *err) _must_check_;

/* The same with the files of a folder, "/etc". A file that exists must be a regular one. */
int user_load(const char *spec, const char *folder, struct user *ret,
	      struct cove_error *err) _must_check_;

void user_done(struct user *user);

/*
 * The user that was loaded last, which is the one that is asked for next, almost always; good for
 * as long as neither file was touched. Two system calls instead of a dozen.
 */
struct user_cache {
	char *spec; /* NULL: nothing is in it */
	struct user user;
	struct user_file {
		struct timespec changed;
		struct timespec modified;
		dev_t device;
		ino_t inode;
		off_t size;
	} files[2];
};

/* *ret lives until the next call. */
int user_cache_load(struct user_cache *cache, const char *spec, const char *folder,
		    const struct user **ret, struct cove_error *err) _must_check_;
void user_cache_done(struct user_cache *cache);

#endif
