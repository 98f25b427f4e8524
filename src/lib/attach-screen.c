/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/attach-screen.h"

#include <string.h>

#include "base/macro.h"

#define CAN 0x18
#define ESC 0x1b

/* Far above any number that means something. */
#define NUMBER_MAX 99999

/* ---- questions ---- */

/* Colours, the font, the clipboard, with a question mark in place of a value. */
static bool is_command_question(const uint8_t *data, size_t n)
{
	unsigned number = 0;
	size_t i = 0;
	while (i < n && data[i] >= '0' && data[i] <= '9' && number <= NUMBER_MAX)
		number = number * 10 + (data[i++] - '0');
	bool asks = number == 4 || number == 5 || (number >= 10 && number <= 19) || number == 21 ||
		    number == 22 || number == 50 || number == 52;
	if (!asks)
		return false;
	/* An argument that is "?", or (21, kitty's colours) ends with "=?", or (22) begins so. */
	for (; i < n; i++) {
		if (data[i] != '?')
			continue;
		bool begins = data[i - 1] == ';' || (number == 21 && data[i - 1] == '=');
		bool ends = i + 1 == n || data[i + 1] == ';' || number == 22;
		if (begins && ends)
			return true;
	}
	return false;
}

/* DECRQSS, XTGETTCAP and XTGETXRES. */
static bool is_device_question(const uint8_t *data, size_t n)
{
	size_t i = 0;
	while (i < n && ((data[i] >= '0' && data[i] <= '9') || data[i] == ';'))
		i++;
	return i + 1 < n && ((data[i] == '$' && data[i + 1] == 'q') ||
			     (data[i] == '+' && (data[i + 1] == 'q' || data[i + 1] == 'Q')));
}

/* kitty's graphics, when it is asked whether it has them. */
static bool is_graphics_question(const uint8_t *data, size_t n)
{
	if (n == 0 || data[0] != 'G')
		return false;
	for (size_t i = 1; i + 2 < n && data[i] != ';'; i++)
		if (data[i] == 'a' && data[i + 1] == '=' && data[i + 2] == 'q')
			return true;
	return false;
}

/* The string that waits, but for its last bytes. What begins one has two bytes: ESC x, C2 xx. */
static bool is_string_question(const struct attach_screen *s, size_t tail)
{
	if (s->passing || s->n_held < 2 + tail)
		return false;
	const uint8_t *data = s->held + 2;
	size_t n = s->n_held - 2 - tail;
	switch (s->screen.string) {
	case ']':
		return is_command_question(data, n);
	case 'P':
		return is_device_question(data, n);
	case '_':
		return is_graphics_question(data, n);
	default:
		return false;
	}
}

/* ---- output ---- */

void attach_screen_init(struct attach_screen *s)
{
	memset(s, 0, offsetof(struct attach_screen, held));
}

void attach_screen_follow(struct attach_screen *s, const uint8_t *data, size_t n)
{
	screen_follow(&s->screen, data, n);
}

struct shown {
	uint8_t *data;
	size_t n;
};

static void show(struct shown *out, uint8_t byte)
{
	out->data[out->n++] = byte;
}

static void show_held(struct attach_screen *s, struct shown *out)
{
	memcpy(out->data + out->n, s->held, s->n_held);
	out->n += s->n_held;
	s->n_held = 0;
}

static void hold(struct attach_screen *s, uint8_t byte, struct shown *out)
{
	if (!s->passing && s->n_held == ATTACH_SCREEN_HOLD) {
		show_held(s, out);
		s->passing = true;
	}
	/* What may be the beginning of another sequence waits also in a string that passes. */
	if (s->passing)
		show_held(s, out);
	if (s->passing && s->screen.state != SCREEN_STRING_ESCAPE &&
	    s->screen.state != SCREEN_STRING_C2)
		show(out, byte);
	else
		s->held[s->n_held++] = byte;
}

/* Another sequence begins with `byte` in the middle of one. `state` is that of the old one. */
static void break_off(struct attach_screen *s, enum screen_state state, uint8_t byte,
		      struct shown *out)
{
	if (state == SCREEN_C2) {
		/* No sequence at all, just no UTF-8; unless what follows is left out, and what
		   comes after that makes one of it. */
		if (byte != ESC && byte != 0xc2)
			show_held(s, out);
		s->n_held = 0;
		return;
	}
	/* The terminal has a part of it: it has to know, in case the other one is left out. */
	if (s->passing)
		show(out, CAN);
	s->passing = false;
	s->n_held = 0;
	if (state == SCREEN_STRING_ESCAPE)
		hold(s, ESC, out);
	if (state == SCREEN_STRING_C2)
		hold(s, 0xc2, out);
}

/* The sequence is over. */
static void end(struct attach_screen *s, bool question, uint8_t byte, struct shown *out)
{
	if (question)
		s->n_held = 0;
	show_held(s, out);
	if (!question)
		show(out, byte);
	s->passing = false;
}

static void filter(struct attach_screen *s, uint8_t byte, struct shown *out)
{
	for (;;) {
		enum screen_state before = s->screen.state;
		switch (screen_step(&s->screen, byte)) {
		case SCREEN_BROKEN:
			break_off(s, before, byte, out);
			continue;
		case SCREEN_TEXT:
			show(out, byte);
			return;
		case SCREEN_OMIT:
			return;
		case SCREEN_WAIT:
			hold(s, byte, out);
			return;
		case SCREEN_PASS:
			end(s, false, byte, out);
			return;
		case SCREEN_QUESTION:
			end(s, true, byte, out);
			return;
		case SCREEN_END:
			end(s, is_string_question(s, 0), byte, out);
			return;
		case SCREEN_END_TWO:
			end(s, is_string_question(s, 1), byte, out);
			return;
		}
	}
}

size_t attach_screen_filter(struct attach_screen *s, const uint8_t *data, size_t n, uint8_t *out)
{
	struct shown shown = { .data = out };
	for (size_t i = 0; i < n; i++)
		filter(s, data[i], &shown);
	return shown.n;
}

size_t attach_screen_release(struct attach_screen *s, uint8_t *out)
{
	struct shown shown = { .data = out };
	show_held(s, &shown);
	s->passing = s->screen.state != SCREEN_GROUND;
	return shown.n;
}

size_t attach_screen_adjust(struct attach_screen *s, const void *wanted, size_t n, uint8_t *out)
{
	uint8_t has[SCREEN_MODES_BYTES], gets[SCREEN_MODES_BYTES];
	struct screen there = { 0 };
	/* In the middle of what the terminal has begun to read nothing can be put. */
	if (s->passing)
		return 0;
	/* They are a guest's bytes: what is written are ours, for what they mean. */
	screen_follow(&there, wanted, n);
	size_t n_has = screen_modes_redo(&s->screen.modes, has);
	size_t n_gets = screen_modes_redo(&there.modes, gets);
	if (n_has == n_gets && memcmp(has, gets, n_has) == 0)
		return 0;
	size_t n_undo = screen_modes_undo(&s->screen.modes, out);
	memcpy(out + n_undo, gets, n_gets);
	s->screen.modes = there.modes;
	return n_undo + n_gets;
}

size_t attach_screen_cancel(struct attach_screen *s, uint8_t *out)
{
	static const uint8_t cancel[ATTACH_SCREEN_CANCEL] = { CAN, ESC, '\\' };
	bool cut = s->screen.state != SCREEN_GROUND && s->screen.state != SCREEN_C2;
	s->screen.state = SCREEN_GROUND;
	s->passing = false;
	s->n_held = 0;
	if (!cut)
		return 0;
	/* Those who do not know CAN in strings take ST for their end; elsewhere that is nothing. */
	memcpy(out, cancel, sizeof(cancel));
	return sizeof(cancel);
}
