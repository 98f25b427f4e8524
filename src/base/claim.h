/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_CLAIM_H
#define BASE_CLAIM_H

/*
 * Owning a name: a folder PARENT/NAME with a lock in it.
 *
 * Theory of operation. The owner of a name is who holds flock(LOCK_EX) on NAME/lock *and* whose
 * NAME/lock is still the one at that path. The kernel gives a lock back when its process dies,
 * however that comes about, so a claim never outlives its owner and there is nothing to time out.
 * To take a name: mkdir (it may exist), open the lock, flock without waiting, then look whether
 * folder and lock are still the ones at the path; if not, somebody removed them in between: begin
 * again. To give it up: rename the folder away, which frees the name in one step, then remove what
 * was renamed. What an owner that was killed left behind is therefore just unlocked.
 *
 * Who only looks whether a name has an owner takes a shared lock for a moment. Who removes a folder
 * that has no owner owns it meanwhile; otherwise another could take the name between two of the
 * removed files.
 */

#include <stdbool.h>

#include "base/macro.h"

#define CLAIM_LOCK "lock"

/*
 * Takes the name; *ret_lock_fd holds it until it is closed. make: makes the folder where there is
 * none. -EBUSY: somebody has it; -ENOENT: no folder, and not to be made.
 */
int claim_take(int parent_fd, const char *name, bool make, int *ret_folder_fd,
	       int *ret_lock_fd) _must_check_;

/* Removes the folder of a name that is ours. The name is free before its contents are gone. */
int claim_remove(int parent_fd, const char *name) _must_check_;

/* Removes what removals that were cut short have left. Others may be at it at the same time. */
void claim_sweep(int parent_fd);

#endif
