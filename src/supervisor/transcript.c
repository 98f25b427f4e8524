/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor/transcript.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

#define FULL_NOTE "\n[the rest is not kept]\n"
#define SEPARATOR " | "

void transcript_init(struct transcript *t, size_t keep)
{
	*t = (struct transcript){ .fd = -1 };
	buffer_init(&t->tail, keep);
}

void transcript_done(struct transcript *t)
{
	buffer_done(&t->tail);
	t->fd = fd_close(t->fd);
}

int transcript_open(struct transcript *t, int dir_fd, const char *name, size_t max)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	fd_close(t->fd);
	t->fd = fd;
	t->file_space = max;
	return 0;
}

/* A file that cannot be written (the disk is full) is given up; the sandbox is not. */
static void add_to_file(struct transcript *t, const void *data, size_t n)
{
	size_t k = MIN(n, t->file_space);
	int r = fd_write_full(t->fd, data, k);
	t->file_space -= k;
	if (r >= 0 && t->file_space == 0)
		r = fd_write_full(t->fd, FULL_NOTE, strlen(FULL_NOTE));
	if (r < 0 || t->file_space == 0)
		t->fd = fd_close(t->fd);
}

void transcript_add(struct transcript *t, const void *data, size_t n)
{
	if (n == 0)
		return;
	if (t->fd >= 0)
		add_to_file(t, data, n);

	const uint8_t *p = data;
	if (n > t->tail.max) {
		p += n - t->tail.max;
		n = t->tail.max;
	}
	if (n > t->tail.max - t->tail.size)
		buffer_consume(&t->tail, n - (t->tail.max - t->tail.size));
	if (buffer_append(&t->tail, p, n) < 0)
		buffer_consume(&t->tail, t->tail.size); /* no memory: begin again with the next */
}

int transcript_read(struct transcript *t, int fd)
{
	char chunk[4096];
	ssize_t n;
	do {
		n = read(fd, chunk, sizeof(chunk));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	transcript_add(t, chunk, (size_t)n);
	return (int)n;
}

/* It goes to terminals and into JSON, and the guest chose it. */
static void make_printable(char *p, size_t n)
{
	for (; n > 0; n--, p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

bool transcript_find_line(const struct transcript *t, const char *text, char *ret, size_t size)
{
	ret[0] = 0;
	if (t->tail.size == 0)
		return false;
	const char *begin = (const char *)buffer_front(&t->tail), *end = begin + t->tail.size;
	const char *line = memmem(begin, t->tail.size, text, strlen(text));
	if (!line)
		return false;
	size_t n = 0;
	while (n < size - 1 && line + n < end && line[n] != '\n' && line[n] != '\r')
		n++;
	memcpy(ret, line, n);
	ret[n] = 0;
	make_printable(ret, n);
	return true;
}

/* The line that ends before *end, without blanks around it; moves *end to where it begins. */
static size_t previous_line(const char *text, size_t *end, const char **ret)
{
	size_t stop = *end, start;
	while (stop > 0 && (unsigned char)text[stop - 1] <= ' ')
		stop--;
	for (start = stop; start > 0 && text[start - 1] != '\n' && text[start - 1] != '\r'; start--)
		;
	*end = start;
	while (start < stop && (unsigned char)text[start] <= ' ')
		start++;
	*ret = text + start;
	return stop - start;
}

void transcript_last_lines(const struct transcript *t, char *ret, size_t size)
{
	const char *text = t->tail.size ? (const char *)buffer_front(&t->tail) : "", *line;
	size_t end = t->tail.size, used = 0, separator = strlen(SEPARATOR), n;

	/* From the last line backwards, at the end of ret; moved to its front when done. */
	size_t at = size - 1;
	while ((n = previous_line(text, &end, &line)) > 0) {
		size_t gap = used ? separator : 0;
		if (n + gap > at) {
			if (used == 0) { /* one line that is too long: its end says most */
				memcpy(ret, line + (n - at), at);
				used = at;
				at = 0;
			}
			break;
		}
		if (gap)
			memcpy(ret + (at -= gap), SEPARATOR, gap);
		memcpy(ret + (at -= n), line, n);
		used += n + gap;
	}
	memmove(ret, ret + at, used);
	ret[used] = 0;
	make_printable(ret, used);
}
