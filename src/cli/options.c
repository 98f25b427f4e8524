/* SPDX-License-Identifier: Apache-2.0 */
/* The options that several commands share. */
#include <limits.h>

#include "cli/cli.h"

#define MIB	  (1024ULL * 1024)
#define TIB	  (MIB * MIB)
#define YEAR_MS	  (365ULL * 24 * 3600 * 1000)
#define INT_MS	  ((uint64_t)INT_MAX) /* 24 days: fields of the library that are an unsigned */
#define LIMIT_MAX (1ULL << 60)

/* As the library has it. */
#define REPLAY_MIN (4ULL * 1024)
#define REPLAY_MAX (64 * MIB)

static const struct cli_option common_options[] = {
	{ "help", 'h', CLI_FLAG, NULL, CLI_AT(bool, help), .help = "show this help" },
};

static const struct cli_option sandbox_options[] = {
	{ "name", 'n', CLI_NAME, "NAME", CLI_AT(const char *, name),
	  .help = "the sandbox's name; one is made up by default" },
	{ "cpus", 0, CLI_NUMBER, "N", CLI_AT(uint64_t, cpus), 1, 64,
	  .help = "virtual CPUs, 1 to 64; 1 by default" },
	{ "memory", 0, CLI_SIZE, "SIZE", CLI_AT(uint64_t, memory_bytes), 128 * MIB, TIB,
	  .help = "memory of the machine, from 128M; 512M by default" },
	{ "hostname", 0, CLI_TEXT, "NAME", CLI_AT(const char *, hostname),
	  .help = "the guest's hostname; the sandbox's name by default" },
	{ "shell", 0, CLI_PATH, "PATH", CLI_AT(const char *, shell),
	  .help = "what runs the scripts of `cove shell`; the image's or /bin/sh by default" },
	{ "read-only", 0, CLI_FLAG, NULL, CLI_AT(bool, read_only),
	  .help = "mount the root filesystem read-only; /tmp, /run and /dev/shm stay writable" },
	{ "boot-timeout", 0, CLI_DURATION, "DUR", CLI_AT(uint64_t, boot_timeout_ms), 1, INT_MS,
	  .help = "how long the machine may take to come up; 60s by default" },
};

static const struct cli_option environment_options[] = {
	{ "env", 'e', CLI_ENV, "KEY[=VALUE]", CLI_AT(struct cli_list, env),
	  .help = "set an environment variable, to the value it has here if none is given; one "
		  "that has none here is taken away; may be repeated" },
	{ "env-file", 0, CLI_ENV_FILE, "FILE", CLI_AT(struct cli_list, env_files),
	  .help = "a file of such variables, one a line, # for comments; --env wins" },
	{ "workdir", 'w', CLI_PATH, "DIR", CLI_AT(const char *, workdir),
	  .help = "working directory in the guest; the image's or / by default" },
	{ "user", 'u', CLI_TEXT, "USER[:GROUP]", CLI_AT(const char *, user),
	  .help = "user and group in the guest, by name or number; the image's or root by "
		  "default" },
};

/* In the order of enum cove_output_policy. */
static const char *const output_policies[] = { "head", "tail", "kill", NULL };

static const struct cli_option command_options[] = {
	{ "interactive", 'i', CLI_FLAG, NULL, CLI_AT(bool, interactive),
	  .help = "pass stdin to the command, as it comes; without it, its stdin is empty" },
	{ "tty", 't', CLI_FLAG, NULL, CLI_AT(bool, tty),
	  .help = "run the command on a terminal; with -i on this one, as ssh does; without, what "
		  "it shows comes here, and nothing is typed" },
	{ "detach", 'd', CLI_FLAG, NULL, CLI_AT(bool, detach),
	  .help = "start the command and leave it to itself; -i keeps its stdin open, -t gives it "
		  "a terminal, for `cove attach`" },
	{ "detach-keys", 0, CLI_LIST, "KEYS", CLI_AT(struct cli_list, detach_keys),
	  .help = "with -it, what to type to leave the command running: keys separated by commas, "
		  "like ctrl-p,ctrl-q; ctrl-] by default, none if empty; may be repeated" },
	{ "timeout", 0, CLI_DURATION, "DUR", CLI_AT(uint64_t, timeout_ms), 0, YEAR_MS,
	  .help = "kill the command and everything it started after this time, and exit with "
		  "124; 0, the default, is never" },
	{ "timeout-signal", 0, CLI_SIGNAL, "SIG", CLI_AT(uint64_t, timeout_signal),
	  .help = "at the timeout, send the command this signal first" },
	{ "timeout-grace", 0, CLI_DURATION, "DUR", CLI_AT(uint64_t, timeout_grace_ms), 1, YEAR_MS,
	  .help = "and kill it this much later; 10s by default" },
	{ "rlimit", 0, CLI_RLIMIT, "NAME=SOFT[:HARD]",
	  CLI_AT(struct cove_rlimit[CLI_RLIMITS], rlimits),
	  .help = "a resource limit: as, core, cpu, data, fsize, locks, memlock, msgqueue, nice, "
		  "nofile, nproc, rss, rtprio, rttime, sigpending or stack, as a number or "
		  "\"unlimited\"; may be repeated" },
	{ "output-limit", 0, CLI_SIZE, "SIZE", CLI_AT(uint64_t, output_limit_bytes), 1, LIMIT_MAX,
	  .help = "the most to take of stdout and of stderr; no limit by default" },
	{ "output-policy", 0, CLI_CHOICE, "POLICY", CLI_AT(uint64_t, output_policy),
	  .choices = output_policies,
	  .help = "what happens beyond: head drops what follows, tail prints only the last "
		  "bytes, at the end; kill, the default, kills the command" },
	{ "linger", 0, CLI_DURATION, "DUR", CLI_AT(uint64_t, linger_ms), 1, INT_MS,
	  .help = "how long to wait for output of what the command left running; 50ms by "
		  "default" },
	{ "wait-eof", 0, CLI_FLAG, NULL, CLI_AT(bool, wait_eof),
	  .help = "wait until everything that the command left running has closed its output" },
	{ "kill-tree-on-exit", 0, CLI_FLAG, NULL, CLI_AT(bool, kill_tree_on_exit),
	  .help = "kill what the command left running when it ends" },
	{ "kill-on-disconnect", 0, CLI_FLAG, NULL, CLI_AT(bool, kill_on_disconnect),
	  .help = "kill the command should this cove end before it, however that comes" },
	{ "replay", 0, CLI_SIZE, "SIZE", CLI_AT(uint64_t, replay_bytes), REPLAY_MIN, REPLAY_MAX,
	  .help = "what the sandbox keeps of stdout and of stderr for those who look at the "
		  "session later, 4K to 64M; 256K by default" },
	{ "id", 0, CLI_ID, "ID", CLI_AT(const char *, id),
	  .help = "the session's id, for `cove attach` and its like; the same id again gives "
		  "the result of the first run instead of running it twice" },
};

const struct cli_group cli_group_common = {
	"common",
	"Common options",
	common_options,
	ARRAY_SIZE(common_options),
};
const struct cli_group cli_group_sandbox = {
	"sandbox",
	"Sandbox options",
	sandbox_options,
	ARRAY_SIZE(sandbox_options),
};
const struct cli_group cli_group_environment = {
	"environment",
	"Environment options",
	environment_options,
	ARRAY_SIZE(environment_options),
};
const struct cli_group cli_group_command = {
	"command",
	"Command options",
	command_options,
	ARRAY_SIZE(command_options),
};
