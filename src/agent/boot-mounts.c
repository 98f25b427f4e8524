/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/boot.h"
#include "base/cleanup.h"
#include "base/error.h"

#include "agent/poison.h"

struct mount_entry {
	const char *source;
	const char *target;
	const char *type;
	unsigned long flags;
	const char *data;
	mode_t mode; /* of the mount point, where it has to be made */
};

/*
 * Not every image has them. The disk below a root that is read-only is the sandbox's own, so it can
 * be written for as long as this takes.
 */
static int make_mount_point(const struct mount_entry *m, const char *root)
{
	if (mkdir(m->target, m->mode) == 0 || errno == EEXIST)
		return 0;
	if (errno != EROFS || mount(NULL, root, NULL, MS_REMOUNT, NULL) < 0)
		return -errno;
	int r = mkdir(m->target, m->mode) < 0 ? -errno : 0;
	if (mount(NULL, root, NULL, MS_REMOUNT | MS_RDONLY, NULL) < 0)
		r = -errno;
	return r;
}

/* `root` is what the mount point is on. */
static int mount_one(const struct mount_entry *m, const char *root, struct cove_error *err)
{
	int r = make_mount_point(m, root);
	if (r < 0)
		return error_set_errno(err, COVE_E_BOOT, r, "making the mount point %s", m->target);
	if (mount(m->source, m->target, m->type, m->flags, m->data) < 0)
		return error_set_errno(err, COVE_E_BOOT, errno, "mounting %s (%s) on %s", m->source,
				       m->type ? m->type : "move", m->target);
	return 0;
}

#define SAFE (MS_NOSUID | MS_NODEV)

static int link_standard_streams(struct cove_error *err)
{
	static const char *const links[][2] = {
		{ "/proc/self/fd", "/dev/fd" },
		{ "/proc/self/fd/0", "/dev/stdin" },
		{ "/proc/self/fd/1", "/dev/stdout" },
		{ "/proc/self/fd/2", "/dev/stderr" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(links); i++)
		if (symlink(links[i][0], links[i][1]) < 0 && errno != EEXIST)
			return error_set_errno(err, COVE_E_BOOT, errno, "making the link %s",
					       links[i][1]);
	return 0;
}

/* All that does not depend on the root filesystem, so that a start has it done already. */
int boot_mount_kernel_filesystems(struct cove_error *err)
{
	static const struct mount_entry mounts[] = {
		{ "devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=755", 0755 },
		{ "proc", "/proc", "proc", SAFE | MS_NOEXEC, NULL, 0555 },
		{ "sysfs", "/sys", "sysfs", SAFE | MS_NOEXEC, NULL, 0555 },
		{ "devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
		  "gid=5,mode=620,ptmxmode=666", 0755 },
		{ "tmpfs", "/dev/shm", "tmpfs", SAFE, "mode=1777", 01777 },
		{ "cgroup2", "/sys/fs/cgroup", "cgroup2", SAFE | MS_NOEXEC, NULL, 0755 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		int r = mount_one(&mounts[i], "/", err);
		if (r < 0)
			return r;
	}
	return link_standard_streams(err);
}

void boot_open_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; i < 3 && fd >= 0; i++)
		if (fd != i)
			dup2(fd, i);
	if (fd > 2)
		close(fd);
}

int boot_mount_root(const Cove__Wire__Start *start, struct cove_error *err)
{
	const char *type = start->root_type ? start->root_type : "ext4";
	struct mount_entry root = {
		.source = start->root_device ? start->root_device : "/dev/vda",
		.target = BOOT_NEW_ROOT,
		.type = type,
		.flags = start->root_read_only ? MS_RDONLY : 0,
		/* Else the kernel writes inode tables in the background, for minutes. */
		.data = strcmp(type, "ext4") == 0 ? "noinit_itable" : NULL,
		.mode = 0755,
	};
	return mount_one(&root, "/", err);
}

int boot_move_mounts(struct cove_error *err)
{
	static const struct mount_entry mounts[] = {
		{ "/dev", BOOT_NEW_ROOT "/dev", NULL, MS_MOVE, NULL, 0755 },
		{ "/proc", BOOT_NEW_ROOT "/proc", NULL, MS_MOVE, NULL, 0555 },
		{ "/sys", BOOT_NEW_ROOT "/sys", NULL, MS_MOVE, NULL, 0555 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		int r = mount_one(&mounts[i], BOOT_NEW_ROOT, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int boot_switch_root(struct cove_error *err)
{
	/* pivot_root() does not work on an initramfs; this is what switch_root does. */
	if (chdir(BOOT_NEW_ROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 ||
	    chroot(".") < 0 || chdir("/") < 0)
		return error_set_errno(err, COVE_E_BOOT, errno, "making %s the root",
				       BOOT_NEW_ROOT);
	return 0;
}

/* /tmp of the image is on the disk; only where that cannot be written is it memory. */
static int furnish_tmp(bool read_only, struct cove_error *err)
{
	static const struct mount_entry tmp = { "tmpfs",     "/tmp", "tmpfs", MS_NOSUID | MS_NODEV,
						"mode=1777", 01777 };
	if (read_only)
		return mount_one(&tmp, "/", err);
	if (mkdir(tmp.target, 01777) == 0)
		return chmod(tmp.target, 01777) < 0
			       ? error_set_errno(err, COVE_E_BOOT, errno, "chmod of %s", tmp.target)
			       : 0;
	return errno == EEXIST ? 0
			       : error_set_errno(err, COVE_E_BOOT, errno, "making %s", tmp.target);
}

int boot_furnish_root(bool read_only, struct cove_error *err)
{
	static const struct mount_entry run = { "tmpfs", "/run", "tmpfs", SAFE, "mode=755", 0755 };
	int r = mount_one(&run, "/", err);
	return r < 0 ? r : furnish_tmp(read_only, err);
}
