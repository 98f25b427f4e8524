/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <unistd.h>

#include "base/error.h"
#include "base/paths.h"
#include "cli/cli.h"

int cli_become(const struct cli_command *command, const char *program, const char *const *argv)
{
	_cleanup_free_ char *path = NULL;
	int r = paths_libexec(program, &path);
	if (r < 0)
		return cli_fail(command, "cannot find %s: %s", program, error_errno_text(r));

	execv(path, (char *const *)argv);
	return cli_fail(command, "cannot run %s: %s", path, error_errno_text(errno));
}
