/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/attach-screen.h"

#include <stdlib.h>
#include <vterm.h>

#include "harness/tap.h"

#define ESC "\033"
#define CSI "\033["
#define ST  "\033\\"

/* ---- what is left out ---- */

struct shown {
	uint8_t *data;
	size_t n;
};

/* Into memory of exactly the size that was promised to do. */
static void filter(struct attach_screen *s, const void *data, size_t n, struct shown *out)
{
	size_t room = n + 2 * ATTACH_SCREEN_HOLD;
	uint8_t *exact = malloc(room);
	CHECK(exact);
	size_t k = attach_screen_filter(s, data, n, exact);
	CHECK_INT(k, <=, room);
	memcpy(out->data + out->n, exact, k);
	out->n += k;
	free(exact);
}

static struct shown new_shown(size_t n)
{
	struct shown shown = { .data = malloc(2 * n + 2 * ATTACH_SCREEN_HOLD) };
	CHECK(shown.data);
	return shown;
}

static struct attach_screen screen(void)
{
	struct attach_screen s;
	memset(&s, 0xee, sizeof(s));
	attach_screen_init(&s);
	return s;
}

/* Whole, cut in two everywhere, and byte by byte. */
static void check_shown(const char *text, size_t n, const char *expected, size_t n_expected)
{
	for (size_t cut = 0; cut <= n + 1; cut++) {
		struct attach_screen s = screen();
		struct shown shown = new_shown(n);
		if (cut <= n) {
			filter(&s, text, cut, &shown);
			filter(&s, text + cut, n - cut, &shown);
		} else {
			for (size_t i = 0; i < n; i++)
				filter(&s, text + i, 1, &shown);
		}
		shown.n += attach_screen_release(&s, shown.data + shown.n);
		if (shown.n != n_expected || memcmp(shown.data, expected, n_expected) != 0)
			tap_note("of %zu bytes, cut at %zu: %.*s", n, cut, (int)shown.n - 1,
				 (const char *)shown.data + 1);
		CHECK_MEM(shown.data, shown.n, expected, n_expected);
		free(shown.data);
	}
}

static void test_questions(void)
{
	static const char *const questions[] = {
		CSI "c",
		CSI "0c",
		CSI ">c",
		CSI ">0c",
		CSI "=c",
		CSI "5n",
		CSI "6n",
		CSI "?6n",
		CSI "?996n",
		CSI "?2026$p",
		CSI "4$p",
		CSI "11t",
		CSI "13t",
		CSI "13;2t",
		CSI "14t",
		CSI "14;2t",
		CSI "15t",
		CSI "16t",
		CSI "18t",
		CSI "19t",
		CSI "20t",
		CSI "21t",
		CSI ">q",
		CSI ">0q",
		CSI "?u",
		CSI "?4m",
		CSI "?1;1;0S",
		CSI "x",
		CSI "1;1*y",
		ESC "Z",
		"\005",
		ESC "]4;1;?" ST,
		ESC "]4;1;?\007",
		ESC "]4;1;red;2;?" ST,
		ESC "]5;0;?" ST,
		ESC "]10;?" ST,
		ESC "]11;?\007",
		ESC "]19;?" ST,
		ESC "]10;red;?" ST,
		ESC "]52;c;?" ST,
		ESC "]50;?" ST,
		ESC "]21;foreground=?" ST,
		ESC "]22;?__current__" ST,
		ESC "P$qm" ST,
		ESC "P+q544e" ST,
		ESC "P+Q41" ST,
		ESC "_Gi=1,a=q;AAAA" ST,
		/* C1 controls in UTF-8 */
		"\xc2\x9b"
		"c",
		"\xc2\x9a",
		"\xc2\x9d"
		"11;?\xc2\x9c",
		"\xc2\x90$qm" ST,
		ESC "]11;?\xc2\x9c",
	};
	for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
		char text[128], *end = text;
		end = stpcpy(end, "a");
		end = stpcpy(end, questions[i]);
		end = stpcpy(end, "b");
		check_shown(text, (size_t)(end - text), "ab", 2);
	}
}

static void test_others(void)
{
	static const char *const others[] = {
		"plain text\r\n\t\b\007",
		"h\xc3\xa9llo \xe2\x9c\x93 \xf0\x9f\x98\x80 \xc2\xa0 \xc2\xbf",
		CSI "m" CSI "1;31m" CSI "38;5;0m" CSI "4:3m",
		CSI "?1049h" CSI "2J" CSI "H" CSI "?25l" CSI "?1c", /* the last is Linux' cursor */
		CSI ">4;2m" CSI ">1u" CSI "<u" CSI "=1;2u" CSI "u" CSI "s" CSI ">4n",
		CSI "8;24;80t" CSI "22;0t" CSI "23t" CSI "t" CSI "1t",
		CSI "!p" CSI "2 q" CSI "1;1;2;2$x" CSI "5S",
		ESC "]0;a title?\007" ESC "]2;what;?" ST ESC "]8;;http://a/?b=?" ST,
		ESC "]11;#000000" ST ESC "]52;c;Zm9v" ST ESC "]4;1;red" ST ESC "]104" ST,
		ESC "]133;A" ST ESC "]1337;File=:AAAA\007",
		ESC "Pq#0;2;0;0;0~~@@" ST ESC "P1$r0m" ST ESC "_Ga=T,f=100;a=q" ST ESC "^pm" ST,
		ESC "7" ESC "8" ESC "=" ESC ">" ESC "(0" ESC "(B" ESC "#8" ESC "c" ESC "D" ESC "%G",
		CSI "1\03031m", /* CAN */
		CSI "1\r;2H",	/* a control in the middle is obeyed at once */
		"\xc2"
		"a\xc2\xa0\xff\xfe\x80\x9b"
		"c", /* no UTF-8 */
		CSI "\x7f"
		    "1m",
	};
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (!strstr(others[i], "1\r;2H"))
			check_shown(others[i], strlen(others[i]), others[i], strlen(others[i]));
	check_shown(CSI "1\r;2H", 7, "\r" CSI "1;2H", 7);
}

/* What was broken off must not be joined to what follows what is left out. */
static void test_broken(void)
{
#define CHECK_SHOWN(text, expected)                                                                \
	check_shown(text, sizeof(text) - 1, expected, sizeof(expected) - 1)
	CHECK_SHOWN("a" CSI "1" CSI "cb", "ab");
	CHECK_SHOWN("a" CSI ESC "Zc", "ac");
	CHECK_SHOWN("a" ESC "]0;title" CSI "cb", "ab");
	CHECK_SHOWN("a" ESC "]0;title" CSI "1mb", "a" CSI "1mb");
	CHECK_SHOWN("a" ESC "P$q" CSI "cb" ST "d", "ab" ST "d");
	CHECK_SHOWN("a" CSI "1\xc3\xa9"
		    "c",
		    "a\xc3\xa9"
		    "c");
	CHECK_SHOWN("a" CSI "\005"
		    "c",
		    "a");
	CHECK_SHOWN("a" ESC "]11;\005?" ST "b", "ab");
	CHECK_SHOWN("a\xc2" CSI "c\x9b"
		    "cb",
		    "a\x9b"
		    "cb");
	CHECK_SHOWN("a\xc2\xc2\x9b"
		    "c\x9b"
		    "cb",
		    "a\x9b"
		    "cb");
	CHECK_SHOWN("a\xc2\005\x9b"
		    "cb",
		    "ab");
	CHECK_SHOWN("a" ESC "]0;\xc2\005\x9c\xc2\x9b"
		    "cb",
		    "a" ESC "]0;\xc2\x9c"
		    "b");
	CHECK_SHOWN("a" ESC "]0;x\xc2\x9b"
		    "cb",
		    "ab");
	CHECK_SHOWN("a" ESC "![c", "ac"); /* there are terminals that take it for ESC [ */
	/* The end of what is shown again: what waits is new. */
	CHECK_SHOWN("a" CSI "6", "a" CSI "6");
	CHECK_SHOWN("a" ESC "]11;?", "a" ESC "]11;?");
	CHECK_SHOWN("a\xc2", "a\xc2");
}

/* Strings that are longer than what can wait. */
static void test_long(void)
{
	for (size_t length = ATTACH_SCREEN_HOLD - 4; length < ATTACH_SCREEN_HOLD + 4; length++) {
		size_t n = length + 64;
		char *text = malloc(n);
		CHECK(text);
		memset(text, 'A', n);
		memcpy(text, ESC "]52;c;", 7);
		memcpy(text + length, ST CSI "cb", 6);
		struct attach_screen s = screen();
		struct shown shown = new_shown(n);
		for (size_t i = 0; i < length + 6; i++)
			filter(&s, text + i, 1, &shown);
		memcpy(text + length + 2, "b", 1);
		CHECK_MEM(shown.data, shown.n, text, length + 3);
		CHECK_INT(s.screen.state, ==, SCREEN_GROUND);

		/* Broken off by a question: the terminal is told of the end, and not of that. */
		memcpy(text + length, CSI "cb", 4);
		s = screen();
		shown.n = 0;
		for (size_t i = 0; i < length + 4; i++)
			filter(&s, text + i, 1, &shown);
		CHECK_INT(shown.data[shown.n - 1], ==, 'b');
		if (shown.n > 1)
			CHECK_INT(shown.data[shown.n - 2], ==, 030);
		CHECK_INT(s.screen.state, ==, SCREEN_GROUND);
		free(shown.data);
		free(text);
	}
}

/* ---- a terminal as the judge ---- */

/* libvterm's answer to some DECRQSS gives vsprintf() a small number for a string. */
#ifdef __SANITIZE_ADDRESS__
#define ASKS false
#else
#define ASKS true
#endif

static size_t answers;

static void on_answer(const char *data, size_t n, void *user)
{
	(void)data;
	(void)user;
	answers += n;
}

/* Scraps of sequences; what is put together of them is anything. */
static size_t make_junk(uint8_t *out, size_t max)
{
	static const char *const scraps[] = {
		ESC,	    "[",	   "]",	     "P",	 "_",
		"^",	    "X",	   "\\",     ST,	 CSI,
		"c",	    "n",	   "6",	     "0",	 ";",
		":",	    "?",	   ">",	     "=",	 "<",
		"$",	    "p",	   "q",	     "t",	 "18",
		"21",	    "u",	   "m",	     "\030",	 "\032",
		"\007",	    "\005",	   "Z",	     "\xc2",	 "\x9b",
		"\x9d",	    "\x9c",	   "\x90",   "\xe2",	 "a",
		"\r\n",	    "$q",	   "+q",     "11;?",	 "4;1;?",
		"52;c;?",   " ",	   "!",	     CSI "c",	 CSI "6n",
		CSI "?1$p", ESC "P$qm" ST, CSI ">c", CSI "1;1H", ESC "]0;t\007",
	};
	size_t n = 0;
	for (;;) {
		const char *scrap = scraps[(size_t)rand() % ARRAY_SIZE(scraps)];
		size_t k = strlen(scrap);
		if (n + k > max)
			return n;
		memcpy(out + n, scrap, k);
		n += k;
	}
}

static size_t answers_to(const uint8_t *data, size_t n)
{
	static VTerm *vt;
	if (!vt) {
		vt = vterm_new(2, 10);
		CHECK(vt);
		vterm_set_utf8(vt, 1);
		vterm_output_set_callback(vt, on_answer, NULL);
		vterm_state_reset(vterm_obtain_state(vt), 1);
	}
	/* Out of whatever it was in. */
	vterm_input_write(vt, "\030" ST ESC "c", 5);
	answers = 0;
	vterm_input_write(vt, (const char *)data, n);
	return answers;
}

static void test_no_answers(void)
{
	size_t asked = 0;
	for (unsigned round = 0; round < 20000; round++) {
		uint8_t junk[300];
		srand(round);
		size_t n = make_junk(junk, 1 + (size_t)rand() % (sizeof(junk) - 1));
		asked += ASKS ? answers_to(junk, n) > 0 : 1;

		struct attach_screen s = screen();
		struct shown whole = new_shown(n), parts = new_shown(n);
		filter(&s, junk, n, &whole);
		if (answers_to(whole.data, whole.n) > 0)
			tap_fail(__FILE__, __LINE__, "round %u: an answer", round);
		CHECK_INT(whole.n, <=, n);

		s = screen();
		for (size_t i = 0, k; i < n; i += k) {
			k = 1 + (size_t)rand() % 5;
			k = k < n - i ? k : n - i;
			filter(&s, junk + i, k, &parts);
		}
		CHECK_MEM(parts.data, parts.n, whole.data, whole.n);
		free(whole.data);
		free(parts.data);
	}
	CHECK_INT(asked, >, 500); /* the terminal would have */
}

/* ---- what is put back ---- */

static struct attach_screen after(const char *text)
{
	struct attach_screen s = screen();
	for (size_t i = 0; i < strlen(text); i++)
		attach_screen_follow(&s, (const uint8_t *)text + i, 1);
	return s;
}

static void check_bytes(const char *file, int line, const char *text, const uint8_t *data, size_t n,
			const char *expected)
{
	if (n == strlen(expected) && !memcmp(data, expected, n))
		return;
	tap_note("after ESC%s", text + 1);
	for (size_t i = 0; i < n; i++)
		tap_note("%02x %c", data[i], data[i] >= ' ' ? data[i] : '.');
	tap_fail(file, line, "not what was expected");
}

#define CHECK_UNDO(text, expected)                                                                 \
	do {                                                                                       \
		struct attach_screen _s = after(text);                                             \
		uint8_t _out[SCREEN_MODES_BYTES];                                                  \
		size_t _n = screen_modes_undo(&_s.screen.modes, _out);                             \
		check_bytes(__FILE__, __LINE__, text, _out, _n, expected);                         \
	} while (0)
#define CHECK_REDO(text, expected)                                                                 \
	do {                                                                                       \
		struct attach_screen _s = after(text);                                             \
		uint8_t _out[SCREEN_MODES_BYTES];                                                  \
		size_t _n = screen_modes_redo(&_s.screen.modes, _out);                             \
		check_bytes(__FILE__, __LINE__, text, _out, _n, expected);                         \
	} while (0)

static void test_undo(void)
{
	CHECK_UNDO("text\r\n" CSI "1;1H" CSI "2J" CSI "0m" ESC "]0;title\007", "");
	CHECK_UNDO(CSI "?1h", CSI "?1l");
	CHECK_UNDO(CSI "?7l" CSI "?25l", CSI "?7h" CSI "?25h");
	CHECK_UNDO(CSI "?7l" CSI "?7h" CSI "?25l" CSI "?25h", "");
	CHECK_UNDO(CSI "?1000;1002;1006h" CSI "?2004h",
		   CSI "?1000l" CSI "?1002l" CSI "?1006l" CSI "?2004l");
	CHECK_UNDO(CSI "?1000;1006;2004h" CSI "?1000;1006;2004l", "");
	CHECK_UNDO(CSI "?5h" CSI "?9h" CSI "?12h" CSI "?1001h" CSI "?1003h" CSI "?1004h" CSI
		       "?1005h" CSI "?1007h" CSI "?1015h" CSI "?1016h" CSI "?2026h",
		   CSI "?5l" CSI "?9l" CSI "?12l" CSI "?1001l" CSI "?1003l" CSI "?1004l" CSI
		       "?1005l" CSI "?1007l" CSI "?1015l" CSI "?1016l" CSI "?2026l");
	CHECK_UNDO(CSI "?1049h", CSI "?1049l");
	CHECK_UNDO(CSI "?47h", CSI "?47l");
	CHECK_UNDO(CSI "?1047h" CSI "?1047l", "");
	CHECK_UNDO(CSI "?1049h" CSI "?47l", "");
	CHECK_UNDO(ESC "=", ESC ">");
	CHECK_UNDO(CSI "4h" CSI "20h", CSI "4l" CSI "20l");
	CHECK_UNDO(CSI "1m", CSI "m");
	CHECK_UNDO(CSI "1m" CSI "m", "");
	CHECK_UNDO(CSI "0;1m", CSI "m");
	CHECK_UNDO(CSI "1;0m", "");
	CHECK_UNDO(CSI "38;5;0m", CSI "m");
	CHECK_UNDO(CSI "38;2;0;0;0m", CSI "m");
	CHECK_UNDO(CSI "38;5;1;0m", "");
	CHECK_UNDO(CSI "38:5:0m", CSI "m");
	CHECK_UNDO(CSI "2;10r", ESC "7" CSI "r" ESC "8");
	CHECK_UNDO(CSI "2;10r" CSI "r", "");
	CHECK_UNDO(CSI "?6h", CSI "?6l" CSI "9999;1H");
	CHECK_UNDO(CSI "2;10r" CSI "?6h", CSI "r" CSI "?6l" CSI "9999;1H");
	CHECK_UNDO(ESC "(0", ESC "(B");
	CHECK_UNDO(ESC "(0" ESC "(B", "");
	CHECK_UNDO("\016", "\017");
	CHECK_UNDO(CSI "5 q", CSI "0 q");
	CHECK_UNDO(CSI "5 q" CSI " q", "");
	CHECK_UNDO(CSI ">4;2m", CSI ">4m");
	CHECK_UNDO(CSI ">4;2m" CSI ">4m", "");
	CHECK_UNDO(CSI ">4;2m" CSI ">4n", "");
	/* The keyboard, of each screen. */
	CHECK_UNDO(CSI ">1u", CSI "<1u");
	CHECK_UNDO(CSI ">1u" CSI ">3u" CSI "<u", CSI "<1u");
	CHECK_UNDO(CSI ">1u" CSI "<u", "");
	CHECK_UNDO(CSI ">1u" CSI "<9u", "");
	CHECK_UNDO(CSI "=5u", CSI "=0u");
	CHECK_UNDO(CSI "=5u" CSI "=5;3u", "");
	CHECK_UNDO(CSI ">1u" CSI "?1049h" CSI ">2u", CSI "<1u" CSI "?1049l" CSI "<1u");
	/* What is put away with the first screen comes back with it. */
	CHECK_UNDO(CSI "1m" CSI "?1049h" CSI "m", CSI "?1049l" CSI "m");
	CHECK_UNDO(CSI "?1049h" CSI "1m" CSI "?1049l", "");
	/* Resets. */
	CHECK_UNDO(CSI "?1049;1000;2004h" CSI "1m" CSI ">1u" CSI "2;3r" ESC "c", "");
	CHECK_UNDO(CSI "?1;25l" CSI "?1h" CSI "4h" CSI "1m" CSI "2;3r" ESC "=" CSI "!p", "");
	CHECK_UNDO(CSI "?1000h" CSI "!p", CSI "?1000l");
	/* What has no meaning. */
	CHECK_UNDO(CSI "?99999999999h" CSI "1000h" CSI "?4h" CSI ">25l" CSI "?25$l", "");
	CHECK_UNDO(CSI "?;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;;1h", CSI "?1l");
	CHECK_UNDO("\xc2\x9b?1h", CSI "?1l");

	CHECK_REDO("", "");
	CHECK_REDO(CSI "?1049;1000;1h" CSI "?25l" CSI "2;5r" CSI "5 q" ESC "=" CSI ">4;2m",
		   CSI "?1049h" CSI "?1h" CSI "?25l" CSI "?1000h" ESC "=" CSI ">4;2m" CSI "5 q" ESC
		       "7" CSI "2;5r" ESC "8");
	CHECK_REDO(CSI "=1u" CSI ">3u" CSI ">5u", CSI "=1u" CSI ">3u" CSI ">5u");
}

/* Everything on: it has to fit. And undoing what redo has done is undoing it. */
static void test_most(void)
{
	struct attach_screen s = screen();
	uint8_t out[SCREEN_MODES_BYTES], undo[SCREEN_MODES_BYTES];
	s.screen.modes.private_modes = UINT32_MAX >> 7;
	for (unsigned i = 0; i < 40; i++)
		attach_screen_follow(&s, (const uint8_t *)CSI ">31u", 6);
	s.screen.modes.keyboards[0] = s.screen.modes.keyboards[1];
	const char *rest = CSI "2;4;20h" CSI "99999 q" CSI ">4;99999m" CSI "99999;99999r" ESC
			       "=" ESC "(0\016" CSI "?6h" CSI "1m";
	attach_screen_follow(&s, (const uint8_t *)rest, strlen(rest));
	size_t n_undo = screen_modes_undo(&s.screen.modes, undo);
	size_t n = screen_modes_redo(&s.screen.modes, out);
	CHECK_INT(n, <, SCREEN_MODES_BYTES);
	attach_screen_init(&s);
	attach_screen_follow(&s, out, n);
	attach_screen_follow(&s, (const uint8_t *)CSI "1m", 4); /* colours are not put back on */
	n = screen_modes_undo(&s.screen.modes, out);
	CHECK_MEM(out, n, undo, n_undo);
	attach_screen_follow(&s, out, n);
	CHECK_INT(screen_modes_undo(&s.screen.modes, out), ==, 0);
}

/* What has been shown, what the command's terminal has, and what makes the one like the other. */
static void check_adjusted(const char *shown, const char *wanted, const char *expected)
{
	struct attach_screen s = after(shown);
	uint8_t out[ATTACH_SCREEN_ADJUST];
	size_t n = attach_screen_adjust(&s, wanted, strlen(wanted), out);
	check_bytes(__FILE__, __LINE__, shown, out, n, expected);
	CHECK_INT(attach_screen_adjust(&s, wanted, strlen(wanted), out), ==, 0);
}

static void test_adjust(void)
{
	check_adjusted("", "", "");
	check_adjusted("text", CSI "?1049;2004h" CSI "?1h", CSI "?1049h" CSI "?1h" CSI "?2004h");
	check_adjusted(CSI "?2004h" CSI "?1049h" CSI "1m", CSI "?1049h" CSI "?2004h", "");
	check_adjusted(CSI "?2004h", "", CSI "?2004l");
	check_adjusted(CSI "?1000h", CSI "?1006h", CSI "?1000l" CSI "?1006h");
	/* Nothing but what sets modes comes through. */
	check_adjusted("", "text" ESC "]52;c;AAAA\007" CSI "6n" CSI "?25l" CSI "2J", CSI "?25l");

	/* In the middle of a picture, of which the terminal has a part. */
	struct attach_screen s = screen();
	struct shown shown = new_shown(2 * ATTACH_SCREEN_HOLD);
	static uint8_t picture[2 * ATTACH_SCREEN_HOLD] = ESC "Pq";
	memset(picture + 3, '~', sizeof(picture) - 3);
	filter(&s, picture, sizeof(picture), &shown);
	uint8_t out[ATTACH_SCREEN_ADJUST];
	CHECK_INT(attach_screen_adjust(&s, CSI "?1h", 5, out), ==, 0);
	free(shown.data);
}

static void test_cancel(void)
{
	uint8_t out[ATTACH_SCREEN_CANCEL];
	static const char *const cut[] = { ESC, CSI "1;", ESC "]0;x", ESC "P", ESC "_x" ESC };
	for (size_t i = 0; i < ARRAY_SIZE(cut); i++) {
		struct attach_screen s = after(cut[i]);
		CHECK_INT(attach_screen_cancel(&s, out), ==, 3);
		CHECK_MEM(out, 3, "\030\033\\", 3);
		CHECK_INT(attach_screen_cancel(&s, out), ==, 0);
	}
	struct attach_screen s = after("text\xc2");
	CHECK_INT(attach_screen_cancel(&s, out), ==, 0);
}

/* Noise: whatever it is, undoing it leaves nothing to be undone. */
static void test_noise(void)
{
	for (unsigned round = 0; round < 2000; round++) {
		uint8_t junk[1000], out[SCREEN_MODES_BYTES];
		struct attach_screen s = screen();
		srand(round);
		size_t n = sizeof(junk);
		if (round % 2)
			n = make_junk(junk, n);
		else
			for (size_t i = 0; i < n; i++)
				junk[i] = (uint8_t)rand();
		size_t n_junk = n;
		attach_screen_follow(&s, junk, n);
		attach_screen_cancel(&s, out);

		/* Byte by byte it is the same; and what it has set can be handed on, and that again. */
		struct screen bytewise = { 0 }, next = { 0 };
		uint8_t redo[SCREEN_MODES_BYTES], again[SCREEN_MODES_BYTES];
		for (size_t i = 0; i < n_junk; i++)
			screen_follow(&bytewise, junk + i, 1);
		attach_screen_cancel(&(struct attach_screen){ .screen = bytewise }, out);
		size_t n_redo = screen_modes_redo(&s.screen.modes, redo);
		size_t n_again = screen_modes_redo(&bytewise.modes, again);
		CHECK_MEM(again, n_again, redo, n_redo);
		screen_follow(&next, redo, n_redo);
		n_again = screen_modes_redo(&next.modes, again);
		CHECK_MEM(again, n_again, redo, n_redo);

		n = screen_modes_undo(&s.screen.modes, out);
		attach_screen_follow(&s, out, n);
		CHECK_INT(screen_modes_undo(&s.screen.modes, out), ==, 0);
	}
}

static const struct tap_test tests[] = {
	{ "questions are left out", test_questions },
	{ "everything else is shown", test_others },
	{ "sequences that are broken off", test_broken },
	{ "strings that are longer than what can wait", test_long },
	{ "a terminal does not answer", test_no_answers, .timeout_s = 60 },
	{ "modes are put back", test_undo },
	{ "all modes at once", test_most },
	{ "the modes of a terminal elsewhere", test_adjust },
	{ "sequences that are cut off", test_cancel },
	{ "noise", test_noise },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
