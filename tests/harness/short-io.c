/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/short-io.h"

#include <errno.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/macro.h"

static bool armed;
static unsigned long calls;

ssize_t __real_read(int fd, void *data, size_t n);
ssize_t __real_write(int fd, const void *data, size_t n);
ssize_t __wrap_read(int fd, void *data, size_t n);
ssize_t __wrap_write(int fd, const void *data, size_t n);

void short_io_arm(void)
{
	armed = true;
	calls = 0;
}

unsigned long short_io_disarm(void)
{
	armed = false;
	return calls;
}

/* False: this call is to be interrupted. Otherwise *n is what it may move. */
static bool next_call(size_t *n)
{
	if (!armed)
		return true;
	calls++;
	*n = MIN(*n, 1 + calls % 7);
	if (calls % 3)
		return true;
	errno = EINTR;
	return false;
}

ssize_t __wrap_read(int fd, void *data, size_t n)
{
	return next_call(&n) ? __real_read(fd, data, n) : -1;
}

ssize_t __wrap_write(int fd, const void *data, size_t n)
{
	return next_call(&n) ? __real_write(fd, data, n) : -1;
}
