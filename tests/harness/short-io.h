/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HARNESS_SHORT_IO_H
#define HARNESS_SHORT_IO_H

/*
 * read() and write() at their worst: while armed, every third call is interrupted (EINTR, nothing
 * moved), and the others move one to seven bytes. In everything that is linked statically into the
 * test (through ld's --wrap: use short_io_dep in meson.build).
 */

#include <stdbool.h>

void short_io_arm(void);
/* Back to normal. How many calls were interfered with since short_io_arm(). */
unsigned long short_io_disarm(void);

#endif
