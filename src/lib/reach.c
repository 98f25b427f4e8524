/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/reach.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "lib/folder.h"
#include "lib/info.h"
#include "lib/options.h"
#include "lib/request.h"
#include "lib/sandbox.h"
#include "wire/message.h"

DEFINE_CLEANUP(cove_sandbox *, cove_sandbox_free)

/* Of cove_sandbox_list(), for all that do not answer together. */
#define LIST_LIMIT_MS 5000

int reach(const char *name, uint64_t deadline, struct connection **ret_connection,
	  struct cove_sandbox_info **ret_info, struct cove_error *err)
{
	_cleanup_close_ int fd = -1;
	_cleanup_(connection_unrefp) struct connection *c = NULL;
	int r = folder_connect(name, &fd, err);
	if (r < 0)
		return r;
	r = connection_new(fd, name, &c);
	if (r < 0)
		return error_set_errno(err, r == -ENOMEM ? COVE_E_NO_MEMORY : COVE_E_SYSTEM, r,
				       "cannot use the connection to the sandbox %s", name);
	TAKE_FD(fd);

	Cove__Wire__InfoRequest message = COVE__WIRE__INFO_REQUEST__INIT;
	struct request request = {
		.type = WIRE_INFO,
		.message = &message.base,
		.deadline = deadline,
	};
	r = request_run(c, &request, ret_info, err);
	if (r == COVE_E_LOST) /* it was just about to end */
		return error_set(err, COVE_E_NOT_FOUND, "the sandbox %s has ended", name);
	if (r < 0)
		return r;
	if (ret_connection)
		*ret_connection = TAKE_PTR(c);
	return 0;
}

/* ---- inspect and list ---- */

static int inspect(const char *name, uint64_t deadline, struct cove_sandbox_info **ret,
		   struct cove_error *err)
{
	int r = reach(name, deadline, NULL, ret, err);
	if (r != COVE_E_NOT_FOUND && r != COVE_E_TIMEOUT)
		return r;
	bool silent = r == COVE_E_TIMEOUT;
	r = folder_inspect(name, ret, err);
	if (r == 0 && silent && (*ret)->state != COVE_SANDBOX_ENDED)
		(*ret)->stalled = true;
	return r;
}

_public_ int cove_sandbox_inspect(const char *name, struct cove_sandbox_info **ret,
				  struct cove_error *err)
{
	int r = options_check_name(name, err);
	if (r < 0)
		return r;
	return inspect(name, deadline_after_ms(REACH_LIMIT_MS), ret, err);
}

_public_ int cove_sandbox_list(struct cove_sandbox_info ***ret, size_t *ret_count,
			       struct cove_error *err)
{
	_cleanup_(wire_strv_freep) char **names = NULL;
	size_t n_names, n = 0;
	int r = folder_names(&names, &n_names, err);
	if (r < 0)
		return r;
	struct cove_sandbox_info **list = calloc(n_names + 1, sizeof(struct cove_sandbox_info *));
	if (!list)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");

	uint64_t deadline = deadline_after_ms(LIST_LIMIT_MS);
	for (size_t i = 0; i < n_names; i++) {
		r = inspect(names[i], deadline, &list[n], err);
		if (r == 0) {
			n++;
		} else if (r != COVE_E_NOT_FOUND && r != COVE_E_DENIED) {
			/* Not gone since the folder was read, nor another user's (root's, by sudo). */
			cove_sandbox_list_free(list, n);
			return error_add_context(err, r, "%s", names[i]);
		}
	}
	*ret_count = n;
	*ret = list;
	return 0;
}

/* ---- remove ---- */

/* One that takes no clients, because it is still booting or hangs, ends with its supervisor. */
static void kill_supervisor(const char *name)
{
	_cleanup_(cove_sandbox_info_freep) struct cove_sandbox_info *info = NULL;
	struct supervisor supervisor;
	if (folder_inspect(name, &info, NULL) < 0)
		return;
	supervisor_watch(info->supervisor_pid, &supervisor);
	supervisor_end(&supervisor, 0);
	supervisor_done(&supervisor);
}

_public_ int cove_sandbox_remove(const char *name, bool force, struct cove_error *err)
{
	int r = options_check_name(name, err);
	if (r < 0)
		return r;
	r = folder_remove(name, err);
	if (r != COVE_E_STATE || !force)
		return r;

	_cleanup_(cove_sandbox_freep) cove_sandbox *s = NULL;
	r = cove_sandbox_connect(name, &s, err);
	if (r == 0)
		r = cove_sandbox_kill(s, err);
	if (r == COVE_E_STATE || r == COVE_E_TIMEOUT)
		kill_supervisor(name);
	else if (r < 0 && r != COVE_E_NOT_FOUND)
		return r;
	/* Most are removed by their own supervisor. */
	r = folder_remove(name, err);
	return r == COVE_E_NOT_FOUND ? 0 : r;
}
