/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COVE_H
#define COVE_H

/*
 * libcove: run commands in microVM sandboxes.
 *
 *	#include <cove/cove.h>
 *
 *	struct cove_error err;
 *	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
 *	options.image = "python";
 *	cove_sandbox *sandbox;
 *	if (cove_sandbox_create("api", &options, &sandbox, &err) < 0)
 *		errx(1, "%s", err.message);
 *
 *	cove_output *out;
 *	if (cove_exec(sandbox, (const char *const[]){ "python", "-V", NULL }, NULL, &out, &err) < 0)
 *		errx(1, "%s", err.message);
 *	fwrite(out->stdout_data, 1, out->stdout_bytes, stdout);
 *	cove_output_free(out);
 *
 *	cove_sandbox_stop(sandbox, NULL, NULL);
 *	cove_sandbox_free(sandbox);
 *
 * Conventions
 *
 *	- Calls return 0 on success and a negative COVE_E_* code on failure (cove/error.h). On
 *	  failure nothing is returned through `ret` and `*err`, which may be NULL, says why.
 *	- An options structure starts with its own size, is made by its _INIT macro and may be
 *	  NULL: all defaults. A field that is zero means its default. Fields are only ever added
 *	  at the end, so programs and libraries of different versions work together; a library
 *	  that is older than the program refuses fields it does not know, if they are set.
 *	- Strings and arrays that are passed in are copied before the call returns. Arrays of
 *	  strings end with NULL.
 *	- What comes out through `T **ret` belongs to the caller. cove_x_free(NULL) is fine, and
 *	  every free returns NULL: `sandbox = cove_sandbox_free(sandbox);`.
 *	- Durations are in milliseconds and end in _ms; sizes are in bytes and end in _bytes.
 *	- argv, env, cwd and output are byte strings in no particular encoding.
 *	- Any thread may call anything on one sandbox at the same time, except free. Of one command,
 *	  one thread at a time receives, one writes its stdin, and any number use its controls. The
 *	  library has no threads of its own: of the threads that wait, one reads for all. It never
 *	  prints and never exits; it keeps no global state and leaves signals alone, but for what
 *	  "Terminals" says, while a command has the program's terminal.
 *	- Programs with an event loop need no thread either: see "Event loops" below.
 *	- Descriptors that the library opens are close-on-exec. After fork() without exec() only
 *	  the parent may go on using its handles.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cove/error.h>
#include <cove/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define COVE_VERSION "0.1.0"

/* The library's own version, which may differ from the header's. */
const char *cove_version(void);

/* Sandboxes ------------------------------------------------------------------------------------ */

typedef struct cove_sandbox cove_sandbox;

struct cove_sandbox_options {
	size_t struct_size;

	/* The name of an image in the store (`cove image ls`). Required. */
	const char *image;

	/* Virtual CPUs, 1 to 64. Default 1. */
	unsigned cpus;

	/* Memory of the machine, 128 MiB to 1 TiB, rounded up to MiB. Default 512 MiB. */
	uint64_t memory_bytes;

	/*
	 * Defaults of the commands in it. cwd: an absolute guest path (default: the image's, else
	 * "/"). user: "name", "uid", "name:group" or "uid:gid" (default: the image's, else root).
	 * env: "KEY=value" over the image's; "KEY" alone takes one away. shell: absolute path of
	 * what cove_shell() runs (default: the image's, else /bin/sh).
	 */
	const char *cwd;
	const char *user;
	const char *const *env;
	const char *shell;

	/* A hostname of at most 63 bytes. Default: the sandbox's name. */
	const char *hostname;

	/* Mount the root filesystem read-only; /tmp, /run and /dev/shm are still writable. */
	bool read_only;

	/*
	 * Detached sandboxes live until stopped, whatever becomes of their creator. The others
	 * (the default) end when the process that created them ends, in whatever way, or frees
	 * the handle.
	 */
	bool detached;

	/*
	 * Keep the sandbox's folder (its disk, its end state) when it ends, until
	 * cove_sandbox_remove(). By default nothing stays.
	 */
	bool persistent;

	/* How long the machine may take to come up. Default 60000. */
	unsigned boot_timeout_ms;

	/*
	 * Called, if not NULL, with a line of text when something takes long, from inside
	 * cove_sandbox_create(). The text lives until the function returns.
	 */
	void (*progress)(const char *text, void *progress_data);
	void *progress_data;
};

#define COVE_SANDBOX_OPTIONS_DEFAULTS .struct_size = sizeof(struct cove_sandbox_options)
#define COVE_SANDBOX_OPTIONS_INIT                                                                  \
	{                                                                                          \
		COVE_SANDBOX_OPTIONS_DEFAULTS                                                      \
	}

/*
 * Starts a new sandbox and waits until it takes commands.
 *
 * name: [a-z0-9][a-z0-9_.-]{0,62}, or NULL for one that is made up (cove_sandbox_name()).
 *
 * INVALID: an option, said which. EXISTS: the name is taken, running or not. NOT_FOUND: no such
 * image. MISSING: no QEMU, kernel or supervisor (`cove doctor` says how to get them). BOOT: the
 * machine did not come up; the message holds the last words of its console. On failure nothing of
 * the sandbox is left.
 */
int cove_sandbox_create(const char *name, const struct cove_sandbox_options *options,
			cove_sandbox **ret, struct cove_error *err);

/*
 * A handle on a running sandbox, from any process of the same user. Freeing it does not end the
 * sandbox. NOT_FOUND: no such name. STATE: it is there but has ended.
 */
int cove_sandbox_connect(const char *name, cove_sandbox **ret, struct cove_error *err);

/* Lives as long as the handle. */
const char *cove_sandbox_name(const cove_sandbox *sandbox);

struct cove_stop_options {
	size_t struct_size;
	/* From SIGTERM to SIGKILL for the commands still running, 24 days at most. Default 10000. */
	uint64_t grace_ms;
};

#define COVE_STOP_OPTIONS_INIT                                                                     \
	{                                                                                          \
		sizeof(struct cove_stop_options)                                                   \
	}

/*
 * Ends the sandbox in order and waits for it: SIGTERM to every command, SIGKILL after the grace
 * time, filesystems flushed, power off. Commands that are being waited for end with cause STOPPED.
 * Stopping one that has ended already is success.
 */
int cove_sandbox_stop(cove_sandbox *sandbox, const struct cove_stop_options *options,
		      struct cove_error *err);

/* Ends the sandbox now, as if its power were cut, and waits until it is gone. */
int cove_sandbox_kill(cove_sandbox *sandbox, struct cove_error *err);

struct cove_detach_options {
	size_t struct_size;
	/* End the sandbox, in order, when this session has ended. NULL: it runs until stopped. */
	const char *until_session;
};

#define COVE_DETACH_OPTIONS_INIT                                                                   \
	{                                                                                          \
		sizeof(struct cove_detach_options)                                                 \
	}

/*
 * From now on the sandbox outlives its creator and this handle, as if it had been created detached.
 * Asking again changes what it is to end with. NOT_FOUND, GONE: there is no such session; STATE: the
 * sandbox is ending. TIMEOUT: it does not answer; whether it was let go of is unknown then, and can be
 * asked for once more.
 */
int cove_sandbox_detach(cove_sandbox *sandbox, const struct cove_detach_options *options,
			struct cove_error *err);

struct cove_sandbox_info {
	const char *name;
	enum cove_sandbox_state state;
	const char *image;
	unsigned cpus;
	uint64_t memory_bytes;
	bool detached;
	bool persistent;
	bool read_only;
	bool stalled; /* the guest has not answered for several heartbeats */
	const char *hostname;
	uint64_t created_ns; /* CLOCK_REALTIME */
	uint64_t ended_ns;   /* 0 while it runs */
	enum cove_end_cause end_cause;
	const char *end_text;	 /* one line for people, "" where there is nothing to say */
	const char *accelerator; /* "kvm" or "tcg" */
	const char *kernel;	 /* the guest's release */
	int supervisor_pid;	 /* 0 when ended */
	int vmm_pid;
	uint64_t boot_us;	   /* from the request to taking commands */
	const char *until_session; /* the session that it ends with, or "" */
};

/* All of it is one allocation, freed by cove_sandbox_info_free(). */
int cove_sandbox_inspect(const char *name, struct cove_sandbox_info **ret, struct cove_error *err);
struct cove_sandbox_info *cove_sandbox_info_free(struct cove_sandbox_info *info);

/*
 * Waits until the sandbox has ended and says how. timeout_ms < 0: forever; 0: just look. TIMEOUT
 * when it still runs after that.
 */
int cove_sandbox_wait(cove_sandbox *sandbox, int timeout_ms, struct cove_sandbox_info **ret,
		      struct cove_error *err);

/* All sandboxes of this user, running or kept, by name; an array of *ret_count pointers. */
int cove_sandbox_list(struct cove_sandbox_info ***ret, size_t *ret_count, struct cove_error *err);
struct cove_sandbox_info **cove_sandbox_list_free(struct cove_sandbox_info **list, size_t count);

/*
 * Removes an ended sandbox with its disk. STATE when it runs, unless `force`, which kills it first.
 * NOT_FOUND: no such name.
 */
int cove_sandbox_remove(const char *name, bool force, struct cove_error *err);

/*
 * Lets go of the handle; ends the sandbox if it was created, attached, through this handle. Handles
 * of commands that came from it (cove_process, cove_control, cove_stdin) stay valid until they are
 * freed themselves, but their link is cut: events that have come can be received, then LOST.
 */
cove_sandbox *cove_sandbox_free(cove_sandbox *sandbox);

/* Commands ------------------------------------------------------------------------------------- */

/* Linux' resource limits; the numbers are those of the kernel. */
enum cove_rlimit_resource {
	COVE_RLIMIT_CPU = 0,	     /* seconds of CPU time */
	COVE_RLIMIT_FSIZE = 1,	     /* bytes of a file written */
	COVE_RLIMIT_DATA = 2,	     /* bytes of data segment */
	COVE_RLIMIT_STACK = 3,	     /* bytes of stack */
	COVE_RLIMIT_CORE = 4,	     /* bytes of a core file */
	COVE_RLIMIT_RSS = 5,	     /* bytes of resident memory (no effect in Linux) */
	COVE_RLIMIT_NPROC = 6,	     /* processes of the user */
	COVE_RLIMIT_NOFILE = 7,	     /* one more than the highest descriptor */
	COVE_RLIMIT_MEMLOCK = 8,     /* bytes locked into memory */
	COVE_RLIMIT_AS = 9,	     /* bytes of address space */
	COVE_RLIMIT_LOCKS = 10,	     /* file locks (no effect in Linux) */
	COVE_RLIMIT_SIGPENDING = 11, /* queued signals of the user */
	COVE_RLIMIT_MSGQUEUE = 12,   /* bytes in POSIX message queues of the user */
	COVE_RLIMIT_NICE = 13,	     /* 20 minus the lowest nice value */
	COVE_RLIMIT_RTPRIO = 14,     /* highest real-time priority */
	COVE_RLIMIT_RTTIME = 15,     /* microseconds of real-time CPU without blocking */
};

#define COVE_RLIMIT_UNLIMITED UINT64_MAX

struct cove_rlimit {
	enum cove_rlimit_resource resource;
	uint64_t soft; /* ≤ hard, or the call fails with INVALID before anything starts */
	uint64_t hard;
};

enum cove_stdin_mode {
	COVE_STDIN_NULL = 0,  /* /dev/null; with tty see there */
	COVE_STDIN_BYTES = 1, /* stdin_data, then end of file */
	COVE_STDIN_PIPE = 2,  /* what is written to cove_process_take_stdin(); streams only */
};

/* What to do when a command writes more than output_limit_bytes. */
enum cove_output_policy {
	COVE_OUTPUT_HEAD = 0, /* keep the first bytes, drop the rest */
	COVE_OUTPUT_TAIL = 1, /* keep the last bytes, drop the rest */
	COVE_OUTPUT_KILL = 2, /* kill the command: cause OUTPUT_LIMIT */
};

struct cove_exec_options {
	size_t struct_size;

	/* Overrides of the sandbox's defaults for this command; see cove_sandbox_options. */
	const char *cwd;
	const char *user;
	const char *const *env; /* merged over the sandbox's */

	/*
	 * stdin_data, with COVE_STDIN_BYTES: borrowed until cove_exec() returns; a stream copies it
	 * before it starts.
	 */
	enum cove_stdin_mode stdin_mode;
	const void *stdin_data;
	size_t stdin_bytes;

	/*
	 * Counted from the command's start, enforced inside the guest. When it is over, every
	 * process that the command has started is killed (daemons included), with cause TIMED_OUT;
	 * a buffered call returns COVE_E_TIMEOUT together with the output so far (*ret is set!).
	 * 0: no limit.
	 *
	 * timeout_signal, if not 0, is sent to the command first, and the kill follows
	 * timeout_grace_ms later (default 10000).
	 */
	uint64_t timeout_ms;
	int timeout_signal;
	uint64_t timeout_grace_ms;

	const struct cove_rlimit *rlimits;
	size_t n_rlimits;

	/*
	 * The most to keep of stdout and of stderr each, and what to do beyond (KILL: both
	 * together). 0: COVE_OUTPUT_LIMIT_DEFAULT with policy KILL, so that no command can exhaust
	 * the caller's memory unasked. UINT64_MAX: no limit.
	 *
	 * Streams have no limit by default, since they keep nothing: there KILL acts on what the
	 * command writes, HEAD and TAIL on what cove_process_collect() keeps.
	 */
	uint64_t output_limit_bytes;
	enum cove_output_policy output_policy;

	/*
	 * A command has ended when its first process has. Output that is in its pipes by then is
	 * returned. Where something it left running holds the pipes open, the call waits no longer
	 * than linger_ms (default 50) for more; with wait_eof, it waits until all of them are
	 * closed.
	 */
	unsigned linger_ms;
	bool wait_eof;

	/* Kill what the command left running when its first process ends. */
	bool kill_tree_on_exit;

	/*
	 * The id of the session: [A-Za-z0-9][A-Za-z0-9_.-]{0,63}, unique in the sandbox's life.
	 * The same id again does not run the command twice, whichever process asks: it gives the
	 * output, as far as it is kept, and the result of the first. GONE when that was collected
	 * or is too old. NULL: one is made.
	 */
	const char *id;

	/*
	 * Run it on a terminal of its own: what it writes to stdout and stderr comes as stdout, and
	 * what is typed (COVE_STDIN_BYTES, COVE_STDIN_PIPE) goes through the terminal's line
	 * discipline. rows and cols, 1 to 65535, are its size from the start; default 24 and 80.
	 * INVALID when they are given without tty.
	 *
	 * With COVE_STDIN_NULL nobody types: stdin is the terminal, and the first read from it is
	 * the end of file. Programs that ask again, or take keys (editors, shells with line
	 * editing), wait, as in front of an empty chair.
	 */
	bool tty;
	unsigned rows;
	unsigned cols;

	/*
	 * Kill the command when nobody of those who started it is there any more: this call, or the
	 * cove_process (its controls and its stdin do not count, they end with it).
	 */
	bool kill_on_disconnect;

	/*
	 * What the guest keeps of stdout and of stderr each, for those who look at the session
	 * later: 4 KiB to 64 MiB. Default 256 KiB.
	 */
	uint64_t replay_bytes;

	/* COVE_EXEC_NONBLOCK; streams only. */
	unsigned flags;

	/* For cove_process_user_data(); streams only. */
	void *user_data;

	/*
	 * With COVE_STDIN_PIPE: stdin ends by cove_stdin_close() only, not when its writer is freed,
	 * so that somebody who opens the session later can go on writing.
	 */
	bool keep_stdin_open;
};

/* No call on the process waits, but those that say so: see "Event loops". */
#define COVE_EXEC_NONBLOCK 1u

/* 64 MiB: far above what is read by anybody, far below what hurts. */
#define COVE_OUTPUT_LIMIT_DEFAULT (64u * 1024 * 1024)

#define COVE_EXEC_OPTIONS_DEFAULTS .struct_size = sizeof(struct cove_exec_options)
#define COVE_EXEC_OPTIONS_INIT                                                                     \
	{                                                                                          \
		COVE_EXEC_OPTIONS_DEFAULTS                                                         \
	}

/* How a command ended. */
enum cove_cause {
	COVE_CAUSE_EXITED = 0,	     /* by itself, with `code` */
	COVE_CAUSE_SIGNALED = 1,     /* by a signal that Cove did not send */
	COVE_CAUSE_TIMED_OUT = 2,    /* its timeout */
	COVE_CAUSE_OOM_KILLED = 3,   /* the guest ran out of memory and chose it */
	COVE_CAUSE_KILLED = 4,	     /* asked for through Cove */
	COVE_CAUSE_OUTPUT_LIMIT = 5, /* wrote too much under COVE_OUTPUT_KILL */
	COVE_CAUSE_STOPPED = 6,	     /* the sandbox was stopped */
};

struct cove_exit {
	enum cove_cause cause;
	int code;   /* the exit code, or 128 + signal */
	int signal; /* 0 when it exited */
	bool core_dumped;
	uint64_t started_ns; /* CLOCK_REALTIME, as the guest has it */
	uint64_t ended_ns;
	uint64_t elapsed_ns; /* by a clock that does not jump */
	uint64_t user_us;    /* CPU time of the command and the children it waited for */
	uint64_t system_us;
	/* Of the largest of them. The agent's own memory, some MiB, is the least it can show. */
	uint64_t max_rss_bytes;
	/* 0. This structure is a part of others, and what it will say some day goes here. */
	uint64_t reserved[4];
};

/* code == 0 and cause EXITED. */
bool cove_exit_success(const struct cove_exit *exit);
const char *cove_cause_name(enum cove_cause cause);		    /* "timed_out" */
const char *cove_end_cause_name(enum cove_end_cause cause);	    /* "vmm_died" */
const char *cove_sandbox_state_name(enum cove_sandbox_state state); /* "running" */

/* What a buffered command gave. Read it; it is the library's structure. */
typedef struct cove_output {
	struct cove_exit exit;
	const char *id; /* of its session */
	int pid;	/* in the guest */

	/* The bytes kept, followed by a NUL that is not counted. Never NULL. */
	const char *stdout_data;
	size_t stdout_bytes;
	const char *stderr_data;
	size_t stderr_bytes;

	/* All bytes that the command wrote; larger than stdout_bytes where a limit was applied. */
	uint64_t stdout_total;
	uint64_t stderr_total;
	/* Bytes were dropped by the limit; or, of a session started before, are kept no more. */
	bool limited;

	/* errno in the guest if the command stopped reading its stdin before the end, else 0. */
	int stdin_errno;
} cove_output;

/*
 * Runs a command and waits for its end. argv[0] is executed literally, without a shell; a name
 * without a slash is looked up in the PATH that the command will have.
 *
 * A command that ends, however it ends, is success of the call: see out->exit. The errors:
 *
 *	INVALID  an option, refused before anything was started
 *	START    could not be started: err->stage and err->os_errno say at what and why
 *	TIMEOUT  timeout_ms was reached; *ret is set, with the output so far and
 *	         exit.cause TIMED_OUT
 *	LOST     the sandbox or the link died; how the command ended is unknown
 *	PROTOCOL bytes are missing or too many: never passed over in silence
 *	LIMIT    the sandbox has too many sessions
 *	GONE     the id is that of a session whose result is not kept any more
 */
int cove_exec(cove_sandbox *sandbox, const char *const *argv,
	      const struct cove_exec_options *options, cove_output **ret, struct cove_error *err);

/* The same for a script: runs the sandbox's shell with "-c" and it. */
int cove_shell(cove_sandbox *sandbox, const char *script, const struct cove_exec_options *options,
	       cove_output **ret, struct cove_error *err);

/*
 * stdout (or stderr) as text: ENCODING, with the offset of the first bad byte in the message, if it
 * is not valid UTF-8 or holds a NUL. Borrowed from out.
 */
int cove_output_text(const cove_output *out, const char **ret, struct cove_error *err);
int cove_output_stderr_text(const cove_output *out, const char **ret, struct cove_error *err);

cove_output *cove_output_free(cove_output *out);

/* Streams -------------------------------------------------------------------------------------- */

/*
 * A command as it runs: events come out, stdin goes in, signals act on it.
 *
 *	cove_process *process;
 *	if (cove_exec_stream(sandbox, argv, NULL, &process, &err) < 0)
 *		errx(1, "%s", err.message);
 *	const struct cove_event *event;
 *	int r;
 *	while ((r = cove_process_recv(process, &event, -1, &err)) > 0)
 *		if (event->kind == COVE_EVENT_STDOUT)
 *			fwrite(event->data, 1, event->bytes, stdout);
 *	cove_process_free(process);
 *
 * The command belongs to the sandbox, not to the handle: when the handle is freed, or the program
 * dies, it runs on (kill_on_disconnect: it does not).
 *
 * Nothing queues without a bound. Output that is not received fills a window of 1 MiB at most,
 * then the guest's pipe, and then the command waits in its write(). A command that does not read its
 * stdin makes cove_stdin_write() wait, and nothing else.
 */
typedef struct cove_process cove_process;
/* The right to signal, kill and resize, to be used by any thread, and shared. */
typedef struct cove_control cove_control;
/* The writing end of a command's stdin. */
typedef struct cove_stdin cove_stdin;

enum cove_stream {
	COVE_STDOUT = 1,
	COVE_STDERR = 2,
};

enum cove_event_kind {
	/*
	 * The command runs: pid, id, was_there, tty, rows, cols; stdout_total and stderr_total are
	 * what it had written by then. Of a terminal, data and bytes are the control sequences, 1024
	 * bytes at most, by which another one that is as after a reset gets the modes that the
	 * command had switched on by then (its second screen, bracketed paste, the mouse), for what
	 * did that may not be kept any more. Comes first, unless FAILED or LOST does.
	 */
	COVE_EVENT_STARTED = 1,
	/* It wrote something: data, bytes, offset. Never 0 bytes; cut anywhere. */
	COVE_EVENT_STDOUT = 2,
	COVE_EVENT_STDERR = 3,
	/* It closed its stdin before all of it was read: os_errno. At most once. */
	COVE_EVENT_STDIN_ERROR = 4,
	/*
	 * Bytes that nobody has any more: stream, offset of the first, missing_bytes. Only where a
	 * session was there before (an id started again, cove_process_open()).
	 */
	COVE_EVENT_GAP = 5,

	/* One of these is the last event, and there is always one. */
	COVE_EVENT_EXITED = 6, /* it ended: exit, stdout_total, stderr_total */
	COVE_EVENT_FAILED = 7, /* it was not started: error, see cove_exec() */
	COVE_EVENT_LOST = 8,   /* how it ended is not known: error, LOST or PROTOCOL */
};

/* The library's; lives until the next receiving call on the process, or its free. */
struct cove_event {
	enum cove_event_kind kind;
	enum cove_stream stream; /* STDOUT, STDERR, GAP */
	int pid;		 /* in the guest; set in all events once known */
	int os_errno;		 /* STDIN_ERROR */
	const char *id;		 /* of the session; "" until known; lives as long as the process */
	const void *data;	 /* STDOUT, STDERR; STARTED */
	size_t bytes;
	uint64_t offset; /* of data in its stream; GAP: of the first missing byte */
	uint64_t missing_bytes;
	struct cove_exit exit;
	/* All bytes that the command wrote, received here or not. */
	uint64_t stdout_total;
	uint64_t stderr_total;
	const struct cove_error *error; /* FAILED, LOST */
	/* STARTED: the session was there before, by its id. It has a terminal, of this size now. */
	bool was_there;
	bool tty;
	unsigned rows;
	unsigned cols;
};

const char *cove_event_name(enum cove_event_kind kind); /* "stdin_error" */

/*
 * Starts a command, as cove_exec() does, and returns at once: that it runs, or could not be started,
 * comes as an event. Errors: INVALID, LOST, PROTOCOL, NO_MEMORY; START when arguments and environment
 * are more than can be sent; AGAIN with COVE_EXEC_NONBLOCK, when too much is waiting to be sent:
 * nothing was started, try it after the next cove_sandbox_dispatch().
 */
int cove_exec_stream(cove_sandbox *sandbox, const char *const *argv,
		     const struct cove_exec_options *options, cove_process **ret,
		     struct cove_error *err);

/* The same for a script: runs the sandbox's shell with "-c" and it. */
int cove_shell_stream(cove_sandbox *sandbox, const char *script,
		      const struct cove_exec_options *options, cove_process **ret,
		      struct cove_error *err);

enum cove_open_from {
	COVE_FROM_START = 0,  /* the oldest output that is kept */
	COVE_FROM_NOW = 1,    /* what comes from now on */
	COVE_FROM_OFFSET = 2, /* stdout_offset and stderr_offset */
};

struct cove_open_options {
	size_t struct_size;

	/* Where the output begins. Where that is not kept any more, a GAP event says so. */
	enum cove_open_from from;
	uint64_t stdout_offset;
	uint64_t stderr_offset;

	/* Get no output at all, only how it starts and ends. */
	bool no_output;

	/*
	 * Lose output rather than make the command wait when it is not received in time; GAP events
	 * say how much was lost.
	 */
	bool lossy;

	/* Only look: no stdin, signals, kill and resize (DENIED). */
	bool read_only;

	/* As in cove_exec_options. */
	unsigned flags;
	void *user_data;
	bool keep_stdin_open;
};

#define COVE_OPEN_OPTIONS_INIT                                                                     \
	{                                                                                          \
		sizeof(struct cove_open_options)                                                   \
	}

/*
 * A handle on a command that was started before, by whatever process: a session by its id, running
 * or ended (the result of one that has ended is kept for ten minutes, with what processes that it
 * left running have written since). Events are those of cove_exec_stream(). Two other things come as
 * FAILED: NOT_FOUND, an id that there never was; and GONE, one whose result was collected
 * (cove_session_collect()) or is not kept any more. An offset that is past the end is INVALID there.
 */
int cove_process_open(cove_sandbox *sandbox, const char *id,
		      const struct cove_open_options *options, cove_process **ret,
		      struct cove_error *err);

/*
 * The next event. 1: *ret is one; 0: the last event was received before. timeout_ms < 0: wait for
 * ever; 0: just look. TIMEOUT: none came in time. One thread at a time: STATE for a second one.
 * Waits with COVE_EXEC_NONBLOCK too.
 */
int cove_process_recv(cove_process *process, const struct cove_event **ret, int timeout_ms,
		      struct cove_error *err);

/*
 * Waits for the end and collects the output that was not received yet. As cove_exec(), for the
 * errors too, and with the limit of the options that the command was started with. If there was
 * none, COVE_OUTPUT_LIMIT_DEFAULT and KILL; with cove_process_open() the same and HEAD, since looking
 * at somebody's command is no reason to kill it. Of what was received before, nothing is in the
 * output, but the totals count it. Waits with COVE_EXEC_NONBLOCK too.
 */
int cove_process_collect(cove_process *process, cove_output **ret, struct cove_error *err);

/*
 * Waits for the end and discards the output that was not received yet; it is not even transferred.
 * May be called again, also after the last event; the events that are no output can be received
 * still. timeout_ms as in cove_process_recv(); after TIMEOUT the output is discarded all the same.
 * START, LOST, PROTOCOL: as cove_exec(). A command that ran into its own timeout is success here:
 * exit.cause. ret may be NULL. Receiving: STATE while another thread is. Waits with
 * COVE_EXEC_NONBLOCK too.
 */
int cove_process_wait(cove_process *process, int timeout_ms, struct cove_exit *ret,
		      struct cove_error *err);

/*
 * The session's id; lives as long as the process. Waits until the command has started, if the
 * caller did not choose the id; AGAIN instead with COVE_EXEC_NONBLOCK. Errors: as cove_exec().
 */
int cove_process_id(cove_process *process, const char **ret, struct cove_error *err);

void *cove_process_user_data(const cove_process *process);

/*
 * Signals, kill and resize. The guest confirms each, so that what these return is what happened:
 * STATE when the command has ended, INVALID when there is no such signal. Before the command has
 * started they wait for that, and fail as it does. With COVE_EXEC_NONBLOCK they only send; AGAIN
 * when too much is waiting to be sent.
 *
 *	signal	1 to 64 (Linux' numbers), to the command's process group; with a terminal, those
 *		that a keyboard sends (INT, QUIT, TSTP) go to its foreground group
 *	kill	SIGKILL to everything that the command has started; returns when all of it is gone
 *	resize	the terminal's size, each 1 to 65535; STATE when there is none
 */
int cove_process_signal(cove_process *process, int signal, struct cove_error *err);
int cove_process_kill(cove_process *process, struct cove_error *err);
int cove_process_resize(cove_process *process, unsigned rows, unsigned cols,
			struct cove_error *err);

/*
 * Closes the reading end of the command's stdout or stderr, as when `command | head` has seen
 * enough: a process that goes on writing gets SIGPIPE or EPIPE. Of the stream, what was written
 * before still comes. Others who look at the session get no more of it either. STATE with a
 * terminal. Confirmed like the above.
 */
int cove_process_close_output(cove_process *process, enum cove_stream stream,
			      struct cove_error *err);

/* A reference of its own; usable by any thread at any time, also after cove_process_free(). */
cove_control *cove_process_control(cove_process *process);

/*
 * The writer of stdin: with COVE_STDIN_PIPE, or from cove_process_open() without read_only. NULL
 * otherwise, and from the second call on. Usable by another thread, also after cove_process_free().
 */
cove_stdin *cove_process_take_stdin(cove_process *process);

/*
 * Lets go of the handle; no other call on it may be under way. The command runs on, and its output
 * is not waited for here any more: it never blocks for want of this reader. A stdin that was not
 * taken is closed (keep_stdin_open: it is not).
 */
cove_process *cove_process_free(cove_process *process);

cove_control *cove_control_ref(cove_control *control);
cove_control *cove_control_unref(cove_control *control); /* NULL */
/* As cove_process_id(), _signal(), _kill() and _resize(); id lives as long as the control. */
int cove_control_id(cove_control *control, const char **ret, struct cove_error *err);
int cove_control_signal(cove_control *control, int signal, struct cove_error *err);
int cove_control_kill(cove_control *control, struct cove_error *err);
int cove_control_resize(cove_control *control, unsigned rows, unsigned cols,
			struct cove_error *err);

/*
 * Writes all n bytes, waiting while the command does not read. 0 bytes are nothing, not the end.
 * SYSTEM with EPIPE (or what else the guest saw) when it reads no more; its output and end are not
 * touched by that. STATE: closed, or the command has ended. One thread at a time. Waits with
 * COVE_EXEC_NONBLOCK too.
 */
int cove_stdin_write(cove_stdin *in, const void *data, size_t n, struct cove_error *err);

/*
 * Writes as much as can be taken over without waiting: *ret ≥ 1 bytes of n, which the library keeps
 * until they are sent, at most COVE_STDIN_BUFFER_BYTES. AGAIN when it takes none: the process is
 * among those of cove_sandbox_dispatch() when it does again.
 */
int cove_stdin_try_write(cove_stdin *in, const void *data, size_t n, size_t *ret,
			 struct cove_error *err);
#define COVE_STDIN_BUFFER_BYTES (64u * 1024)

/*
 * End of file, after all that was written. On a terminal it is typed: the EOF character, where the
 * terminal is in canonical mode; otherwise nothing happens. Never waits; closing twice is fine.
 */
int cove_stdin_close(cove_stdin *in, struct cove_error *err);

/*
 * Waits until all that was written has arrived in the guest, where it is the command's whatever
 * becomes of this program. That it was read is not said. TIMEOUT: the command has to read some
 * first (the guest takes 256 KiB ahead of it), or the sandbox does not answer. Other errors as for
 * cove_stdin_write(). Waits with COVE_EXEC_NONBLOCK too.
 */
int cove_stdin_flush(cove_stdin *in, int timeout_ms, struct cove_error *err);

/*
 * Closes it, if it is not closed (keep_stdin_open: leaves it open), and lets go of it. What was written still arrives, also when all
 * handles of the command are freed, while the sandbox's handle is there. (What the command has not
 * had room for is sent while any thread is inside a waiting call on the sandbox, or dispatches.)
 */
cove_stdin *cove_stdin_free(cove_stdin *in);

/* Sessions ------------------------------------------------------------------------------------- */

/*
 * Every command is a session of its sandbox, with an id. It does not belong to who started it: that
 * one can go away, and others can come (cove_process_open(), cove_attach_session()), as long as it
 * runs, and after that until its result is collected, or ten minutes have passed, or 1,024 others
 * have ended. Of its output the last bytes are kept (replay_bytes), so whoever comes gets them by
 * their offsets, and is told exactly what is missing.
 */

enum cove_session_state {
	COVE_SESSION_RUNNING = 0,
	COVE_SESSION_ENDED = 1,
	COVE_SESSION_COLLECTED = 2, /* ended, and nothing but this entry is kept */
};

const char *cove_session_state_name(enum cove_session_state state); /* "running" */

struct cove_session_info {
	const char *id;
	enum cove_session_state state;
	int pid; /* in the guest */
	bool tty;
	unsigned rows, cols; /* of the terminal */
	/* The command, ends with NULL; shortened to some KiB where it is long. */
	const char *const *argv;
	uint64_t started_ns; /* CLOCK_REALTIME, as the guest has it */
	/* Who looks at it now: starters, cove_process_open(), terminals. */
	unsigned viewers;
	/* Processes that it started are there still. True while it runs. */
	bool has_processes;
	/* Somebody can write its stdin still. */
	bool stdin_open;
	/* What is kept of its output: from the offset start to the offset total. */
	uint64_t stdout_start, stdout_total;
	uint64_t stderr_start, stderr_total;
	struct cove_exit exit; /* unless it runs */
};

/*
 * All sessions of the sandbox, in the order of their start; an array of *ret_count pointers, freed
 * with the list.
 */
int cove_session_list(cove_sandbox *sandbox, struct cove_session_info ***ret, size_t *ret_count,
		      struct cove_error *err);
struct cove_session_info **cove_session_list_free(struct cove_session_info **list, size_t count);

/*
 * Waits until the session has ended, and says how. timeout_ms < 0: for ever; 0: just look. TIMEOUT:
 * it still runs. NOT_FOUND, GONE: as for cove_process_open(). ret may be NULL. The result stays.
 */
int cove_session_wait(cove_sandbox *sandbox, const char *id, int timeout_ms, struct cove_exit *ret,
		      struct cove_error *err);

/*
 * Takes the result: waits for the end, gives what cove_exec() would have given, as far as it is kept
 * (out->limited says when it is not all), and then has the sandbox forget it: from then on the id
 * is GONE to everybody. Who looks at it at that moment gets it to the end. Nothing is forgotten
 * before it has arrived here. ret may be NULL, if only the forgetting is wanted.
 */
int cove_session_collect(cove_sandbox *sandbox, const char *id, cove_output **ret,
			 struct cove_error *err);

/* Terminals ------------------------------------------------------------------------------------ */

/*
 * Runs a command on this program's terminal, or comes back to one, as ssh does: keys go to the
 * command and what it writes is shown, the size follows the window's. Returns when the command ends
 * or the user detaches; then it runs on in the sandbox, and can be come back to from anywhere.
 *
 *	struct cove_attach_result result;
 *	if (cove_attach(sandbox, (const char *const[]){ "vi", "notes", NULL }, NULL, &result, &err) < 0)
 *		errx(1, "%s", err.message);
 *	if (result.end == COVE_ATTACH_DETACHED)
 *		printf("detached from %s\n", result.id);
 *
 * For as long as the call takes, and only then, the terminal is in raw mode, and the library looks at
 * signals of the process: SIGWINCH, SIGCONT, SIGTSTP, SIGINT, SIGTERM, SIGHUP and SIGQUIT, each only
 * if the program has not set a handler for it, or ignored it. The terminal is put back in every way
 * out: an error, a signal, exit() by another thread; also what the command has switched on in it
 * (its second screen, the mouse, a hidden cursor) and has not had the time to switch off. Should the
 * program be stopped (SIGTSTP, SIGSTOP), it is put back for the meantime, but for SIGSTOP, after
 * which that is done when it goes on.
 *
 * One terminal at a time: STATE for a second call in the process. It uses a connection of its own, so
 * that nothing else on the sandbox's handle is in its way.
 */
struct cove_attach_options {
	size_t struct_size;

	/*
	 * How the command is run, for cove_attach() and cove_attach_shell(); NULL: defaults. tty is
	 * implied, and what concerns stdin, the size, the output's limit and event loops has to be
	 * left alone. TERM and COLORTERM are those of this program, unless env has them; a TERM
	 * that few machines know becomes xterm-256color.
	 */
	const struct cove_exec_options *exec;

	/*
	 * What to type to detach: keys separated by commas, each a single character or ctrl-X with
	 * X one of a-z @ [ \ ] ^ _. Several such sequences are separated by spaces; each of them
	 * does. NULL: "ctrl-]". "": none. Keys that may be the beginning of a sequence are held back
	 * for 500 ms at most; a paste does not detach where the command has switched on bracketed
	 * paste. What is typed right after the sequence is dropped: it was for nobody.
	 */
	const char *detach_keys;

	/*
	 * Descriptors. input_fd (default 0) must be a terminal, and nothing has been started when it
	 * is not. output_fd (default, and with 0: 1) may be something else.
	 */
	int input_fd;
	int output_fd;

	/*
	 * For cove_attach_session(): where the output begins, by default with all that is kept, and
	 * how to look, as in cove_open_options. With read_only, keys do nothing but detach, and
	 * Ctrl-C does that, too.
	 */
	enum cove_open_from from;
	uint64_t stdout_offset;
	bool lossy;
	bool read_only;

	/*
	 * For cove_attach_shell(): a script that the shell runs on the terminal, as with
	 * cove_shell(). NULL: the shell is interactive.
	 */
	const char *script;
};

#define COVE_ATTACH_OPTIONS_INIT                                                                   \
	{                                                                                          \
		sizeof(struct cove_attach_options)                                                 \
	}

enum cove_attach_end {
	COVE_ATTACH_EXITED = 0,	  /* the command has ended: exit */
	COVE_ATTACH_DETACHED = 1, /* by the keys; it runs on, unless it has kill_on_disconnect */
	/*
	 * SIGINT, SIGTERM, SIGHUP or SIGQUIT, which would have ended this program, or the terminal
	 * was hung up (SIGHUP): `signal`. Detached likewise. What to do about it is the caller's.
	 */
	COVE_ATTACH_INTERRUPTED = 2,
};

#define COVE_SESSION_ID_BYTES 65 /* with the NUL */

struct cove_attach_result {
	enum cove_attach_end end;
	int signal;
	char id[COVE_SESSION_ID_BYTES]; /* of the session; "" if that was left before it had one */
	struct cove_exit exit;
	/* Of its output: the offset after the last byte that was shown, and how many were not kept,
	   or lost by a lossy viewer, in what was to be shown. */
	uint64_t stdout_offset;
	uint64_t missing_bytes;
	/* Typed or pasted, and for want of a reader not arrived when the user detached: lost. */
	uint64_t unsent_bytes;
	uint64_t reserved[8];
};

/*
 * Errors, besides those of cove_exec(): INVALID, input_fd is not a terminal; detach_keys: what is
 * wrong with them; NOT_FOUND, GONE: as for cove_process_open(). LOST when the sandbox ends
 * meanwhile. A command that could not be started is START; nothing was shown then.
 */
int cove_attach(cove_sandbox *sandbox, const char *const *argv,
		const struct cove_attach_options *options, struct cove_attach_result *ret,
		struct cove_error *err);

/* The same for the sandbox's shell: without arguments, so it is interactive; or for a script. */
int cove_attach_shell(cove_sandbox *sandbox, const struct cove_attach_options *options,
		      struct cove_attach_result *ret, struct cove_error *err);

/*
 * Whether these can be detach_keys, for programs that want to know before they make a sandbox. NULL
 * can. INVALID: what is wrong with them.
 */
int cove_detach_keys_check(const char *detach_keys, struct cove_error *err);

/*
 * Comes back to a session by its id, from any process, running or ended. It must have a terminal:
 * STATE. A program that has the whole screen is made to draw it anew, by a change of its size. In
 * what is shown of before, questions to the terminal (where is the cursor? which one are you?) are
 * left out: they were answered then.
 */
int cove_attach_session(cove_sandbox *sandbox, const char *id,
			const struct cove_attach_options *options, struct cove_attach_result *ret,
			struct cove_error *err);

/* Event loops ---------------------------------------------------------------------------------- */

/*
 * For programs that wait for many things in one place, with poll(), epoll, libuv and others. Any
 * number of commands run over one sandbox's descriptor:
 *
 *	poll the descriptor cove_sandbox_fd() for cove_sandbox_events(); when it is ready:
 *	n = cove_sandbox_dispatch(sandbox, ready, 16, &err);
 *	for (i = 0; i < n; i++)
 *		while ((r = cove_process_try_recv(ready[i], &event, &err)) > 0)
 *			…
 *
 * It is about the commands that were started, or opened, with COVE_EXEC_NONBLOCK, and no others.
 * Threads may wait on the same sandbox at the same time; nothing is lost to them.
 */

/*
 * The descriptor; it is the library's, stays the same, and is only polled; not after
 * cove_sandbox_free(). Negative: an error.
 */
int cove_sandbox_fd(cove_sandbox *sandbox, struct cove_error *err);
/* What to poll it for: POLLIN, POLLOUT. May change with every call on the sandbox. */
short cove_sandbox_events(const cove_sandbox *sandbox);

/*
 * Reads and writes what can be without waiting. Returns how many processes, max at most, have
 * something new since they were last returned: an event, or room in their stdin. Receive until
 * AGAIN: a process is not returned again for what it had. If there are more, the descriptor stays
 * ready. LOST (or PROTOCOL) when the link is gone, once there is no process left that has not been
 * told: do not poll the descriptor any more.
 *
 * A process that is freed is not returned again; but whoever frees another one than that whose turn
 * it is has to take it out of the array, too.
 */
int cove_sandbox_dispatch(cove_sandbox *sandbox, cove_process **ret, size_t max,
			  struct cove_error *err);

/* As cove_process_recv(), of what has been read already. AGAIN: nothing, for now. */
int cove_process_try_recv(cove_process *process, const struct cove_event **ret,
			  struct cove_error *err);

#ifdef __cplusplus
}
#endif

#endif
