/* SPDX-License-Identifier: Apache-2.0 */
#include "image/tree-path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "image/text.h"

int tree_path_clean(const char *path, struct tree_path *ret, struct cove_error *err)
{
	size_t used = 0, name = 0;
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");
		if (n == 2 && !memcmp(p, "..", 2))
			return error_set(err, COVE_E_IMAGE, "a name with `..` in it is refused");
		if (n > TREE_NAME_MAX_BYTES)
			return error_set(err, COVE_E_IMAGE, "a name in it is longer than %d bytes",
					 TREE_NAME_MAX_BYTES);
		if (n > 0 && !(n == 1 && *p == '.')) {
			if (used + 1 + n > TREE_PATH_MAX_BYTES)
				return error_set(err, COVE_E_IMAGE,
						 "it is longer than a path can be (%d bytes)",
						 TREE_PATH_MAX_BYTES);
			if (used > 0)
				ret->text[used++] = '/';
			name = used;
			memcpy(ret->text + used, p, n);
			used += n;
		}
		p += n + (p[n] == '/');
	}
	ret->text[used] = 0;
	ret->name = ret->text + name;
	ret->parent_size = name > 0 ? name - 1 : 0;
	return 0;
}

int tree_walk_init(struct tree_walk *walk, const char *path, size_t size)
{
	walk->text = strndup(path, size);
	walk->rest = walk->text;
	return walk->text ? 0 : -ENOMEM;
}

void tree_walk_done(struct tree_walk *walk)
{
	free(walk->text);
	walk->text = NULL;
}

bool tree_walk_next(struct tree_walk *walk)
{
	for (;;) {
		walk->rest += strspn(walk->rest, "/");
		walk->name = walk->rest;
		walk->name_size = strcspn(walk->rest, "/");
		walk->rest += walk->name_size;
		if (walk->name_size == 0)
			return false;
		if (walk->name_size > 1 || *walk->name != '.')
			return true;
	}
}

int tree_walk_follow(struct tree_walk *walk, const char *target)
{
	if (++walk->links > TREE_LINKS_MAX)
		return -ELOOP;

	/* Each link adds one target at most, so TREE_LINKS_MAX bounds the length too. */
	char *text;
	if (text_format(&text, "%s/%s", target, walk->rest) < 0)
		return -ENOMEM;
	free(walk->text);
	walk->text = text;
	walk->rest = text;
	return 0;
}
