/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/start.h"

#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

#include "agent/agent.h"
#include "agent/boot.h"
#include "base/cleanup.h"
#include "base/error.h"

#include "agent/poison.h"

/* ---- commands' defaults ---- */

static int take_text(const ProtobufCBinaryData *field, bool has_field, char **ret)
{
	return has_field && field->len > 0 ? wire_bytes_to_string(field, ret) : 0;
}

static int take_defaults(struct agent *agent, const Cove__Wire__Start *start,
			 struct cove_error *err)
{
	struct agent_defaults *d = &agent->defaults;
	int r = wire_bytes_to_strv(start->image_env, start->n_image_env, &d->image_env);
	if (r >= 0)
		r = wire_bytes_to_strv(start->sandbox_env, start->n_sandbox_env, &d->sandbox_env);
	if (r >= 0)
		r = take_text(&start->cwd, start->has_cwd, &d->cwd);
	if (r >= 0)
		r = take_text(&start->user, start->has_user, &d->user);
	if (r >= 0)
		r = take_text(&start->shell, start->has_shell, &d->shell);
	return r < 0 ? error_set_errno(err, COVE_E_BOOT, r, "defaults of commands") : 0;
}

/* ---- the machine ---- */

static int check(const Cove__Wire__Start *start, struct cove_error *err)
{
	if (start->has_machine_id && start->machine_id.len != 16)
		return error_set(err, COVE_E_INVALID, "a machine id has 16 bytes");
	return 0;
}

/* The order: nothing may use a random number, the time or a name before they are this machine's. */
static int start_machine(const Cove__Wire__Start *start, struct cove_error *err)
{
	int r = check(start, err);
	if (r >= 0 && start->has_entropy)
		r = boot_add_entropy(&start->entropy, err);
	if (r >= 0 && start->has_realtime_ns)
		r = boot_set_clock(start->realtime_ns, err);
	if (r >= 0 && start->hostname)
		r = boot_set_hostname(start->hostname, err);
	if (r >= 0)
		r = boot_mount_root(start, err);
	if (r >= 0)
		r = boot_move_mounts(err);
	if (r >= 0)
		r = boot_switch_root(err);
	if (r >= 0)
		r = boot_furnish_root(start->root_read_only, err);
	if (r >= 0 && start->has_machine_id)
		r = boot_set_machine_id(&start->machine_id, err);
	return r;
}

static int start(struct agent *agent, const struct wire_event *event, struct cove_error *err)
{
	if (agent->started)
		return error_set(err, COVE_E_STATE, "the machine was started before");
	_cleanup_(wire_message_freep) ProtobufCMessage *m =
		wire_message_unpack(&cove__wire__start__descriptor, event->data, event->size);
	if (!m)
		return error_set(err, COVE_E_PROTOCOL, "a START that cannot be read");
	const Cove__Wire__Start *request = (const Cove__Wire__Start *)m;

	agent->started = true; /* half a start cannot be repeated */
	int r = take_defaults(agent, request, err);
	if (r >= 0 && agent->is_init)
		r = start_machine(request, err);
	return r;
}

void start_handle(struct agent *agent, const struct wire_event *event)
{
	struct cove_error err = COVE_ERROR_INIT;
	if (start(agent, event, &err) < 0) {
		server_send_failure(agent, event->stream, WIRE_NOT_READY, &err);
		return;
	}
	agent->has_job = true;

	struct utsname uts;
	Cove__Wire__Ready m = COVE__WIRE__READY__INIT;
	if (uname(&uts) == 0)
		m.kernel = uts.release;
	server_send(agent, event->stream, WIRE_READY, &m.base);
}
