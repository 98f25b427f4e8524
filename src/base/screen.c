/* SPDX-License-Identifier: Apache-2.0 */
#include "base/screen.h"

#include <string.h>

#include "base/macro.h"

#define ENQ 0x05
#define BEL 0x07
#define CAN 0x18
#define SUB 0x1a
#define ESC 0x1b

/* Far above any number that means something. */
#define PARAM_MAX 99999

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

static bool is_window_report(const struct screen_control *c)
{
	/* Of the window and the screen: state, place, size, title. The others change them. */
	unsigned what = c->n_params > 0 ? c->params[0] : 0;
	return c->final == 't' && !c->prefix && !c->intermediate && what >= 11 && what <= 21 &&
	       what != 12 && what != 17;
}

static bool is_control_question(const struct screen_control *c)
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

/* ---- the parser: one byte ---- */

static enum screen_verdict end_sequence(struct screen *s, bool question)
{
	s->state = SCREEN_GROUND;
	return question ? SCREEN_QUESTION : SCREEN_PASS;
}

static enum screen_verdict end_string(struct screen *s, enum screen_verdict how)
{
	s->state = SCREEN_GROUND;
	return how;
}

static enum screen_verdict begin(struct screen *s, enum screen_state state)
{
	s->control = (struct screen_control){ 0 };
	s->state = state;
	return SCREEN_WAIT;
}

/* A C0 control, which is obeyed wherever it stands, but in strings. */
static enum screen_verdict execute(struct screen *s, uint8_t byte)
{
	if (byte == ENQ)
		return SCREEN_OMIT;
	screen_modes_execute(&s->modes, byte);
	return SCREEN_TEXT;
}

/* The second byte after ESC; or a C1 control, which is the same. */
static enum screen_verdict escape_final(struct screen *s, uint8_t byte)
{
	static const uint8_t beginnings[] = { '[', ']', 'P', 'X', '^', '_' };
	bool begins = memchr(beginnings, byte, sizeof(beginnings)) != NULL;
	/* With an intermediate it is nothing, but some terminals take it for what it looks like. */
	if (byte == 'Z' /* DECID */ || (begins && s->control.n_intermediates > 0))
		return end_sequence(s, true);
	if (begins) {
		s->string = byte;
		return begin(s, byte == '[' ? SCREEN_CONTROL : SCREEN_STRING);
	}
	if (s->control.n_intermediates <= 1)
		screen_modes_escape(&s->modes, s->control.intermediate, byte);
	return end_sequence(s, false);
}

static enum screen_verdict ground(struct screen *s, uint8_t byte)
{
	if (byte == ESC)
		return begin(s, SCREEN_ESCAPE);
	if (byte == 0xc2)
		return begin(s, SCREEN_C2);
	return byte < 0x20 ? execute(s, byte) : SCREEN_TEXT;
}

static enum screen_verdict after_c2(struct screen *s, uint8_t byte)
{
	if (byte == ENQ) /* what is around it is joined */
		return SCREEN_OMIT;
	if (byte >= 0x80 && byte <= 0x9f)
		return escape_final(s, byte - 0x40);
	s->state = SCREEN_GROUND;
	return byte >= 0xa0 && byte <= 0xbf ? SCREEN_PASS : SCREEN_BROKEN;
}

/* What ESC and CSI sequences have in common. True: *ret is the verdict. */
static bool in_sequence(struct screen *s, uint8_t byte, enum screen_verdict *ret)
{
	if (byte == CAN || byte == SUB) {
		*ret = end_sequence(s, false);
	} else if (byte == ESC || byte >= 0x80) {
		s->state = SCREEN_GROUND;
		*ret = SCREEN_BROKEN;
	} else if (byte < 0x20) {
		*ret = execute(s, byte);
	} else if (byte < 0x30) {
		s->control.intermediate = byte;
		s->control.n_intermediates += s->control.n_intermediates < 2;
		*ret = SCREEN_WAIT;
	} else if (byte == 0x7f) {
		*ret = SCREEN_WAIT;
	} else {
		return false;
	}
	return true;
}

static enum screen_verdict escape(struct screen *s, uint8_t byte)
{
	enum screen_verdict verdict;
	return in_sequence(s, byte, &verdict) ? verdict : escape_final(s, byte);
}

static void add_digit(struct screen_control *c, uint8_t byte)
{
	if (c->n_params == 0)
		c->n_params = 1;
	unsigned *p = &c->params[c->n_params - 1];
	if (!c->colons[c->n_params - 1])
		*p = MIN(*p * 10 + (byte - '0'), (unsigned)PARAM_MAX);
}

static enum screen_verdict control(struct screen *s, uint8_t byte)
{
	struct screen_control *c = &s->control;
	enum screen_verdict verdict;
	if (in_sequence(s, byte, &verdict))
		return verdict;
	if (byte >= 0x40) {
		c->final = byte;
		screen_modes_control(&s->modes, c);
		return end_sequence(s, is_control_question(c));
	}
	if (byte >= '<') {
		c->prefix = byte;
	} else if (byte == ';') {
		/* Of too many, the last takes the place of the one before. */
		c->n_params = MAX(c->n_params, 1u);
		c->n_params += c->n_params < SCREEN_PARAMS_MAX;
		c->params[c->n_params - 1] = 0;
		c->colons[c->n_params - 1] = false;
	} else if (byte == ':') {
		c->n_params = MAX(c->n_params, 1u);
		c->colons[c->n_params - 1] = true;
	} else {
		add_digit(c, byte);
	}
	return SCREEN_WAIT;
}

static enum screen_verdict string(struct screen *s, uint8_t byte)
{
	if (byte == CAN || byte == SUB)
		return end_sequence(s, false);
	if (byte == ENQ) /* to be sure: not all agree where a string is */
		return SCREEN_OMIT;
	if (byte == BEL && s->string == ']')
		return end_string(s, SCREEN_END);
	if (byte == ESC || byte == 0xc2)
		s->state = byte == ESC ? SCREEN_STRING_ESCAPE : SCREEN_STRING_C2;
	return SCREEN_WAIT;
}

static enum screen_verdict string_c2(struct screen *s, uint8_t byte)
{
	if (byte == ENQ)
		return SCREEN_OMIT;
	if (byte == 0x9c)
		return end_string(s, SCREEN_END_TWO);
	if (byte < 0x80 || byte > 0x9f) {
		s->state = SCREEN_STRING;
		return string(s, byte);
	}
	/* To some terminals other C1 controls are the end of a string, and the beginning of what they are. */
	begin(s, SCREEN_C2);
	return SCREEN_BROKEN;
}

enum screen_verdict screen_step(struct screen *s, uint8_t byte)
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
			return end_string(s, SCREEN_END_TWO);
		begin(s, SCREEN_ESCAPE);
		return SCREEN_BROKEN;
	case SCREEN_STRING_C2:
		return string_c2(s, byte);
	}
	return SCREEN_TEXT;
}

void screen_follow(struct screen *s, const void *data, size_t n)
{
	const uint8_t *p = data, *end = p + n;
	while (p < end) {
		/* Most of it is text: bytes that begin nothing and do nothing. */
		if (s->state == SCREEN_GROUND) {
			while (p < end && *p >= 0x20 && *p != 0xc2)
				p++;
			if (p == end)
				return;
		}
		if (screen_step(s, *p) == SCREEN_BROKEN)
			(void)screen_step(s, *p);
		p++;
	}
}
