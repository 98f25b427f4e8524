/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

/*
 * The `cove` command. Each command is one file, cmd-NAME.c, with one entry structure, listed in
 * commands.c. Options are rows of tables, shared ones in options.c: the same rows make the parser, `--help`, the completions and `--dump-options`, with which a test compares the
 * man page and docs/cli.md.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cove/cove.h>

#include "base/cleanup.h"
#include "base/macro.h"

/* Exit statuses that are not the command's own. */
#define CLI_EXIT_TIMEOUT   124
#define CLI_EXIT_FAILURE   125 /* Cove's own failure, a wrong command line included */
#define CLI_EXIT_NO_EXEC   126 /* the command is there but cannot be executed */
#define CLI_EXIT_NOT_FOUND 127 /* the command is not there */

/* Option values -------------------------------------------------------------------------------- */

/* Strings with a NULL after the last. */
struct cli_list {
	char **items;
	size_t n;
};

#define CLI_RLIMITS 16 /* one of each kind; the same kind again replaces it */

/* Where the output of a session begins. */
struct cli_since {
	enum cove_open_from from;
	uint64_t stdout_offset, stderr_offset;
};

/*
 * All options of all commands. Strings are borrowed from argv. A value that was not given is zero,
 * which is "the default" to the library, except where CLI_VALUES_INIT says otherwise.
 */
struct cli_values {
	bool help;

	/* sandboxes */
	const char *name;
	uint64_t cpus;
	uint64_t memory_bytes;
	const char *shell;
	const char *hostname;
	bool read_only;
	uint64_t boot_timeout_ms;
	bool rm;

	/* the surroundings of commands */
	struct cli_list env;	   /* all variables: those of files first, so that --env wins */
	struct cli_list env_files; /* those of files, while parsing */
	const char *workdir;
	const char *user;

	/* commands */
	uint64_t timeout_ms;
	uint64_t timeout_signal;
	uint64_t timeout_grace_ms;
	struct cove_rlimit rlimits[CLI_RLIMITS];
	size_t n_rlimits;
	bool interactive;
	bool tty;
	bool detach;
	struct cli_list detach_keys; /* each a sequence, or several */
	uint64_t output_limit_bytes; /* 0: none */
	uint64_t output_policy;
	uint64_t linger_ms;
	bool wait_eof;
	bool kill_tree_on_exit;
	bool kill_on_disconnect;
	uint64_t replay_bytes;
	const char *id;
	uint64_t signal; /* of `cove kill`; 0: kill everything */

	/* sessions */
	struct cli_since since;
	bool only_look;
	bool lossy;
	bool follow;
	bool collect;

	/* the rest */
	bool json;
	bool all;
	bool quiet;
	bool force;
	bool replace;
	uint64_t stop_grace_ms;
	uint64_t disk_bytes;
};

#define CLI_STOP_GRACE_MS 10000

#define CLI_VALUES_INIT                                                                            \
	{                                                                                          \
		.output_policy = COVE_OUTPUT_KILL, .stop_grace_ms = CLI_STOP_GRACE_MS              \
	}

/* Options -------------------------------------------------------------------------------------- */

/* What an option's argument is, and so the type of the field that it is stored in. */
enum cli_kind {
	CLI_FLAG,     /* bool; no argument */
	CLI_TEXT,     /* const char *, anything but empty */
	CLI_NAME,     /* const char *, a sandbox's name */
	CLI_ID,	      /* const char *, a session's id */
	CLI_PATH,     /* const char *, absolute */
	CLI_NUMBER,   /* uint64_t */
	CLI_SIZE,     /* uint64_t, bytes: 512M */
	CLI_DURATION, /* uint64_t, milliseconds: 1.5s */
	CLI_SIGNAL,   /* uint64_t: TERM, SIGTERM or 15 */
	CLI_CHOICE,   /* uint64_t, the index into choices */
	CLI_ENV,      /* struct cli_list: K=V, or K for the value it has here */
	CLI_ENV_FILE, /* struct cli_list: a file of such lines */
	CLI_RLIMIT,   /* values.rlimits */
	CLI_LIST,     /* struct cli_list: anything, also nothing; may be repeated */
	CLI_SINCE,    /* struct cli_since: OFFSET[:OFFSET], start or now */
};

struct cli_option {
	const char *name; /* without the dashes */
	char letter;	  /* 0: none */
	enum cli_kind kind;
	const char *argument;	    /* what help calls it; NULL: a flag */
	size_t offset;		    /* of the field in struct cli_values: use CLI_AT */
	uint64_t min, max;	    /* of numbers; max 0: no limit */
	const char *const *choices; /* NULL-terminated */
	const char *help;	    /* starts small, no full stop */
};

/* The field's offset, if it has that type. */
#define CLI_AT(type, field)                                                                        \
	(offsetof(struct cli_values, field) +                                                      \
	 0 * sizeof(char[__builtin_types_compatible_p(type,                                        \
						      __typeof__(((struct cli_values *)0)->field)) \
				 ? 1                                                               \
				 : -1]))

/* Options that are described together. */
struct cli_group {
	const char *name;  /* in --dump-options */
	const char *title; /* in help, man page and docs */
	const struct cli_option *options;
	size_t n;
};

extern const struct cli_group cli_group_common;	     /* --help, which every command has */
extern const struct cli_group cli_group_sandbox;     /* run, create */
extern const struct cli_group cli_group_environment; /* run, create, exec, shell */
extern const struct cli_group cli_group_command;     /* run, exec, shell */

/* Commands ------------------------------------------------------------------------------------- */

/* Where a command stands in `cove --help`. */
enum cli_section {
	CLI_SECTION_COMMANDS,
	CLI_SECTION_SANDBOXES,
	CLI_SECTION_IMAGES,
	CLI_SECTION_MORE,
};

/* What the first operands are the names of, for completion. */
enum cli_operand {
	CLI_OPERAND_NONE,
	CLI_OPERAND_IMAGE,
	CLI_OPERAND_SANDBOX,
	CLI_OPERAND_SESSION, /* a sandbox, then one of its sessions */
	CLI_OPERAND_COMMAND, /* one of ours */
	CLI_OPERAND_FILE,
};

struct cli_args;

struct cli_command {
	const char *name;
	const char *full_name; /* "image ls"; NULL: as name */
	const char *alias;     /* NULL: none */
	enum cli_section section;
	const char *synopsis;		   /* what follows the name */
	const char *summary;		   /* a line for lists: starts small, no full stop */
	const char *details;		   /* for --help: paragraphs, each ends with \n; or NULL */
	const struct cli_group *groups[5]; /* besides the common one; NULL-terminated */
	/* Options end at the first operand: what follows it belongs to the command in the guest. */
	bool command_follows;
	const char *needs[3];  /* the operands that must be there, "an image"; NULL-terminated */
	int terminal_operands; /* with so many, and no more, it is interactive: -it; 0: never */
	int max_operands;      /* -1: any number */
	enum cli_operand operand;
	const char *const *words;		      /* what the operand may be; or NULL */
	const struct cli_command *const *subcommands; /* NULL-terminated; then there is no run */
	int (*run)(struct cli_args *args);	      /* the exit status */
};

/* Each in its file, cmd-NAME.c. */
extern const struct cli_command cmd_run, cmd_exec, cmd_shell;
extern const struct cli_command cmd_attach, cmd_sessions, cmd_logs, cmd_kill, cmd_wait;
extern const struct cli_command cmd_create, cmd_ls, cmd_inspect, cmd_stop, cmd_rm;
extern const struct cli_command cmd_image;
extern const struct cli_command cmd_doctor, cmd_completion, cmd_help, cmd_version;

/* All of them, in the order in which help shows them; NULL-terminated. */
extern const struct cli_command *const cli_commands[];

const struct cli_command *cli_command_find(const struct cli_command *const *commands,
					   const char *name);
static inline const char *cli_command_name(const struct cli_command *command)
{
	return command->full_name ? command->full_name : command->name;
}

struct cli_args {
	const struct cli_command *command;
	struct cli_values values;
	const char **operands; /* NULL-terminated; the strings are argv's */
	int n_operands;
};

void cli_args_done(struct cli_args *args);

/*
 * Reads a command's arguments (those after its name). Checks every value, and that the operands
 * which the command needs are there: COVE_E_INVALID, with one line that names option and value.
 * *ret is to be cleaned up by cli_args_done() when this was successful.
 */
int cli_args_parse(const struct cli_command *command, const char *const *argv, struct cli_args *ret,
		   struct cove_error *err);

/* The option of a command by its long name, or by its letter with name NULL; NULL: it has none. */
const struct cli_option *cli_option_find(const struct cli_command *command, const char *name,
					 size_t name_size, char letter);

/*
 * Values (value.c): 0, -EINVAL where it is not one at all, -ERANGE where it is too large, -EDOM for
 * a soft limit above the hard one.
 */
int cli_value_number(const char *text, uint64_t *ret);
int cli_value_size(const char *text, uint64_t *ret);
int cli_value_duration_ms(const char *text, uint64_t *ret);
int cli_value_signal(const char *text, uint64_t *ret);
int cli_value_rlimit(const char *text, struct cove_rlimit *ret);
int cli_value_since(const char *text, struct cli_since *ret);
extern const char *const cli_rlimit_names[CLI_RLIMITS];
/* "512M", where that is exact. */
void cli_size_text(uint64_t bytes, char *buffer, size_t size);

/* Environment variables (env.c). */
int cli_env_add(struct cli_list *list, const char *text, struct cove_error *err);
int cli_env_add_file(struct cli_list *list, const char *path, struct cove_error *err);
int cli_list_append(struct cli_list *list, char *item); /* takes item, also on failure: -ENOMEM */
int cli_list_move(struct cli_list *to, struct cli_list *from); /* to the end: -ENOMEM */
void cli_list_done(struct cli_list *list);

/* Help (help.c) -------------------------------------------------------------------------------- */

void cli_help_main(FILE *f);
void cli_help_command(FILE *f, const struct cli_command *command);
void cli_dump_options(FILE *f);

/* Completion scripts, from the same tables (complete-SHELL.c). */
void cli_complete_bash(FILE *f);
void cli_complete_zsh(FILE *f);
void cli_complete_fish(FILE *f);

/* What is printed (report.c) ------------------------------------------------------------------- */

/* "cove: run: …" and a newline on stderr, control characters made visible. */
void cli_note(const struct cli_command *command, const char *format, ...) _printf_(2, 3);
/* The same, as the end of it all. */
#define cli_fail(...) (cli_note(__VA_ARGS__), CLI_EXIT_FAILURE)
/* The same for an error of the library, with where it happened and what to do about it. */
int cli_fail_error(const struct cli_command *command, const struct cove_error *err,
		   const char *hint);
/* Bytes of `what` that a GAP stands for. */
void cli_note_gap(const struct cli_args *args, uint64_t bytes, const char *what);

/* Flushes stdout: `status`, or 125 with a message when something could not be written. */
int cli_finish(const struct cli_command *command, int status);

/* No byte of it moves the cursor any more, or makes a terminal answer. */
void cli_make_harmless(char *text);

/*
 * A table on stdout, of columns as wide as what is in them. `fill` writes the cells of item i, and is
 * called twice for each.
 */
#define CLI_CELL_BYTES	  128
#define CLI_TABLE_COLUMNS 6
struct cli_row {
	char cells[CLI_TABLE_COLUMNS][CLI_CELL_BYTES];
};
void cli_print_table(const char *const titles[CLI_TABLE_COLUMNS], size_t n, const void *items,
		     void (*fill)(const void *items, size_t i, struct cli_row *ret));

/* A state for people, "ended (vmm_died)". */
void cli_state_text(const struct cove_sandbox_info *info, char *buffer, size_t size);

/* Parts of commands ---------------------------------------------------------------------------- */

/* sandbox.c: creates what the values say; the error is printed. NULL on failure. */
cove_sandbox *cli_sandbox_create(const struct cli_args *args, bool detached);
/* A handle on the sandbox of that name; the error is printed. NULL on failure. */
cove_sandbox *cli_sandbox_connect(const struct cli_args *args, const char *name);

/* All its sessions; the error is printed: -1. */
struct cli_sessions {
	struct cove_session_info **items;
	size_t n;
};
int cli_sessions_list(const struct cli_args *args, cove_sandbox *sandbox, struct cli_sessions *ret);
void cli_sessions_done(struct cli_sessions *sessions);
/* It is used until exit(), maybe by threads, and therefore never freed. */
void cli_sandbox_keep(cove_sandbox *sandbox);

static inline void cli_sandbox_freep(cove_sandbox **sandbox)
{
	cove_sandbox_free(*sandbox);
}
static inline void cli_process_freep(cove_process **process)
{
	cove_process_free(*process);
}

/* A command to be run in a sandbox. */
struct cli_job {
	const struct cli_args *args;
	cove_sandbox *sandbox;
	const char *const *argv; /* NULL: the script */
	const char *script;	 /* NULL: the shell is interactive */
	bool sandbox_is_ours;	 /* it was made for this command, with args */
	bool sandbox_left;	 /* set when it outlives us: it ends with the command */
};

/*
 * job.c: what has to be right before anything is started: that there is a terminal, where one was
 * asked for, and that the detach keys are some. 0, or the exit status, after a message.
 */
int cli_job_check(const struct cli_args *args);
/*
 * Runs it as the options have it: as if it were a command of this machine (execute.c), on this
 * terminal (terminal.c), or left to itself. The exit status, after all that there is to say. To be
 * called once, at the end: until exit(), threads may be using the sandbox, which is therefore not
 * freed.
 */
int cli_job_run(struct cli_job *job);
/* ending.c: as shells and timeout(1) have it. */
int cli_exit_status(const struct cove_exit *exit);

/* info.c: a sandbox as JSON on stdout; an array of them. -1 after a message. */
int cli_print_info(const struct cli_command *command, const struct cove_sandbox_info *info);
int cli_print_infos(const struct cli_command *command, struct cove_sandbox_info *const *infos,
		    size_t n);
/* The same for sessions. */
int cli_print_sessions(const struct cli_command *command, struct cove_session_info *const *infos,
		       size_t n);

/* libexec.c: becomes one of our programs. Returns only on failure, after a message: 125. */
int cli_become(const struct cli_command *command, const char *program, const char *const *argv);

#endif
