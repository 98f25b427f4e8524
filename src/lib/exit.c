/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/exit.h"

#include <errno.h>

int exit_from_message(const Cove__Wire__Exited *m, struct cove_exit *ret)
{
	if (m->cause > COVE_CAUSE_STOPPED)
		return -EPROTO;
	*ret = (struct cove_exit){
		.cause = (enum cove_cause)m->cause,
		.code = m->code,
		.signal = (int)m->signal,
		.core_dumped = m->core_dumped,
		.started_ns = m->started_ns,
		.ended_ns = m->ended_ns,
		.elapsed_ns = m->elapsed_ns,
	};
	if (m->usage) {
		ret->user_us = m->usage->user_us;
		ret->system_us = m->usage->system_us;
		ret->max_rss_bytes = m->usage->max_rss_bytes;
	}
	return 0;
}

void failure_from_message(const Cove__Wire__Failure *m, struct cove_error *ret)
{
	wire_failure_to_error(m, ret);
	if (ret->code == COVE_E_TIMEOUT || ret->code == COVE_E_AGAIN ||
	    ret->code == COVE_E_ENCODING)
		ret->code = COVE_E_PROTOCOL;
}
