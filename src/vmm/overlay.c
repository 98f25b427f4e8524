/* SPDX-License-Identifier: Apache-2.0 */

/*
 * An empty qcow2 file is four clusters of known content, so it is written here: starting qemu-img
 * for it costs 7 ms. The header names no backing file. The image below is given to QEMU on its
 * command line, as an open descriptor; so nothing that is written into an overlay, by whomever, can
 * make a QEMU open another file of the host; overlay_check() sees to the rest of the header.
 *
 *	cluster 0   header
 *	cluster 1   refcount table: one entry, for the block in cluster 2
 *	cluster 2   refcount block: clusters 0 to 3 are in use, once each
 *	cluster 3   L1 table: all zero, so every read goes to the image below
 *
 * The format is specified in docs/interop/qcow2.txt of QEMU.
 */

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "vmm/overlay.h"
#include "vmm/vmm.h"

#define CLUSTER_BITS  16u
#define CLUSTER_BYTES (1ull << CLUSTER_BITS)
#define CLUSTERS      4u

/* One entry of L1 is a table of as many 8-byte entries as fit into a cluster, one per cluster. */
#define L1_ENTRIES (VMM_DISK_BYTES / (CLUSTER_BYTES / 8 * CLUSTER_BYTES))

_Static_assert(VMM_DISK_BYTES % (CLUSTER_BYTES / 8 * CLUSTER_BYTES) == 0, "whole L2 tables");
_Static_assert(L1_ENTRIES * 8 <= CLUSTER_BYTES, "the L1 table is one cluster");

struct qcow2_header { /* all of it big-endian */
	uint32_t magic, version;
	uint64_t backing_file_offset;
	uint32_t backing_file_size, cluster_bits;
	uint64_t size;
	uint32_t crypt_method, l1_size;
	uint64_t l1_table_offset, refcount_table_offset;
	uint32_t refcount_table_clusters, snapshots;
	uint64_t snapshots_offset;
	uint64_t incompatible_features, compatible_features, autoclear_features;
	uint32_t refcount_order, header_length;
	uint32_t end_of_extensions[2];
} __attribute__((packed));

/* QEMU wants header_length to be a multiple of 8: what follows it is the list of extensions. */
#define QCOW2_HEADER_LENGTH 104
_Static_assert(sizeof(struct qcow2_header) == QCOW2_HEADER_LENGTH + 8, "as in the specification");

#define QCOW2_MAGIC   0x514649fbu /* "QFI\xfb" */
#define QCOW2_VERSION 3u

/*
 * What QEMU itself sets while it writes, and clears afterwards: "dirty", "corrupt". The others change
 * the format, and one of them, the external data file, has a path in it.
 */
#define QCOW2_INCOMPATIBLE_ALLOWED 0x3ull

static int write_at(int fd, const void *data, size_t n, uint64_t offset)
{
	/* A regular file takes these few bytes at once, or there is no room for them. */
	ssize_t k = pwrite(fd, data, n, (off_t)offset);
	if (k < 0)
		return -errno;
	return (size_t)k == n ? 0 : -ENOSPC;
}

static int write_empty(int fd)
{
	const struct qcow2_header header = {
		.magic = htobe32(QCOW2_MAGIC),
		.version = htobe32(QCOW2_VERSION),
		.cluster_bits = htobe32(CLUSTER_BITS),
		.size = htobe64(VMM_DISK_BYTES),
		.l1_size = htobe32((uint32_t)L1_ENTRIES),
		.l1_table_offset = htobe64(3 * CLUSTER_BYTES),
		.refcount_table_offset = htobe64(1 * CLUSTER_BYTES),
		.refcount_table_clusters = htobe32(1),
		.refcount_order = htobe32(4), /* of 16 bits each */
		.header_length = htobe32(QCOW2_HEADER_LENGTH),
	};
	const uint64_t refcount_block = htobe64(2 * CLUSTER_BYTES);
	const uint16_t one = htobe16(1), refcounts[CLUSTERS] = { one, one, one, one };

	if (ftruncate(fd, CLUSTERS * CLUSTER_BYTES) < 0)
		return -errno;
	int r = write_at(fd, &header, sizeof(header), 0);
	if (r >= 0)
		r = write_at(fd, &refcount_block, sizeof(refcount_block), 1 * CLUSTER_BYTES);
	if (r >= 0)
		r = write_at(fd, refcounts, sizeof(refcounts), 2 * CLUSTER_BYTES);
	return r;
}

int overlay_check(int fd)
{
	struct qcow2_header header;
	ssize_t n = pread(fd, &header, sizeof(header), 0);
	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof(header) || be32toh(header.magic) != QCOW2_MAGIC ||
	    be32toh(header.version) != QCOW2_VERSION || be64toh(header.size) != VMM_DISK_BYTES ||
	    header.backing_file_offset || header.backing_file_size || header.crypt_method ||
	    (be64toh(header.incompatible_features) & ~QCOW2_INCOMPATIBLE_ALLOWED))
		return -EBADMSG;
	return 0;
}

int vmm_overlay_create(int dir_fd, const char *name, struct cove_error *err)
{
	/* O_EXCL: never the contents of a sandbox that is there. */
	_cleanup_close_ int fd =
		openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int r = fd < 0 ? -errno : write_empty(fd);
	if (r >= 0)
		return 0;
	if (fd >= 0)
		unlinkat(dir_fd, name, 0);
	return error_set_errno(err, r == -EEXIST ? COVE_E_EXISTS : COVE_E_SYSTEM, r,
			       "the disk overlay %s cannot be made", name);
}
