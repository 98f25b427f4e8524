/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_ATTACH_ENVIRONMENT_H
#define LIB_ATTACH_ENVIRONMENT_H

/* What a command on the user's terminal has to know of it. */

/*
 * The value of TERM for a terminal that is `term` here; NULL: leave it to the sandbox. Few machines
 * know all terminals that there are.
 */
const char *attach_environment_term(const char *term);

/*
 * env, which may be NULL, with TERM and COLORTERM of this process before it, unless it says something
 * of these itself. One allocation, which borrows from env; NULL: no memory.
 */
const char **attach_environment(const char *const *env);

#endif
