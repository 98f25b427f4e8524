/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/attach-screen.h"

#include <string.h>

#include "base/macro.h"

#define ENQ 0x05
#define BEL 0x07
#define CAN 0x18
#define SUB 0x1a
#define ESC 0x1b

/* Far above any number that means something. */
#define PARAM_MAX 99999

/* What becomes of a byte, and of those before it that wait. */
enum verdict {
	VERDICT_TEXT, /* it stands for itself; nothing waits, or goes on waiting */
	VERDICT_OMIT, /* it is a question by itself */
	VERDICT_WAIT, /* the sequence goes on */
	VERDICT_PASS, /* the sequence ends with it */
	VERDICT_DROP, /* the same, and is a question */
	/* What waits was broken off before it: the byte is to be looked at again. */
	VERDICT_BROKEN,
};

/* ---- questions ---- */

/* Control sequences that a terminal answers. */
static const struct {
	char prefix;
	char intermediate;
	char final;
} questions[] = {
	{ 0, 0, 'c' },			    /* DA1: what are you */
	{ '>', 0, 'c' },		    /* DA2 */
	{ '=', 0, 'c' },		    /* DA3 */
	{ 0, 0, 'n' },			    /* DSR: status, where is the cursor */
	{ '?', 0, 'n' },		    /* of DEC */
	{ 0, '$', 'p' },		    /* DECRQM: is this mode set */
	{ '?', '$', 'p' }, { '>', 0, 'q' }, /* XTVERSION */
	{ '?', 0, 'u' },		    /* kitty's keyboard flags */
	{ '?', 0, 'm' },		    /* XTQMODKEYS */
	{ '?', 0, 'S' },		    /* XTSMGRAPHICS */
	{ 0, 0, 'x' },			    /* DECREQTPARM */
	{ 0, '$', 'u' },		    /* DECRQTSR, … */
	{ 0, '&', 'u' },   { 0, '$', 'w' }, /* DECRQPSR */
	{ 0, '*', 'y' },		    /* DECRQCRA */
	{ 0, '\'', '|' },		    /* DECRQLP */
	{ 0, '#', '|' },		    /* XTREPORTSGR */
	{ 0, '#', 'R' },		    /* XTREPORTCOLORS */
};

static bool is_window_report(const struct attach_control *c)
{
	/* Of the window and the screen: state, place, size, title. The others change them. */
	unsigned what = c->n_params > 0 ? c->params[0] : 0;
	return c->final == 't' && !c->prefix && !c->intermediate && what >= 11 && what <= 21 &&
	       what != 12 && what != 17;
}

static bool is_control_question(const struct attach_control *c)
{
	if (c->n_intermediates > 1)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(questions); i++)
		if (questions[i].prefix == (char)c->prefix &&
		    questions[i].intermediate == (char)c->intermediate &&
		    questions[i].final == (char)c->final)
			return true;
	return is_window_report(c);
}

/* Colours, the font, the clipboard, with a question mark in place of a value. */
static bool is_command_question(const uint8_t *data, size_t n)
{
	unsigned number = 0;
	size_t i = 0;
	while (i < n && data[i] >= '0' && data[i] <= '9' && number <= PARAM_MAX)
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
	switch (s->string) {
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

/* ---- the parser: one byte ---- */

static enum verdict end_sequence(struct attach_screen *s, bool question)
{
	s->state = SCREEN_GROUND;
	return question ? VERDICT_DROP : VERDICT_PASS;
}

static enum verdict begin(struct attach_screen *s, enum attach_screen_state state)
{
	s->control = (struct attach_control){ 0 };
	s->state = state;
	return VERDICT_WAIT;
}

/* A C0 control, which is obeyed wherever it stands, but in strings. */
static enum verdict execute(struct attach_screen *s, uint8_t byte)
{
	if (byte == ENQ)
		return VERDICT_OMIT;
	attach_modes_execute(&s->modes, byte);
	return VERDICT_TEXT;
}

/* The second byte after ESC; or a C1 control, which is the same. */
static enum verdict escape_final(struct attach_screen *s, uint8_t byte)
{
	bool begins = memchr("[]PX^_", byte, 6) != NULL;
	/* With an intermediate it is nothing, but some terminals take it for what it looks like. */
	if (byte == 'Z' /* DECID */ || (begins && s->control.n_intermediates > 0))
		return end_sequence(s, true);
	if (begins) {
		s->string = byte;
		return begin(s, byte == '[' ? SCREEN_CONTROL : SCREEN_STRING);
	}
	if (s->control.n_intermediates <= 1)
		attach_modes_escape(&s->modes, s->control.intermediate, byte);
	return end_sequence(s, false);
}

static enum verdict ground(struct attach_screen *s, uint8_t byte)
{
	if (byte == ESC)
		return begin(s, SCREEN_ESCAPE);
	if (byte == 0xc2)
		return begin(s, SCREEN_C2);
	return byte < 0x20 ? execute(s, byte) : VERDICT_TEXT;
}

static enum verdict after_c2(struct attach_screen *s, uint8_t byte)
{
	if (byte == ENQ) /* what is around it is joined */
		return VERDICT_OMIT;
	if (byte >= 0x80 && byte <= 0x9f)
		return escape_final(s, byte - 0x40);
	s->state = SCREEN_GROUND;
	return byte >= 0xa0 && byte <= 0xbf ? VERDICT_PASS : VERDICT_BROKEN;
}

/* What ESC and CSI sequences have in common. True: *ret is the verdict. */
static bool in_sequence(struct attach_screen *s, uint8_t byte, enum verdict *ret)
{
	if (byte == CAN || byte == SUB) {
		*ret = end_sequence(s, false);
	} else if (byte == ESC || byte >= 0x80) {
		s->state = SCREEN_GROUND;
		*ret = VERDICT_BROKEN;
	} else if (byte < 0x20) {
		*ret = execute(s, byte);
	} else if (byte < 0x30) {
		s->control.intermediate = byte;
		s->control.n_intermediates += s->control.n_intermediates < 2;
		*ret = VERDICT_WAIT;
	} else if (byte == 0x7f) {
		*ret = VERDICT_WAIT;
	} else {
		return false;
	}
	return true;
}

static enum verdict escape(struct attach_screen *s, uint8_t byte)
{
	enum verdict verdict;
	return in_sequence(s, byte, &verdict) ? verdict : escape_final(s, byte);
}

static void add_digit(struct attach_control *c, uint8_t byte)
{
	if (c->n_params == 0)
		c->n_params = 1;
	unsigned *p = &c->params[c->n_params - 1];
	if (!c->colons[c->n_params - 1])
		*p = MIN(*p * 10 + (byte - '0'), (unsigned)PARAM_MAX);
}

static enum verdict control(struct attach_screen *s, uint8_t byte)
{
	struct attach_control *c = &s->control;
	enum verdict verdict;
	if (in_sequence(s, byte, &verdict))
		return verdict;
	if (byte >= 0x40) {
		c->final = byte;
		attach_modes_control(&s->modes, c);
		return end_sequence(s, is_control_question(c));
	}
	if (byte >= '<') {
		c->prefix = byte;
	} else if (byte == ';') {
		/* Of too many, the last takes the place of the one before. */
		c->n_params = MAX(c->n_params, 1u);
		c->n_params += c->n_params < ATTACH_PARAMS_MAX;
		c->params[c->n_params - 1] = 0;
		c->colons[c->n_params - 1] = false;
	} else if (byte == ':') {
		c->n_params = MAX(c->n_params, 1u);
		c->colons[c->n_params - 1] = true;
	} else {
		add_digit(c, byte);
	}
	return VERDICT_WAIT;
}

static enum verdict string(struct attach_screen *s, uint8_t byte)
{
	if (byte == CAN || byte == SUB)
		return end_sequence(s, false);
	if (byte == ENQ) /* to be sure: not all agree where a string is */
		return VERDICT_OMIT;
	if (byte == BEL && s->string == ']')
		return end_sequence(s, is_string_question(s, 0));
	if (byte == ESC || byte == 0xc2)
		s->state = byte == ESC ? SCREEN_STRING_ESCAPE : SCREEN_STRING_C2;
	return VERDICT_WAIT;
}

static enum verdict string_c2(struct attach_screen *s, uint8_t byte)
{
	if (byte == ENQ)
		return VERDICT_OMIT;
	if (byte == 0x9c)
		return end_sequence(s, is_string_question(s, 1));
	if (byte < 0x80 || byte > 0x9f) {
		s->state = SCREEN_STRING;
		return string(s, byte);
	}
	/* To some terminals other C1 controls are the end of a string, and the beginning of what they are. */
	begin(s, SCREEN_C2);
	return VERDICT_BROKEN;
}

static enum verdict step(struct attach_screen *s, uint8_t byte)
{
	switch (s->state) {
	case SCREEN_GROUND:
		return ground(s, byte);
	case SCREEN_C2:
		return after_c2(s, byte);
	case SCREEN_ESCAPE:
		return escape(s, byte);
	case SCREEN_CONTROL:
		return control(s, byte);
	case SCREEN_STRING:
		return string(s, byte);
	case SCREEN_STRING_ESCAPE:
		if (byte == '\\')
			return end_sequence(s, is_string_question(s, 1));
		begin(s, SCREEN_ESCAPE);
		return VERDICT_BROKEN;
	case SCREEN_STRING_C2:
		return string_c2(s, byte);
	}
	return VERDICT_TEXT;
}

/* ---- output ---- */

void attach_screen_init(struct attach_screen *s)
{
	memset(s, 0, offsetof(struct attach_screen, held));
}

void attach_screen_follow(struct attach_screen *s, const uint8_t *data, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (step(s, data[i]) == VERDICT_BROKEN)
			(void)step(s, data[i]);
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
	if (s->passing && s->state != SCREEN_STRING_ESCAPE && s->state != SCREEN_STRING_C2)
		show(out, byte);
	else
		s->held[s->n_held++] = byte;
}

/* Another sequence begins with `byte` in the middle of one. `state` is that of the old one. */
static void break_off(struct attach_screen *s, enum attach_screen_state state, uint8_t byte,
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

static void filter(struct attach_screen *s, uint8_t byte, struct shown *out)
{
	for (;;) {
		enum attach_screen_state before = s->state;
		switch (step(s, byte)) {
		case VERDICT_BROKEN:
			break_off(s, before, byte, out);
			continue;
		case VERDICT_TEXT:
			show(out, byte);
			return;
		case VERDICT_OMIT:
			return;
		case VERDICT_WAIT:
			hold(s, byte, out);
			return;
		case VERDICT_PASS:
			show_held(s, out);
			show(out, byte);
			s->passing = false;
			return;
		case VERDICT_DROP:
			s->n_held = 0;
			s->passing = false;
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
	s->passing = s->state != SCREEN_GROUND;
	return shown.n;
}

size_t attach_screen_cancel(struct attach_screen *s, uint8_t *out)
{
	static const uint8_t cancel[ATTACH_SCREEN_CANCEL] = { CAN, ESC, '\\' };
	bool cut = s->state != SCREEN_GROUND && s->state != SCREEN_C2;
	s->state = SCREEN_GROUND;
	s->passing = false;
	s->n_held = 0;
	if (!cut)
		return 0;
	/* Those who do not know CAN in strings take ST for their end; elsewhere that is nothing. */
	memcpy(out, cancel, sizeof(cancel));
	return sizeof(cancel);
}
