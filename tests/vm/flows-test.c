/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A gigabyte each way, and both ways at once from one thread: every byte is compared, and the memory
 * of everybody on the way stays what it was.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "pattern.h"
#include "stream.h"
#include "vm.h"

#define FLOW_BYTES ((uint64_t)1 << 30)
#define SEED	   77u

/* How often who reads stops reading, and for how long. */
#define PAUSES	 5
#define PAUSE_MS 200

/*
 * What the peaks may be above those of before. A stream's windows are 1 MiB in either direction, its
 * ring 256 KiB, and everybody reads and writes through buffers of their own; a gigabyte that is held
 * up somewhere shows by hundreds of MiB.
 */
#define GROWTH_MAX_KIB (8 * 1024)

/* COVE_TEST_FLOW_BYTES makes it shorter, for machines without time. */
static uint64_t flow_bytes(void)
{
	const char *text = getenv("COVE_TEST_FLOW_BYTES");
	return text ? strtoull(text, NULL, 10) : FLOW_BYTES;
}

/* The reader that does something else meanwhile. */
static void pause_reading(void)
{
	struct timespec t = { 0, PAUSE_MS * 1000000 };
	nanosleep(&t, NULL);
}

struct flow {
	cove_sandbox *sandbox;
	struct peaks before;
	uint64_t start_ms;
	uint64_t n;
	char size[32];
};

static void begin(struct flow *f, const char *name)
{
	*f = (struct flow){ .sandbox = vm_create(name, "busybox", NULL), .n = flow_bytes() };
	snprintf(f->size, sizeof(f->size), "%llu", (unsigned long long)f->n);
	vm_put_helper(f->sandbox);
	/* Whatever is allocated once is, by then. */
	cove_output_free(vm_exec(f->sandbox, ARGV(VM_HELPER, "flow", "1", "4000000"), NULL));
	peaks_reset(f->sandbox);
	f->before = peaks_read(f->sandbox);
	f->start_ms = clock_monotonic_ms();
}

static void end(struct flow *f, const char *what)
{
	uint64_t ms = clock_monotonic_ms() - f->start_ms;
	struct peaks after = peaks_read(f->sandbox);
	tap_note("%s: %llu MiB in %llu ms, %llu MiB/s", what, (unsigned long long)f->n >> 20,
		 (unsigned long long)ms, (unsigned long long)((f->n >> 20) * 1000 / (ms + 1)));
	tap_note("%s: peaks in KiB: agent %lld → %lld, supervisor %lld → %lld, client %lld → %lld",
		 what, f->before.agent, after.agent, f->before.supervisor, after.supervisor,
		 f->before.client, after.client);
	CHECK_INT(after.agent - f->before.agent, <=, GROWTH_MAX_KIB);
	CHECK_INT(after.supervisor - f->before.supervisor, <=, GROWTH_MAX_KIB);
	CHECK_INT(after.client - f->before.client, <=, GROWTH_MAX_KIB);
	cove_sandbox_free(f->sandbox);
}

/* ---- out ---- */

static void test_out(void)
{
	struct flow f;
	begin(&f, "flow-out");
	char seed[32];
	snprintf(seed, sizeof(seed), "%u", SEED);
	cove_process *p = stream_exec(f.sandbox, ARGV(VM_HELPER, "flow", seed, f.size), NULL);

	struct cove_error err = COVE_ERROR_INIT;
	const struct cove_event *event;
	uint64_t done = 0, paused = 0;
	int code = -1;
	while (CHECK_COVE(cove_process_recv(p, &event, PATIENCE_MS, &err), &err) > 0) {
		if (event->kind == COVE_EVENT_EXITED) {
			CHECK_INT(event->exit.cause, ==, COVE_CAUSE_EXITED);
			CHECK_INT(event->stdout_total, ==, f.n);
			code = event->exit.code;
		}
		if (event->kind != COVE_EVENT_STDOUT)
			continue;
		CHECK_INT(code, ==, -1);
		CHECK_INT(event->offset, ==, done);
		CHECK_INT(flow_check(event->data, event->bytes, SEED, done), ==, event->bytes);
		done += event->bytes;
		if (paused < PAUSES && done >= f.n / (PAUSES + 1) * (paused + 1)) {
			pause_reading();
			paused++;
		}
	}
	CHECK_INT(done, ==, f.n);
	CHECK_INT(code, ==, 0);
	CHECK_INT(paused, ==, PAUSES);
	cove_process_free(p);
	end(&f, "out");
}

/* ---- in ---- */

static void test_in(void)
{
	struct flow f;
	begin(&f, "flow-in");
	char seed[32], pauses[32], ms[32];
	snprintf(seed, sizeof(seed), "%u", SEED);
	snprintf(pauses, sizeof(pauses), "%u", PAUSES);
	snprintf(ms, sizeof(ms), "%u", PAUSE_MS);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.stdin_mode = COVE_STDIN_PIPE;
	cove_process *p = stream_exec(f.sandbox, ARGV(VM_HELPER, "drain", seed, f.size, pauses, ms),
				      &options);

	struct cove_error err = COVE_ERROR_INIT;
	static char block[1 << 18];
	cove_stdin *in = cove_process_take_stdin(p);
	for (uint64_t done = 0; done < f.n;) {
		size_t part = (size_t)MIN((uint64_t)sizeof(block), f.n - done);
		flow_fill(block, part, SEED, done);
		CHECK_COVE(cove_stdin_write(in, block, part, &err), &err);
		done += part;
	}
	cove_stdin_free(in);
	stream_expect(p, NULL, COVE_CAUSE_EXITED, 0, "right\n", "");
	end(&f, "in");
}

/* ---- both ways, from one thread ---- */

struct duplex {
	cove_process *process;
	cove_stdin *in;
	uint64_t n, written, read;
	bool over;
};

/* Writes what it takes; false when it takes no more for now. */
static bool write_some(struct duplex *d)
{
	static char block[1 << 16];
	static uint64_t filled_for = UINT64_MAX;
	struct cove_error err = COVE_ERROR_INIT;
	size_t part = (size_t)MIN((uint64_t)sizeof(block), d->n - d->written), taken = 0;
	if (part == 0) {
		d->in = cove_stdin_free(d->in); /* the end */
		return false;
	}
	if (filled_for != d->written)
		flow_fill(block, part, SEED, d->written);
	filled_for = d->written;
	int r = cove_stdin_try_write(d->in, block, part, &taken, &err);
	if (r != COVE_E_AGAIN)
		CHECK_COVE(r, &err);
	d->written += taken;
	return r == 0;
}

static void read_all(struct duplex *d)
{
	struct cove_error err = COVE_ERROR_INIT;
	const struct cove_event *event;
	int r;
	while ((r = cove_process_try_recv(d->process, &event, &err)) > 0) {
		if (event->kind == COVE_EVENT_STDOUT) {
			CHECK_INT(event->offset, ==, d->read);
			CHECK_INT(flow_check(event->data, event->bytes, SEED, d->read), ==,
				  event->bytes);
			d->read += event->bytes;
		} else if (event->kind != COVE_EVENT_STARTED) {
			CHECK_STR(cove_event_name(event->kind), "exited");
			CHECK_INT(event->exit.code, ==, 0);
			d->over = true;
		}
	}
	if (r != COVE_E_AGAIN)
		CHECK_COVE(r, &err);
}

static void test_both(void)
{
	struct flow f;
	begin(&f, "flow-both");
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.stdin_mode = COVE_STDIN_PIPE;
	options.flags = COVE_EXEC_NONBLOCK;
	struct duplex d = { .n = f.n };
	d.process = stream_exec(f.sandbox, ARGV("cat"), &options);
	d.in = cove_process_take_stdin(d.process);
	CHECK(d.in != NULL);
	while (!d.over) {
		while (d.in && write_some(&d))
			;
		cove_process *ready;
		stream_turn(f.sandbox, &ready, 1);
		read_all(&d);
	}
	CHECK_INT(d.written, ==, f.n);
	CHECK_INT(d.read, ==, f.n);
	cove_process_free(d.process);
	end(&f, "both ways");
}

static const struct tap_test tests[] = {
	{ "1 GiB out to a reader that pauses", test_out, .timeout_s = 600 },
	{ "1 GiB in to a child that pauses", test_in, .timeout_s = 600 },
	{ "1 GiB both ways from one thread", test_both, .timeout_s = 600 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
