/* SPDX-License-Identifier: Apache-2.0 */
/* From a request to a running command. Everything that can be refused is refused before the spawn. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/environment.h"
#include "agent/spawn.h"
#include "agent/user.h"
#include "agent/viewer.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/name.h"
#include "wire/message.h"

#include "agent/poison.h"

/* What is gathered for one spawn, and dropped after it. */
struct start {
	struct agent *agent;
	const Cove__Wire__Exec *exec;
	char **words; /* argv as requested */
	char **argv;  /* with the shell before it; borrows from words */
	char **call_env;
	char *base_env[8]; /* what the agent itself gives */
	char **env;	   /* composed; borrows from the layers */
	char *cwd;
	const struct user *user; /* the cache's */
	struct spawn_rlimit rlimits[SESSION_RLIMITS_MAX + 1];
	size_t n_rlimits;
	int child_fds[3]; /* the command's ends */
	int input_fd;	  /* ours */
	int output_fds[2];
};

static void start_done(struct start *start)
{
	wire_strv_free(start->words);
	free(start->argv);
	wire_strv_free(start->call_env);
	for (size_t i = 0; i < ARRAY_SIZE(start->base_env); i++)
		free(start->base_env[i]);
	free(start->env);
	free(start->cwd);
	if (start->child_fds[0] != start->agent->null_fd)
		fd_close(start->child_fds[0]);
	fd_close(start->child_fds[1]);
	fd_close(start->child_fds[2]);
	fd_close(start->input_fd);
	fd_close(start->output_fds[0]);
	fd_close(start->output_fds[1]);
}

/* ---- the request ---- */

static int refuse(struct cove_error *err, int os_errno, const char *what)
{
	return error_set_start(err, COVE_STAGE_REQUEST, os_errno, "%s", what);
}

static int check_request(const Cove__Wire__Exec *exec, struct cove_error *err)
{
	if (exec->n_argv == 0 && !exec->shell)
		return refuse(err, EINVAL, "no command");
	if (exec->timeout_signal > 64)
		return refuse(err, EINVAL, "timeout signal");
	if (exec->rows > UINT16_MAX || exec->cols > UINT16_MAX)
		return refuse(err, EINVAL, "terminal size");
	if (exec->replay_bytes > SESSION_RING_MAX)
		return refuse(err, EINVAL, "replay ring size");
	if (exec->n_rlimits > SESSION_RLIMITS_MAX)
		return refuse(err, E2BIG, "list of rlimits");
	return 0;
}

static int read_argv(struct start *start, struct cove_error *err)
{
	const Cove__Wire__Exec *exec = start->exec;
	int r = wire_bytes_to_strv(exec->argv, exec->n_argv, &start->words);
	if (r < 0)
		return refuse(err, r, "argument with a NUL in it, or out of memory");

	size_t n = 0;
	start->argv = calloc(exec->n_argv + 3, sizeof(*start->argv));
	if (!start->argv)
		return refuse(err, ENOMEM, "arguments");
	if (exec->shell) {
		char *shell = start->agent->defaults.shell;
		start->argv[n++] = shell ? shell : (char *)"/bin/sh";
		if (exec->n_argv > 0)
			start->argv[n++] = (char *)"-c";
	}
	memcpy(start->argv + n, start->words, exec->n_argv * sizeof(*start->argv));
	return 0;
}

/* A field of the request, else the machine's default, else `fallback`; a copy. */
static int choose(const ProtobufCBinaryData *field, bool has_field, const char *preset,
		  const char *fallback, char **ret)
{
	if (has_field && field->len > 0)
		return wire_bytes_to_string(field, ret);
	*ret = strdup(preset ? preset : fallback);
	return *ret ? 0 : -ENOMEM;
}

static int read_cwd(struct start *start, struct cove_error *err)
{
	const Cove__Wire__Exec *exec = start->exec;
	int r = choose(&exec->cwd, exec->has_cwd, start->agent->defaults.cwd, "/", &start->cwd);
	if (r < 0)
		return error_set_start(err, COVE_STAGE_CWD, r, "working directory");
	if (start->cwd[0] != '/')
		return error_set_start(err, COVE_STAGE_CWD, EINVAL,
				       "working directory '%s' is not absolute", start->cwd);
	return 0;
}

static int read_user(struct start *start, struct cove_error *err)
{
	const Cove__Wire__Exec *exec = start->exec;
	_cleanup_free_ char *spec = NULL;
	char self[16] = "root";

	/* An agent that is not root can be nobody else. */
	if (geteuid() != 0)
		snprintf(self, sizeof(self), "%u", geteuid());
	int r = choose(&exec->user, exec->has_user, start->agent->defaults.user, self, &spec);
	if (r < 0)
		return error_set_start(err, COVE_STAGE_USER, r, "user");
	return user_cache_load(&start->agent->user_cache, spec, "/etc", &start->user, err);
}

/* Commands get the usual limit of descriptors, not the agent's, unless they ask for another. */
static int read_rlimits(struct start *start, struct cove_error *err)
{
	const Cove__Wire__Exec *exec = start->exec;
	start->rlimits[start->n_rlimits++] =
		(struct spawn_rlimit){ RLIMIT_NOFILE, start->agent->nofile };
	for (size_t i = 0; i < exec->n_rlimits; i++) {
		const Cove__Wire__Rlimit *l = exec->rlimits[i];
		if (l->resource > RLIMIT_RTTIME)
			return error_set_start(err, COVE_STAGE_RLIMIT, EINVAL, "resource %u",
					       l->resource);
		if (l->soft > l->hard)
			return error_set_start(err, COVE_STAGE_RLIMIT, EINVAL,
					       "resource %u: soft limit above the hard one",
					       l->resource);
		start->rlimits[start->n_rlimits++] = (struct spawn_rlimit){
			.resource = (int)l->resource,
			.limit = { .rlim_cur = l->soft, .rlim_max = l->hard },
		};
	}
	return 0;
}

/* ---- the environment ---- */

static bool add_base(struct start *start, size_t *n, const char *key, const char *value)
{
	char *text;
	if (!value)
		return true;
	if (asprintf(&text, "%s=%s", key, value) < 0)
		return false;
	start->base_env[(*n)++] = text;
	return true;
}

static int make_env(struct start *start, struct cove_error *err)
{
	const Cove__Wire__Exec *exec = start->exec;
	const struct agent_defaults *defaults = &start->agent->defaults;
	const struct user *user = start->user;

	int r = wire_bytes_to_strv(exec->env, exec->n_env, &start->call_env);
	if (r < 0)
		return refuse(err, r, "environment with a NUL in it, or out of memory");

	size_t n = 0;
	bool ok = add_base(start, &n, "PATH", ENVIRONMENT_DEFAULT_PATH) &&
		  add_base(start, &n, "HOME", user->home) &&
		  add_base(start, &n, "USER", user->name) &&
		  add_base(start, &n, "LOGNAME", user->name) &&
		  add_base(start, &n, "SHELL", user->shell) &&
		  add_base(start, &n, "TERM", exec->tty ? "xterm" : NULL);
	char *const *layers[] = { start->base_env, defaults->image_env, defaults->sandbox_env,
				  start->call_env };
	if (!ok || environment_compose(layers, ARRAY_SIZE(layers), &start->env) < 0)
		return refuse(err, ENOMEM, "environment");
	return 0;
}

/* ---- stdin, stdout, stderr ---- */

/* Pipes belong to whoever uses them, or /dev/stdout could not be opened by a user. */
static void give_to_user(const struct start *start, int fd)
{
	if (start->user->uid != 0 && fchown(fd, start->user->uid, (gid_t)-1) < 0)
		return; /* an agent that is not root: the user is the same */
}

static int make_pipe(const struct start *start, int *reader, int *writer)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	*reader = fds[0];
	*writer = fds[1];
	give_to_user(start, fds[0]);
	return 0;
}

static int make_pipes(struct start *start, struct cove_error *err)
{
	int r = 0;
	if (start->exec->stdin == COVE__WIRE__EXEC__STDIN__PIPE) {
		r = make_pipe(start, &start->child_fds[0], &start->input_fd);
		if (r >= 0)
			r = fd_set_nonblocking(start->input_fd, true);
	} else {
		start->child_fds[0] = start->agent->null_fd;
	}
	for (int i = 0; i < 2 && r >= 0; i++)
		r = make_pipe(start, &start->output_fds[i], &start->child_fds[1 + i]);
	return r < 0 ? error_set_start(err, COVE_STAGE_STDIO, r, "pipes") : 0;
}

/* The master's descriptor twice: one is read, the other written, each with its own watch. */
static int open_terminal(struct start *start)
{
	const Cove__Wire__Exec *exec = start->exec;
	start->output_fds[0] = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (start->output_fds[0] < 0)
		return -errno;
	int master = start->output_fds[0], locked = 0;
	if (ioctl(master, TIOCSPTLCK, &locked) < 0)
		return -errno;
	start->child_fds[0] = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (start->child_fds[0] < 0)
		return -errno;
	give_to_user(start, start->child_fds[0]);

	/* Before the command can ask for it. */
	struct winsize size = { .ws_row = (uint16_t)(exec->rows ? exec->rows : 24),
				.ws_col = (uint16_t)(exec->cols ? exec->cols : 80) };
	if (ioctl(master, TIOCSWINSZ, &size) < 0)
		return -errno;
	start->input_fd = fcntl(master, F_DUPFD_CLOEXEC, 3);
	for (int i = 1; i < 3 && start->input_fd >= 0; i++) {
		start->child_fds[i] = fcntl(start->child_fds[0], F_DUPFD_CLOEXEC, 3);
		if (start->child_fds[i] < 0)
			return -errno;
	}
	return start->input_fd < 0 ? -errno : 0;
}

static int make_stdio(struct start *start, struct cove_error *err)
{
	if (start->exec->tty) {
		int r = open_terminal(start);
		if (r < 0)
			return error_set_start(err, COVE_STAGE_TTY, r, "/dev/ptmx");
	} else {
		int r = make_pipes(start, err);
		if (r < 0)
			return r;
	}
	/* Descriptors are numbered from below: this is how many there are, near enough. */
	int last = MAX(start->output_fds[0], start->child_fds[2]);
	struct rlimit own;
	if (getrlimit(RLIMIT_NOFILE, &own) == 0 &&
	    (rlim_t)last + SESSION_FDS_RESERVED >= own.rlim_cur)
		return error_set_start(err, COVE_STAGE_STDIO, EMFILE,
				       "the last descriptors are kept for the agent");
	return 0;
}

/* ---- the session ---- */

/* The caller's id, or the next of ours that is free: a caller may have chosen "s5". */
static int choose_id(struct session *s, const Cove__Wire__Exec *exec)
{
	struct sessions *all = &s->agent->sessions;
	if (exec->has_id && exec->id.len > 0)
		return wire_bytes_to_string(&exec->id, &s->id);
	for (;;) {
		char id[32];
		snprintf(id, sizeof(id), "s%llu", (unsigned long long)all->serial);
		if (!sessions_find(s->agent, id, strlen(id)) && !sessions_id_used(s->agent, id)) {
			s->id = strdup(id);
			return s->id ? 0 : -ENOMEM;
		}
		all->serial++;
	}
}

static int shorten_argv(char *const *argv, char ***ret)
{
	size_t n = 0, left = SESSION_ARGV_MAX;
	while (argv[n])
		n++;
	/* No more words than can be non-empty, or empty for that matter. */
	n = MIN(n, (size_t)SESSION_ARGV_MAX / 2);
	_cleanup_(wire_strv_freep) char **words = calloc(n + 1, sizeof(*words));
	if (!words)
		return -ENOMEM;
	for (size_t i = 0; i < n && left > 0; i++) {
		words[i] = strndup(argv[i], left);
		if (!words[i])
			return -ENOMEM;
		left -= MIN(left, strlen(words[i]) + 1);
	}
	*ret = TAKE_PTR(words);
	return 0;
}

static void take_options(struct session *s, const Cove__Wire__Exec *exec)
{
	s->tty = exec->tty;
	s->timeout_signal = (int)exec->timeout_signal;
	s->timeout_grace_ms = exec->timeout_grace_ms;
	s->linger_ms = exec->has_linger_ms ? exec->linger_ms : SESSION_LINGER_MS;
	s->wait_eof = exec->wait_eof;
	s->kill_tree_on_exit = exec->kill_tree_on_exit;
	s->kill_on_disconnect = exec->kill_on_disconnect;
	s->output_kill_bytes = exec->output_kill_bytes;
}

/* Everything that can fail for want of memory, before there is a process to get rid of. */
static int fill_session(struct session *s, struct start *start)
{
	const Cove__Wire__Exec *exec = start->exec;
	struct agent *agent = s->agent;
	size_t ring = exec->has_replay_bytes ? (size_t)exec->replay_bytes : SESSION_RING_DEFAULT;
	ring = MAX(ring, (size_t)SESSION_RING_MIN);

	take_options(s, exec);
	int r = choose_id(s, exec);
	if (r >= 0)
		r = shorten_argv(start->argv, &s->argv);
	if (r >= 0)
		r = session_output_init(&s->outputs[0], s, WIRE_STDOUT,
					TAKE_FD(start->output_fds[0]), ring);
	if (r >= 0)
		r = session_output_init(&s->outputs[1], s, WIRE_STDERR,
					TAKE_FD(start->output_fds[1]), ring);
	session_update_size(s);
	if (r >= 0)
		r = session_input_init(&s->input, s, TAKE_FD(start->input_fd));
	/* A terminal without anybody to type: what it is asked for first is the end. */
	if (r >= 0 && exec->tty && exec->stdin == COVE__WIRE__EXEC__STDIN__NONE)
		session_input_close(s);
	if (r >= 0)
		r = timer_new(&agent->loop, session_on_end_timer, s, &s->end);
	if (r >= 0 && exec->tty) {
		s->screen = calloc(1, sizeof(*s->screen));
		r = s->screen ? 0 : -ENOMEM;
	}
	if (r >= 0 && exec->timeout_ms)
		r = timer_new(&agent->loop, session_on_timeout, s, &s->timeout);
	return r;
}

static struct session *new_session(struct agent *agent)
{
	struct session *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->agent = agent;
	list_init(&s->in_all);
	list_init(&s->in_ids);
	list_init(&s->in_pids);
	list_init(&s->in_kept);
	list_init(&s->viewers);
	list_init(&s->kills);
	list_init(&s->input.chunks);
	list_init(&s->outputs[0].in_bulk);
	list_init(&s->outputs[1].in_bulk);
	s->tree = (struct tree){ .empty = true };
	s->input.fd = s->outputs[0].fd = s->outputs[1].fd = -1;
	return s;
}

static int spawn_session(struct session *s, struct start *start, struct cove_error *err)
{
	struct spawn_options options = {
		.argv = start->argv,
		.env = start->env,
		.cwd = start->cwd,
		.user = start->user,
		.rlimits = start->rlimits,
		.n_rlimits = start->n_rlimits,
		.stdio = { start->child_fds[0], start->child_fds[1], start->child_fds[2] },
		.tty = s->tty,
		.cgroup_fd = s->tree.cgroup ? s->tree.cgroup->dir_fd : -1,
	};
	int r = spawn(&options, &s->pid, err);
	if (r < 0)
		return r;
	s->tree.leader = s->pid;
	s->started_ns = clock_realtime_ns();
	s->started_monotonic_ns = clock_monotonic_ns();
	if (s->timeout)
		timer_start(s->timeout, start->exec->timeout_ms);
	return 0;
}

static int prepare(struct start *start, struct cove_error *err)
{
	int r = check_request(start->exec, err);
	if (r >= 0)
		r = read_argv(start, err);
	if (r >= 0)
		r = read_cwd(start, err);
	if (r >= 0)
		r = read_user(start, err);
	if (r >= 0)
		r = read_rlimits(start, err);
	if (r >= 0)
		r = make_env(start, err);
	if (r >= 0)
		r = make_stdio(start, err);
	return r;
}

static int start_prepared(struct start *start, struct session **ret, struct cove_error *err)
{
	struct agent *agent = start->agent;
	_cleanup_(session_freep) struct session *s = new_session(agent);
	int r = s ? 0 : -ENOMEM;
	agent->sessions.serial++;
	if (r >= 0)
		r = fill_session(s, start);
	if (r < 0)
		return refuse(err, r, "session");
	r = tree_init(&s->tree, &agent->cgroups);
	if (r < 0)
		return error_set_start(err, COVE_STAGE_EXEC, r, "a cgroup for the session");
	r = spawn_session(s, start, err);
	if (r < 0)
		return r;
	session_register(s);
	*ret = TAKE_PTR(s);
	return 0;
}

int session_start(struct agent *agent, const Cove__Wire__Exec *exec, struct session **ret,
		  struct cove_error *err)
{
	struct start start = {
		.agent = agent,
		.exec = exec,
		.child_fds = { -1, -1, -1 },
		.input_fd = -1,
		.output_fds = { -1, -1 },
	};
	int r = prepare(&start, err);
	if (r >= 0)
		r = start_prepared(&start, ret, err);
	start_done(&start);
	return r;
}
