/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Leaving a terminal's program and coming back to it, through `cove exec -it` and `cove attach` in a
 * real machine: from another process, with another size of the window, after keys that detach and
 * after a client that was killed.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "rounds.h"
#include "seat.h"

/* The program in the sandbox, with the id "it". */
static struct terminal *start(unsigned rows, unsigned cols, const char *const *argv)
{
	const char *args[16] = { "exec",	   "-it", "--id",	    "it", "-e",
				 "LC_ALL=C.UTF-8", "-e",  "LESSHISTFILE=-", "box" };
	for (size_t n = 9; *argv; n++) {
		CHECK_INT(n, <, ARRAY_SIZE(args) - 1);
		args[n] = *argv++;
	}
	struct terminal *t = seat_new(rows, cols);
	seat_cove(t, args);
	return t;
}

static struct terminal *detach(struct terminal *t)
{
	terminal_type(t, "\035");
	seat_check_end(t, 0);
	CHECK(terminal_has_text(t, "detached"));
	CHECK(terminal_has_text(t, "cove attach box it"));
	return terminal_free(t);
}

/* No word of goodbye: to the client, and to whatever it has started. */
static struct terminal *kill_client(struct terminal *t)
{
	CHECK_SYS(kill(-terminal_pid(t), SIGKILL));
	CHECK_INT(terminal_wait_exit(t), ==, 128 + SIGKILL);
	return terminal_free(t);
}

/* Nothing of the past is answered a second time: the answers would be keys of today. */
static struct terminal *come_back(unsigned rows, unsigned cols, struct terminal *host)
{
	struct terminal *t = seat_new(rows, cols);
	SEAT_COVE(t, "attach", "box", "it");
	struct twins twins = { .guest = t, .host = host };
	twins_same(&twins, "");
	size_t n;
	const char *answers = terminal_answers(t, &n);
	if (n > 0)
		tap_note("answered: %s", answers + 1);
	CHECK_INT(n, ==, 0);
	return t;
}

/* The same program without Cove, in a window of that size. */
static struct terminal *start_host(unsigned rows, unsigned cols, const char *const *argv)
{
	char home[256];
	snprintf(home, sizeof(home), "HOME=%s", tap_dir());
	const char *args[16] = { "env", "-C", tap_dir(), "LC_ALL=C.UTF-8", "LESSHISTFILE=-", home };
	for (size_t n = 6; *argv; n++) {
		CHECK_INT(n, <, ARRAY_SIZE(args) - 1);
		args[n] = *argv++;
	}
	struct terminal *t = seat_new(rows, cols);
	terminal_run(t, args);
	return t;
}

static void test_vi(void)
{
	static const char typed[] = "ihello\rsecond line\033";
	cove_sandbox *box = seat_box("python");
	struct terminal *t = start(24, 80, ARGV("vim", "notes"));
	terminal_wait_text(t, "\"notes\" [New]");
	terminal_type(t, typed);
	terminal_wait_text(t, "2,11");
	detach(t);

	/* Another window; compared with a vi that was never anywhere else. */
	struct terminal *host = start_host(30, 100, ARGV("vim", "notes"));
	terminal_wait_text(host, "\"notes\" [New]");
	terminal_type(host, typed);
	terminal_wait_text(host, "2,11");
	t = come_back(30, 100, host);
	CHECK(terminal_modes(t).alternate);
	struct twins twins = { .guest = t, .host = host };
	twins_type(&twins, "othird line", "third line");
	twins_type(&twins, "\033", "3,10");
	kill_client(t);

	/* A smaller one, of a client that dies as well; then one that stays. */
	terminal_wipe(host);
	terminal_resize(host, 10, 40);
	terminal_wait_text(host, "third line");
	t = come_back(10, 40, host);
	kill_client(t);
	terminal_wipe(host);
	terminal_resize(host, 12, 70);
	terminal_wait_text(host, "third line");
	t = come_back(12, 70, host);
	twins.guest = t;
	twins_key(&twins, TERMINAL_UP);
	twins_same(&twins, "2,10");
	twins_type(&twins, "dd", "2,1");
	terminal_type(t, ":wq\r");
	seat_check_end(t, 0);
	seat_check_file(box, "notes", "hello\nthird line\n");
	terminal_free(t);
	terminal_free(host);

	/* It has ended; who comes now gets to know how. */
	t = seat_new(24, 80);
	SEAT_COVE(t, "attach", "box", "it");
	seat_check_end(t, 0);
	terminal_free(t);
	cove_sandbox_free(box);
}

static void test_less(void)
{
	cove_sandbox *box = seat_box("python");
	char text[16384], *p = text;
	for (int i = 1; i <= 300; i++)
		p += sprintf(p, "this is line %d of %d\n", i, 300);
	seat_put_file(box, "text", text);
	seat_put_own_file("text", text);
	struct terminal *t = start(24, 80, ARGV("less", "text"));
	struct terminal *host = start_host(24, 80, ARGV("less", "text"));
	struct twins twins = { .guest = t, .host = host };
	twins_same(&twins, "line 23 ");
	twins_type(&twins, "100g", "line 122 ");
	detach(t);
	for (unsigned i = 0; i < 2; i++) {
		unsigned rows = i ? 20 : 40, cols = i ? 60 : 120;
		terminal_wipe(host);
		terminal_resize(host, rows, cols);
		terminal_wait_text(host, i ? "line 118 " : "line 138 ");
		t = come_back(rows, cols, host);
		if (i == 0)
			kill_client(t);
	}
	twins.guest = t;
	twins_type(&twins, " ", "line 137 ");
	terminal_type(t, "q");
	seat_check_end(t, 0);
	terminal_free(t);
	terminal_free(host);
	cove_sandbox_free(box);
}

/* Of what it has drawn, most is not kept, and the window has the same size as before. */
static void test_little_kept(void)
{
	cove_sandbox *box = seat_box("python");
	char text[16384], *p = text;
	for (int i = 1; i <= 300; i++)
		p += sprintf(p, "%d: %0*d\n", i, 20 + i % 30, i);
	seat_put_file(box, "text", text);
	seat_put_own_file("text", text);
	struct terminal *host = start_host(24, 80, ARGV("vim", "text"));
	struct terminal *t = seat_new(24, 80);
	SEAT_COVE(t, "exec", "-it", "--id", "it", "--replay", "4K", "-e", "LC_ALL=C.UTF-8", "box",
		  "vim", "text");
	struct twins twins = { .guest = t, .host = host };
	twins_same(&twins, "1,1 ");
	for (int i = 0; i < 6; i++)
		twins_type(&twins, "\006", i == 5 ? "\n140: " : "0000");
	twins_type(&twins, ":1,40d\r", "40 fewer lines");
	twins_type(&twins, "G", "260,1");
	CHECK_INT(terminal_bytes(t), >, 2 * 4096);
	detach(t);
	terminal_type(host, "\f"); /* that it draws it all is what both have in common */
	t = come_back(24, 80, host);
	twins.guest = t;
	twins_type(&twins, "gg", "1,1 ");
	twins_type(&twins, ":q!\r", "");
	seat_check_end(t, 0);
	terminal_free(t);
	terminal_free(host);
	cove_sandbox_free(box);
}

static void test_top(void)
{
	cove_sandbox *box = seat_box("python");
	struct terminal *t = start(24, 80, ARGV("top", "-d", "1"));
	terminal_wait_text(t, "PID USER");
	for (unsigned i = 0; i < 4; i++) {
		/* Every row is its own: the summary, the header, one process each. */
		unsigned rows = 24 - 4 * i;
		TERMINAL_WAIT(t, terminal_find(t, "top - ", NULL) == 0 &&
					 terminal_find(t, "PID USER", NULL) == 6 &&
					 terminal_row(t, rows - 1)[0]);
		CHECK(terminal_cell(t, 6, 5).reverse);
		for (unsigned row = 7; row < rows; row++)
			CHECK(strtol(terminal_row(t, row), NULL, 10) > 0);
		if (i == 3)
			break;
		t = i % 2 ? kill_client(t) : detach(t);
		t = seat_new(rows - 4, 80 + 10 * i);
		SEAT_COVE(t, "attach", "box", "it");
	}
	terminal_type(t, "q");
	seat_check_end(t, 0);
	terminal_free(t);
	cove_sandbox_free(box);
}

/* What is pasted does not detach, where the program takes pastes as such; what is typed does. */
static void test_paste(void)
{
	cove_sandbox *box = seat_box("python");
	struct terminal *t = start(24, 80, ARGV("vim", "notes"));
	terminal_wait_text(t, "\"notes\" [New]");
	terminal_type(t, "i");
	terminal_wait_text(t, "-- INSERT --");
	CHECK(terminal_modes(t).paste);
	terminal_paste(t, "one\035two\n\035\nthree");
	terminal_wait_row(t, 2, "three");
	CHECK_STR(terminal_row(t, 0), "one^]two");
	terminal_type(t, "\033:wq\r");
	seat_check_end(t, 0);
	terminal_free(t);
	seat_check_file(box, "notes", "one\035two\n\035\nthree\n");

	t = seat_new(24, 80);
	SEAT_COVE(t, "exec", "-it", "-e", "PS1=$ ", "--id", "sh", "box", "bash", "--norc");
	terminal_wait_row(t, 0, "$");
	CHECK(terminal_modes(t).paste);
	terminal_paste(t, "echo 'a\035b' | od -c");
	terminal_wait_row(t, 0, "$ echo 'a^]b' | od -c");
	terminal_type(t, "\r");
	terminal_wait_row(t, 1, "0000000   a 035   b  \\n");
	terminal_wait_row(t, 3, "$");
	terminal_type(t, "exit 4"); /* and then ctrl-], as one does */
	terminal_wait_row(t, 3, "$ exit 4");
	terminal_type(t, "\035");
	seat_check_end(t, 0);
	terminal_free(t);

	t = seat_new(24, 80);
	SEAT_COVE(t, "attach", "box", "sh");
	terminal_wait_row(t, 3, "$ exit 4");
	terminal_type(t, "\r");
	seat_check_end(t, 4);
	terminal_free(t);
	cove_sandbox_free(box);
}

/* Other keys; a sequence that is begun and not ended is the program's. */
static void test_keys(void)
{
	cove_sandbox *box = seat_box("busybox");
	struct terminal *t = seat_new(24, 80);
	SEAT_COVE(t, "exec", "-it", "--id", "keys", "--detach-keys", "ctrl-p,ctrl-q",
		  "--detach-keys", "ctrl-p,x", "box", "sh", "-c", "stty -echo; echo up; cat -v");
	terminal_wait_row(t, 0, "up");
	terminal_type(t, "\020y\035\020\n"); /* the last one is held back until the next key */
	terminal_wait_row(t, 1, "^Py^]^P");
	terminal_type(t, "\020\021");
	seat_check_end(t, 0);
	terminal_free(t);
	t = seat_new(24, 80);
	SEAT_COVE(t, "attach", "--detach-keys", "", "box", "keys");
	terminal_wait_row(t, 1, "^Py^]^P");
	terminal_type(t, "\035\020x\n\004");
	CHECK_INT(terminal_wait_exit(t), ==, 0);
	terminal_wait_row(t, 2, "^]^Px");
	terminal_free(t);
	cove_sandbox_free(box);
}

/* ---- many times ---- */

static size_t attach_rounds;

static int attach_and_detach(void *data)
{
	(void)data;
	cove_sandbox *sandbox;
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_sandbox_connect("box", &sandbox, &err), &err);
	long long fds[2], kib[2];
	size_t warm = attach_rounds / 10;
	for (size_t i = 0; i <= attach_rounds; i++) {
		struct cove_attach_result result;
		struct cove_attach_options options = COVE_ATTACH_OPTIONS_INIT;
		printf("\033[2J\033[Hround %zu\r\n", i);
		fflush(stdout);
		CHECK_COVE(cove_attach_session(sandbox, "visited", &options, &result, &err), &err);
		CHECK_INT(result.end, ==, COVE_ATTACH_DETACHED);
		CHECK_STR(result.id, "visited");
		CHECK_INT(result.missing_bytes, ==, 0);
		/* The first time, what looks takes memory itself. */
		if (i == warm - 1 || i == warm || i == attach_rounds) {
			fds[i > warm] = vm_open_fds(getpid());
			kib[i > warm] = vm_rss_kib(getpid());
		}
	}
	printf("\033[2J\033[Hdescriptors %lld, %lld; KiB %lld, %lld\r\n", fds[0], fds[1], kib[0],
	       kib[1]);
	cove_sandbox_free(sandbox);
	return fds[0] != fds[1] || kib[1] - kib[0] > 64;
}

static void test_rounds(void)
{
	cove_sandbox *box = seat_box("busybox");
	struct cove_exec_options options = COVE_EXEC_OPTIONS_INIT;
	struct cove_error err = COVE_ERROR_INIT;
	options.id = "visited";
	options.tty = true;
	options.stdin_mode = COVE_STDIN_PIPE;
	options.keep_stdin_open = true;
	cove_process *p;
	CHECK_COVE(
		cove_exec_stream(box, ARGV("sh", "-c", "echo here; exec cat"), &options, &p, &err),
		&err);
	CHECK_COVE(cove_process_id(p, &(const char *){ NULL }, &err), &err);
	cove_process_free(p);

	struct cove_sandbox_info *info = vm_info("box");
	attach_rounds = rounds_or(1000);
	uint64_t start_ms = clock_monotonic_ms();
	struct terminal *t = seat_new(24, 80);
	terminal_run_function(t, attach_and_detach, NULL);
	long long fds = 0, agent_fds = 0, agent_kib = 0;
	for (size_t i = 0; i <= attach_rounds; i++) {
		char text[64];
		snprintf(text, sizeof(text), "round %zu", i);
		terminal_wait_row(t, 0, text);
		terminal_wait_row(t, 1, "here");
		if (i == attach_rounds / 10) { /* while it is attached */
			agent_kib = vm_agent_kib(box);
			agent_fds = vm_number(box, "ls /proc/1/fd | wc -l");
			fds = vm_open_fds(info->supervisor_pid);
		}
		if (i == attach_rounds)
			break;
		terminal_type(t, "\035");
	}
	long long kib_after = vm_agent_kib(box);
	tap_note("supervisor: %lld descriptors, %lld; agent: %lld, %lld; %lld KiB, %lld", fds,
		 vm_open_fds(info->supervisor_pid), agent_fds,
		 vm_number(box, "ls /proc/1/fd | wc -l"), agent_kib, kib_after);
	CHECK_INT(vm_open_fds(info->supervisor_pid), ==, fds);
	CHECK_INT(vm_number(box, "ls /proc/1/fd | wc -l"), ==, agent_fds);
	CHECK_INT(kib_after - agent_kib, <=, 64);
	terminal_type(t, "\035");
	int status = terminal_wait_exit(t);
	tap_note("%zu rounds in %llu ms; client: %s", attach_rounds,
		 (unsigned long long)(clock_monotonic_ms() - start_ms), terminal_row(t, 0));
	CHECK_INT(status, ==, 0);
	terminal_check_restored(t);
	terminal_free(t);
	cove_sandbox_info_free(info);
	cove_sandbox_free(box);
}

static const struct tap_test tests[] = {
	{ "back to vi", test_vi, .timeout_s = 240 },
	{ "back when little is kept", test_little_kept, .timeout_s = 240 },
	{ "back to less", test_less, .timeout_s = 240 },
	{ "back to top", test_top, .timeout_s = 240 },
	{ "pastes do not detach", test_paste, .timeout_s = 240 },
	{ "detach keys", test_keys, .timeout_s = 240 },
	{ "attach and detach", test_rounds, .timeout_s = 1800 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
