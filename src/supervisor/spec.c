/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor/spec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/name.h"
#include "supervisor/limits.h"
#include "wire/message.h"

#define MIB (1ULL << 20)

struct spec *spec_free(struct spec *spec)
{
	if (!spec)
		return NULL;
	free(spec->name);
	free(spec->image);
	free(spec->cwd);
	free(spec->user);
	free(spec->shell);
	wire_strv_free(spec->env);
	free(spec->hostname);
	free(spec);
	return NULL;
}

static int no_memory(struct cove_error *err)
{
	return error_set(err, COVE_E_NO_MEMORY, "out of memory");
}

/* An optional field; "" is not a value of any of them. */
static int take_bytes(const char *field, protobuf_c_boolean has, const ProtobufCBinaryData *bytes,
		      char **ret, struct cove_error *err)
{
	if (!has)
		return 0;
	_cleanup_free_ char *s = NULL;
	int r = wire_bytes_to_string(bytes, &s);
	if (r == -EINVAL)
		return error_set(err, COVE_E_INVALID, "%s holds a NUL byte", field);
	if (r < 0)
		return no_memory(err);
	if (!*s)
		return error_set(err, COVE_E_INVALID, "%s is empty", field);
	*ret = TAKE_PTR(s);
	return 0;
}

static int check_path(const char *field, const char *path, struct cove_error *err)
{
	if (!path)
		return 0;
	if (path[0] != '/')
		return error_set(err, COVE_E_INVALID, "%s is not an absolute path: %.200s", field,
				 path);
	if (strlen(path) >= SPEC_PATH_MAX)
		return error_set(err, COVE_E_INVALID, "%s is longer than %d bytes", field,
				 SPEC_PATH_MAX - 1);
	return 0;
}

static int check_hostname(const char *hostname, struct cove_error *err)
{
	size_t n = strlen(hostname);
	if (n == 0 || n > SPEC_HOSTNAME_MAX)
		return error_set(err, COVE_E_INVALID, "the hostname has %zu bytes, not 1 to %d", n,
				 SPEC_HOSTNAME_MAX);
	/* What session ids may have is what hostnames may have. */
	if (!session_id_valid(hostname, n))
		return error_set(err, COVE_E_INVALID, "not a hostname: %s", hostname);
	return 0;
}

static int check_size(struct spec *spec, const Cove__Wire__Create *m, struct cove_error *err)
{
	spec->cpus = m->cpus ? m->cpus : 1;
	if (spec->cpus > SPEC_CPUS_MAX)
		return error_set(err, COVE_E_INVALID, "%u cpus: 1 to %d are possible", spec->cpus,
				 SPEC_CPUS_MAX);

	uint64_t memory = m->memory_bytes ? m->memory_bytes : SPEC_MEMORY_DEFAULT;
	if (memory < SPEC_MEMORY_MIN || memory > SPEC_MEMORY_MAX)
		return error_set(err, COVE_E_INVALID,
				 "%llu bytes of memory: %llu MiB to %llu MiB are possible",
				 (unsigned long long)memory, SPEC_MEMORY_MIN / MIB,
				 SPEC_MEMORY_MAX / MIB);
	spec->memory_bytes = (memory + MIB - 1) / MIB * MIB;

	spec->boot_timeout_ms = m->boot_timeout_ms ? m->boot_timeout_ms : BOOT_TIMEOUT_DEFAULT_MS;
	if (spec->boot_timeout_ms > BOOT_TIMEOUT_MAX_MS)
		return error_set(err, COVE_E_INVALID, "a boot timeout of %u ms: %d at most",
				 spec->boot_timeout_ms, BOOT_TIMEOUT_MAX_MS);
	return 0;
}

static int take_env(struct spec *spec, const Cove__Wire__Create *m, struct cove_error *err)
{
	int r = wire_bytes_to_strv(m->env, m->n_env, &spec->env);
	if (r == -EINVAL)
		return error_set(err, COVE_E_INVALID, "an entry of env holds a NUL byte");
	if (r < 0)
		return no_memory(err);
	for (char **e = spec->env; *e; e++)
		if (**e == 0 || **e == '=')
			return error_set(err, COVE_E_INVALID,
					 "an entry of env has no name: '%.100s'", *e);
	return 0;
}

static int take(struct spec *spec, const Cove__Wire__Create *m, struct cove_error *err)
{
	if (!name_valid(m->name))
		return error_set(err, COVE_E_INVALID,
				 "not a name: '%.100s' (lower-case letters, digits, `_.-`, at most "
				 "%d, a letter or digit first)",
				 m->name, NAME_MAX_BYTES);
	spec->name = strdup(m->name);
	spec->image = strdup(m->image);
	spec->hostname = strdup(m->hostname ? m->hostname : m->name);
	if (!spec->name || !spec->image || !spec->hostname)
		return no_memory(err);
	spec->read_only = m->read_only;
	spec->detached = m->detached;
	spec->persistent = m->persistent;

	int r = check_size(spec, m, err);
	if (r >= 0)
		r = check_hostname(spec->hostname, err);
	if (r >= 0)
		r = take_bytes("cwd", m->has_cwd, &m->cwd, &spec->cwd, err);
	if (r >= 0)
		r = check_path("cwd", spec->cwd, err);
	if (r >= 0)
		r = take_bytes("shell", m->has_shell, &m->shell, &spec->shell, err);
	if (r >= 0)
		r = check_path("shell", spec->shell, err);
	if (r >= 0)
		r = take_bytes("user", m->has_user, &m->user, &spec->user, err);
	if (r >= 0 && spec->user && strlen(spec->user) > SPEC_USER_MAX)
		r = error_set(err, COVE_E_INVALID, "user is longer than %d bytes", SPEC_USER_MAX);
	if (r >= 0)
		r = take_env(spec, m, err);
	return r;
}

int spec_parse(const void *data, size_t size, struct spec **ret, struct cove_error *err)
{
	_cleanup_(wire_message_freep) ProtobufCMessage *m =
		wire_message_unpack(&cove__wire__create__descriptor, data, size);
	if (!m)
		return error_set(err, COVE_E_PROTOCOL, "CREATE cannot be read");
	_cleanup_(spec_freep) struct spec *spec = calloc(1, sizeof(*spec));
	if (!spec)
		return no_memory(err);
	int r = take(spec, (const Cove__Wire__Create *)m, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(spec);
	return 0;
}
