/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HARNESS_TAP_H
#define HARNESS_TAP_H

/*
 * The test harness. A test program is a table and a main:
 *
 *	static void test_empty(void)
 *	{
 *		CHECK_INT(buffer.size, ==, 0);
 *	}
 *
 *	static const struct tap_test tests[] = {
 *		{ "empty", test_empty },
 *		{ "a long one", test_long, .timeout_s = 60 },
 *	};
 *
 *	int main(int argc, char **argv)
 *	{
 *		return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
 *	}
 *
 * Every test runs in a process of its own, which is also the leader of a process group, with an
 * empty folder of its own in COVE_HOME. It fails when a CHECK fails, when it crashes, when it takes
 * longer than its limit, when it leaves file descriptors open that were closed before, and when it
 * leaves a process behind (daemonised ones included) that does not end by itself within
 * TAP_STRAGGLER_MS; such processes are killed. Its stdout goes to stderr: stdout carries TAP.
 *
 * Arguments of the test program: `-l` lists the tests; `-n` runs them in this very process, one
 * after the other, for a debugger (no limits, the first failure ends it); anything else is a part
 * of the names to be run.
 */

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/types.h>

#include "base/macro.h"
#include "cove/error.h"

#define TAP_TIMEOUT_S	 20   /* where a test does not say */
#define TAP_STRAGGLER_MS 3000 /* what the failure notes promise for "nothing left running" */

struct tap_test {
	const char *name;
	void (*run)(void);
	unsigned timeout_s; /* 0: TAP_TIMEOUT_S */
	bool keeps_fds;	    /* opens descriptors for good, on purpose: do not compare them */
};

int tap_run(int argc, char **argv, const struct tap_test *tests, size_t n);

/* The test's own folder: $COVE_HOME. Short enough for the path of a socket. */
const char *tap_dir(void);
/* "<tap_dir()>/formatted". In one of eight static buffers, reused in turn. */
const char *tap_path(const char *format, ...) _printf_(1, 2);

/* A note in the test's log. */
void tap_note(const char *format, ...) _printf_(1, 2);
/* Ends the test as skipped. A skip counts as a failure in `make check`. */
void tap_skip(const char *format, ...) _printf_(1, 2) __attribute__((noreturn));

void tap_fail(const char *file, int line, const char *format, ...) _printf_(3, 4)
	__attribute__((noreturn));

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			tap_fail(__FILE__, __LINE__, "%s is not true", #condition);                \
	} while (0)

/* CHECK_INT(n, ==, 3): any integer types, compared as long long. */
#define CHECK_INT(a, op, b)                                                                        \
	do {                                                                                       \
		long long _check_a = (long long)(a), _check_b = (long long)(b);                    \
		if (!(_check_a op _check_b))                                                       \
			tap_fail(__FILE__, __LINE__, "%s %s %s: %lld against %lld", #a, #op, #b,   \
				 _check_a, _check_b);                                              \
	} while (0)

/* Equal strings; NULL equals only NULL. */
#define CHECK_STR(a, b) tap_check_str(__FILE__, __LINE__, #a, (a), (b))
/* The string `part` is somewhere in `text`. */
#define CHECK_CONTAINS(text, part) tap_check_contains(__FILE__, __LINE__, #text, (text), (part))
/* Equal bytes and equal counts. */
#define CHECK_MEM(a, a_size, b, b_size)                                                            \
	do {                                                                                       \
		CHECK_INT(a_size, ==, b_size);                                                     \
		tap_check_mem(__FILE__, __LINE__, #a, (a), (b), (a_size));                         \
	} while (0)
/* A call that gives a negative errno on failure. */
#define CHECK_OK(call) tap_check_ok(__FILE__, __LINE__, #call, (long long)(call))
/* A call that gives -1 and errno on failure. */
#define CHECK_SYS(call) tap_check_sys(__FILE__, __LINE__, #call, (long long)(call))
/* A call that fills err (a struct cove_error *, whose message is shown) on failure. */
#define CHECK_COVE(call, err) tap_check_cove(__FILE__, __LINE__, #call, (long long)(call), (err))

/*
 * Waits until the condition holds, for something in another process that nobody can be told of.
 * Where there is something to wait for (a descriptor, a child), wait for that instead.
 */
#define CHECK_WITHIN(condition, timeout_ms)                                                        \
	do {                                                                                       \
		unsigned long long _end = tap_deadline(timeout_ms);                                \
		while (!(condition))                                                               \
			if (!tap_before(_end))                                                     \
				tap_fail(__FILE__, __LINE__, "%s is not true after %d ms",         \
					 #condition, (int)(timeout_ms));                           \
	} while (0)

/* False when the process is still there (zombies of others' not counted) after timeout_ms. */
bool tap_process_ends(pid_t pid, int timeout_ms);

/* The rest is for the macros. */
void tap_check_str(const char *file, int line, const char *what, const char *a, const char *b);
void tap_check_contains(const char *file, int line, const char *what, const char *text,
			const char *part);
void tap_check_mem(const char *file, int line, const char *what, const void *a, const void *b,
		   size_t n);
long long tap_check_ok(const char *file, int line, const char *what, long long r);
long long tap_check_sys(const char *file, int line, const char *what, long long r);
long long tap_check_cove(const char *file, int line, const char *what, long long r,
			 const struct cove_error *err);
unsigned long long tap_deadline(int timeout_ms);
bool tap_before(unsigned long long deadline); /* yields a moment when true */

#endif
