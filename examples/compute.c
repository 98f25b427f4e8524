/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A script with a module of its own, put into the sandbox first, then run with arguments, a working
 * directory, an environment, a time limit and a resource limit.
 */

#include <cove/cove.h>
#include <err.h>
#include <stdio.h>
#include <string.h>

static const char compute_py[] = "import resource, sys\n"
				 "from figures import mean\n"
				 "numbers = [float(n) for n in sys.argv[1:]]\n"
				 "print('mean:', mean(numbers))\n"
				 "print('files:', resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n";

static const char figures_py[] = "def mean(numbers):\n"
				 "    return sum(numbers) / len(numbers)\n";

/* A file is what `cat` writes of its standard input. */
static void put_file(cove_sandbox *sandbox, const char *script, const char *content)
{
	struct cove_error error;
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	cove_output *out;
	options.stdin_mode = COVE_STDIN_BYTES;
	options.stdin_data = content;
	options.stdin_bytes = strlen(content);
	if (cove_shell(sandbox, script, &options, &out, &error) < 0)
		errx(1, "%s", error.message);
	if (!cove_exit_success(&out->exit))
		errx(1, "%s: %s", script, out->stderr_data);
	cove_output_free(out);
}

int main(int argc, char **argv)
{
	struct cove_error error;
	struct cove_sandbox_options sandbox_options = COVE_SANDBOX_OPTIONS_INIT;
	sandbox_options.image = argc > 1 ? argv[1] : "python";

	cove_sandbox *sandbox;
	if (cove_sandbox_create(NULL, &sandbox_options, &sandbox, &error) < 0)
		errx(1, "%s", error.message);
	put_file(sandbox, "mkdir -p /app/lib && cat >/app/compute.py", compute_py);
	put_file(sandbox, "cat >/app/lib/figures.py", figures_py);

	const char *const command[] = { "python", "compute.py", "1", "2", "4.5", NULL };
	const char *const env[] = { "PYTHONPATH=/app/lib", NULL };
	const struct cove_rlimit limit = { COVE_RLIMIT_NOFILE, 1024, 1024 };
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.cwd = "/app";
	options.env = env;
	options.timeout_ms = 30000;
	options.rlimits = &limit;
	options.n_rlimits = 1;

	cove_output *out;
	int r = cove_exec(sandbox, command, &options, &out, &error);
	if (r == COVE_E_TIMEOUT) /* the one error with output: what there was until then */
		warnx("%s; so far: %s", error.message, out->stdout_data);
	else if (r < 0)
		errx(1, "%s", error.message);

	fwrite(out->stdout_data, 1, out->stdout_bytes, stdout);
	fwrite(out->stderr_data, 1, out->stderr_bytes, stderr);
	int code = out->exit.code;

	cove_output_free(out);
	cove_sandbox_free(sandbox);
	return code;
}
