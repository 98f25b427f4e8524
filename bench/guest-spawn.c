/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The baseline inside the guest: how long posix_spawn() and waiting take there, without Cove.
 * Prints one number of nanoseconds a line: guest-spawn COUNT PROGRAM [ARG…]
 */

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (long long)t.tv_sec * 1000000000 + t.tv_nsec;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	for (long n = strtol(argv[1], NULL, 10); n > 0; n--) {
		long long start = now_ns();
		pid_t pid;
		if (posix_spawn(&pid, argv[2], NULL, NULL, argv + 2, environ) != 0 ||
		    waitpid(pid, NULL, 0) < 0)
			return 1;
		printf("%lld\n", now_ns() - start);
	}
	return 0;
}
