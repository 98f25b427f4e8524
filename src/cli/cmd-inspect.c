/* SPDX-License-Identifier: Apache-2.0 */
#include <time.h>

#include "cli/cli.h"

static void info_freep(struct cove_sandbox_info **info)
{
	cove_sandbox_info_free(*info);
}

static void print_text(const char *label, const char *text)
{
	if (text && *text)
		printf("%-13s %s\n", label, text);
}

static void print_time(const char *label, uint64_t ns)
{
	char text[64];
	struct tm tm;
	time_t seconds = (time_t)(ns / 1000000000);

	if (ns && localtime_r(&seconds, &tm) && strftime(text, sizeof(text), "%F %T", &tm))
		print_text(label, text);
}

static void print_info(const struct cove_sandbox_info *info)
{
	char text[64];

	print_text("Name:", info->name);
	cli_state_text(info, text, sizeof(text));
	print_text("State:", text);
	print_text("Reason:", info->end_text);
	print_text("Image:", info->image);
	print_text("Hostname:", info->hostname);
	printf("%-13s %u\n", "CPUs:", info->cpus);
	cli_size_text(info->memory_bytes, text, sizeof(text));
	print_text("Memory:", text);
	print_text("Root:", info->read_only ? "read-only" : "writable");
	print_text("Detached:", info->detached ? "yes" : "no");
	print_text("Persistent:", info->persistent ? "yes" : "no");
	print_time("Created:", info->created_ns);
	print_time("Ended:", info->ended_ns);
	print_text("Accelerator:", info->accelerator);
	print_text("Kernel:", info->kernel);
	if (info->boot_us)
		printf("%-13s %.3f s\n", "Boot:", (double)info->boot_us / 1e6);
	if (info->supervisor_pid)
		printf("%-13s %d\n", "Supervisor:", info->supervisor_pid);
	if (info->vmm_pid)
		printf("%-13s %d\n", "QEMU:", info->vmm_pid);
}

static int run(struct cli_args *args)
{
	_cleanup_(info_freep) struct cove_sandbox_info *info = NULL;
	struct cove_error err = COVE_ERROR_INIT;

	if (cove_sandbox_inspect(args->operands[0], &info, &err) < 0)
		return cli_fail_error(args->command, &err, NULL);
	if (args->values.json)
		return cli_print_info(args->command, info) < 0 ? CLI_EXIT_FAILURE : 0;
	print_info(info);
	return 0;
}

static const struct cli_option options[] = {
	{ "json", 0, CLI_FLAG, NULL, CLI_AT(bool, json), .help = "a JSON object" },
};
static const struct cli_group group = { "inspect", "Options", options, ARRAY_SIZE(options) };

const struct cli_command cmd_inspect = {
	.name = "inspect",
	.section = CLI_SECTION_SANDBOXES,
	.synopsis = "[options] NAME",
	.summary = "print all there is to know about a sandbox",
	.groups = { &group },
	.needs = { "a sandbox's name" },
	.max_operands = 1,
	.operand = CLI_OPERAND_SANDBOX,
	.run = run,
};
