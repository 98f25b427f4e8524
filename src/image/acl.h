/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_ACL_H
#define IMAGE_ACL_H

#include <archive_entry.h>

#include "cove/error.h"
#include "image/tree.h"

/*
 * The access control lists of an archive's entry as the attributes that the kernel keeps them in,
 * system.posix_acl_access and _default. With one, the group bits of the mode are its mask.
 */
int acl_from_entry(struct archive_entry *entry, struct tree_inode *inode, struct cove_error *err);

#endif
