/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor/until.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "supervisor/guest.h"
#include "supervisor/limits.h"
#include "supervisor/log.h"
#include "supervisor/machine.h"
#include "supervisor/request.h"
#include "supervisor/sandbox.h"
#include "wire/message.h"

struct until {
	struct stream stream; /* on the guest's link: ours */
	struct supervisor *s;
	uint32_t guest_stream; /* 0: it is not open */
	bool started;
	struct stream *asker; /* waits for the answer; then it is s->until, or gone */
	struct list in_asked;
	char id[SESSION_ID_MAX_BYTES + 1];
};

/* ---- life ---- */

static int open_stream(struct until *u)
{
	struct wire_link *guest = guest_link(u->s);
	Cove__Wire__Attach attach = COVE__WIRE__ATTACH__INIT;
	Cove__Wire__Mute mute = COVE__WIRE__MUTE__INIT;
	attach.id = wire_string(u->id);
	attach.has_from = true;
	attach.from = COVE__WIRE__ATTACH__FROM__NOW;
	attach.has_lossy = attach.lossy = true;

	u->started = false;
	u->guest_stream = 0;
	if (!guest)
		return -EPIPE;
	int r = wire_open_message(guest, WIRE_ATTACH, &attach.base, &u->stream, &u->guest_stream);
	if (r < 0) {
		u->guest_stream = 0;
		return r;
	}
	guest_touch(u->s);
	return wire_send_message(guest, u->guest_stream, WIRE_MUTE, &mute.base);
}

int until_ask(struct supervisor *s, const void *id, size_t size, struct stream *asker,
	      struct until **ret)
{
	struct until *u = calloc(1, sizeof(*u));
	if (!u)
		return -ENOMEM;
	u->stream.kind = STREAM_UNTIL;
	list_init(&u->stream.entry);
	u->s = s;
	u->asker = asker;
	memcpy(u->id, id, size);
	list_init(&u->in_asked);
	list_append(&s->until_asked, &u->in_asked);
	int r = open_stream(u);
	if (r < 0) {
		until_free(u);
		return r;
	}
	*ret = u;
	return 0;
}

struct until *until_free(struct until *u)
{
	if (!u)
		return NULL;
	struct wire_link *guest = guest_link(u->s);
	if (guest && u->guest_stream) {
		wire_link_close(guest, u->guest_stream);
		guest_touch(u->s);
	}
	list_remove(&u->in_asked);
	free(u);
	return NULL;
}

/* Whoever asked is answered, and u is gone. */
static void refuse(struct until *u, const struct cove_error *err)
{
	struct stream *asker = u->asker;
	until_free(u);
	request_detached(asker, err);
}

void until_refuse_asked(struct supervisor *s)
{
	while (!list_empty(&s->until_asked)) {
		struct until *u = LIST_ENTRY(s->until_asked.next, struct until, in_asked);
		struct cove_error err;
		error_set(&err, COVE_E_STATE, "%s", sandbox_state_text(s));
		refuse(u, &err);
	}
}

int until_resume(struct supervisor *s)
{
	LIST_FOREACH (i, &s->until_asked) {
		int r = open_stream(LIST_ENTRY(i, struct until, in_asked));
		if (r < 0)
			return r;
	}
	return s->until ? open_stream(s->until) : 0;
}

/* ---- what comes in ---- */

static void accept_session(struct until *u)
{
	struct supervisor *s = u->s;
	struct stream *asker = u->asker;
	if (!asker) /* once more, after the link had started anew */
		return;
	u->asker = NULL;
	list_remove(&u->in_asked);
	until_free(s->until);
	s->until = u;
	snprintf(s->until_session, sizeof(s->until_session), "%s", u->id);
	request_detached(asker, NULL);
}

static void session_ended(struct supervisor *s)
{
	s->until = until_free(s->until);
	/* It is being stopped: others have the time that whoever stops it gave them. */
	if (s->state != SANDBOX_RUNNING)
		return;
	log_line("session %s has ended, and the sandbox is to end with it", s->until_session);
	sandbox_stop(s, COVE_END_SESSION_ENDED, STOP_GRACE_DEFAULT_MS);
}

static int on_failed(struct until *u, const struct wire_event *event, const char **ret_fault)
{
	struct supervisor *s = u->s;
	struct cove_error err;
	_cleanup_(wire_message_freep) ProtobufCMessage *m =
		wire_message_unpack(&cove__wire__failure__descriptor, event->data, event->size);
	if (m)
		wire_failure_to_error((const Cove__Wire__Failure *)m, &err);
	else
		error_set(&err, COVE_E_PROTOCOL, "the guest's answer cannot be read");

	if (u->asker) {
		refuse(u, &err);
	} else if (err.code == COVE_E_NOT_FOUND || err.code == COVE_E_GONE) {
		session_ended(s); /* while the link was down */
	} else if (++s->machine->resyncs > GUEST_RESYNC_MAX) {
		/* It goes on, they say, but not with us; to be asked again, as after a lost link. */
		*ret_fault = "it gave up the stream of a session too often";
		return -EPROTO;
	} else {
		wire_link_close(guest_link(s), u->guest_stream);
		return open_stream(u);
	}
	return 0;
}

int until_from_guest(struct stream *stream, const struct wire_event *event, const char **ret_fault)
{
	struct until *u = CONTAINER_OF(stream, struct until, stream);
	if (event->kind != WIRE_EVENT_MESSAGE)
		return 0; /* what was on its way before it was muted; and there is no stdin */
	bool is_guests = wire_type_info(event->type)->scope == WIRE_SCOPE_GUEST;
	if (event->type == WIRE_FAILED)
		return on_failed(u, event, ret_fault);
	if (!is_guests || u->started != (event->type != WIRE_STARTED)) {
		*ret_fault = "a message that is not for the stream of a session";
		return -EPROTO;
	}
	if (event->type == WIRE_STARTED) {
		u->started = true;
		accept_session(u);
	} else if (event->type == WIRE_EXITED) {
		session_ended(u->s);
	}
	return 0;
}
