/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/agent-client.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "harness/tap.h"

#define CGROUP2_MAGIC 0x63677270

struct agent_client {
	int fd;
	pid_t pid; /* 0: not ours */
	struct wire_link *link;
	uint64_t nonce;
	unsigned resyncs;
	uint64_t received; /* bytes of output, on all streams */
	struct agent_stream *streams;
};

static char cgroup_path[128];

/* ---- the link ---- */

static size_t peek(void *userdata, uint32_t stream, unsigned channel, size_t max,
		   struct wire_chunk *ret)
{
	struct agent_stream *s = userdata;
	(void)stream;
	if (!s || channel != WIRE_STDIN)
		return 0;
	size_t n = MIN(max, s->in_size);
	*ret = (struct wire_chunk){ .offset = s->in_offset };
	ret->iov[0] = (struct iovec){ .iov_base = (void *)s->in, .iov_len = n };
	return n;
}

static void consumed(void *userdata, uint32_t stream, unsigned channel, size_t n)
{
	struct agent_stream *s = userdata;
	(void)stream;
	(void)channel;
	s->in += n;
	s->in_size -= n;
	s->in_offset += n;
}

struct agent_client *agent_client_new(int fd)
{
	struct agent_client *c = calloc(1, sizeof(*c));
	CHECK(c != NULL);
	c->fd = fd;
	c->nonce = (uint64_t)getpid() << 32 | 1;
	CHECK_OK(fd_set_nonblocking(fd, true));
	struct wire_link_options options = {
		.role = WIRE_INITIATOR,
		.nonce = c->nonce,
		.software = "agent-client",
		.source = { .peek = peek, .consumed = consumed },
	};
	CHECK_OK(wire_link_new(&options, &c->link));
	return c;
}

static const char *agent_program(void)
{
	static char path[512];
	const char *program = getenv("COVE_AGENT");
	if (program)
		return program;
	const char *build = getenv("COVE_BUILD_DIR");
	CHECK(build != NULL);
	snprintf(path, sizeof(path), "%s/cove-agent-host", build);
	return path;
}

/* As an older kernel, or a container's filter, does it. */
static void take_away(long syscall)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)syscall, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { ARRAY_SIZE(code), code };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		_exit(126);
}

struct agent_client *agent_client_start(const char *cgroup_dir)
{
	return agent_client_start_without(cgroup_dir, -1);
}

struct agent_client *agent_client_start_without(const char *cgroup_dir, long syscall)
{
	int fds[2];
	char number[16];
	const char *program = agent_program();
	CHECK_SYS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
	snprintf(number, sizeof(number), "%d", fds[1]);
	pid_t pid = fork();
	CHECK_SYS(pid);
	if (pid == 0) {
		fcntl(fds[1], F_SETFD, 0);
		signal(SIGUSR1, SIG_IGN); /* as a careless parent leaves it */
		if (syscall >= 0)
			take_away(syscall);
		if (cgroup_dir)
			execl(program, program, "--fd", number, "--cgroup", cgroup_dir, NULL);
		else
			execl(program, program, "--fd", number, NULL);
		_exit(127);
	}
	close(fds[1]);
	struct agent_client *c = agent_client_new(fds[0]);
	c->pid = pid;
	return c;
}

pid_t agent_client_pid(const struct agent_client *c)
{
	return c->pid;
}

int agent_client_fd(const struct agent_client *c)
{
	return c->fd;
}

static struct agent_stream *find(struct agent_client *c, uint32_t id)
{
	for (struct agent_stream *s = c->streams; s; s = s->next)
		if (s->id == id)
			return s;
	return NULL;
}

/* ---- what comes ---- */

static void free_stream(struct agent_stream *s)
{
	for (unsigned i = 0; i < s->n_lists; i++)
		wire_message_free(&s->lists[i]->base);
	free(s->kernel);
	free(s->out[0].data);
	free(s->out[1].data);
	free(s);
}

static const void *unpack(const struct wire_event *e, const ProtobufCMessageDescriptor *d)
{
	static ProtobufCMessage *last;
	wire_message_free(last);
	last = wire_message_unpack(d, e->data, e->size);
	CHECK(last != NULL);
	return last;
}

static void on_exited(struct agent_stream *s, const Cove__Wire__Exited *m)
{
	CHECK(s->started && !s->exited && !s->failed);
	s->exited = true;
	s->cause = m->cause;
	s->code = m->code;
	s->signal = (int)m->signal;
	s->totals[0] = m->stdout_total;
	s->totals[1] = m->stderr_total;
	s->elapsed_ns = m->elapsed_ns;
	CHECK(m->has_started_ns && m->has_ended_ns && m->usage);
}

static void on_started(struct agent_stream *s, const Cove__Wire__Started *m)
{
	CHECK(!s->started && !s->failed);
	CHECK_INT(m->id.len, <, sizeof(s->session));
	s->started = true;
	memcpy(s->session, m->id.data, m->id.len);
	s->session[m->id.len] = 0;
	s->pid = (pid_t)m->pid;
	s->already_running = m->already_running;
	s->tty = m->tty;
	s->stdin_offset = m->stdin_offset;
	s->ends[0] = m->stdout_end;
	s->ends[1] = m->stderr_end;
	s->rows = m->rows;
	s->cols = m->cols;
	s->has_offsets = m->has_stdout_offset && m->has_stderr_offset;
	s->offsets[0] = m->stdout_offset;
	s->offsets[1] = m->stderr_offset;
}

static void on_ack(struct agent_stream *s, const Cove__Wire__Ack *m)
{
	s->acks++;
	s->acked_after_end = s->exited;
	s->last_ack = m->request;
	memset(&s->ack_error, 0, sizeof(s->ack_error));
	if (m->failure)
		wire_failure_to_error(m->failure, &s->ack_error);
	s->refused += m->failure != NULL;
}

static void on_message(struct agent_stream *s, const struct wire_event *e)
{
	switch (e->type) {
	case WIRE_STARTED:
		on_started(s, unpack(e, &cove__wire__started__descriptor));
		break;
	case WIRE_FAILED:
	case WIRE_NOT_READY:
		/* A start fails, or a stream that has said something nobody can read. */
		CHECK(!s->failed && (!s->started || s->garbled));
		s->failed = true;
		s->not_ready = e->type == WIRE_NOT_READY;
		wire_failure_to_error(unpack(e, &cove__wire__failure__descriptor), &s->error);
		break;
	case WIRE_EXITED:
		on_exited(s, unpack(e, &cove__wire__exited__descriptor));
		break;
	case WIRE_STDIN_ERROR: {
		const Cove__Wire__StdinError *m = unpack(e, &cove__wire__stdin_error__descriptor);
		s->stdin_errno = (int)m->os_errno;
		s->stdin_errors++;
		break;
	}
	case WIRE_ACK:
		on_ack(s, unpack(e, &cove__wire__ack__descriptor));
		break;
	case WIRE_SESSIONS: {
		CHECK_INT(s->type, ==, WIRE_SESSION_LIST);
		CHECK_INT(s->n_lists, <, ARRAY_SIZE(s->lists));
		s->list_begin = s->n_lists ? s->list_begin : s->client->received;
		s->list_end = s->client->received;
		ProtobufCMessage *m = wire_message_unpack(&cove__wire__session_list__descriptor,
							  e->data, e->size);
		CHECK(m != NULL);
		s->lists[s->n_lists++] = (Cove__Wire__SessionList *)m;
		s->listed = !((Cove__Wire__SessionList *)m)->more;
		break;
	}
	case WIRE_READY: {
		const Cove__Wire__Ready *m = unpack(e, &cove__wire__ready__descriptor);
		s->ready = true;
		s->kernel = strdup(m->kernel);
		break;
	}
	case WIRE_DOWN:
		s->down = true;
		break;
	default:
		tap_fail(__FILE__, __LINE__, "a message of type %u", e->type);
	}
}

static void give_credit(struct agent_stream *s, unsigned channel, size_t n)
{
	if (s->id)
		CHECK_OK(wire_link_consumed(s->client->link, s->id, channel, n));
}

static void on_data(struct agent_stream *s, const struct wire_event *e)
{
	struct agent_output *o = &s->out[e->channel - WIRE_STDOUT];
	CHECK(s->started);
	CHECK_INT(e->offset, >=, o->next);
	o->gap += e->offset - o->next;
	o->jumps += e->offset > o->next;
	o->next = e->offset + e->size;
	o->received += e->size;
	s->client->received += e->size;
	for (size_t i = 0; i < e->size; i++)
		o->hash = (o->hash ^ e->data[i]) * 0x100000001b3u;
	if (!o->discard) {
		o->data = realloc(o->data, o->size + e->size + 1);
		CHECK(o->data != NULL);
		memcpy(o->data + o->size, e->data, e->size);
		o->size += e->size;
		o->data[o->size] = 0;
	}
	if (o->stalled)
		o->owed += e->size;
	else
		give_credit(s, e->channel, e->size);
}

void agent_unstall(struct agent_stream *s)
{
	for (unsigned i = 0; i < 2; i++) {
		struct agent_output *o = &s->out[i];
		o->stalled = false;
		if (o->owed)
			give_credit(s, WIRE_STDOUT + i, o->owed);
		o->owed = 0;
	}
}

static void on_event(struct agent_client *c, const struct wire_event *e)
{
	struct agent_stream *s = e->stream ? find(c, e->stream) : NULL;
	switch (e->kind) {
	case WIRE_EVENT_RESYNC_WANTED:
		c->resyncs++;
		agent_client_resync(c);
		break;
	case WIRE_EVENT_MESSAGE:
		CHECK(s != NULL);
		on_message(s, e);
		break;
	case WIRE_EVENT_DATA:
		CHECK(s != NULL);
		on_data(s, e);
		break;
	case WIRE_EVENT_EOF: {
		CHECK(s != NULL);
		struct agent_output *o = &s->out[e->channel - WIRE_STDOUT];
		CHECK(!o->eof);
		o->eof = true;
		o->total = e->offset;
		break;
	}
	default:
		break;
	}
}

static void send_waiting(struct agent_client *c)
{
	struct iovec iov[16];
	int count;
	while ((count = wire_link_output(c->link, iov, 16)) > 0) {
		ssize_t k = writev(c->fd, iov, count);
		int error = k < 0 ? errno : 0;
		wire_link_sent(c->link, k > 0 ? (size_t)k : 0);
		if (error)
			break;
	}
	for (struct agent_stream *s = c->streams; s; s = s->next)
		if (s->in_eof && s->in_size == 0 && s->id) {
			s->in_eof = false;
			CHECK_OK(wire_link_send_eof(c->link, s->id, WIRE_STDIN, s->in_offset));
		}
}

bool agent_client_serve(struct agent_client *c, unsigned long long deadline)
{
	struct wire_event event;
	int r;
	uint8_t *p;
	size_t n;

	send_waiting(c);
	unsigned long long now = tap_deadline(0);
	struct pollfd pfd = { .fd = c->fd, .events = POLLIN };
	if (wire_link_wants_output(c->link))
		pfd.events |= POLLOUT;
	if (now >= deadline || poll(&pfd, 1, (int)(deadline - now)) == 0)
		return false;
	wire_link_input(c->link, &p, &n);
	ssize_t k = read(c->fd, p, n);
	if (k < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (k <= 0)
		tap_fail(__FILE__, __LINE__, "the agent has closed the link");
	wire_link_received(c->link, (size_t)k);
	while ((r = wire_link_next(c->link, &event)) > 0)
		on_event(c, &event);
	if (r < 0)
		tap_fail(__FILE__, __LINE__, "the agent broke the protocol: %s",
			 wire_link_error(c->link));
	send_waiting(c);
	return true;
}

void agent_client_idle(struct agent_client *c, int ms)
{
	unsigned long long end = tap_deadline(ms);
	while (agent_client_serve(c, end))
		;
}

/* ---- what is asked ---- */

static struct agent_stream *new_stream(struct agent_client *c, uint8_t type)
{
	struct agent_stream *s = calloc(1, sizeof(*s));
	CHECK(s != NULL);
	s->client = c;
	s->type = type;
	for (unsigned i = 0; i < 2; i++)
		s->out[i].hash = 0xcbf29ce484222325u;
	s->next = c->streams;
	c->streams = s;
	return s;
}

struct agent_stream *agent_open(struct agent_client *c, uint8_t type, const ProtobufCMessage *m)
{
	struct agent_stream *s = new_stream(c, type);
	CHECK_OK(wire_open_message(c->link, type, m, s, &s->id));
	send_waiting(c);
	return s;
}

struct agent_stream *agent_open_raw(struct agent_client *c, uint8_t type, const void *p, size_t n)
{
	struct agent_stream *s = new_stream(c, type);
	CHECK_OK(wire_link_open(c->link, type, p, n, s, &s->id));
	send_waiting(c);
	return s;
}

static void set_bytes(protobuf_c_boolean *has, ProtobufCBinaryData *field, const char *text)
{
	*has = text != NULL;
	*field = wire_string(text);
}

static size_t fill_list(const char *const *list, ProtobufCBinaryData **ret)
{
	size_t n = 0;
	while (list && list[n])
		n++;
	*ret = calloc(n + 1, sizeof(**ret));
	CHECK(*ret != NULL);
	for (size_t i = 0; i < n; i++)
		(*ret)[i] = (ProtobufCBinaryData){ strlen(list[i]), (uint8_t *)list[i] };
	return n;
}

static void fill_limits(Cove__Wire__Exec *m, const struct agent_run *o)
{
	m->has_timeout_ms = o->timeout_ms > 0;
	m->timeout_ms = o->timeout_ms;
	m->has_timeout_signal = o->timeout_signal != 0;
	m->timeout_signal = (uint32_t)o->timeout_signal;
	m->has_timeout_grace_ms = o->timeout_grace_ms > 0;
	m->timeout_grace_ms = o->timeout_grace_ms;
	m->has_linger_ms = o->linger_ms != 0;
	m->linger_ms = o->linger_ms > 0 ? (uint64_t)o->linger_ms : 0;
	m->has_replay_bytes = o->replay_bytes > 0;
	m->replay_bytes = o->replay_bytes;
	m->has_output_kill_bytes = o->output_kill_bytes > 0;
	m->output_kill_bytes = o->output_kill_bytes;
}

struct agent_stream *agent_run(struct agent_client *c, const char *const *argv,
			       const struct agent_run *options)
{
	static const struct agent_run none;
	const struct agent_run *o = options ? options : &none;
	Cove__Wire__Exec m = COVE__WIRE__EXEC__INIT;
	_cleanup_free_ ProtobufCBinaryData *words = NULL, *env = NULL;
	_cleanup_free_ Cove__Wire__Rlimit **rlimits = calloc(o->n_rlimits + 1, sizeof(*rlimits));

	m.n_argv = fill_list(argv, &words);
	m.argv = words;
	m.n_env = fill_list(o->env, &env);
	m.env = env;
	set_bytes(&m.has_id, &m.id, o->id);
	set_bytes(&m.has_cwd, &m.cwd, o->cwd);
	set_bytes(&m.has_user, &m.user, o->user);
	m.has_shell = m.shell = o->shell;
	m.has_stdin = o->pipe;
	m.stdin = o->pipe ? COVE__WIRE__EXEC__STDIN__PIPE : COVE__WIRE__EXEC__STDIN__NONE;
	m.has_tty = m.tty = o->tty;
	m.has_rows = m.has_cols = o->rows > 0;
	m.rows = o->rows;
	m.cols = o->cols;
	m.has_wait_eof = m.wait_eof = o->wait_eof;
	m.has_kill_tree_on_exit = m.kill_tree_on_exit = o->kill_tree_on_exit;
	m.has_kill_on_disconnect = m.kill_on_disconnect = o->kill_on_disconnect;
	fill_limits(&m, o);
	for (size_t i = 0; i < o->n_rlimits; i++)
		rlimits[i] = (Cove__Wire__Rlimit *)&o->rlimits[i];
	m.rlimits = rlimits;
	m.n_rlimits = o->n_rlimits;

	struct agent_stream *s = agent_open(c, WIRE_EXEC, &m.base);
	if (o->pipe)
		agent_write(s, o->in, o->in_size, !o->open);
	return s;
}

struct agent_stream *agent_sh(struct agent_client *c, const char *script,
			      const struct agent_run *options)
{
	return agent_run(c, (const char *[]){ "sh", "-c", script, NULL }, options);
}

struct agent_stream *agent_attach(struct agent_client *c, const Cove__Wire__Attach *attach)
{
	return agent_open(c, WIRE_ATTACH, &attach->base);
}

void agent_send(struct agent_stream *s, uint8_t type, const ProtobufCMessage *m)
{
	CHECK_OK(wire_send_message(s->client->link, s->id, type, m));
	send_waiting(s->client);
}

void agent_send_raw(struct agent_stream *s, uint8_t type, const void *p, size_t n)
{
	CHECK_OK(wire_link_send(s->client->link, s->id, type, p, n));
	send_waiting(s->client);
}

void agent_write(struct agent_stream *s, const void *p, size_t n, bool eof)
{
	CHECK_INT(s->in_size, ==, 0);
	s->in = p;
	s->in_size = n;
	s->in_eof = eof;
	wire_link_ready(s->client->link, s->id, WIRE_STDIN);
	send_waiting(s->client);
}

void agent_write_end_first(struct agent_stream *s, const void *p, size_t n)
{
	CHECK_INT(s->in_size, ==, 0);
	CHECK_OK(wire_link_send_eof(s->client->link, s->id, WIRE_STDIN, s->in_offset + n));
	agent_write(s, p, n, false);
}

void agent_wait_acks(struct agent_stream *s, unsigned n)
{
	AGENT_UNTIL(s->client, s->acks >= n);
}

int agent_signal(struct agent_stream *s, int signal)
{
	Cove__Wire__Signal m = COVE__WIRE__SIGNAL__INIT;
	m.request = s->acks + 1;
	m.signal = (uint32_t)signal;
	agent_send(s, WIRE_SIGNAL, &m.base);
	agent_wait_acks(s, m.request);
	CHECK_INT(s->last_ack, ==, m.request);
	return s->ack_error.code;
}

int agent_kill(struct agent_stream *s)
{
	Cove__Wire__Kill m = COVE__WIRE__KILL__INIT;
	m.request = s->acks + 1;
	agent_send(s, WIRE_KILL, &m.base);
	agent_wait_acks(s, m.request);
	CHECK_INT(s->last_ack, ==, m.request);
	return s->ack_error.code;
}

int agent_resize(struct agent_stream *s, unsigned rows, unsigned cols)
{
	Cove__Wire__Resize m = COVE__WIRE__RESIZE__INIT;
	m.request = s->acks + 1;
	m.rows = rows;
	m.cols = cols;
	agent_send(s, WIRE_RESIZE, &m.base);
	agent_wait_acks(s, m.request);
	CHECK_INT(s->last_ack, ==, m.request);
	return s->ack_error.code;
}

int agent_close_output(struct agent_stream *s, unsigned channel)
{
	Cove__Wire__CloseOutput m = COVE__WIRE__CLOSE_OUTPUT__INIT;
	m.request = s->acks + 1;
	m.channel = channel;
	agent_send(s, WIRE_CLOSE_OUTPUT, &m.base);
	agent_wait_acks(s, m.request);
	CHECK_INT(s->last_ack, ==, m.request);
	return s->ack_error.code;
}

void agent_send_flush(struct agent_stream *s, uint64_t offset)
{
	Cove__Wire__Flush m = COVE__WIRE__FLUSH__INIT;
	m.request = s->acks + 1;
	m.offset = offset;
	agent_send(s, WIRE_FLUSH, &m.base);
}

int agent_flush(struct agent_stream *s, uint64_t offset)
{
	unsigned request = s->acks + 1;
	agent_send_flush(s, offset);
	agent_wait_acks(s, request);
	CHECK_INT(s->last_ack, ==, request);
	return s->ack_error.code;
}

void agent_send_collect(struct agent_stream *s)
{
	Cove__Wire__Collect m = COVE__WIRE__COLLECT__INIT;
	m.request = s->acks + 1;
	agent_send(s, WIRE_COLLECT, &m.base);
}

int agent_collect(struct agent_stream *s)
{
	unsigned request = s->acks + 1;
	agent_send_collect(s);
	agent_wait_acks(s, request);
	CHECK_INT(s->last_ack, ==, request);
	return s->ack_error.code;
}

void agent_mute(struct agent_stream *s)
{
	const Cove__Wire__Mute m = COVE__WIRE__MUTE__INIT;
	agent_send(s, WIRE_MUTE, &m.base);
}

void agent_close(struct agent_stream *s)
{
	if (!s->id)
		return;
	wire_link_close(s->client->link, s->id);
	s->id = 0;
	send_waiting(s->client);
}

struct agent_stream *agent_free(struct agent_stream *s)
{
	struct agent_stream **p = &s->client->streams;
	agent_close(s);
	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	free_stream(s);
	return NULL;
}

/* ---- the list ---- */

struct agent_stream *agent_list(struct agent_client *c)
{
	const Cove__Wire__SessionListRequest m = COVE__WIRE__SESSION_LIST_REQUEST__INIT;
	struct agent_stream *s = agent_open(c, WIRE_SESSION_LIST, &m.base);
	AGENT_UNTIL(c, s->listed);
	return s;
}

const Cove__Wire__Session *agent_listed(const struct agent_stream *list, const char *id)
{
	for (unsigned i = 0; i < list->n_lists; i++)
		for (size_t k = 0; k < list->lists[i]->n_sessions; k++) {
			const Cove__Wire__Session *s = list->lists[i]->sessions[k];
			if (s->id.len == strlen(id) && memcmp(s->id.data, id, s->id.len) == 0)
				return s;
		}
	return NULL;
}

size_t agent_count_listed(const struct agent_stream *list)
{
	size_t n = 0;
	for (unsigned i = 0; i < list->n_lists; i++)
		n += list->lists[i]->n_sessions;
	return n;
}

/* ---- waiting ---- */

void agent_wait_started(struct agent_stream *s)
{
	AGENT_UNTIL(s->client, s->started || s->failed);
	if (s->failed)
		tap_fail(__FILE__, __LINE__, "start failed: %s", s->error.message);
}

void agent_wait_failed(struct agent_stream *s)
{
	AGENT_UNTIL(s->client, s->started || s->failed);
	if (!s->failed)
		tap_fail(__FILE__, __LINE__, "it was started");
}

void agent_wait_end(struct agent_stream *s)
{
	agent_wait_started(s);
	AGENT_UNTIL(s->client,
		    s->exited && s->out[0].next >= s->totals[0] && s->out[1].next >= s->totals[1]);
}

struct agent_stream *agent_do(struct agent_client *c, const char *script,
			      const struct agent_run *options)
{
	struct agent_stream *s = agent_sh(c, script, options);
	agent_wait_end(s);
	return s;
}

/* ---- trouble ---- */

void agent_client_resync(struct agent_client *c)
{
	for (struct agent_stream *s = c->streams; s; s = s->next)
		s->id = 0;
	CHECK_OK(wire_link_resync(c->link, ++c->nonce));
	send_waiting(c);
}

void agent_client_send_garbage(struct agent_client *c, const void *p, size_t n)
{
	send_waiting(c);
	CHECK_OK(fd_set_nonblocking(c->fd, false));
	CHECK_OK(fd_write_full(c->fd, p, n));
	CHECK_OK(fd_set_nonblocking(c->fd, true));
}

unsigned agent_client_resyncs(const struct agent_client *c)
{
	return c->resyncs;
}

/* ---- the end ---- */

void agent_client_stop(struct agent_client *c)
{
	close(c->fd);
	if (c->pid) {
		int status;
		CHECK(tap_process_ends(c->pid, AGENT_WAIT_MS));
		CHECK_SYS(waitpid(c->pid, &status, 0));
		CHECK_INT(status, ==, 0);
	}
	while (c->streams) {
		struct agent_stream *s = c->streams;
		c->streams = s->next;
		free_stream(s);
	}
	wire_link_free(c->link);
	free(c);
	if (cgroup_path[0]) {
		CHECK_SYS(rmdir(cgroup_path));
		cgroup_path[0] = 0;
	}
}

const char *agent_cgroup(void)
{
	static const char *const roots[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
		struct statfs fs;
		if (statfs(roots[i], &fs) < 0 || fs.f_type != CGROUP2_MAGIC)
			continue;
		snprintf(cgroup_path, sizeof(cgroup_path), "%s/cove-test-%d", roots[i],
			 (int)getpid());
		if (mkdir(cgroup_path, 0755) == 0)
			return cgroup_path;
	}
	cgroup_path[0] = 0;
	tap_note("no cgroup2 that may be used here");
	return NULL;
}

/* ---- looking at the agent ---- */

static unsigned count_entries(const char *path)
{
	unsigned n = 0;
	_cleanup_closedir_ DIR *dir = opendir(path);
	CHECK(dir != NULL);
	while (readdir(dir))
		n++;
	return n - 2;
}

unsigned agent_count_fds(const struct agent_client *c)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)c->pid);
	return count_entries(path);
}

unsigned agent_count_children(const struct agent_client *c)
{
	char path[64];
	_cleanup_free_ char *text = NULL;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)c->pid, (int)c->pid);
	CHECK_OK(fd_read_file(AT_FDCWD, path, 1024 * 1024, true, &text, NULL));
	unsigned n = 0;
	for (const char *p = text; *p; p++)
		n += *p == ' ';
	return n;
}

size_t agent_rss_bytes(const struct agent_client *c)
{
	char path[64];
	unsigned long size, resident;
	_cleanup_free_ char *text = NULL;
	snprintf(path, sizeof(path), "/proc/%d/statm", (int)c->pid);
	CHECK_OK(fd_read_file(AT_FDCWD, path, 4096, true, &text, NULL));
	CHECK_INT(sscanf(text, "%lu %lu", &size, &resident), ==, 2);
	return resident * 4096;
}

unsigned long agent_cpu_ms(const struct agent_client *c)
{
	char path[64];
	unsigned long user, system;
	_cleanup_free_ char *text = NULL;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)c->pid);
	CHECK_OK(fd_read_file(AT_FDCWD, path, 4096, true, &text, NULL));
	/* Fields 14 and 15; the name, in parentheses, may hold anything. */
	const char *p = strrchr(text, ')');
	CHECK(p != NULL);
	CHECK_INT(sscanf(p + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
			 &system),
		  ==, 2);
	return (user + system) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK);
}
