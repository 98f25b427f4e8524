/* SPDX-License-Identifier: Apache-2.0 */
#include "stream.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "vm.h"

/* More than any test reads into memory. */
#define SEEN_MAX ((size_t)256 * 1024 * 1024)

cove_process *stream_exec(cove_sandbox *sandbox, const char *const *argv,
			  const struct cove_exec_options *options)
{
	cove_process *process;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_exec_stream(sandbox, argv, options, &process, &err), &err);
	return process;
}

cove_process *stream_shell(cove_sandbox *sandbox, const char *script,
			   const struct cove_exec_options *options)
{
	cove_process *process;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_shell_stream(sandbox, script, options, &process, &err), &err);
	return process;
}

cove_process *stream_open(cove_sandbox *sandbox, const char *id,
			  const struct cove_open_options *options)
{
	cove_process *process;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_process_open(sandbox, id, options, &process, &err), &err);
	return process;
}

/* ---- what was received ---- */

static void add_output(struct seen *seen, const struct cove_event *event)
{
	size_t i = event->kind == COVE_EVENT_STDOUT ? 0 : 1;
	struct buffer *b = i ? &seen->err : &seen->out;

	CHECK_INT(event->stream, ==, (i ? COVE_STDERR : COVE_STDOUT));
	CHECK_INT(event->bytes, >, 0);
	/* A viewer's first byte may be anywhere; from there on there is no hole. */
	if (seen->offsets[i] == 0 && b->size == 0)
		seen->offsets[i] = event->offset;
	CHECK_INT(event->offset, ==, seen->offsets[i]);
	seen->offsets[i] += event->bytes;
	b->max = SEEN_MAX;
	CHECK_OK(buffer_append(b, event->data, event->bytes));
}

static void add_gap(struct seen *seen, const struct cove_event *event)
{
	size_t i = event->stream == COVE_STDERR;
	CHECK_INT(event->missing_bytes, >, 0);
	seen->missing += event->missing_bytes;
	seen->offsets[i] = event->offset + event->missing_bytes;
}

static void add_end(struct seen *seen, const struct cove_event *event)
{
	seen->over = true;
	if (event->kind == COVE_EVENT_EXITED) {
		CHECK_INT(seen->n[COVE_EVENT_STARTED], ==, 1);
		seen->exit = event->exit;
		seen->totals[0] = event->stdout_total;
		seen->totals[1] = event->stderr_total;
		for (size_t i = 0; i < 2; i++)
			if (seen->offsets[i])
				CHECK_INT(seen->offsets[i], ==, seen->totals[i]);
		return;
	}
	CHECK(event->error != NULL);
	CHECK_INT(event->error->code, <, 0);
	CHECK(event->error->message[0] != 0);
	if (event->kind == COVE_EVENT_FAILED)
		CHECK_INT(seen->n[COVE_EVENT_STARTED], ==, 0);
	seen->error = *event->error;
}

void seen_add(struct seen *seen, const struct cove_event *event)
{
	CHECK(!seen->over);
	CHECK_INT(event->kind, >=, COVE_EVENT_STARTED);
	CHECK_INT(event->kind, <=, COVE_EVENT_LOST);
	seen->n[event->kind]++;

	switch (event->kind) {
	case COVE_EVENT_STARTED:
		CHECK_INT(seen->n[COVE_EVENT_STARTED], ==, 1);
		CHECK_INT(event->pid, >, 1);
		CHECK(event->id[0] != 0);
		seen->pid = event->pid;
		snprintf(seen->id, sizeof(seen->id), "%s", event->id);
		return;
	case COVE_EVENT_STDOUT:
	case COVE_EVENT_STDERR:
		add_output(seen, event);
		break;
	case COVE_EVENT_STDIN_ERROR:
		CHECK_INT(seen->n[COVE_EVENT_STDIN_ERROR], ==, 1);
		CHECK_INT(event->os_errno, >, 0);
		seen->stdin_errno = event->os_errno;
		break;
	case COVE_EVENT_GAP:
		add_gap(seen, event);
		break;
	case COVE_EVENT_EXITED:
	case COVE_EVENT_FAILED:
	case COVE_EVENT_LOST:
		add_end(seen, event);
		return;
	}
	CHECK_INT(seen->n[COVE_EVENT_STARTED], ==, 1);
	CHECK_INT(event->pid, ==, seen->pid);
	CHECK_STR(event->id, seen->id);
}

bool seen_next(struct seen *seen, cove_process *process)
{
	const struct cove_event *event;
	struct cove_error err = COVE_ERROR_INIT;
	if (CHECK_COVE(cove_process_recv(process, &event, PATIENCE_MS, &err), &err) == 0)
		return false;
	seen_add(seen, event);
	return true;
}

void seen_until(struct seen *seen, cove_process *process, const char *text)
{
	while (seen->out.size == 0 ||
	       !memmem(buffer_front(&seen->out), seen->out.size, text, strlen(text))) {
		if (!seen_next(seen, process) || seen->over)
			tap_fail(__FILE__, __LINE__, "it ended (%d, %s) without \"%s\" in \"%s\"",
				 seen->exit.code, seen->error.message, text, seen_stdout(seen));
	}
}

void seen_to_end(struct seen *seen, cove_process *process)
{
	while (!seen->over)
		CHECK(seen_next(seen, process));
	CHECK(!seen_next(seen, process));
	CHECK(!seen_next(seen, process));
}

static const char *text_of(struct buffer *b)
{
	uint8_t *end;
	b->max = SEEN_MAX;
	CHECK_OK(buffer_reserve(b, 1, &end));
	*end = 0;
	return (const char *)buffer_front(b);
}

const char *seen_stdout(struct seen *seen)
{
	return text_of(&seen->out);
}

const char *seen_stderr(struct seen *seen)
{
	return text_of(&seen->err);
}

void seen_done(struct seen *seen)
{
	buffer_done(&seen->out);
	buffer_done(&seen->err);
	*seen = (struct seen){ 0 };
}

void stream_expect(cove_process *process, struct seen *seen, enum cove_cause cause, int code,
		   const char *out, const char *err)
{
	struct seen own = { 0 };
	if (!seen)
		seen = &own;
	seen_to_end(seen, process);
	CHECK_STR(seen->error.message, "");
	CHECK_STR(cove_cause_name(seen->exit.cause), cove_cause_name(cause));
	CHECK_INT(seen->exit.code, ==, code);
	if (out)
		CHECK_STR(seen_stdout(seen), out);
	if (err)
		CHECK_STR(seen_stderr(seen), err);
	seen_done(seen);
	cove_process_free(process);
}

void stream_type(cove_stdin *in, const char *text)
{
	struct cove_error err = COVE_ERROR_INIT;
	CHECK(in != NULL);
	CHECK_COVE(cove_stdin_write(in, text, strlen(text), &err), &err);
}

size_t stream_turn(cove_sandbox *sandbox, cove_process **ret, size_t max)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct pollfd p = { .events = cove_sandbox_events(sandbox) };
	p.fd = (int)CHECK_COVE(cove_sandbox_fd(sandbox, &err), &err);
	CHECK_INT(CHECK_SYS(poll(&p, 1, PATIENCE_MS)), ==, 1);
	return (size_t)CHECK_COVE(cove_sandbox_dispatch(sandbox, ret, max, &err), &err);
}

/* ---- memory ---- */

/* /proc/PID/FILE of a process of the host. */
static const char *proc_path(int pid, const char *file)
{
	static char path[64];
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	return path;
}

static long long peak_of(int pid)
{
	_cleanup_free_ char *text = NULL;
	CHECK_OK(fd_read_file(AT_FDCWD, proc_path(pid, "status"), 1 << 20, true, &text, NULL));
	const char *line = strstr(text, "VmHWM:");
	CHECK(line != NULL);
	return strtoll(line + 6, NULL, 10);
}

static void reset_peak(int pid)
{
	_cleanup_close_ int fd =
		(int)CHECK_SYS(open(proc_path(pid, "clear_refs"), O_WRONLY | O_CLOEXEC));
	CHECK_INT(write(fd, "5", 1), ==, 1);
}

static int supervisor_of(cove_sandbox *sandbox)
{
	struct cove_sandbox_info *info = vm_info(cove_sandbox_name(sandbox));
	int pid = info->supervisor_pid;
	cove_sandbox_info_free(info);
	return pid;
}

void peaks_reset(cove_sandbox *sandbox)
{
	vm_number(sandbox, "echo 5 >/proc/1/clear_refs; echo 0");
	reset_peak(supervisor_of(sandbox));
	reset_peak(getpid());
}

struct peaks peaks_read(cove_sandbox *sandbox)
{
	return (struct peaks){
		.agent = vm_number(sandbox, "awk '/VmHWM/ { print $2 }' /proc/1/status"),
		.supervisor = peak_of(supervisor_of(sandbox)),
		.client = peak_of(getpid()),
	};
}
