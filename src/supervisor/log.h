/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUPERVISOR_LOG_H
#define SUPERVISOR_LOG_H

/*
 * What happened, for whoever looks into the sandbox's folder afterwards: supervisor.log, which is
 * this process' stderr. Bounded, since a client or guest can make things happen.
 */

#include "base/macro.h"

/* Makes the file and puts it in the place of stderr. Negative errno. */
int log_open(int dir_fd) _must_check_;
void log_line(const char *format, ...) _printf_(1, 2);

#endif
