/* SPDX-License-Identifier: Apache-2.0 */

/* Runs a fuzz target on each file of a folder: the corpus as a test, without a fuzzer. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fuzz.h"

#define FILE_MAX (8u * 1024 * 1024)

static int replay(int dir, const char *name, uint8_t *data)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	size_t n = 0;
	ssize_t r;
	while ((r = read(fd, data + n, FILE_MAX - n)) > 0)
		n += (size_t)r;
	if (r < 0)
		return -errno;
	/* Of exactly its size, so that reading past the end is seen. */
	_cleanup_free_ uint8_t *exact = malloc(n ? n : 1);
	if (!exact)
		return -ENOMEM;
	memcpy(exact, data, n);
	LLVMFuzzerTestOneInput(exact, n);
	return 0;
}

int main(int argc, char **argv)
{
	_cleanup_free_ uint8_t *data = malloc(FILE_MAX);
	_cleanup_closedir_ DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
	if (!data || !dir) {
		fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
		return 2;
	}
	unsigned count = 0;
	bool failed = false;
	struct dirent *entry;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		/* Said first: the one that crashes is the last line. */
		fprintf(stderr, "# %s\n", entry->d_name);
		int r = replay(dirfd(dir), entry->d_name, data);
		printf("%s %u - %s\n", r < 0 ? "not ok" : "ok", ++count, entry->d_name);
		failed = failed || r < 0;
	}
	printf("1..%u\n", count);
	return failed || count == 0;
}
