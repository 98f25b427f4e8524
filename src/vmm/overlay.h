/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_OVERLAY_H
#define VMM_OVERLAY_H

#include "base/macro.h"

/*
 * Is this still an overlay as vmm_overlay_create() makes them? A guest that had taken over its QEMU
 * could have written any header, also one that makes the next QEMU open some other file of the host
 * as its data. -EBADMSG if not, or the errno of reading it.
 */
int overlay_check(int fd) _must_check_;

#endif
