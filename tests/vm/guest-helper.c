/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Runs inside the sandbox (linked statically), one job per word:
 *
 *	pattern SEED OUT ERR   OUT bytes on stdout and ERR on stderr that the host can recompute
 *	eat                    allocates and touches memory until it is stopped
 *	fds                    prints its open descriptors, and signals ignored or blocked
 */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pattern.h"

static int write_pattern(int fd, uint64_t seed, size_t n)
{
	unsigned char block[4096];
	for (size_t done = 0; done < n;) {
		size_t part = n - done < sizeof(block) ? n - done : sizeof(block);
		pattern_fill(block, part, seed, done);
		ssize_t k = write(fd, block, part);
		if (k <= 0)
			return -1;
		done += (size_t)k;
	}
	return 0;
}

static int eat(void)
{
	for (;;) {
		size_t n = 16 << 20;
		void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			return 1;
		memset(p, 1, n);
	}
}

static int fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	if (!dir)
		return 1;
	struct dirent *entry;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(dir))
			printf("fd %s\n", entry->d_name);
	closedir(dir);

	FILE *status = fopen("/proc/self/status", "re");
	char line[256];
	while (status && fgets(line, sizeof(line), status))
		if (!strncmp(line, "SigBlk:", 7) || !strncmp(line, "SigIgn:", 7))
			fputs(line, stdout);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "pattern")) {
		uint64_t seed = strtoull(argv[2], NULL, 10);
		if (write_pattern(1, seed, strtoull(argv[3], NULL, 10)) < 0 ||
		    write_pattern(2, ~seed, strtoull(argv[4], NULL, 10)) < 0)
			return 99;
		return (int)(seed % 100);
	}
	if (argc == 2 && !strcmp(argv[1], "eat"))
		return eat();
	if (argc == 2 && !strcmp(argv[1], "fds"))
		return fds();
	fprintf(stderr, "usage: %s pattern SEED OUT ERR | eat | fds\n", argv[0]);
	return 98;
}
