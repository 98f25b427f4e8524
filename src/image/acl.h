/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_ACL_H
#define IMAGE_ACL_H

#include <archive_entry.h>
#include <stdbool.h>

#include "cove/error.h"
#include "image/tree.h"

/*
 * The access control lists of an archive's entry as the attributes that the kernel keeps them in,
 * system.posix_acl_access and _default. With one, the group bits of the mode are its mask.
 */
int acl_from_entry(struct archive_entry *entry, struct tree_inode *inode, struct cove_error *err);

/* Whether the attribute says once more what the entry has as a list. */
bool acl_has_xattr(struct archive_entry *entry, const char *name);

#endif
