/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Runs inside the sandbox (linked statically), one job per word:
 *
 *	pattern SEED OUT ERR   OUT bytes on stdout and ERR on stderr that the host can recompute
 *	flow SEED BYTES        as many bytes as fast as it goes, which the host can recompute
 *	drain SEED BYTES N MS  reads and compares them, with N pauses of MS, and says "right"
 *	talk NAME CODE         says its name, hears a line, says it, and exits
 *	echo                   gives back what it reads
 *	eat                    allocates and touches memory until it is stopped
 *	fds                    prints its open descriptors, and signals ignored or blocked
 *
 * On a terminal, pattern, flow, drain and echo make it raw first; echo says "ready" then.
 */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "pattern.h"

static int make_raw(void)
{
	struct termios t;
	if (tcgetattr(0, &t) < 0)
		return 0;
	cfmakeraw(&t);
	return tcsetattr(0, TCSANOW, &t);
}

static int write_all(int fd, const void *data, size_t n)
{
	for (const char *p = data; n > 0;) {
		ssize_t k = write(fd, p, n);
		if (k <= 0)
			return -1;
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

static int write_pattern(int fd, uint64_t seed, size_t n)
{
	unsigned char block[4096];
	for (size_t done = 0; done < n;) {
		size_t part = n - done < sizeof(block) ? n - done : sizeof(block);
		pattern_fill(block, part, seed, done);
		if (write_all(fd, block, part) < 0)
			return -1;
		done += part;
	}
	return 0;
}

static unsigned char flow_block[65536];

static int flow(uint64_t seed, uint64_t n)
{
	for (uint64_t done = 0; done < n;) {
		size_t part = n - done < sizeof(flow_block) ? n - done : sizeof(flow_block);
		flow_fill(flow_block, part, seed, done);
		if (write_all(1, flow_block, part) < 0)
			return 1;
		done += part;
	}
	return 0;
}

static void pause_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
	nanosleep(&t, NULL);
}

static int drain(uint64_t seed, uint64_t n, uint64_t pauses, long ms)
{
	uint64_t done = 0, paused = 0;
	ssize_t k;
	while ((k = read(0, flow_block, sizeof(flow_block))) > 0) {
		size_t right = flow_check(flow_block, (size_t)k, seed, done);
		if (right < (size_t)k) {
			printf("wrong at %llu\n", (unsigned long long)(done + right));
			return 1;
		}
		done += (size_t)k;
		if (paused < pauses && done >= n / (pauses + 1) * (paused + 1)) {
			pause_ms(ms);
			paused++;
		}
	}
	if (k < 0 || done != n) {
		printf("%llu bytes, not %llu\n", (unsigned long long)done, (unsigned long long)n);
		return 1;
	}
	puts("right");
	return 0;
}

/* Small: a thousand of it run at once. */
static int talk(const char *name, int code)
{
	char line[256], text[512];
	int n = snprintf(text, sizeof(text), "this is %s\n", name);
	if (write_all(1, text, (size_t)n) < 0)
		return 97;
	size_t size = 0;
	while (size < sizeof(line) - 1 && !memchr(line, '\n', size)) {
		ssize_t k = read(0, line + size, sizeof(line) - 1 - size);
		if (k <= 0)
			return 96;
		size += (size_t)k;
	}
	line[size] = 0;
	n = snprintf(text, sizeof(text), "%s heard %s", name, line);
	return write_all(1, text, (size_t)n) < 0 ? 97 : code;
}

static int echo(void)
{
	char data[4096];
	ssize_t k;
	if (write_all(1, "ready", 5) < 0)
		return 97;
	while ((k = read(0, data, sizeof(data))) > 0)
		if (write_all(1, data, (size_t)k) < 0)
			return 97;
	return k < 0 ? 96 : 0;
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

static unsigned long long number(const char *text)
{
	return strtoull(text, NULL, 10);
}

int main(int argc, char **argv)
{
	const char *job = argc > 1 ? argv[1] : "";
	if (argc == 4 && !strcmp(job, "talk"))
		return talk(argv[2], atoi(argv[3]));
	if (argc == 2 && !strcmp(job, "eat"))
		return eat();
	if (argc == 2 && !strcmp(job, "fds"))
		return fds();

	if (make_raw() < 0)
		return 99;
	if (argc == 5 && !strcmp(job, "pattern")) {
		uint64_t seed = number(argv[2]);
		if (write_pattern(1, seed, number(argv[3])) < 0 ||
		    write_pattern(2, ~seed, number(argv[4])) < 0)
			return 99;
		return (int)(seed % 100);
	}
	if (argc == 4 && !strcmp(job, "flow"))
		return flow(number(argv[2]), number(argv[3]));
	if (argc == 6 && !strcmp(job, "drain"))
		return drain(number(argv[2]), number(argv[3]), number(argv[4]), atol(argv[5]));
	if (argc == 2 && !strcmp(job, "echo"))
		return echo();
	fprintf(stderr, "usage: see guest-helper.c\n");
	return 98;
}
