/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_INTEGRATION_LIB_BOX_H
#define TESTS_INTEGRATION_LIB_BOX_H

/* What most tests do with a sandbox. Whatever fails here fails the test. */

#include <cove/cove.h>

#define EXEC(...) (&(struct cove_exec_options){ COVE_EXEC_OPTIONS_DEFAULTS, __VA_ARGS__ })
#define ARGV(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* options->image is filled in; NULL: all defaults. */
cove_sandbox *box_create(const char *name, const struct cove_sandbox_options *options);
/* Stops and frees it. */
void box_stop(cove_sandbox *s);

cove_output *box_exec(cove_sandbox *s, const char *const *argv,
		      const struct cove_exec_options *options);
cove_output *box_shell(cove_sandbox *s, const char *script,
		       const struct cove_exec_options *options);
/* Runs a script that has to succeed and print exactly this. */
void box_prints(cove_sandbox *s, const char *script, const struct cove_exec_options *options,
		const char *text);
/* Runs a script that has to fail with this code; a part of the message. */
void box_shell_fails(cove_sandbox *s, const char *script, int code, const char *text);

/* Starts a script, or a command. */
cove_process *box_stream(cove_sandbox *s, const char *script,
			 const struct cove_exec_options *options);
cove_process *box_stream_argv(cove_sandbox *s, const char *const *argv,
			      const struct cove_exec_options *options);
/* The next event has to be of the kind. */
const struct cove_event *box_receive(cove_process *p, enum cove_event_kind kind);
/* Exactly this is next on stdout. */
void box_receive_text(cove_process *p, const char *text);

struct cove_sandbox_info *box_inspect(const char *name);

#endif
