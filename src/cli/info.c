/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes and sessions as JSON. docs/cli.md lists the fields: they only grow. */
#include <jansson.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"

/* Text that may come from the guest: what is not UTF-8 becomes "?", since JSON has no room for it. */
static json_t *text_value(const char *text)
{
	if (!text)
		return json_string("");
	json_t *value = json_string(text);
	if (value)
		return value;

	_cleanup_free_ char *copy = strdup(text);
	if (!copy)
		return NULL;
	for (char *p = copy; *p; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	return json_string(copy);
}

/* RFC 3339 in UTC with milliseconds; null for 0. */
static json_t *time_value(uint64_t ns)
{
	char text[64];
	struct tm tm;
	time_t seconds = (time_t)(ns / 1000000000);

	if (!ns || !gmtime_r(&seconds, &tm))
		return json_null();
	size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + n, sizeof(text) - n, ".%03uZ", (unsigned)(ns / 1000000 % 1000));
	return json_string(text);
}

static json_t *info_value(const struct cove_sandbox_info *info)
{
	_cleanup_(json_decrefp) json_t *o = json_object();
	int r = 0;

	if (!o)
		return NULL;
	r |= json_object_set_new(o, "name", text_value(info->name));
	r |= json_object_set_new(o, "state", text_value(cove_sandbox_state_name(info->state)));
	r |= json_object_set_new(o, "image", text_value(info->image));
	r |= json_object_set_new(o, "cpus", json_integer(info->cpus));
	r |= json_object_set_new(o, "memory_bytes", json_integer((json_int_t)info->memory_bytes));
	r |= json_object_set_new(o, "hostname", text_value(info->hostname));
	r |= json_object_set_new(o, "detached", json_boolean(info->detached));
	r |= json_object_set_new(o, "persistent", json_boolean(info->persistent));
	r |= json_object_set_new(o, "read_only", json_boolean(info->read_only));
	r |= json_object_set_new(o, "stalled", json_boolean(info->stalled));
	r |= json_object_set_new(o, "created", time_value(info->created_ns));
	r |= json_object_set_new(o, "ended", time_value(info->ended_ns));
	r |= json_object_set_new(o, "end_cause", text_value(cove_end_cause_name(info->end_cause)));
	r |= json_object_set_new(o, "end_text", text_value(info->end_text));
	r |= json_object_set_new(o, "accelerator", text_value(info->accelerator));
	r |= json_object_set_new(o, "kernel", text_value(info->kernel));
	r |= json_object_set_new(o, "supervisor_pid", json_integer(info->supervisor_pid));
	r |= json_object_set_new(o, "vmm_pid", json_integer(info->vmm_pid));
	r |= json_object_set_new(o, "boot_us", json_integer((json_int_t)info->boot_us));
	r |= json_object_set_new(o, "until_session", text_value(info->until_session));
	return r ? NULL : TAKE_PTR(o);
}

static int print_value(const struct cli_command *command, const json_t *value)
{
	/* ASCII: what a guest says may hold the C1 controls of a terminal. */
	if (!value || json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII) < 0) {
		cli_note(command, "out of memory");
		return -1;
	}
	fputc('\n', stdout);
	return 0;
}

int cli_print_info(const struct cli_command *command, const struct cove_sandbox_info *info)
{
	_cleanup_(json_decrefp) json_t *value = info_value(info);
	return print_value(command, value);
}

int cli_print_infos(const struct cli_command *command, struct cove_sandbox_info *const *infos,
		    size_t n)
{
	_cleanup_(json_decrefp) json_t *array = json_array();

	for (size_t i = 0; array && i < n; i++) {
		if (json_array_append_new(array, info_value(infos[i])) < 0) {
			json_decref(array);
			array = NULL;
		}
	}
	return print_value(command, array);
}

static json_t *argv_value(const char *const *argv)
{
	_cleanup_(json_decrefp) json_t *array = json_array();
	int r = 0;

	for (; array && *argv; argv++)
		r |= json_array_append_new(array, text_value(*argv));
	return r ? NULL : TAKE_PTR(array);
}

static json_t *exit_value(const struct cove_exit *exit)
{
	_cleanup_(json_decrefp) json_t *o = json_object();
	int r = 0;

	if (!o)
		return NULL;
	r |= json_object_set_new(o, "cause", text_value(cove_cause_name(exit->cause)));
	r |= json_object_set_new(o, "code", json_integer(exit->code));
	r |= json_object_set_new(o, "signal", json_integer(exit->signal));
	r |= json_object_set_new(o, "core_dumped", json_boolean(exit->core_dumped));
	r |= json_object_set_new(o, "ended", time_value(exit->ended_ns));
	r |= json_object_set_new(o, "elapsed_ns", json_integer((json_int_t)exit->elapsed_ns));
	r |= json_object_set_new(o, "user_us", json_integer((json_int_t)exit->user_us));
	r |= json_object_set_new(o, "system_us", json_integer((json_int_t)exit->system_us));
	r |= json_object_set_new(o, "max_rss_bytes", json_integer((json_int_t)exit->max_rss_bytes));
	return r ? NULL : TAKE_PTR(o);
}

static int set_offset(json_t *o, const char *name, uint64_t value)
{
	return json_object_set_new(o, name, json_integer((json_int_t)value));
}

static json_t *session_value(const struct cove_session_info *info)
{
	_cleanup_(json_decrefp) json_t *o = json_object();
	bool runs = info->state == COVE_SESSION_RUNNING;
	int r = 0;

	if (!o)
		return NULL;
	r |= json_object_set_new(o, "id", text_value(info->id));
	r |= json_object_set_new(o, "state", text_value(cove_session_state_name(info->state)));
	r |= json_object_set_new(o, "pid", json_integer(info->pid));
	r |= json_object_set_new(o, "argv", argv_value(info->argv));
	r |= json_object_set_new(o, "tty", json_boolean(info->tty));
	r |= json_object_set_new(o, "rows", json_integer(info->rows));
	r |= json_object_set_new(o, "cols", json_integer(info->cols));
	r |= json_object_set_new(o, "started", time_value(info->started_ns));
	r |= json_object_set_new(o, "viewers", json_integer(info->viewers));
	r |= json_object_set_new(o, "has_processes", json_boolean(info->has_processes));
	r |= json_object_set_new(o, "stdin_open", json_boolean(info->stdin_open));
	r |= set_offset(o, "stdout_start", info->stdout_start);
	r |= set_offset(o, "stdout_total", info->stdout_total);
	r |= set_offset(o, "stderr_start", info->stderr_start);
	r |= set_offset(o, "stderr_total", info->stderr_total);
	r |= json_object_set_new(o, "exit", runs ? json_null() : exit_value(&info->exit));
	return r ? NULL : TAKE_PTR(o);
}

int cli_print_sessions(const struct cli_command *command, struct cove_session_info *const *infos,
		       size_t n)
{
	_cleanup_(json_decrefp) json_t *array = json_array();

	for (size_t i = 0; array && i < n; i++) {
		if (json_array_append_new(array, session_value(infos[i])) < 0) {
			json_decref(array);
			array = NULL;
		}
	}
	return print_value(command, array);
}
