/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The end of something while vi has the user's terminal through `cove exec -it`: supervisor, QEMU,
 * the guest, and cove itself. The terminal is as it was, a line says why, and nobody waits.
 */

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "seat.h"

#define LOST_WITHIN_MS 3000

static struct terminal *start_vi(void)
{
	struct terminal *t = seat_new(24, 80);
	SEAT_COVE(t, "exec", "-it", "--id", "vi", "box", "vi", "notes");
	terminal_wait_text(t, "- notes");
	terminal_type(t, "ihello");
	terminal_wait_row(t, 0, "hello");
	CHECK(terminal_modes(t).alternate);
	CHECK(!terminal_termios_same(t));
	return t;
}

/* What the row says that comes from cove, without the screen that vi had. */
static void check_lost(struct terminal *t, uint64_t since, const char *says)
{
	CHECK_INT(terminal_wait_exit(t), ==, 125);
	uint64_t ms = clock_monotonic_ms() - since;
	int row = terminal_find(t, "cove: exec: ", NULL);
	CHECK(row >= 0);
	tap_note("after %llu ms: %s%s", (unsigned long long)ms, terminal_row(t, (unsigned)row),
		 row < 23 ? terminal_row(t, (unsigned)row + 1) : "");
	CHECK(terminal_has_text(t, says));
	CHECK(!terminal_has_text(t, "hello"));
	CHECK_INT(ms, <=, LOST_WITHIN_MS);
	terminal_check_restored(t);
	terminal_free(t);
}

static void test_supervisor(void)
{
	cove_sandbox *box = seat_box("busybox");
	struct cove_sandbox_info *info = vm_info("box");
	struct terminal *t = start_vi();
	uint64_t since = clock_monotonic_ms();
	CHECK_SYS(kill(info->supervisor_pid, SIGKILL));
	check_lost(t, since, "supervisor");
	CHECK(tap_process_ends(info->vmm_pid, LOST_WITHIN_MS));
	cove_sandbox_info_free(info);
	cove_sandbox_free(box);
}

static void test_vmm(void)
{
	cove_sandbox *box = seat_box("busybox");
	struct cove_sandbox_info *info = vm_info("box");
	struct terminal *t = start_vi();
	uint64_t since = clock_monotonic_ms();
	CHECK_SYS(kill(info->vmm_pid, SIGKILL));
	check_lost(t, since, "QEMU");
	cove_sandbox_info_free(info);
	cove_sandbox_free(box);
}

/* The kernel keeps signals away from PID 1; with the kernel itself, the agent dies. */
static void test_agent(void)
{
	cove_sandbox *box = seat_box("busybox");
	struct terminal *t = start_vi();
	cove_output *out;
	struct cove_error err = COVE_ERROR_INIT;
	uint64_t since = clock_monotonic_ms();
	CHECK_INT(cove_shell(box, "echo c >/proc/sysrq-trigger; sleep 100", NULL, &out, &err), ==,
		  COVE_E_LOST);
	check_lost(t, since, "panic");
	cove_sandbox_free(box);
}

/* cove goes, vi stays; and can be come back to. */
static void test_client(void)
{
	static const int signals[] = { SIGTERM, SIGHUP, SIGINT, SIGQUIT };
	cove_sandbox *box = seat_box("busybox");
	struct terminal *t = start_vi();
	for (size_t i = 0; i <= ARRAY_SIZE(signals); i++) {
		if (i < ARRAY_SIZE(signals)) {
			CHECK_SYS(kill(terminal_pid(t), signals[i]));
			seat_check_end(t, 128 + signals[i]);
			CHECK(!terminal_has_text(t, "hello"));
		} else {
			terminal_hangup(t); /* the window is closed */
			CHECK_INT(terminal_wait_exit(t), ==, 128 + SIGHUP);
		}
		terminal_free(t);
		t = seat_new(24 + (unsigned)i, 80);
		SEAT_COVE(t, "attach", "box", "vi");
		TERMINAL_WAIT(t, terminal_find(t, "I notes ", NULL) == 23 + (int)i);
		terminal_wait_row(t, 0, "hello");
	}

	/* Stopped and continued, as by a shell with job control: the terminal is free meanwhile. */
	CHECK_SYS(kill(terminal_pid(t), SIGTSTP));
	CHECK_INT(terminal_wait_stopped(t), ==, SIGTSTP);
	terminal_check_restored(t);
	terminal_wipe(t);
	terminal_continue(t, true);
	TERMINAL_WAIT(t, terminal_find(t, "I notes ", NULL) == 27);
	terminal_wait_row(t, 0, "hello");
	CHECK(terminal_modes(t).alternate);
	terminal_type(t, " again\033");
	terminal_wait_text(t, "- notes [Modified]");
	terminal_type(t, ":wq\r");
	seat_check_end(t, 0);
	seat_check_file(box, "notes", "hello again\n");
	terminal_free(t);
	cove_sandbox_free(box);
}

static const struct tap_test tests[] = {
	{ "the supervisor", test_supervisor, .timeout_s = 120 },
	{ "the virtual machine monitor", test_vmm, .timeout_s = 120 },
	{ "the guest and its agent", test_agent, .timeout_s = 120 },
	{ "the client", test_client, .timeout_s = 120 },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
