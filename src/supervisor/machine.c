/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor/machine.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/paths.h"
#include "supervisor/guest.h"
#include "supervisor/limits.h"
#include "supervisor/log.h"
#include "supervisor/sandbox.h"

/* A process that was sent SIGKILL is gone in milliseconds, unless the kernel is in trouble. */
#define KILL_WAIT_MS 2000

/*
 * libuv stops watching a socket that has an error (it was closed with bytes of ours unread), though
 * there may be something to read before it.
 */
static void watch_again(uv_poll_t *poll, int status, uv_poll_cb callback)
{
	if (status < 0 && !uv_is_closing((uv_handle_t *)poll))
		uv_poll_start(poll, UV_READABLE, callback);
}

/* ---- QMP: only listened to ---- */

static void on_qmp_event(struct machine *m, const struct qmp_event *event)
{
	if (event->kind != QMP_EVENT_EVENT)
		return;
	if (!strcmp(event->name, "SHUTDOWN"))
		snprintf(m->shutdown_reason, sizeof(m->shutdown_reason), "%s", event->reason);
	log_line("QEMU: %s %s", event->name, event->reason);
}

static void write_qmp(struct machine *m)
{
	const void *data;
	size_t size;
	qmp_output(m->qmp, &data, &size);
	if (size == 0)
		return;
	/* A few lines in a socket's life: it takes them, or QEMU is not what we started. */
	ssize_t n = send(m->vmm.qmp_fd, data, size, MSG_NOSIGNAL);
	if (n > 0)
		qmp_sent(m->qmp, (size_t)n);
}

/* 1: done, there may be more; 0: not now; negative: there is no more to come. */
static int read_qmp(struct machine *m)
{
	char chunk[4096];
	ssize_t n;
	do {
		n = read(m->vmm.qmp_fd, chunk, sizeof(chunk));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (n == 0)
		return -EPIPE;

	struct qmp_event event;
	int r = qmp_input(m->qmp, chunk, (size_t)n);
	while (r >= 0 && (r = qmp_next(m->qmp, &event)) > 0)
		on_qmp_event(m, &event);
	if (r < 0) {
		log_line("QMP: %s", strerror(-r));
		return r;
	}
	write_qmp(m);
	return 1;
}

static void on_qmp(uv_poll_t *poll, int status, _unused_ int events)
{
	struct machine *m = poll->data;
	if (read_qmp(m) >= 0) {
		watch_again(poll, status, on_qmp);
		return;
	}
	uv_poll_stop(poll);
	sandbox_machine_closing(m->s);
}

/* ---- what it prints ---- */

static void on_print(uv_poll_t *poll, struct transcript *t, int fd, int status, uv_poll_cb callback)
{
	int r = transcript_read(t, fd);
	if (r > 0 || r == -EAGAIN)
		watch_again(poll, status, callback);
	else
		uv_poll_stop(poll);
}

static void on_console(uv_poll_t *poll, int status, _unused_ int events)
{
	struct machine *m = poll->data;
	on_print(poll, &m->s->console, m->vmm.console_fd, status, on_console);
}

static void on_stderr(uv_poll_t *poll, int status, _unused_ int events)
{
	struct machine *m = poll->data;
	on_print(poll, &m->s->vmm_stderr, m->vmm.stderr_fd, status, on_stderr);
}

/* ---- start ---- */

static void on_process_end(uv_poll_t *poll, _unused_ int status, _unused_ int events)
{
	struct machine *m = poll->data;
	uv_poll_stop(poll);
	sandbox_machine_exited(m->s);
}

static int watch(struct machine *m, uv_poll_t *poll, int fd, uv_poll_cb callback)
{
	int r = uv_poll_init(&m->s->loop, poll, fd);
	if (r < 0)
		return r;
	poll->data = m;
	m->open_handles++;
	return uv_poll_start(poll, UV_READABLE, callback);
}

static int start_vmm(struct supervisor *s, struct vmm *vmm, struct cove_error *err)
{
	_cleanup_free_ char *kernel = NULL, *initramfs = NULL, *overlay = NULL;
	int r = paths_make(PATHS_SHARE, &kernel, "guest/vmlinuz");
	if (r >= 0)
		r = paths_make(PATHS_SHARE, &initramfs, "guest/initramfs.cpio");
	if (r >= 0 && asprintf(&overlay, "%s/%s", s->folder.path, FOLDER_OVERLAY) < 0) {
		overlay = NULL;
		r = -ENOMEM;
	}
	if (r < 0)
		return error_set_errno(err, COVE_E_SYSTEM, r, "finding the guest's kernel");
	if (access(kernel, R_OK) < 0 || access(initramfs, R_OK) < 0)
		return error_set_errno(err, COVE_E_MISSING, errno,
				       "the guest's kernel %.150s or %.150s", kernel, initramfs);

	struct vmm_config config = {
		.accel = s->accel.accel,
		.kernel = kernel,
		.initramfs = initramfs,
		.cpus = s->spec->cpus,
		.memory_bytes = s->spec->memory_bytes,
		.base_disk = s->image->disk_path,
		.overlay = overlay,
		.confine = true,
	};
	return vmm_start(&config, vmm, err);
}

int machine_start(struct supervisor *s, struct cove_error *err)
{
	struct machine *m = calloc(1, sizeof(*m));
	if (!m)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	m->s = s;
	m->vmm = (struct vmm)VMM_INIT;
	m->start.kind = STREAM_START;
	m->shutdown.kind = STREAM_SHUTDOWN;
	int r = start_vmm(s, &m->vmm, err);
	if (r < 0) {
		free(m);
		return r;
	}
	s->machine = m;
	s->boots++;

	m->qmp = qmp_new();
	r = m->qmp ? guest_init(m) : -ENOMEM;
	if (r >= 0)
		r = watch(m, &m->pid_poll, m->vmm.pid_fd, on_process_end);
	if (r >= 0)
		r = watch(m, &m->qmp_poll, m->vmm.qmp_fd, on_qmp);
	if (r >= 0)
		r = watch(m, &m->console_poll, m->vmm.console_fd, on_console);
	if (r >= 0)
		r = watch(m, &m->stderr_poll, m->vmm.stderr_fd, on_stderr);
	if (r < 0) {
		machine_end(s);
		return error_set_errno(err, COVE_E_SYSTEM, r, "watching the virtual machine");
	}
	return 0;
}

/* ---- end ---- */

static void kill_and_wait(struct machine *m)
{
	/* Not reaped before vmm_done(), so the numbers are still theirs: QEMU and its bubblewrap. */
	(void)kill(-m->vmm.pid, SIGKILL);
	(void)kill(m->vmm.pid, SIGKILL);
	struct pollfd p = { .fd = m->vmm.pid_fd, .events = POLLIN };
	while (poll(&p, 1, KILL_WAIT_MS) < 0 && errno == EINTR)
		;
}

static void drain_transcript(struct transcript *t, int fd)
{
	size_t total = 0;
	int n = 0;
	do {
		n = transcript_read(t, fd);
		total += n > 0 ? (size_t)n : 0;
	} while (n > 0 && total < MACHINE_DRAIN_MAX);
}

/* What it said before it died. False when that ended the sandbox. */
static bool drain(struct machine *m)
{
	drain_transcript(&m->s->console, m->vmm.console_fd);
	drain_transcript(&m->s->vmm_stderr, m->vmm.stderr_fd);
	for (size_t total = 0; m->qmp && total < MACHINE_DRAIN_MAX && read_qmp(m) > 0;
	     total += 4096)
		;
	/* A machine that nobody uses yet has nothing to say to anybody. */
	if (m->s->state >= SANDBOX_RUNNING && guest_link(m->s))
		conn_drain(&m->guest, MACHINE_DRAIN_MAX);
	return m->s->machine == m;
}

void machine_handle_closed(uv_handle_t *handle)
{
	struct machine *m = handle->data;
	if (--m->open_handles > 0)
		return;
	wire_link_free(m->guest.link);
	qmp_free(m->qmp);
	free(m);
}

void machine_end(struct supervisor *s)
{
	struct machine *m = s->machine;
	if (!m)
		return;
	kill_and_wait(m);
	if (!drain(m))
		return;
	s->machine = NULL;

	/* The loop lets go of the descriptors at once, of the handles at its next turn. */
	m->open_handles++; /* ours, until all are on their way */
	if (m->has_guest && !m->guest.closed)
		conn_close(&m->guest, machine_handle_closed);
	uv_poll_t *const polls[] = { &m->pid_poll, &m->qmp_poll, &m->console_poll,
				     &m->stderr_poll };
	for (size_t i = 0; i < ARRAY_SIZE(polls); i++)
		if (polls[i]->data)
			uv_close((uv_handle_t *)polls[i], machine_handle_closed);
	vmm_done(&m->vmm);
	machine_handle_closed(&(uv_handle_t){ .data = m });
}

/* ---- why ---- */

static void describe_exit(struct machine *m, char *text, size_t size)
{
	siginfo_t info = { 0 };
	/* Looked at, not reaped: that is vmm_done()'s. */
	if (waitid(P_PID, (id_t)m->vmm.pid, &info, WEXITED | WNOWAIT | WNOHANG) < 0 ||
	    info.si_pid == 0)
		snprintf(text, size, "QEMU closed its connections");
	else if (info.si_code != CLD_EXITED)
		snprintf(text, size, "QEMU was killed by signal %d", info.si_status);
	else if (m->vmm.confined && info.si_status > 128) /* bubblewrap says it like a shell */
		snprintf(text, size, "QEMU was killed by signal %d", info.si_status - 128);
	else
		snprintf(text, size, "QEMU exited with status %d", info.si_status);
}

enum cove_end_cause machine_explain(struct machine *m, char *text)
{
	char last[256];
	if (!drain(m)) {
		text[0] = 0;
		return COVE_END_VMM_DIED;
	}
	/* The panic's own line: what follows it, up to the end, is a dump of registers. */
	bool panicked = transcript_find_line(&m->s->console, "Kernel panic", last, sizeof(last));
	if (panicked || strstr(m->shutdown_reason, "panic")) {
		if (!panicked)
			transcript_last_lines(&m->s->console, last, sizeof(last));
		snprintf(text, COVE_ERROR_MESSAGE_MAX, "the guest's kernel panicked: %s", last);
		return COVE_END_GUEST_PANIC;
	}
	if (!strncmp(m->shutdown_reason, "guest-", strlen("guest-"))) {
		snprintf(text, COVE_ERROR_MESSAGE_MAX, "the guest turned itself off");
		return COVE_END_GUEST_OFF;
	}
	describe_exit(m, text, COVE_ERROR_MESSAGE_MAX);
	transcript_last_lines(&m->s->vmm_stderr, last, sizeof(last));
	if (last[0]) {
		size_t n = strlen(text);
		snprintf(text + n, COVE_ERROR_MESSAGE_MAX - n, ": %s", last);
	}
	return COVE_END_VMM_DIED;
}
