/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VMM_H
#define VMM_VMM_H

/*
 * The virtual machine monitor: QEMU as a child process, talked to over sockets that it inherits.
 * Nothing here has an event loop: the supervisor watches the descriptors and calls in.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/macro.h"
#include "cove/error.h"

/* The accelerator ------------------------------------------------------------------------------ */

enum vmm_accel {
	VMM_ACCEL_TCG, /* QEMU's own emulation: works everywhere */
	VMM_ACCEL_KVM,
};

const char *vmm_accel_name(enum vmm_accel accel); /* "tcg", "kvm" */

struct vmm_accel_report {
	enum vmm_accel accel; /* the one to use */
	bool kvm_present;     /* /dev/kvm exists */
	bool kvm_opened;      /* and may be opened by us */
	uint64_t probe_ns;    /* what the probe's guest took; 0 when it was not run */
	char reason[256];     /* one line for people: why this one */
};

/*
 * Takes KVM only if a tiny guest, a loop of known length, runs at native speed in it: /dev/kvm may
 * be a software emulation in which no kernel boots. COVE_ACCEL=kvm|tcg overrides.
 */
void vmm_accel_probe(struct vmm_accel_report *ret);

/* The machine ---------------------------------------------------------------------------------- */

struct vmm_config {
	enum vmm_accel accel;
	const char *kernel;    /* vmlinuz */
	const char *initramfs; /* initramfs.cpio */
	unsigned cpus;
	uint64_t memory_bytes;
	const char *base_disk; /* the image's ext4 file; never written */
	const char *overlay;   /* a qcow2 file made by vmm_overlay_create() */
	/* Run under bubblewrap if it works here; QEMU's own seccomp filter is always on. */
	bool confine;
};

/*
 * Every disk has this size whatever is in it, so that machines are of one shape. Sparse: it costs
 * nothing until written.
 */
#define VMM_DISK_BYTES (64ULL * 1024 * 1024 * 1024)

/* The name of the virtio-serial port that the agent looks for. */
#define VMM_AGENT_PORT "org.cove.agent.0"

struct vmm {
	pid_t pid;	/* of QEMU, or of the bubblewrap around it: ends when QEMU ends */
	int pid_fd;	/* readable when it has ended */
	int agent_fd;	/* the agent's port: a stream socket, nonblocking */
	int qmp_fd;	/* QMP: a stream socket, nonblocking */
	int console_fd; /* what the guest's kernel prints: nonblocking, read only */
	int stderr_fd;	/* what QEMU itself has to say: a pipe, nonblocking */
	bool confined;
	char unconfined_reason[160]; /* one line for people; empty when confined */
};

/* The programs of the host that are needed; COVE_E_MISSING names the Debian package. */
int vmm_check(struct cove_error *err);

/* An empty overlay of VMM_DISK_BYTES, written without starting a program. */
int vmm_overlay_create(int dir_fd, const char *name, struct cove_error *err);

/*
 * Starts QEMU with the machine running, and waits until its QMP speaks (the greeting stays unread):
 * 20 to 30 ms, at most VMM_UP_TIMEOUT_MS. QEMU dies with the thread that called this, however that
 * ends: call it from one that lives as long as the process. Fills *ret only on success.
 *
 * COVE_CONFINE=off|auto|required overrides config->confine: "required" gives COVE_E_UNSUPPORTED
 * where bubblewrap does not work, COVE_E_MISSING where it is not installed.
 */
#define VMM_UP_TIMEOUT_MS 20000 /* fifty may be started at once on two processors */
int vmm_start(const struct vmm_config *config, struct vmm *ret, struct cove_error *err);

/* SIGKILLs what still runs, reaps it, closes everything. Safe on a struct vmm set to VMM_INIT. */
void vmm_done(struct vmm *vmm);
#define VMM_INIT                                                                                   \
	{                                                                                          \
		.pid = 0, .pid_fd = -1, .agent_fd = -1, .qmp_fd = -1, .console_fd = -1,            \
		.stderr_fd = -1                                                                    \
	}

/* The TSC's frequency, for tsc_early_khz=; 0 if it cannot be told. Takes some milliseconds once. */
uint64_t vmm_tsc_khz(void);

/* QMP: bytes in, bytes out, events ------------------------------------------------------------- */

struct qmp;

enum qmp_event_kind {
	QMP_EVENT_READY,  /* greeting and capabilities are done: commands go through */
	QMP_EVENT_RETURN, /* the answer to a command: id, and ok or error text */
	QMP_EVENT_EVENT, /* name (SHUTDOWN, STOP, RESET, BLOCK_IO_ERROR …), reason ("" if none) */
};

struct qmp_event {
	enum qmp_event_kind kind;
	uint64_t id;
	bool ok;
	const char *text; /* the error of a command; borrowed until the next call */
	const char *name;
	const char *reason;
};

struct qmp *qmp_new(void);
struct qmp *qmp_free(struct qmp *qmp);
DEFINE_CLEANUP(struct qmp *, qmp_free)

/*
 * QEMU is the guest's neighbour, not our friend: longer lines than QMP_LINE_MAX are an error. Give
 * at most QMP_LINE_MAX bytes at once, and take all events out before giving more. -EPROTO is final.
 */
#define QMP_LINE_MAX (64u * 1024)
int qmp_input(struct qmp *qmp, const void *data, size_t n) _must_check_; /* -EPROTO, -ENOMEM */
int qmp_next(struct qmp *qmp, struct qmp_event *ret) _must_check_;	 /* 1, 0, -EPROTO */

/*
 * A command without arguments ("quit", "stop"), or with a JSON object in text. -EAGAIN before
 * QMP_EVENT_READY, -ENOBUFS when QEMU has not read what there is, -EINVAL when it is no object.
 */
int qmp_command(struct qmp *qmp, const char *name, const char *arguments,
		uint64_t *ret_id) _must_check_;
/* What is to be written; sent() says how much of it was. */
void qmp_output(struct qmp *qmp, const void **ret, size_t *ret_size);
void qmp_sent(struct qmp *qmp, size_t n);

#endif
