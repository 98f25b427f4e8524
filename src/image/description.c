/* SPDX-License-Identifier: Apache-2.0 */
#include "image/description.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"

#define DESCRIPTION_VERSION 1 /* grows when an older Cove could not use the image */

static int check_text(const char *what, const char *text, bool absolute, struct cove_error *err)
{
	if (!text)
		return 0;
	if (!*text)
		return error_set(err, COVE_E_INVALID, "the %s is empty", what);
	if (absolute && *text != '/')
		return error_set(err, COVE_E_INVALID, "the %s is not an absolute path: %.200s",
				 what, text);
	_cleanup_(json_decrefp) json_t *json = json_string(text);
	if (!json)
		return error_set(err, COVE_E_INVALID, "the %s is not valid UTF-8", what);
	return 0;
}

int description_check(const struct image_import_options *options, struct cove_error *err)
{
	for (const char *const *e = options->env; e && *e; e++) {
		int r = check_text("environment variable", *e, false, err);
		if (r < 0)
			return r;
		if (**e == '=' || !strchr(*e, '='))
			return error_set(err, COVE_E_INVALID,
					 "an environment variable is NAME=VALUE: %.200s", *e);
	}
	int r = check_text("working directory", options->cwd, true, err);
	if (r >= 0)
		r = check_text("user", options->user, false, err);
	if (r >= 0)
		r = check_text("shell", options->shell, true, err);
	return r;
}

/* A text that is NULL is left out. */
static int set_text(json_t *object, const char *key, const char *text)
{
	return text ? json_object_set_new(object, key, json_string(text)) : 0;
}

static json_t *config_to_json(const struct image_import_options *options)
{
	_cleanup_(json_decrefp) json_t *config = json_object();
	json_t *env = json_array();
	int bad = json_object_set_new(config, "Env", env);
	for (const char *const *e = options->env; e && *e; e++)
		bad |= json_array_append_new(env, json_string(*e));
	bad |= set_text(config, "WorkingDir", options->cwd);
	bad |= set_text(config, "User", options->user);
	bad |= set_text(config, "Shell", options->shell);
	return bad ? NULL : TAKE_PTR(config);
}

int description_write(int dir_fd, const char *name, uint64_t disk_bytes, uint64_t created_ns,
		      const struct image_import_options *options)
{
	_cleanup_(json_decrefp) json_t *root =
		json_pack("{s:i, s:s, s:I, s:I, s:o}", "version", DESCRIPTION_VERSION, "name", name,
			  "created_ns", (json_int_t)created_ns, "disk_bytes",
			  (json_int_t)disk_bytes, "config", config_to_json(options));
	_cleanup_free_ char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
	if (!text)
		return -ENOMEM;

	_cleanup_close_ int fd =
		openat(dir_fd, DESCRIPTION_FILE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	int r = fd_write_full(fd, text, strlen(text));
	if (r >= 0)
		r = fd_write_full(fd, "\n", 1);
	if (r >= 0 && fsync(fd) < 0)
		r = -errno;
	return r;
}

/* Absent is NULL; anything but a string is wrong. */
static int get_text(json_t *object, const char *key, char **ret)
{
	json_t *value = json_object_get(object, key);
	if (!value)
		return 0;
	if (!json_is_string(value))
		return -EINVAL;
	*ret = strdup(json_string_value(value));
	return *ret ? 0 : -ENOMEM;
}

static int get_env(json_t *config, char ***ret)
{
	json_t *env = json_object_get(config, "Env"), *value;
	if (env && !json_is_array(env))
		return -EINVAL;
	char **list = calloc(json_array_size(env) + 1, sizeof(char *));
	if (!list)
		return -ENOMEM;
	free(*ret);  /* the empty list that it was made with */
	*ret = list; /* the image's from here on, and freed with it */

	size_t i;
	json_array_foreach(env, i, value)
	{
		const char *text = json_string_value(value);
		if (!text || *text == '=' || !strchr(text, '='))
			return -EINVAL;
		list[i] = strdup(text);
		if (!list[i])
			return -ENOMEM;
	}
	return 0;
}

static int get_number(json_t *root, const char *key, uint64_t *ret)
{
	json_t *value = json_object_get(root, key);
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return -EINVAL;
	*ret = (uint64_t)json_integer_value(value);
	return 0;
}

int description_read(int dir_fd, struct image *image, struct cove_error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	int r = fd_read_file(dir_fd, DESCRIPTION_FILE, DESCRIPTION_MAX_BYTES, false, &text, &size);
	if (r < 0)
		return error_set_errno(err, r == -ENOMEM ? COVE_E_NO_MEMORY : COVE_E_IMAGE, r,
				       DESCRIPTION_FILE);

	json_error_t where;
	_cleanup_(json_decrefp) json_t *root = json_loadb(text, size, 0, &where);
	if (!root)
		return error_set(err, COVE_E_IMAGE, DESCRIPTION_FILE ", line %d: %s", where.line,
				 where.text);
	json_t *config = json_object_get(root, "config");
	uint64_t version;
	if (get_number(root, "version", &version) < 0 || !json_is_object(config))
		return error_set(err, COVE_E_IMAGE, DESCRIPTION_FILE " is not an image's");
	if (version > DESCRIPTION_VERSION)
		return error_set(err, COVE_E_IMAGE, "it was made by a newer Cove");

	r = get_number(root, "disk_bytes", &image->disk_bytes);
	if (r >= 0)
		r = get_number(root, "created_ns", &image->created_ns);
	if (r >= 0)
		r = get_text(config, "WorkingDir", &image->cwd);
	if (r >= 0)
		r = get_text(config, "User", &image->user);
	if (r >= 0)
		r = get_text(config, "Shell", &image->shell);
	if (r >= 0)
		r = get_env(config, &image->env);
	if (r == -ENOMEM)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	return r < 0 ? error_set(err, COVE_E_IMAGE, DESCRIPTION_FILE " is not an image's") : 0;
}
