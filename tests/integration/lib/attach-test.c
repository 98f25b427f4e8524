/* SPDX-License-Identifier: Apache-2.0 */

/* Commands on the user's terminal: attaching, leaving, coming back, and how the terminal is after. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/macro.h"
#include "box.h"
#include "harness/tap.h"
#include "harness/terminal.h"

/* ---- a program that attaches, in the terminal ---- */

/* What it is to do. */
struct user {
	const char *script;	 /* for a command: cove_attach() of sh -c; */
	bool shell;		 /* or the shell, */
	const char *id;		 /* or a session */
	const char *new_id;	 /* of a command */
	const char *const *argv; /* another command */
	const char *output;	 /* a file, instead of the terminal */
	struct cove_attach_options options;
	struct cove_exec_options exec;
	int (*before)(void); /* called first, and last: not 0 is an error */
	int (*after)(void);
};

/* How that went: told in a file, since it is in another process. */
struct report {
	int r;
	struct cove_attach_result result;
	struct cove_error err;
};

static int call(cove_sandbox *s, struct user *user, struct report *report)
{
	struct cove_attach_options *o = &user->options;
	o->struct_size = sizeof(*o);
	if (user->id)
		return cove_attach_session(s, user->id, o, &report->result, &report->err);
	user->exec.struct_size = sizeof(user->exec);
	user->exec.id = user->new_id;
	o->exec = &user->exec;
	if (user->shell)
		return cove_attach_shell(s, o, &report->result, &report->err);
	return cove_attach(s, user->argv ? user->argv : ARGV("/bin/sh", "-c", user->script), o,
			   &report->result, &report->err);
}

/* In the terminal. 90 and more: it did not get as far as that. */
static int use(void *data)
{
	struct user *user = data;
	struct report report = { .err = COVE_ERROR_INIT };
	cove_sandbox *s;
	if (user->before && user->before() != 0)
		return 90;
	if (cove_sandbox_connect("box", &s, NULL) < 0)
		return 91;
	if (user->output) {
		user->options.output_fd =
			open(user->output, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
		if (user->options.output_fd < 0)
			return 92;
	}
	report.r = call(s, user, &report);
	if (user->after && user->after() != 0)
		return 93;
	cove_sandbox_free(s);
	int fd = open(tap_path("report"), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0 || fd_write_full(fd, &report, sizeof(report)) < 0)
		return 94;
	close(fd);
	return report.r < 0 ? 1 : 0;
}

static void read_report(struct report *ret)
{
	int fd = CHECK_SYS(open(tap_path("report"), O_RDONLY | O_CLOEXEC));
	CHECK_OK(fd_read_full(fd, ret, sizeof(*ret)));
	close(fd);
	CHECK_SYS(unlink(tap_path("report")));
}

/* Waits until the call has returned and the program has ended; the terminal has to be as before. */
static struct report wait_report(struct terminal *t, int r)
{
	struct report report;
	int status = terminal_wait_exit(t);
	if (status > 1)
		terminal_dump(t);
	CHECK_INT(status, <=, 1);
	read_report(&report);
	if (report.r != r)
		tap_note("%s", report.err.message);
	CHECK_INT(report.r, ==, r);
	terminal_check_restored(t);
	return report;
}

static struct cove_attach_result wait_end(struct terminal *t, enum cove_attach_end end)
{
	struct report report = wait_report(t, 0);
	CHECK_INT(report.result.end, ==, end);
	return report.result;
}

#define ATTACH(t, ...) terminal_run_function(t, use, &(struct user){ __VA_ARGS__ })

/* Keys are the command's from now on, and not the terminal's. */
static void wait_raw(struct terminal *t)
{
	TERMINAL_WAIT(t, !(terminal_termios(t).c_lflag & (ICANON | ISIG)));
}

static void clear(struct terminal *t)
{
	terminal_run(t, ARGV("clear"));
	CHECK_INT(terminal_wait_exit(t), ==, 0);
}

static struct terminal *begin(cove_sandbox **ret)
{
	*ret = box_create("box", NULL);
	return terminal_new(24, 80);
}

static size_t n_sessions(cove_sandbox *s)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_session_info **list;
	size_t n;
	CHECK_COVE(cove_session_list(s, &list, &n, &err), &err);
	cove_session_list_free(list, n);
	return n;
}

/* The oldest byte of the first session's output that is kept. */
static uint64_t oldest_byte(cove_sandbox *s)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_session_info **list;
	size_t n;
	CHECK_COVE(cove_session_list(s, &list, &n, &err), &err);
	uint64_t start = list[0]->stdout_start;
	cove_session_list_free(list, n);
	return start;
}

/* Prints its size when that changes, and what is typed. */
#define SIZES                                                                                      \
	"trap 'echo size $(stty size).' WINCH; echo up; "                                          \
	"while :; do read x && echo \"<$x>\"; done"

/* A program that has the whole screen, draws it, and again when the size changes. */
#define FULL_SCREEN                                                                                \
	"draw() { printf '\\033[H\\033[2Jfull %s' \"$(stty size)\"; }; "                           \
	"trap draw WINCH; stty raw -echo; "                                                        \
	"printf '\\033[?1049h\\033[?25l\\033[?1000h\\033[?2004h\\033='; draw; "                    \
	"while :; do sleep 0.02; done"

static int pipe_fd;

/* ---- running, leaving, coming back ---- */

static void test_runs(void)
{
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	terminal_resize(t, 30, 100);
	ATTACH(t, .script = "stty size; echo $TERM; read x; echo \"<$x>\"; exit 7");
	terminal_wait_text(t, "30 100");
	terminal_wait_text(t, "xterm-256color");
	terminal_type(t, "hello\r");
	terminal_wait_text(t, "<hello>");
	struct cove_attach_result result = wait_end(t, COVE_ATTACH_EXITED);
	CHECK_INT(result.exit.code, ==, 7);
	CHECK_INT(result.exit.cause, ==, COVE_CAUSE_EXITED);
	CHECK_INT(result.missing_bytes, ==, 0);
	CHECK(result.id[0]);

	/* As it comes, and what it leaves on is switched off. */
	ATTACH(t, .script = "printf '\\033[31mred\\033[?25l\\033[?1000h'; kill -TERM $$");
	result = wait_end(t, COVE_ATTACH_EXITED);
	CHECK_INT(result.exit.signal, ==, SIGTERM);
	CHECK(terminal_has_text(t, "red"));

	/* Only what is known here is told: and what the caller has chosen. */
	terminal_run_program(t,
			     &(struct terminal_program){
				     .function = use,
				     .data = &(struct user){ .script = "echo 1$TERM.$COLORTERM." },
				     .env = ARGV("TERM=kitten-9000", "COLORTERM=truecolor") });
	wait_end(t, COVE_ATTACH_EXITED);
	CHECK(terminal_has_text(t, "1xterm-256color.truecolor."));
	terminal_run_program(
		t, &(struct terminal_program){
			   .function = use,
			   .data = &(struct user){ .script = "echo 2$TERM.$COLORTERM.",
						   .exec.env = ARGV("TERM=vt100", "COLORTERM") },
			   .env = ARGV("TERM=xterm", "COLORTERM=truecolor") });
	wait_end(t, COVE_ATTACH_EXITED);
	CHECK(terminal_has_text(t, "2vt100.."));
	box_stop(s);
}

static void test_shell(void)
{
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	ATTACH(t, .shell = true, .exec.env = ARGV("PS1=ready> "));
	terminal_wait_text(t, "ready>");
	terminal_type(t, "echo $((6*7)); exit 3\r");
	struct cove_attach_result result = wait_end(t, COVE_ATTACH_EXITED);
	CHECK(terminal_has_text(t, "42"));
	CHECK_INT(result.exit.code, ==, 3);
	ATTACH(t, .shell = true, .options.script = "tty >/dev/null && echo script $((7*7))");
	wait_end(t, COVE_ATTACH_EXITED);
	CHECK(terminal_has_text(t, "script 49"));
	box_stop(s);
}

static void test_detaches(void)
{
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	ATTACH(t, .script = "echo up; while read x; do echo \"<$x>\"; done", .new_id = "one");
	terminal_wait_text(t, "up");
	terminal_type(t, "a\r");
	terminal_wait_text(t, "<a>");
	terminal_type(t, "b\r\035not for the shell\r");
	struct cove_attach_result result = wait_end(t, COVE_ATTACH_DETACHED);
	CHECK_STR(result.id, "one");
	CHECK_INT(result.unsent_bytes, ==, 0);

	/* The very same bytes, and what has come since. */
	ATTACH(t, .id = "one", .output = tap_path("all"));
	terminal_type(t, "c\r\035");
	result = wait_end(t, COVE_ATTACH_DETACHED);
	ATTACH(t, .id = "one");
	terminal_wait_text(t, "<c>");
	CHECK(!terminal_has_text(t, "not for"));
	terminal_type(t, "\035");
	struct cove_attach_result last = wait_end(t, COVE_ATTACH_DETACHED);
	CHECK_INT(last.stdout_offset, ==, strlen("up\r\na\r\n<a>\r\nb\r\n<b>\r\nc\r\n<c>\r\n"));

	/* From where one was; from now on. */
	clear(t);
	ATTACH(t, .id = "one", .options.from = COVE_FROM_OFFSET, .options.stdout_offset = 14);
	terminal_wait_text(t, "<b>");
	CHECK(!terminal_has_text(t, "<a>"));
	terminal_type(t, "\035");
	wait_end(t, COVE_ATTACH_DETACHED);
	clear(t);
	ATTACH(t, .id = "one", .options.from = COVE_FROM_NOW);
	terminal_type(t, "d\r");
	terminal_wait_text(t, "<d>");
	CHECK(!terminal_has_text(t, "<c>"));
	terminal_type(t, "\004");
	result = wait_end(t, COVE_ATTACH_EXITED);
	CHECK_INT(result.exit.code, ==, 0);

	/* One that has ended. */
	clear(t);
	ATTACH(t, .id = "one");
	result = wait_end(t, COVE_ATTACH_EXITED);
	CHECK(terminal_has_text(t, "<a>"));
	CHECK(terminal_has_text(t, "<d>"));
	CHECK_INT(result.exit.code, ==, 0);
	box_stop(s);
}

/* The same command again, by its id, is coming back to it. */
static void test_same_id(void)
{
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	const char *script = "echo up $$; while read x; do echo \"<$x>\"; done";
	ATTACH(t, .script = script, .new_id = "one", .exec.kill_on_disconnect = true);
	terminal_wait_text(t, "up");
	_cleanup_(terminal_freep) struct terminal *other = terminal_new(24, 80);
	ATTACH(other, .script = script, .new_id = "one", .exec.kill_on_disconnect = true);
	terminal_wait_text(other, "up");
	terminal_type(t, "a\r");
	terminal_wait_text(other, "<a>");
	terminal_type(other, "b\r");
	terminal_wait_text(t, "<b>");
	CHECK_STR(terminal_row(t, 0), terminal_row(other, 0));

	/* It lives as long as one of those who started it does. */
	terminal_type(t, "\035");
	wait_end(t, COVE_ATTACH_DETACHED);
	terminal_type(other, "c\r");
	terminal_wait_text(other, "<c>");
	terminal_type(other, "\035");
	wait_end(other, COVE_ATTACH_DETACHED);
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_exit exit;
	CHECK_COVE(cove_session_wait(s, "one", 5000, &exit, &err), &err);
	CHECK_INT(exit.cause, ==, COVE_CAUSE_KILLED);
	box_stop(s);
}

/* ---- detach keys ---- */

static void test_keys(void)
{
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	const char *script = "stty raw -echo; echo up; cat -v";
	ATTACH(t, .script = script, .new_id = "one", .options.detach_keys = "ctrl-p,ctrl-q ~,.");
	terminal_wait_text(t, "up");
	terminal_type(t, "a\020");
	terminal_wait_text(t, "a^P"); /* after its time */
	terminal_type(t, "\020x");
	terminal_wait_text(t, "a^P^Px");
	/* A paste is for the program, whatever is in it. */
	terminal_type(t, "\033[200~\020\021~.\033[201~");
	terminal_wait_text(t, "^[[200~^P^Q~.^[[201~");
	terminal_type(t, "y\020\020\021z");
	struct cove_attach_result result = wait_end(t, COVE_ATTACH_DETACHED);
	CHECK_INT(result.unsent_bytes, ==, 0);
	ATTACH(t, .id = "one", .options.detach_keys = "");
	terminal_wait_text(t, "~y^P");
	terminal_type(t, "\035\021.");
	terminal_wait_text(t, "~y^P^]^Q.");
	struct cove_error err = COVE_ERROR_INIT;
	cove_process *p;
	CHECK_COVE(cove_process_open(s, "one", NULL, &p, &err), &err);
	CHECK_COVE(cove_process_kill(p, &err), &err);
	cove_process_free(p);
	result = wait_end(t, COVE_ATTACH_EXITED);
	CHECK_INT(result.exit.cause, ==, COVE_CAUSE_KILLED);
	box_stop(s);
}

/* In front of a program that does not read; and what it did not read is counted. */
static void test_unread(void)
{
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	ATTACH(t, .script = "stty raw -echo; echo up; exec sleep 1000");
	terminal_wait_text(t, "up");
	char data[16384];
	memset(data, 'x', sizeof(data));
	for (unsigned i = 0; i < 32; i++) /* 512 KiB: more than the guest takes */
		terminal_write(t, data, sizeof(data));
	terminal_type(t, "\035");
	struct cove_attach_result result = wait_end(t, COVE_ATTACH_DETACHED);
	CHECK_INT(result.unsent_bytes, >, 64 * 1024);
	CHECK_INT(result.unsent_bytes, <, 512 * 1024);
	box_stop(s);
}

/* While a flood comes. */
static void test_flood(void)
{
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	ATTACH(t, .script = "exec yes", .new_id = "one");
	terminal_wait_text(t, "y");
	terminal_type(t, "\035");
	struct cove_attach_result result = wait_end(t, COVE_ATTACH_DETACHED);
	CHECK_INT(result.missing_bytes, ==, 0);
	/* Some is not kept by the time that one comes back. */
	clear(t);
	CHECK_WITHIN(oldest_byte(s) > 0, 5000);
	ATTACH(t, .id = "one", .options.from = COVE_FROM_OFFSET, .options.lossy = true);
	wait_raw(t);
	terminal_wait_text(t, "y");
	terminal_type(t, "\003");
	result = wait_end(t, COVE_ATTACH_EXITED);
	CHECK_INT(result.exit.signal, ==, SIGINT);
	CHECK_INT(result.missing_bytes, >, 0);

	/* All of it, byte by byte, also where nobody is at the terminal's other end for a while. */
	ATTACH(t, .script = "stty -opost; seq 1 200000", .output = tap_path("out"));
	result = wait_end(t, COVE_ATTACH_EXITED);
	CHECK_INT(result.missing_bytes, ==, 0);
	CHECK_INT(result.stdout_offset, ==, 1288895);
	CHECK_INT(system("seq 1 200000 | cmp - $COVE_HOME/out"), ==, 0);
	ATTACH(t, .script = "stty -opost; seq 1 100000");
	result = wait_end(t, COVE_ATTACH_EXITED);
	CHECK_INT(result.stdout_offset, ==, 588895);
	CHECK(terminal_has_text(t, "100000"));
	box_stop(s);
}

/* Output that nobody takes; a guest that does nothing any more: neither is in the user's way. */
static void test_stuck(void)
{
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	CHECK_SYS(mkfifo(tap_path("pipe"), 0600));
	pipe_fd = CHECK_SYS(open(tap_path("pipe"), O_RDWR | O_NONBLOCK | O_CLOEXEC));
	ATTACH(t, .script = "exec yes", .output = tap_path("pipe"));
	struct pollfd output = { .fd = pipe_fd, .events = POLLOUT };
	CHECK_WITHIN(poll(&output, 1, 0) == 0, 5000); /* it is full */
	terminal_resize(t, 30, 90);
	terminal_type(t, "\035");
	wait_end(t, COVE_ATTACH_DETACHED);
	ATTACH(t, .script = "exec yes", .output = tap_path("pipe"));
	wait_raw(t);
	CHECK_SYS(kill(terminal_pid(t), SIGTERM));
	wait_end(t, COVE_ATTACH_INTERRUPTED);
	close(pipe_fd);

	ATTACH(t, .script = FULL_SCREEN);
	terminal_wait_text(t, "full 30 90");
	struct cove_sandbox_info *info = box_inspect("box");
	CHECK_SYS(kill(info->vmm_pid, SIGSTOP));
	terminal_type(t, "for nobody\035");
	wait_end(t, COVE_ATTACH_DETACHED);
	CHECK_SYS(kill(info->vmm_pid, SIGCONT));
	cove_sandbox_info_free(info);
	box_stop(s);
}

/* ---- the size ---- */

static void leave(struct terminal *t)
{
	wait_raw(t);
	terminal_type(t, "\035");
	wait_end(t, COVE_ATTACH_DETACHED);
	clear(t);
}

static void test_resize(void)
{
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	ATTACH(t, .script = SIZES, .new_id = "one");
	terminal_wait_text(t, "up");
	terminal_resize(t, 40, 120);
	terminal_wait_text(t, "size 40 120.");
	terminal_resize(t, 24, 80);
	terminal_wait_text(t, "size 24 80.");
	leave(t);
	terminal_resize(t, 50, 90);
	ATTACH(t, .id = "one");
	terminal_wait_text(t, "size 50 90.");
	CHECK(!terminal_has_text(t, "size 49 90."));
	leave(t);
	/* There is something to be seen even where nothing has changed. */
	ATTACH(t, .id = "one", .options.from = COVE_FROM_NOW);
	terminal_wait_text(t, "size 49 90.");
	terminal_wait_text(t, "size 50 90.");
	leave(t);
	/* One who only looks changes nothing. */
	terminal_resize(t, 33, 77);
	ATTACH(t, .id = "one", .options.read_only = true);
	terminal_wait_text(t, "up");
	terminal_resize(t, 32, 76);
	terminal_type(t, "nothing\r\003");
	wait_end(t, COVE_ATTACH_DETACHED);
	clear(t);
	ATTACH(t, .id = "one", .options.read_only = true);
	terminal_wait_text(t, "up");
	terminal_wait_text(t, "size 49 90.");
	CHECK(!terminal_has_text(t, "size 3"));
	CHECK(!terminal_has_text(t, "nothing"));
	leave(t);
	box_stop(s);
}

static void test_full_screen(void)
{
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	ATTACH(t, .script = FULL_SCREEN, .new_id = "one");
	terminal_wait_text(t, "full 24 80");
	CHECK(terminal_modes(t).alternate && !terminal_modes(t).cursor_visible);
	terminal_type(t, "\035");
	wait_end(t, COVE_ATTACH_DETACHED); /* and is on the first screen */
	for (unsigned i = 0; i < 2; i++) {
		ATTACH(t, .id = "one");
		terminal_wait_text(t, "full 24 80");
		TERMINAL_WAIT(t, terminal_modes(t).alternate && terminal_modes(t).mouse &&
					 terminal_modes(t).paste);
		terminal_type(t, "\035");
		wait_end(t, COVE_ATTACH_DETACHED);
	}
	box_stop(s);
}

/* Modes that were set by what is not kept any more; whatever is shown, and by whom it is looked at. */
static void test_forgotten_modes(void)
{
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	ATTACH(t, .new_id = "one", .exec.replay_bytes = 4096,
	       .script =
		       "stty -echo; printf '\\033[?1049h\\033[?2004h\\033[?1h\\033=\\033[?1002h'; "
		       "seq 10000; printf here; read x");
	terminal_wait_text(t, "here");
	terminal_type(t, "\035");
	wait_end(t, COVE_ATTACH_DETACHED);
	const struct cove_attach_options how[] = {
		{ 0 },
		{ .read_only = true },
		{ .from = COVE_FROM_NOW },
		{ .from = COVE_FROM_NOW, .read_only = true },
		{ .from = COVE_FROM_OFFSET, .stdout_offset = 40000, .lossy = true },
	};
	for (size_t i = 0; i < ARRAY_SIZE(how); i++) {
		ATTACH(t, .id = "one", .options = how[i]);
		TERMINAL_WAIT(t, terminal_modes(t).alternate && terminal_modes(t).paste &&
					 terminal_modes(t).application_cursor &&
					 terminal_modes(t).application_keypad &&
					 terminal_modes(t).mouse);
		/* On the second screen, since that is where it belongs. */
		if (how[i].from != COVE_FROM_NOW)
			terminal_wait_text(t, "here");
		else
			CHECK(!terminal_has_text(t, "here"));
		terminal_type(t, "\035");
		wait_end(t, COVE_ATTACH_DETACHED);
	}
	box_stop(s);
}

/* What is shown again asks the terminal nothing; what is new does. */
static void test_questions(void)
{
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	ATTACH(t, .new_id = "one",
	       .script =
		       "stty raw -echo; printf 'up\\033[c\\033[6n'; dd bs=1 count=8 2>/dev/null | "
		       "od -An -c; trap \"printf '\\033[c'\" WINCH; printf 'there'; "
		       "while :; do sleep 0.02; done");
	terminal_wait_text(t, "there");
	size_t n;
	terminal_answers(t, &n);
	CHECK_INT(n, >, 0);
	terminal_type(t, "\035");
	wait_end(t, COVE_ATTACH_DETACHED);
	terminal_forget(t);
	ATTACH(t, .id = "one", .options.read_only = true);
	terminal_wait_text(t, "there");
	terminal_type(t, "\035");
	wait_end(t, COVE_ATTACH_DETACHED);
	terminal_answers(t, &n);
	CHECK_INT(n, ==, 0);
	ATTACH(t, .id = "one");
	TERMINAL_WAIT(t, (terminal_answers(t, &n), n > 0)); /* it asks when it draws anew */
	terminal_type(t, "\035");
	wait_end(t, COVE_ATTACH_DETACHED);
	/* Where nobody could answer nothing is left out. */
	ATTACH(t, .id = "one", .output = tap_path("out"), .options.read_only = true);
	CHECK_WITHIN(system("grep -q there $COVE_HOME/out") == 0, 5000);
	terminal_type(t, "\035");
	wait_end(t, COVE_ATTACH_DETACHED);
	CHECK_INT(system("grep -q 'up.\\[c.\\[6n' $COVE_HOME/out"), ==, 0);
	box_stop(s);
}

/* ---- signals ---- */

static void test_signals(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	struct termios odd = terminal_termios(t);
	odd.c_iflag ^= IXANY | ISTRIP | IUTF8;
	odd.c_cc[VMIN] = 3;
	odd.c_cc[VTIME] = 7;
	odd.c_cc[VERASE] = 8;
	terminal_set_termios(t, &odd);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		ATTACH(t, .script = FULL_SCREEN);
		terminal_wait_text(t, "full 24 80");
		CHECK_SYS(kill(terminal_pid(t), signals[i]));
		struct cove_attach_result result = wait_end(t, COVE_ATTACH_INTERRUPTED);
		CHECK_INT(result.signal, ==, signals[i]);
	}
	CHECK_INT(n_sessions(s), ==, ARRAY_SIZE(signals));
	box_stop(s);
}

static volatile sig_atomic_t seen;

static void on_seen(int number)
{
	seen = number;
}

static struct sigaction actions_before[NSIG];
static sigset_t mask_before;

static int set_actions(void)
{
	struct sigaction action = { .sa_handler = on_seen, .sa_flags = SA_NODEFER };
	sigaddset(&action.sa_mask, SIGUSR1);
	if (sigaction(SIGTERM, &action, NULL) < 0 || signal(SIGINT, SIG_IGN) == SIG_ERR)
		return -1;
	for (int i = 1; i < NSIG; i++)
		(void)sigaction(i, NULL, &actions_before[i]);
	return sigprocmask(SIG_SETMASK, NULL, &mask_before);
}

static int check_actions(void)
{
	sigset_t mask;
	for (int i = 1; i < NSIG; i++) {
		struct sigaction now;
		if (sigaction(i, NULL, &now) == 0 &&
		    (now.sa_handler != actions_before[i].sa_handler ||
		     now.sa_flags != actions_before[i].sa_flags ||
		     memcmp(&now.sa_mask, &actions_before[i].sa_mask, sizeof(long)) != 0))
			return i;
	}
	sigprocmask(SIG_SETMASK, NULL, &mask);
	return memcmp(&mask, &mask_before, sizeof(long)) != 0 || seen != SIGTERM;
}

static void test_handlers(void)
{
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	ATTACH(t, .script = SIZES, .before = set_actions, .after = check_actions);
	terminal_wait_text(t, "up");
	CHECK_SYS(kill(terminal_pid(t), SIGTERM));
	CHECK_SYS(kill(terminal_pid(t), SIGINT));
	terminal_resize(t, 30, 90); /* nobody handles that one */
	terminal_wait_text(t, "size 30 90.");
	terminal_type(t, "\035");
	wait_end(t, COVE_ATTACH_DETACHED);
	box_stop(s);
}

static void test_suspend(void)
{
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	ATTACH(t, .script = FULL_SCREEN);
	terminal_wait_text(t, "full 24 80");
	for (unsigned i = 0; i < 2; i++) {
		CHECK_SYS(kill(terminal_pid(t), SIGTSTP));
		CHECK_INT(terminal_wait_stopped(t), ==, SIGTSTP);
		terminal_check_restored(t);
		/* Another size in the meantime, and the same. */
		if (i == 0)
			terminal_resize(t, 30, 90);
		terminal_continue(t, true);
		terminal_wait_text(t, "full 30 90");
		TERMINAL_WAIT(t, terminal_modes(t).alternate && terminal_modes(t).mouse &&
					 !terminal_modes(t).cursor_visible);
	}
	/* In the background it stops again as soon as it wants the terminal. */
	CHECK_SYS(kill(terminal_pid(t), SIGTSTP));
	CHECK_INT(terminal_wait_stopped(t), ==, SIGTSTP);
	terminal_continue(t, false);
	CHECK_INT(terminal_wait_stopped(t), ==, SIGTTOU);
	terminal_check_restored(t);
	terminal_continue(t, true);
	terminal_wait_text(t, "full 30 90");

	/* Stopped without notice. */
	CHECK_SYS(kill(terminal_pid(t), SIGSTOP));
	CHECK_INT(terminal_wait_stopped(t), ==, SIGSTOP);
	terminal_resize(t, 24, 80);
	terminal_continue(t, true);
	terminal_wait_text(t, "full 24 80");
	terminal_type(t, "\035");
	wait_end(t, COVE_ATTACH_DETACHED);
	box_stop(s);
}

static int stop_first(void)
{
	return raise(SIGSTOP);
}

static void test_background(void)
{
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	ATTACH(t, .script = "echo up; exec cat", .before = stop_first);
	CHECK_INT(terminal_wait_stopped(t), ==, SIGSTOP);
	terminal_continue(t, false);
	CHECK_INT(terminal_wait_stopped(t), ==, SIGTTOU);
	CHECK_INT(n_sessions(s), ==, 0);
	terminal_check_restored(t);
	terminal_continue(t, true);
	terminal_wait_text(t, "up");
	terminal_type(t, "\035");
	wait_end(t, COVE_ATTACH_DETACHED);
	box_stop(s);
}

/* The shell sends one, too, which would be for whoever called us. */
static int ignore_hangup(void)
{
	return signal(SIGHUP, SIG_IGN) == SIG_ERR;
}

static void test_hangup(void)
{
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	ATTACH(t, .script = SIZES, .new_id = "one", .before = ignore_hangup);
	terminal_wait_text(t, "up");
	pid_t pid = terminal_pid(t);
	terminal_hangup(t);
	CHECK(tap_process_ends(pid, 5000));
	struct report report;
	read_report(&report);
	CHECK_INT(report.r, ==, 0);
	CHECK_INT(report.result.end, ==, COVE_ATTACH_INTERRUPTED);
	CHECK_INT(report.result.signal, ==, SIGHUP);
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_INT(cove_session_wait(s, "one", 0, NULL, &err), ==, COVE_E_TIMEOUT); /* it runs on */
	box_stop(s);
}

/* ---- what goes wrong ---- */

static void test_not_a_terminal(void)
{
	cove_sandbox *s = box_create("box", NULL);
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_attach_options options = COVE_ATTACH_OPTIONS_INIT;
	struct cove_attach_result result;
	int fds[2];
	CHECK_SYS(pipe2(fds, O_CLOEXEC));
	options.input_fd = fds[0];
	CHECK_INT(cove_attach(s, ARGV("true"), &options, &result, &err), ==, COVE_E_INVALID);
	CHECK_CONTAINS(err.message, "is not a terminal");
	CHECK_INT(cove_attach_shell(s, &options, &result, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_attach_session(s, "one", &options, &result, &err), ==, COVE_E_INVALID);
	close(fds[0]);
	CHECK_INT(cove_attach(s, ARGV("true"), &options, &result, &err), ==, COVE_E_INVALID);
	close(fds[1]);
	CHECK_INT(n_sessions(s), ==, 0);
	box_stop(s);
}

static void refused(cove_sandbox *s, const struct cove_attach_options *options, const char *text)
{
	struct cove_attach_options o = *options;
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_attach_result result;
	o.struct_size = sizeof(o);
	CHECK_INT(cove_attach(s, ARGV("true"), &o, &result, &err), ==, COVE_E_INVALID);
	CHECK_CONTAINS(err.message, text);
}

#define OPTIONS(...) (&(struct cove_attach_options){ __VA_ARGS__ })

static void test_options(void)
{
	cove_sandbox *s = box_create("box", NULL);
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_attach_result result;
	refused(s, OPTIONS(.exec = EXEC(.stdin_mode = COVE_STDIN_PIPE)), "exec.stdin_mode: ");
	refused(s, OPTIONS(.exec = EXEC(.stdin_data = "")), "exec.stdin_data: ");
	refused(s, OPTIONS(.exec = EXEC(.stdin_bytes = 1)), "exec.stdin_bytes: ");
	refused(s, OPTIONS(.exec = EXEC(.tty = true, .rows = 1)), "exec.rows: ");
	refused(s, OPTIONS(.exec = EXEC(.tty = true, .cols = 1)), "exec.cols: ");
	refused(s, OPTIONS(.exec = EXEC(.output_limit_bytes = 1)), "exec.output_limit_bytes: ");
	refused(s, OPTIONS(.exec = EXEC(.output_policy = COVE_OUTPUT_TAIL)),
		"exec.output_policy: ");
	refused(s, OPTIONS(.exec = EXEC(.flags = COVE_EXEC_NONBLOCK)), "exec.flags: ");
	refused(s, OPTIONS(.exec = EXEC(.user_data = s)), "exec.user_data: ");
	refused(s, OPTIONS(.exec = EXEC(.cwd = "here")), "cwd: ");
	refused(s, OPTIONS(.from = COVE_FROM_NOW), "from: is for cove_attach_session()");
	refused(s, OPTIONS(.stdout_offset = 1), "stdout_offset: ");
	refused(s, OPTIONS(.lossy = true), "lossy: ");
	refused(s, OPTIONS(.read_only = true), "read_only: ");
	refused(s, OPTIONS(.script = "true"), "script: ");
	refused(s, OPTIONS(.input_fd = -1), "input_fd: ");
	refused(s, OPTIONS(.output_fd = -1), "output_fd: ");
	CHECK_INT(cove_attach(s, ARGV(NULL), NULL, &result, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_attach(s, NULL, NULL, &result, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_attach_session(s, "../x", NULL, &result, &err), ==, COVE_E_INVALID);
	CHECK_INT(cove_attach_session(s, NULL, NULL, &result, &err), ==, COVE_E_INVALID);
	struct cove_attach_options with_exec = COVE_ATTACH_OPTIONS_INIT;
	with_exec.exec = EXEC(.tty = true);
	CHECK_INT(cove_attach_session(s, "x", &with_exec, &result, &err), ==, COVE_E_INVALID);
	CHECK_CONTAINS(err.message, "exec: ");
	CHECK_INT(cove_detach_keys_check(NULL, &err), ==, 0);
	CHECK_INT(cove_detach_keys_check("ctrl-a,d", &err), ==, 0);
	CHECK_INT(cove_detach_keys_check("ctrl-ä", &err), ==, COVE_E_INVALID);

	/* On a terminal, so that this is all there is to complain of. */
	_cleanup_(terminal_freep) struct terminal *t = terminal_new(24, 80);
	ATTACH(t, .script = "echo no", .options.detach_keys = "ctrl-p,");
	CHECK_CONTAINS(wait_report(t, COVE_E_INVALID).err.message, "detach_keys: ");
	CHECK_INT(n_sessions(s), ==, 0);
	box_stop(s);
}

/* Only the test has the reading end. */
static int close_pipe(void)
{
	return close(pipe_fd) < 0 || signal(SIGPIPE, SIG_DFL) == SIG_ERR;
}

static void test_failures(void)
{
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	struct cove_error err = COVE_ERROR_INIT;
	ATTACH(t, .argv = ARGV("/no/such/thing"));
	struct report report = wait_report(t, COVE_E_START);
	CHECK_INT(report.err.stage, ==, COVE_STAGE_EXEC);
	CHECK_INT(report.err.os_errno, ==, ENOENT);
	CHECK_STR(terminal_row(t, 0), "");
	ATTACH(t, .id = "nobody");
	wait_report(t, COVE_E_NOT_FOUND);
	box_prints(s, "echo hi", EXEC(.id = "pipes"), "hi\n");
	ATTACH(t, .id = "pipes");
	CHECK_CONTAINS(wait_report(t, COVE_E_STATE).err.message, "has no terminal");
	ATTACH(t, .script = "true", .new_id = "pipes");
	CHECK_CONTAINS(wait_report(t, COVE_E_STATE).err.message, "has no terminal");
	CHECK_COVE(cove_session_collect(s, "pipes", NULL, &err), &err);
	ATTACH(t, .id = "pipes");
	wait_report(t, COVE_E_GONE);
	/* Output that nobody takes any more. */
	ATTACH(t, .script = "echo up", .output = "/dev/full");
	report = wait_report(t, COVE_E_SYSTEM);
	CHECK_INT(report.err.os_errno, ==, ENOSPC);
	CHECK_SYS(mkfifo(tap_path("pipe"), 0600));
	pipe_fd = CHECK_SYS(open(tap_path("pipe"), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
	ATTACH(t, .script = "read x; echo up", .output = tap_path("pipe"), .before = close_pipe);
	wait_raw(t);
	close(pipe_fd);
	terminal_type(t, "\r");
	report = wait_report(t, COVE_E_SYSTEM);
	CHECK_INT(report.err.os_errno, ==, EPIPE);
	box_stop(s);
}

/* Everything that dies under it. */
static void test_deaths(void)
{
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	for (unsigned i = 0; i < 2; i++) {
		ATTACH(t, .script = FULL_SCREEN);
		terminal_wait_text(t, "full 24 80");
		struct cove_sandbox_info *info = box_inspect("box");
		CHECK_SYS(kill(i == 0 ? info->supervisor_pid : info->vmm_pid, SIGKILL));
		cove_sandbox_info_free(info);
		struct report report = wait_report(t, COVE_E_LOST);
		CHECK(report.err.message[0]);
		cove_sandbox_free(s);
		struct cove_error err = COVE_ERROR_INIT;
		(void)!cove_sandbox_remove("box", true, &err);
		s = box_create("box", NULL);
	}
	ATTACH(t, .script = FULL_SCREEN);
	terminal_wait_text(t, "full 24 80");
	box_stop(s);
	/* Ended in order: that is known. */
	struct cove_attach_result result = wait_end(t, COVE_ATTACH_EXITED);
	CHECK_INT(result.exit.cause, ==, COVE_CAUSE_STOPPED);
}

static cove_sandbox *old_handle;

static int use_old_handle(void *data)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_attach_result result;
	(void)data;
	int r = cove_attach(old_handle, ARGV("true"), NULL, &result, &err);
	return r == COVE_E_LOST && strstr(err.message, "another one of that name") ? 0 : 1;
}

static void test_another_sandbox(void)
{
	_cleanup_(terminal_freep) struct terminal *t = begin(&old_handle);
	struct cove_error err = COVE_ERROR_INIT;
	CHECK_COVE(cove_sandbox_stop(old_handle, NULL, &err), &err);
	cove_sandbox *s = box_create("box", NULL);
	terminal_run_function(t, use_old_handle, NULL);
	CHECK_INT(terminal_wait_exit(t), ==, 0);
	CHECK_INT(n_sessions(s), ==, 0);
	cove_sandbox_free(old_handle);
	box_stop(s);
}

/* ---- other threads ---- */

static void *attach_meanwhile(void *data)
{
	cove_sandbox *s = data;
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_attach_result result;
	struct termios modes;
	do
		poll(NULL, 0, 1);
	while (tcgetattr(0, &modes) == 0 && modes.c_lflag & ICANON);
	int r = cove_attach(s, ARGV("true"), NULL, &result, &err);
	(void)!write(1, r == COVE_E_STATE ? "STATE" : "other", 5);
	cove_output *out;
	if (cove_exec(s, ARGV("/bin/echo", "fine"), NULL, &out, &err) == 0)
		(void)!write(1, out->stdout_data, 4), cove_output_free(out);
	return NULL;
}

static int use_two(void *data)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_attach_result result;
	cove_sandbox *s;
	pthread_t thread;
	(void)data;
	if (cove_sandbox_connect("box", &s, &err) < 0 ||
	    pthread_create(&thread, NULL, attach_meanwhile, s) != 0)
		return 1;
	int r = cove_attach(s, ARGV("/bin/sh", "-c", "echo up; exec cat"), NULL, &result, &err);
	pthread_join(thread, NULL);
	cove_sandbox_free(s);
	return r < 0 || result.end != COVE_ATTACH_DETACHED;
}

static void test_two(void)
{
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	terminal_run_function(t, use_two, NULL);
	terminal_wait_text(t, "up");
	terminal_wait_text(t, "STATE");
	terminal_wait_text(t, "fine");
	terminal_type(t, "\035");
	CHECK_INT(terminal_wait_exit(t), ==, 0);
	terminal_check_restored(t);
	box_stop(s);
}

static int go_fds[2];

static void *exit_meanwhile(void *data)
{
	char byte;
	(void)data;
	if (read(go_fds[0], &byte, 1) == 1)
		exit(42);
	return NULL;
}

static int exits(void *data)
{
	struct cove_attach_result result;
	cove_sandbox *s;
	pthread_t thread;
	(void)data;
	if (cove_sandbox_connect("box", &s, NULL) == 0 &&
	    pthread_create(&thread, NULL, exit_meanwhile, NULL) == 0)
		(void)!cove_attach(s, ARGV("/bin/sh", "-c", FULL_SCREEN), NULL, &result, NULL);
	return 1;
}

static void test_exit(void)
{
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	CHECK_SYS(pipe2(go_fds, O_CLOEXEC));
	terminal_run_function(t, exits, NULL);
	terminal_wait_text(t, "full 24 80");
	CHECK_INT(write(go_fds[1], "", 1), ==, 1);
	CHECK_INT(terminal_wait_exit(t), ==, 42);
	terminal_check_restored(t);
	close(go_fds[0]);
	close(go_fds[1]);
	box_stop(s);
}

/* ---- many times ---- */

#define ROUNDS 1000

/* Freed memory is kept for a while by the sanitizers, which look for leaks themselves. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define GROWTH_MAX_KIB (1024 * 1024)
#else
#define GROWTH_MAX_KIB 1024
#endif

static long resident_kib(void)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	if (f) {
		if (fscanf(f, "%*d %ld", &pages) != 1)
			pages = 0;
		fclose(f);
	}
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int count_fds(void)
{
	int n = 0;
	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* One program that comes and goes; 0 when nothing was left behind. */
static int use_often(void *data)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_attach_result result;
	cove_sandbox *s;
	long before_kib = 0;
	(void)data;
	if (cove_sandbox_connect("box", &s, &err) < 0)
		return 1;
	int fds = count_fds();
	for (unsigned i = 0; i < ROUNDS; i++) {
		int r = i == 0 ? cove_attach(
					 s, ARGV("/bin/cat"),
					 &(struct cove_attach_options){
						 .struct_size = sizeof(struct cove_attach_options),
						 .exec = EXEC(.id = "one") },
					 &result, &err)
			       : cove_attach_session(s, "one", NULL, &result, &err);
		if (r < 0 || result.end != COVE_ATTACH_DETACHED || result.unsent_bytes)
			return 2;
		if (i == ROUNDS / 10)
			before_kib = resident_kib();
	}
	if (count_fds() != fds)
		return 3;
	if (resident_kib() > before_kib + GROWTH_MAX_KIB)
		return 4;
	cove_sandbox_free(s);
	return 0;
}

static void test_often(void)
{
	cove_sandbox *s;
	_cleanup_(terminal_freep) struct terminal *t = begin(&s);
	terminal_set_deadline(t, 100000);
	terminal_run_function(t, use_often, NULL);
	TERMINAL_WAIT(t, !terminal_running(t) || (terminal_type(t, "x\035"), false));
	CHECK_INT(terminal_wait_exit(t), ==, 0);
	terminal_check_restored(t);
	box_stop(s);
}

static const struct tap_test tests[] = {
	{ "a command on the terminal", test_runs },
	{ "a shell on the terminal", test_shell },
	{ "leaving and coming back", test_detaches },
	{ "the same command again", test_same_id },
	{ "detach keys", test_keys },
	{ "a program that does not read", test_unread, .timeout_s = 60 },
	{ "a program that writes without end", test_flood, .timeout_s = 60 },
	{ "output that nobody takes, and a guest that is frozen", test_stuck },
	{ "the size of the window", test_resize },
	{ "a program with the whole screen", test_full_screen },
	{ "modes that nobody remembers", test_forgotten_modes },
	{ "questions are asked once", test_questions },
	{ "signals that end a program", test_signals },
	{ "handlers of the program", test_handlers },
	{ "suspended and continued", test_suspend },
	{ "started in the background", test_background },
	{ "the window is closed", test_hangup },
	{ "not a terminal", test_not_a_terminal },
	{ "options that cannot be", test_options },
	{ "what cannot be shown", test_failures },
	{ "the sandbox dies", test_deaths, .timeout_s = 60 },
	{ "another sandbox of that name", test_another_sandbox },
	{ "two at a time", test_two },
	{ "exit() by another thread", test_exit },
	{ "a thousand times", test_often, .timeout_s = 120 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
