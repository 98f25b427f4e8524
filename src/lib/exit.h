/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_EXIT_H
#define LIB_EXIT_H

/* How things end, from messages that a guest has written. */

#include <cove/cove.h>

#include "base/macro.h"
#include "wire/message.h"

/* -EPROTO: an end that there is not. */
int exit_from_message(const Cove__Wire__Exited *m, struct cove_exit *ret) _must_check_;

/*
 * Codes by which this library says something of its own (nothing for now; *ret is set all the same) are
 * no answers of a peer's: they become PROTOCOL.
 */
void failure_from_message(const Cove__Wire__Failure *m, struct cove_error *ret);

#endif
