/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_DOCTOR_H
#define VMM_DOCTOR_H

/* Can sandboxes run on this machine? One finding per thing that is needed. */

#include <stddef.h>

#include "base/macro.h"
#include "vmm/vmm.h"

enum doctor_status {
	DOCTOR_OK,
	DOCTOR_WARN, /* works, but less well or less safely than it could */
	DOCTOR_FAIL, /* no sandbox can run */
};

struct doctor_finding {
	const char *name; /* a literal */
	enum doctor_status status;
	char found[256]; /* what there is */
	char fix[256];	 /* how to get what there is not; empty when nothing is to be done */
};

#define DOCTOR_FINDINGS_MAX 16

struct doctor_report {
	struct doctor_finding findings[DOCTOR_FINDINGS_MAX];
	size_t n;
	struct vmm_accel_report accel;
};

/* Looks, and changes nothing. Takes some 100 ms, most of it starting QEMU twice. */
void doctor_examine(struct doctor_report *ret);

/* The worst of all findings. */
enum doctor_status doctor_verdict(const struct doctor_report *report);

const char *doctor_status_name(enum doctor_status status); /* "ok", "warn", "fail" */

#endif
