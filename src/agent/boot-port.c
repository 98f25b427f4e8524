/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding the port. The driver adds ports, and learns their names, from messages that the device
 * sends some time after the driver was loaded, so there is something to wait for. The kernel
 * broadcasts a note for each; after one, or none that is of interest, we look again.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/boot.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"

#include "agent/poison.h"

#define PORTS_DIR "/sys/class/virtio-ports"

int boot_listen_for_devices(int *ret_fd, struct cove_error *err)
{
	_cleanup_close_ int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_set_errno(err, COVE_E_BOOT, errno, "listening for devices");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* The notes that are there are dropped: that something came is all that matters. */
static bool wait_for_device(int fd, uint64_t deadline_ms)
{
	uint64_t now = clock_monotonic_ms();
	struct pollfd p = { .fd = fd, .events = POLLIN };
	if (now >= deadline_ms || poll(&p, 1, (int)(deadline_ms - now)) == 0)
		return false;
	char note[4096];
	while (recv(fd, note, sizeof(note), 0) >= 0)
		;
	return true; /* also on ENOBUFS: then there were more of them than fit */
}

/* The device of the port with our name: -ENOENT while there is none. */
static int find_port(char *ret, size_t size)
{
	_cleanup_closedir_ DIR *dir = opendir(PORTS_DIR);
	if (!dir)
		return -errno;
	struct dirent *entry;
	while ((entry = readdir(dir))) {
		char path[300];
		_cleanup_free_ char *name = NULL;
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%.255s/name", entry->d_name);
		if (fd_read_file(dirfd(dir), path, 256, true, &name, NULL) < 0)
			continue; /* not named yet */
		name[strcspn(name, "\n")] = 0;
		if (strcmp(name, BOOT_PORT_NAME) != 0)
			continue;
		snprintf(ret, size, "/dev/%.200s", entry->d_name);
		return 0;
	}
	return -ENOENT;
}

int boot_open_port(int devices_fd, int *ret_fd, struct cove_error *err)
{
	uint64_t deadline = clock_monotonic_ms() + BOOT_DEVICE_MS;
	char path[256] = "";
	do {
		if (find_port(path, sizeof(path)) < 0)
			continue;
		int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
		if (fd >= 0) {
			*ret_fd = fd;
			return 0;
		}
		if (errno != ENOENT && errno != ENXIO)
			return error_set_errno(err, COVE_E_BOOT, errno, "opening %s", path);
	} while (wait_for_device(devices_fd, deadline));
	return error_set_errno(err, COVE_E_BOOT, ETIMEDOUT, "no port named %s in %s",
			       BOOT_PORT_NAME, PORTS_DIR);
}
