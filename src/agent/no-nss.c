/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libuv has uv_os_get_passwd() in the same object file as its event loop, so linking the loop pulls
 * in getpwuid_r(), and with it glibc's name services, which a static program cannot have (the
 * linker says so, and its warnings are errors here). The agent never calls it: this definition is
 * found first and keeps glibc's out. The guest's users are read by user.c.
 */
#include <errno.h>
#include <pwd.h>
#include <stddef.h>

int getpwuid_r(uid_t uid, struct passwd *pwd, char *buf, size_t buflen, struct passwd **result)
{
	(void)uid;
	(void)pwd;
	(void)buf;
	(void)buflen;
	*result = NULL;
	return ENOSYS;
}
