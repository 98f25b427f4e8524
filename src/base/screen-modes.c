/* SPDX-License-Identifier: Apache-2.0 */
#include "base/screen-modes.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/macro.h"

/* DEC's private modes, and those that others have added. */
static const struct {
	uint16_t number;
	bool usual; /* on after a reset */
} private_modes[] = {
	{ 1, false },	 /* cursor keys for applications */
	{ 5, false },	 /* the whole screen reversed */
	{ 7, true },	 /* lines wrap */
	{ 9, false },	 /* the mouse, as X10 */
	{ 12, false },	 /* the cursor blinks */
	{ 25, true },	 /* the cursor is visible */
	{ 66, false },	 /* the keypad for applications */
	{ 69, false },	 /* margins at the sides */
	{ 1000, false }, /* the mouse: buttons, … */
	{ 1001, false },
	{ 1002, false },
	{ 1003, false },
	{ 1004, false }, /* says when it gets and loses the focus */
	{ 1005, false }, /* how the mouse is reported */
	{ 1006, false },
	{ 1007, false }, /* the wheel as cursor keys */
	{ 1015, false },
	{ 1016, false },
	{ 2004, false }, /* bracketed paste */
	{ 2026, false }, /* shows nothing until it is reset */
	{ 2031, false }, /* says when its colours change */
	{ 2048, false }, /* says when its size changes */
	/* The second screen. */
	{ 47, false },
	{ 1047, false },
	{ 1049, false },
};
#define SECOND_SCREEN_FIRST (ARRAY_SIZE(private_modes) - 3)
#define SECOND_SCREEN_MASK  (7u << SECOND_SCREEN_FIRST)
#define ORIGIN_MODE	    6
#define SAVE_CURSOR_MODE    1048

/* Keyboard locked, insert, line feed with carriage return. */
static const uint8_t ansi_modes[] = { 2, 4, 20 };

static bool on_second_screen(const struct screen_modes *m)
{
	return (m->private_modes & SECOND_SCREEN_MASK) != 0;
}

/* ---- learning ---- */

static void reset(struct screen_modes *m)
{
	*m = (struct screen_modes){ 0 };
}

/* DECSTR, as xterm does it: not the mouse, not the screen. */
static void soft_reset(struct screen_modes *m)
{
	static const uint16_t numbers[] = { 1, 7, 25, 66 };
	for (size_t i = 0; i < ARRAY_SIZE(private_modes); i++)
		for (size_t k = 0; k < ARRAY_SIZE(numbers); k++)
			if (private_modes[i].number == numbers[k])
				m->private_modes &= ~(1u << i);
	m->ansi_modes = 0;
	m->keypad = false;
	m->top = m->bottom = 0;
	m->cursor = m->saved = (struct screen_cursor){ 0 };
}

void screen_modes_execute(struct screen_modes *m, uint8_t control)
{
	if (control == 0x0e || control == 0x0f)
		m->cursor.shifted = control == 0x0e;
}

void screen_modes_escape(struct screen_modes *m, uint8_t intermediate, uint8_t final)
{
	if (intermediate == '(') {
		m->cursor.charset = final != 'B';
		return;
	}
	if (intermediate)
		return;
	if (final == 'c')
		reset(m);
	else if (final == '7')
		m->saved = m->cursor;
	else if (final == '8')
		m->cursor = m->saved;
	else if (final == '=' || final == '>')
		m->keypad = final == '=';
}

static void set_private(struct screen_modes *m, unsigned number, bool on)
{
	if (number == ORIGIN_MODE)
		m->cursor.origin = on;
	if (number == SAVE_CURSOR_MODE || number == 1049) {
		if (on)
			m->saved = m->cursor;
		else
			m->cursor = m->saved;
	}
	for (size_t i = 0; i < ARRAY_SIZE(private_modes); i++) {
		if (private_modes[i].number != number)
			continue;
		/* There is one second screen, by whichever number it was left. */
		if (!on && i >= SECOND_SCREEN_FIRST)
			m->private_modes &= ~SECOND_SCREEN_MASK;
		else if (on != private_modes[i].usual)
			m->private_modes |= 1u << i;
		else
			m->private_modes &= ~(1u << i);
	}
}

static void set_modes(struct screen_modes *m, const struct screen_control *c)
{
	bool on = c->final == 'h';
	for (unsigned i = 0; i < c->n_params; i++) {
		if (c->prefix == '?') {
			set_private(m, c->params[i], on);
			continue;
		}
		for (size_t k = 0; k < ARRAY_SIZE(ansi_modes); k++)
			if (ansi_modes[k] == c->params[i])
				m->ansi_modes = (m->ansi_modes & ~(1u << k)) | (unsigned)on << k;
	}
}

/*
 * Whether anything but the usual is set is only known after a reset of everything, which is what
 * programs end with. In doubt it is set.
 */
static void set_style(struct screen_modes *m, const struct screen_control *c)
{
	if (c->n_params == 0)
		m->cursor.style = false;
	for (unsigned i = 0; i < c->n_params; i++) {
		unsigned n = c->params[i];
		m->cursor.style = n != 0 || c->colons[i];
		if (c->colons[i] || (n != 38 && n != 48 && n != 58) || i + 1 == c->n_params)
			continue;
		/* A colour: 5 and its number, or 2 and three of them. */
		i += c->params[i + 1] == 5 ? 2 : c->params[i + 1] == 2 ? 4 : 0;
	}
}

static unsigned param(const struct screen_control *c, unsigned i, unsigned otherwise)
{
	return i < c->n_params && c->params[i] ? c->params[i] : otherwise;
}

static void set_keyboard(struct screen_modes *m, const struct screen_control *c)
{
	struct screen_keyboard *k = &m->keyboards[on_second_screen(m)];
	uint8_t flags = (uint8_t)param(c, 0, 0);
	if (c->prefix == '=') {
		unsigned how = param(c, 1, 1);
		k->flags = how == 2 ? k->flags | flags : how == 3 ? k->flags & ~flags : flags;
	} else if (c->prefix == '>') {
		/* The oldest is the one that is forgotten, by terminals too. */
		memmove(k->stack + 1, k->stack, sizeof(k->stack) - sizeof(k->stack[0]));
		k->stack[0] = k->flags;
		k->flags = flags;
		k->pushed = MIN(k->pushed + 1, (unsigned)SCREEN_KEYBOARDS_MAX);
	} else if (c->prefix == '<') {
		for (unsigned n = MIN(param(c, 0, 1), k->pushed + 1); n > 0; n--) {
			k->flags = k->pushed > 0 ? k->stack[0] : 0;
			memmove(k->stack, k->stack + 1, sizeof(k->stack) - sizeof(k->stack[0]));
			k->stack[SCREEN_KEYBOARDS_MAX - 1] = 0;
			k->pushed -= k->pushed > 0;
		}
	}
}

static void set_modify_keys(struct screen_modes *m, const struct screen_control *c)
{
	if (c->final == 'm' && (c->n_params == 0 || c->params[0] == 4))
		m->modify_keys = param(c, 1, 0);
	else if (c->final == 'n' && param(c, 0, 2) == 4)
		m->modify_keys = 0;
}

static void plain_control(struct screen_modes *m, const struct screen_control *c)
{
	switch (c->final) {
	case 'm':
		set_style(m, c);
		break;
	case 'r':
		m->top = param(c, 0, 0);
		m->bottom = param(c, 1, 0);
		break;
	case 's':
		m->saved = m->cursor;
		break;
	case 'u':
		m->cursor = m->saved;
		break;
	}
}

void screen_modes_control(struct screen_modes *m, const struct screen_control *c)
{
	if (c->n_intermediates > 1)
		return;
	if (c->intermediate == '!' && c->final == 'p')
		soft_reset(m);
	if (c->intermediate == ' ' && c->final == 'q')
		m->cursor_shape = param(c, 0, 0);
	if (c->intermediate)
		return;
	if ((c->final == 'h' || c->final == 'l') && (!c->prefix || c->prefix == '?'))
		set_modes(m, c);
	else if (c->final == 'u' && c->prefix)
		set_keyboard(m, c);
	else if (c->prefix == '>')
		set_modify_keys(m, c);
	else if (!c->prefix)
		plain_control(m, c);
}

/* ---- putting back ---- */

struct writer {
	uint8_t *out;
	size_t n;
};

static void put(struct writer *w, const char *format, ...) _printf_(2, 3);

static void put(struct writer *w, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int n = vsnprintf((char *)w->out + w->n, SCREEN_MODES_BYTES - w->n, format, args);
	va_end(args);
	assert(n >= 0 && (size_t)n < SCREEN_MODES_BYTES - w->n);
	w->n += (size_t)n;
}

static void put_private(struct writer *w, const struct screen_modes *m, size_t first, size_t end,
			bool undo)
{
	for (size_t i = first; i < end; i++)
		if (m->private_modes & 1u << i)
			put(w, "\033[?%u%c", private_modes[i].number,
			    private_modes[i].usual == undo ? 'h' : 'l');
}

static void put_ansi(struct writer *w, const struct screen_modes *m, bool undo)
{
	for (size_t i = 0; i < ARRAY_SIZE(ansi_modes); i++)
		if (m->ansi_modes & 1u << i)
			put(w, "\033[%u%c", ansi_modes[i], undo ? 'l' : 'h');
}

static void undo_keyboard(struct writer *w, const struct screen_keyboard *k)
{
	if (k->pushed > 0)
		put(w, "\033[<%uu", k->pushed);
	if (k->pushed > 0 ? k->stack[k->pushed - 1] : k->flags)
		put(w, "\033[=0u");
}

static void redo_keyboard(struct writer *w, const struct screen_keyboard *k)
{
	uint8_t first = k->pushed > 0 ? k->stack[k->pushed - 1] : k->flags;
	if (first)
		put(w, "\033[=%uu", first);
	for (unsigned i = k->pushed; i > 0; i--)
		put(w, "\033[>%uu", i > 1 ? k->stack[i - 2] : k->flags);
}

size_t screen_modes_undo(const struct screen_modes *m, uint8_t out[static SCREEN_MODES_BYTES])
{
	struct writer w = { .out = out };
	bool second = on_second_screen(m);
	/* What the first screen gets back with the cursor counts, too. */
	const struct screen_cursor none = { 0 }, *saved = second ? &m->saved : &none;

	if (second)
		undo_keyboard(&w, &m->keyboards[1]);
	put_private(&w, m, SECOND_SCREEN_FIRST, ARRAY_SIZE(private_modes), true);
	undo_keyboard(&w, &m->keyboards[0]);
	/* After that: there are terminals that put more away with a screen than its cursor's place. */
	put_private(&w, m, 0, SECOND_SCREEN_FIRST, true);
	put_ansi(&w, m, true);
	if (m->keypad)
		put(&w, "\033>");
	if (m->modify_keys)
		put(&w, "\033[>4m");
	if (m->cursor_shape)
		put(&w, "\033[0 q");

	/* Resetting these moves the cursor to the top: it goes back to its place, or to the end. */
	bool origin = m->cursor.origin || saved->origin;
	bool region = m->top || m->bottom;
	if (region)
		put(&w, origin ? "\033[r" : "\0337\033[r\0338");
	if (origin)
		put(&w, "\033[?6l\033[9999;1H");
	if (m->cursor.charset || saved->charset)
		put(&w, "\033(B");
	if (m->cursor.shifted || saved->shifted)
		put(&w, "\017");
	if (m->cursor.style || saved->style)
		put(&w, "\033[m");
	return w.n;
}

size_t screen_modes_redo(const struct screen_modes *m, uint8_t out[static SCREEN_MODES_BYTES])
{
	struct writer w = { .out = out };
	redo_keyboard(&w, &m->keyboards[0]);
	put_private(&w, m, SECOND_SCREEN_FIRST, ARRAY_SIZE(private_modes), false);
	if (on_second_screen(m))
		redo_keyboard(&w, &m->keyboards[1]);
	put_private(&w, m, 0, SECOND_SCREEN_FIRST, false);
	put_ansi(&w, m, false);
	if (m->keypad)
		put(&w, "\033=");
	if (m->modify_keys)
		put(&w, "\033[>4;%um", m->modify_keys);
	if (m->cursor_shape)
		put(&w, "\033[%u q", m->cursor_shape);
	if (m->top || m->bottom) /* 0 is the first and the last line */
		put(&w, "\0337\033[%u;%ur\0338", m->top, m->bottom);
	if (m->cursor.origin)
		put(&w, "\033[?6h");
	if (m->cursor.charset)
		put(&w, "\033(0");
	if (m->cursor.shifted)
		put(&w, "\016");
	return w.n;
}
