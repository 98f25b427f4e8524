/* SPDX-License-Identifier: Apache-2.0 */

/*
 * docs/protocol.md against the engine: the tables of types and limits, and each example frame. An
 * engine brought into the place of the example's sender must write its bytes, and one in the
 * place of the receiver must find its fields in them.
 */

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/macro.h"
#include "harness/tap.h"
#include "pair.h"
#include "wire/link-internal.h"
#include "wire/message.h"

/* ---- the document ---- */

#define CELLS_MAX 8

static char *document(void)
{
	static char text[256 * 1024];
	const char *source = getenv("COVE_SOURCE_DIR");
	char path[4096];
	CHECK(source);
	snprintf(path, sizeof(path), "%s/docs/protocol.md", source);
	_cleanup_close_ int fd = (int)CHECK_SYS(open(path, O_RDONLY | O_CLOEXEC));
	size_t n = 0;
	ssize_t r;
	while ((r = read(fd, text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)r;
	CHECK_INT(n, <, sizeof(text) - 1);
	text[n] = 0;
	return text;
}

static char *trim(char *s)
{
	while (*s == ' ' || *s == '`')
		s++;
	char *end = s + strlen(s);
	while (end > s && (end[-1] == ' ' || end[-1] == '`'))
		*--end = 0;
	return s;
}

/* The cells of "| a | b |"; 0 when the line is not a table's. */
static unsigned split_row(char *line, char *cells[CELLS_MAX])
{
	unsigned n = 0;
	if (*line++ != '|')
		return 0;
	for (char *bar; n < CELLS_MAX && (bar = strchr(line, '|')); line = bar + 1) {
		*bar = 0;
		cells[n++] = trim(line);
	}
	return n;
}

/* ---- tables ---- */

struct expected_type {
	const char *name;
	const char *number;
	const char *scope;
	const char *from;
	const char *opens;
	const char *payload;
};

#define FROM_BOTH	  "both"
#define FROM_TO_RESPONDER "initiator"
#define FROM_TO_INITIATOR "responder"
#define OPENS_true	  "yes"
#define OPENS_false	  ""

static const struct expected_type expected_types[] = {
#define EXPECTED(name, number, scope, direction, opens, message)                                   \
	{ #name, #number, #scope, FROM_##direction, OPENS_##opens, #message },
	WIRE_TYPE_LIST(EXPECTED)
#undef EXPECTED
};

static void test_types(void)
{
	size_t found = 0;
	char *cells[CELLS_MAX], *save = NULL;
	bool in_table = false;
	for (char *line = strtok_r(document(), "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		unsigned n = split_row(line, cells);
		if (n == 6 && !strcmp(cells[0], "type") && !strcmp(cells[1], "number")) {
			in_table = true;
			continue;
		}
		in_table = in_table && n == 6;
		if (!in_table || cells[0][0] == '-')
			continue;
		CHECK_INT(found, <, ARRAY_SIZE(expected_types));
		const struct expected_type *e = &expected_types[found++];
		CHECK_STR(cells[0], e->name);
		CHECK_STR(cells[1], e->number);
		CHECK_STR(cells[2], e->scope);
		CHECK_STR(cells[3], e->from);
		CHECK_STR(cells[4], e->opens);
		CHECK_STR(cells[5], strcmp(e->payload, "RAW") ? e->payload : "raw");
	}
	CHECK_INT(found, ==, ARRAY_SIZE(expected_types));
}

static const struct {
	const char *name;
	unsigned long long value;
} limits[] = {
#define LIMIT(name)                                                                                \
	{                                                                                          \
#name, name                                                                        \
	}
	LIMIT(WIRE_DATA_MAX),	    LIMIT(WIRE_PAYLOAD_MAX),	    LIMIT(WIRE_MESSAGE_MAX),
	LIMIT(WIRE_REASSEMBLY_MAX), LIMIT(WIRE_INITIAL_WINDOW),	    LIMIT(WIRE_WINDOW_MAX),
	LIMIT(WIRE_STREAMS_MAX),    LIMIT(WIRE_CONTROL_QUEUE_HIGH), LIMIT(WIRE_CONTROL_QUEUE_MAX),
	LIMIT(WIRE_HUNT_MAX),
#undef LIMIT
};

static void test_limits(void)
{
	size_t found = 0;
	char *cells[CELLS_MAX], *save = NULL;
	for (char *line = strtok_r(document(), "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (split_row(line, cells) != 3 || strncmp(cells[0], "WIRE_", 5) != 0)
			continue;
		CHECK_INT(found, <, ARRAY_SIZE(limits));
		CHECK_STR(cells[0], limits[found].name);
		CHECK_INT(strtoull(cells[1], NULL, 10), ==, limits[found].value);
		CHECK_INT(strlen(cells[2]), >, 10); /* a reason */
		found++;
	}
	CHECK_INT(found, ==, ARRAY_SIZE(limits));
}

/* The prose names numbers, too. */
static void test_prose(void)
{
	char part[64];
	const char *text = document();
	for (size_t i = 0; i < sizeof(wire_sync_magic); i++)
		snprintf(part + 3 * i, 4, "%02x ", wire_sync_magic[i]);
	part[strlen(part) - 1] = 0;
	CHECK_CONTAINS(text, part);
	snprintf(part, sizeof(part), "`Hello.version` is %d.", WIRE_VERSION);
	CHECK_CONTAINS(text, part);
	snprintf(part, sizeof(part), "a header of %d bytes", WIRE_HEADER_SIZE);
	CHECK_CONTAINS(text, part);
}

/* ---- example frames ---- */

struct example {
	char name[128];
	bool from_initiator;
	uint8_t type;
	uint8_t flags;
	uint32_t stream;
	uint64_t value; /* nonce, value, offset, credit, total: whichever it has */
	char message[256];
	uint8_t data[256];
	size_t data_size;
	uint8_t bytes[512];
	size_t size;
};

static const ProtobufCMessageDescriptor *descriptor_of(uint8_t type)
{
	static const struct {
		uint8_t type;
		const char *message;
	} names[] = {
#define TYPE_MESSAGE(name, number, scope, direction, opens, message) { number, #message },
		WIRE_TYPE_LIST(TYPE_MESSAGE)
#undef TYPE_MESSAGE
	};
	static const ProtobufCMessageDescriptor *const all[] = {
		&cove__wire__hello__descriptor,	       &cove__wire__goodbye__descriptor,
		&cove__wire__exec__descriptor,	       &cove__wire__started__descriptor,
		&cove__wire__signal__descriptor,       &cove__wire__failure__descriptor,
		&cove__wire__exited__descriptor,       &cove__wire__mute__descriptor,
		&cove__wire__close_output__descriptor,
	};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		for (size_t k = 0; names[i].type == type && k < ARRAY_SIZE(all); k++)
			if (!strcmp(all[k]->short_name, names[i].message))
				return all[k];
	tap_fail(__FILE__, __LINE__, "no descriptor for type %u: add it above", type);
}

/* "text", with \n and \" */
static size_t unquote(const char **p, char *to, size_t max)
{
	size_t n = 0;
	CHECK(*(*p)++ == '"');
	for (; **p != '"'; (*p)++) {
		CHECK(**p && n + 1 < max);
		if (**p == '\\')
			to[n++] = *++*p == 'n' ? '\n' : **p;
		else
			to[n++] = **p;
	}
	(*p)++;
	to[n] = 0;
	return n;
}

static uint8_t *put_varint(uint8_t *to, uint64_t v)
{
	for (; v >= 128; v >>= 7)
		*to++ = (uint8_t)(v | 128);
	*to++ = (uint8_t)v;
	return to;
}

/* `field=value …` as protobuf, by the rules of its encoding and the field numbers of cove.proto. */
static size_t encode_message(const ProtobufCMessageDescriptor *descriptor, const char *text,
			     uint8_t *to)
{
	uint8_t *begin = to;
	while (*text) {
		char field[64], string[256];
		int n = 0;
		CHECK_INT(sscanf(text, "%63[a-z_]=%n", field, &n), ==, 1);
		text += n;
		const ProtobufCFieldDescriptor *f =
			protobuf_c_message_descriptor_get_field_by_name(descriptor, field);
		if (!f)
			tap_fail(__FILE__, __LINE__, "%s has no field %s", descriptor->short_name,
				 field);
		if (*text == '"') {
			CHECK(f->type == PROTOBUF_C_TYPE_BYTES ||
			      f->type == PROTOBUF_C_TYPE_STRING);
			size_t size = unquote(&text, string, sizeof(string));
			to = put_varint(to, f->id << 3 | 2);
			to = put_varint(to, size);
			memcpy(to, string, size);
			to += size;
		} else {
			char *end;
			long long v = strtoll(text, &end, 0);
			text = end;
			to = put_varint(to, f->id << 3);
			if (f->type == PROTOBUF_C_TYPE_SINT32)
				to = put_varint(to, (uint64_t)(v * 2) ^ (uint64_t)(v < 0 ? -1 : 0));
			else
				to = put_varint(to, (uint64_t)v);
		}
		while (*text == ' ')
			text++;
	}
	return (size_t)(to - begin);
}

static void parse_field(struct example *e, const char *key, const char *value)
{
	static const char *const values[] = { "nonce", "value", "offset", "credit", "total" };
	if (!strcmp(key, "name")) {
		snprintf(e->name, sizeof(e->name), "%s", value);
		return;
	}
	if (!strcmp(key, "from")) {
		e->from_initiator = !strcmp(value, "initiator");
		CHECK(e->from_initiator || !strcmp(value, "responder"));
		return;
	}
	if (!strcmp(key, "type")) {
		for (unsigned i = 0; i < 256; i++)
			if (wire_type_info((uint8_t)i)->known &&
			    !strcmp(wire_type_info((uint8_t)i)->name, value))
				e->type = (uint8_t)i;
		CHECK_INT(e->type, !=, 0);
		return;
	}
	if (!strcmp(key, "flags")) {
		e->flags = (uint8_t)strtoul(value, NULL, 16);
		return;
	}
	if (!strcmp(key, "stream")) {
		e->stream = (uint32_t)strtoul(value, NULL, 10);
		return;
	}
	if (!strcmp(key, "message")) {
		snprintf(e->message, sizeof(e->message), "%s", value);
		return;
	}
	if (!strcmp(key, "data")) {
		e->data_size = unquote(&value, (char *)e->data, sizeof(e->data));
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		if (!strcmp(key, values[i])) {
			e->value = strtoull(value, NULL, 0);
			return;
		}
	}
	tap_fail(__FILE__, __LINE__, "\"%s\": unknown key %s", e->name, key);
}

/* The next ```frame block. False at the end. */
static bool parse_example(char **p, struct example *e)
{
	char *block = strstr(*p, "```frame\n");
	if (!block)
		return false;
	block += strlen("```frame\n");
	char *end = strstr(block, "```");
	CHECK(end);
	*p = end + 3;
	*end = 0;
	*e = (struct example){ 0 };

	char *save = NULL;
	for (char *line = strtok_r(block, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *value = line;
		if (isalpha((unsigned char)*line)) {
			value = strchr(line, ':');
			CHECK(value);
			*value++ = 0;
			value += strspn(value, " ");
			if (strcmp(line, "bytes") != 0) {
				parse_field(e, line, value);
				continue;
			}
		}
		unsigned byte;
		int n;
		for (; sscanf(value, " %2x%n", &byte, &n) == 1; value += n) {
			CHECK_INT(e->size, <, sizeof(e->bytes));
			e->bytes[e->size++] = (uint8_t)byte;
		}
		CHECK_INT(strspn(value, " "), ==, strlen(value));
	}
	return true;
}

/* The payload by its parts, as the document's table of raw payloads has them. */
static size_t payload_of(const struct example *e, uint8_t *to)
{
	switch (e->type) {
	case WIRE_SYNC:
		memcpy(to, wire_sync_magic, WIRE_SYNC_MAGIC_SIZE);
		wire_put_u64(to + WIRE_SYNC_MAGIC_SIZE, e->value);
		return WIRE_SYNC_SIZE;
	case WIRE_PING:
	case WIRE_PONG:
	case WIRE_EOF:
		wire_put_u64(to, e->value);
		return 8;
	case WIRE_CREDIT:
		wire_put_u32(to, (uint32_t)e->value);
		return 4;
	case WIRE_DATA:
		wire_put_u64(to, e->value);
		memcpy(to + 8, e->data, e->data_size);
		return 8 + e->data_size;
	case WIRE_CLOSE:
		return 0;
	default:
		if (e->data_size) {
			memcpy(to, e->data, e->data_size);
			return e->data_size;
		}
		return encode_message(descriptor_of(e->type), e->message, to);
	}
}

/* An engine that has stream 1…n open, of the requests that the examples have. */
static void bring_up(struct raw_link *raw, bool initiator, uint32_t streams,
		     struct raw_source *source)
{
	raw_init(raw, initiator ? WIRE_INITIATOR : WIRE_RESPONDER, source);
	raw_handshake(raw);
	for (uint32_t i = 1; i <= streams; i++) {
		uint32_t id;
		if (initiator) {
			CHECK_OK(wire_link_open(raw->link, WIRE_EXEC, NULL, 0, NULL, &id));
			CHECK_INT(id, ==, i);
		} else {
			raw_frame(raw, WIRE_EXEC, 0, i, NULL, 0);
			raw_expect(raw, WIRE_EVENT_MESSAGE, NULL);
		}
	}
	raw_collect(raw);
	buffer_consume(&raw->out, raw->out.size);
}

static void write_link_frame(const struct example *e, struct raw_link *raw, const uint8_t *payload,
			     size_t size)
{
	char software[256];
	struct wire_link_options options = {
		.role = e->from_initiator ? WIRE_INITIATOR : WIRE_RESPONDER,
		.software = software,
	};
	switch (e->type) {
	case WIRE_SYNC:
	case WIRE_HELLO:
		snprintf(software, sizeof(software), "%s", "x");
		if (e->type == WIRE_HELLO)
			CHECK_INT(sscanf(e->message, "version=1 software=\"%255[^\"]\"", software),
				  ==, 1);
		raw_init_options(raw, &options);
		CHECK_OK(wire_link_resync(raw->link, e->type == WIRE_SYNC ? e->value : RAW_NONCE));
		raw_collect(raw);
		if (e->type == WIRE_HELLO)
			buffer_consume(&raw->out, WIRE_HEADER_SIZE + WIRE_SYNC_SIZE);
		else
			raw->out.size = WIRE_HEADER_SIZE + WIRE_SYNC_SIZE;
		return;
	case WIRE_PING:
		bring_up(raw, e->from_initiator, 0, NULL);
		CHECK_OK(wire_link_ping(raw->link, e->value));
		return;
	case WIRE_PONG:
		bring_up(raw, e->from_initiator, 0, NULL);
		raw_frame(raw, WIRE_PING, 0, 0, payload, size);
		raw_expect_nothing(raw);
		return;
	default:
		bring_up(raw, e->from_initiator, 0, NULL);
		CHECK_OK(wire_link_goodbye(raw->link, payload, size));
	}
}

static void write_stream_frame(const struct example *e, struct raw_link *raw,
			       const uint8_t *payload, size_t size)
{
	unsigned channel = e->flags & WIRE_FLAG_CHANNEL;
	bool last = !(e->flags & WIRE_FLAG_MORE);
	uint32_t id;
	static struct raw_source source;
	source = (struct raw_source){ .offset = e->value,
				      .data = (const char *)e->data,
				      .size = e->data_size };
	if (wire_type_info(e->type)->opens) {
		bring_up(raw, e->from_initiator, e->stream - 1, NULL);
		CHECK_OK(wire_link_open_fragment(raw->link, e->type, payload, size, last, NULL,
						 &id));
		return;
	}
	bring_up(raw, e->from_initiator, e->stream, &source);
	switch (e->type) {
	case WIRE_DATA:
		wire_link_ready(raw->link, e->stream, channel);
		break;
	case WIRE_CREDIT:
		CHECK_OK(wire_link_grant(raw->link, e->stream, channel, (uint32_t)e->value));
		break;
	case WIRE_EOF:
		CHECK_OK(wire_link_send_eof(raw->link, e->stream, channel, e->value));
		break;
	case WIRE_CLOSE:
		wire_link_close(raw->link, e->stream);
		break;
	default:
		CHECK_OK(wire_link_send_fragment(raw->link, e->stream, e->type, payload, size,
						 last));
	}
}

static void check_written(const struct example *e)
{
	struct raw_link raw;
	uint8_t payload[512];
	size_t size = payload_of(e, payload);
	if (e->stream == 0)
		write_link_frame(e, &raw, payload, size);
	else
		write_stream_frame(e, &raw, payload, size);
	raw_collect(&raw);
	CHECK_MEM(buffer_front(&raw.out), raw.out.size, e->bytes, e->size);
	raw_done(&raw);
}

static void check_stream_event(const struct example *e, struct raw_link *raw,
			       const uint8_t *payload, size_t size)
{
	struct wire_event event;
	unsigned channel = e->flags & WIRE_FLAG_CHANNEL;
	switch (e->type) {
	case WIRE_DATA:
		raw_expect(raw, WIRE_EVENT_DATA, &event);
		CHECK_INT(event.offset, ==, e->value);
		CHECK_INT(event.channel, ==, channel);
		CHECK_MEM(event.data, event.size, e->data, e->data_size);
		break;
	case WIRE_CREDIT:
		raw_expect(raw, WIRE_EVENT_CREDIT, &event);
		CHECK_INT(event.channel, ==, channel);
		CHECK_INT(event.credit, ==, e->value);
		break;
	case WIRE_EOF:
		raw_expect(raw, WIRE_EVENT_EOF, &event);
		CHECK_INT(event.channel, ==, channel);
		CHECK_INT(event.offset, ==, e->value);
		break;
	case WIRE_CLOSE:
		raw_expect(raw, WIRE_EVENT_CLOSE, &event);
		break;
	default:
		if (e->flags & WIRE_FLAG_MORE) {
			raw_expect_nothing(raw);
			return;
		}
		raw_expect(raw, WIRE_EVENT_MESSAGE, &event);
		CHECK_INT(event.type, ==, e->type);
		CHECK_INT(event.opens, ==, wire_type_info(e->type)->opens);
		CHECK_MEM(event.data, event.size, payload, size);
	}
	CHECK_INT(event.stream, ==, e->stream);
}

static void check_read(const struct example *e)
{
	struct raw_link raw;
	struct wire_event event;
	uint8_t payload[512];
	size_t size = payload_of(e, payload);
	bool opens = wire_type_info(e->type)->opens;

	struct wire_header h;
	CHECK_OK(wire_header_decode(e->bytes, &h));
	CHECK_INT(h.type, ==, e->type);
	CHECK_INT(h.flags, ==, e->flags);
	CHECK_INT(h.stream, ==, e->stream);
	CHECK_MEM(e->bytes + WIRE_HEADER_SIZE, e->size - WIRE_HEADER_SIZE, payload, size);
	CHECK_INT(h.length, ==, size);

	if (e->type == WIRE_HELLO) {
		raw_init(&raw, e->from_initiator ? WIRE_RESPONDER : WIRE_INITIATOR, NULL);
		raw_sync(&raw, RAW_NONCE);
		raw_expect(&raw, WIRE_EVENT_SYNCED, NULL);
		raw_feed(&raw, e->bytes, e->size);
		raw_expect(&raw, WIRE_EVENT_HELLO, &event);
		CHECK_MEM(event.data, event.size, payload, size);
		raw_done(&raw);
		return;
	}
	bring_up(&raw, !e->from_initiator, opens ? e->stream - 1 : e->stream, NULL);
	raw_feed(&raw, e->bytes, e->size);
	switch (e->type) {
	case WIRE_SYNC:
		raw_expect(&raw, e->from_initiator ? WIRE_EVENT_SYNCED : WIRE_EVENT_RESYNC_WANTED,
			   NULL);
		break;
	case WIRE_PING:
		raw_expect_nothing(&raw);
		raw_collect(&raw);
		raw_expect_frame(&raw, WIRE_PONG, 0, 0, payload, size);
		break;
	case WIRE_PONG:
		raw_expect(&raw, WIRE_EVENT_PONG, &event);
		CHECK_INT(event.offset, ==, e->value);
		break;
	case WIRE_GOODBYE:
		raw_expect(&raw, WIRE_EVENT_GOODBYE, &event);
		CHECK_MEM(event.data, event.size, payload, size);
		break;
	default:
		check_stream_event(e, &raw, payload, size);
	}
	raw_expect_nothing(&raw);
	raw_done(&raw);
}

static void check_message(const struct example *e)
{
	if (!e->message[0])
		return;
	_cleanup_(wire_message_freep) ProtobufCMessage *m = wire_message_unpack(
		descriptor_of(e->type), e->bytes + WIRE_HEADER_SIZE, e->size - WIRE_HEADER_SIZE);
	CHECK(m);
	CHECK_INT(m->n_unknown_fields, ==, 0);
	uint8_t packed[512];
	CHECK_INT(protobuf_c_message_get_packed_size(m), <=, sizeof(packed));
	size_t n = protobuf_c_message_pack(m, packed);
	CHECK_MEM(packed, n, e->bytes + WIRE_HEADER_SIZE, e->size - WIRE_HEADER_SIZE);
}

static void test_examples(void)
{
	char *p = document();
	struct example e;
	unsigned n = 0;
	bool raw_types_seen[256] = { false };
	for (; parse_example(&p, &e); n++) {
		tap_note("\"%s\"", e.name);
		CHECK_INT(e.size, >=, WIRE_HEADER_SIZE);
		check_read(&e);
		check_written(&e);
		check_message(&e);
		raw_types_seen[e.type] = true;
	}
	tap_note("%u examples", n);
	/* Of every type whose payload only this document describes there is one. */
	for (unsigned i = 1; i < 256; i++)
		if (wire_type_info((uint8_t)i)->known && i < WIRE_EXEC && !raw_types_seen[i])
			tap_fail(__FILE__, __LINE__, "no example of %s",
				 wire_type_info((uint8_t)i)->name);
}

static const struct tap_test tests[] = {
	{ "the table of types", test_types },
	{ "the table of limits", test_limits },
	{ "numbers in the text", test_prose },
	{ "example frames", test_examples },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
