/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only a real machine can show of `cove`; the rest, which is tested on real machines too, is
 * tests/integration/cli/sandbox-test.c.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/fd.h"
#include "harness/tap.h"
#include "integration/cli/command.h"

#define TIMEOUT_S 240 /* of emulated boots, on a busy machine */

static void test_python(void)
{
	_cleanup_(command_done) struct command c = { 0 };
	struct utsname host;

	CHECK_SYS(uname(&host));
	COVE(&c, "run", "python", "python", "-c", "import platform; print(platform.release())");
	CHECK_COMMAND(&c, 0, NULL, "");
	CHECK_CONTAINS(c.out, "cloud-amd64\n");
	CHECK(strncmp(c.out, host.release, strlen(host.release)) != 0);

	COVE(&c, "run", "python", "python", "-c", "import sys; sys.exit(7)");
	CHECK_COMMAND(&c, 7, "", "");
}

static void test_machine(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	COVE(&c, "run", "-n", "box", "--cpus", "2", "--memory", "256M", "--hostname", "guest-1",
	     "-u", "1000:1000", "-w", "/tmp", "--read-only", "busybox", "sh", "-c",
	     "hostname; nproc; id -u; id -g; pwd; [ $(awk '/MemTotal/ { print $2 }' /proc/meminfo) "
	     "-lt 262144 ] && echo small; touch /tmp/x && echo touched; ls /sys/class/net");
	CHECK_COMMAND(&c, 0, "guest-1\n2\n1000\n1000\n/tmp\nsmall\ntouched\nlo\n", "");

	COVE(&c, "run", "--read-only", "busybox", "touch", "/x");
	CHECK_COMMAND(&c, 1, "", "Read-only file system");
	COVE(&c, "run", "busybox", "touch", "/x");
	CHECK_COMMAND(&c, 0, "", "");
}

/* An image may be one program and nothing else, or have links where others have folders. */
static void test_bare_images(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	CHECK_SYS(mkdir(tap_path("bare"), 0755));
	COMMAND(&c, "cp", GUEST_HELPER, tap_path("bare/helper"));
	CHECK_COMMAND(&c, 0, "", "");
	COVE(&c, "image", "import", "bare", tap_path("bare"));
	CHECK_COMMAND(&c, 0, "bare\n", "");
	COVE(&c, "run", "bare", "/helper", "fds");
	CHECK_COMMAND(&c, 0, NULL, "");
	CHECK_CONTAINS(c.out, "fd 2\nSig");
	COVE(&c, "run", "--read-only", "bare", "/helper", "fds");
	CHECK_COMMAND(&c, 0, NULL, "");
	CHECK_CONTAINS(c.out, "fd 2\nSig");
	COVE(&c, "run", "bare", "sh");
	CHECK_COMMAND(&c, 127, "", "'sh' in PATH");

	/* What starts with a slash is the image's, not what the machine has booted from. */
	CHECK_OK(fd_mkdir_parents(tap_path("bare/var/run"), 0755));
	CHECK_SYS(mkdir(tap_path("bare/var/tmp"), 01777));
	CHECK_SYS(symlink("/var/run", tap_path("bare/run")));
	CHECK_SYS(symlink("/var/tmp", tap_path("bare/tmp")));
	COVE(&c, "image", "import", "linked", tap_path("bare"));
	CHECK_COMMAND(&c, 0, "linked\n", "");
	COVE(&c, "run", "linked", "/helper", "fds");
	CHECK_COMMAND(&c, 0, NULL, "");
	COVE(&c, "run", "--read-only", "linked", "/helper", "fds");
	CHECK_COMMAND(&c, 0, NULL, "");
}

/* Its disk is the sandbox's own, and it is whole after a stop. */
static void test_own_disk(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	COVE(&c, "create", "-n", "one", "busybox");
	CHECK_COMMAND(&c, 0, "one\n", "");
	COVE(&c, "create", "-n", "two", "busybox");
	CHECK_COMMAND(&c, 0, "two\n", "");
	COVE(&c, "shell", "one", "echo 1 >/only-here; cat /only-here; hostname");
	CHECK_COMMAND(&c, 0, "1\none\n", "");
	COVE(&c, "exec", "two", "cat", "/only-here");
	CHECK_COMMAND(&c, 1, "", "No such file or directory");
	COVE(&c, "stop", "one", "two");
	CHECK_COMMAND(&c, 0, "one\ntwo\n", "");
	COVE(&c, "rm", "one", "two");
	CHECK_COMMAND(&c, 0, "one\ntwo\n", "");
}

/* The guest's memory is at its end: the command's status says 137, and the line why. */
static void test_out_of_memory(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	COVE(&c, "run", "--memory", "128M", "--timeout", "60s", "busybox", "tail", "/dev/zero");
	CHECK_COMMAND(&c, 137, "", "the guest ran out of memory");
}

/* The main ones of tests/integration/cli/live-test.c and signal-test.c. */
static void test_live(void)
{
	_cleanup_(command_done) struct command c = { 0 };
	char line[32], script[4096];

	command_create_box("busybox");
	COVE_START_PIPED(&c, "exec", "-i", "box", "cat");
	for (int i = 0; i < 20; i++) {
		snprintf(line, sizeof(line), "line %d\n", i);
		command_write(&c, line, strlen(line));
		command_expect(&c, line);
	}
	command_finish(&c);
	CHECK_COMMAND(&c, 0, "", "");

	snprintf(
		script, sizeof(script),
		"cd $COVE_HOME; head -c 20000000 /dev/urandom >in; %s exec -i box cat <in | cmp - in",
		command_build_path("cove"));
	COMMAND(&c, "sh", "-c", script);
	CHECK_COMMAND(&c, 0, "", "");
	snprintf(script, sizeof(script), "(%s exec box yes; echo $? >&2) | head -n 1",
		 command_build_path("cove"));
	COMMAND(&c, "sh", "-c", script);
	CHECK_COMMAND(&c, 0, "y\n", "141\n");
	snprintf(script, sizeof(script), "yes | %s exec -i box head -n 1",
		 command_build_path("cove"));
	COMMAND(&c, "sh", "-c", script);
	CHECK_COMMAND(&c, 0, "y\n", "");

	COVE_START_PIPED(&c, "run", "-i", "busybox", "sh", "-c",
			 "echo up; read x; echo $x; exit 3");
	command_expect(&c, "up\n");
	command_write(&c, "word\n", 5);
	command_finish(&c);
	CHECK_COMMAND(&c, 3, "word\n", "");
	command_remove_box();
}

static void test_signals(void)
{
	_cleanup_(command_done) struct command c = { 0 }, other = { 0 };

	command_create_box("busybox");
	COVE_START(&c, "shell", "box",
		   "trap 'echo caught; exit 3' TERM; echo up; while :; do :; done");
	command_expect(&c, "up\n");
	CHECK_SYS(kill(c.pid, SIGTERM));
	command_finish(&c);
	CHECK_COMMAND(&c, 3, "caught\n", "");

	/* Ctrl-C twice, while nobody reads */
	COVE_START(&c, "shell", "box",
		   "trap 'echo >/tmp/int' INT; setsid sleep 600 & while :; do yes; done");
	command_wait_blocked(&c);
	CHECK_SYS(kill(c.pid, SIGINT));
	COVE(&other, "shell", "box", "until [ -e /tmp/int ]; do :; done");
	CHECK_COMMAND(&other, 0, "", "");
	unsigned long long apart = tap_deadline(1100);
	while (tap_before(apart)) /* whatever the machine was busy with, these two are together */
		;
	command_signal(&c, SIGINT);
	command_signal(&c, SIGINT);
	command_finish(&c);
	CHECK_COMMAND(&c, 137, NULL, "");
	COVE(&other, "exec", "box", "pidof", "sleep", "yes");
	CHECK_COMMAND(&other, 1, "", "");

	COVE_START(&c, "exec", "--id", "one", "box", "sleep", "600");
	COVE_START(&other, "shell", "box", "until pidof sleep >/dev/null; do :; done");
	command_finish(&other);
	CHECK_COMMAND(&other, 0, "", "");
	COVE(&other, "kill", "-s", "USR1", "box", "one");
	CHECK_COMMAND(&other, 0, "", "");
	COVE(&other, "wait", "box", "one");
	CHECK_COMMAND(&other, 128 + SIGUSR1, "", "");
	command_finish(&c);
	CHECK_COMMAND(&c, 128 + SIGUSR1, "", "ended by signal 10, SIGUSR1, through Cove");
	command_remove_box();

	COVE_START(&c, "run", "busybox", "sh", "-c", "echo up; exec sleep 600");
	command_expect(&c, "up\n");
	CHECK_SYS(kill(c.pid, SIGTERM));
	command_finish(&c);
	CHECK_COMMAND(&c, 143, "", "");
	COVE(&c, "ls", "-aq");
	CHECK_COMMAND(&c, 0, "", "");
}

static void test_doctor(void)
{
	_cleanup_(command_done) struct command c = { 0 };

	COVE(&c, "doctor");
	CHECK_COMMAND(&c, 0, NULL, NULL);
	CHECK(c.out_size > 0);
	COVE(&c, "image", "ls");
	CHECK_COMMAND(&c, 0, NULL, "");
	CHECK_CONTAINS(c.out, "\nbusybox ");
}

static const struct tap_test tests[] = {
	{ "python", test_python, .timeout_s = TIMEOUT_S },
	{ "the machine's shape", test_machine, .timeout_s = TIMEOUT_S },
	{ "bare images", test_bare_images, .timeout_s = TIMEOUT_S },
	{ "a disk of its own", test_own_disk, .timeout_s = TIMEOUT_S },
	{ "out of memory", test_out_of_memory, .timeout_s = TIMEOUT_S },
	{ "live", test_live, .timeout_s = TIMEOUT_S },
	{ "signals", test_signals, .timeout_s = TIMEOUT_S },
	{ "doctor", test_doctor, .timeout_s = TIMEOUT_S },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
