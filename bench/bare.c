/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine of bare-path.c, from outside. It is started by what starts the machines of sandboxes,
 * so processor, devices and confinement are the same.
 */
#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bare.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "bench.h"
#include "vmm/vmm.h"

#define BOOT_MS	     60000
#define MEMORY_BYTES ((uint64_t)512 << 20) /* what sandboxes have by default */

struct bare {
	struct vmm vmm;
	char folder[32];
};

static void remove_folder(struct bare *b)
{
	int r = fd_remove_tree(AT_FDCWD, b->folder);
	if (r < 0)
		warnx("%s: %s", b->folder, strerror(-r));
}

/* What its kernel and PID 1 have said. */
_Noreturn static void die(struct bare *b, const char *what)
{
	char text[4096];
	ssize_t n = read(b->vmm.console_fd, text, sizeof(text));
	vmm_done(&b->vmm);
	remove_folder(b);
	errx(1, "the bare machine: %s: %.*s", what, n > 0 ? (int)n : 0, text);
}

static void read_exactly(struct bare *b, uint64_t n)
{
	static char buffer[4 * BARE_CHUNK];
	while (n > 0) {
		ssize_t k = read(b->vmm.agent_fd, buffer, n < sizeof(buffer) ? n : sizeof(buffer));
		if (k <= 0)
			die(b, "its port has ended");
		n -= (uint64_t)k;
	}
}

static void request(struct bare *b, enum bare_what what, uint64_t bytes)
{
	struct bare_request r = { .what = what, .bytes = bytes };
	if (fd_write_full(b->vmm.agent_fd, &r, sizeof(r)) < 0)
		die(b, "its port is closed");
}

/* A disk that it has, and does not use. */
static void make_disks(struct bare *b, char *base, char *overlay, size_t size)
{
	struct cove_error error;
	snprintf(b->folder, sizeof(b->folder), "/tmp/cove-bench-XXXXXX");
	if (!mkdtemp(b->folder))
		err(1, "%s", b->folder);
	snprintf(base, size, "%s/base", b->folder);
	snprintf(overlay, size, "%s/overlay", b->folder);
	_cleanup_close_ int dir = open(b->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = open(base, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (dir < 0 || fd < 0 || ftruncate(fd, 1 << 20) < 0)
		err(1, "%s", base);
	if (vmm_overlay_create(dir, "overlay", &error) < 0)
		errx(1, "%s", error.message);
}

struct bare *bare_start(void)
{
	struct cove_error error;
	struct bare *b = calloc(1, sizeof(*b));
	if (!b)
		err(1, "calloc");
	char base[64], overlay[64];
	make_disks(b, base, overlay, sizeof(base));

	struct vmm_accel_report accel;
	vmm_accel_probe(&accel);
	struct vmm_config config = {
		.accel = accel.accel,
		.kernel = GUEST_KERNEL_FILE,
		.initramfs = BARE_INITRAMFS_FILE,
		.cpus = 1,
		.memory_bytes = MEMORY_BYTES,
		.base_disk = base,
		.overlay = overlay,
		.confine = true,
	};
	if (vmm_start(&config, &b->vmm, &error) < 0) {
		remove_folder(b);
		errx(1, "the bare machine: %s", error.message);
	}
	fd_set_nonblocking(b->vmm.agent_fd, false);
	struct pollfd p = { .fd = b->vmm.agent_fd, .events = POLLIN };
	if (poll(&p, 1, BOOT_MS) <= 0)
		die(b, "it does not come up");
	read_exactly(b, 1);
	return b;
}

struct bare *bare_stop(struct bare *b)
{
	vmm_done(&b->vmm);
	remove_folder(b);
	free(b);
	return NULL;
}

double bare_out_ms(struct bare *b, uint64_t n)
{
	uint64_t start = clock_monotonic_ns();
	request(b, BARE_OUT, n);
	read_exactly(b, n);
	return ms_since(start);
}

double bare_in_ms(struct bare *b, uint64_t n)
{
	static const char data[BARE_CHUNK];
	uint64_t start = clock_monotonic_ns();
	request(b, BARE_IN, n);
	for (uint64_t i = 0; i < n; i += BARE_CHUNK)
		if (fd_write_full(b->vmm.agent_fd, data, sizeof(data)) < 0)
			die(b, "its port is closed");
	read_exactly(b, 1);
	return ms_since(start);
}

double bare_ping_ms(struct bare *b)
{
	uint64_t start = clock_monotonic_ns();
	request(b, BARE_PING, 0);
	read_exactly(b, 1);
	return ms_since(start);
}
