/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/user.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"

#include "agent/poison.h"

struct span {
	const char *p;
	size_t n;
};

static bool span_equals(struct span s, const char *text)
{
	return strlen(text) == s.n && memcmp(s.p, text, s.n) == 0;
}

/* Takes the text up to the delimiter, or all of it, off the front. */
static struct span take(struct span *rest, char delimiter)
{
	const char *end = memchr(rest->p, delimiter, rest->n);
	struct span s = { rest->p, end ? (size_t)(end - rest->p) : rest->n };
	size_t skip = s.n + (end ? 1 : 0);
	rest->p += skip;
	rest->n -= skip;
	return s;
}

/* Decimal digits only. (uid_t)-1 means "leave it as it is" to the kernel, so it is no id. */
static bool parse_id(struct span s, uint32_t *ret)
{
	uint64_t v = 0;
	if (s.n == 0 || s.n > 10)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(s.p[i] - '0');
	}
	if (v >= UINT32_MAX)
		return false;
	*ret = (uint32_t)v;
	return true;
}

struct passwd_entry {
	struct span name;
	uid_t uid;
	gid_t gid;
	struct span home;
	struct span shell;
};

/* name:password:uid:gid:comment:home:shell. What is no such line is passed over. */
static bool parse_passwd_line(struct span line, struct passwd_entry *ret)
{
	struct span fields[7];
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		fields[i] = take(&line, ':');
	ret->name = fields[0];
	ret->home = fields[5];
	ret->shell = fields[6];
	return ret->name.n > 0 && parse_id(fields[2], &ret->uid) && parse_id(fields[3], &ret->gid);
}

/* By name, or by uid where name is NULL. */
static bool find_passwd(const char *passwd, const char *name, uid_t uid, struct passwd_entry *ret)
{
	struct span rest = { passwd, passwd ? strlen(passwd) : 0 };
	while (rest.n > 0) {
		struct span line = take(&rest, '\n');
		if (parse_passwd_line(line, ret) &&
		    (name ? span_equals(ret->name, name) : ret->uid == uid))
			return true;
	}
	return false;
}

struct group_entry {
	struct span name;
	gid_t gid;
	struct span members;
};

/* name:password:gid:member,member */
static bool parse_group_line(struct span line, struct group_entry *ret)
{
	ret->name = take(&line, ':');
	take(&line, ':');
	struct span gid = take(&line, ':');
	ret->members = line;
	return ret->name.n > 0 && parse_id(gid, &ret->gid);
}

static bool find_group(const char *group, const char *name, gid_t *ret)
{
	struct span rest = { group, group ? strlen(group) : 0 };
	while (rest.n > 0) {
		struct group_entry entry;
		struct span line = take(&rest, '\n');
		if (parse_group_line(line, &entry) && span_equals(entry.name, name)) {
			*ret = entry.gid;
			return true;
		}
	}
	return false;
}

static bool is_member(struct span members, const char *name)
{
	while (members.n > 0)
		if (span_equals(take(&members, ','), name))
			return true;
	return false;
}

static int add_group(struct user *user, gid_t gid)
{
	for (size_t i = 0; i < user->n_groups; i++)
		if (user->groups[i] == gid)
			return 0;
	if (user->n_groups == USER_GROUPS_MAX)
		return -E2BIG;
	/* In steps of 32, which is more than almost every user has. */
	if (user->n_groups % 32 == 0) {
		gid_t *groups = reallocarray(user->groups, user->n_groups + 32, sizeof(gid_t));
		if (!groups)
			return -ENOMEM;
		user->groups = groups;
	}
	user->groups[user->n_groups++] = gid;
	return 0;
}

static int add_supplementary_groups(struct user *user, const char *group, struct cove_error *err)
{
	struct span rest = { group, group && user->name ? strlen(group) : 0 };
	while (rest.n > 0) {
		struct group_entry entry;
		if (!parse_group_line(take(&rest, '\n'), &entry) || entry.gid == user->gid ||
		    !is_member(entry.members, user->name))
			continue;
		int r = add_group(user, entry.gid);
		if (r < 0)
			return error_set_start(err, COVE_STAGE_GROUP, r,
					       "the groups of user '%s' in /etc/group", user->name);
	}
	return 0;
}

static int set_text(char **ret, struct span s, const char *fallback)
{
	*ret = s.n ? strndup(s.p, s.n) : fallback ? strdup(fallback) : NULL;
	return *ret || (!s.n && !fallback) ? 0 : -ENOMEM;
}

static int set_user(struct user *user, const char *name, const char *passwd, struct cove_error *err)
{
	struct passwd_entry entry = { 0 };
	uint32_t uid = 0;
	bool is_number = parse_id((struct span){ name, strlen(name) }, &uid);

	if (!find_passwd(passwd, name, 0, &entry) &&
	    !(is_number && find_passwd(passwd, NULL, uid, &entry))) {
		if (!is_number && strcmp(name, "root") != 0)
			return error_set_start(err, COVE_STAGE_USER, ENOENT,
					       "no user '%s' in /etc/passwd", name);
		entry = (struct passwd_entry){ .uid = uid };
		if (uid == 0)
			entry.name = (struct span){ "root", 4 };
	}

	user->uid = entry.uid;
	user->gid = entry.gid;
	int r = set_text(&user->name, entry.name, NULL);
	if (r >= 0)
		r = set_text(&user->home, entry.home, "/");
	if (r >= 0)
		r = set_text(&user->shell, entry.shell, "/bin/sh");
	return r < 0 ? error_set_start(err, COVE_STAGE_USER, r, "user '%s'", name) : 0;
}

static int set_group(struct user *user, const char *name, const char *group, struct cove_error *err)
{
	uint32_t gid;
	if (find_group(group, name, &user->gid))
		return 0;
	if (!parse_id((struct span){ name, strlen(name) }, &gid))
		return error_set_start(err, COVE_STAGE_GROUP, ENOENT, "no group '%s' in /etc/group",
				       name);
	user->gid = gid;
	return 0;
}

int user_resolve(const char *spec, const char *passwd, const char *group, struct user *ret,
		 struct cove_error *err)
{
	_cleanup_free_ char *copy = strdup(spec);
	if (!copy)
		return error_set_start(err, COVE_STAGE_USER, ENOMEM, "user '%s'", spec);
	char *group_name = strchr(copy, ':');
	if (group_name)
		*group_name++ = 0;
	if ((group_name && !*group_name) || strchr(copy, '\n'))
		return error_set_start(err, COVE_STAGE_USER, EINVAL, "user '%s'", spec);

	struct user user = { 0 };
	int r = set_user(&user, *copy ? copy : "root", passwd, err);
	if (r >= 0 && group_name)
		r = set_group(&user, group_name, group, err);
	if (r >= 0)
		r = add_supplementary_groups(&user, group, err);
	if (r < 0) {
		user_done(&user);
		return r;
	}
	*ret = user;
	return 0;
}

static int read_table(int dir_fd, const char *name, char **ret)
{
	int r = fd_read_file(dir_fd, name, USER_FILE_MAX, false, ret, NULL);
	return r == -ENOENT || r == -ENOTDIR ? 0 : r;
}

int user_load(const char *spec, const char *folder, struct user *ret, struct cove_error *err)
{
	_cleanup_free_ char *passwd = NULL, *group = NULL;

	/* Without the folder there are no entries, like without the files. */
	_cleanup_close_ int dir_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0 && errno != ENOENT && errno != ENOTDIR)
		return error_set_start(err, COVE_STAGE_USER, errno, "%s", folder);
	if (dir_fd >= 0) {
		int r = read_table(dir_fd, "passwd", &passwd);
		if (r < 0)
			return error_set_start(err, COVE_STAGE_USER, r, "%s/passwd", folder);
		r = read_table(dir_fd, "group", &group);
		if (r < 0)
			return error_set_start(err, COVE_STAGE_GROUP, r, "%s/group", folder);
	}
	return user_resolve(spec, passwd, group, ret, err);
}

void user_done(struct user *user)
{
	free(user->groups);
	free(user->name);
	free(user->home);
	free(user->shell);
	*user = (struct user){ 0 };
}

/* ---- the last one ---- */

static void look_at_file(const char *folder, const char *name, struct user_file *ret)
{
	char path[PATH_MAX];
	struct stat st;
	*ret = (struct user_file){ 0 };
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (stat(path, &st) == 0)
		*ret = (struct user_file){ st.st_ctim, st.st_mtim, st.st_dev, st.st_ino,
					   st.st_size };
}

/* Whether a change from now on shows: times of files move on by the clock's tick. */
static bool is_settled(const struct user_file *file)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return file->changed.tv_sec != now.tv_sec;
}

static bool same_file(const struct user_file *a, const struct user_file *b)
{
	return a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec &&
	       a->modified.tv_sec == b->modified.tv_sec &&
	       a->modified.tv_nsec == b->modified.tv_nsec && a->device == b->device &&
	       a->inode == b->inode && a->size == b->size;
}

void user_cache_done(struct user_cache *cache)
{
	free(cache->spec);
	user_done(&cache->user);
	*cache = (struct user_cache){ 0 };
}

int user_cache_load(struct user_cache *cache, const char *spec, const char *folder,
		    const struct user **ret, struct cove_error *err)
{
	struct user_file files[2];
	look_at_file(folder, "passwd", &files[0]);
	look_at_file(folder, "group", &files[1]);
	if (cache->spec && strcmp(cache->spec, spec) == 0 &&
	    same_file(&cache->files[0], &files[0]) && same_file(&cache->files[1], &files[1])) {
		*ret = &cache->user;
		return 0;
	}

	user_cache_done(cache);
	int r = user_load(spec, folder, &cache->user, err);
	if (r < 0)
		return r;
	/* Without a spec it is not found again, and that is all. */
	if (is_settled(&files[0]) && is_settled(&files[1]))
		cache->spec = strdup(spec);
	memcpy(cache->files, files, sizeof(files));
	*ret = &cache->user;
	return 0;
}
