/* SPDX-License-Identifier: Apache-2.0 */

/*
 * cove-supervisor --fd N: one sandbox, from the CREATE that comes through socket N to its end. See
 * docs/architecture.md. Started by libcove, with --orphan; it does not hold on to the creator's terminal,
 * working directory or process group, and it is the creator's connection and process, not its being our
 * parent, that an attached sandbox depends on.
 */

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fd.h"
#include "supervisor/client.h"
#include "supervisor/conn.h"
#include "supervisor/doctor.h"
#include "supervisor/limits.h"
#include "supervisor/log.h"
#include "supervisor/orphan.h"
#include "supervisor/sandbox.h"
#include "supervisor/until.h"

#define EXIT_USAGE 2

/* ---- the process ---- */

/* Folders that are named relative to the creator's working directory stay what they were. */
static int make_absolute(const char *variable)
{
	const char *value = getenv(variable);
	if (!value || !*value || *value == '/')
		return 0;
	_cleanup_free_ char *cwd = getcwd(NULL, 0), *path = NULL;
	if (!cwd)
		return -errno;
	if (asprintf(&path, "%s/%s", cwd, value) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	return setenv(variable, path, 1) < 0 ? -errno : 0;
}

/* 0, 1 and 2 exist and lead nowhere; stderr is left to tell of trouble until there is a log. */
static int detach_stdio(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (dup2(fd, STDIN_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0)
		return -errno;
	if (fcntl(STDERR_FILENO, F_GETFD) < 0 && dup2(fd, STDERR_FILENO) < 0)
		return -errno;
	if (fd > STDERR_FILENO)
		close(fd);
	return 0;
}

static int settle(void)
{
	static const char *const folders[] = { "COVE_HOME", "COVE_SHARE_DIR", "COVE_LIBEXEC_DIR" };
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	umask(077);
	/* Big blocks (rings, long messages) go back to the system when they are freed. */
	mallopt(M_MMAP_THRESHOLD, 128 * 1024);

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		int r = make_absolute(folders[i]);
		if (r < 0)
			return r;
	}
	int r = detach_stdio();
	if (r < 0)
		return r;
	(void)setsid(); /* fails when it is done already */
	return chdir("/") < 0 ? -errno : 0;
}

/* ---- what ends it from outside ---- */

static void on_signal(uv_signal_t *handle, _unused_ int number)
{
	struct supervisor *s = handle->data;
	if (s->state >= SANDBOX_STOPPING)
		sandbox_kill(s, COVE_END_KILLED, "its supervisor was told twice to end");
	else
		sandbox_stop(s, COVE_END_STOPPED, STOP_GRACE_DEFAULT_MS);
}

static void on_creator_ended(uv_poll_t *poll, _unused_ int status, _unused_ int events)
{
	uv_poll_stop(poll);
	sandbox_creator_gone(poll->data);
}

/*
 * The connection alone is not enough to tell: a child that the creator forked has it open, too. But
 * the kernel remembers who made the socket pair.
 */
static int watch_creator(struct supervisor *s, int fd)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return -errno;
	if (cred.pid <= 0 || cred.pid == getpid())
		return 0; /* not in our pid namespace: the connection must do */
	s->creator_pid_fd = pidfd_open(cred.pid, 0);
	if (s->creator_pid_fd < 0 && errno == ESRCH)
		return -ESRCH; /* gone already */
	if (s->creator_pid_fd < 0)
		return errno == ENOSYS || errno == EPERM ? 0 : -errno;
	int r = uv_poll_init(&s->loop, &s->creator_poll, s->creator_pid_fd);
	if (r < 0)
		return r;
	s->creator_poll.data = s;
	return uv_poll_start(&s->creator_poll, UV_READABLE, on_creator_ended);
}

/* ---- the loop ---- */

static void on_flush(uv_prepare_t *handle)
{
	struct supervisor *s = handle->data;
	conn_flush_all(&s->dirty);
}

static int init(struct supervisor *s)
{
	*s = (struct supervisor){ .folder = FOLDER_INIT, .creator_pid_fd = -1, .stand_in_fd = -1 };
	list_init(&s->dirty);
	list_init(&s->clients);
	list_init(&s->until_asked);
	transcript_init(&s->console, CONSOLE_KEEP);
	transcript_init(&s->vmm_stderr, VMM_KEEP);
	int r = uv_loop_init(&s->loop);
	if (r < 0)
		return r;
	uv_prepare_init(&s->loop, &s->flush);
	uv_timer_init(&s->loop, &s->deadline);
	uv_timer_init(&s->loop, &s->progress);
	uv_timer_init(&s->loop, &s->heartbeat);
	uv_signal_init(&s->loop, &s->sigterm);
	uv_signal_init(&s->loop, &s->sigint);
	s->flush.data = s->deadline.data = s->progress.data = s->heartbeat.data = s;
	s->sigterm.data = s->sigint.data = s;
	uv_prepare_start(&s->flush, on_flush);
	r = uv_signal_start(&s->sigterm, on_signal, SIGTERM);
	return r < 0 ? r : uv_signal_start(&s->sigint, on_signal, SIGINT);
}

static void close_handle(uv_handle_t *handle, _unused_ void *data)
{
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

/* The end of everything: what is still open belongs to clients that did not read. */
static void done(struct supervisor *s)
{
	LIST_FOREACH_SAFE (i, &s->clients) {
		client_drop(LIST_ENTRY(i, struct client, entry), NULL);
	}
	uv_walk(&s->loop, close_handle, NULL);
	while (uv_run(&s->loop, UV_RUN_DEFAULT) != 0) /* the first may find itself told to stop */
		;
	uv_loop_close(&s->loop);
	fd_close(s->creator_pid_fd);
	fd_close(s->stand_in_fd);
	until_free(s->until);
	spec_free(s->spec);
	image_free(s->image);
	transcript_done(&s->console);
	transcript_done(&s->vmm_stderr);
}

static int run(int fd, int stand_in_fd)
{
	struct supervisor s;
	int r = init(&s);
	s.stand_in_fd = stand_in_fd;
	if (r >= 0)
		r = watch_creator(&s, fd);
	if (r >= 0)
		r = client_add(&s, fd, &s.creator);
	if (r == -ESRCH)
		return EXIT_SUCCESS;
	if (r < 0) {
		fprintf(stderr, "cove-supervisor: %s\n", strerror(-r));
		return EXIT_FAILURE;
	}
	sandbox_arm_create_wait(&s);
	uv_run(&s.loop, UV_RUN_DEFAULT);
	done(&s);
	return EXIT_SUCCESS;
}

static int usage(void)
{
	fprintf(stderr, "usage: cove-supervisor --fd N [--orphan] | --doctor [--json]\n"
			"libcove starts it; there is nothing to do by hand with --fd.\n");
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	error_set_origin(COVE_ORIGIN_SUPERVISOR);
	if (argc >= 2 && !strcmp(argv[1], "--doctor"))
		return doctor_main(argc, argv);
	bool orphan = argc == 4 && !strcmp(argv[3], "--orphan");
	if ((argc != 3 && !orphan) || strcmp(argv[1], "--fd") != 0)
		return usage();

	char *end;
	errno = 0;
	long fd = strtol(argv[2], &end, 10);
	struct stat st;
	if (errno || *end || end == argv[2] || fd <= STDERR_FILENO || fd > 1 << 20 ||
	    fstat((int)fd, &st) < 0 || !S_ISSOCK(st.st_mode)) {
		fprintf(stderr, "cove-supervisor: %s is not a socket above 2\n", argv[2]);
		return EXIT_USAGE;
	}
	int stand_in_fd = -1;
	int r = fd_set_cloexec((int)fd, true);
	if (r >= 0 && orphan)
		r = orphan_start((int)fd, &stand_in_fd);
	if (r >= 0)
		r = settle();
	if (r < 0) {
		fprintf(stderr, "cove-supervisor: %s\n", strerror(-r));
		return EXIT_FAILURE;
	}
	return run((int)fd, stand_in_fd);
}
