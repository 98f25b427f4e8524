/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/confine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"

/* "nobody" on Debian; the kernel's own number for users that have none. */
#define NOBODY 65534

#define TRY_TIMEOUT_MS 10000 /* takes 4 ms; a machine that needs this long has other troubles */

int confine_mode(const struct vmm_config *config, enum confine_mode *ret, struct cove_error *err)
{
	static const char *const names[] = {
		[CONFINE_OFF] = "off",
		[CONFINE_AUTO] = "auto",
		[CONFINE_REQUIRED] = "required",
	};
	const char *wanted = getenv("COVE_CONFINE");
	if (!wanted || !*wanted) {
		*ret = config->confine ? CONFINE_AUTO : CONFINE_OFF;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(wanted, names[i])) {
			*ret = (enum confine_mode)i;
			return 0;
		}
	}
	/* Guessing here could mean less protection than somebody asked for. */
	return error_set(err, COVE_E_INVALID, "COVE_CONFINE is \"%s\", not off, auto or required",
			 wanted);
}

void confine_user(enum vmm_accel accel, struct program_user *ret)
{
	*ret = (struct program_user){ 0 };
	if (geteuid() != 0)
		return;

	struct program_user user = { .change = true, .uid = NOBODY, .gid = NOBODY };
	struct stat st;
	if (accel == VMM_ACCEL_KVM && stat("/dev/kvm", &st) == 0) {
		const mode_t group = S_IRGRP | S_IWGRP, others = S_IROTH | S_IWOTH;
		if ((st.st_mode & group) == group)
			user.groups[user.groups_n++] = st.st_gid;
		else if ((st.st_mode & others) != others)
			return; /* root's alone */
	}
	*ret = user;
}

/* May everybody read the file, and pass through all folders above it? */
static bool world_readable(const char *file)
{
	_cleanup_free_ char *path = realpath(file, NULL);
	struct stat st;
	if (!path || stat(path, &st) < 0 || !(st.st_mode & S_IROTH))
		return false;
	for (char *slash; (slash = strrchr(path, '/')) && slash != path;) {
		*slash = 0;
		if (stat(path, &st) < 0 || !(st.st_mode & S_IXOTH))
			return false;
	}
	return stat("/", &st) == 0 && (st.st_mode & S_IXOTH);
}

enum confine_give confine_give(const struct vmm_config *config, const struct program_user *user)
{
	/* A copy costs its size in memory for every sandbox, so only where there is no other way:
	 * root's checkout in /root, a home that only its owner may enter. */
	if (user->change && !(world_readable(config->kernel) && world_readable(config->initramfs)))
		return CONFINE_COPY;
	return CONFINE_BIND;
}

int confine_try(const char *bwrap, char *reason, size_t size)
{
	_cleanup_(arguments_done) struct arguments a = { 0 };
	arguments_confine(&a, bwrap, NULL, CONFINE_NOTHING);
	arguments_add(&a, "/usr/bin/true");
	struct program_user user;
	confine_user(VMM_ACCEL_TCG, &user);

	char output[512];
	int r = a.error;
	if (r >= 0)
		r = program_run(a.v, &user, TRY_TIMEOUT_MS, output, sizeof(output));
	if (r < 0) {
		snprintf(reason, size, "%s: %s", bwrap, error_errno_text(r));
		return r;
	}
	if (r > 0) {
		output[strcspn(output, "\n")] = 0;
		snprintf(reason, size, "%s",
			 *output ? output : "bubblewrap failed and said nothing");
		return -EPERM;
	}
	return 0;
}
