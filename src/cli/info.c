/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes as JSON. docs/cli.md lists the fields: they only grow. */
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
	return r ? NULL : TAKE_PTR(o);
}

static int print_value(const struct cli_command *command, const json_t *value)
{
	if (!value || json_dumpf(value, stdout, JSON_INDENT(2)) < 0) {
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
