/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/attach-keys.h"

#include <stdio.h>
#include <stdlib.h>

#include "harness/tap.h"

/* ---- the specification ---- */

static void refused(const char *text, const char *why)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct attach_keys k;
	CHECK_INT(attach_keys_init(&k, text, &err), ==, COVE_E_INVALID);
	CHECK_CONTAINS(err.message, "detach_keys: ");
	CHECK_CONTAINS(err.message, why);
}

static struct attach_keys keys(const char *text)
{
	struct cove_error err = COVE_ERROR_INIT;
	struct attach_keys k;
	CHECK_COVE(attach_keys_init(&k, text, &err), &err);
	return k;
}

static void check_keys(const char *text, const char *expected, size_t n)
{
	struct attach_keys k = keys(text);
	CHECK_INT(k.n_sequences, ==, 1);
	CHECK_MEM(k.sequences[0].keys, k.sequences[0].n, expected, n);
}

static void test_specification(void)
{
	check_keys(NULL, "\035", 1);
	check_keys("ctrl-p,ctrl-q", "\020\021", 2);
	check_keys("CTRL-P,Ctrl-Q", "\020\021", 2);
	check_keys("ctrl-@", "\0", 1);
	check_keys("ctrl-[,d", "\033d", 2);
	check_keys("ctrl-\\,ctrl-],ctrl-^,ctrl-_", "\034\035\036\037", 4);
	check_keys("~,.", "~.", 2);
	check_keys("  a,B\t\n", "aB", 2);
	check_keys("a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p", "abcdefghijklmnop", 16);
	CHECK_INT(keys("").n_sequences, ==, 0);
	CHECK_INT(keys(" \t ").n_sequences, ==, 0);
	CHECK_INT(keys("a b c d e f g h").n_sequences, ==, 8);
	CHECK_INT(keys("a,b b,a").n_sequences, ==, 2);

	refused("ctrl-p,,ctrl-q", "a key is missing at byte 8");
	refused("ctrl-p,", "a key is missing at byte 8");
	refused(",", "a key is missing at byte 1");
	refused("a ,b", "a key is missing at byte 3");
	refused("ctrl-1", "ctrl- with one of");
	refused("a,ctrl-pp", "at byte 3");
	refused("ctrl", "at byte 1");
	refused("ctrl-", "at byte 1");
	refused("alt-p", "at byte 1");
	refused("\xc3\xa9", "at byte 1");
	refused("a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", "more than 16 keys at byte 33");
	refused("a b c d e f g h i", "more than 8 sequences at byte 17");
	refused("a,b a", "is the beginning of another, which is never reached, at byte 5");
	refused("a a,b", "is never reached, for another is its beginning, at byte 3");
	refused("x x", "is never reached");
}

/* ---- typing ---- */

/* What passes is put together here. */
struct typing {
	struct attach_keys k;
	uint8_t passed[4096];
	size_t n;
};

static void feed(struct typing *t, const void *data, size_t n, uint64_t now_ms)
{
	uint8_t *exact = malloc(n + ATTACH_KEYS_LENGTH);
	CHECK(exact);
	size_t k = attach_keys_feed(&t->k, data, n, now_ms, exact);
	CHECK_INT(k, <=, n + ATTACH_KEYS_LENGTH);
	CHECK_INT(t->n + k, <=, sizeof(t->passed));
	memcpy(t->passed + t->n, exact, k);
	t->n += k;
	free(exact);
}

static void type(struct typing *t, const char *text, uint64_t now_ms)
{
	feed(t, text, strlen(text), now_ms);
}

static void check_passed(struct typing *t, const char *text, bool detached)
{
	CHECK_MEM(t->passed, t->n, text, strlen(text));
	CHECK_INT(t->k.detached, ==, detached);
	t->n = 0;
}

static void test_sequences(void)
{
	struct typing t = { .k = keys(NULL) };
	type(&t, "abc\035def", 0);
	check_passed(&t, "abc", true);
	type(&t, "more", 1);
	check_passed(&t, "", true);

	t.k = keys("ctrl-p,ctrl-q");
	type(&t, "a\020b\020\020\021c", 0);
	check_passed(&t, "a\020b\020", true);

	/* In two sequences at once; the longer one does not come. */
	t.k = keys("a,b,c,d b,c,x");
	type(&t, "abcx", 0);
	check_passed(&t, "a", true);

	/* One inside of another: that one is waited for, then not. */
	t.k = keys("a,b,c b");
	type(&t, "ab", 0);
	check_passed(&t, "", false);
	type(&t, "x", 1);
	check_passed(&t, "a", true);

	t.k = keys("");
	type(&t, "\035abc", 0);
	check_passed(&t, "\035abc", false);
	CHECK(attach_keys_deadline(&t.k) == ATTACH_KEYS_NO_DEADLINE);
}

static void test_time(void)
{
	struct typing t = { .k = keys("a,b,c b,d") };
	CHECK(attach_keys_deadline(&t.k) == ATTACH_KEYS_NO_DEADLINE);
	type(&t, "a", 1000);
	CHECK_INT(attach_keys_deadline(&t.k), ==, 1500);
	type(&t, "", 1499);
	check_passed(&t, "", false);
	type(&t, "b", 1499);
	CHECK_INT(attach_keys_deadline(&t.k), ==, 1500);
	/* No byte waits longer for another one's sake. */
	type(&t, "", 1500);
	check_passed(&t, "a", false);
	CHECK_INT(attach_keys_deadline(&t.k), ==, 1999);
	type(&t, "", 1999);
	check_passed(&t, "b", false);
	CHECK(attach_keys_deadline(&t.k) == ATTACH_KEYS_NO_DEADLINE);

	/* What comes late comes after what was held back, even if nobody looked in time. */
	type(&t, "a", 3000);
	type(&t, "bc", 3500);
	check_passed(&t, "abc", false);

	/* The rest may be a sequence by itself. */
	t.k = keys("a,b,c b");
	type(&t, "ab", 4000);
	type(&t, "", 4500);
	check_passed(&t, "a", true);
}

static void test_paste(void)
{
	struct typing t = { .k = keys(NULL) };
	type(&t, "\033[200~x\035y\033[201~z", 0);
	check_passed(&t, "\033[200~x\035y\033[201~z", false);
	type(&t, "\035", 0);
	check_passed(&t, "", true);

	/* Nothing is held back in order to see a marker, or in a paste. */
	t.k = keys("ctrl-p,ctrl-q ~,.");
	type(&t, "\033", 0);
	check_passed(&t, "\033", false);
	type(&t, "[20", 0);
	type(&t, "0~", 0);
	check_passed(&t, "[200~", false);
	type(&t, "\020", 0);
	check_passed(&t, "\020", false);
	type(&t, "\021~.\033[201", 0);
	check_passed(&t, "\021~.\033[201", false);
	type(&t, "~.", 0);
	check_passed(&t, "~.", false);
	type(&t, "~.", 0);
	check_passed(&t, "", true);

	/* What was held back before comes before it. */
	t.k = keys("ctrl-[,x");
	type(&t, "\033", 0);
	check_passed(&t, "", false);
	type(&t, "[200~\033x\033[201~", 0);
	check_passed(&t, "\033[200~\033x\033[201~", false);

	/* No markers. */
	t.k = keys(NULL);
	type(&t, "\033[20\033[200x\033[201~\035", 0);
	check_passed(&t, "\033[20\033[200x\033[201~", true);
}

/* ---- against a simple reference ---- */

#define STREAM_MAX 200

struct stream {
	uint8_t bytes[STREAM_MAX];
	uint64_t times[STREAM_MAX];
	size_t n;
};

/* Byte i is part of a paste, or the last of the marker that begins it. */
static void find_pastes(const struct stream *s, bool *ret)
{
	size_t from = 0;
	memset(ret, 0, STREAM_MAX * sizeof(*ret));
	for (;;) {
		const uint8_t *begin = memmem(s->bytes + from, s->n - from, "\033[200~", 6);
		if (!begin)
			return;
		size_t first = (size_t)(begin - s->bytes) + 5;
		const uint8_t *end = memmem(s->bytes + first + 1, s->n - first - 1, "\033[201~", 6);
		size_t last = end ? (size_t)(end - s->bytes) + 5 : s->n - 1;
		for (size_t i = first; i <= last; i++)
			ret[i] = true;
		from = last + 1;
	}
}

/* From the first byte that was not delivered, of those that have come: true when it is a sequence. */
static bool resolve(const struct attach_keys *k, const struct stream *s, size_t *first, size_t end)
{
	for (; *first < end; (*first)++) {
		bool possible = false;
		for (size_t i = 0; i < k->n_sequences; i++) {
			size_t n = k->sequences[i].n, there = end - *first;
			if (memcmp(s->bytes + *first, k->sequences[i].keys,
				   n < there ? n : there) != 0)
				continue;
			if (n <= there)
				return true;
			possible = true;
		}
		if (possible)
			return false;
	}
	return false;
}

/* How many bytes are delivered by `now`; *ret: it has detached. */
static size_t reference(const struct attach_keys *k, const struct stream *s, uint64_t now,
			bool *ret)
{
	bool paste[STREAM_MAX];
	size_t first = 0;
	*ret = true;
	find_pastes(s, paste);
	for (size_t i = 0; i <= s->n; i++) {
		uint64_t time = i < s->n ? s->times[i] : now;
		while (first < i && s->times[first] + ATTACH_KEYS_HOLD_MS <= time) {
			first++;
			if (resolve(k, s, &first, i))
				return first;
		}
		if (i == s->n)
			break;
		if (paste[i])
			first = i + 1;
		else if (resolve(k, s, &first, i + 1))
			return first;
	}
	*ret = false;
	return first;
}

static void make_stream(struct stream *s)
{
	static const char *const pieces[] = { "a",	   "b",	      "c",    "ab", "abc",
					      "~",	   ".",	      "\033", "[",  "\033[200~",
					      "\033[201~", "\033[20", "0~",   "1~", "x",
					      "bc",	   "\020",    "\021" };
	uint64_t now = 1000;
	s->n = 0;
	for (int i = rand() % 40; i > 0; i--) {
		const char *piece = pieces[(size_t)rand() % ARRAY_SIZE(pieces)];
		for (; *piece; piece++) {
			/* Mostly together, sometimes late, and at the very limit. */
			static const unsigned waits[] = { 0, 0, 0, 1, 200, 499, 500, 501 };
			now += waits[(size_t)rand() % ARRAY_SIZE(waits)];
			s->bytes[s->n] = (uint8_t)*piece;
			s->times[s->n++] = now;
		}
	}
}

static void test_reference(void)
{
	static const char *const specifications[] = {
		"a,b,c",
		"a",
		"~,.",
		"a,b,c b,x",
		"a,a,b",
		"a,b,a,c",
		"ctrl-p,ctrl-q",
		"ctrl-[,x",
		"a,b,c,x b,c,~ c,c",
		"",
		"~",
		"a,b,c b",
	};
	for (unsigned round = 0; round < 60000; round++) {
		srand(round);
		struct typing t = {
			.k = keys(specifications[round % ARRAY_SIZE(specifications)]),
		};
		const struct attach_keys fresh = t.k;
		struct stream s;
		make_stream(&s);
		uint64_t now = s.n ? s.times[s.n - 1] + (unsigned)rand() % 600 : 0;
		/* Cut wherever the time changes, and anywhere else. */
		for (size_t i = 0, n; i < s.n; i += n) {
			n = 1;
			while (i + n < s.n && s.times[i + n] == s.times[i] && rand() % 3)
				n++;
			if (rand() % 4 == 0 && attach_keys_deadline(&t.k) < s.times[i])
				feed(&t, NULL, 0, attach_keys_deadline(&t.k));
			feed(&t, s.bytes + i, n, s.times[i]);
		}
		feed(&t, NULL, 0, now);
		bool detached;
		size_t n = reference(&fresh, &s, now, &detached);
		if (detached != t.k.detached || n != t.n)
			tap_note("round %u", round);
		CHECK_INT(t.k.detached, ==, detached);
		CHECK_MEM(t.passed, t.n, s.bytes, n);
	}
}

static const struct tap_test tests[] = {
	{ "what keys can be", test_specification },
	{ "sequences", test_sequences },
	{ "nothing waits longer than half a second", test_time },
	{ "pastes", test_paste },
	{ "against a reference", test_reference },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
