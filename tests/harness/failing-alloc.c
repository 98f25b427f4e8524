/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/failing-alloc.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>

#include "base/macro.h"

static _Thread_local unsigned long countdown; /* 0: not armed, or past */
static _Thread_local bool all_after;
static _Thread_local bool failed;

void failing_alloc_arm(unsigned long n)
{
	countdown = n;
	all_after = false;
	failed = false;
}

void failing_alloc_arm_from(unsigned long n)
{
	failing_alloc_arm(n);
	all_after = true;
}

bool failing_alloc_disarm(void)
{
	countdown = 0;
	all_after = false;
	return failed;
}

static bool fails_now(void)
{
	if (!(all_after && failed) && (countdown == 0 || --countdown > 0))
		return false;
	failed = true;
	errno = ENOMEM;
	return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
int __real_vasprintf(char **ret, const char *format, va_list args);
char *__real_realpath(const char *path, char *resolved);

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
int __wrap_vasprintf(char **ret, const char *format, va_list args) _printf_(2, 0);
int __wrap_asprintf(char **ret, const char *format, ...) _printf_(2, 3);
char *__wrap_realpath(const char *path, char *resolved);

void *__wrap_malloc(size_t n)
{
	return fails_now() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails_now() ? NULL : __real_realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return fails_now() ? NULL : __real_reallocarray(p, n, size);
}

char *__wrap_strdup(const char *s)
{
	return fails_now() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
	return fails_now() ? NULL : __real_strndup(s, n);
}

/* glibc leaves *ret undefined on failure: make that as bad as it can be. */
static int fail_print(char **ret)
{
	*ret = (char *)(size_t)0xdead;
	return -1;
}

int __wrap_vasprintf(char **ret, const char *format, va_list args)
{
	return fails_now() ? fail_print(ret) : __real_vasprintf(ret, format, args);
}

int __wrap_asprintf(char **ret, const char *format, ...)
{
	if (fails_now())
		return fail_print(ret);
	va_list args;
	va_start(args, format);
	int r = __real_vasprintf(ret, format, args);
	va_end(args);
	return r;
}

char *__wrap_realpath(const char *path, char *resolved)
{
	return !resolved && fails_now() ? NULL : __real_realpath(path, resolved);
}
