/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LIB_SANDBOX_H
#define LIB_SANDBOX_H

#include <stdbool.h>

#include <cove/cove.h>

#include "base/name.h"
#include "lib/connection.h"
#include "lib/supervisor.h"

struct cove_sandbox {
	char name[NAME_MAX_BYTES + 1];
	struct connection *connection;
	bool attached; /* was created through this handle, and ends with it */
	/* Its process, once it is known; and the child of ours that stands for that. */
	struct supervisor supervisor;
	struct supervisor child;
	/* The last that was heard of it; under the connection's lock. */
	struct cove_sandbox_info *info;
};

#endif
