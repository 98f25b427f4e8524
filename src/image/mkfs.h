/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_MKFS_H
#define IMAGE_MKFS_H

#include <stdint.h>

#include "cove/error.h"

/* Makes a sparse file with an empty ext4 filesystem: mke2fs from PATH, or from /sbin. */
int mkfs_ext4(const char *path, uint64_t size, struct cove_error *err);

#endif
