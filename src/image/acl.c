/* SPDX-License-Identifier: Apache-2.0 */
#include "image/acl.h"

#include <archive.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/error.h"

/* As in the kernel's posix_acl_xattr.h: version, then entries, by tag and then by id. */
#define ACL_ACCESS  "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"
#define ACL_VERSION 2
#define ACL_NO_ID   UINT32_C(0xffffffff)

enum acl_tag {
	ACL_TAG_USER_OBJ = 0x01,
	ACL_TAG_USER = 0x02,
	ACL_TAG_GROUP_OBJ = 0x04,
	ACL_TAG_GROUP = 0x08,
	ACL_TAG_MASK = 0x10,
	ACL_TAG_OTHER = 0x20,
};

struct acl_entry {
	uint16_t tag, permissions;
	uint32_t id;
};

struct acl {
	uint32_t version;
	struct acl_entry entries[];
};

/* ext4 has room for no more: a list must fit a block beside its headers, in 4 or 8 bytes each. */
#define ACL_ENTRIES_MAX 508

static int tag_of(int tag)
{
	switch (tag) {
	case ARCHIVE_ENTRY_ACL_USER_OBJ:
		return ACL_TAG_USER_OBJ;
	case ARCHIVE_ENTRY_ACL_USER:
		return ACL_TAG_USER;
	case ARCHIVE_ENTRY_ACL_GROUP_OBJ:
		return ACL_TAG_GROUP_OBJ;
	case ARCHIVE_ENTRY_ACL_GROUP:
		return ACL_TAG_GROUP;
	case ARCHIVE_ENTRY_ACL_MASK:
		return ACL_TAG_MASK;
	case ARCHIVE_ENTRY_ACL_OTHER:
		return ACL_TAG_OTHER;
	}
	return -EINVAL;
}

static int compare(const void *a, const void *b)
{
	const struct acl_entry *x = a, *y = b;
	int tag_x = le16toh(x->tag), tag_y = le16toh(y->tag);
	if (tag_x != tag_y)
		return tag_x - tag_y;
	uint32_t id_x = le32toh(x->id), id_y = le32toh(y->id);
	return (id_x > id_y) - (id_x < id_y);
}

static int read_entries(struct archive_entry *entry, int type, struct acl *acl, size_t *ret_n,
			struct cove_error *err)
{
	int entry_type, permissions, tag, id;
	const char *name;
	size_t n = 0;
	while (archive_entry_acl_next(entry, type, &entry_type, &permissions, &tag, &id, &name) ==
	       ARCHIVE_OK) {
		int t = tag_of(tag);
		if (t < 0)
			return error_set(err, COVE_E_IMAGE, "its ACL is of an unknown kind");
		bool has_id = t == ACL_TAG_USER || t == ACL_TAG_GROUP;
		if (has_id && id == -1)
			return error_set(err, COVE_E_IMAGE,
					 "its ACL names %.64s, and no number; import the folder "
					 "instead, or pack it without --acls",
					 name ? name : "somebody");
		if (n == ACL_ENTRIES_MAX)
			return error_set(err, COVE_E_LIMIT, "its ACL has more than %d entries",
					 ACL_ENTRIES_MAX);
		acl->entries[n++] = (struct acl_entry){
			.tag = htole16((uint16_t)t),
			.permissions = htole16((uint16_t)(permissions & 7)),
			.id = htole32(has_id ? (uint32_t)id : ACL_NO_ID),
		};
	}
	*ret_n = n;
	return 0;
}

static int convert(struct archive_entry *entry, int type, const char *xattr,
		   struct tree_inode *inode, struct cove_error *err)
{
	if (archive_entry_acl_reset(entry, type) == 0)
		return 0;
	_cleanup_free_ struct acl *acl =
		malloc(sizeof(*acl) + ACL_ENTRIES_MAX * sizeof(struct acl_entry));
	if (!acl)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	acl->version = htole32(ACL_VERSION);

	size_t n = 0;
	int r = read_entries(entry, type, acl, &n, err);
	if (r < 0)
		return r;
	qsort(acl->entries, n, sizeof(acl->entries[0]), compare);
	for (size_t i = 1; i < n; i++)
		if (compare(&acl->entries[i - 1], &acl->entries[i]) == 0)
			return error_set(err, COVE_E_IMAGE, "its ACL has an entry twice");

	/* The three of the mode alone are no list. */
	if (n <= 3 && type == ARCHIVE_ENTRY_ACL_TYPE_ACCESS)
		return 0;
	if (type == ARCHIVE_ENTRY_ACL_TYPE_ACCESS)
		for (size_t i = 0; i < n; i++)
			if (le16toh(acl->entries[i].tag) == ACL_TAG_MASK)
				inode->mode = (inode->mode & ~UINT32_C(0070)) |
					      (uint32_t)le16toh(acl->entries[i].permissions) << 3;
	r = tree_inode_set_xattr(inode, xattr, acl, sizeof(*acl) + n * sizeof(struct acl_entry));
	return r < 0 ? error_set(err, COVE_E_NO_MEMORY, "out of memory") : 0;
}

int acl_from_entry(struct archive_entry *entry, struct tree_inode *inode, struct cove_error *err)
{
	if (!(archive_entry_acl_types(entry) & ARCHIVE_ENTRY_ACL_TYPE_POSIX1E))
		return 0;
	int r = convert(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, ACL_ACCESS, inode, err);
	if (r >= 0 && S_ISDIR(inode->mode))
		r = convert(entry, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, ACL_DEFAULT, inode, err);
	return r;
}

bool acl_has_xattr(struct archive_entry *entry, const char *name)
{
	int types = archive_entry_acl_types(entry);
	return ((types & ARCHIVE_ENTRY_ACL_TYPE_ACCESS) && !strcmp(name, ACL_ACCESS)) ||
	       ((types & ARCHIVE_ENTRY_ACL_TYPE_DEFAULT) && !strcmp(name, ACL_DEFAULT));
}
