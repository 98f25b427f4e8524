/* SPDX-License-Identifier: Apache-2.0 */
#include "image/tree.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "image/tree-path.h"

/* What one entry costs beside its strings: the node, the inode, tsearch()'s node, malloc's own. */
#define ENTRY_MEMORY_BYTES (sizeof(struct tree_node) + sizeof(struct tree_inode) + 96)

DEFINE_CLEANUP(struct tree_inode *, tree_inode_free)

bool tree_is_directory(const struct tree_node *node)
{
	return S_ISDIR(node->inode->mode);
}

struct tree_inode *tree_inode_new(void)
{
	return calloc(1, sizeof(struct tree_inode));
}

struct tree_inode *tree_inode_free(struct tree_inode *inode)
{
	if (!inode)
		return NULL;
	while (inode->xattrs) {
		struct tree_xattr *next = inode->xattrs->next;
		free(inode->xattrs);
		inode->xattrs = next;
	}
	free(inode->target);
	free(inode->extents);
	free(inode);
	return NULL;
}

int tree_inode_set_xattr(struct tree_inode *inode, const char *name, const void *data, size_t size)
{
	struct tree_xattr *x = malloc(sizeof(*x) + size + strlen(name) + 1);
	if (!x)
		return -ENOMEM;
	x->size = size;
	if (size > 0)
		memcpy(x->data, data, size);
	x->name = memcpy((char *)x->data + size, name, strlen(name) + 1);

	struct tree_xattr **p = &inode->xattrs;
	while (*p && strcmp((*p)->name, name) != 0)
		p = &(*p)->next;
	x->next = *p ? (*p)->next : NULL;
	free(*p);
	*p = x;
	return 0;
}

static uint64_t inode_memory(const struct tree_inode *inode)
{
	uint64_t n = inode->target ? strlen(inode->target) : 0;
	for (const struct tree_xattr *x = inode->xattrs; x; x = x->next)
		n += sizeof(*x) + x->size + strlen(x->name);
	return n;
}

static int compare_names(const void *a, const void *b)
{
	const struct tree_node *x = a, *y = b;
	int r = memcmp(x->name, y->name, MIN(x->name_size, y->name_size));
	if (r != 0)
		return r;
	return (x->name_size > y->name_size) - (x->name_size < y->name_size);
}

static struct tree_node *find_child(const struct tree_node *parent, const char *name, size_t size)
{
	const struct tree_node key = { .name = name, .name_size = size };
	void *found = tfind(&key, &parent->index, compare_names);
	return found ? *(struct tree_node **)found : NULL;
}

static struct tree_node *node_new(const char *name, size_t size)
{
	struct tree_node *node = calloc(1, sizeof(*node) + size + 1);
	if (!node)
		return NULL;
	memcpy(node->text, name, size);
	node->name = node->text;
	node->name_size = size;
	list_init(&node->siblings);
	list_init(&node->children);
	return node;
}

static int add_child(struct tree *tree, struct tree_node *parent, const char *name, size_t size,
		     struct tree_inode *inode, struct cove_error *err)
{
	uint64_t memory = ENTRY_MEMORY_BYTES + size;
	if (inode->names == 0)
		memory += inode_memory(inode);
	if (tree->entries >= TREE_ENTRIES_MAX)
		return error_set(err, COVE_E_LIMIT, "more than %u entries", TREE_ENTRIES_MAX);
	if (memory > TREE_MEMORY_MAX_BYTES - tree->memory)
		return error_set(err, COVE_E_LIMIT, "names and attributes take more than %u MiB",
				 (unsigned)(TREE_MEMORY_MAX_BYTES >> 20));

	struct tree_node *node = node_new(name, size);
	if (!node || !tsearch(node, &parent->index, compare_names)) {
		free(node);
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	}
	node->parent = parent;
	list_append(&parent->children, &node->siblings);
	node->inode = inode;
	inode->names++;
	tree->entries++;
	tree->memory += memory;
	return 0;
}

static void drop_inode(struct tree *tree, struct tree_inode *inode)
{
	if (--inode->names > 0)
		return;
	tree->memory -= inode_memory(inode);
	if (tree->release)
		tree->release(tree->release_arg, inode);
	tree_inode_free(inode);
}

static void remove_leaf(struct tree *tree, struct tree_node *node)
{
	if (node->parent)
		tdelete(node, &node->parent->index, compare_names);
	list_remove(&node->siblings);
	tree->entries--;
	tree->memory -= ENTRY_MEMORY_BYTES + node->name_size;
	drop_inode(tree, node->inode);
	free(node);
}

/* Without recursion: how deep it is, is the archive's choice. */
static void remove_children(struct tree *tree, struct tree_node *top)
{
	struct tree_node *node = top;
	while (node != top || !list_empty(&top->children)) {
		if (!list_empty(&node->children)) {
			node = LIST_ENTRY(node->children.prev, struct tree_node, siblings);
			continue;
		}
		struct tree_node *parent = node->parent;
		remove_leaf(tree, node);
		node = parent;
	}
}

static struct tree_inode *plain_directory(const struct tree *tree)
{
	struct tree_inode *inode = tree_inode_new();
	if (!inode)
		return NULL;
	inode->mode = S_IFDIR | 0755;
	inode->mtime_s = tree->now_s;
	return inode;
}

int tree_init(struct tree *tree, struct cove_error *err)
{
	struct tree_node *root = node_new("", 0);
	struct tree_inode *inode = plain_directory(tree);
	if (!root || !inode) {
		free(root);
		tree_inode_free(inode);
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	}
	root->inode = inode;
	inode->names = 1;
	tree->root = root;
	tree->entries = 1;
	tree->memory = ENTRY_MEMORY_BYTES;
	return 0;
}

void tree_done(struct tree *tree)
{
	if (!tree->root)
		return;
	tree->release = NULL;
	remove_children(tree, tree->root);
	remove_leaf(tree, tree->root);
	tree->root = NULL;
}

struct tree_node *tree_next(const struct tree *tree, const struct tree_node *node)
{
	if (!list_empty(&node->children))
		return LIST_ENTRY(node->children.next, struct tree_node, siblings);
	while (node != tree->root && node->siblings.next == &node->parent->children)
		node = node->parent;
	return node == tree->root ? NULL
				  : LIST_ENTRY(node->siblings.next, struct tree_node, siblings);
}

/* One step of resolve(). Sets *rest anew, allocated, where a link is followed. */
static int step(struct tree *tree, struct tree_node **dir, struct tree_walk *walk, bool make,
		struct cove_error *err)
{
	const char *name = walk->name;
	size_t size = walk->name_size;

	if (size == 2 && !memcmp(name, "..", 2)) {
		if ((*dir)->parent)
			*dir = (*dir)->parent;
		return 0;
	}
	if (size > TREE_NAME_MAX_BYTES)
		return error_set(err, COVE_E_IMAGE, "a name in it is longer than %d bytes",
				 TREE_NAME_MAX_BYTES);

	struct tree_node *child = find_child(*dir, name, size);
	if (!child) {
		if (!make)
			return error_set_errno(err, COVE_E_IMAGE, ENOENT, "%.*s", (int)size, name);
		_cleanup_(tree_inode_freep) struct tree_inode *inode = plain_directory(tree);
		if (!inode)
			return error_set(err, COVE_E_NO_MEMORY, "out of memory");
		int r = add_child(tree, *dir, name, size, inode, err);
		if (r < 0)
			return r;
		inode = NULL;
		child = find_child(*dir, name, size);
	}
	if (S_ISLNK(child->inode->mode)) {
		if (child->inode->target[0] == '/')
			*dir = tree->root;
		int r = tree_walk_follow(walk, child->inode->target);
		if (r == -ELOOP)
			return error_set_errno(err, COVE_E_IMAGE, ELOOP, "%.*s", (int)size, name);
		return r < 0 ? error_set(err, COVE_E_NO_MEMORY, "out of memory") : 0;
	}
	if (!tree_is_directory(child))
		return error_set_errno(err, COVE_E_IMAGE, ENOTDIR, "%.*s", (int)size, name);
	*dir = child;
	return 0;
}

/* The directory that the cleaned path is in, made where it is missing if `make`. */
static int resolve_parent(struct tree *tree, const struct tree_path *path, bool make,
			  struct tree_node **ret, struct cove_error *err)
{
	_cleanup_(tree_walk_done) struct tree_walk walk = { 0 };
	int r = tree_walk_init(&walk, path->text, path->parent_size);
	if (r < 0)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");

	struct tree_node *dir = tree->root;
	while (tree_walk_next(&walk)) {
		r = step(tree, &dir, &walk, make, err);
		if (r < 0)
			return r;
	}
	*ret = dir;
	return 0;
}

/* Takes over the reference to inode (one name) on success. */
static int put_at(struct tree *tree, const struct tree_path *path, struct tree_inode *inode,
		  struct cove_error *err)
{
	struct tree_node *node, *dir = NULL;
	if (!*path->name) {
		if (!S_ISDIR(inode->mode))
			return error_set(err, COVE_E_IMAGE, "the root must be a directory");
		node = tree->root;
	} else {
		int r = resolve_parent(tree, path, true, &dir, err);
		if (r < 0)
			return r;
		node = find_child(dir, path->name, strlen(path->name));
	}
	if (!node)
		return add_child(tree, dir, path->name, strlen(path->name), inode, err);
	if (node->inode == inode) /* a link to itself */
		return 0;
	if (tree_is_directory(node) && !S_ISDIR(inode->mode))
		remove_children(tree, node);

	uint64_t memory = inode->names == 0 ? inode_memory(inode) : 0;
	if (memory > TREE_MEMORY_MAX_BYTES - tree->memory)
		return error_set(err, COVE_E_LIMIT, "names and attributes take more than %u MiB",
				 (unsigned)(TREE_MEMORY_MAX_BYTES >> 20));
	tree->memory += memory;
	inode->names++;
	drop_inode(tree, node->inode);
	node->inode = inode;
	return 0;
}

int tree_put(struct tree *tree, const char *path, struct tree_inode *inode, struct cove_error *err)
{
	struct tree_path clean;
	int r = tree_path_clean(path, &clean, err);
	if (r < 0)
		return r;
	return put_at(tree, &clean, inode, err);
}

static int find(struct tree *tree, const struct tree_path *path, struct tree_node **ret,
		struct cove_error *err)
{
	struct tree_node *dir, *node = tree->root;
	if (*path->name) {
		int r = resolve_parent(tree, path, false, &dir, err);
		if (r < 0)
			return r;
		node = find_child(dir, path->name, strlen(path->name));
	}
	if (!node)
		return error_set_errno(err, COVE_E_IMAGE, ENOENT, "%s", path->name);
	*ret = node;
	return 0;
}

struct tree_node *tree_find(struct tree *tree, const char *path)
{
	struct tree_path clean;
	struct tree_node *node = NULL;
	if (tree_path_clean(path, &clean, NULL) < 0 || find(tree, &clean, &node, NULL) < 0)
		return NULL;
	return node;
}

int tree_link(struct tree *tree, const char *path, const char *target, struct cove_error *err)
{
	struct tree_path from, to;
	struct tree_node *node;
	int r = tree_path_clean(path, &from, err);
	if (r < 0)
		return r;
	r = tree_path_clean(target, &to, err);
	if (r >= 0)
		r = find(tree, &to, &node, err);
	if (r < 0)
		return error_add_context(
			err, r, "it is a hard link to %.200s, which is no entry before it", target);

	struct tree_inode *inode = node->inode;
	if (S_ISDIR(inode->mode))
		return error_set(err, COVE_E_IMAGE, "it is a hard link to %.200s, a directory",
				 target);
	if (inode->names >= TREE_NAMES_MAX)
		return error_set(err, COVE_E_IMAGE, "%.200s has more than %d hard links", target,
				 TREE_NAMES_MAX);

	/* Held while it is put: what is in the way may be a directory with the target in it. */
	inode->names++;
	r = put_at(tree, &from, inode, err);
	drop_inode(tree, inode);
	return r;
}
