/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Sessions that others come back to, in real machines: exactly the same bytes from any offset, ids
 * that two processes start at the same moment, results that are collected once, and ten thousand
 * visits that leave nothing. Processes of their own stand for clients that come and go.
 */

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "rounds.h"
#include "stream.h"
#include "vm.h"

static cove_sandbox *connect_to(const char *name)
{
	cove_sandbox *sandbox;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_sandbox_connect(name, &sandbox, &err), &err);
	return sandbox;
}

static void wait_for_child(pid_t pid)
{
	int status;
	CHECK_SYS(waitpid(pid, &status, 0));
	CHECK(WIFEXITED(status));
	CHECK_INT(WEXITSTATUS(status), ==, 0);
}

/* ---- numbered lines ---- */

/* Prints as many lines as the number says that is written to it; at the word "end", ends. */
#define LINE_BYTES 13
static const char lines_script[] = "exec awk '$1 == \"end\" { exit 7 } { for (k = 0; k < $1; k++)"
				   " printf \"line %07d\\n\", ++n; fflush() }'";

#define LINES_KEPT (64u * 1024)

/* Byte-exact: of these lines from the offset on, which need not be the beginning of one. */
static void check_lines(const struct seen *seen, uint64_t offset, size_t bytes)
{
	CHECK_INT(seen->out.size, ==, bytes);
	const uint8_t *p = buffer_front(&seen->out);
	char line[32] = "";
	uint64_t made = 0;
	for (size_t i = 0; i < bytes; i++) {
		uint64_t n = (offset + i) / LINE_BYTES + 1;
		if (n != made) {
			snprintf(line, sizeof(line), "line %07llu\n", (unsigned long long)n);
			made = n;
		}
		if (p[i] != (uint8_t)line[(offset + i) % LINE_BYTES])
			tap_fail(__FILE__, __LINE__, "byte %llu is wrong, in line %llu",
				 (unsigned long long)(offset + i), (unsigned long long)n);
	}
}

static void receive_bytes(struct seen *seen, cove_process *process, size_t n)
{
	while (seen->out.size < n) {
		CHECK(seen_next(seen, process));
		CHECK(!seen->over);
	}
}

static void print_lines(cove_process *process, unsigned n)
{
	char text[32];
	cove_stdin *in = cove_process_take_stdin(process);
	struct cove_error err = COVE_ERROR_INIT;
	snprintf(text, sizeof(text), "%u\n", n);
	stream_type(in, text);
	CHECK_COVE(cove_stdin_flush(in, PATIENCE_MS, &err), &err);
	cove_stdin_free(in);
}

static cove_process *open_lines(cove_sandbox *sandbox, enum cove_open_from from, uint64_t offset)
{
	struct cove_open_options options = COVE_OPEN_OPTIONS_INIT;
	options.from = from;
	options.stdout_offset = from == COVE_FROM_OFFSET ? offset : 0;
	options.keep_stdin_open = true;
	return stream_open(sandbox, "lines", &options);
}

/* A visit: connects, looks from there on, has more lines printed, sees them all, goes. */
static void visit_lines(enum cove_open_from from, uint64_t offset, unsigned more, uint64_t total)
{
	cove_sandbox *sandbox = connect_to("lines");
	cove_process *p = open_lines(sandbox, from, offset);
	struct seen seen = { 0 };
	CHECK(seen_next(&seen, p));
	if (more)
		print_lines(p, more);
	receive_bytes(&seen, p, total - offset);
	CHECK_INT(seen.n[COVE_EVENT_GAP], ==, 0);
	check_lines(&seen, offset, total - offset);
	seen_done(&seen);
	cove_process_free(p);
	cove_sandbox_free(sandbox);
}

static void visit_from_another_process(enum cove_open_from from, uint64_t offset, unsigned more,
				       uint64_t total)
{
	pid_t pid = fork();
	CHECK_SYS(pid);
	if (pid == 0) {
		visit_lines(from, offset, more, total);
		_exit(0);
	}
	wait_for_child(pid);
}

/* What is not kept any more is one gap of exactly its size. */
static void visit_with_gap(enum cove_open_from from, uint64_t offset, uint64_t total)
{
	cove_sandbox *sandbox = connect_to("lines");
	cove_process *p = open_lines(sandbox, from, offset);
	struct seen seen = { 0 };
	while (seen.missing + seen.out.size < total - offset)
		CHECK(seen_next(&seen, p));
	CHECK_INT(seen.n[COVE_EVENT_GAP], ==, 1);
	CHECK_INT(seen.out.size, >=, LINES_KEPT);
	CHECK_INT(seen.missing, ==, total - offset - seen.out.size);
	check_lines(&seen, offset + seen.missing, total - offset - seen.missing);
	seen_done(&seen);
	cove_process_free(p);
	cove_sandbox_free(sandbox);
}

static void test_lines(void)
{
	cove_sandbox *sandbox = vm_create("lines", "busybox", NULL);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.id = "lines";
	options.stdin_mode = COVE_STDIN_PIPE;
	options.keep_stdin_open = true;
	options.replay_bytes = LINES_KEPT;
	cove_process *p = stream_shell(sandbox, lines_script, &options);
	struct seen seen = { 0 };
	CHECK(seen_next(&seen, p));
	print_lines(p, 1000);
	receive_bytes(&seen, p, 1000 * LINE_BYTES);
	check_lines(&seen, 0, 1000 * LINE_BYTES);
	seen_done(&seen);
	cove_process_free(p);

	/* The next ones, in processes of their own: from an offset, from the start, from now. */
	uint64_t total = 2000 * LINE_BYTES;
	visit_from_another_process(COVE_FROM_OFFSET, 500 * LINE_BYTES + 5, 1000, total);
	visit_from_another_process(COVE_FROM_OFFSET, total, 0, total);
	visit_from_another_process(COVE_FROM_START, 0, 0, total);
	visit_lines(COVE_FROM_NOW, total, 100, total + 100 * LINE_BYTES);
	total += 100 * LINE_BYTES;
	visit_lines(COVE_FROM_OFFSET, total - 1, 3, total + 3 * LINE_BYTES);
	total += 3 * LINE_BYTES;

	/* Nobody is there while most of it is printed. */
	p = open_lines(sandbox, COVE_FROM_NOW, 0);
	print_lines(p, 30000);
	cove_process_free(p);
	total += 30000 * LINE_BYTES;
	struct cove_open_options until = COVE_OPEN_OPTIONS_INIT;
	until.keep_stdin_open = true;
	p = stream_open(sandbox, "lines", &until);
	char last[32];
	snprintf(last, sizeof(last), "line %07llu\n", (unsigned long long)(total / LINE_BYTES));
	seen_until(&seen, p, last);
	seen_done(&seen);
	cove_process_free(p);
	visit_with_gap(COVE_FROM_START, 0, total);
	visit_with_gap(COVE_FROM_OFFSET, 777, total);
	visit_lines(COVE_FROM_OFFSET, total - LINES_KEPT, 0, total);

	/* It ends; and the same from the past. */
	p = open_lines(sandbox, COVE_FROM_NOW, 0);
	cove_stdin *in = cove_process_take_stdin(p);
	stream_type(in, "end\n");
	cove_stdin_free(in);
	stream_expect(p, NULL, COVE_CAUSE_EXITED, 7, "", "");
	visit_with_gap(COVE_FROM_START, 0, total);
	p = open_lines(sandbox, COVE_FROM_OFFSET, total - 1000);
	seen_to_end(&seen, p);
	check_lines(&seen, total - 1000, 1000);
	CHECK_INT(seen.exit.code, ==, 7);
	seen_done(&seen);
	cove_process_free(p);
	p = open_lines(sandbox, COVE_FROM_NOW, 0);
	stream_expect(p, NULL, COVE_CAUSE_EXITED, 7, "", "");
	cove_sandbox_free(sandbox);
}

/* Two viewers, one of them stalled and lossy: one gap for it, nothing for the other. */
static void test_two_viewers(void)
{
	cove_sandbox *sandbox = vm_create("lines", "busybox", NULL);
	cove_sandbox *other = connect_to("lines");
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.id = "lines";
	options.stdin_mode = COVE_STDIN_PIPE;
	options.keep_stdin_open = true;
	options.replay_bytes = LINES_KEPT;
	cove_process *p = stream_shell(sandbox, lines_script, &options);
	struct seen seen = { 0 }, lost = { 0 };
	CHECK(seen_next(&seen, p));
	struct cove_open_options open = COVE_OPEN_OPTIONS_INIT;
	open.lossy = true;
	open.read_only = true;
	cove_process *stalled = stream_open(other, "lines", &open);
	CHECK(seen_next(&lost, stalled));

	/* Far more than a window and what is kept. */
	const uint64_t total = 120000 * (uint64_t)LINE_BYTES;
	print_lines(p, 120000);
	receive_bytes(&seen, p, total);
	check_lines(&seen, 0, total);
	while (lost.out.size + lost.missing < total)
		CHECK(seen_next(&lost, stalled));
	tap_note("stalled: %zu bytes and %u gap of %llu", lost.out.size, lost.n[COVE_EVENT_GAP],
		 (unsigned long long)lost.missing);
	CHECK_INT(lost.n[COVE_EVENT_GAP], ==, 1);
	CHECK_INT(lost.out.size + lost.missing, ==, total);
	seen_done(&lost);

	/* Stalled and lossless: the command waits for it, until it goes; or is killed. */
	cove_process *lossless = open_lines(other, COVE_FROM_NOW, 0);
	CHECK(seen_next(&lost, lossless));
	cove_process *more = open_lines(sandbox, COVE_FROM_NOW, 0);
	print_lines(more, 120000);
	cove_process_free(more);
	buffer_done(&seen.out); /* the rest of seen goes on */
	receive_bytes(&seen, p, 10 * LINE_BYTES);
	cove_process_free(lossless);
	receive_bytes(&seen, p, total);
	check_lines(&seen, total, total);
	seen_done(&lost);

	lossless = open_lines(other, COVE_FROM_NOW, 0);
	CHECK(seen_next(&lost, lossless));
	more = open_lines(sandbox, COVE_FROM_NOW, 0);
	print_lines(more, 1200000);
	struct cove_error err = COVE_ERROR_INIT;
	uint64_t start = clock_monotonic_ms();
	CHECK_COVE(cove_process_kill(more, &err), &err);
	CHECK_INT(clock_monotonic_ms() - start, <, 3000);
	cove_process_free(more);
	struct cove_exit ended;
	CHECK_COVE(cove_process_wait(p, PATIENCE_MS, &ended, &err), &err);
	CHECK_INT(ended.cause, ==, COVE_CAUSE_KILLED);
	seen_done(&seen);
	seen_done(&lost);
	cove_process_free(p);
	cove_process_free(lossless);
	cove_process_free(stalled);
	cove_sandbox_free(other);
	cove_sandbox_free(sandbox);
}

/* ---- ten thousand visits ---- */

struct sizes {
	long long client_fds, supervisor_fds, agent_fds, viewers;
	struct peaks peaks;
	long long agent_kib;
};

static struct sizes take_sizes(cove_sandbox *sandbox)
{
	struct cove_sandbox_info *info = vm_info(cove_sandbox_name(sandbox));
	struct cove_session_info **list;
	size_t n;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_session_list(sandbox, &list, &n, &err), &err);
	CHECK_STR(list[0]->id, "visited");
	struct sizes s = {
		.client_fds = vm_open_fds(getpid()),
		.supervisor_fds = vm_open_fds(info->supervisor_pid),
		.agent_fds = vm_number(sandbox, "ls /proc/1/fd | wc -l"),
		.viewers = list[0]->viewers,
		.agent_kib = vm_agent_kib(sandbox),
		.peaks = peaks_read(sandbox),
	};
	cove_session_list_free(list, n);
	cove_sandbox_info_free(info);
	return s;
}

/* What a process may grow by over all rounds: a leak of ten bytes in each would be more. */
#define GROWTH_KIB 96

static void check_flat(const struct sizes *a, const struct sizes *b)
{
	tap_note("descriptors: client %lld, %lld; supervisor %lld, %lld; agent %lld, %lld",
		 a->client_fds, b->client_fds, a->supervisor_fds, b->supervisor_fds, a->agent_fds,
		 b->agent_fds);
	tap_note("peaks in KiB: client %lld, %lld; supervisor %lld, %lld; agent %lld, %lld"
		 " (now %lld, %lld)",
		 a->peaks.client, b->peaks.client, a->peaks.supervisor, b->peaks.supervisor,
		 a->peaks.agent, b->peaks.agent, a->agent_kib, b->agent_kib);
	CHECK_INT(b->client_fds, ==, a->client_fds);
	CHECK_INT(b->supervisor_fds, ==, a->supervisor_fds);
	CHECK_INT(b->agent_fds, ==, a->agent_fds);
	CHECK_INT(b->viewers, ==, a->viewers);
	CHECK_INT(b->peaks.client - a->peaks.client, <=, GROWTH_KIB);
	CHECK_INT(b->peaks.supervisor - a->peaks.supervisor, <=, GROWTH_KIB);
	CHECK_INT(b->agent_kib - a->agent_kib, <=, GROWTH_KIB);
}

/* Of some, the connection is new as well; some see output first, some leave before they are let in. */
static void visit(cove_sandbox *sandbox, size_t round)
{
	struct cove_open_options options = COVE_OPEN_OPTIONS_INIT;
	cove_sandbox *own = round % 16 == 0 ? connect_to(cove_sandbox_name(sandbox)) : NULL;
	options.lossy = round % 4 == 1;
	options.read_only = round % 4 == 2;
	options.keep_stdin_open = !options.read_only;
	cove_process *p = stream_open(own ? own : sandbox, "visited", &options);
	struct seen seen = { 0 };
	if (round % 4 != 3)
		seen_until(&seen, p, "here\n");
	seen_done(&seen);
	cove_process_free(p);
	cove_sandbox_free(own);
}

static void test_visits(void)
{
	cove_sandbox *sandbox = vm_create("visits", "busybox", NULL);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.id = "visited";
	options.stdin_mode = COVE_STDIN_PIPE;
	options.keep_stdin_open = true;
	cove_process *p = stream_shell(sandbox, "echo here; exec cat", &options);
	struct seen seen = { 0 };
	seen_until(&seen, p, "here\n");
	cove_process_free(p);
	seen_done(&seen);

	for (size_t i = 0; i < 500; i++)
		visit(sandbox, i);
	peaks_reset(sandbox);
	struct sizes before = take_sizes(sandbox);
	size_t rounds = rounds_or(10000);
	uint64_t start = clock_monotonic_ms();
	for (size_t i = 0; i < rounds; i++)
		visit(sandbox, i);
	tap_note("%zu visits in %llu ms", rounds,
		 (unsigned long long)(clock_monotonic_ms() - start));
	struct sizes after = take_sizes(sandbox);
	check_flat(&before, &after);

	/* It has noticed nothing. */
	p = stream_open(sandbox, "visited", NULL);
	cove_stdin *in = cove_process_take_stdin(p);
	stream_type(in, "still\n");
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_stdin_close(in, &err), &err);
	cove_stdin_free(in);
	stream_expect(p, NULL, COVE_CAUSE_EXITED, 0, "here\nstill\n", "");
	cove_sandbox_free(sandbox);
}

/* ---- the first bytes ---- */

/* Printed at once, and over at once: seen by who started it and by who comes later. */
static void test_first_bytes(void)
{
	cove_sandbox *sandbox = vm_create("first", "busybox", NULL);
	size_t rounds = rounds_or(250);
	uint64_t start = clock_monotonic_ms();
	for (size_t i = 0; i < rounds; i++) {
		struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
		char id[32], text[32];
		snprintf(id, sizeof(id), "first-%zu", i);
		snprintf(text, sizeof(text), "%zu", i);
		options.id = id;
		options.tty = i % 2;
		cove_process *p = stream_exec(sandbox, ARGV("printf", text), &options);
		/* A later one, or one at the same moment, before the first has looked. */
		cove_process *q = i % 4 < 2 ? stream_open(sandbox, id, NULL) : NULL;
		stream_expect(p, NULL, COVE_CAUSE_EXITED, 0, text, "");
		if (!q)
			q = stream_open(sandbox, id, NULL);
		stream_expect(q, NULL, COVE_CAUSE_EXITED, 0, text, "");
	}
	tap_note("%zu rounds in %llu ms", rounds,
		 (unsigned long long)(clock_monotonic_ms() - start));
	cove_sandbox_free(sandbox);
}

/* ---- one id, two processes ---- */

struct race {
	atomic_size_t arrived[2]; /* rounds that each has come to */
	char said[2][64];
};

static void meet(struct race *race, size_t me, size_t round)
{
	atomic_store(&race->arrived[me], round);
	/* No CHECK_WITHIN: it looks every few milliseconds, which is not the same moment. */
	uint64_t end = clock_monotonic_ms() + PATIENCE_MS;
	while (atomic_load(&race->arrived[1 - me]) < round)
		CHECK(clock_monotonic_ms() < end);
}

static void race_for_ids(struct race *race, size_t me, size_t rounds)
{
	cove_sandbox *sandbox = connect_to("race");
	for (size_t i = 1; i <= rounds; i++) {
		struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
		char id[32];
		snprintf(id, sizeof(id), "race-%zu", i);
		options.id = id;
		meet(race, me, 3 * i);
		cove_output *out =
			vm_shell(sandbox, "echo run >>/tmp/runs; echo $$ here; exit 5", &options);
		CHECK_INT(out->exit.code, ==, 5);
		CHECK_STR(out->id, id);
		snprintf(race->said[me], sizeof(race->said[me]), "%s", out->stdout_data);
		cove_output_free(out);
		meet(race, me, 3 * i + 1);
		CHECK_CONTAINS(race->said[me], " here\n");
		CHECK_STR(race->said[me], race->said[1 - me]);
		meet(race, me, 3 * i + 2);
	}
	cove_sandbox_free(sandbox);
}

static void test_same_id(void)
{
	cove_sandbox *sandbox = vm_create("race", "busybox", NULL);
	struct race *race = mmap(NULL, sizeof(*race), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(race != MAP_FAILED);
	size_t rounds = rounds_or(200);
	uint64_t start = clock_monotonic_ms();
	pid_t pids[2];
	for (size_t i = 0; i < 2; i++) {
		pids[i] = (pid_t)CHECK_SYS(fork());
		if (pids[i] == 0) {
			race_for_ids(race, i, rounds);
			_exit(0);
		}
	}
	wait_for_child(pids[0]);
	wait_for_child(pids[1]);
	CHECK_INT(vm_number(sandbox, "wc -l </tmp/runs"), ==, rounds);
	tap_note("%zu races in %llu ms", rounds,
		 (unsigned long long)(clock_monotonic_ms() - start));
	munmap(race, sizeof(*race));
	cove_sandbox_free(sandbox);
}

/* ---- results ---- */

static enum cove_error_code open_fails(cove_sandbox *sandbox, const char *id)
{
	struct seen seen = { 0 };
	cove_process *p = stream_open(sandbox, id, NULL);
	seen_to_end(&seen, p);
	CHECK_INT(seen.n[COVE_EVENT_FAILED], ==, 1);
	enum cove_error_code code = (enum cove_error_code)seen.error.code;
	CHECK_CONTAINS(seen.error.message, id);
	seen_done(&seen);
	cove_process_free(p);
	return code;
}

/* Waited for, looked at, collected by another process; then gone, which is not never there. */
static void test_results(void)
{
	cove_sandbox *sandbox = vm_create("results", "busybox", NULL);
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	struct cove_exit ended;
	options.id = "job";
	cove_process_free(stream_shell(
		sandbox,
		"until [ -e /tmp/go ]; do usleep 5000; done; echo done; echo e >&2; exit 4",
		&options));
	CHECK_INT(cove_session_wait(sandbox, "job", 0, &ended, &err), ==, COVE_E_TIMEOUT);
	cove_output_free(vm_shell(sandbox, "touch /tmp/go", NULL));
	CHECK_COVE(cove_session_wait(sandbox, "job", PATIENCE_MS, &ended, &err), &err);
	CHECK_INT(ended.code, ==, 4);

	pid_t pid = (pid_t)CHECK_SYS(fork());
	if (pid == 0) {
		cove_sandbox *own = connect_to("results");
		cove_output *out;
		CHECK_COVE(cove_session_collect(own, "job", &out, &err), &err);
		CHECK_STR(out->stdout_data, "done\n");
		CHECK_STR(out->stderr_data, "e\n");
		CHECK_INT(out->exit.code, ==, 4);
		CHECK(!out->limited);
		cove_output_free(out);
		cove_sandbox_free(own);
		_exit(0);
	}
	wait_for_child(pid);

	CHECK_INT(open_fails(sandbox, "job"), ==, COVE_E_GONE);
	CHECK_INT(open_fails(sandbox, "never"), ==, COVE_E_NOT_FOUND);
	CHECK_INT(cove_session_wait(sandbox, "job", 0, NULL, &err), ==, COVE_E_GONE);
	CHECK_INT(cove_session_wait(sandbox, "never", 0, NULL, &err), ==, COVE_E_NOT_FOUND);
	CHECK_INT(cove_session_collect(sandbox, "job", NULL, &err), ==, COVE_E_GONE);
	CHECK_INT(cove_session_collect(sandbox, "never", NULL, &err), ==, COVE_E_NOT_FOUND);
	cove_output *out = NULL;
	CHECK_INT(cove_shell(sandbox, "touch /tmp/again", &options, &out, &err), ==, COVE_E_GONE);
	CHECK(out == NULL);
	CHECK_INT(vm_number(sandbox, "[ -e /tmp/again ]; echo $?"), ==, 1);

	struct cove_session_info **list;
	size_t n, found = 0;
	CHECK_COVE(cove_session_list(sandbox, &list, &n, &err), &err);
	for (size_t i = 0; i < n; i++)
		if (!strcmp(list[i]->id, "job")) {
			CHECK_INT(list[i]->state, ==, COVE_SESSION_COLLECTED);
			found++;
		}
	CHECK_INT(found, ==, 1);
	cove_session_list_free(list, n);
	cove_sandbox_free(sandbox);
}

/* ---- clients that go ---- */

/* Stdin that is kept open is written by one process after the other, killed ones included. */
static void test_kept_stdin(void)
{
	cove_sandbox *sandbox = vm_create("kept", "busybox", NULL);
	struct cove_error err = COVE_ERROR_INIT;
	for (int i = 0; i < 3; i++) {
		pid_t pid = (pid_t)CHECK_SYS(fork());
		if (pid > 0) {
			int status;
			CHECK_SYS(waitpid(pid, &status, 0));
			CHECK(WIFSIGNALED(status));
			continue;
		}
		cove_sandbox *own = connect_to("kept");
		struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
		struct cove_open_options open = COVE_OPEN_OPTIONS_INIT;
		options.id = "cat";
		options.stdin_mode = COVE_STDIN_PIPE;
		options.keep_stdin_open = open.keep_stdin_open = true;
		cove_process *p = i == 0 ? stream_exec(own, ARGV("cat"), &options)
					 : stream_open(own, "cat", &open);
		cove_stdin *in = cove_process_take_stdin(p);
		char line[32];
		snprintf(line, sizeof(line), "from %d\n", i);
		stream_type(in, line);
		if (i == 1)
			cove_stdin_free(in);
		struct seen seen = { 0 };
		seen_until(&seen, p, line);
		raise(SIGKILL);
	}
	cove_process *p = stream_open(sandbox, "cat", NULL);
	cove_stdin *in = cove_process_take_stdin(p);
	CHECK_COVE(cove_stdin_close(in, &err), &err);
	cove_stdin_free(in);
	stream_expect(p, NULL, COVE_CAUSE_EXITED, 0, "from 0\nfrom 1\nfrom 2\n", "");
	cove_sandbox_free(sandbox);
}

/* With kill_on_disconnect, the last of the starters takes it along; others do not count. */
static void test_kill_on_disconnect(void)
{
	cove_sandbox *sandbox = vm_create("along", "busybox", NULL);
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	options.id = "along";
	options.kill_on_disconnect = true;
	int fds[2];
	CHECK_SYS(pipe2(fds, O_CLOEXEC));
	pid_t pid = (pid_t)CHECK_SYS(fork());
	if (pid == 0) {
		cove_sandbox *own = connect_to("along");
		cove_process *p = stream_shell(own, "echo up; exec sleep 1000", &options);
		struct seen seen = { 0 };
		seen_until(&seen, p, "up\n");
		CHECK_INT(write(fds[1], "x", 1), ==, 1);
		pause();
	}
	char c;
	CHECK_INT(read(fds[0], &c, 1), ==, 1);
	cove_process *second = stream_shell(sandbox, "echo again", &options);
	cove_process *viewer = stream_open(sandbox, "along", NULL);
	struct seen seen = { 0 }, its = { 0 };
	seen_until(&seen, second, "up\n");
	seen_until(&its, viewer, "up\n");
	CHECK_SYS(kill(pid, SIGKILL));
	CHECK_SYS(waitpid(pid, NULL, 0));
	/* Its connection is closed by now; that the supervisor and the guest have seen that, this
	 * does not say, but the list does. */
	struct cove_error err = COVE_ERROR_INIT;
	unsigned viewers = 3;
	uint64_t end = clock_monotonic_ms() + PATIENCE_MS;
	while (viewers != 2 && clock_monotonic_ms() < end) {
		struct cove_session_info **list;
		size_t n;
		CHECK_COVE(cove_session_list(sandbox, &list, &n, &err), &err);
		CHECK_INT(list[0]->state, ==, COVE_SESSION_RUNNING);
		viewers = list[0]->viewers;
		cove_session_list_free(list, n);
	}
	CHECK_INT(viewers, ==, 2);

	uint64_t start = clock_monotonic_ms();
	seen_done(&seen);
	cove_process_free(second);
	stream_expect(viewer, &its, COVE_CAUSE_KILLED, 137, "up\n", "");
	tap_note("killed after %llu ms", (unsigned long long)(clock_monotonic_ms() - start));
	close(fds[0]);
	close(fds[1]);
	cove_sandbox_free(sandbox);
}

static const struct tap_test tests[] = {
	{ "numbered lines", test_lines, .timeout_s = 90 },
	{ "two viewers, one stalled", test_two_viewers, .timeout_s = 90 },
	{ "ten thousand visits", test_visits, .timeout_s = 600 },
	{ "the first bytes", test_first_bytes, .timeout_s = 900 },
	{ "one id, two processes", test_same_id, .timeout_s = 900 },
	{ "results are collected once", test_results, .timeout_s = 60 },
	{ "stdin that is kept open", test_kept_stdin, .timeout_s = 60 },
	{ "kill on disconnect", test_kill_on_disconnect, .timeout_s = 60 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
