/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/boot.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"

#include "agent/poison.h"

/* Of the list of modules: a hundred times what it is. */
#define BOOT_ORDER_MAX 65536

static int load_module(int dir_fd, const char *name, struct cove_error *err)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(err, COVE_E_BOOT, errno, "opening %s/%s", BOOT_MODULES_DIR,
				       name);
	/* There already when it is built in, or was loaded as somebody's dependency. */
	if (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)
		return error_set_errno(err, COVE_E_BOOT, errno, "loading %s/%s", BOOT_MODULES_DIR,
				       name);
	/* The initramfs is memory, and this file is not needed again. */
	unlinkat(dir_fd, name, 0);
	return 0;
}

int boot_load_modules(struct cove_error *err)
{
	_cleanup_close_ int dir_fd = open(BOOT_MODULES_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return error_set_errno(err, COVE_E_BOOT, errno, "opening %s", BOOT_MODULES_DIR);
	_cleanup_free_ char *order = NULL;
	int r = fd_read_file(dir_fd, "order", BOOT_ORDER_MAX, false, &order, NULL);
	if (r < 0)
		return error_set_errno(err, COVE_E_BOOT, r, "reading %s/order", BOOT_MODULES_DIR);

	char *rest = order;
	for (char *name; (name = strsep(&rest, "\n"));) {
		if (!*name)
			continue;
		r = load_module(dir_fd, name, err);
		if (r < 0)
			return r;
	}
	return 0;
}
