/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_LOG_H
#define AGENT_LOG_H

/*
 * A line on stderr: the machine's console, whose last lines the host shows when a boot fails. Only
 * for what nobody can be told over the link; an emulated serial port costs a guest exit per byte.
 */

#include "base/macro.h"

void agent_log(const char *format, ...) _printf_(1, 2);

#endif
