/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A thousand sessions at once over one connection, without a thread: every other on a terminal, each
 * with its own words and its own exit code.
 */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "stream.h"
#include "vm.h"

#define SESSIONS 1000

/* What the agent may have per idle session: pipes or a terminal, a ring for each output, a stream. */
#define IDLE_SESSION_MAX_BYTES (32 * 1024)

struct talk {
	cove_process *process;
	cove_stdin *in;
	char id[65];
	char heard[256];
	size_t n_heard;
	bool started, ended;
};

static struct talk talks[SESSIONS];

static bool on_terminal(size_t i)
{
	return i % 2 == 1;
}

static const char *line_end(size_t i)
{
	return on_terminal(i) ? "\r\n" : "\n";
}

/* False: too much is on its way; after a turn of the loop. */
static bool start_one(cove_sandbox *sandbox, size_t i)
{
	char name[32], code[32];
	snprintf(name, sizeof(name), "talk-%zu", i);
	snprintf(code, sizeof(code), "%zu", i % 200);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.stdin_mode = COVE_STDIN_PIPE;
	options.tty = on_terminal(i);
	options.flags = COVE_EXEC_NONBLOCK;
	options.user_data = &talks[i];

	struct cove_error err = COVE_ERROR_INIT;
	struct talk *t = &talks[i];
	int r = cove_exec_stream(sandbox, ARGV(VM_HELPER, "talk", name, code), &options,
				 &t->process, &err);
	if (r == COVE_E_AGAIN)
		return false;
	CHECK_COVE(r, &err);
	t->in = cove_process_take_stdin(t->process);
	CHECK(t->in != NULL);
	return true;
}

/* What session i has said when it has introduced itself, and when it has had its answer. */
static size_t introduction(size_t i, char ret[static 256])
{
	return (size_t)snprintf(ret, 256, "this is talk-%zu%s", i, line_end(i));
}

static size_t whole_talk(size_t i, char ret[static 256])
{
	size_t n = introduction(i, ret);
	if (on_terminal(i)) /* the terminal's own echo */
		n += (size_t)snprintf(ret + n, 256 - n, "word %zu\r\n", i * 7919);
	return n + (size_t)snprintf(ret + n, 256 - n, "talk-%zu heard word %zu%s", i, i * 7919,
				    line_end(i));
}

static void hear(struct talk *t, const struct cove_event *event)
{
	size_t i = (size_t)(t - talks);
	char whole[256];
	switch (event->kind) {
	case COVE_EVENT_STARTED:
		CHECK(!t->started);
		t->started = true;
		snprintf(t->id, sizeof(t->id), "%s", event->id);
		return;
	case COVE_EVENT_STDOUT:
		CHECK(t->started && !t->ended);
		CHECK_INT(event->bytes, <=, sizeof(t->heard) - t->n_heard);
		memcpy(t->heard + t->n_heard, event->data, event->bytes);
		t->n_heard += event->bytes;
		return;
	case COVE_EVENT_EXITED:
		CHECK(!t->ended);
		t->ended = true;
		CHECK_STR(event->id, t->id);
		CHECK_INT(event->exit.cause, ==, COVE_CAUSE_EXITED);
		CHECK_INT(event->exit.code, ==, i % 200);
		CHECK_MEM(t->heard, t->n_heard, whole, whole_talk(i, whole));
		return;
	default:
		tap_fail(__FILE__, __LINE__, "session %zu: %s: %s", i, cove_event_name(event->kind),
			 event->error ? event->error->message : "");
	}
}

static void turn(cove_sandbox *sandbox)
{
	cove_process *ready[16];
	size_t n = stream_turn(sandbox, ready, ARRAY_SIZE(ready));
	for (size_t i = 0; i < n; i++) {
		struct talk *t = cove_process_user_data(ready[i]);
		struct cove_error err = COVE_ERROR_INIT;
		const struct cove_event *event;
		int r;
		CHECK(t->process == ready[i]);
		while ((r = cove_process_try_recv(t->process, &event, &err)) > 0)
			hear(t, event);
		CHECK_INT(r, ==, t->ended ? 0 : COVE_E_AGAIN);
	}
}

static size_t count_introduced(void)
{
	size_t n = 0;
	char text[256];
	for (size_t i = 0; i < SESSIONS; i++)
		n += talks[i].process && talks[i].n_heard == introduction(i, text);
	return n;
}

static size_t count_ended(void)
{
	size_t n = 0;
	for (size_t i = 0; i < SESSIONS; i++)
		n += talks[i].ended;
	return n;
}

static int compare_ids(const void *a, const void *b)
{
	return strcmp(((const struct talk *)a)->id, ((const struct talk *)b)->id);
}

static void check_ids_differ(size_t n)
{
	qsort(talks, n, sizeof(*talks), compare_ids);
	for (size_t i = 1; i < n; i++)
		CHECK(strcmp(talks[i - 1].id, talks[i].id) != 0);
}

struct levels {
	long long agent_fds, agent_kib, processes, supervisor_fds, own_fds;
};

static struct levels measure(cove_sandbox *sandbox, int supervisor)
{
	return (struct levels){
		.agent_fds = vm_number(sandbox, "ls /proc/1/fd | wc -l"),
		.agent_kib = vm_agent_kib(sandbox),
		.processes = vm_number(sandbox, "cat /sys/fs/cgroup/cove/pids.current"),
		.supervisor_fds = vm_open_fds(supervisor),
		.own_fds = vm_open_fds(getpid()),
	};
}

/* All wait for their line: what does one cost? */
static void check_idle(cove_sandbox *sandbox, int supervisor, const struct levels *before)
{
	struct levels idle = measure(sandbox, supervisor);
	long long each = (idle.agent_kib - before->agent_kib) * 1024 / SESSIONS;
	tap_note("per idle session: %lld bytes of the agent, %lld descriptors", each,
		 (idle.agent_fds - before->agent_fds) / SESSIONS);
	CHECK_INT(idle.processes - before->processes, ==, SESSIONS);
	CHECK_INT(each, <=, IDLE_SESSION_MAX_BYTES);
	CHECK_INT(idle.own_fds, ==, before->own_fds);
	CHECK_INT(idle.supervisor_fds, ==, before->supervisor_fds);
}

/* So many at once, from the first word to the last. */
static void talk_all(cove_sandbox *sandbox, size_t n, const struct levels *before, int supervisor)
{
	struct cove_error err = COVE_ERROR_INIT;
	uint64_t start = clock_monotonic_ms();
	for (size_t i = 0; i < n; i++)
		while (!start_one(sandbox, i))
			turn(sandbox);
	while (count_introduced() < n)
		turn(sandbox);
	tap_note("%zu sessions there after %llu ms", n,
		 (unsigned long long)(clock_monotonic_ms() - start));
	if (before)
		check_idle(sandbox, supervisor, before);

	start = clock_monotonic_ms();
	for (size_t i = n; i-- > 0;) { /* the last one first */
		char line[64];
		size_t size = (size_t)snprintf(line, sizeof(line), "word %zu\n", i * 7919), taken;
		CHECK_COVE(cove_stdin_try_write(talks[i].in, line, size, &taken, &err), &err);
		CHECK_INT(taken, ==, size);
	}
	while (count_ended() < n)
		turn(sandbox);
	tap_note("all of them answered and ended in %llu ms",
		 (unsigned long long)(clock_monotonic_ms() - start));
	for (size_t i = 0; i < n; i++) {
		cove_stdin_free(talks[i].in);
		cove_process_free(talks[i].process);
	}
	check_ids_differ(n);
	memset(talks, 0, sizeof(talks));
}

static void test_thousand(void)
{
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	options.memory_bytes = (uint64_t)1536 << 20;
	cove_sandbox *sandbox = vm_create("thousand", "busybox", &options);
	vm_put_helper(sandbox);
	struct cove_sandbox_info *info = vm_info("thousand");
	int supervisor = info->supervisor_pid;
	cove_sandbox_info_free(info);

	/* Enough for what the agent and the library keep for the next ones to be there. */
	talk_all(sandbox, 40, NULL, supervisor);
	struct levels before = measure(sandbox, supervisor), after;
	talk_all(sandbox, SESSIONS, &before, supervisor);

	/* Who has ended is told before what it had is cleared away. */
	CHECK_WITHIN((after = measure(sandbox, supervisor)).agent_fds <= before.agent_fds, 5000);
	CHECK_INT(after.processes, ==, before.processes);
	CHECK_INT(after.supervisor_fds, ==, before.supervisor_fds);
	CHECK_INT(after.own_fds, ==, before.own_fds);
	tap_note("the agent's memory: %lld KiB before, %lld KiB after", before.agent_kib,
		 after.agent_kib);
	cove_sandbox_free(sandbox);
}

static const struct tap_test tests[] = {
	{ "a thousand sessions", test_thousand, .timeout_s = 240 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
