/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_LIB_LIVE_H
#define TESTS_LIB_LIVE_H

/* What tests of streams do against a fake supervisor. Whatever fails here fails the test. */

#include <cove/cove.h>

#include "fake.h"

#define EXEC(...) (&(struct cove_exec_options){ COVE_EXEC_OPTIONS_DEFAULTS, __VA_ARGS__ })
#define OPEN(...)                                                                                  \
	(&(struct cove_open_options){ .struct_size = sizeof(struct cove_open_options),             \
				      __VA_ARGS__ })

/* ---- in the test ---- */

/* `true`, whatever that is over there. */
cove_process *live_start(cove_sandbox *s, const struct cove_exec_options *options);
cove_process *live_open(cove_sandbox *s, const struct cove_open_options *options);
/* The next event has to be of the kind. */
const struct cove_event *live_receive(cove_process *p, enum cove_event_kind kind);
/* The same of a channel, and exactly these bytes. */
void live_receive_text(cove_process *p, enum cove_event_kind kind, uint64_t offset,
		       const char *text);
void live_receive_gap(cove_process *p, enum cove_stream stream, uint64_t offset, uint64_t missing);
/* The terminal event was received. */
void live_is_over(cove_process *p);
/* The next event is LOST or FAILED, with this code and a part of the text; and the last. */
void live_receive_end(cove_process *p, enum cove_event_kind kind, int code, const char *text);

/* ---- in the script ---- */

/* Takes an EXEC (or ATTACH) and answers STARTED; its stream. */
uint32_t live_started(struct fake *f);
uint32_t live_attached(struct fake *f, uint64_t stdout_offset, uint64_t stderr_offset);
void live_send_started(struct fake *f, uint32_t stream, bool was_there, uint64_t stdout_offset,
		       uint64_t stderr_offset);
/* Text as one DATA frame, written out. */
void live_print(struct fake *f, uint32_t stream, unsigned channel, uint64_t offset,
		const char *text);
/* The next thing is CLOSE of the stream. */
void live_expect_close(struct fake *f, uint32_t stream);
void live_until_gone(struct fake *f);

/*
 * Test and script go step by step: live_pass() lets the other one's live_await() of the same number
 * return. Up to 32 numbers.
 */
struct live_steps;
struct live_steps *live_steps_new(void);
void live_steps_free(struct live_steps *steps);
void live_pass(struct live_steps *steps, unsigned step);
void live_await(struct live_steps *steps, unsigned step);

#endif
