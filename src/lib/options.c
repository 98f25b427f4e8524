/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/options.h"

#include <string.h>

#include "base/error.h"
#include "base/macro.h"
#include "base/name.h"

/*
 * No structure will ever be larger; a size above it is memory that was never initialised, and
 * looking at that much behind the pointer could crash the caller.
 */
#define OPTIONS_SIZE_MAX 4096

#define CPUS_MAX     64
#define MEMORY_MIN   (128ULL << 20)
#define MEMORY_MAX   (1ULL << 40)
#define HOSTNAME_MAX 63
#define SIGNAL_MAX   64	   /* of Linux on x86-64 */
#define SIZE_MAX_TTY 65535 /* of struct winsize */
/* What the agent gives to a session's output. */
#define REPLAY_MIN 4096
#define REPLAY_MAX (64u << 20)

int options_read(void *ret, size_t size, const void *options, const char *name,
		 struct cove_error *err)
{
	memset(ret, 0, size);
	if (!options)
		return 0;

	size_t theirs;
	memcpy(&theirs, options, sizeof(theirs));
	if (theirs < sizeof(theirs) || theirs > OPTIONS_SIZE_MAX)
		return error_set(
			err, COVE_E_INVALID,
			"%s.struct_size: %zu cannot be; initialise it with its _INIT macro", name,
			theirs);
	for (size_t i = size; i < theirs; i++)
		if (((const char *)options)[i])
			return error_set(err, COVE_E_INVALID,
					 "%s: a field at byte %zu is set that libcove " COVE_VERSION
					 " does not know",
					 name, i);
	memcpy(ret, options, MIN(theirs, size));
	return 0;
}

size_t options_count(const char *const *strings)
{
	size_t n = 0;
	while (strings && strings[n])
		n++;
	return n;
}

/* ---- fields that sandboxes and commands share ---- */

static int check_path(const char *field, const char *path, struct cove_error *err)
{
	if (path && path[0] != '/')
		return error_set(err, COVE_E_INVALID, "%s: \"%s\" is not an absolute path", field,
				 path);
	return 0;
}

static int check_user(const char *user, struct cove_error *err)
{
	if (!user)
		return 0;
	const char *colon = strchr(user, ':');
	if (!*user || colon == user || (colon && (!colon[1] || strchr(colon + 1, ':'))))
		return error_set(err, COVE_E_INVALID,
				 "user: \"%s\" is none of name, uid, name:group, uid:gid", user);
	return 0;
}

static int check_env(const char *const *env, struct cove_error *err)
{
	for (size_t i = 0; env && env[i]; i++)
		if (env[i][0] == '=' || !env[i][0])
			return error_set(err, COVE_E_INVALID, "env[%zu]: \"%s\" has no name", i,
					 env[i]);
	return 0;
}

/* ---- sandboxes ---- */

int options_check_name(const char *name, struct cove_error *err)
{
	if (!name || !name_valid(name))
		return error_set(err, COVE_E_INVALID,
				 "name: \"%s\" is not of the form [a-z0-9][a-z0-9_.-]{0,%d}",
				 name ? name : "(null)", NAME_MAX_BYTES - 1);
	return 0;
}

static int check_hostname(const char *hostname, struct cove_error *err)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
	if (!hostname)
		return 0;
	size_t n = strlen(hostname);
	if (n == 0 || n > HOSTNAME_MAX)
		return error_set(err, COVE_E_INVALID, "hostname: it has %zu bytes; 1 to %d can be",
				 n, HOSTNAME_MAX);
	if (strspn(hostname, allowed) != n || hostname[0] == '-' || hostname[0] == '.')
		return error_set(err, COVE_E_INVALID, "hostname: \"%s\" is not one", hostname);
	return 0;
}

int options_check_sandbox(const struct cove_sandbox_options *o, struct cove_error *err)
{
	if (!o->image || !*o->image)
		return error_set(err, COVE_E_INVALID, "image: it must be given");
	if (o->cpus > CPUS_MAX)
		return error_set(err, COVE_E_INVALID, "cpus: %u is more than %d", o->cpus,
				 CPUS_MAX);
	if (o->memory_bytes && (o->memory_bytes < MEMORY_MIN || o->memory_bytes > MEMORY_MAX))
		return error_set(err, COVE_E_INVALID,
				 "memory_bytes: %llu is not between 128 MiB and 1 TiB",
				 (unsigned long long)o->memory_bytes);
	int r = check_path("cwd", o->cwd, err);
	if (r == 0)
		r = check_path("shell", o->shell, err);
	if (r == 0)
		r = check_user(o->user, err);
	if (r == 0)
		r = check_env(o->env, err);
	if (r == 0)
		r = check_hostname(o->hostname, err);
	return r;
}

/* ---- commands ---- */

static int check_stdin(const struct cove_exec_options *o, bool buffered, struct cove_error *err)
{
	switch (o->stdin_mode) {
	case COVE_STDIN_NULL:
		if (o->stdin_data || o->stdin_bytes)
			return error_set(err, COVE_E_INVALID,
					 "stdin_data: is given, but stdin_mode is not "
					 "COVE_STDIN_BYTES");
		return 0;
	case COVE_STDIN_BYTES:
		if (o->stdin_bytes && !o->stdin_data)
			return error_set(err, COVE_E_INVALID, "stdin_data: NULL, but not 0 bytes");
		return 0;
	case COVE_STDIN_PIPE:
		if (o->stdin_data || o->stdin_bytes)
			return error_set(err, COVE_E_INVALID,
					 "stdin_data: is given, but stdin_mode is not "
					 "COVE_STDIN_BYTES");
		if (!buffered)
			return 0;
		return error_set(err, COVE_E_INVALID,
				 "stdin_mode: COVE_STDIN_PIPE is for streams, and this call would "
				 "never return");
	}
	return error_set(err, COVE_E_INVALID, "stdin_mode: %d is not one", (int)o->stdin_mode);
}

static int check_rlimits(const struct cove_exec_options *o, struct cove_error *err)
{
	static const char *const names[] = {
		"cpu",	   "fsize", "data",  "stack",	   "core",     "rss",  "nproc",	 "nofile",
		"memlock", "as",    "locks", "sigpending", "msgqueue", "nice", "rtprio", "rttime",
	};
	unsigned seen = 0;

	if (o->n_rlimits && !o->rlimits)
		return error_set(err, COVE_E_INVALID, "rlimits: NULL, but n_rlimits is not 0");
	for (size_t i = 0; i < o->n_rlimits; i++) {
		const struct cove_rlimit *l = &o->rlimits[i];
		unsigned resource = (unsigned)l->resource;
		if (resource >= ARRAY_SIZE(names))
			return error_set(err, COVE_E_INVALID, "rlimits[%zu]: %u is no resource", i,
					 resource);
		if (l->soft > l->hard)
			return error_set(err, COVE_E_INVALID,
					 "rlimits[%zu]: the soft limit of %s, %llu, is above the "
					 "hard one, %llu",
					 i, names[resource], (unsigned long long)l->soft,
					 (unsigned long long)l->hard);
		if (seen & 1u << resource)
			return error_set(err, COVE_E_INVALID, "rlimits[%zu]: %s is given twice", i,
					 names[resource]);
		seen |= 1u << resource;
	}
	return 0;
}

static int check_terminal(const struct cove_exec_options *o, struct cove_error *err)
{
	if (!o->tty && (o->rows || o->cols))
		return error_set(err, COVE_E_INVALID, "%s: is given, but tty is not",
				 o->rows ? "rows" : "cols");
	if (o->rows > SIZE_MAX_TTY)
		return error_set(err, COVE_E_INVALID, "rows: %u is more than %d", o->rows,
				 SIZE_MAX_TTY);
	if (o->cols > SIZE_MAX_TTY)
		return error_set(err, COVE_E_INVALID, "cols: %u is more than %d", o->cols,
				 SIZE_MAX_TTY);
	return 0;
}

static int check_flags(unsigned flags, struct cove_error *err)
{
	if (flags & ~COVE_EXEC_NONBLOCK)
		return error_set(err, COVE_E_INVALID, "flags: 0x%x has unknown ones", flags);
	return 0;
}

static int check_id(const char *field, const char *id, struct cove_error *err)
{
	if (id && !session_id_valid(id, strlen(id)))
		return error_set(err, COVE_E_INVALID,
				 "%s: \"%s\" is not of the form [A-Za-z0-9][A-Za-z0-9_.-]{0,%d}",
				 field, id, SESSION_ID_MAX_BYTES - 1);
	return 0;
}

static int check_output(const struct cove_exec_options *o, struct cove_error *err)
{
	if ((unsigned)o->output_policy > COVE_OUTPUT_KILL)
		return error_set(err, COVE_E_INVALID, "output_policy: %d is not one",
				 (int)o->output_policy);
	if (o->replay_bytes && (o->replay_bytes < REPLAY_MIN || o->replay_bytes > REPLAY_MAX))
		return error_set(err, COVE_E_INVALID,
				 "replay_bytes: %llu is not between 4 KiB and 64 MiB",
				 (unsigned long long)o->replay_bytes);
	return 0;
}

static int check_buffered(const struct cove_exec_options *o, struct cove_error *err)
{
	if (o->flags)
		return error_set(err, COVE_E_INVALID, "flags: they are for streams");
	if (o->user_data)
		return error_set(err, COVE_E_INVALID, "user_data: it is for streams");
	return 0;
}

int options_check_exec(const struct cove_exec_options *o, bool buffered, struct cove_error *err)
{
	int r = check_path("cwd", o->cwd, err);
	if (r == 0)
		r = check_user(o->user, err);
	if (r == 0)
		r = check_env(o->env, err);
	if (r == 0)
		r = check_stdin(o, buffered, err);
	if (r == 0 && o->keep_stdin_open && o->stdin_mode != COVE_STDIN_PIPE)
		r = error_set(err, COVE_E_INVALID,
			      "keep_stdin_open: is given, but stdin_mode is not COVE_STDIN_PIPE");
	if (r == 0)
		r = check_rlimits(o, err);
	if (r == 0)
		r = check_output(o, err);
	if (r == 0)
		r = check_terminal(o, err);
	if (r == 0)
		r = check_id("id", o->id, err);
	if (r == 0)
		r = check_flags(o->flags, err);
	if (r == 0 && buffered)
		r = check_buffered(o, err);
	if (r < 0)
		return r;
	if (o->timeout_signal < 0 || o->timeout_signal > SIGNAL_MAX)
		return error_set(err, COVE_E_INVALID, "timeout_signal: %d is no signal",
				 o->timeout_signal);
	return 0;
}

int options_check_open(const char *id, const struct cove_open_options *o, struct cove_error *err)
{
	if (!id)
		return error_set(err, COVE_E_INVALID, "id: it must be given");
	int r = check_id("id", id, err);
	if (r == 0)
		r = check_flags(o->flags, err);
	if (r < 0)
		return r;
	if ((unsigned)o->from > COVE_FROM_OFFSET)
		return error_set(err, COVE_E_INVALID, "from: %d is not one", (int)o->from);
	if (o->from != COVE_FROM_OFFSET && (o->stdout_offset || o->stderr_offset))
		return error_set(err, COVE_E_INVALID,
				 "%s: is given, but from is not COVE_FROM_OFFSET",
				 o->stdout_offset ? "stdout_offset" : "stderr_offset");
	if (o->keep_stdin_open && o->read_only)
		return error_set(err, COVE_E_INVALID,
				 "keep_stdin_open: is given, but read_only means no stdin");
	return 0;
}

int options_check_detach(const struct cove_detach_options *o, struct cove_error *err)
{
	return check_id("until_session", o->until_session, err);
}
