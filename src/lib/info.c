/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/info.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/macro.h"
#include "base/name.h"

/* The largest `state` file that is read: the strings in it are names and one line of text. */
#define STATE_FILE_MAX (64u * 1024)

/* The strings of the structure, for what has to be done to each of them. */
#define N_STRINGS 7
static void strings(struct cove_sandbox_info *info, const char **ret[N_STRINGS])
{
	ret[0] = &info->name;
	ret[1] = &info->image;
	ret[2] = &info->hostname;
	ret[3] = &info->end_text;
	ret[4] = &info->accelerator;
	ret[5] = &info->kernel;
	ret[6] = &info->until_session;
}

int info_copy(const struct cove_sandbox_info *info, struct cove_sandbox_info **ret)
{
	struct cove_sandbox_info filled = *info;
	const char **fields[N_STRINGS];
	size_t lengths[N_STRINGS], size = sizeof(filled);

	strings(&filled, fields);
	for (unsigned i = 0; i < N_STRINGS; i++) {
		if (!*fields[i])
			*fields[i] = "";
		lengths[i] = strlen(*fields[i]) + 1;
		size += lengths[i];
	}

	struct cove_sandbox_info *copy = malloc(size);
	if (!copy)
		return -ENOMEM;
	char *end = (char *)(copy + 1);
	for (unsigned i = 0; i < N_STRINGS; i++) {
		memcpy(end, *fields[i], lengths[i]);
		*fields[i] = end;
		end += lengths[i];
	}
	*copy = filled;
	*ret = copy;
	return 0;
}

int info_unpack(const void *data, size_t size, struct cove_sandbox_info **ret)
{
	_cleanup_(wire_message_freep) ProtobufCMessage *message =
		wire_message_unpack(&cove__wire__sandbox_info__descriptor, data, size);
	if (!message)
		return -EPROTO;
	const Cove__Wire__SandboxInfo *m = (const Cove__Wire__SandboxInfo *)message;
	if (m->state > COVE_SANDBOX_ENDED)
		return -EPROTO;

	char until[SESSION_ID_MAX_BYTES + 1] = "";
	if (session_id_valid(m->until_session.data, m->until_session.len))
		memcpy(until, m->until_session.data, m->until_session.len);
	struct cove_sandbox_info info = {
		.name = m->name,
		.state = (enum cove_sandbox_state)m->state,
		.image = m->image,
		.cpus = m->cpus,
		.memory_bytes = m->memory_bytes,
		.detached = m->detached,
		.persistent = m->persistent,
		.read_only = m->read_only,
		.stalled = m->stalled,
		.hostname = m->hostname,
		.created_ns = m->created_ns,
		.ended_ns = m->ended_ns,
		.end_text = m->end_text,
		.accelerator = m->accelerator,
		.kernel = m->kernel,
		.supervisor_pid = (int)m->supervisor_pid,
		.vmm_pid = (int)m->vmm_pid,
		.boot_us = m->boot_us,
		.until_session = until,
	};
	/* A newer supervisor may know ends that this library does not. */
	if (m->end_cause <= COVE_END_SESSION_ENDED)
		info.end_cause = (enum cove_end_cause)m->end_cause;
	return info_copy(&info, ret);
}

int info_read_state(int folder_fd, struct cove_sandbox_info **ret)
{
	_cleanup_free_ char *data = NULL;
	size_t size;
	int r = fd_read_file(folder_fd, "state", STATE_FILE_MAX, false, &data, &size);
	if (r == -EINVAL || r == -EFBIG) /* not a file of ours */
		return -EPROTO;
	if (r < 0)
		return r;
	return info_unpack(data, size, ret);
}

_public_ struct cove_sandbox_info *cove_sandbox_info_free(struct cove_sandbox_info *info)
{
	free(info);
	return NULL;
}

_public_ struct cove_sandbox_info **cove_sandbox_list_free(struct cove_sandbox_info **list,
							   size_t count)
{
	for (size_t i = 0; list && i < count; i++)
		free(list[i]);
	free(list);
	return NULL;
}
