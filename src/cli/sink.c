/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/execute.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

/* At first; doubled until it is the limit. */
#define TAIL_MIN_BYTES (64u * 1024)

static bool fail(struct sink *sink, const char *text)
{
	cli_note(sink->command, "cannot write to %s: %s",
		 sink->fd == STDOUT_FILENO ? "stdout" : "stderr", text);
	sink->closed = sink->failed = true;
	return false;
}

static bool write_all(struct sink *sink, const uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t k = write(sink->fd, p, n);
		if (k >= 0) {
			p += k;
			n -= (size_t)k;
		} else if (errno == EAGAIN) { /* somebody made our end of a pipe nonblocking */
			struct pollfd wait = { .fd = sink->fd, .events = POLLOUT };
			poll(&wait, 1, -1);
		} else if (errno == EPIPE) { /* as usual in a pipeline: nothing to say */
			sink->closed = true;
			return false;
		} else if (errno != EINTR) {
			return fail(sink, error_errno_text(errno));
		}
	}
	return true;
}

/* Only before the ring is one: its bytes begin at 0. */
static bool tail_grow(struct sink *sink, size_t n)
{
	size_t capacity = MAX(sink->tail_capacity, (size_t)TAIL_MIN_BYTES);

	while (capacity < sink->limit && capacity - sink->tail_size < n)
		if (__builtin_mul_overflow(capacity, (size_t)2, &capacity))
			capacity = SIZE_MAX;
	capacity = (size_t)MIN((uint64_t)capacity, sink->limit);
	uint8_t *grown = realloc(sink->tail, capacity);
	if (!grown)
		return fail(sink, "out of memory for its tail");
	sink->tail = grown;
	sink->tail_capacity = capacity;
	return true;
}

static bool tail_put(struct sink *sink, const uint8_t *p, size_t n)
{
	if (n > sink->limit) {
		p += n - sink->limit;
		n = (size_t)sink->limit;
	}
	if (sink->tail_capacity < sink->limit && sink->tail_capacity - sink->tail_size < n &&
	    !tail_grow(sink, n))
		return false;

	size_t end = (sink->tail_start + sink->tail_size) % sink->tail_capacity;
	size_t first = MIN(n, sink->tail_capacity - end);
	memcpy(sink->tail + end, p, first);
	memcpy(sink->tail, p + first, n - first);
	sink->tail_size += n;
	if (sink->tail_size > sink->tail_capacity) {
		size_t gone = sink->tail_size - sink->tail_capacity;
		sink->tail_start = (sink->tail_start + gone) % sink->tail_capacity;
		sink->tail_size = sink->tail_capacity;
	}
	return true;
}

bool sink_put(struct sink *sink, const void *data, size_t n)
{
	if (sink->closed)
		return true; /* what was written before the command was told */
	switch (sink->policy) {
	case COVE_OUTPUT_HEAD:
		n = (size_t)MIN((uint64_t)n, sink->limit - sink->written);
		sink->written += n;
		return write_all(sink, data, n);
	case COVE_OUTPUT_TAIL:
		return tail_put(sink, data, n);
	case COVE_OUTPUT_KILL:
		break;
	}
	return write_all(sink, data, n);
}

void sink_end(struct sink *sink)
{
	if (!sink->closed && sink->tail_size) {
		size_t first = MIN(sink->tail_size, sink->tail_capacity - sink->tail_start);
		sink->written = sink->tail_size;
		if (write_all(sink, sink->tail + sink->tail_start, first))
			write_all(sink, sink->tail, sink->tail_size - first);
	}
	free(sink->tail);
	sink->tail = NULL;
	sink->tail_size = 0;
}
