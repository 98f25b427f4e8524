/* SPDX-License-Identifier: Apache-2.0 */
#include "base/paths.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

#ifndef COVE_SHARE_DIR
#define COVE_SHARE_DIR "/usr/local/share/cove"
#endif
#ifndef COVE_LIBEXEC_DIR
#define COVE_LIBEXEC_DIR "/usr/local/libexec/cove"
#endif

static const char *environment(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

static int format_path_args(char **ret, const char *format, va_list args) _printf_(2, 0);
static int format_path_args(char **ret, const char *format, va_list args)
{
	char *path;
	if (vasprintf(&path, format, args) < 0) /* which leaves path undefined */
		return -ENOMEM;
	*ret = path;
	return 0;
}

static int format_path(char **ret, const char *format, ...) _printf_(2, 3);
static int format_path(char **ret, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int r = format_path_args(ret, format, args);
	va_end(args);
	return r;
}

/* The folder that holds the file this code was loaded from. */
static int own_folder(char **ret)
{
	Dl_info info;
	_cleanup_free_ char *file = NULL;
	if (dladdr((void *)own_folder, &info) && info.dli_fname && strchr(info.dli_fname, '/')) {
		file = realpath(info.dli_fname, NULL);
		if (!file && errno == ENOMEM)
			return -ENOMEM;
	}
	if (!file)
		file = realpath("/proc/self/exe", NULL);
	if (!file) {
		int e = errno;
		return e > 0 ? -e : -ENOENT;
	}
	char *slash = strrchr(file, '/');
	if (!slash)
		return -ENOENT;
	*slash = 0;
	*ret = TAKE_PTR(file);
	return 0;
}

static int path_if_there(const char *folder, const char *suffix, char **ret)
{
	_cleanup_free_ char *path = NULL;
	int r = format_path(&path, "%s/%s", folder, suffix);
	if (r < 0)
		return r;
	if (access(path, F_OK) < 0)
		return -ENOENT;
	*ret = TAKE_PTR(path);
	return 0;
}

/* PREFIX/suffix for the nearest parent that has it, from bin/, lib/ARCH/ or libexec/cove/. */
static int find_in_prefix(char *folder, const char *suffix, char **ret)
{
	for (int up = 0; up < 3; up++) {
		char *slash = strrchr(folder, '/');
		if (!slash)
			break;
		*slash = 0;
		int r = path_if_there(folder, suffix, ret);
		if (r != -ENOENT)
			return r;
	}
	return -ENOENT;
}

static int share_dir(char **ret)
{
	const char *value = environment("COVE_SHARE_DIR");
	if (value)
		return format_path(ret, "%s", value);

	_cleanup_free_ char *folder = NULL, *kernel = NULL;
	int r = own_folder(&folder);
	if (r < 0)
		return r;
	r = path_if_there(folder, "guest/vmlinuz", &kernel);
	if (r >= 0) { /* a build folder */
		*ret = TAKE_PTR(folder);
		return 0;
	}
	if (r != -ENOENT)
		return r;
	r = find_in_prefix(folder, "share/cove", ret);
	return r == -ENOENT ? format_path(ret, "%s", COVE_SHARE_DIR) : r;
}

int paths_libexec(const char *program, char **ret)
{
	const char *value = environment("COVE_LIBEXEC_DIR");
	if (value)
		return format_path(ret, "%s/%s", value, program);

	_cleanup_free_ char *folder = NULL, *suffix = NULL;
	int r = own_folder(&folder);
	if (r < 0)
		return r;
	r = path_if_there(folder, program, ret);
	if (r != -ENOENT)
		return r;
	r = format_path(&suffix, "libexec/cove/%s", program);
	if (r < 0)
		return r;
	r = find_in_prefix(folder, suffix, ret);
	return r == -ENOENT ? format_path(ret, "%s/%s", COVE_LIBEXEC_DIR, program) : r;
}

static int user_dir(enum paths_base base, char **ret)
{
	static const struct {
		const char *below_cove_home, *xdg, *below_home;
	} places[] = {
		[PATHS_DATA] = { "data", "XDG_DATA_HOME", ".local/share" },
		[PATHS_CACHE] = { "cache", "XDG_CACHE_HOME", ".cache" },
		[PATHS_RUNTIME] = { "run", "XDG_RUNTIME_DIR", NULL },
	};

	const char *value = environment("COVE_HOME");
	if (value)
		return format_path(ret, "%s/%s", value, places[base].below_cove_home);
	value = environment(places[base].xdg);
	if (value)
		return format_path(ret, "%s/cove", value);
	if (base == PATHS_RUNTIME) /* no session manager: a fixed place that only this user owns */
		return format_path(ret, "/tmp/cove-run-%u", (unsigned)getuid());
	value = environment("HOME");
	if (value)
		return format_path(ret, "%s/%s/cove", value, places[base].below_home);
	return -ENOENT;
}

int paths_make(enum paths_base base, char **ret, const char *format, ...)
{
	_cleanup_free_ char *folder = NULL, *rest = NULL;
	int r = base == PATHS_SHARE ? share_dir(&folder) : user_dir(base, &folder);
	if (r < 0)
		return r;

	va_list args;
	va_start(args, format);
	r = format_path_args(&rest, format, args);
	va_end(args);
	if (r < 0)
		return r;
	return format_path(ret, "%s%s%s", folder, *rest ? "/" : "", rest);
}
