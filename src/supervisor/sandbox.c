/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor/sandbox.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "supervisor/client.h"
#include "supervisor/guest.h"
#include "supervisor/limits.h"
#include "supervisor/log.h"
#include "supervisor/machine.h"
#include "supervisor/orphan.h"
#include "supervisor/request.h"
#include "supervisor/route.h"
#include "supervisor/state.h"
#include "supervisor/until.h"
#include "wire/message.h"

/* ---- the state ---- */

#define TO(state) (1u << SANDBOX_##state)

static void set_state(struct supervisor *s, enum sandbox_state state)
{
	static const unsigned allowed[] = {
		[SANDBOX_WAITING] = TO(BOOTING) | TO(ENDED),
		[SANDBOX_BOOTING] = TO(STARTING) | TO(ENDED),
		[SANDBOX_STARTING] = TO(RUNNING) | TO(ENDED),
		[SANDBOX_RUNNING] = TO(STOPPING) | TO(ENDED),
		[SANDBOX_STOPPING] = TO(POWERING_OFF) | TO(ENDED),
		[SANDBOX_POWERING_OFF] = TO(ENDED),
		[SANDBOX_ENDED] = 0,
	};
	assert(allowed[s->state] & (1u << state));
	s->state = state;

	/* Before BOOTING there is no folder; after the end it is about to go, unless it is kept. */
	bool has_file = s->folder.fd >= 0 && (state != SANDBOX_ENDED || s->spec->persistent);
	int r = has_file ? state_write(s) : 0;
	if (r < 0)
		log_line("writing the state: %s", strerror(-r));
}

const char *sandbox_state_text(const struct supervisor *s)
{
	static const char *const texts[] = {
		[SANDBOX_WAITING] = "there is no sandbox here yet",
		[SANDBOX_BOOTING] = "the sandbox is starting",
		[SANDBOX_STARTING] = "the sandbox is starting",
		[SANDBOX_RUNNING] = "the sandbox is running",
		[SANDBOX_STOPPING] = "the sandbox is stopping",
		[SANDBOX_POWERING_OFF] = "the sandbox is stopping",
		[SANDBOX_ENDED] = "the sandbox has ended",
	};
	return texts[s->state];
}

/* ---- the end ---- */

static void answer_create(struct supervisor *s)
{
	if (!s->creating)
		return;
	s->creating = false;
	if (!s->creator)
		return;
	struct client *creator = s->creator;
	client_check(creator, wire_send_failure(creator->conn.link, s->create_stream, WIRE_REFUSED,
						&s->create_error));
}

static void on_last_deadline(uv_timer_t *timer)
{
	struct supervisor *s = timer->data;
	if (s->last_words) {
		uv_stop(&s->loop);
		return;
	}
	s->last_words = true;
	client_end_all(s);
	uv_timer_start(timer, on_last_deadline, LAST_WORDS_MS, 0);
}

/*
 * The machine goes first, then the name is free again, and only then is anybody told: a client that
 * hears of the end, by a message or by the closing of its connection, finds nothing in its way.
 */
static void end(struct supervisor *s, enum cove_end_cause cause, const char *text)
{
	if (s->state == SANDBOX_ENDED || s->ending)
		return;
	s->ending = true;
	if (s->end_cause == COVE_END_NONE) {
		s->end_cause = cause;
		snprintf(s->end_text, sizeof(s->end_text), "%s", text);
	}
	bool ran = s->state >= SANDBOX_RUNNING;
	log_line("the end: %s", s->end_text);
	client_listen_stop(s);
	machine_end(s);
	s->ended_ns = clock_realtime_ns();

	bool remove = !ran || !s->spec->persistent;
	set_state(s, SANDBOX_ENDED);
	transcript_done(&s->console);
	transcript_done(&s->vmm_stderr);
	folder_release(&s->folder, remove);

	if (s->create_error.code == 0)
		error_set(&s->create_error, COVE_E_BOOT, "%s", s->end_text);
	answer_create(s);
	until_refuse_asked(s);
	uv_timer_stop(&s->progress);
	uv_timer_stop(&s->heartbeat);
	uv_update_time(&s->loop); /* what is above may have taken longer than clients have now */
	uv_timer_start(&s->deadline, on_last_deadline, LAST_DATA_MS, 0);
	client_end_all(s);
	sandbox_client_gone(s); /* perhaps there is none */
}

/* Before anything runs: CREATE is answered with err. */
static void fail_create(struct supervisor *s, const struct cove_error *err)
{
	s->create_error = *err;
	end(s, COVE_END_BOOT_FAILED, err->message);
}

void sandbox_client_gone(struct supervisor *s)
{
	if (s->state == SANDBOX_ENDED && s->n_clients == 0)
		uv_stop(&s->loop);
}

/* ---- deadlines ---- */

static void on_deadline(uv_timer_t *timer);

/* From now, not from when the loop woke up: starting and ending a machine takes its time. */
static void set_deadline(struct supervisor *s, uint64_t ms)
{
	uv_update_time(&s->loop);
	uv_timer_start(&s->deadline, on_deadline, ms, 0);
}

/* Never later than it was. */
static void shorten_deadline(struct supervisor *s, uint64_t ms)
{
	if (!uv_is_active((uv_handle_t *)&s->deadline) || uv_timer_get_due_in(&s->deadline) > ms)
		set_deadline(s, ms);
}

static void fail_boot(struct supervisor *s, const char *what, bool with_console)
{
	struct cove_error err;
	char last[320] = "";
	if (with_console)
		transcript_last_lines(&s->console, last, sizeof(last));
	error_set(&err, COVE_E_BOOT, "%s%s%s", what, last[0] ? "; its console says: " : "", last);
	fail_create(s, &err);
}

static void boot(struct supervisor *s)
{
	struct cove_error err;
	if (machine_start(s, &err) < 0) {
		fail_create(s, &err);
		return;
	}
	/*
	 * Emulated machines now and then hang while the kernel calibrates its clocks. Half of the
	 * time is for the first try, then, and the rest for a second one. On KVM there is only one.
	 */
	uint64_t now = clock_monotonic_ms();
	uint64_t left = s->boot_deadline_ms > now ? s->boot_deadline_ms - now : 1;
	bool last_try = s->accel.accel != VMM_ACCEL_TCG || s->boots > 1;
	set_deadline(s, last_try ? left : left / 2 + 1);
}

static void send_progress(struct supervisor *s, const char *text)
{
	Cove__Wire__Progress m = COVE__WIRE__PROGRESS__INIT;
	m.text = (char *)text;
	log_line("%s", text);
	if (s->creating && s->creator)
		client_check(s->creator, wire_send_message(s->creator->conn.link, s->create_stream,
							   WIRE_PROGRESS, &m.base));
}

static void on_boot_deadline(struct supervisor *s)
{
	char text[128];
	if (s->state == SANDBOX_BOOTING && s->boots == 1 && s->accel.accel == VMM_ACCEL_TCG) {
		send_progress(s, "the machine did not come up; trying once more");
		machine_end(s);
		boot(s);
		return;
	}
	snprintf(text, sizeof(text), "the machine did not come up within %u ms%s",
		 s->spec->boot_timeout_ms, s->boots > 1 ? ", in two tries" : "");
	fail_boot(s, text, true);
}

static void on_deadline(uv_timer_t *timer)
{
	struct supervisor *s = timer->data;
	switch (s->state) {
	case SANDBOX_WAITING:
		end(s, COVE_END_CREATOR_GONE, "nobody said what to create");
		break;
	case SANDBOX_BOOTING:
	case SANDBOX_STARTING:
		on_boot_deadline(s);
		break;
	case SANDBOX_RUNNING:
		end(s, COVE_END_VMM_DIED, "QEMU closed its connections");
		break;
	case SANDBOX_STOPPING:
		snprintf(s->end_text, sizeof(s->end_text),
			 "the guest did not stop in time and was killed");
		end(s, s->end_cause, s->end_text);
		break;
	case SANDBOX_POWERING_OFF: /* its disk is safe */
		end(s, s->end_cause, s->end_text);
		break;
	case SANDBOX_ENDED:
		break;
	}
}

void sandbox_arm_create_wait(struct supervisor *s)
{
	set_deadline(s, CREATE_WAIT_MS);
}

/* ---- create ---- */

static void on_progress(uv_timer_t *timer)
{
	struct supervisor *s = timer->data;
	char text[COVE_ERROR_MESSAGE_MAX];
	snprintf(text, sizeof(text), "booting the machine (%s: %s)", vmm_accel_name(s->accel.accel),
		 s->accel.reason);
	send_progress(s, text);
}

static int prepare(struct supervisor *s, const void *data, size_t size, struct cove_error *err)
{
	int r = spec_parse(data, size, &s->spec, err);
	if (r < 0)
		return r;
	s->boot_deadline_ms = clock_monotonic_ms() + s->spec->boot_timeout_ms;
	r = vmm_check(err);
	if (r < 0)
		return r;
	r = image_store_find(s->spec->image, &s->image, err);
	if (r < 0)
		return r;
	r = folder_claim(&s->folder, s->spec->name, err);
	if (r < 0)
		return r;
	vmm_accel_probe(&s->accel);

	r = state_write(s);
	if (r >= 0)
		r = log_open(s->folder.fd);
	if (r >= 0)
		r = transcript_open(&s->console, s->folder.fd, "console.log", CONSOLE_LOG_MAX);
	if (r >= 0)
		r = transcript_open(&s->vmm_stderr, s->folder.fd, "vmm.log", VMM_LOG_MAX);
	if (r < 0)
		return error_set_errno(err, COVE_E_SYSTEM, r, "writing to %.300s", s->folder.path);
	return vmm_overlay_create(s->folder.fd, FOLDER_OVERLAY, err);
}

void sandbox_create(struct supervisor *s, uint32_t stream, const void *data, size_t size)
{
	struct cove_error err;
	s->requested_ns = clock_monotonic_ns();
	s->created_ns = clock_realtime_ns();
	s->create_stream = stream;
	s->creating = true;
	if (prepare(s, data, size, &err) < 0) {
		fail_create(s, &err);
		return;
	}
	log_line("sandbox %s, image %s, %u cpus, %llu MiB, %s: %s", s->spec->name, s->spec->image,
		 s->spec->cpus, (unsigned long long)(s->spec->memory_bytes >> 20),
		 vmm_accel_name(s->accel.accel), s->accel.reason);
	set_state(s, SANDBOX_BOOTING);
	uv_timer_start(&s->progress, on_progress, BOOT_PROGRESS_MS, 0);
	boot(s);
}

void sandbox_agent_up(struct supervisor *s)
{
	struct cove_error err;
	if (s->ending)
		return;
	set_state(s, SANDBOX_STARTING);
	uint64_t now = clock_monotonic_ms();
	set_deadline(s, s->boot_deadline_ms > now ? s->boot_deadline_ms - now : 1);
	if (guest_send_start(s->machine, &err) < 0)
		fail_create(s, &err);
}

static void on_heartbeat(uv_timer_t *timer)
{
	struct supervisor *s = timer->data;
	guest_heartbeat(s);
	route_trim_all(s);
	/* It may have been stopped for want of descriptors. */
	if (s->state >= SANDBOX_RUNNING && s->state < SANDBOX_ENDED)
		(void)!client_listen_start(s);
}

void sandbox_ready(struct supervisor *s, const char *kernel)
{
	struct cove_error err;
	if (s->ending || s->state != SANDBOX_STARTING)
		return;
	snprintf(s->kernel, sizeof(s->kernel), "%s", kernel);
	for (char *p = s->kernel; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?'; /* it goes to terminals, and the guest chose it */
	s->boot_us = (clock_monotonic_ns() - s->requested_ns) / 1000;

	/* Whoever hears of the sandbox can connect to it: the socket first. */
	int r = folder_listen(&s->folder, &err);
	if (r >= 0 && client_listen_start(s) < 0)
		r = error_set(&err, COVE_E_SYSTEM, "watching the socket");
	if (r < 0) {
		fail_create(s, &err);
		return;
	}
	uv_timer_stop(&s->deadline);
	uv_timer_stop(&s->progress);
	uv_timer_start(&s->heartbeat, on_heartbeat, HEARTBEAT_MS, HEARTBEAT_MS);
	set_state(s, SANDBOX_RUNNING);
	log_line("running after %llu ms", (unsigned long long)(s->boot_us / 1000));
	if (s->spec->detached)
		s->stand_in_fd = orphan_let_go(s->stand_in_fd);
	s->creating = false;
	if (s->creator)
		request_answer(s->creator, s->create_stream);
}

void sandbox_not_ready(struct supervisor *s, const struct cove_error *err)
{
	if (!s->ending && s->state == SANDBOX_STARTING)
		fail_create(s, err);
}

/* ---- what ends it ---- */

void sandbox_down(struct supervisor *s)
{
	if (s->ending || s->state != SANDBOX_STOPPING)
		return;
	set_state(s, SANDBOX_POWERING_OFF);
	set_deadline(s, POWER_OFF_MS);
}

void sandbox_guest_hostile(struct supervisor *s, const char *why)
{
	char text[COVE_ERROR_MESSAGE_MAX];
	snprintf(text, sizeof(text), "the guest broke the protocol: %s", why);
	if (s->state < SANDBOX_RUNNING) {
		fail_boot(s, text, true);
		return;
	}
	end(s, COVE_END_GUEST_HOSTILE, text);
}

void sandbox_machine_exited(struct supervisor *s)
{
	char text[COVE_ERROR_MESSAGE_MAX];
	if (s->ending || !s->machine)
		return;
	enum cove_end_cause cause = machine_explain(s->machine, text);
	/* It was told to stop and did not get there: its disk is not what a stop promises. */
	if (s->state == SANDBOX_STOPPING && cause != COVE_END_GUEST_OFF)
		s->end_cause = COVE_END_NONE;
	if (s->state < SANDBOX_RUNNING) /* a panic has said what the console has to say */
		fail_boot(s, text, cause != COVE_END_GUEST_PANIC);
	else
		end(s, cause, text);
}

void sandbox_machine_closing(struct supervisor *s)
{
	if (!s->ending && s->machine)
		shorten_deadline(s, MACHINE_EXIT_MS);
}

void sandbox_stop(struct supervisor *s, enum cove_end_cause cause, uint64_t grace_ms)
{
	char text[SESSION_ID_MAX_BYTES + 32] = "it was stopped";
	if (cause == COVE_END_CREATOR_GONE)
		snprintf(text, sizeof(text), "its creator ended");
	else if (cause == COVE_END_SESSION_ENDED)
		snprintf(text, sizeof(text), "session %s ended", s->until_session);
	grace_ms = MIN(grace_ms, (uint64_t)STOP_GRACE_MAX_MS);
	if (s->ending)
		return;
	if (s->state < SANDBOX_RUNNING || !guest_link(s)) {
		end(s, cause, text);
		return;
	}
	if (s->state != SANDBOX_RUNNING) {
		shorten_deadline(s, grace_ms + STOP_MARGIN_MS);
		return;
	}
	s->end_cause = cause;
	snprintf(s->end_text, sizeof(s->end_text), "%s", text);
	set_state(s, SANDBOX_STOPPING);
	set_deadline(s, grace_ms + STOP_MARGIN_MS);
	if (guest_send_shutdown(s->machine, grace_ms) < 0) {
		end(s, cause, text);
		return;
	}
	until_refuse_asked(s);
}

void sandbox_detach(struct supervisor *s)
{
	s->spec->detached = true;
	s->stand_in_fd = orphan_let_go(s->stand_in_fd);
	int r = state_write(s);
	if (r < 0)
		log_line("writing the state: %s", strerror(-r));
	log_line("let go of by its creator%s%s",
		 *s->until_session ? ", until the end of session " : "", s->until_session);
}

void sandbox_kill(struct supervisor *s, enum cove_end_cause cause, const char *text)
{
	if (s->ending)
		return;
	s->end_cause = COVE_END_NONE; /* also of one that is being stopped */
	end(s, cause, text);
}

void sandbox_creator_gone(struct supervisor *s)
{
	bool ran = s->spec && s->state >= SANDBOX_RUNNING;
	if (s->ending || (ran && s->spec->detached))
		return;
	/* Nobody is left to see what an orderly end would give, unless the disk is kept. */
	if (ran && s->spec->persistent)
		sandbox_stop(s, COVE_END_CREATOR_GONE, STOP_GRACE_ORPHAN_MS);
	else
		end(s, COVE_END_CREATOR_GONE, "its creator ended");
}
