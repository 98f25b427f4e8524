/* SPDX-License-Identifier: Apache-2.0 */
#include "image/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "harness/failing-alloc.h"
#include "harness/tap.h"

static struct tree tree;
static struct cove_error err;
static unsigned released;

static void count_release(void *arg, struct tree_inode *inode)
{
	(void)arg;
	(void)inode;
	released++;
}

static void begin(void)
{
	tree = (struct tree){ .release = count_release, .now_s = 42 };
	released = 0;
	CHECK_COVE(tree_init(&tree, &err), &err);
}

static int put(const char *path, uint32_t mode, const char *target)
{
	struct tree_inode *inode = tree_inode_new();
	CHECK(inode != NULL);
	inode->mode = mode;
	if (target) {
		inode->target = strdup(target);
		CHECK(inode->target != NULL);
	}
	int r = tree_put(&tree, path, inode, &err);
	if (r < 0)
		tree_inode_free(inode);
	return r;
}

static int put_file(const char *path)
{
	return put(path, S_IFREG | 0644, NULL);
}

static int put_dir(const char *path)
{
	return put(path, S_IFDIR | 0700, NULL);
}

static int put_symlink(const char *path, const char *target)
{
	return put(path, S_IFLNK | 0777, target);
}

/* All names, parents first: "a a/b c". */
static const char *all(void)
{
	static char text[4096];
	size_t n = 0;
	text[0] = 0;
	for (struct tree_node *i = tree_next(&tree, tree.root); i; i = tree_next(&tree, i)) {
		char path[1024] = "";
		for (struct tree_node *k = i; k->parent; k = k->parent) {
			char longer[2048];
			snprintf(longer, sizeof(longer), "%s%s%s", k->name, *path ? "/" : "", path);
			CHECK_INT(strlen(longer), <, sizeof(path));
			memcpy(path, longer, strlen(longer) + 1);
		}
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n ? " " : "", path);
		CHECK_INT(n, <, sizeof(text));
	}
	return text;
}

static void test_paths(void)
{
	begin();
	CHECK_OK(put_dir("."));
	CHECK_OK(put_dir("./"));
	CHECK_OK(put_dir("/"));
	CHECK_INT(tree.root->inode->mode, ==, (S_IFDIR | 0700));
	CHECK_OK(put_file("./a//b/./c"));
	CHECK_OK(put_file("//a/d"));
	CHECK_OK(put_dir("a/e/"));
	CHECK_STR(all(), "a a/b a/b/c a/d a/e");
	CHECK(tree_find(&tree, "/a/b/c") != NULL);
	CHECK(tree_find(&tree, "a/b/x") == NULL);
	CHECK(tree_find(&tree, "") == tree.root);
	tree_done(&tree);
}

static void test_refused_paths(void)
{
	static const char *const refused[] = { "..",	"../a",	 "a/..", "a/../b",
					       "/../a", "a/../", "./..", "a/./../../b" };
	begin();
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		CHECK_INT(put_file(refused[i]), ==, COVE_E_IMAGE);
		CHECK_CONTAINS(err.message, "`..`");
	}
	CHECK_OK(put_file("..."));
	CHECK_OK(put_file("..a/b.."));

	char name[300];
	memset(name, 'n', sizeof(name));
	name[256] = 0;
	CHECK_INT(put_file(name), ==, COVE_E_IMAGE);
	CHECK_CONTAINS(err.message, "255");
	name[255] = 0;
	CHECK_OK(put_file(name));

	char path[4200];
	for (size_t i = 0; i < sizeof(path); i++)
		path[i] = i % 2 ? '/' : 'p';
	path[4097] = 0; /* 4096 without the slash at its end */
	path[4096] = 'p';
	CHECK_INT(put_file(path), ==, COVE_E_IMAGE);
	CHECK_CONTAINS(err.message, "4095");
	path[4095] = 0;
	CHECK_OK(put_file(path));
	CHECK_INT(put_file(""), ==, COVE_E_IMAGE);
	CHECK_CONTAINS(err.message, "root");
	tree_done(&tree);
}

static void test_missing_parents(void)
{
	begin();
	CHECK_OK(put_file("a/b/c"));
	const struct tree_inode *made = tree_find(&tree, "a/b")->inode;
	CHECK_INT(made->mode, ==, (S_IFDIR | 0755));
	CHECK_INT(made->uid, ==, 0);
	CHECK_INT(made->mtime_s, ==, 42);
	CHECK_OK(put_dir("a/b"));
	CHECK_INT(tree_find(&tree, "a/b")->inode->mode, ==, (S_IFDIR | 0700));
	CHECK(tree_find(&tree, "a/b/c") != NULL);
	tree_done(&tree);
}

static void test_later_wins(void)
{
	begin();
	CHECK_OK(put_file("a"));
	CHECK_OK(put("a", S_IFREG | 0600, NULL));
	CHECK_INT(tree_find(&tree, "a")->inode->mode, ==, (S_IFREG | 0600));
	CHECK_INT(released, ==, 1);
	CHECK_OK(put_symlink("a", "b"));
	CHECK_OK(put_dir("a"));
	CHECK_OK(put_file("a/x/y"));
	CHECK_OK(put_file("a/z"));
	CHECK_INT(tree.entries, ==, 5);
	CHECK_OK(put_file("a")); /* a directory and all that is in it */
	CHECK_STR(all(), "a");
	CHECK_INT(tree.entries, ==, 2);
	CHECK_INT(put_file("a/b"), ==, COVE_E_IMAGE);
	CHECK_INT(err.os_errno, ==, ENOTDIR);
	tree_done(&tree);
}

static void test_symlinks_stay_inside(void)
{
	begin();
	CHECK_OK(put_dir("usr/lib"));
	CHECK_OK(put_symlink("lib", "usr/lib"));
	CHECK_OK(put_file("lib/x"));
	CHECK_OK(put_symlink("abs", "/usr/lib"));
	CHECK_OK(put_file("abs/y"));
	CHECK_OK(put_symlink("usr/up", "../../../../../usr/./lib"));
	CHECK_OK(put_file("usr/up/z"));
	CHECK_STR(all(), "usr usr/lib usr/lib/x usr/lib/y usr/lib/z usr/up lib abs");

	/* Where a link leads to nothing yet, it is made, in the tree. */
	CHECK_OK(put_symlink("etc", "/private/etc"));
	CHECK_OK(put_file("etc/passwd"));
	CHECK(tree_find(&tree, "private/etc/passwd") != NULL);

	/* The last component is never followed. */
	CHECK_OK(put_file("lib"));
	CHECK(S_ISREG(tree_find(&tree, "lib")->inode->mode));
	CHECK(tree_find(&tree, "usr/lib/x") != NULL);
	tree_done(&tree);
}

static void test_symlink_loops(void)
{
	begin();
	CHECK_OK(put_symlink("a", "b"));
	CHECK_OK(put_symlink("b", "a"));
	CHECK_INT(put_file("a/x"), ==, COVE_E_IMAGE);
	CHECK_INT(err.os_errno, ==, ELOOP);
	CHECK_OK(put_symlink("self", "self/self"));
	CHECK_INT(put_file("self/x"), ==, COVE_E_IMAGE);
	CHECK_INT(err.os_errno, ==, ELOOP);

	char name[16], target[16];
	CHECK_OK(put_dir("l0"));
	for (int i = 1; i <= TREE_LINKS_MAX + 1; i++) {
		snprintf(name, sizeof(name), "l%d", i);
		snprintf(target, sizeof(target), "l%d", i - 1);
		CHECK_OK(put_symlink(name, target));
	}
	CHECK_OK(put_file("l40/x"));
	CHECK(tree_find(&tree, "l0/x") != NULL);
	CHECK_INT(put_file("l41/x"), ==, COVE_E_IMAGE);

	/* What a link names is held to the same limits. */
	char longest[300] = "/";
	memset(longest + 1, 'n', 256);
	CHECK_OK(put_symlink("long", longest));
	CHECK_INT(put_file("long/x"), ==, COVE_E_IMAGE);
	tree_done(&tree);
}

static void test_hard_links(void)
{
	begin();
	CHECK_OK(put_file("d/a"));
	CHECK_OK(tree_link(&tree, "./d/b", "/d/a", &err));
	CHECK(tree_find(&tree, "d/a")->inode == tree_find(&tree, "d/b")->inode);
	CHECK_INT(tree_find(&tree, "d/a")->inode->names, ==, 2);
	CHECK_OK(tree_link(&tree, "d/a", "d/a", &err)); /* itself */
	CHECK_OK(tree_link(&tree, "d/b", "d/a", &err)); /* once more */
	CHECK_INT(tree_find(&tree, "d/a")->inode->names, ==, 2);
	CHECK_OK(put_file("d/a"));
	CHECK_INT(tree_find(&tree, "d/b")->inode->names, ==, 1);
	CHECK_INT(released, ==, 0);

	/* A link to something in the directory that it takes the place of. */
	CHECK_OK(tree_link(&tree, "d", "d/b", &err));
	CHECK_STR(all(), "d");
	CHECK_INT(released, ==, 2); /* d/a, and the directory itself */

	CHECK_INT(tree_link(&tree, "x", "nothing", &err), ==, COVE_E_IMAGE);
	CHECK_CONTAINS(err.message, "hard link to nothing");
	CHECK_INT(tree_link(&tree, "x", "no/thing", &err), ==, COVE_E_IMAGE);
	CHECK_INT(tree_link(&tree, "x", "../d", &err), ==, COVE_E_IMAGE);
	CHECK_INT(tree_link(&tree, "../x", "d", &err), ==, COVE_E_IMAGE);
	CHECK_OK(put_dir("e"));
	CHECK_INT(tree_link(&tree, "x", "e", &err), ==, COVE_E_IMAGE);
	CHECK_CONTAINS(err.message, "a directory");
	CHECK(tree_find(&tree, "x") == NULL);
	tree_done(&tree);
}

static void test_too_many_hard_links(void)
{
	char name[32];
	begin();
	CHECK_OK(put_file("a"));
	for (int i = 1; i < TREE_NAMES_MAX; i++) {
		snprintf(name, sizeof(name), "l%d", i);
		CHECK_OK(tree_link(&tree, name, "a", &err));
	}
	CHECK_INT(tree_link(&tree, "more", "a", &err), ==, COVE_E_IMAGE);
	CHECK_CONTAINS(err.message, "65000");
	tree_done(&tree);
}

static void test_memory_is_bounded(void)
{
	begin();
	uint64_t empty = tree.memory;
	CHECK_OK(put_file("a"));
	CHECK_OK(put_symlink("b", "target"));
	CHECK_OK(tree_link(&tree, "c", "b", &err));
	CHECK_OK(put_file("c"));
	CHECK_OK(put_file("b"));
	CHECK_OK(put_dir("d"));
	CHECK_OK(put_file("d/x/y"));
	CHECK_OK(put_file("d"));
	uint64_t three = tree.memory;
	CHECK_OK(put_file("e"));
	CHECK_INT((three - empty) / 4, ==, tree.memory - three); /* four entries, one more */

	/* As if all the rest were there already. */
	tree.memory = TREE_MEMORY_MAX_BYTES - 100;
	CHECK_INT(put_file("f"), ==, COVE_E_LIMIT);
	CHECK_CONTAINS(err.message, "1024 MiB");
	tree.memory = three;
	tree.entries = TREE_ENTRIES_MAX;
	CHECK_INT(put_file("f"), ==, COVE_E_LIMIT);
	CHECK_CONTAINS(err.message, "entries");
	CHECK_OK(put_file("e")); /* what is there may be there again */
	tree_done(&tree);
}

static void test_deep(void)
{
	/* Deeper than any path: each link starts where the one before ended. */
	char path[4096] = "s0/";
	begin();
	for (size_t i = 3; i < 4000; i += 2)
		memcpy(path + i, "d/", 3);
	CHECK_OK(put_symlink("s0", "."));
	CHECK_OK(put_dir(path));
	char target[5000];
	snprintf(target, sizeof(target), "/%s", path);
	target[4000] = 0;
	CHECK_OK(put_symlink("s1", target));
	path[1] = '1';
	CHECK_OK(put_dir(path));
	CHECK_INT(tree.entries, >, 3900);
	CHECK_OK(put_file("d"));
	CHECK_INT(tree.entries, ==, 4);
	tree_done(&tree);
}

static void test_xattrs(void)
{
	struct tree_inode *inode = tree_inode_new();
	CHECK_OK(tree_inode_set_xattr(inode, "user.a", "1", 1));
	CHECK_OK(tree_inode_set_xattr(inode, "user.b", "", 0));
	CHECK_OK(tree_inode_set_xattr(inode, "user.a", "22", 2));
	CHECK_STR(inode->xattrs->name, "user.a");
	CHECK_MEM(inode->xattrs->data, inode->xattrs->size, "22", 2);
	CHECK_STR(inode->xattrs->next->name, "user.b");
	CHECK(inode->xattrs->next->next == NULL);
	tree_inode_free(inode);
}

static void test_out_of_memory(void)
{
	for (unsigned long n = 1;; n++) {
		tree = (struct tree){ 0 };
		failing_alloc_arm(n);
		int r = tree_init(&tree, &err);
		struct tree_inode *inode = NULL;
		if (r >= 0) {
			inode = tree_inode_new();
			r = inode ? 0 : COVE_E_NO_MEMORY;
		}
		if (r >= 0) {
			inode->mode = S_IFREG;
			r = tree_put(&tree, "a/b", inode, &err);
			if (r >= 0)
				inode = NULL;
		}
		if (r >= 0)
			r = tree_link(&tree, "a/c", "a/b", &err);
		bool failed = failing_alloc_disarm();
		tree_inode_free(inode);
		tree_done(&tree);
		if (!failed) {
			CHECK_OK(r);
			break;
		}
		CHECK_INT(r, ==, COVE_E_NO_MEMORY);
	}
}

static const struct tap_test tests[] = {
	{ "paths are cleaned", test_paths },
	{ "paths that are refused", test_refused_paths },
	{ "missing parents are made", test_missing_parents },
	{ "later entries win", test_later_wins },
	{ "symbolic links stay inside", test_symlinks_stay_inside },
	{ "loops of symbolic links", test_symlink_loops },
	{ "hard links", test_hard_links },
	{ "too many hard links", test_too_many_hard_links },
	{ "memory is bounded", test_memory_is_bounded },
	{ "deeper than a path", test_deep },
	{ "extended attributes", test_xattrs },
	{ "out of memory", test_out_of_memory },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
