/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"
#include "harness/terminal-private.h"

/* How long a wait for something that does not come through the terminal stays away from it. */
#define LOOK_AGAIN_MS 10

/* What the shell tells when the program runs, is stopped, goes on and has ended. */
struct report {
	pid_t program;
	enum terminal_state state;
	int wait_status;
};

/* ---- the pty ---- */

static void set_size(struct terminal *t)
{
	struct winsize size = { .ws_row = (unsigned short)t->rows,
				.ws_col = (unsigned short)t->cols };
	CHECK_SYS(ioctl(t->master, TIOCSWINSZ, &size));
}

static void open_pty(struct terminal *t)
{
	char path[64];
	t->master = (int)CHECK_SYS(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
	CHECK_SYS(grantpt(t->master));
	CHECK_SYS(unlockpt(t->master));
	CHECK_INT(ptsname_r(t->master, path, sizeof(path)), ==, 0);
	set_size(t);
	t->slave = (int)CHECK_SYS(open(path, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
	CHECK_SYS(tcgetattr(t->slave, &t->start));
}

struct terminal *terminal_new(unsigned rows, unsigned cols)
{
	struct terminal *t = calloc(1, sizeof(*t));
	CHECK(t);
	t->rows = rows;
	t->cols = cols;
	t->deadline_ms = TERMINAL_WAIT_MS;
	t->shell_fd = -1;
	terminal_screen_init(t);
	open_pty(t);
	return t;
}

/* Without a word from us, the shell kills what is left and ends. */
static void end_shell(struct terminal *t)
{
	if (t->shell <= 0)
		return;
	if (t->state != TERMINAL_ENDED)
		kill(-t->program, SIGKILL);
	t->shell_fd = fd_close(t->shell_fd);
	while (waitpid(t->shell, NULL, 0) < 0 && errno == EINTR)
		;
	t->shell = t->program = 0;
}

static void close_pty(struct terminal *t)
{
	end_shell(t);
	t->master = fd_close(t->master);
	t->slave = fd_close(t->slave);
}

struct terminal *terminal_free(struct terminal *t)
{
	if (!t)
		return NULL;
	close_pty(t);
	terminal_screen_done(t);
	free(t);
	return NULL;
}

void terminal_set_deadline(struct terminal *t, int timeout_ms)
{
	t->deadline_ms = timeout_ms;
}

void terminal_resize(struct terminal *t, unsigned rows, unsigned cols)
{
	t->rows = rows;
	t->cols = cols;
	vterm_set_size(t->vterm, (int)rows, (int)cols);
	set_size(t);
}

void terminal_size(const struct terminal *t, unsigned *ret_rows, unsigned *ret_cols)
{
	*ret_rows = t->rows;
	*ret_cols = t->cols;
}

/* ---- the shell, in a process of its own ---- */

static volatile pid_t shell_program;

static void shell_on_hangup(int signal)
{
	if (shell_program > 0)
		kill(-shell_program, signal);
}

static const int shell_ignores[] = { SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGPIPE };

_Noreturn static void become_program(const struct terminal_program *p, int slave)
{
	/* As shells do, in both processes, so that none has to wait for the other. */
	setpgid(0, 0);
	tcsetpgrp(slave, getpid());
	for (int fd = 0; fd < 3; fd++)
		if (dup2(p->fds && p->fds[fd] >= 0 ? p->fds[fd] : slave, fd) < 0)
			_exit(126);
	close(slave);
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);

	setenv("TERM", "xterm-256color", 1);
	unsetenv("COLORTERM");
	unsetenv("LINES");
	unsetenv("COLUMNS");
	for (size_t i = 0; p->env && p->env[i]; i++)
		putenv((char *)(uintptr_t)p->env[i]); /* without a '=' it takes away */
	if (p->function)
		_exit(p->function(p->data));
	execvp(p->argv[0], (char *const *)(uintptr_t)p->argv);
	fprintf(stderr, "%s: %s\r\n", p->argv[0], strerror(errno));
	_exit(127);
}

_Noreturn static void be_shell(const struct terminal_program *p, int slave, int control)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setsid();
	if (ioctl(slave, TIOCSCTTY, 0) < 0)
		_exit(126);
	fcntl(slave, F_SETFL, fcntl(slave, F_GETFL) & ~O_NONBLOCK);
	for (size_t i = 0; i < ARRAY_SIZE(shell_ignores); i++)
		signal(shell_ignores[i], SIG_IGN);

	pid_t pid = fork();
	if (pid == 0) {
		close(control);
		become_program(p, slave);
	}
	setpgid(pid, pid);
	tcsetpgrp(slave, pid);
	shell_program = pid;
	signal(SIGHUP, shell_on_hangup);

	/* What the test has open must not stay open through this process. */
	if (dup2(slave, 0) < 0 || dup2(control, 1) < 0)
		_exit(126);
	close_range(2, ~0u, 0);
	struct report report = { .program = pid };
	for (;;) {
		report.state = TERMINAL_RUNNING;
		if (fd_write_full(1, &report, sizeof(report)) < 0)
			_exit(0);
		while (waitpid(pid, &report.wait_status, WUNTRACED) != pid)
			if (errno != EINTR)
				_exit(126);
		tcsetpgrp(0, getpgrp());
		report.state = WIFSTOPPED(report.wait_status) ? TERMINAL_STOPPED : TERMINAL_ENDED;
		char foreground;
		if (fd_write_full(1, &report, sizeof(report)) < 0 ||
		    fd_read_full(1, &foreground, 1) < 0) {
			if (report.state == TERMINAL_STOPPED)
				kill(-pid, SIGKILL);
			_exit(0);
		}
		if (foreground)
			tcsetpgrp(0, pid);
		kill(-pid, SIGCONT);
	}
}

/* Takes what the shell says, if it has said something. */
static void hear_shell(struct terminal *t)
{
	struct report report;
	if (t->shell_fd < 0)
		return;
	ssize_t n = recv(t->shell_fd, &report, sizeof(report), MSG_DONTWAIT);
	if (n < 0)
		return;
	CHECK_INT(n, ==, sizeof(report)); /* it does not end before it has told the program's */
	t->program = report.program;
	t->wait_status = report.wait_status;
	t->state = report.state;
}

void terminal_run_program(struct terminal *t, const struct terminal_program *program)
{
	if (t->shell > 0) {
		terminal_pump(t);
		CHECK_INT(t->state, ==, TERMINAL_ENDED);
		close_pty(t);
		open_pty(t);
	}
	t->state = TERMINAL_EMPTY;

	int fds[2];
	CHECK_SYS(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds));
	pid_t pid = fork();
	CHECK_SYS(pid);
	if (pid == 0) {
		close(t->master);
		close(fds[0]);
		be_shell(program, t->slave, fds[1]);
	}
	close(fds[1]);
	t->shell = pid;
	t->shell_fd = fds[0];
	TERMINAL_WAIT(t, t->state != TERMINAL_EMPTY);
}

void terminal_run(struct terminal *t, const char *const *argv)
{
	terminal_run_program(t, &(struct terminal_program){ .argv = argv });
}

void terminal_run_function(struct terminal *t, int (*function)(void *data), void *data)
{
	terminal_run_program(t, &(struct terminal_program){ .function = function, .data = data });
}

pid_t terminal_pid(const struct terminal *t)
{
	return t->program;
}

bool terminal_running(struct terminal *t)
{
	terminal_pump(t);
	return t->state == TERMINAL_RUNNING;
}

void terminal_continue(struct terminal *t, bool foreground)
{
	CHECK_INT(t->state, ==, TERMINAL_STOPPED);
	char byte = foreground;
	CHECK_INT(send(t->shell_fd, &byte, 1, 0), ==, 1);
	TERMINAL_WAIT(t, t->state != TERMINAL_STOPPED);
}

void terminal_hangup(struct terminal *t)
{
	t->master = fd_close(t->master);
}

/* ---- bytes ---- */

static bool read_some(struct terminal *t, struct terminal_buffer *into)
{
	char data[16384];
	if (t->master < 0)
		return false;
	ssize_t n = read(t->master, data, sizeof(data));
	if (n <= 0)
		return false;
	if (into)
		terminal_buffer_add(into, data, (size_t)n);
	else
		terminal_screen_feed(t, data, (size_t)n);
	return true;
}

static void write_some(struct terminal *t)
{
	if (t->to_program.size == 0 || t->master < 0)
		return;
	ssize_t n = write(t->master, t->to_program.data, t->to_program.size);
	if (n > 0)
		terminal_buffer_drop(&t->to_program, (size_t)n);
}

bool terminal_pump(struct terminal *t)
{
	bool some = false;
	hear_shell(t);
	/* A flood does not keep those who wait from looking at their clock. */
	for (int i = 0; i < 16 && read_some(t, NULL); i++)
		some = true;
	write_some(t);
	return some;
}

static void wait_for_more(struct terminal *t)
{
	struct pollfd fds[] = {
		{ .fd = t->master, .events = POLLIN },
		{ .fd = t->shell_fd, .events = POLLIN },
	};
	if (t->to_program.size > 0)
		fds[0].events |= POLLOUT;
	poll(fds, ARRAY_SIZE(fds), LOOK_AGAIN_MS);
	terminal_pump(t);
}

void terminal_wait_begin(struct terminal *t)
{
	t->wait_end = tap_deadline(t->deadline_ms);
	terminal_pump(t);
}

bool terminal_too_late(const struct terminal *t)
{
	return tap_deadline(0) >= t->wait_end;
}

void terminal_wait_more(const char *file, int line, struct terminal *t, const char *what)
{
	if (terminal_too_late(t)) {
		terminal_dump(t);
		tap_fail(file, line, "%s is not true after %d ms", what, t->deadline_ms);
	}
	wait_for_more(t);
}

/*
 * What the slave takes comes out at the master a moment later (a worker of the kernel carries it).
 * When a program has ended, a mark that is written after it says that all of it has come.
 */
static void take_all(struct terminal *t)
{
	char mark[32];
	int size = snprintf(mark, sizeof(mark), "\033]5379;%u\033\\", ++t->marks);
	struct terminal_buffer came = { 0 };
	terminal_buffer_add(&came, "", 0);
	const char *at;
	int written = 0;

	terminal_wait_begin(t);
	while (!(at = memmem(came.data, came.size, mark, (size_t)size))) {
		if (written < size) {
			ssize_t n = write(t->slave, mark + written, (size_t)(size - written));
			written += n > 0 ? (int)n : 0;
		}
		poll(&(struct pollfd){ .fd = t->master, .events = POLLIN }, 1, LOOK_AGAIN_MS);
		read_some(t, &came);
		if (terminal_too_late(t)) {
			terminal_dump(t);
			tap_fail(__FILE__, __LINE__, "the terminal does not take any more");
		}
	}
	terminal_screen_feed(t, came.data, (size_t)(at - came.data));
	at += size;
	terminal_screen_feed(t, at, came.size - (size_t)(at - came.data));
	free(came.data);
}

int terminal_wait_exit_at(const char *file, int line, struct terminal *t)
{
	terminal_wait_begin(t);
	while (t->state != TERMINAL_ENDED)
		terminal_wait_more(file, line, t, "the program has ended");
	if (t->master >= 0)
		take_all(t);
	return WIFEXITED(t->wait_status) ? WEXITSTATUS(t->wait_status)
					 : 128 + WTERMSIG(t->wait_status);
}

int terminal_wait_stopped_at(const char *file, int line, struct terminal *t)
{
	terminal_wait_begin(t);
	while (t->state == TERMINAL_RUNNING)
		terminal_wait_more(file, line, t, "the program is stopped");
	CHECK_INT(t->state, ==, TERMINAL_STOPPED);
	take_all(t);
	return WSTOPSIG(t->wait_status);
}

void terminal_wait_text_at(const char *file, int line, struct terminal *t, const char *text)
{
	terminal_wait_begin(t);
	while (!terminal_has_text(t, text))
		terminal_wait_more(file, line, t, text);
}

void terminal_wait_row_at(const char *file, int line, struct terminal *t, unsigned row,
			  const char *text)
{
	terminal_wait_begin(t);
	while (strcmp(terminal_row(t, row), text) != 0)
		terminal_wait_more(file, line, t, text);
}

void terminal_wait_screen_at(const char *file, int line, struct terminal *t, const char *text)
{
	terminal_wait_begin(t);
	while (strcmp(terminal_screen(t), text) != 0) {
		if (terminal_too_late(t)) {
			tap_note("expected:");
			for (const char *p = text; *p; p += *p == '\n') {
				int n = (int)strcspn(p, "\n");
				tap_note("    |%.*s", n, p);
				p += n;
			}
		}
		terminal_wait_more(file, line, t, "the screen as expected");
	}
}

/* ---- keys ---- */

static void flush(struct terminal *t)
{
	terminal_wait_begin(t);
	while (t->to_program.size > 0)
		terminal_wait_more(__FILE__, __LINE__, t, "what was typed is read");
}

void terminal_write(struct terminal *t, const void *data, size_t n)
{
	terminal_buffer_add(&t->to_program, data, n);
	flush(t);
}

void terminal_type(struct terminal *t, const char *text)
{
	terminal_write(t, text, strlen(text));
}

void terminal_key(struct terminal *t, enum terminal_key key)
{
	static const VTermKey keys[] = {
		[TERMINAL_UP] = VTERM_KEY_UP,	       [TERMINAL_DOWN] = VTERM_KEY_DOWN,
		[TERMINAL_LEFT] = VTERM_KEY_LEFT,      [TERMINAL_RIGHT] = VTERM_KEY_RIGHT,
		[TERMINAL_HOME] = VTERM_KEY_HOME,      [TERMINAL_END] = VTERM_KEY_END,
		[TERMINAL_PAGE_UP] = VTERM_KEY_PAGEUP, [TERMINAL_PAGE_DOWN] = VTERM_KEY_PAGEDOWN,
		[TERMINAL_DELETE] = VTERM_KEY_DEL,     [TERMINAL_F1] = VTERM_KEY_FUNCTION(1),
	};
	t->says = TERMINAL_TYPES;
	vterm_keyboard_key(t->vterm, keys[key], VTERM_MOD_NONE);
	t->says = TERMINAL_ANSWERS;
	flush(t);
}

void terminal_paste(struct terminal *t, const char *text)
{
	t->says = TERMINAL_TYPES;
	vterm_keyboard_start_paste(t->vterm);
	for (; *text; text++)
		terminal_buffer_add(&t->to_program, *text == '\n' ? "\r" : text, 1);
	vterm_keyboard_end_paste(t->vterm);
	t->says = TERMINAL_ANSWERS;
	flush(t);
}

/* ---- settings ---- */

struct termios terminal_termios(struct terminal *t)
{
	struct termios now;
	CHECK_SYS(tcgetattr(t->slave, &now));
	return now;
}

void terminal_set_termios(struct terminal *t, const struct termios *termios)
{
	CHECK_INT(t->shell, ==, 0);
	CHECK_SYS(tcsetattr(t->slave, TCSANOW, termios));
	CHECK_SYS(tcgetattr(t->slave, &t->start));
}

bool terminal_termios_same(struct terminal *t)
{
	struct termios now = terminal_termios(t);
	const struct termios *start = &t->start;
	if (now.c_iflag == start->c_iflag && now.c_oflag == start->c_oflag &&
	    now.c_cflag == start->c_cflag && now.c_lflag == start->c_lflag &&
	    now.c_line == start->c_line && now.c_ispeed == start->c_ispeed &&
	    now.c_ospeed == start->c_ospeed && !memcmp(now.c_cc, start->c_cc, sizeof(now.c_cc)))
		return true;
	tap_note("settings: iflag %o, was %o; oflag %o, %o; cflag %o, %o; lflag %o, %o; cc %s",
		 now.c_iflag, start->c_iflag, now.c_oflag, start->c_oflag, now.c_cflag,
		 start->c_cflag, now.c_lflag, start->c_lflag,
		 memcmp(now.c_cc, start->c_cc, sizeof(now.c_cc)) ? "differ" : "are the same");
	return false;
}

void terminal_check_restored_at(const char *file, int line, struct terminal *t)
{
	terminal_pump(t);
	struct terminal_modes m = terminal_modes(t);
	const char *left = !terminal_termios_same(t) ? "the settings"
			   : m.alternate	     ? "the second screen"
			   : !m.cursor_visible	     ? "a hidden cursor"
			   : m.reverse		     ? "reverse video"
			   : m.mouse		     ? "the mouse"
			   : m.paste		     ? "brackets around pastes"
			   : m.focus		     ? "reports of the focus"
			   : m.application_cursor    ? "the application's cursor keys"
			   : m.application_keypad    ? "the application's keypad"
						     : NULL;
	if (left) {
		terminal_dump(t);
		tap_fail(file, line, "%s: not put back", left);
	}
}
