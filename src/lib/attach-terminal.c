/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/attach-terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/macro.h"

#define ROWS_DEFAULT 24
#define COLS_DEFAULT 80

/*
 * What a terminal takes at once when poll() says that it takes anything: n_tty wants 256 bytes of
 * room for that (WAKEUP_CHARS).
 */
#define TERMINAL_PORTION 256
/* More at once would only keep the keys waiting. */
#define FILE_PORTION (64u * 1024)

/* How long exit() waits for a thread that is writing to the terminal, and a terminal for its undoing. */
#define EXIT_LIMIT_MS 100
#define UNDO_LIMIT_MS 100

/*
 * The terminal that is raw, for exit() by another thread; in a child of fork() it is not ours. The
 * lock is held for everything that changes the terminal or what is known of it.
 */
static pthread_mutex_t raw_lock = PTHREAD_MUTEX_INITIALIZER;
static struct attach_terminal *_Atomic raw_terminal;
static _Atomic pid_t raw_pid;

/* ---- descriptors ---- */

/* Another description of the same file, or the descriptor itself where there is none to be had. */
static int open_own(int fd, int mode)
{
	char path[32];
	struct stat theirs, ours;
	unsigned number;
	/* Opening the master of a pty makes another pty. */
	if (ioctl(fd, TIOCGPTN, &number) == 0)
		return fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	_cleanup_close_ int new = open(path, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (new < 0 || fstat(fd, &theirs) < 0 || fstat(new, &ours) < 0 ||
	    theirs.st_dev != ours.st_dev || theirs.st_ino != ours.st_ino ||
	    theirs.st_rdev != ours.st_rdev)
		return fd;
	return TAKE_FD(new);
}

static int init_output(struct attach_terminal *t, struct cove_error *err)
{
	struct stat st;
	int flags = fcntl(t->output_fd, F_GETFL);
	if (flags < 0 || fstat(t->output_fd, &st) < 0 || (flags & O_ACCMODE) == O_RDONLY)
		return error_set_errno(err, COVE_E_INVALID, flags < 0 ? errno : EBADF,
				       "output_fd: %d cannot be written to", t->output_fd);
	t->shows = isatty(t->output_fd);
	t->write_fd = t->output_fd;
	t->output = OUTPUT_FILE;
	t->portion = FILE_PORTION;
	if (S_ISSOCK(st.st_mode)) {
		t->output = OUTPUT_SOCKET;
	} else if (t->shows || S_ISFIFO(st.st_mode)) {
		t->write_fd = open_own(t->output_fd, O_WRONLY);
		t->output = t->write_fd != t->output_fd ? OUTPUT_OWN : OUTPUT_PORTIONS;
		if (t->output == OUTPUT_PORTIONS)
			t->portion = t->shows ? TERMINAL_PORTION : PIPE_BUF;
	}
	return 0;
}

int attach_terminal_init(struct attach_terminal *t, int input_fd, int output_fd,
			 struct cove_error *err)
{
	t->input_fd = t->read_fd = input_fd;
	t->output_fd = t->write_fd = output_fd;
	t->raw = false;
	attach_screen_init(&t->screen);
	if (!isatty(input_fd))
		return error_set_errno(err, COVE_E_INVALID, errno, "input_fd: %d is not a terminal",
				       input_fd);
	int r = init_output(t, err);
	if (r == 0)
		t->read_fd = open_own(input_fd, O_RDONLY);
	return r;
}

void attach_terminal_done(struct attach_terminal *t)
{
	if (t->read_fd != t->input_fd)
		fd_close(t->read_fd);
	if (t->write_fd != t->output_fd)
		fd_close(t->write_fd);
	t->read_fd = t->input_fd;
	t->write_fd = t->output_fd;
}

/* ---- size ---- */

struct attach_size attach_terminal_size(const struct attach_terminal *t)
{
	struct winsize size = { 0 };
	if (!t->shows || ioctl(t->output_fd, TIOCGWINSZ, &size) < 0)
		(void)ioctl(t->input_fd, TIOCGWINSZ, &size);
	return (struct attach_size){
		.rows = size.ws_row ? size.ws_row : ROWS_DEFAULT,
		.cols = size.ws_col ? size.ws_col : COLS_DEFAULT,
	};
}

/* ---- writing ---- */

static ssize_t write_some(struct attach_terminal *t, const void *data, size_t n)
{
	if (t->output == OUTPUT_PORTIONS) {
		struct pollfd p = { .fd = t->write_fd, .events = POLLOUT };
		if (poll(&p, 1, 0) <= 0)
			return 0;
	}
	n = MIN(n, t->portion);
	ssize_t k = t->output == OUTPUT_SOCKET
			    ? send(t->write_fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL)
			    : write(t->write_fd, data, n);
	if (k < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -errno;
	return k;
}

ssize_t attach_terminal_write(struct attach_terminal *t, const void *data, size_t n, bool follow)
{
	pthread_mutex_lock(&raw_lock);
	ssize_t k = write_some(t, data, n);
	if (k > 0 && follow)
		attach_screen_follow(&t->screen, data, (size_t)k);
	pthread_mutex_unlock(&raw_lock);
	return k;
}

size_t attach_terminal_filter(struct attach_terminal *t, const uint8_t *data, size_t n,
			      uint8_t *out)
{
	pthread_mutex_lock(&raw_lock);
	size_t size = attach_screen_filter(&t->screen, data, n, out);
	pthread_mutex_unlock(&raw_lock);
	return size;
}

size_t attach_terminal_adjust(struct attach_terminal *t, const void *wanted, size_t n, uint8_t *out)
{
	pthread_mutex_lock(&raw_lock);
	size_t size = attach_screen_adjust(&t->screen, wanted, n, out);
	pthread_mutex_unlock(&raw_lock);
	return size;
}

size_t attach_terminal_release(struct attach_terminal *t, uint8_t *out)
{
	pthread_mutex_lock(&raw_lock);
	size_t size = attach_screen_release(&t->screen, out);
	pthread_mutex_unlock(&raw_lock);
	return size;
}

size_t attach_terminal_cancel(struct attach_terminal *t, uint8_t *out)
{
	pthread_mutex_lock(&raw_lock);
	size_t size = attach_screen_cancel(&t->screen, out);
	pthread_mutex_unlock(&raw_lock);
	return size;
}

/* A few bytes that are to be seen before the terminal changes hands; but it may not be taking any. */
static void write_all(struct attach_terminal *t, const uint8_t *data, size_t n)
{
	while (n > 0) {
		ssize_t k = write_some(t, data, n);
		struct pollfd p = { .fd = t->write_fd, .events = POLLOUT };
		if (k < 0 || (k == 0 && poll(&p, 1, UNDO_LIMIT_MS) <= 0))
			return;
		data += k;
		n -= (size_t)k;
	}
}

/* ---- modes ---- */

static int set_modes(int fd, const struct termios *modes)
{
	/*
	 * Not TCSAFLUSH, which throws away what has been typed ahead, and not TCSADRAIN: a terminal
	 * whose output is stopped would keep us here. What is written is in the hands of the line
	 * discipline already, which has done with it what its modes said.
	 */
	while (tcsetattr(fd, TCSANOW, modes) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* As ssh does it: every byte as it is typed, and out as it comes. Speed, size of bytes, UTF-8 stay. */
static struct termios make_raw(struct termios modes)
{
	modes.c_iflag |= IGNPAR;
	modes.c_iflag &= ~(tcflag_t)(BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IUCLC |
				     IXON | IXANY | IXOFF);
	modes.c_oflag &= ~(tcflag_t)OPOST;
	modes.c_lflag &= ~(tcflag_t)(ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHONL | IEXTEN);
	modes.c_cc[VMIN] = 1;
	modes.c_cc[VTIME] = 0;
	return modes;
}

int attach_terminal_raw(struct attach_terminal *t, bool again, struct cove_error *err)
{
	struct termios modes;
	if (!again && tcgetattr(t->input_fd, &t->saved) < 0)
		return error_set_errno(err, COVE_E_SYSTEM, errno,
				       "cannot read the terminal's modes");
	modes = make_raw(t->saved);
	/* Without the lock: in the background the process is stopped here. */
	int r = set_modes(t->input_fd, &modes);
	if (r == -EIO && tcgetpgrp(t->input_fd) != getpgrp())
		return error_set_errno(err, COVE_E_SYSTEM, r,
				       "the terminal belongs to another job, and there is no shell "
				       "that could give it to this one");
	if (r < 0)
		return error_set_errno(err, COVE_E_SYSTEM, r, "cannot set the terminal's modes");

	pthread_mutex_lock(&raw_lock);
	t->raw = true;
	raw_pid = getpid();
	raw_terminal = t;
	if (again && t->shows) {
		uint8_t bytes[SCREEN_MODES_BYTES];
		write_all(t, bytes, screen_modes_redo(&t->screen.screen.modes, bytes));
	}
	pthread_mutex_unlock(&raw_lock);
	return 0;
}

static void restore(struct attach_terminal *t, bool flush)
{
	uint8_t bytes[ATTACH_SCREEN_CANCEL + SCREEN_MODES_BYTES];
	sigset_t ttou, old;
	if (t->shows) {
		size_t n = attach_screen_cancel(&t->screen, bytes);
		n += screen_modes_undo(&t->screen.screen.modes, bytes + n);
		write_all(t, bytes, n);
	}
	/* In the background too: whoever was given the terminal may have been given it raw. */
	sigemptyset(&ttou);
	sigaddset(&ttou, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &ttou, &old);
	if (flush)
		tcflush(t->input_fd, TCIFLUSH);
	(void)set_modes(t->input_fd, &t->saved);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	t->raw = false;
}

void attach_terminal_restore(struct attach_terminal *t, bool flush)
{
	pthread_mutex_lock(&raw_lock);
	if (t->raw)
		restore(t, flush);
	raw_terminal = NULL;
	pthread_mutex_unlock(&raw_lock);
}

/* exit(). The lock stays with us: nobody changes the terminal any more. */
__attribute__((destructor)) static void restore_at_exit(void)
{
	struct timespec limit;
	if (!raw_terminal || raw_pid != getpid())
		return;
	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_nsec += EXIT_LIMIT_MS * 1000000L;
	limit.tv_sec += limit.tv_nsec / 1000000000L;
	limit.tv_nsec %= 1000000000L;
	/* Whoever calls exit() in a signal handler may hold it; then it is as good as held. */
	(void)pthread_mutex_timedlock(&raw_lock, &limit);
	struct attach_terminal *t = raw_terminal;
	if (t && t->raw)
		restore(t, true);
	raw_terminal = NULL;
}
