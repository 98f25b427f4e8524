/* SPDX-License-Identifier: Apache-2.0 */

/* Names of numbers. */

#include <cove/cove.h>

#include "base/macro.h"

_public_ const char *cove_version(void)
{
	return COVE_VERSION;
}

static const char *name_of(const char *const *names, size_t n, int number)
{
	return number >= 0 && (size_t)number < n && names[number] ? names[number] : "unknown";
}

_public_ const char *cove_cause_name(enum cove_cause cause)
{
	static const char *const names[] = {
		[COVE_CAUSE_EXITED] = "exited",	      [COVE_CAUSE_SIGNALED] = "signaled",
		[COVE_CAUSE_TIMED_OUT] = "timed_out", [COVE_CAUSE_OOM_KILLED] = "oom_killed",
		[COVE_CAUSE_KILLED] = "killed",	      [COVE_CAUSE_OUTPUT_LIMIT] = "output_limit",
		[COVE_CAUSE_STOPPED] = "stopped",
	};
	return name_of(names, ARRAY_SIZE(names), (int)cause);
}

_public_ const char *cove_event_name(enum cove_event_kind kind)
{
	static const char *const names[] = {
		[COVE_EVENT_STARTED] = "started", [COVE_EVENT_STDOUT] = "stdout",
		[COVE_EVENT_STDERR] = "stderr",	  [COVE_EVENT_STDIN_ERROR] = "stdin_error",
		[COVE_EVENT_GAP] = "gap",	  [COVE_EVENT_EXITED] = "exited",
		[COVE_EVENT_FAILED] = "failed",	  [COVE_EVENT_LOST] = "lost",
	};
	return name_of(names, ARRAY_SIZE(names), (int)kind);
}

_public_ const char *cove_end_cause_name(enum cove_end_cause cause)
{
	static const char *const names[] = {
		[COVE_END_NONE] = "none",
		[COVE_END_STOPPED] = "stopped",
		[COVE_END_KILLED] = "killed",
		[COVE_END_CREATOR_GONE] = "creator_gone",
		[COVE_END_GUEST_OFF] = "guest_off",
		[COVE_END_GUEST_PANIC] = "guest_panic",
		[COVE_END_VMM_DIED] = "vmm_died",
		[COVE_END_BOOT_FAILED] = "boot_failed",
		[COVE_END_GUEST_HOSTILE] = "guest_hostile",
		[COVE_END_SUPERVISOR_DIED] = "supervisor_died",
		[COVE_END_SESSION_ENDED] = "session_ended",
	};
	return name_of(names, ARRAY_SIZE(names), (int)cause);
}

_public_ const char *cove_session_state_name(enum cove_session_state state)
{
	static const char *const names[] = {
		[COVE_SESSION_RUNNING] = "running",
		[COVE_SESSION_ENDED] = "ended",
		[COVE_SESSION_COLLECTED] = "collected",
	};
	return name_of(names, ARRAY_SIZE(names), (int)state);
}

_public_ const char *cove_sandbox_state_name(enum cove_sandbox_state state)
{
	static const char *const names[] = {
		[COVE_SANDBOX_STARTING] = "starting",
		[COVE_SANDBOX_RUNNING] = "running",
		[COVE_SANDBOX_STOPPING] = "stopping",
		[COVE_SANDBOX_ENDED] = "ended",
	};
	return name_of(names, ARRAY_SIZE(names), (int)state);
}
