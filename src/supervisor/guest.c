/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor/guest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/error.h"
#include "supervisor/limits.h"
#include "supervisor/log.h"
#include "supervisor/route.h"
#include "supervisor/sandbox.h"
#include "supervisor/until.h"
#include "wire/message.h"

#define ENTROPY_SIZE	64
#define MACHINE_ID_SIZE 16

struct wire_link *guest_link(const struct supervisor *s)
{
	const struct machine *m = s->machine;
	return m && m->has_guest && !m->guest.closed ? m->guest.link : NULL;
}

void guest_touch(struct supervisor *s)
{
	if (guest_link(s))
		conn_touch(&s->machine->guest);
}

bool guest_is_congested(const struct supervisor *s)
{
	const struct wire_link *link = guest_link(s);
	return link && wire_link_queued(link) >= WIRE_CONTROL_QUEUE_HIGH;
}

/* ---- START ---- */

static size_t count(char **strv)
{
	size_t n = 0;
	while (strv && strv[n])
		n++;
	return n;
}

static void borrow(char **strv, ProtobufCBinaryData *ret)
{
	for (; strv && *strv; strv++)
		*ret++ = wire_string(*strv);
}

static void set_optional(const char *strong, const char *weak, protobuf_c_boolean *ret_has,
			 ProtobufCBinaryData *ret)
{
	const char *value = strong ? strong : weak;
	*ret_has = value != NULL;
	*ret = wire_string(value);
}

static void fill_random(void *p, size_t n)
{
	/* At most 256 bytes, from a kernel that has booted: comes whole and at once. */
	ssize_t k = getrandom(p, n, 0);
	if (k != (ssize_t)n)
		memset(p, 0, n); /* no such system call: the guest has its virtio-rng */
}

static uint64_t new_nonce(void)
{
	uint64_t nonce;
	do {
		fill_random(&nonce, sizeof(nonce));
		nonce ^= clock_monotonic_ns(); /* new even without a source of randomness */
	} while (nonce == 0);
	return nonce;
}

int guest_send_start(struct machine *m, struct cove_error *err)
{
	const struct supervisor *s = m->s;
	const struct spec *spec = s->spec;
	const struct image *image = s->image;
	uint8_t entropy[ENTROPY_SIZE], machine_id[MACHINE_ID_SIZE];
	fill_random(entropy, sizeof(entropy));
	fill_random(machine_id, sizeof(machine_id));

	size_t n_image = count(image->env), n_own = count(spec->env);
	_cleanup_free_ ProtobufCBinaryData *env = calloc(n_image + n_own + 1, sizeof(*env));
	if (!env)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	borrow(image->env, env);
	borrow(spec->env, env + n_image);

	Cove__Wire__Start start = COVE__WIRE__START__INIT;
	start.hostname = spec->hostname;
	start.has_machine_id = true;
	start.machine_id = wire_bytes(machine_id, sizeof(machine_id));
	start.has_realtime_ns = true;
	start.realtime_ns = clock_realtime_ns();
	start.has_entropy = true;
	start.entropy = wire_bytes(entropy, sizeof(entropy));
	start.root_device = (char *)"/dev/vda";
	start.root_type = (char *)"ext4";
	start.has_root_read_only = true;
	start.root_read_only = spec->read_only;
	start.n_image_env = n_image;
	start.image_env = env;
	start.n_sandbox_env = n_own;
	start.sandbox_env = env + n_image;
	set_optional(spec->cwd, image->cwd, &start.has_cwd, &start.cwd);
	set_optional(spec->user, image->user, &start.has_user, &start.user);
	set_optional(spec->shell, image->shell, &start.has_shell, &start.shell);

	uint32_t stream;
	int r = wire_open_message(m->guest.link, WIRE_START, &start.base, &m->start, &stream);
	memset(entropy, 0, sizeof(entropy));
	if (r == -EMSGSIZE)
		return error_set(err, COVE_E_LIMIT, "the environment is larger than %u bytes",
				 WIRE_MESSAGE_MAX);
	if (r < 0)
		return error_set_errno(err, COVE_E_SYSTEM, r, "asking the agent to start");
	guest_touch(m->s);
	return 0;
}

int guest_send_shutdown(struct machine *m, uint64_t grace_ms)
{
	Cove__Wire__Shutdown shutdown = COVE__WIRE__SHUTDOWN__INIT;
	shutdown.has_grace_ms = true;
	shutdown.grace_ms = grace_ms;
	uint32_t stream;
	int r = wire_open_message(m->guest.link, WIRE_SHUTDOWN, &shutdown.base, &m->shutdown,
				  &stream);
	guest_touch(m->s);
	return r;
}

/* ---- what comes in ---- */

static int fault(struct machine *m, const char *text)
{
	m->fault = text;
	return -EPROTO;
}

static void on_ready(struct machine *m, const struct wire_event *event)
{
	_cleanup_(wire_message_freep) ProtobufCMessage *message =
		wire_message_unpack(&cove__wire__ready__descriptor, event->data, event->size);
	const Cove__Wire__Ready *ready = (const Cove__Wire__Ready *)message;
	wire_link_close(m->guest.link, event->stream);
	guest_touch(m->s);
	sandbox_ready(m->s, ready && ready->kernel ? ready->kernel : "");
}

static void on_not_ready(struct machine *m, const struct wire_event *event)
{
	_cleanup_(wire_message_freep) ProtobufCMessage *message =
		wire_message_unpack(&cove__wire__failure__descriptor, event->data, event->size);
	struct cove_error err;
	if (message)
		wire_failure_to_error((const Cove__Wire__Failure *)message, &err);
	else
		error_set(&err, COVE_E_BOOT, "the agent failed without saying how");
	sandbox_not_ready(m->s, &err);
}

static int on_own_stream(struct machine *m, struct stream *stream, const struct wire_event *event)
{
	if (stream->kind == STREAM_UNTIL)
		return until_from_guest(stream, event, &m->fault);
	if (event->kind != WIRE_EVENT_MESSAGE)
		return fault(m, "data on a stream that has none");
	if (stream->kind == STREAM_START && event->type == WIRE_READY)
		on_ready(m, event);
	else if (stream->kind == STREAM_START && event->type == WIRE_NOT_READY)
		on_not_ready(m, event);
	else if (stream->kind == STREAM_SHUTDOWN && event->type == WIRE_DOWN)
		sandbox_down(m->s);
	else
		return fault(m, "a message on a stream that it is not for");
	return CONN_NEXT;
}

static int on_resync_wanted(struct machine *m)
{
	struct supervisor *s = m->s;
	if (++m->resyncs > GUEST_RESYNC_MAX)
		return fault(m, "it lost its place on the link too often");
	log_line("the agent lost its place on the link");
	route_lose_all(s);
	if (s->state != SANDBOX_BOOTING && s->state != SANDBOX_RUNNING)
		return fault(m, "it lost its place on the link while it started or stopped");

	int r = wire_link_resync(m->guest.link, new_nonce());
	return r < 0 ? r : until_resume(s);
}

static int on_event(struct conn *conn, const struct wire_event *event)
{
	struct machine *m = CONTAINER_OF(conn, struct machine, guest);
	struct supervisor *s = m->s;
	struct stream *stream = event->userdata;
	s->unanswered = 0;
	s->stalled = false;

	switch (event->kind) {
	case WIRE_EVENT_HELLO:
		if (s->state == SANDBOX_BOOTING)
			sandbox_agent_up(s);
		break;
	case WIRE_EVENT_RESYNC_WANTED:
		return on_resync_wanted(m);
	case WIRE_EVENT_MESSAGE:
	case WIRE_EVENT_DATA:
	case WIRE_EVENT_EOF:
	case WIRE_EVENT_CREDIT:
		if (stream->kind != STREAM_ROUTE)
			return on_own_stream(m, stream, event);
		return route_from_guest(stream, event, &m->fault);
	case WIRE_EVENT_SYNCED:
	case WIRE_EVENT_CLOSE:
	case WIRE_EVENT_PONG:
	case WIRE_EVENT_GOODBYE:
		break;
	}
	return CONN_NEXT;
}

static void on_failed(struct conn *conn, int error)
{
	struct machine *m = CONTAINER_OF(conn, struct machine, guest);
	if (error == 0 || error == -ECONNRESET || error == -EIO) {
		conn_close(conn, machine_handle_closed);
		sandbox_machine_closing(m->s);
		return;
	}
	const char *why = wire_link_error(conn->link);
	if (m->fault)
		why = m->fault;
	sandbox_guest_hostile(m->s, *why ? why : strerror(-error));
}

static void on_drained(struct conn *conn)
{
	client_resume_all(CONTAINER_OF(conn, struct machine, guest)->s);
}

/* ---- life ---- */

int guest_init(struct machine *m)
{
	static const struct conn_ops ops = {
		.event = on_event,
		.failed = on_failed,
		.drained = on_drained,
	};
	struct wire_link_options options = {
		.role = WIRE_INITIATOR,
		.nonce = new_nonce(),
		.software = "cove-supervisor " COVE_VERSION,
		.source = route_source,
	};
	struct wire_link *link;
	int r = wire_link_new(&options, &link);
	if (r < 0)
		return r;
	r = conn_init(&m->guest, &m->s->loop, m->vmm.agent_fd, link, &ops, &m->s->dirty);
	if (r < 0) {
		m->guest.link = wire_link_free(link); /* machine_handle_closed() frees it, too */
		return r;
	}
	m->guest.poll.data = m;
	m->has_guest = true;
	m->open_handles++;
	return 0;
}

void guest_heartbeat(struct supervisor *s)
{
	struct wire_link *link = guest_link(s);
	if (!link || s->state < SANDBOX_RUNNING)
		return;
	if (s->machine->guest.heard) {
		s->machine->guest.heard = false;
		return;
	}
	if (s->unanswered < HEARTBEAT_MISSED) {
		s->unanswered++;
	} else if (!s->stalled) {
		s->stalled = true;
		log_line("the guest has not answered for %d heartbeats", HEARTBEAT_MISSED);
	}
	if (!guest_is_congested(s) && wire_link_ping(link, clock_monotonic_ns()) >= 0)
		guest_touch(s);
}
