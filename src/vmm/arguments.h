/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ARGUMENTS_H
#define VMM_ARGUMENTS_H

/* The command lines of QEMU and of the bubblewrap around it: pure functions, no side effects. */

#include <stdbool.h>
#include <stddef.h>

#include "base/macro.h"
#include "vmm/vmm.h"

/*
 * What the child finds open, beside 0 (/dev/null), 1 and 2 (both the pipe that stderr_fd reads).
 * Descriptors instead of paths: there is no path to race for, and no permission that QEMU needs.
 */
enum machine_fd {
	MACHINE_FD_AGENT = 3,
	MACHINE_FD_QMP,
	MACHINE_FD_CONSOLE,
	MACHINE_FD_BASE_DISK, /* read-only */
	MACHINE_FD_OVERLAY,   /* read-write */
	MACHINE_FD_KERNEL,    /* read-only */
	MACHINE_FD_INITRAMFS, /* read-only */
	MACHINE_FD_END,
};

/* A growing argv. The first failure sticks, so only the end has to be checked. */
#define ARGUMENTS_MAX 128 /* more than twice what the longest command line has */

struct arguments {
	char *v[ARGUMENTS_MAX + 1]; /* NULL-terminated */
	size_t n;
	int error; /* 0, -ENOMEM, -E2BIG */
};

void arguments_done(struct arguments *a);
void arguments_add(struct arguments *a, const char *format, ...) _printf_(2, 3);

/* QEMU opens its kernel by path only; this is where it finds the two. */
struct machine_files {
	const char *kernel;
	const char *initramfs;
};

/* The machine without the program's own name in front. tsc_khz: 0 when unknown; TCG only. */
void arguments_machine(struct arguments *a, const struct vmm_config *config,
		       const struct machine_files *files, uint64_t tsc_khz);

enum confine_give {
	CONFINE_NOTHING, /* only what every program needs: for trying whether bubblewrap works */
	CONFINE_BIND,	 /* the files of the config are bound in */
	CONFINE_COPY,	 /* they are copied in, from their descriptors: see machine.c */
};

/* Where the confined QEMU finds kernel and initramfs. */
extern const struct machine_files arguments_confined_files;

/* "bwrap … --" around what is added next. config may be NULL for CONFINE_NOTHING. */
void arguments_confine(struct arguments *a, const char *bwrap, const struct vmm_config *config,
		       enum confine_give give);

#endif
