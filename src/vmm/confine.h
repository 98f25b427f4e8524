/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CONFINE_H
#define VMM_CONFINE_H

/* What a QEMU that its guest has taken over finds itself in. docs/security.md tells the whole. */

#include <stdbool.h>
#include <stddef.h>

#include "vmm/arguments.h"
#include "vmm/program.h"
#include "vmm/vmm.h"

enum confine_mode {
	CONFINE_OFF,
	CONFINE_AUTO,	  /* where bubblewrap works; a note says why where it does not */
	CONFINE_REQUIRED, /* or nothing starts */
};

/* From the config, or from COVE_CONFINE=off|auto|required, which is the stronger. */
int confine_mode(const struct vmm_config *config, enum confine_mode *ret, struct cove_error *err);

/* Who QEMU runs as. Root never lends it its own user, unless only root may open /dev/kvm. */
void confine_user(enum vmm_accel accel, struct program_user *ret);

/* How kernel and initramfs get in: bound, or copied where `user` cannot reach their paths. */
enum confine_give confine_give(const struct vmm_config *config, const struct program_user *user);

/* Starts an empty confinement. 0, or a negative errno with one line about why in reason. */
int confine_try(const char *bwrap, char *reason, size_t size);

#endif
