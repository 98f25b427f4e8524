/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/tap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "harness/failing-alloc.h"
#include "vmm/vmm.h"

#define GREETING                                                                                   \
	"{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, "         \
	"\"package\": \"Debian\"}, \"capabilities\": [\"oob\"]}}\r\n"
#define READY "{\"return\": {}, \"id\": 0}\r\n"

static void feed(struct qmp *qmp, const char *text)
{
	CHECK_OK(qmp_input(qmp, text, strlen(text)));
}

static void check_output(struct qmp *qmp, const char *expected)
{
	const void *data;
	size_t n;
	qmp_output(qmp, &data, &n);
	CHECK_MEM(data, n, expected, strlen(expected));
	qmp_sent(qmp, n);
}

static struct qmp *ready(void)
{
	struct qmp_event event;
	struct qmp *qmp = qmp_new();
	CHECK(qmp);
	feed(qmp, GREETING READY);
	CHECK_INT(qmp_next(qmp, &event), ==, 1);
	CHECK_INT(event.kind, ==, QMP_EVENT_READY);
	CHECK_INT(qmp_next(qmp, &event), ==, 0);
	check_output(qmp, "{\"execute\":\"qmp_capabilities\",\"id\":0}\n");
	return qmp;
}

static void test_conversation(void)
{
	_cleanup_(qmp_freep) struct qmp *qmp = ready();
	uint64_t id;
	CHECK_OK(qmp_command(qmp, "stop", NULL, &id));
	CHECK_INT(id, ==, 1);
	CHECK_OK(qmp_command(qmp, "migrate", "{\"uri\": \"fd:m\"}", &id));
	CHECK_INT(id, ==, 2);
	check_output(qmp, "{\"execute\":\"stop\",\"id\":1}\n"
			  "{\"execute\":\"migrate\",\"arguments\":{\"uri\":\"fd:m\"},\"id\":2}\n");

	feed(qmp, "{\"timestamp\": {\"seconds\": 1}, \"event\": \"STOP\"}\n"
		  "{\"return\": {\"status\": \"paused\"}, \"id\": 1}\n"
		  "{\"id\": 2, \"error\": {\"class\": \"GenericError\", \"desc\": \"no such\"}}\n"
		  "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": "
		  "\"guest-reset\"}}\n");
	struct qmp_event event;
	CHECK_INT(qmp_next(qmp, &event), ==, 1);
	CHECK_INT(event.kind, ==, QMP_EVENT_EVENT);
	CHECK_STR(event.name, "STOP");
	CHECK_STR(event.reason, "");
	CHECK_INT(qmp_next(qmp, &event), ==, 1);
	CHECK_INT(event.kind, ==, QMP_EVENT_RETURN);
	CHECK_INT(event.id, ==, 1);
	CHECK(event.ok);
	CHECK_INT(qmp_next(qmp, &event), ==, 1);
	CHECK_INT(event.kind, ==, QMP_EVENT_RETURN);
	CHECK_INT(event.id, ==, 2);
	CHECK(!event.ok);
	CHECK_STR(event.text, "no such");
	CHECK_INT(qmp_next(qmp, &event), ==, 1);
	CHECK_STR(event.name, "SHUTDOWN");
	CHECK_STR(event.reason, "guest-reset");
	CHECK_INT(qmp_next(qmp, &event), ==, 0);
}

/* The same events wherever the stream is cut in two, and when every byte comes alone. */
static void test_cut_anywhere(void)
{
	static const char text[] = GREETING "{\"event\": \"RESUME\"}\n" READY
					    "{\"event\": \"RTC_CHANGE\", \"data\": {}}\n";
	static const enum qmp_event_kind expected[] = { QMP_EVENT_EVENT, QMP_EVENT_READY,
							QMP_EVENT_EVENT };
	size_t size = sizeof(text) - 1;
	for (size_t cut = 0; cut <= size; cut++) {
		_cleanup_(qmp_freep) struct qmp *qmp = qmp_new();
		CHECK(qmp);
		size_t seen = 0;
		for (size_t i = 0; i < size;) {
			/* cut == size stands for one byte at a time */
			size_t n = cut == size ? 1 : i < cut ? cut - i : size - i;
			CHECK_OK(qmp_input(qmp, text + i, n));
			i += n;
			struct qmp_event event;
			int r;
			while ((r = qmp_next(qmp, &event)) > 0) {
				CHECK_INT(seen, <, ARRAY_SIZE(expected));
				CHECK_INT(event.kind, ==, expected[seen]);
				seen++;
			}
			CHECK_INT(r, ==, 0);
		}
		CHECK_INT(seen, ==, ARRAY_SIZE(expected));
	}
}

static void check_refused(bool running, size_t i, const char *text)
{
	tap_note("%zu", i);
	_cleanup_(qmp_freep) struct qmp *qmp = running ? ready() : qmp_new();
	CHECK(qmp);
	struct qmp_event event;
	feed(qmp, text);
	int r;
	while ((r = qmp_next(qmp, &event)) > 0)
		;
	CHECK_INT(r, ==, -EPROTO);
	/* And that is final. */
	CHECK_INT(qmp_next(qmp, &event), ==, -EPROTO);
	CHECK_INT(qmp_input(qmp, "\n", 1), ==, -EPROTO);
	CHECK_INT(qmp_command(qmp, "quit", NULL, NULL), ==, -EPROTO);
}

static void test_garbage(void)
{
	static const char *const before[] = {
		"\n",
		"\xff\xfe\n",
		"{}\n",
		"[]\n",
		"3\n",
		"{\"QMP\": 3}\n",
		"{\"QMP\": {}\n",
		"{\"event\": \"RESUME\"}\n",
		"{\"return\": {}, \"id\": 0}\n",
		GREETING GREETING,
		GREETING "{\"return\": {}}\n",
		GREETING "{\"return\": {}, \"id\": 1}\n",
		GREETING "{\"return\": {}, \"id\": \"0\"}\n",
		GREETING "{\"error\": {\"desc\": \"no\"}, \"id\": 0}\n",
	};
	static const char *const running[] = {
		"\n",
		"{\"event\": 3}\n",
		"{\"event\": \"a\\u0000b\"}\n",
		"{\"event\": \"a\", \"event\": \"b\"}\n",
		"{\"event\": \"\xc3\x28\"}\n",
		"{\"return\": {}, \"id\": 0}\n", /* answered already */
		"{\"return\": {}, \"id\": 1}\n", /* never asked */
		"{\"return\": {}, \"id\": -1}\n",
		"{\"error\": {\"desc\": \"JSON parse error\"}}\n",
	};
	for (size_t i = 0; i < ARRAY_SIZE(before); i++)
		check_refused(false, i, before[i]);
	for (size_t i = 0; i < ARRAY_SIZE(running); i++)
		check_refused(true, i, running[i]);
}

static void test_wrong_answers(void)
{
	static const char *const answers[] = {
		"{\"return\": {}, \"error\": {\"desc\": \"\"}, \"id\": 1}\n",
		"{\"error\": {}, \"id\": 1}\n", "{\"error\": 7, \"id\": 1}\n",
		"{\"return\": {}, \"id\": 2}\n", /* out of order */
	};
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		_cleanup_(qmp_freep) struct qmp *qmp = ready();
		struct qmp_event event;
		CHECK_OK(qmp_command(qmp, "stop", NULL, NULL));
		CHECK_OK(qmp_command(qmp, "cont", NULL, NULL));
		feed(qmp, answers[i]);
		CHECK_INT(qmp_next(qmp, &event), ==, -EPROTO);
	}
}

/* An event whose line has exactly so many bytes, newline included. */
static char *long_event(size_t size)
{
	static const char start[] = "{\"event\":\"", end[] = "\"}\n";
	char *line = malloc(size);
	CHECK(line);
	memset(line, 'A', size);
	memcpy(line, start, sizeof(start) - 1);
	memcpy(line + size - (sizeof(end) - 1), end, sizeof(end) - 1);
	return line;
}

static void test_long_lines(void)
{
	struct qmp_event event;
	_cleanup_(qmp_freep) struct qmp *qmp = ready();
	_cleanup_free_ char *longest = long_event(QMP_LINE_MAX);
	for (int i = 0; i < 3; i++) { /* consumed memory is used again */
		CHECK_OK(qmp_input(qmp, longest, QMP_LINE_MAX - 1));
		CHECK_INT(qmp_next(qmp, &event), ==, 0);
		CHECK_OK(qmp_input(qmp, longest + QMP_LINE_MAX - 1, 1));
		CHECK_INT(qmp_next(qmp, &event), ==, 1);
	}

	_cleanup_free_ char *longer = long_event(QMP_LINE_MAX + 1);
	CHECK_OK(qmp_input(qmp, longer, QMP_LINE_MAX + 1));
	CHECK_INT(qmp_next(qmp, &event), ==, -EPROTO);

	/* A line that never ends is refused before its end is seen. */
	_cleanup_(qmp_freep) struct qmp *endless = ready();
	CHECK_OK(qmp_input(endless, longer, QMP_LINE_MAX));
	CHECK_INT(qmp_next(endless, &event), ==, -EPROTO);

	/* Nor can it be made to keep more by not asking for events. */
	_cleanup_(qmp_freep) struct qmp *unasked = ready();
	CHECK_OK(qmp_input(unasked, longest, QMP_LINE_MAX));
	CHECK_OK(qmp_input(unasked, longest, QMP_LINE_MAX));
	CHECK_INT(qmp_input(unasked, longest, 1), ==, -EPROTO);
}

static void test_deep_nesting(void)
{
	_cleanup_(qmp_freep) struct qmp *qmp = ready();
	_cleanup_free_ char *line = malloc(QMP_LINE_MAX);
	CHECK(line);
	memset(line, '[', QMP_LINE_MAX - 1);
	line[QMP_LINE_MAX - 1] = '\n';
	CHECK_OK(qmp_input(qmp, line, QMP_LINE_MAX));
	struct qmp_event event;
	CHECK_INT(qmp_next(qmp, &event), ==, -EPROTO);
}

static void test_commands(void)
{
	uint64_t id = 77;
	_cleanup_(qmp_freep) struct qmp *early = qmp_new();
	CHECK(early);
	CHECK_INT(qmp_command(early, "quit", NULL, &id), ==, -EAGAIN);
	feed(early, GREETING);
	struct qmp_event event;
	CHECK_INT(qmp_next(early, &event), ==, 0);
	CHECK_INT(qmp_command(early, "quit", NULL, &id), ==, -EAGAIN);

	_cleanup_(qmp_freep) struct qmp *qmp = ready();
	CHECK_INT(qmp_command(qmp, "quit", "", &id), ==, -EINVAL);
	CHECK_INT(qmp_command(qmp, "quit", "[]", &id), ==, -EINVAL);
	CHECK_INT(qmp_command(qmp, "quit", "{} {}", &id), ==, -EINVAL);
	CHECK_INT(id, ==, 77);
	check_output(qmp, "");

	/* A QEMU that reads nothing: refused whole, and no id is used up. */
	uint64_t last = 0;
	int r;
	while ((r = qmp_command(qmp, "query-status", NULL, &id)) == 0)
		CHECK_INT(id, ==, ++last);
	CHECK_INT(r, ==, -ENOBUFS);
	const void *data;
	size_t n;
	qmp_output(qmp, &data, &n);
	CHECK_INT(n, <=, 65536);
	CHECK_INT(((const char *)data)[n - 1], ==, '\n');
	qmp_sent(qmp, 10);
	qmp_output(qmp, &data, &n);
	qmp_sent(qmp, n);
	CHECK_OK(qmp_command(qmp, "quit", NULL, &id));
	CHECK_INT(id, ==, last + 1);
}

static void test_no_memory(void)
{
	for (unsigned long n = 1;; n++) {
		failing_alloc_arm(n);
		struct qmp *qmp = qmp_new();
		int r = qmp ? qmp_input(qmp, GREETING, strlen(GREETING)) : -ENOMEM;
		struct qmp_event event;
		if (r >= 0)
			r = qmp_next(qmp, &event);
		bool failed = failing_alloc_disarm();
		CHECK_INT(r, ==, failed ? -ENOMEM : 0);
		if (failed && qmp && n == 3) { /* greeting is there: the answer is made later */
			CHECK_INT(qmp_next(qmp, &event), ==, 0);
			check_output(qmp, "{\"execute\":\"qmp_capabilities\",\"id\":0}\n");
		}
		qmp_free(qmp);
		if (!failed) {
			CHECK_INT(n, >, 3);
			return;
		}
	}
}

static const struct tap_test tests[] = {
	{ "greeting, commands, answers, events", test_conversation },
	{ "cut at every byte", test_cut_anywhere },
	{ "garbage ends it", test_garbage },
	{ "wrong answers end it", test_wrong_answers },
	{ "long lines", test_long_lines },
	{ "deep nesting", test_deep_nesting },
	{ "commands", test_commands },
	{ "the n-th allocation fails", test_no_memory },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
