/* SPDX-License-Identifier: Apache-2.0 */
/* cove-image: the images. `cove image …` executes it; what it prints is what users see. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/macro.h"
#include "image/store.h"

#define EXIT_COVE_FAILED 125
#define ENV_MAX		 4096 /* --env options: more come from a program, which can say it shorter */
#define NOTES_MAX	 10   /* lines of notes that are shown; of the rest, the number */

#define PROGRESS_MIN_NS 100000000 /* between two updates of the progress line */

static const char usage[] =
	"usage: cove image import [--replace] [--size BYTES] [--env K=V]… [--workdir DIR]\n"
	"                         [--user USER] [--shell PATH] NAME TARBALL|FOLDER|-\n"
	"       cove image ls [--json]\n"
	"       cove image inspect NAME\n"
	"       cove image rm NAME…\n";

static int fail(const char *command, const struct cove_error *err)
{
	fprintf(stderr, "cove: image %s: %s\n", command, err->message);
	return EXIT_COVE_FAILED;
}

static int fail_usage(const char *command, const char *problem)
{
	fprintf(stderr, "cove: image%s%s: %s\n%s", command ? " " : "", command ? command : "",
		problem, usage);
	return EXIT_COVE_FAILED;
}

/* A full disk or a closed pipe behind stdout is a failure too. */
static int finish_output(const char *command)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return 0;
	fprintf(stderr, "cove: image %s: writing the output: %s\n", command,
		error_errno_text(errno));
	return EXIT_COVE_FAILED;
}

static void format_bytes(uint64_t bytes, char *ret, size_t size)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double value = (double)bytes;
	size_t unit = 0;
	for (; value >= 1024 && unit + 1 < ARRAY_SIZE(units); unit++)
		value /= 1024;
	snprintf(ret, size, "%.*f %s", unit == 0 || value >= 100 ? 0 : 1, value, units[unit]);
}

static void format_time(uint64_t ns, char *ret, size_t size)
{
	time_t seconds = (time_t)(ns / 1000000000);
	struct tm tm;
	if (!localtime_r(&seconds, &tm) || strftime(ret, size, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(ret, size, "%" PRIu64, ns / 1000000000);
}

/* RFC 3339. */
static void format_utc(uint64_t ns, char *ret, size_t size)
{
	time_t seconds = (time_t)(ns / 1000000000);
	struct tm tm;
	if (!gmtime_r(&seconds, &tm) || strftime(ret, size, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		snprintf(ret, size, "%" PRIu64, ns / 1000000000);
}

/* Import. */

struct report {
	bool progress; /* standard error is a terminal */
	bool shown;    /* a progress line is on it */
	uint64_t last_ns;
	unsigned notes;
};

static void clear_progress(struct report *report)
{
	if (report->shown)
		fputs("\r\033[K", stderr);
	report->shown = false;
}

static void on_progress(void *arg, uint64_t entries, uint64_t bytes)
{
	struct report *report = arg;
	if (!report->progress)
		return;
	uint64_t now = clock_monotonic_ns();
	if (now - report->last_ns < PROGRESS_MIN_NS)
		return;
	report->last_ns = now;
	report->shown = true;
	char size[32];
	format_bytes(bytes, size, sizeof(size));
	fprintf(stderr, "\rimporting: %" PRIu64 " entries, %s\033[K", entries, size);
}

static void on_note(void *arg, const char *text)
{
	struct report *report = arg;
	if (report->notes++ >= NOTES_MAX)
		return;
	clear_progress(report);
	fputs("cove: image import: note: ", stderr);
	for (; *text; text++) /* names in it are the archive's, and may be made for a terminal */
		fputc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, stderr);
	fputc('\n', stderr);
}

/* 4096, 512M, 20G: bytes, or binary units. */
static bool parse_bytes(const char *text, uint64_t *ret)
{
	static const char units[] = "KMGT";
	char *end;
	errno = 0;
	if (*text < '0' || *text > '9')
		return false;
	unsigned long long value = strtoull(text, &end, 10);
	const char *unit = *end ? strchr(units, *end & ~0x20) : NULL;
	unsigned shift = unit ? (unsigned)(unit - units + 1) * 10 : 0;
	if (errno || (*end && (!unit || end[1])) || value > UINT64_MAX >> shift)
		return false;
	*ret = (uint64_t)value << shift;
	return true;
}

/*
 * The signals that end a program arrive by a descriptor instead, so that a read that waits for
 * standard input can wait for them too, and what was half made is removed.
 */
static int watch_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* Whoever waits for us should see that it was the signal. */
static void die_by_signal(int fd)
{
	struct signalfd_siginfo info;
	if (read(fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, (int)info.ssi_signo);
	signal((int)info.ssi_signo, SIG_DFL);
	raise((int)info.ssi_signo);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static int do_import(const char *name, const char *source, const struct image_import_options *given)
{
	struct image_import_options options = *given;
	struct report report = { .progress = isatty(STDERR_FILENO) };
	struct cove_error err = COVE_ERROR_INIT;
	_cleanup_close_ int signals = watch_signals();
	if (signals < 0) {
		error_set_errno(&err, COVE_E_SYSTEM, signals, "signalfd");
		return fail("import", &err);
	}
	signal(SIGXFSZ, SIG_IGN); /* a size limit is an error like a full disk */

	options.cancel_fd = signals;
	options.on_note = on_note;
	options.on_progress = on_progress;
	options.arg = &report;
	int r = image_store_import(name, source, &options, &err);
	clear_progress(&report);
	if (report.notes > NOTES_MAX)
		fprintf(stderr, "cove: image import: note: %u more of these\n",
			report.notes - NOTES_MAX);
	if (r < 0) {
		fail("import", &err);
		die_by_signal(signals);
		return EXIT_COVE_FAILED;
	}
	puts(name);
	return finish_output("import");
}

static int command_import(int argc, char **argv)
{
	static const struct option table[] = {
		{ "replace", no_argument, NULL, 'r' },
		{ "size", required_argument, NULL, 's' },
		{ "env", required_argument, NULL, 'e' },
		{ "workdir", required_argument, NULL, 'w' },
		{ "user", required_argument, NULL, 'u' },
		{ "shell", required_argument, NULL, 'S' },
		{ 0 },
	};
	static const char *env[ENV_MAX + 1];
	size_t n_env = 0;
	struct image_import_options options = IMAGE_IMPORT_OPTIONS_INIT;

	for (int c; (c = getopt_long(argc, argv, "e:w:u:", table, NULL)) != -1;) {
		switch (c) {
		case 'r':
			options.replace = true;
			break;
		case 's':
			if (!parse_bytes(optarg, &options.disk_bytes) || options.disk_bytes == 0)
				return fail_usage("import", "--size takes bytes, or 512M, or 20G");
			break;
		case 'e':
			if (n_env == ENV_MAX)
				return fail_usage("import", "too many --env");
			env[n_env++] = optarg;
			break;
		case 'w':
			options.cwd = optarg;
			break;
		case 'u':
			options.user = optarg;
			break;
		case 'S':
			options.shell = optarg;
			break;
		default:
			return fail_usage("import", "unknown option, or one without its value");
		}
	}
	if (argc - optind != 2)
		return fail_usage("import", "a name and a source are needed");
	options.env = env;
	return do_import(argv[optind], argv[optind + 1], &options);
}

/* Lists. */

static json_t *text_or_null(const char *text)
{
	return text ? json_string(text) : json_null();
}

static json_t *image_to_json(const struct image *image)
{
	char created[64];
	format_utc(image->created_ns, created, sizeof(created));
	if (image->problem)
		return json_pack("{s:s, s:b, s:s}", "name", image->name, "built_in",
				 image->built_in, "problem", image->problem);
	json_t *env = json_array();
	for (char **e = image->env; *e; e++)
		json_array_append_new(env, json_string(*e));
	return json_pack("{s:s, s:b, s:s, s:I, s:I, s:s, s:I, s:{s:o, s:o, s:o, s:o}}", "name",
			 image->name, "built_in", image->built_in, "disk", image->disk_path,
			 "disk_bytes", (json_int_t)image->disk_bytes, "used_bytes",
			 (json_int_t)image->used_bytes, "created", created, "created_ns",
			 (json_int_t)image->created_ns, "config", "Env", env, "WorkingDir",
			 text_or_null(image->cwd), "User", text_or_null(image->user), "Shell",
			 text_or_null(image->shell));
}

static int print_json(const char *command, json_t *json)
{
	bool written = json && json_dumpf(json, stdout, JSON_INDENT(2)) == 0;
	json_decref(json);
	if (!written) {
		fprintf(stderr, "cove: image %s: cannot be said in JSON\n", command);
		return EXIT_COVE_FAILED;
	}
	putchar('\n');
	return finish_output(command);
}

static int parse_json_option(const char *command, int argc, char **argv, bool *ret)
{
	static const struct option table[] = { { "json", no_argument, NULL, 'j' }, { 0 } };
	for (int c; (c = getopt_long(argc, argv, "", table, NULL)) != -1;) {
		if (c != 'j')
			return fail_usage(command, "unknown option");
		*ret = true;
	}
	return 0;
}

static void print_table(struct image *const *list, size_t n)
{
	int width = (int)strlen("NAME");
	for (size_t i = 0; i < n; i++)
		width = MAX(width, (int)strlen(list[i]->name));
	printf("%-*s  %-9s  %-19s  %s\n", width, "NAME", "SIZE", "CREATED", "BUILT-IN");
	for (size_t i = 0; i < n; i++) {
		const char *built_in = list[i]->built_in ? "yes" : "no";
		char size[32] = "-", created[64] = "-";
		if (!list[i]->problem) {
			format_bytes(list[i]->used_bytes, size, sizeof(size));
			format_time(list[i]->created_ns, created, sizeof(created));
		}
		printf("%-*s  %-9s  %-19s  %s\n", width, list[i]->name, size, created, built_in);
	}
}

static int command_ls(int argc, char **argv)
{
	bool as_json = false;
	struct cove_error err = COVE_ERROR_INIT;
	struct image **list;
	size_t n;
	int r = parse_json_option("ls", argc, argv, &as_json);
	if (r != 0)
		return r;
	if (optind != argc)
		return fail_usage("ls", "no arguments are taken");
	if (image_store_list(&list, &n, &err) < 0)
		return fail("ls", &err);

	if (as_json) {
		json_t *array = json_array();
		for (size_t i = 0; i < n; i++)
			json_array_append_new(array, image_to_json(list[i]));
		r = print_json("ls", array);
	} else {
		print_table(list, n);
		r = finish_output("ls");
	}
	for (size_t i = 0; i < n; i++)
		if (list[i]->problem)
			fprintf(stderr, "cove: image ls: %s\n", list[i]->problem);
	image_list_free(list, n);
	return r;
}

static int command_inspect(int argc, char **argv)
{
	bool as_json; /* it always is */
	struct cove_error err = COVE_ERROR_INIT;
	_cleanup_(image_freep) struct image *image = NULL;
	int r = parse_json_option("inspect", argc, argv, &as_json);
	if (r != 0)
		return r;
	if (argc - optind != 1)
		return fail_usage("inspect", "one name is needed");
	if (image_store_find(argv[optind], &image, &err) < 0)
		return fail("inspect", &err);
	return print_json("inspect", image_to_json(image));
}

static int command_rm(int argc, char **argv)
{
	static const struct option table[] = { { 0 } };
	int result = 0;
	if (getopt_long(argc, argv, "", table, NULL) != -1)
		return fail_usage("rm", "unknown option");
	if (optind == argc)
		return fail_usage("rm", "a name is needed");
	for (int i = optind; i < argc; i++) {
		struct cove_error err = COVE_ERROR_INIT;
		if (image_store_remove(argv[i], &err) < 0)
			result = fail("rm", &err);
		else
			puts(argv[i]);
	}
	int r = finish_output("rm");
	return result ? result : r;
}

/* Descriptors 0 to 2 are open from here on: a file of ours must not become standard error. */
static bool open_standard_fds(void)
{
	for (int fd = 0; fd <= 2; fd++)
		/* for mke2fs too: NOLINTNEXTLINE(android-cloexec-open) */
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return false;
	return true;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} commands[] = {
		{ "import", command_import },
		{ "ls", command_ls },
		{ "inspect", command_inspect },
		{ "rm", command_rm },
	};

	if (!open_standard_fds())
		return EXIT_COVE_FAILED;
	error_set_origin(COVE_ORIGIN_HOST);
	opterr = 0; /* the messages are ours */
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		fputs(usage, stdout);
		return finish_output("--help");
	}
	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(commands); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	return fail_usage(NULL, argc > 1 ? "no such command" : "a command is needed");
}
