/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SEAT_H
#define TESTS_SEAT_H

/* Sitting in front of `cove`: what the tests with terminals share. */

#include "harness/terminal.h"
#include "vm.h"

/* For an editor in an emulated machine, on a busy one. */
#define SEAT_WAIT_MS 30000

/* A sandbox called box, with bash for its shell, in which files are under /root. */
cove_sandbox *seat_box(const char *image);

struct terminal *seat_new(unsigned rows, unsigned cols);

/* `cove` with these arguments in the terminal. */
void seat_cove(struct terminal *t, const char *const *args);
#define SEAT_COVE(t, ...) seat_cove((t), ARGV(__VA_ARGS__))

/* A file below /root of the sandbox, written and compared. */
void seat_put_file(cove_sandbox *box, const char *name, const char *content);
void seat_check_file(cove_sandbox *box, const char *name, const char *content);
/* The same here, below the test's folder. */
void seat_put_own_file(const char *name, const char *content);

/*
 * Waits until the program in the sandbox waits for keys. less misses a change of its window that
 * comes between its prompt and that, until the next key.
 */
void seat_wait_reading(cove_sandbox *box, const char *program);

/* Ended like this, and the terminal is as it was. */
void seat_check_end(struct terminal *t, int status);

/*
 * The same program twice: in the sandbox, and on this machine without any of Cove in between (with
 * HOME and its working directory in the test's folder). Both get the same keys; they must give the
 * same screens, cell by cell with attributes, and the same cursor.
 */
struct twins {
	struct terminal *guest, *host;
};

struct twins twins_new(unsigned rows, unsigned cols);
void twins_done(struct twins *t);

/* cove exec -it -w /root [-e env]... box argv...; and argv. */
void twins_run(struct twins *t, const char *const *env, const char *const *argv);
/* Waits until the host's screen has the text in it and the guest's is the same. */
#define twins_same(t, text) twins_same_at(__FILE__, __LINE__, (t), (text))
/* Types into both, then that. */
#define twins_type(t, keys, text)                                                                  \
	do {                                                                                       \
		terminal_type((t)->host, (keys));                                                  \
		terminal_type((t)->guest, (keys));                                                 \
		twins_same((t), (text));                                                           \
	} while (0)
void twins_key(struct twins *t, enum terminal_key key);
void twins_paste(struct twins *t, const char *text);
/* Those that have the whole screen have to draw all of it. */
void twins_resize(struct twins *t, unsigned rows, unsigned cols);

void twins_same_at(const char *file, int line, struct twins *t, const char *text);
/* Whether two screens are the same. */
bool seat_same(struct terminal *a, struct terminal *b);

#endif
