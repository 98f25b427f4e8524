/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HARNESS_AGENT_CLIENT_H
#define HARNESS_AGENT_CLIENT_H

/*
 * A small blocking client that talks to cove-agent as the supervisor does, on the real protocol
 * engine. Everything that goes wrong in it fails the test that uses it.
 *
 *	struct agent_client *c = agent_client_start(NULL);
 *	struct agent_stream *s = agent_run(c, (const char *[]){ "echo", "hi", NULL }, NULL);
 *	agent_wait_end(s);
 *	CHECK_INT(s->code, ==, 0);
 *	CHECK_MEM(s->out[0].data, s->out[0].size, "hi\n", 3);
 *	agent_client_stop(c);
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "cove/error.h"
#include "wire/message.h"

/* More than any wait in a test takes, on a busy machine, with sanitizers. */
#define AGENT_WAIT_MS 15000

struct agent_client;

struct agent_output {
	uint8_t *data;	   /* what came, up to agent_client's keeping it; NUL-terminated */
	size_t size;	   /* bytes in data */
	uint64_t next;	   /* offset after the last byte that came */
	uint64_t received; /* bytes that came, kept or not */
	uint64_t gap;	   /* bytes that were jumped over */
	unsigned jumps;	   /* how often */
	uint64_t hash;	   /* FNV-1a of what came */
	uint64_t total;	   /* as of EOF */
	bool eof;
	bool stalled; /* set by the test: no more credit is given */
	bool discard; /* set by the test: count and hash, do not keep */
	size_t owed;  /* bytes without credit while it was stalled */
};

struct agent_stream {
	struct agent_client *client;
	struct agent_stream *next;
	uint32_t id;  /* 0: closed, or lost in a resynchronisation */
	uint8_t type; /* what opened it */

	bool started;
	bool failed;
	bool garbled; /* set by the test: it sends what cannot be read, and fails after its start */
	bool exited;
	char session[65];
	pid_t pid;
	bool already_running;
	bool tty;
	uint64_t stdin_offset;
	bool has_offsets; /* STARTED said where output begins */
	uint64_t offsets[2];
	uint64_t ends[2]; /* ... and where it ended then */
	unsigned rows, cols;
	struct cove_error error; /* failed */
	unsigned cause;		 /* exited */
	int code;
	int signal;
	uint64_t totals[2];
	uint64_t elapsed_ns;
	int stdin_errno;
	unsigned stdin_errors;
	unsigned acks;
	bool acked_after_end;
	unsigned refused; /* of them those with an error */
	uint32_t last_ack;
	struct cove_error ack_error; /* code 0: it was done */

	Cove__Wire__SessionList *lists[512];
	unsigned n_lists;
	bool listed;
	/* Output that had come on all streams, when the first and when the last of them came. */
	uint64_t list_begin, list_end;
	bool ready; /* START */
	bool not_ready;
	bool down; /* SHUTDOWN */
	char *kernel;

	struct agent_output out[2]; /* stdout, stderr */

	const uint8_t *in; /* stdin still to be sent; the test's memory */
	size_t in_size;
	uint64_t in_offset; /* of its first byte in the channel */
	bool in_eof;	    /* to be sent after the last byte */
};

/* The agent as a process; cgroup_dir may be NULL. */
struct agent_client *agent_client_start(const char *cgroup_dir);
/* The same, where a system call does not exist: it fails with ENOSYS. */
struct agent_client *agent_client_start_without(const char *cgroup_dir, long syscall);
/* On a transport that is there, whose owner is the client from now on. */
struct agent_client *agent_client_new(int fd);
pid_t agent_client_pid(const struct agent_client *c);
int agent_client_fd(const struct agent_client *c);
/* Closes the link and waits for the agent's end, whose status must be 0. Frees all streams. */
void agent_client_stop(struct agent_client *c);

/*
 * The path of a fresh cgroup that the agent can use, or NULL where this machine has none (a test
 * that needs one then says so). Removed by agent_client_stop().
 */
const char *agent_cgroup(void);

struct agent_run {
	const char *id;
	bool shell;
	const char *const *env;
	const char *cwd;
	const char *user;
	bool pipe;	/* stdin is a pipe; without it /dev/null */
	const void *in; /* with pipe: these bytes, and then (unless `open`) the end */
	size_t in_size;
	bool open; /* leave stdin open */
	bool tty;
	unsigned rows, cols;
	uint64_t timeout_ms;
	int timeout_signal;
	uint64_t timeout_grace_ms;
	int64_t linger_ms; /* 0: the default; -1: none */
	bool wait_eof;
	bool kill_tree_on_exit;
	bool kill_on_disconnect;
	uint64_t replay_bytes;
	uint64_t output_kill_bytes;
	const Cove__Wire__Rlimit *rlimits;
	size_t n_rlimits;
};

struct agent_stream *agent_run(struct agent_client *c, const char *const *argv,
			       const struct agent_run *options);
/* agent_run() of "sh -c script" with the default options, or those given. */
struct agent_stream *agent_sh(struct agent_client *c, const char *script,
			      const struct agent_run *options);
struct agent_stream *agent_attach(struct agent_client *c, const Cove__Wire__Attach *attach);
struct agent_stream *agent_open(struct agent_client *c, uint8_t type, const ProtobufCMessage *m);
struct agent_stream *agent_open_raw(struct agent_client *c, uint8_t type, const void *p, size_t n);

void agent_send(struct agent_stream *s, uint8_t type, const ProtobufCMessage *m);
void agent_send_raw(struct agent_stream *s, uint8_t type, const void *p, size_t n);
/* Stdin: these bytes (which must stay), and then the end if so. */
void agent_write(struct agent_stream *s, const void *p, size_t n, bool eof);
/* The same, with the end said before the bytes: control overtakes data. */
void agent_write_end_first(struct agent_stream *s, const void *p, size_t n);
/* Sends a SIGNAL, KILL, RESIZE, CLOSE_OUTPUT, FLUSH or COLLECT and waits for its ACK. Returns its error's code, or 0. */
int agent_signal(struct agent_stream *s, int signal);
int agent_kill(struct agent_stream *s);
int agent_resize(struct agent_stream *s, unsigned rows, unsigned cols);
int agent_close_output(struct agent_stream *s, unsigned channel);
int agent_flush(struct agent_stream *s, uint64_t offset);
int agent_collect(struct agent_stream *s);
/* The same without waiting; the number of the request is the stream's acks + 1. */
void agent_send_flush(struct agent_stream *s, uint64_t offset);
void agent_send_collect(struct agent_stream *s);
void agent_mute(struct agent_stream *s);
/* Gives credit again for what came while it was stalled. */
void agent_unstall(struct agent_stream *s);
void agent_close(struct agent_stream *s);
/* Closes it, and nothing is left of it here. */
struct agent_stream *agent_free(struct agent_stream *s);
/* A stream with the sessions on it, and one of them, or NULL. */
struct agent_stream *agent_list(struct agent_client *c);
const Cove__Wire__Session *agent_listed(const struct agent_stream *list, const char *id);
size_t agent_count_listed(const struct agent_stream *list);

/* Serves the link until the condition holds, which must be within AGENT_WAIT_MS. */
#define AGENT_UNTIL(client, condition)                                                             \
	do {                                                                                       \
		unsigned long long _end = tap_deadline(AGENT_WAIT_MS);                             \
		while (!(condition))                                                               \
			if (!agent_client_serve((client), _end))                                   \
				tap_fail(__FILE__, __LINE__, "%s did not happen", #condition);     \
	} while (0)

/* One round; false when the time is over. */
bool agent_client_serve(struct agent_client *c, unsigned long long deadline);
/* Serves for that long, whatever comes: for what must not happen. */
void agent_client_idle(struct agent_client *c, int ms);

void agent_wait_started(struct agent_stream *s); /* or failed, which fails the test */
void agent_wait_failed(struct agent_stream *s);
/* Exited, and every byte of both totals is there. */
void agent_wait_end(struct agent_stream *s);
void agent_wait_acks(struct agent_stream *s, unsigned n);

/* Runs it and waits for its end. */
struct agent_stream *agent_do(struct agent_client *c, const char *script,
			      const struct agent_run *options);

/* The link starts anew; all streams are gone. */
void agent_client_resync(struct agent_client *c);
/* Bytes past the engine, as a broken or hostile peer sends them. */
void agent_client_send_garbage(struct agent_client *c, const void *p, size_t n);
unsigned agent_client_resyncs(const struct agent_client *c); /* asked for by the agent */

/* Open descriptors of the agent. */
unsigned agent_count_fds(const struct agent_client *c);
/* Its children, zombies included. */
unsigned agent_count_children(const struct agent_client *c);
size_t agent_rss_bytes(const struct agent_client *c);
/* Processor time it has used. */
unsigned long agent_cpu_ms(const struct agent_client *c);

/* The agent has no more memory than this. Sanitizers keep what is freed, so not with them. */
#ifdef __SANITIZE_ADDRESS__
#define CHECK_RSS_BELOW(client, limit) ((void)(limit))
#else
#define CHECK_RSS_BELOW(client, limit) CHECK_INT(agent_rss_bytes(client), <, (limit))
#endif

#endif
