/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUPERVISOR_SPEC_H
#define SUPERVISOR_SPEC_H

/* What a sandbox is to be: the CREATE message, checked and with its defaults filled in. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "cove/error.h"

#define SPEC_CPUS_MAX	    64
#define SPEC_MEMORY_MIN	    (128ULL << 20)
#define SPEC_MEMORY_MAX	    (1ULL << 40)
#define SPEC_MEMORY_DEFAULT (512ULL << 20)
#define SPEC_HOSTNAME_MAX   63
#define SPEC_USER_MAX	    256
#define SPEC_PATH_MAX	    4096

struct spec {
	char *name;
	char *image;
	unsigned cpus;
	uint64_t memory_bytes;
	char *cwd; /* NULL where not given, as user and shell */
	char *user;
	char *shell;
	char **env;
	char *hostname;
	bool read_only;
	bool detached;
	bool persistent;
	unsigned boot_timeout_ms;
};

/*
 * From a packed Create. The library has checked all of this; but the supervisor is what stands
 * between the bytes on a socket and a virtual machine. COVE_E_INVALID names the field.
 */
int spec_parse(const void *data, size_t size, struct spec **ret, struct cove_error *err);
struct spec *spec_free(struct spec *spec);
DEFINE_CLEANUP(struct spec *, spec_free)

#endif
