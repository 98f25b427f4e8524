/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/session-list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/macro.h"
#include "base/name.h"
#include "lib/exit.h"

/* ---- unpacking in bounded memory ---- */

static void *allocate(void *data, size_t size)
{
	size_t *left = data;
	if (size > *left)
		return NULL;
	*left -= size;
	return malloc(size);
}

static void release(_unused_ void *data, void *memory)
{
	free(memory);
}

static ProtobufCMessage *unpack(struct session_list *list, const void *data, size_t size)
{
	ProtobufCAllocator allocator = {
		.alloc = allocate,
		.free = release,
		.allocator_data = &list->bytes_left,
	};
	return protobuf_c_message_unpack(&cove__wire__session_list__descriptor, &allocator, size,
					 data);
}

/* ---- one session ---- */

static int refuse(struct cove_error *err, const char *what)
{
	return error_set(err, COVE_E_PROTOCOL, "a list of sessions with %s", what);
}

static bool has_nul(const ProtobufCBinaryData *bytes)
{
	return bytes->len > 0 && memchr(bytes->data, 0, bytes->len);
}

static int check(const Cove__Wire__Session *m, struct cove_error *err)
{
	if (!session_id_valid(m->id.data, m->id.len))
		return refuse(err, "an id that is none");
	if (m->pid > INT32_MAX)
		return refuse(err, "a process that cannot be");
	if (m->rows > UINT16_MAX || m->cols > UINT16_MAX)
		return refuse(err, "a terminal that is too large");
	if (m->stdout_start > m->stdout_total || m->stderr_start > m->stderr_total)
		return refuse(err, "output that begins after its end");
	if (m->collected && !m->exited)
		return refuse(err, "a result that was collected before the end");
	for (size_t i = 0; i < m->n_argv; i++)
		if (has_nul(&m->argv[i]))
			return refuse(err, "an argument that cannot be");
	return 0;
}

/* Everything in one allocation: the structure, the pointers to the arguments, the strings. */
static struct cove_session_info *new_info(const Cove__Wire__Session *m)
{
	size_t size =
		sizeof(struct cove_session_info) + (m->n_argv + 1) * sizeof(char *) + m->id.len + 1;
	for (size_t i = 0; i < m->n_argv; i++)
		size += m->argv[i].len + 1;
	struct cove_session_info *info = calloc(1, size);
	if (!info)
		return NULL;

	const char **argv = (const char **)(info + 1);
	char *end = (char *)(argv + m->n_argv + 1);
	info->argv = argv;
	for (size_t i = 0; i < m->n_argv; i++) {
		argv[i] = end;
		if (m->argv[i].len > 0)
			memcpy(end, m->argv[i].data, m->argv[i].len);
		end += m->argv[i].len + 1;
	}
	info->id = end;
	memcpy(end, m->id.data, m->id.len);
	return info;
}

static int read_session(const Cove__Wire__Session *m, struct cove_session_info **ret,
			struct cove_error *err)
{
	struct cove_exit exit = { 0 };
	int r = check(m, err);
	if (r < 0)
		return r;
	if (m->exited && exit_from_message(m->exited, &exit) < 0)
		return refuse(err, "an end for an unknown reason");
	struct cove_session_info *info = new_info(m);
	if (!info)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory for the list of sessions");

	info->state = COVE_SESSION_RUNNING;
	if (m->exited)
		info->state = m->collected ? COVE_SESSION_COLLECTED : COVE_SESSION_ENDED;
	info->pid = (int)m->pid;
	info->tty = m->tty;
	info->rows = m->tty ? m->rows : 0;
	info->cols = m->tty ? m->cols : 0;
	info->started_ns = m->started_ns;
	info->viewers = m->viewers;
	info->has_processes = m->has_processes || !m->exited;
	info->stdin_open = m->stdin_open;
	info->stdout_start = m->stdout_start;
	info->stdout_total = m->stdout_total;
	info->stderr_start = m->stderr_start;
	info->stderr_total = m->stderr_total;
	info->exit = exit;
	*ret = info;
	return 0;
}

/* ---- the list ---- */

void session_list_done(struct session_list *list)
{
	list->sessions = cove_session_list_free(list->sessions, list->count);
	list->count = 0;
}

static int make_room(struct session_list *list, size_t n)
{
	if (list->sessions && n <= list->allocated - list->count)
		return 0;
	size_t allocated = MAX(list->count + n, 2 * list->allocated);
	struct cove_session_info **grown =
		reallocarray(list->sessions, allocated + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	list->sessions = grown;
	list->allocated = allocated;
	return 0;
}

int session_list_add(struct session_list *list, const void *data, size_t size, bool *ret_more,
		     struct cove_error *err)
{
	_cleanup_(wire_message_freep) ProtobufCMessage *message = unpack(list, data, size);
	const Cove__Wire__SessionList *m = (const Cove__Wire__SessionList *)message;
	if (!m)
		return refuse(err, "parts that cannot be read");
	if (m->n_sessions > SESSION_LIST_MAX - list->count)
		return refuse(err, "more sessions than can be");
	if (m->more && m->n_sessions == 0) /* it could go on like this for ever */
		return refuse(err, "an empty part");
	if (make_room(list, m->n_sessions) < 0)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory for the list of sessions");
	for (size_t i = 0; i < m->n_sessions; i++) {
		int r = read_session(m->sessions[i], &list->sessions[list->count], err);
		if (r < 0)
			return r;
		list->count++;
	}
	*ret_more = m->more;
	return 0;
}

_public_ struct cove_session_info **cove_session_list_free(struct cove_session_info **list,
							   size_t count)
{
	for (size_t i = 0; list && i < count; i++)
		free(list[i]);
	free(list);
	return NULL;
}
