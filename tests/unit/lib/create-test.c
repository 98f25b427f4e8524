/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Starting a supervisor. This program is its own supervisor: the library finds a link to it under
 * the name cove-supervisor. What it is to do is the image's name.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/name.h"
#include "fake.h"
#include "harness/failing-alloc.h"
#include "harness/tap.h"
#include "lib/sandbox.h"
#include "supervisor/orphan.h"

/* ---- the supervisor ---- */

/* What a program inherits: "fds 0 1 2 3; blocked 0; ignored 0; leader 1". */
static void describe_inheritance(char *text, size_t size)
{
	int n = snprintf(text, size, "fds");
	for (int fd = 0; fd < 256; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			n += snprintf(text + n, size - (size_t)n, " %d", fd);

	sigset_t mask;
	int blocked = 0, ignored = 0;
	sigprocmask(SIG_SETMASK, NULL, &mask);
	for (int i = 1; i < 32; i++) {
		struct sigaction action;
		blocked += sigismember(&mask, i);
		if (sigaction(i, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
			ignored++;
	}
	snprintf(text + n, size - (size_t)n, "; blocked %d; ignored %d; leader %d", blocked,
		 ignored, getsid(0) == getpid());
}

static void send_progress(struct fake *f, uint32_t stream, const char *text)
{
	Cove__Wire__Progress m = COVE__WIRE__PROGRESS__INIT;
	m.text = (char *)text;
	fake_send(f, stream, WIRE_PROGRESS, &m.base);
}

static void send_state(struct fake *f, uint32_t stream, enum cove_sandbox_state state)
{
	Cove__Wire__SandboxInfo m = COVE__WIRE__SANDBOX_INFO__INIT;
	m.name = (char *)"?";
	m.state = state;
	m.has_supervisor_pid = true;
	m.supervisor_pid = (uint32_t)getpid();
	fake_send(f, stream, WIRE_SANDBOX, &m.base);
}

static bool is(const Cove__Wire__Create *m, const char *image)
{
	return !strcmp(m->image, image);
}

/* What comes from the process that the library has started. */
struct inherited {
	char text[1024];
	int stand_in_fd;
};

static void script_supervisor(struct fake *f)
{
	struct inherited *inherited = f->data;
	struct wire_event event;
	CHECK(fake_next(f, &event));
	CHECK_INT(event.type, ==, WIRE_CREATE);
	uint32_t stream = event.stream;
	Cove__Wire__Create *m = (Cove__Wire__Create *)wire_message_unpack(
		&cove__wire__create__descriptor, event.data, event.size);
	CHECK(m);

	send_progress(f, stream, inherited->text);
	if (is(m, "die"))
		_exit(3);
	if (is(m, "crash"))
		raise(SIGKILL);
	if (is(m, "refuse")) {
		fake_failed(f, stream, WIRE_REFUSED, COVE_E_EXISTS, "it is taken");
	} else if (is(m, "words")) {
		fake_goodbye(f, COVE_END_BOOT_FAILED, "Kernel panic - not syncing");
		return;
	} else if (is(m, "chatty")) {
		char line[32];
		for (int i = 0; i < 100; i++) {
			snprintf(line, sizeof(line), "line %d", i);
			send_progress(f, stream, line);
		}
	}
	if (is(m, "options")) {
		CHECK_INT(m->cpus, ==, 3);
		CHECK_INT(m->memory_bytes, ==, 1 << 30);
		CHECK_MEM(m->cwd.data, m->cwd.len, "/app", 4);
		CHECK_MEM(m->user.data, m->user.len, "me", 2);
		CHECK_MEM(m->shell.data, m->shell.len, "/bin/ash", 8);
		CHECK_INT(m->n_env, ==, 2);
		CHECK_MEM(m->env[1].data, m->env[1].len, "B", 1);
		CHECK_STR(m->hostname, "box");
		CHECK(m->read_only && m->persistent && !m->detached);
		CHECK_INT(m->boot_timeout_ms, ==, 1234);
	} else {
		CHECK(!m->has_cpus && !m->has_memory_bytes && !m->has_cwd && !m->hostname);
		CHECK_INT(m->boot_timeout_ms, ==, 60000);
	}
	if (!is(m, "refuse")) {
		send_state(f, stream, COVE_SANDBOX_RUNNING);
		if (m->detached)
			inherited->stand_in_fd = orphan_let_go(inherited->stand_in_fd);
	}
	bool survives = m->detached && !is(m, "refuse");
	wire_message_free(&m->base);

	while (fake_next(f, &event))
		if (event.kind == WIRE_EVENT_MESSAGE && event.type == WIRE_STOP) {
			send_state(f, event.stream, COVE_SANDBOX_ENDED);
			fake_goodbye(f, COVE_END_STOPPED, "stopped");
			return;
		}
	if (survives)
		pause();
}

static int supervise(void)
{
	struct inherited inherited;
	struct fake f;
	describe_inheritance(inherited.text, sizeof(inherited.text));
	CHECK_OK(orphan_start(3, &inherited.stand_in_fd));
	fake_run(&f, 3, script_supervisor, &inherited);
	return 0;
}

/* ---- the tests ---- */

static void use_ourselves(void)
{
	_cleanup_free_ char *self = realpath("/proc/self/exe", NULL);
	CHECK_SYS(symlink(self, tap_path("cove-supervisor")));
	CHECK_SYS(setenv("COVE_LIBEXEC_DIR", tap_dir(), 1));
}

struct heard {
	char first[1024];
	char last[1024];
	unsigned n;
};

static void hear(const char *text, void *data)
{
	struct heard *heard = data;
	if (heard->n++ == 0)
		snprintf(heard->first, sizeof(heard->first), "%s", text);
	snprintf(heard->last, sizeof(heard->last), "%s", text);
}

static cove_sandbox *create(const char *image, bool detached, struct heard *heard)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
	cove_sandbox *s;
	options.image = image;
	options.detached = detached;
	options.progress = heard ? hear : NULL;
	options.progress_data = heard;
	CHECK_COVE(cove_sandbox_create(NULL, &options, &s, &err), &err);
	return s;
}

/* The parent of a process, from /proc. */
static int parent_of(int pid)
{
	char path[64], line[256];
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	CHECK(f);
	CHECK(fgets(line, sizeof(line), f));
	return atoi(strrchr(line, ')') + 4);
}

static void check_no_children(void)
{
	int status;
	CHECK_INT(waitpid(-1, &status, WNOHANG), ==, -1);
	CHECK_INT(errno, ==, ECHILD);
}

/* A host program in a bad state: signals blocked and ignored, descriptors that leak. */
static void test_inheritance(void)
{
	sigset_t all;
	use_ourselves();
	int leak = dup2(1, 50);
	CHECK_SYS(leak);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	for (int detached = 0; detached < 2; detached++) {
		struct heard heard = { .n = 0 };
		cove_sandbox *s = create("ok", detached, &heard);
		CHECK_INT(heard.n, ==, 1);
		CHECK_STR(heard.first, "fds 0 1 2 3; blocked 0; ignored 0; leader 1");
		int pid = s->supervisor.pid;
		CHECK_INT(pid, >, 0);
		CHECK_INT(parent_of(pid), !=, getpid());
		if (detached)
			check_no_children();
		else
			CHECK_INT(parent_of(parent_of(pid)), ==, getpid());
		CHECK_COVE(cove_sandbox_stop(s, NULL, NULL), NULL);
		CHECK(tap_process_ends(pid, 3000));
		cove_sandbox_free(s);
		check_no_children();
	}
	/* And it finds its own state as it was. */
	sigset_t now;
	sigprocmask(SIG_SETMASK, NULL, &now);
	CHECK_INT(sigismember(&now, SIGTERM), ==, 1);
	close(leak);
}

static void test_closed_stdio(void)
{
	use_ourselves();
	int keep = fcntl(0, F_DUPFD_CLOEXEC, 100), keep_out = fcntl(1, F_DUPFD_CLOEXEC, 100);
	close(0);
	close(1);
	struct heard heard = { .n = 0 };
	cove_sandbox *s = create("ok", false, &heard);
	cove_sandbox_free(s);
	dup2(keep, 0);
	dup2(keep_out, 1);
	close(keep);
	close(keep_out);
	CHECK_STR(heard.first, "fds 0 1 2 3; blocked 0; ignored 0; leader 1");
}

static void test_free_ends_attached(void)
{
	use_ourselves();
	cove_sandbox *s = create("ok", false, NULL);
	int pid = s->supervisor.pid;
	CHECK_SYS(kill(pid, 0));
	CHECK(!cove_sandbox_free(s));
	CHECK_INT(kill(pid, 0), ==, -1);
	check_no_children();
}

static void test_free_leaves_detached(void)
{
	use_ourselves();
	cove_sandbox *s = create("ok", true, NULL);
	int pid = s->supervisor.pid;
	cove_sandbox_free(s);
	CHECK_SYS(kill(pid, SIGKILL));
	CHECK(tap_process_ends(pid, 3000));
}

static atomic_int reaped;

static void reap_everything(int signal)
{
	int status, saved = errno;
	(void)signal;
	while (waitpid(-1, &status, WNOHANG) > 0)
		atomic_fetch_add(&reaped, 1);
	errno = saved;
}

/* Programs that leave no child to be waited for. */
static void test_sigchld(void)
{
	use_ourselves();
	for (int how = 0; how < 2; how++) {
		signal(SIGCHLD, how ? reap_everything : SIG_IGN);
		for (int detached = 0; detached < 2; detached++) {
			cove_sandbox *s = create("ok", detached, NULL);
			CHECK_COVE(cove_sandbox_stop(s, NULL, NULL), NULL);
			cove_sandbox_free(s);
		}
		struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
		struct cove_error err;
		cove_sandbox *s;
		options.image = "die";
		CHECK_INT(cove_sandbox_create("a", &options, &s, &err), ==, COVE_E_BOOT);
		check_no_children();
	}
	CHECK_INT(atomic_load(&reaped), >, 0);
}

static void test_failures(void)
{
	static const struct {
		const char *image;
		int code;
		const char *text;
	} cases[] = {
		{ "refuse", COVE_E_EXISTS, "it is taken" },
		{ "die", COVE_E_BOOT,
		  "the supervisor of a ended before the sandbox was up, with status 3" },
		{ "crash", COVE_E_BOOT,
		  "the supervisor of a ended before the sandbox was up, by signal 9" },
		{ "words", COVE_E_BOOT,
		  "the sandbox a did not come up: Kernel panic - not syncing" },
	};
	use_ourselves();
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		for (int detached = 0; detached < 2; detached++) {
			struct cove_error err = COVE_ERROR_INIT;
			struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
			cove_sandbox *s = NULL;
			options.image = cases[i].image;
			options.detached = detached;
			CHECK_INT(cove_sandbox_create("a", &options, &s, &err), ==, cases[i].code);
			CHECK(!s);
			CHECK_INT(err.code, ==, cases[i].code);
			CHECK_STR(err.message, cases[i].text);
			check_no_children();
		}
}

static void test_all_options(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	cove_sandbox *s;
	use_ourselves();
	struct cove_sandbox_options options = {
		COVE_SANDBOX_OPTIONS_DEFAULTS,
		.image = "options",
		.cpus = 3,
		.memory_bytes = 1 << 30,
		.cwd = "/app",
		.user = "me",
		.env = (const char *const[]){ "A=1", "B", NULL },
		.shell = "/bin/ash",
		.hostname = "box",
		.read_only = true,
		.persistent = true,
		.boot_timeout_ms = 1234,
	};
	CHECK_COVE(cove_sandbox_create("my-box_1.x", &options, &s, &err), &err);
	CHECK_STR(cove_sandbox_name(s), "my-box_1.x");
	cove_sandbox_free(s);
}

static void test_names_and_progress(void)
{
	use_ourselves();
	struct heard heard = { .n = 0 };
	cove_sandbox *a = create("chatty", false, &heard), *b = create("ok", false, NULL);
	CHECK_INT(heard.n, >, 10);
	CHECK_CONTAINS(heard.last, "line ");
	CHECK(name_valid(cove_sandbox_name(a)));
	CHECK(!strncmp(cove_sandbox_name(a), "s-", 2));
	CHECK(strcmp(cove_sandbox_name(a), cove_sandbox_name(b)) != 0);
	cove_sandbox_free(a);
	cove_sandbox_free(b);
}

static void test_killed(void)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct cove_sandbox_info *info;
	use_ourselves();
	cove_sandbox *s = create("ok", false, NULL);
	int pid = s->supervisor.pid;
	CHECK_SYS(kill(pid, SIGKILL));
	CHECK_COVE(cove_sandbox_wait(s, -1, &info, &err), &err);
	CHECK_INT(info->state, ==, COVE_SANDBOX_ENDED);
	CHECK_INT(info->end_cause, ==, COVE_END_SUPERVISOR_DIED);
	cove_sandbox_info_free(info);
	CHECK_COVE(cove_sandbox_kill(s, &err), &err);
	cove_sandbox_free(s);
}

static void test_without_memory(void)
{
	use_ourselves();
	for (unsigned long n = 1;; n++) {
		struct cove_error err = COVE_ERROR_INIT;
		struct cove_sandbox_options options = COVE_SANDBOX_OPTIONS_INIT;
		cove_sandbox *s = NULL;
		options.image = "ok";
		options.env = (const char *const[]){ "A=1", NULL };
		failing_alloc_arm(n);
		int r = cove_sandbox_create("a", &options, &s, &err);
		bool failed = failing_alloc_disarm();
		if (r < 0) {
			CHECK(failed);
			CHECK(!s);
			if (r != COVE_E_NO_MEMORY && r != COVE_E_PROTOCOL && r != COVE_E_SYSTEM)
				tap_note("%s", err.message);
			CHECK(r == COVE_E_NO_MEMORY || r == COVE_E_PROTOCOL || r == COVE_E_SYSTEM);
			check_no_children();
		}
		cove_sandbox_free(s);
		if (!failed)
			break;
		CHECK_INT(n, <, 1000);
	}
}

static const struct tap_test tests[] = {
	{ "what a supervisor inherits", test_inheritance },
	{ "stdio closed", test_closed_stdio },
	{ "free ends the attached", test_free_ends_attached },
	{ "free leaves the detached", test_free_leaves_detached },
	{ "SIGCHLD ignored, and children reaped", test_sigchld },
	{ "supervisors that fail", test_failures },
	{ "all options", test_all_options },
	{ "made-up names and progress", test_names_and_progress },
	{ "a supervisor that is killed", test_killed },
	{ "without memory", test_without_memory },
};

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "--fd") && !strcmp(argv[3], "--orphan"))
		return supervise();
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
