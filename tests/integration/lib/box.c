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

struct cove_sandbox_info *box_inspect(const char *name)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_sandbox_info *info;
	CHECK_COVE(cove_sandbox_inspect(name, &info, &err), &err);
	return info;
}
