/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUPERVISOR_MACHINE_H
#define SUPERVISOR_MACHINE_H

/* One boot of the virtual machine: its process, its descriptors, and the link to the agent. */

#include <stdbool.h>
#include <sys/types.h>

#include "supervisor/client.h"
#include "supervisor/conn.h"
#include "supervisor/supervisor.h"

struct machine {
	struct supervisor *s;
	struct vmm vmm;
	struct conn guest; /* we are the initiator; events: guest.c */
	bool has_guest;	   /* guest was initialised */
	const char *fault; /* what the guest did wrong, where the engine did not see it */
	unsigned resyncs;
	struct stream start;
	struct stream shutdown;

	uv_poll_t pid_poll;
	uv_poll_t qmp_poll;
	uv_poll_t console_poll;
	uv_poll_t stderr_poll;
	unsigned open_handles;
	struct qmp *qmp;
	char shutdown_reason[32]; /* of QMP's SHUTDOWN event; "" before */
};

/* Starts QEMU into s->machine. */
int machine_start(struct supervisor *s, struct cove_error *err);

/* Ends QEMU if it has not ended, reads what it left in its pipes, closes all. s->machine is NULL
 * then. */
void machine_end(struct supervisor *s);

/* For uv_close() of its handles: the last one frees it. */
void machine_handle_closed(uv_handle_t *handle);

/* Why the process ended by itself. text: COVE_ERROR_MESSAGE_MAX bytes. */
enum cove_end_cause machine_explain(struct machine *machine, char *text);

static inline pid_t machine_pid(const struct machine *machine)
{
	return machine->vmm.pid;
}

#endif
