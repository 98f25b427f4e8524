/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor/state.h"

#include <errno.h>
#include <unistd.h>

#include "base/fd.h"
#include "supervisor/machine.h"
#include "supervisor/supervisor.h"
#include "wire/message.h"

/* Names and one line of text: far less. */
#define STATE_SIZE_MAX (64u * 1024)

static uint32_t public_state(enum sandbox_state state)
{
	switch (state) {
	case SANDBOX_WAITING:
	case SANDBOX_BOOTING:
	case SANDBOX_STARTING:
		return COVE_SANDBOX_STARTING;
	case SANDBOX_RUNNING:
		return COVE_SANDBOX_RUNNING;
	case SANDBOX_STOPPING:
	case SANDBOX_POWERING_OFF:
		return COVE_SANDBOX_STOPPING;
	case SANDBOX_ENDED:
		break;
	}
	return COVE_SANDBOX_ENDED;
}

static void fill(const struct supervisor *s, Cove__Wire__SandboxInfo *m)
{
	bool ended = s->state == SANDBOX_ENDED;
#define SET(field, value)                                                                          \
	do {                                                                                       \
		m->has_##field = true;                                                             \
		m->field = (value);                                                                \
	} while (0)
	m->state = public_state(s->state);
	m->name = s->spec->name;
	m->image = s->spec->image;
	m->hostname = s->spec->hostname;
	SET(cpus, s->spec->cpus);
	SET(memory_bytes, s->spec->memory_bytes);
	SET(detached, s->spec->detached);
	SET(persistent, s->spec->persistent);
	SET(read_only, s->spec->read_only);
	SET(created_ns, s->created_ns);
	SET(boot_us, s->boot_us);
	SET(stalled, s->stalled && !ended);
	if (s->until_session[0])
		SET(until_session, wire_string(s->until_session));
	m->accelerator = (char *)vmm_accel_name(s->accel.accel);
	if (s->kernel[0])
		m->kernel = (char *)s->kernel;
	if (!ended) {
		SET(supervisor_pid, (uint32_t)getpid());
		SET(vmm_pid, s->machine ? (uint32_t)machine_pid(s->machine) : 0);
	} else {
		SET(ended_ns, s->ended_ns);
	}
	if (s->end_cause != COVE_END_NONE) {
		SET(end_cause, s->end_cause);
		m->end_text = (char *)s->end_text;
	}
#undef SET
}

int state_pack(const struct supervisor *s, struct buffer *ret)
{
	Cove__Wire__SandboxInfo m = COVE__WIRE__SANDBOX_INFO__INIT;
	fill(s, &m);
	size_t size = cove__wire__sandbox_info__get_packed_size(&m);
	uint8_t *end;
	int r = buffer_reserve(ret, size, &end);
	if (r < 0)
		return r;
	cove__wire__sandbox_info__pack(&m, end);
	buffer_commit(ret, size);
	return 0;
}

int state_write(const struct supervisor *s)
{
	struct buffer packed;
	buffer_init(&packed, STATE_SIZE_MAX);
	int r = state_pack(s, &packed);
	if (r >= 0)
		r = fd_write_file_atomic(s->folder.fd, FOLDER_STATE, buffer_front(&packed),
					 packed.size, 0600);
	buffer_done(&packed);
	return r;
}

bool state_is_kept(int dir_fd)
{
	_cleanup_free_ char *data = NULL;
	size_t size;
	if (fd_read_file(dir_fd, FOLDER_STATE, STATE_SIZE_MAX, false, &data, &size) < 0)
		return false;
	_cleanup_(wire_message_freep) ProtobufCMessage *m =
		wire_message_unpack(&cove__wire__sandbox_info__descriptor, data, size);
	return m && ((const Cove__Wire__SandboxInfo *)m)->persistent;
}
