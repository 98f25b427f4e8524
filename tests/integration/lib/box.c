/* SPDX-License-Identifier: Apache-2.0 */
#include "box.h"

#include "harness/tap.h"

cove_sandbox *box_create(const char *name, const struct cove_sandbox_options *options)
{
	struct cove_sandbox_options own = COVE_SANDBOX_OPTIONS_INIT;
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s;
	if (options)
		own = *options;
	own.image = "test";
	CHECK_COVE(cove_sandbox_create(name, &own, &s, &err), &err);
	return s;
}

void box_stop(cove_sandbox *s)
{
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_sandbox_stop(s, NULL, &err), &err);
	cove_sandbox_free(s);
}

cove_output *box_exec(cove_sandbox *s, const char *const *argv,
		      const struct cove_exec_options *options)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_output *out;
	CHECK_COVE(cove_exec(s, argv, options, &out, &err), &err);
	return out;
}

cove_output *box_shell(cove_sandbox *s, const char *script, const struct cove_exec_options *options)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_output *out;
	CHECK_COVE(cove_shell(s, script, options, &out, &err), &err);
	return out;
}

void box_prints(cove_sandbox *s, const char *script, const struct cove_exec_options *options,
		const char *text)
{
	cove_output *out = box_shell(s, script, options);
	CHECK_STR(out->stderr_data, "");
	CHECK_STR(out->stdout_data, text);
	CHECK(cove_exit_success(&out->exit));
	cove_output_free(out);
}

void box_shell_fails(cove_sandbox *s, const char *script, int code, const char *text)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_output *out = NULL;
	CHECK_INT(cove_shell(s, script, NULL, &out, &err), ==, code);
	CHECK(!out);
	CHECK_CONTAINS(err.message, text);
}

cove_process *box_stream(cove_sandbox *s, const char *script,
			 const struct cove_exec_options *options)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_process *p;
	CHECK_COVE(cove_shell_stream(s, script, options, &p, &err), &err);
	return p;
}

cove_process *box_stream_argv(cove_sandbox *s, const char *const *argv,
			      const struct cove_exec_options *options)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_process *p;
	CHECK_COVE(cove_exec_stream(s, argv, options, &p, &err), &err);
	return p;
}

const struct cove_event *box_receive(cove_process *p, enum cove_event_kind kind)
{
	struct cove_error err = COVE_ERROR_INIT;
	const struct cove_event *event = NULL;
	CHECK_INT(CHECK_COVE(cove_process_recv(p, &event, 10000, &err), &err), ==, 1);
	if (event->error)
		tap_note("%s", event->error->message);
	if (event->kind == COVE_EVENT_STDERR)
		tap_note("stderr: %.*s", (int)event->bytes, (const char *)event->data);
	CHECK_STR(cove_event_name(event->kind), cove_event_name(kind));
	return event;
}

void box_receive_text(cove_process *p, const char *text)
{
	for (size_t n = strlen(text); n > 0;) {
		const struct cove_event *event = box_receive(p, COVE_EVENT_STDOUT);
		CHECK_INT(event->bytes, <=, n);
		CHECK(memcmp(event->data, text, event->bytes) == 0);
		text += event->bytes;
		n -= event->bytes;
	}
}

struct cove_sandbox_info *box_inspect(const char *name)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_sandbox_info *info;
	CHECK_COVE(cove_sandbox_inspect(name, &info, &err), &err);
	return info;
}
