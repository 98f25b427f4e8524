/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/environment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#include "agent/poison.h"

struct entry {
	char *text;
	size_t key_size;
	size_t index; /* in all layers together */
};

static int compare_keys(const struct entry *a, const struct entry *b)
{
	int r = memcmp(a->text, b->text, MIN(a->key_size, b->key_size));
	if (r)
		return r;
	return (a->key_size > b->key_size) - (a->key_size < b->key_size);
}

static int by_key_then_index(const void *pa, const void *pb)
{
	const struct entry *a = pa, *b = pb;
	int r = compare_keys(a, b);
	return r ? r : (a->index > b->index) - (a->index < b->index);
}

static int by_index(const void *pa, const void *pb)
{
	const struct entry *a = pa, *b = pb;
	return (a->index > b->index) - (a->index < b->index);
}

/*
 * By sorting: an environment of a megabyte may have a hundred thousand entries, and the agent
 * serves nobody else meanwhile.
 */
int environment_compose(char *const *const *layers, size_t n_layers, char ***ret)
{
	size_t n = 0;
	for (size_t i = 0; i < n_layers; i++)
		for (char *const *e = layers[i]; e && *e; e++)
			n++;

	_cleanup_free_ struct entry *entries = calloc(n + 1, sizeof(*entries));
	_cleanup_free_ char **env = calloc(n + 1, sizeof(*env));
	if (!entries || !env)
		return -ENOMEM;

	n = 0;
	for (size_t i = 0; i < n_layers; i++)
		for (char *const *e = layers[i]; e && *e; e++) {
			entries[n] = (struct entry){ *e, strcspn(*e, "="), n };
			n++;
		}

	qsort(entries, n, sizeof(*entries), by_key_then_index);
	size_t kept = 0;
	for (size_t i = 0; i < n; i++) {
		if (i + 1 < n && compare_keys(&entries[i], &entries[i + 1]) == 0)
			continue;
		if (entries[i].text[entries[i].key_size] == '=')
			entries[kept++] = entries[i];
	}
	qsort(entries, kept, sizeof(*entries), by_index);
	for (size_t i = 0; i < kept; i++)
		env[i] = entries[i].text;
	*ret = TAKE_PTR(env);
	return 0;
}

const char *environment_get(char *const *env, const char *key)
{
	size_t n = strlen(key);
	for (; *env; env++)
		if (strncmp(*env, key, n) == 0 && (*env)[n] == '=')
			return *env + n + 1;
	return NULL;
}
