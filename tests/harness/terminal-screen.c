/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/terminal-private.h"

void terminal_buffer_add(struct terminal_buffer *b, const void *data, size_t n)
{
	if (b->size + n + 1 > b->capacity) {
		b->capacity = (b->size + n + 1) * 2;
		b->data = realloc(b->data, b->capacity);
		CHECK(b->data);
	}
	if (n > 0)
		memcpy(b->data + b->size, data, n);
	b->size += n;
	b->data[b->size] = 0;
}

void terminal_buffer_drop(struct terminal_buffer *b, size_t n)
{
	if (n == 0)
		return;
	memmove(b->data, b->data + n, b->size - n + 1);
	b->size -= n;
}

struct terminal_buffer *terminal_text(struct terminal *t)
{
	struct terminal_buffer *text = &t->texts[t->next_text++ % TERMINAL_TEXTS];
	text->size = 0;
	terminal_buffer_add(text, "", 0);
	return text;
}

/* ---- what the emulator tells ---- */

static void on_output(const char *s, size_t n, void *user)
{
	struct terminal *t = user;
	if (t->says == TERMINAL_PROBED) {
		terminal_buffer_add(&t->probed, s, n);
		return;
	}
	if (t->says == TERMINAL_ANSWERS)
		terminal_buffer_add(&t->answers, s, n);
	terminal_buffer_add(&t->to_program, s, n);
}

static int on_property(VTermProp property, VTermValue *value, void *user)
{
	struct terminal *t = user;
	switch (property) {
	case VTERM_PROP_CURSORVISIBLE:
		t->cursor_visible = value->boolean;
		break;
	case VTERM_PROP_ALTSCREEN:
		t->altscreen = value->boolean;
		break;
	case VTERM_PROP_REVERSE:
		t->reverse = value->boolean;
		break;
	case VTERM_PROP_MOUSE:
		t->mouse = value->number;
		break;
	case VTERM_PROP_TITLE:
		t->title.size = 0;
		terminal_buffer_add(&t->title, value->string, strlen(value->string));
		break;
	default:
		break;
	}
	return 1;
}

static int on_bell(void *user)
{
	struct terminal *t = user;
	t->bells++;
	return 1;
}

static const VTermScreenCallbacks screen_callbacks = {
	.settermprop = on_property,
	.bell = on_bell,
};

void terminal_screen_init(struct terminal *t)
{
	t->vterm = vterm_new((int)t->rows, (int)t->cols);
	CHECK(t->vterm);
	vterm_set_utf8(t->vterm, 1);
	vterm_output_set_callback(t->vterm, on_output, t);
	t->vterm_state = vterm_obtain_state(t->vterm);
	t->screen = vterm_obtain_screen(t->vterm);
	vterm_screen_set_callbacks(t->screen, &screen_callbacks, t);
	vterm_screen_enable_altscreen(t->screen, 1);
	vterm_screen_reset(t->screen, 1);
	terminal_buffer_add(&t->title, "", 0);
	terminal_buffer_add(&t->answers, "", 0);
	terminal_buffer_add(&t->log, "", 0);
}

void terminal_screen_done(struct terminal *t)
{
	vterm_free(t->vterm);
	free(t->title.data);
	free(t->probed.data);
	free(t->answers.data);
	free(t->to_program.data);
	free(t->log.data);
	for (size_t i = 0; i < TERMINAL_TEXTS; i++)
		free(t->texts[i].data);
}

void terminal_screen_feed(struct terminal *t, const char *data, size_t n)
{
	t->total += n;
	terminal_buffer_add(&t->log, data, n);
	if (t->log.size > TERMINAL_LOG_BYTES)
		terminal_buffer_drop(&t->log, t->log.size - TERMINAL_LOG_BYTES);
	vterm_input_write(t->vterm, data, n);
}

void terminal_wipe(struct terminal *t)
{
	static const char erase[] = "\033[2J";
	vterm_input_write(t->vterm, erase, sizeof(erase) - 1);
}

/* ---- cells ---- */

static void add_utf8(struct terminal_buffer *text, uint32_t c)
{
	char s[4];
	size_t n = 0;
	if (c < 0x80) {
		s[n++] = (char)c;
	} else if (c < 0x800) {
		s[n++] = (char)(0xc0 | c >> 6);
		s[n++] = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		s[n++] = (char)(0xe0 | c >> 12);
		s[n++] = (char)(0x80 | (c >> 6 & 0x3f));
		s[n++] = (char)(0x80 | (c & 0x3f));
	} else {
		s[n++] = (char)(0xf0 | (c >> 18 & 7));
		s[n++] = (char)(0x80 | (c >> 12 & 0x3f));
		s[n++] = (char)(0x80 | (c >> 6 & 0x3f));
		s[n++] = (char)(0x80 | (c & 0x3f));
	}
	terminal_buffer_add(text, s, n);
}

static VTermScreenCell get_cell(struct terminal *t, unsigned row, unsigned col)
{
	VTermScreenCell cell;
	CHECK_INT(row, <, t->rows);
	CHECK_INT(col, <, t->cols);
	CHECK(vterm_screen_get_cell(t->screen, (VTermPos){ .row = (int)row, .col = (int)col },
				    &cell));
	return cell;
}

static void add_cell(struct terminal_buffer *text, const VTermScreenCell *cell)
{
	for (size_t i = 0; i < VTERM_MAX_CHARS_PER_CELL && cell->chars[i]; i++)
		if (cell->chars[i] != UINT32_MAX) /* the second half of a wide character */
			add_utf8(text, cell->chars[i]);
}

static void add_row(struct terminal *t, struct terminal_buffer *text, unsigned row)
{
	size_t end = text->size;
	for (unsigned col = 0; col < t->cols; col++) {
		VTermScreenCell cell = get_cell(t, row, col);
		if (cell.chars[0])
			add_cell(text, &cell);
		else
			terminal_buffer_add(text, " ", 1);
		if (cell.chars[0] && cell.chars[0] != ' ' && cell.chars[0] != UINT32_MAX)
			end = text->size;
	}
	text->size = end;
	text->data[end] = 0;
}

const char *terminal_row(struct terminal *t, unsigned row)
{
	struct terminal_buffer *text = terminal_text(t);
	add_row(t, text, row);
	return text->data;
}

const char *terminal_screen(struct terminal *t)
{
	struct terminal_buffer *text = terminal_text(t);
	for (unsigned row = 0; row < t->rows; row++) {
		add_row(t, text, row);
		terminal_buffer_add(text, "\n", 1);
	}
	return text->data;
}

int terminal_find(struct terminal *t, const char *text, int *ret_col)
{
	for (unsigned row = 0; row < t->rows; row++) {
		const char *line = terminal_row(t, row);
		const char *at = strstr(line, text);
		if (!at)
			continue;
		int col = 0;
		for (const char *p = line; p < at; p++) /* of characters of one column each */
			col += ((unsigned char)*p & 0xc0) != 0x80;
		if (ret_col)
			*ret_col = col;
		return (int)row;
	}
	return -1;
}

bool terminal_has_text(struct terminal *t, const char *text)
{
	return terminal_find(t, text, NULL) >= 0;
}

static int colour(VTermColor c)
{
	if (VTERM_COLOR_IS_DEFAULT_FG(&c) || VTERM_COLOR_IS_DEFAULT_BG(&c))
		return TERMINAL_DEFAULT_COLOUR;
	if (VTERM_COLOR_IS_INDEXED(&c))
		return c.indexed.idx;
	return TERMINAL_RGB(c.rgb.red, c.rgb.green, c.rgb.blue);
}

struct terminal_cell terminal_cell(struct terminal *t, unsigned row, unsigned col)
{
	VTermScreenCell cell = get_cell(t, row, col);
	struct terminal_buffer *text = terminal_text(t);
	add_cell(text, &cell);
	struct terminal_cell ret = {
		.fg = colour(cell.fg),
		.bg = colour(cell.bg),
		.bold = cell.attrs.bold,
		.underline = cell.attrs.underline != 0,
		.italic = cell.attrs.italic,
		.blink = cell.attrs.blink,
		.reverse = cell.attrs.reverse,
		.strike = cell.attrs.strike,
	};
	snprintf(ret.text, sizeof(ret.text), "%s", text->data);
	return ret;
}

/* ---- modes ---- */

/* Some modes the emulator does not tell: but by what it would say. */
static void probe_begin(struct terminal *t)
{
	t->says = TERMINAL_PROBED;
	t->probed.size = 0;
	terminal_buffer_add(&t->probed, "", 0);
}

static bool probe_end(struct terminal *t, const char *said)
{
	t->says = TERMINAL_ANSWERS;
	return !strcmp(t->probed.data, said);
}

struct terminal_modes terminal_modes(struct terminal *t)
{
	VTermPos pos;
	vterm_state_get_cursorpos(t->vterm_state, &pos);
	struct terminal_modes modes = {
		.row = (unsigned)pos.row,
		.col = (unsigned)pos.col,
		.cursor_visible = t->cursor_visible,
		.alternate = t->altscreen,
		.reverse = t->reverse,
		.mouse = t->mouse,
	};
	probe_begin(t);
	vterm_keyboard_start_paste(t->vterm);
	modes.paste = probe_end(t, "\033[200~");
	probe_begin(t);
	vterm_state_focus_in(t->vterm_state);
	modes.focus = probe_end(t, "\033[I");
	probe_begin(t);
	vterm_keyboard_key(t->vterm, VTERM_KEY_UP, VTERM_MOD_NONE);
	modes.application_cursor = probe_end(t, "\033OA");
	probe_begin(t);
	vterm_keyboard_key(t->vterm, VTERM_KEY_KP_0, VTERM_MOD_NONE);
	modes.application_keypad = !probe_end(t, "0");
	return modes;
}

const char *terminal_title(struct terminal *t)
{
	return t->title.data;
}

unsigned terminal_bells(struct terminal *t)
{
	return t->bells;
}

const char *terminal_answers(struct terminal *t, size_t *ret_bytes)
{
	if (ret_bytes)
		*ret_bytes = t->answers.size;
	return t->answers.data;
}

const char *terminal_log(struct terminal *t, size_t *ret_bytes)
{
	if (ret_bytes)
		*ret_bytes = t->log.size;
	return t->log.data;
}

uint64_t terminal_bytes(struct terminal *t)
{
	return t->total;
}

void terminal_forget(struct terminal *t)
{
	terminal_buffer_drop(&t->log, t->log.size);
	terminal_buffer_drop(&t->answers, t->answers.size);
}

/* ---- a picture ---- */

void terminal_dump(struct terminal *t)
{
	struct terminal_modes m = terminal_modes(t);
	tap_note("terminal of %u rows and %u columns; cursor at %u, %u%s%s%s%s%s", t->rows, t->cols,
		 m.row, m.col, m.cursor_visible ? "" : ", hidden",
		 m.alternate ? ", 2nd screen" : "", m.mouse ? ", mouse" : "",
		 m.paste ? ", paste in brackets" : "",
		 t->state == TERMINAL_ENDED ? "; its program has ended" : "");
	for (unsigned row = 0; row < t->rows; row++)
		tap_note("%3u |%s", row, terminal_row(t, row));

	static const char hex[] = "0123456789abcdef";
	char text[4 * 256 + 1], *p = text;
	size_t n = MIN(t->log.size, (size_t)256);
	for (const char *s = t->log.data + t->log.size - n; n > 0; n--, s++) {
		unsigned char c = (unsigned char)*s;
		if (c >= ' ' && c < 0x7f) {
			*p++ = (char)c;
			continue;
		}
		*p++ = '\\';
		*p++ = 'x';
		*p++ = hex[c >> 4];
		*p++ = hex[c & 15];
	}
	*p = 0;
	tap_note("the last of %llu bytes: %s", (unsigned long long)t->total, text);
}
