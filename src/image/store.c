/* SPDX-License-Identifier: Apache-2.0 */
#include "image/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/name.h"
#include "base/paths.h"
#include "image/description.h"
#include "image/staging.h"
#include "image/text.h"

/* Each costs a few files' reading; more is a folder that is no image store. */
#define IMAGES_MAX 10000

struct image *image_free(struct image *image)
{
	if (!image)
		return NULL;
	for (char **e = image->env; e && *e; e++)
		free(*e);
	free(image->env);
	free(image->name);
	free(image->disk_path);
	free(image->cwd);
	free(image->user);
	free(image->shell);
	free(image->problem);
	free(image);
	return NULL;
}

static struct image *image_new(const char *name, bool built_in)
{
	struct image *image = calloc(1, sizeof(*image));
	if (!image)
		return NULL;
	image->name = strdup(name);
	image->env = calloc(1, sizeof(char *));
	image->built_in = built_in;
	return image->name && image->env ? image : image_free(image);
}

static int load_disk(int fd, const char *images, struct image *image, struct cove_error *err)
{
	struct stat st;
	if (fstatat(fd, IMAGE_DISK_FILE, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return error_set_errno(err, COVE_E_IMAGE, errno, IMAGE_DISK_FILE);
	if (!S_ISREG(st.st_mode))
		return error_set(err, COVE_E_IMAGE, IMAGE_DISK_FILE " is not a regular file");
	if ((uint64_t)st.st_size != image->disk_bytes)
		return error_set(err, COVE_E_IMAGE,
				 IMAGE_DISK_FILE " has not the size it was made with");
	image->used_bytes = (uint64_t)st.st_blocks * 512;

	_cleanup_free_ char *real = realpath(images, NULL);
	if (!real)
		return error_set_errno(err, errno == ENOMEM ? COVE_E_NO_MEMORY : COVE_E_IMAGE,
				       errno, IMAGE_DISK_FILE);
	if (text_format(&image->disk_path, "%s/%s/" IMAGE_DISK_FILE, real, image->name) < 0)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	return 0;
}

/* NULL, and no failure, when there is none of that name in the folder. */
static int load(const char *images, bool built_in, const char *name, struct image **ret,
		struct cove_error *err)
{
	_cleanup_free_ char *path = NULL;
	if (text_format(&path, "%s/%s", images, name) < 0)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		*ret = NULL;
		return 0;
	}
	if (fd < 0)
		return error_set_errno(err, COVE_E_IMAGE, errno, "the image %s in %.200s", name,
				       images);

	_cleanup_(image_freep) struct image *image = image_new(name, built_in);
	if (!image)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	int r = description_read(fd, image, err);
	if (r >= 0)
		r = load_disk(fd, images, image, err);
	if (r < 0)
		return error_add_context(err, r, "the image %s in %.200s", name, images);
	*ret = TAKE_PTR(image);
	return 0;
}

/* A place is NULL where the environment names none: then nothing is there. */
static int make_places(char *ret[2], struct cove_error *err)
{
	static const enum paths_base bases[2] = { PATHS_DATA, PATHS_SHARE };
	for (int i = 0; i < 2; i++) {
		int r = paths_make(bases[i], &ret[i], "images");
		if (r < 0 && r != -ENOENT)
			return error_set_errno(err, COVE_E_SYSTEM, r, "looking for images");
	}
	return 0;
}

int image_name_check(const char *name, struct cove_error *err)
{
	if (name_valid(name))
		return 0;
	return error_set(err, COVE_E_INVALID,
			 "not a name for an image: '%.100s' (lower-case letters, digits, `_.-`, at "
			 "most %d, a letter or digit first)",
			 name, NAME_MAX_BYTES);
}

int image_store_find(const char *name, struct image **ret, struct cove_error *err)
{
	int r = image_name_check(name, err);
	if (r < 0)
		return r;

	_cleanup_free_ char *own = NULL, *built_in = NULL;
	char *places[2] = { NULL, NULL };
	r = make_places(places, err);
	own = places[0];
	built_in = places[1];
	if (r < 0)
		return r;
	for (int i = 0; i < 2; i++) {
		struct image *image = NULL;
		r = places[i] ? load(places[i], i == 1, name, &image, err) : 0;
		if (r < 0)
			return r;
		if (image) {
			*ret = image;
			return 0;
		}
	}
	return error_set(err, COVE_E_NOT_FOUND,
			 "no image named %s, neither in %.200s nor in %.200s", name,
			 own ? own : "the user's data", built_in ? built_in : "Cove's");
}

struct list_of_images {
	struct image **images;
	size_t count, allocated;
};

static struct image *find_in_list(const struct list_of_images *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++)
		if (!strcmp(list->images[i]->name, name))
			return list->images[i];
	return NULL;
}

/* One image, even if it is broken: whoever looks at the list wants to know, and to remove it. */
static int append(struct list_of_images *list, const char *place, bool built_in, const char *name,
		  struct cove_error *err)
{
	if (list->count == IMAGES_MAX)
		return error_set(err, COVE_E_LIMIT, "more than %d images", IMAGES_MAX);
	if (list->count == list->allocated) {
		size_t n = list->allocated ? list->allocated * 2 : 16;
		void *bigger = realloc(list->images, n * sizeof(list->images[0]));
		if (!bigger)
			return error_set(err, COVE_E_NO_MEMORY, "out of memory");
		list->images = bigger;
		list->allocated = n;
	}

	struct cove_error why = COVE_ERROR_INIT;
	struct image *image;
	int r = load(place, built_in, name, &image, &why);
	if (r >= 0 && !image) /* removed just now */
		return 0;
	if (r == COVE_E_NO_MEMORY) /* says nothing about the image */
		return error_set(err, r, "out of memory");
	if (r < 0) {
		image = image_new(name, built_in);
		if (image)
			image->problem = strdup(why.message);
		if (!image || !image->problem) {
			image_free(image);
			return error_set(err, COVE_E_NO_MEMORY, "out of memory");
		}
	}
	list->images[list->count++] = image;
	return 0;
}

static int list_place(struct list_of_images *list, const char *place, bool built_in,
		      struct cove_error *err)
{
	_cleanup_closedir_ DIR *dir = opendir(place);
	if (!dir)
		return errno == ENOENT
			       ? 0
			       : error_set_errno(err, COVE_E_SYSTEM, errno, "%.200s", place);

	for (;;) {
		errno = 0;
		struct dirent *entry = readdir(dir);
		if (!entry)
			return errno ? error_set_errno(err, COVE_E_SYSTEM, errno, "%.200s", place)
				     : 0;
		/* Of the built-in ones some may be hidden by the user's of the same name. */
		bool image = name_valid(entry->d_name) &&
			     (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN ||
			      entry->d_type == DT_LNK);
		if (!image || find_in_list(list, entry->d_name))
			continue;
		int r = append(list, place, built_in, entry->d_name, err);
		if (r < 0)
			return r;
	}
}

static int compare_by_name(const void *a, const void *b)
{
	const struct image *const *x = a, *const *y = b;
	return strcmp((*x)->name, (*y)->name);
}

struct image **image_list_free(struct image **list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		image_free(list[i]);
	free(list);
	return NULL;
}

int image_store_list(struct image ***ret, size_t *ret_count, struct cove_error *err)
{
	_cleanup_free_ char *own = NULL, *built_in = NULL;
	char *places[2] = { NULL, NULL };
	int r = make_places(places, err);
	own = places[0];
	built_in = places[1];

	struct list_of_images list = { 0 };
	if (r >= 0 && own)
		r = list_place(&list, own, false, err);
	if (r >= 0 && built_in)
		r = list_place(&list, built_in, true, err);
	if (r < 0) {
		image_list_free(list.images, list.count);
		return r;
	}
	if (list.count > 0)
		qsort(list.images, list.count, sizeof(list.images[0]), compare_by_name);
	*ret = list.images;
	*ret_count = list.count;
	return 0;
}

int image_store_remove(const char *name, struct cove_error *err)
{
	int r = image_name_check(name, err);
	if (r < 0)
		return r;

	struct cove_error why = COVE_ERROR_INIT;
	r = staging_remove_image(name, &why);
	if (r == COVE_E_NOT_FOUND) {
		_cleanup_(image_freep) struct image *image = NULL;
		if (image_store_find(name, &image, NULL) == 0 && image->built_in)
			return error_set(err, COVE_E_DENIED,
					 "the image %s is built in and cannot be removed", name);
	}
	if (r < 0 && err)
		*err = why;
	return r;
}
