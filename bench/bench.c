/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The benchmark: everything measured from outside, through libcove and the command, with the
 * baselines in the same run on the same machine.
 *
 *	bench [--full] [--only PART]… [--json FILE]
 */

#include <err.h>
#include <getopt.h>
#include <string.h>

#include "base/cleanup.h"
#include "bench.h"

static const struct part {
	const char *name;
	void (*run)(bool full);				  /* makes its own sandboxes */
	void (*run_in)(cove_sandbox *sandbox, bool full); /* shares one */
} parts[] = {
	{ "start", bench_start, NULL },		{ "exec", NULL, bench_exec },
	{ "keystroke", NULL, bench_keystroke }, { "sessions", NULL, bench_sessions },
	{ "streams", NULL, bench_streams },	{ "memory", bench_memory, NULL },
};

static int usage(void)
{
	fprintf(stderr, "usage: bench [--full] [--only PART]... [--json FILE]\nparts:");
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		fprintf(stderr, " %s", parts[i].name);
	fprintf(stderr, "\n");
	return 2;
}

/* The bit of a part; 0 when there is none of that name. */
static unsigned part_bit(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (strcmp(parts[i].name, name) == 0)
			return 1u << i;
	return 0;
}

static void run_parts(unsigned wanted, bool full)
{
	cove_sandbox *shared = NULL;
	samples_print_header();
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (!(wanted & 1u << i))
			continue;
		if (parts[i].run) {
			parts[i].run(full);
			continue;
		}
		if (!shared)
			shared = guest_create(NULL);
		parts[i].run_in(shared, full);
	}
	cove_sandbox_free(shared);
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "full", no_argument, NULL, 'f' },
		{ "only", required_argument, NULL, 'o' },
		{ "json", required_argument, NULL, 'j' },
		{ 0 },
	};
	bool full = false;
	unsigned wanted = 0;
	const char *json = NULL;
	for (int c; (c = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
		if (c == 'f')
			full = true;
		else if (c == 'j')
			json = optarg;
		else if (c == 'o' && part_bit(optarg))
			wanted |= part_bit(optarg);
		else
			return usage();
	}
	if (optind < argc)
		return usage();
	run_parts(wanted ? wanted : ~0u, full);

	if (json) {
		FILE *f = fopen(json, "we");
		if (!f)
			err(1, "%s", json);
		samples_write_json(f);
		if (fclose(f) != 0)
			err(1, "%s", json);
	}
	return 0;
}
