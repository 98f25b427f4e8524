/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The output of a session so far. It has to be exact, so its viewer is lossless, which means that the
 * command waits for it; and looking should not hold up a command. So all of it is taken first, as
 * fast as it comes, and written, to a reader who may be slow, after that. It is what the sandbox keeps, 64 MiB
 * of each stream at most. What --follow shows after it may be lost, and that is said.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/error.h"
#include "cli/execute.h"

/* The library's most for replay_bytes. */
#define KEPT_MAX (64u * 1024 * 1024)

struct stream {
	struct sink sink;
	struct buffer kept;
	uint64_t offset; /* how far it was received */
	uint64_t end;	 /* how far it was when asked */
};

struct logs {
	const struct cli_args *args;
	struct stream streams[2]; /* of enum cove_stream, less 1 */
	bool ended;		  /* the command has */
	bool finished;		  /* and it wrote nothing after it was asked */
};

static void logs_done(struct logs *logs)
{
	for (int i = 0; i < 2; i++)
		buffer_done(&logs->streams[i].kept);
}

static struct stream *stream_of(struct logs *logs, const struct cove_event *event)
{
	bool err = event->kind == COVE_EVENT_STDERR ||
		   (event->kind == COVE_EVENT_GAP && event->stream == COVE_STDERR);
	return &logs->streams[err];
}

static void note_gap(const struct logs *logs, const struct cove_event *event)
{
	cli_note_gap(logs->args, event->missing_bytes,
		     event->stream == COVE_STDOUT ? "stdout" : "stderr");
}

/* What came after it was asked is left for later. */
static int keep(struct stream *stream, const struct cove_event *event)
{
	uint64_t left = stream->end > event->offset ? stream->end - event->offset : 0;

	stream->offset = event->offset + event->bytes;
	return buffer_append(&stream->kept, event->data, (size_t)MIN(event->bytes, left));
}

static bool all_kept(const struct logs *logs)
{
	return logs->ended || (logs->streams[0].offset >= logs->streams[0].end &&
			       logs->streams[1].offset >= logs->streams[1].end);
}

/* 0, or the exit status. */
static int take_event(struct logs *logs, const struct cove_event *event)
{
	struct stream *stream = stream_of(logs, event);

	switch (event->kind) {
	case COVE_EVENT_STARTED:
		logs->streams[0].end = event->stdout_total;
		logs->streams[1].end = event->stderr_total;
		if (logs->args->values.since.from == COVE_FROM_NOW)
			for (int i = 0; i < 2; i++)
				logs->streams[i].offset = logs->streams[i].end;
		break;
	case COVE_EVENT_STDOUT:
	case COVE_EVENT_STDERR:
		if (keep(stream, event) < 0)
			return cli_fail(logs->args->command, "out of memory");
		break;
	case COVE_EVENT_GAP:
		note_gap(logs, event);
		stream->offset = event->offset + event->missing_bytes;
		break;
	case COVE_EVENT_STDIN_ERROR:
		break;
	case COVE_EVENT_EXITED:
		logs->ended = true;
		logs->finished = event->stdout_total == logs->streams[0].end &&
				 event->stderr_total == logs->streams[1].end;
		break;
	case COVE_EVENT_FAILED:
	case COVE_EVENT_LOST:
		return cli_fail_error(logs->args->command, event->error, NULL);
	}
	return 0;
}

static int open_session(const struct logs *logs, cove_sandbox *sandbox,
			const struct cove_open_options *options, cove_process **ret)
{
	struct cove_error err = COVE_ERROR_INIT;

	if (cove_process_open(sandbox, logs->args->operands[1], options, ret, &err) < 0)
		return cli_fail_error(logs->args->command, &err, NULL);
	return 0;
}

/* All up to now. */
static int take_kept(struct logs *logs, cove_sandbox *sandbox)
{
	const struct cli_since *since = &logs->args->values.since;
	struct cove_open_options options = COVE_OPEN_OPTIONS_INIT;
	_cleanup_(cli_process_freep) cove_process *process = NULL;
	struct cove_error err = COVE_ERROR_INIT;
	const struct cove_event *event;
	bool started = false;

	options.from = since->from;
	options.stdout_offset = since->stdout_offset;
	options.stderr_offset = since->stderr_offset;
	options.read_only = true;
	logs->streams[0].offset = since->stdout_offset; /* 0, where they are not meant */
	logs->streams[1].offset = since->stderr_offset;
	int status = open_session(logs, sandbox, &options, &process);
	while (status == 0 && !(started && all_kept(logs))) {
		if (cove_process_recv(process, &event, -1, &err) < 0)
			return cli_fail_error(logs->args->command, &err, NULL);
		started = true;
		status = take_event(logs, event);
	}
	return status;
}

/* 0, or the exit status: nobody reads any more, or it cannot be written. */
static int put(struct logs *logs, struct stream *stream, const void *data, size_t n)
{
	sink_put(&stream->sink, data, n);
	if (stream->sink.failed)
		return CLI_EXIT_FAILURE;
	/* As with other programs, it is stdout that somebody reads. */
	return logs->streams[0].sink.closed ? 128 + SIGPIPE : 0;
}

static int write_kept(struct logs *logs)
{
	int status = 0;

	for (int i = 0; i < 2 && status == 0; i++) {
		struct stream *stream = &logs->streams[i];
		status = put(logs, stream, buffer_front(&stream->kept), stream->kept.size);
		buffer_done(&stream->kept);
	}
	return status;
}

/* What comes from here on, as it comes. */
static int follow(struct logs *logs, cove_sandbox *sandbox)
{
	struct cove_open_options options = COVE_OPEN_OPTIONS_INIT;
	_cleanup_(cli_process_freep) cove_process *process = NULL;
	struct cove_error err = COVE_ERROR_INIT;
	const struct cove_event *event;

	options.from = COVE_FROM_OFFSET;
	options.stdout_offset = logs->streams[0].end;
	options.stderr_offset = logs->streams[1].end;
	options.read_only = true;
	options.lossy = true;
	logs->ended = false;
	int status = open_session(logs, sandbox, &options, &process);
	while (status == 0 && !logs->ended) {
		if (cove_process_recv(process, &event, -1, &err) < 0)
			return cli_fail_error(logs->args->command, &err, NULL);
		if (event->kind == COVE_EVENT_STDOUT || event->kind == COVE_EVENT_STDERR)
			status = put(logs, stream_of(logs, event), event->data, event->bytes);
		else
			status = take_event(logs, event);
	}
	return status;
}

static int run(struct cli_args *args)
{
	_cleanup_(cli_sandbox_freep) cove_sandbox *sandbox = NULL;
	_cleanup_(logs_done) struct logs logs = { .args = args };

	for (int i = 0; i < 2; i++) {
		logs.streams[i].sink = (struct sink){
			.command = args->command,
			.fd = i ? STDERR_FILENO : STDOUT_FILENO,
			.policy = COVE_OUTPUT_KILL,
		};
		buffer_init(&logs.streams[i].kept, KEPT_MAX);
	}
	signal(SIGPIPE, SIG_IGN);
	sandbox = cli_sandbox_connect(args, args->operands[0]);
	if (!sandbox)
		return CLI_EXIT_FAILURE;
	int status = take_kept(&logs, sandbox);
	if (status == 0)
		status = write_kept(&logs);
	if (status == 0 && args->values.follow && !logs.finished)
		status = follow(&logs, sandbox);
	/* Who reads has seen enough, as `head` has. */
	return status == 128 + SIGPIPE ? 0 : status;
}

static const struct cli_option options[] = {
	{ "follow", 'f', CLI_FLAG, NULL, CLI_AT(bool, follow),
	  .help = "go on until the command has ended" },
	{ "since", 0, CLI_SINCE, "OFFSET[:OFFSET]", CLI_AT(struct cli_since, since),
	  .help = "where to begin: bytes of stdout and of stderr, start, the default, for all "
		  "that is kept, or now" },
};
static const struct cli_group group = { "logs", "Options", options, ARRAY_SIZE(options) };

const struct cli_command cmd_logs = {
	.name = "logs",
	.section = CLI_SECTION_COMMANDS,
	.synopsis = "[options] NAME SESSION",
	.summary = "print what a command has written",
	.details =
		"Prints what the sandbox keeps of its stdout and stderr (--replay of `cove exec`)\n"
		"to stdout and stderr. The command does not wait for it.\n",
	.groups = { &group },
	.needs = { "a sandbox's name", "a session's id" },
	.max_operands = 2,
	.operand = CLI_OPERAND_SESSION,
	.run = run,
};
