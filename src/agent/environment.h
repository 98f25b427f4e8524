/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_ENVIRONMENT_H
#define AGENT_ENVIRONMENT_H

/* A command's environment from its layers. */

#include <stddef.h>

#include "base/macro.h"

#define ENVIRONMENT_DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/*
 * Layers are NULL-terminated arrays (or NULL), weakest first. Of the entries with one key the last
 * counts; "K" without "=" takes K away. The result is one allocation, to be freed with free(), of
 * pointers into the layers, in the order of the entries that count. -ENOMEM.
 */
int environment_compose(char *const *const *layers, size_t n_layers, char ***ret) _must_check_;

/* NULL when it is not set. */
const char *environment_get(char *const *env, const char *key);

#endif
