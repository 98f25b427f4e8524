/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "agent/boot.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"

#include "agent/poison.h"

#define ENTROPY_MAX 512

/*
 * Machines resumed from one memory image share the state of the random generator: mixed in and
 * credited, then reseeded, so that nothing that is drawn from now on is what another one draws.
 */
int boot_add_entropy(const ProtobufCBinaryData *entropy, struct cove_error *err)
{
	union {
		struct rand_pool_info info;
		uint8_t bytes[sizeof(struct rand_pool_info) + ENTROPY_MAX];
	} pool;
	size_t n = MIN(entropy->len, (size_t)ENTROPY_MAX);
	pool.info.entropy_count = (int)(n * 8);
	pool.info.buf_size = (int)n;
	if (n)
		memcpy(pool.bytes + offsetof(struct rand_pool_info, buf), entropy->data, n);

	_cleanup_close_ int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, RNDADDENTROPY, &pool) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
		return error_set_errno(err, COVE_E_BOOT, errno, "seeding /dev/urandom");
	explicit_bzero(&pool, sizeof(pool));
	return 0;
}

int boot_set_clock(uint64_t realtime_ns, struct cove_error *err)
{
	struct timespec now = {
		.tv_sec = (time_t)(realtime_ns / 1000000000),
		.tv_nsec = (long)(realtime_ns % 1000000000),
	};
	if (clock_settime(CLOCK_REALTIME, &now) < 0)
		return error_set_errno(err, COVE_E_BOOT, errno, "setting the clock");
	return 0;
}

int boot_set_hostname(const char *hostname, struct cove_error *err)
{
	if (sethostname(hostname, strlen(hostname)) < 0)
		return error_set_errno(err, COVE_E_BOOT, errno, "setting the hostname '%s'",
				       hostname);
	return 0;
}

int boot_raise_loopback(struct cove_error *err)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		return error_set_errno(err, COVE_E_BOOT, errno, "raising the interface lo");
	return 0;
}

/* Bound over the image's file, which says who the image was, and may be on a read-only root. */
int boot_set_machine_id(const ProtobufCBinaryData *id, struct cove_error *err)
{
	static const char path[] = "/run/machine-id", place[] = "/etc/machine-id";
	char text[2 * 16 + 2];
	for (size_t i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", id->data[i]);
	memcpy(text + 32, "\n", 2);

	int r = fd_write_file_atomic(AT_FDCWD, path, text, 33, 0444);
	if (r < 0)
		return error_set_errno(err, COVE_E_BOOT, r, "writing %s", path);
	/* Most images have none, for it would be the same in all their machines. */
	fd_close(open(place, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
	struct stat st;
	if (lstat(place, &st) < 0 || !S_ISREG(st.st_mode))
		return 0; /* no /etc, a read-only one, or a link: there is /run/machine-id */
	if (mount(path, place, NULL, MS_BIND, NULL) < 0)
		return error_set_errno(err, COVE_E_BOOT, errno, "mounting %s on %s", path, place);
	return 0;
}

static int write_number(int dir_fd, const char *name, uint64_t value, struct cove_error *err)
{
	char text[32];
	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	int r = fd_write_string(dir_fd, name, text);
	if (r < 0)
		return error_set_errno(err, COVE_E_BOOT, r, "writing %s to %s/%s", text,
				       BOOT_CGROUPS_DIR, name);
	return 0;
}

static uint64_t read_number(const char *path, uint64_t fallback)
{
	_cleanup_free_ char *text = NULL;
	if (fd_read_file(AT_FDCWD, path, 64, true, &text, NULL) < 0)
		return fallback;
	return strtoull(text, NULL, 10);
}

/*
 * All sessions together get a little less than everything, so that a memory or fork bomb ends in
 * one of them. (PID 1 itself is never chosen by the kernel's OOM killer, and is in no cgroup.)
 */
static int limit_sessions(int dir_fd, struct cove_error *err)
{
	struct sysinfo info;
	if (sysinfo(&info) < 0)
		return error_set_errno(err, COVE_E_BOOT, errno, "sysinfo");
	/* What is free now: a limit above that would leave it to the kernel's last resort. */
	uint64_t memory = (uint64_t)info.freeram * info.mem_unit;
	uint64_t pids = MIN(read_number("/proc/sys/kernel/pid_max", 32768),
			    read_number("/proc/sys/kernel/threads-max", 32768));
	if (memory > 2 * BOOT_MEMORY_RESERVE) {
		int r = write_number(dir_fd, "memory.max", memory - BOOT_MEMORY_RESERVE, err);
		if (r < 0)
			return r;
	}
	return pids > 2 * BOOT_PIDS_RESERVE
		       ? write_number(dir_fd, "pids.max", pids - BOOT_PIDS_RESERVE, err)
		       : 0;
}

int boot_make_cgroups(int *ret_fd, struct cove_error *err)
{
	static const char controllers[] = "+cpu +memory +pids";
	static const char root[] = "/sys/fs/cgroup/cgroup.subtree_control";
	int r = fd_write_string(AT_FDCWD, root, controllers);
	if (r < 0)
		return error_set_errno(err, COVE_E_BOOT, r, "writing %s to %s", controllers, root);
	if (mkdir(BOOT_CGROUPS_DIR, 0755) < 0)
		return error_set_errno(err, COVE_E_BOOT, errno, "making %s", BOOT_CGROUPS_DIR);
	_cleanup_close_ int fd = open(BOOT_CGROUPS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(err, COVE_E_BOOT, errno, "opening %s", BOOT_CGROUPS_DIR);
	r = fd_write_string(fd, "cgroup.subtree_control", controllers);
	if (r < 0)
		return error_set_errno(err, COVE_E_BOOT, r, "writing %s to %s/%s", controllers,
				       BOOT_CGROUPS_DIR, "cgroup.subtree_control");
	r = limit_sessions(fd, err);
	if (r < 0)
		return r;
	*ret_fd = TAKE_FD(fd);
	return 0;
}
