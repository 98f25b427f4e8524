/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/attach-environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macro.h"
#include "lib/options.h"

#define TERM_UNKNOWN "xterm-256color"

/* A name is followed by its NUL; more than any terminal's. */
#define VALUE_MAX 128

const char *attach_environment_term(const char *term)
{
	/* What Debian's ncurses-base has, and with it most images that have a terminfo at all. */
	static const char *const known[] = {
		"Eterm",
		"Eterm-color",
		"ansi",
		"cons25",
		"cygwin",
		"dumb",
		"hurd",
		"linux",
		"mach",
		"mach-bold",
		"mach-color",
		"pcansi",
		"rxvt",
		"rxvt-basic",
		"rxvt-unicode",
		"rxvt-unicode-256color",
		"screen",
		"screen-256color",
		"screen-256color-bce",
		"screen-bce",
		"screen-s",
		"screen-w",
		"screen.xterm-256color",
		"sun",
		"tmux",
		"tmux-256color",
		"vt100",
		"vt102",
		"vt220",
		"vt52",
		"wsvt25",
		"wsvt25m",
		"xterm",
		"xterm-256color",
		"xterm-color",
		"xterm-debian",
		"xterm-mono",
		"xterm-r5",
		"xterm-r6",
		"xterm-vt220",
		"xterm-xfree86",
	};
	if (!term || !*term)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (!strcmp(known[i], term))
			return known[i];
	return TERM_UNKNOWN;
}

/* Whether env sets the variable, or takes it away. */
static bool mentions(const char *const *env, const char *name)
{
	size_t n = strlen(name);
	for (size_t i = 0; env && env[i]; i++)
		if (!strncmp(env[i], name, n) && (env[i][n] == '=' || !env[i][n]))
			return true;
	return false;
}

const char **attach_environment(const char *const *env)
{
	size_t n_env = options_count(env), n = 0;
	const char **all = malloc((n_env + 3) * sizeof(*all) + 2 * VALUE_MAX);
	if (!all)
		return NULL;
	char *text = (char *)(all + n_env + 3);
	const char *term = attach_environment_term(getenv("TERM")), *colour = getenv("COLORTERM");
	if (term && !mentions(env, "TERM")) {
		snprintf(text, VALUE_MAX, "TERM=%s", term);
		all[n++] = text;
	}
	if (colour && *colour && strlen(colour) < VALUE_MAX / 2 && !mentions(env, "COLORTERM")) {
		snprintf(text + VALUE_MAX, VALUE_MAX, "COLORTERM=%s", colour);
		all[n++] = text + VALUE_MAX;
	}
	if (n_env > 0)
		memcpy(all + n, env, n_env * sizeof(*all));
	all[n + n_env] = NULL;
	return all;
}
