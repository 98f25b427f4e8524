/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "wire/link-internal.h"

void fuzz_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s does not hold\n", file, line, what);
	abort();
}

uint8_t fuzz_u8(struct fuzz_input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->data++;
}

uint16_t fuzz_u16(struct fuzz_input *in)
{
	uint16_t low = fuzz_u8(in);
	return (uint16_t)(low | fuzz_u8(in) << 8);
}

uint32_t fuzz_u32(struct fuzz_input *in)
{
	uint32_t low = fuzz_u16(in);
	return low | (uint32_t)fuzz_u16(in) << 16;
}

/* ---- the owner ---- */

static const uint8_t zeros[WIRE_MESSAGE_MAX + 1];

static size_t peek(void *userdata, uint32_t stream, unsigned channel, size_t max,
		   struct wire_chunk *ret)
{
	struct fuzz_stream *s = userdata;
	FUZZ_CHECK(s && s->open && s->id == stream);
	FUZZ_CHECK(max > 0 && max <= WIRE_DATA_MAX);
	FUZZ_CHECK(max <= s->allowed[channel] - s->moved[channel]);
	size_t n = (size_t)MIN(s->left[channel], (uint64_t)max);
	size_t first = s->end[channel] % 2 ? n / 2 : n;
	ret->offset = s->end[channel];
	ret->iov[0] = (struct iovec){ .iov_base = (void *)zeros, .iov_len = first };
	ret->iov[1] = (struct iovec){ .iov_base = (void *)zeros, .iov_len = n - first };
	return n;
}

static void consumed(void *userdata, uint32_t stream, unsigned channel, size_t n)
{
	struct fuzz_stream *s = userdata;
	FUZZ_CHECK(s && s->open && s->id == stream && n > 0 && n <= s->left[channel]);
	s->left[channel] -= n;
	s->end[channel] += n;
	s->moved[channel] += n;
	FUZZ_CHECK(s->moved[channel] <= s->allowed[channel]);
}

static struct fuzz_stream *stream_new(struct fuzz_owner *owner)
{
	if (owner->n_streams == ARRAY_SIZE(owner->streams))
		return NULL;
	struct fuzz_stream *s = calloc(1, sizeof(*s));
	FUZZ_CHECK(s);
	s->open = true;
	for (unsigned i = 0; i < WIRE_CHANNELS; i++)
		s->allowed[i] = WIRE_INITIAL_WINDOW;
	owner->streams[owner->n_streams++] = s;
	return s;
}

/* The engine must never again come up with one of them. */
static void forget_streams(struct fuzz_owner *owner)
{
	for (unsigned i = 0; i < owner->n_streams; i++)
		free(owner->streams[i]);
	owner->n_streams = 0;
}

void fuzz_owner_init(struct fuzz_owner *owner, enum wire_role role, uint64_t nonce)
{
	memset(owner, 0, sizeof(*owner));
	struct wire_link_options options = {
		.role = role,
		.nonce = nonce,
		.max_streams = FUZZ_STREAMS_MAX,
		.software = "fuzz",
		.source = { .peek = peek, .consumed = consumed },
	};
	owner->role = role;
	owner->nonce = nonce;
	FUZZ_CHECK(wire_link_new(&options, &owner->link) == 0);
}

void fuzz_owner_done(struct fuzz_owner *owner)
{
	owner->link = wire_link_free(owner->link);
	forget_streams(owner);
}

static void check_link(const struct fuzz_owner *owner)
{
	const struct wire_link *link = owner->link;
	FUZZ_CHECK(link->n_streams <= FUZZ_STREAMS_MAX);
	FUZZ_CHECK(link->rx_unfinished <= WIRE_REASSEMBLY_MAX);
	FUZZ_CHECK(link->tx_unfinished <= LINK_UNFINISHED_MAX);
	FUZZ_CHECK(wire_link_queued(link) <= WIRE_CONTROL_QUEUE_MAX + LINK_CONTROL_RESERVE);
	FUZZ_CHECK(link->input_head <= link->input_tail && link->input_tail <= LINK_INPUT_SIZE);
}

/* ---- events ---- */

static void on_message(struct fuzz_owner *owner, const struct wire_event *e, struct fuzz_stream *s)
{
	FUZZ_CHECK(wire_type_info(e->type)->known && e->type >= WIRE_EXEC);
	FUZZ_CHECK(e->size <= WIRE_MESSAGE_MAX);
	if (e->opens) {
		FUZZ_CHECK(owner->role == WIRE_RESPONDER && !s);
		s = stream_new(owner);
		if (!s) {
			owner->failed = true;
			return;
		}
		s->id = e->stream;
		wire_link_set_userdata(owner->link, e->stream, s);
	}
	FUZZ_CHECK(s && s->open && s->id == e->stream);
}

static void on_stream_event(struct fuzz_owner *owner, const struct wire_event *e)
{
	struct fuzz_stream *s = e->userdata;
	if (e->kind == WIRE_EVENT_MESSAGE) {
		on_message(owner, e, s);
		return;
	}
	FUZZ_CHECK(s && s->open && s->id == e->stream && e->channel < WIRE_CHANNELS);
	unsigned c = e->channel;
	bool sends = (owner->role == WIRE_INITIATOR) == (c == WIRE_STDIN);
	switch (e->kind) {
	case WIRE_EVENT_DATA:
		FUZZ_CHECK(!sends);
		FUZZ_CHECK(e->size > 0 && e->offset >= s->end[c]);
		s->end[c] = e->offset + e->size;
		s->moved[c] += e->size;
		FUZZ_CHECK(s->moved[c] <= s->allowed[c]);
		FUZZ_CHECK(s->end[c] > e->offset && (!s->eof[c] || s->end[c] <= s->total[c]));
		break;
	case WIRE_EVENT_EOF:
		FUZZ_CHECK(!sends && !s->eof[c] && e->offset >= s->end[c]);
		s->eof[c] = true;
		s->total[c] = e->offset;
		break;
	case WIRE_EVENT_CREDIT:
		FUZZ_CHECK(sends && e->credit > 0);
		s->allowed[c] += e->credit;
		FUZZ_CHECK(s->allowed[c] - s->moved[c] <= WIRE_WINDOW_MAX);
		FUZZ_CHECK(s->allowed[c] - s->moved[c] == wire_link_credit(owner->link, s->id, c));
		break;
	default:
		FUZZ_CHECK(e->kind == WIRE_EVENT_CLOSE && owner->role == WIRE_RESPONDER);
		s->open = false;
		break;
	}
}

static void on_event(struct fuzz_owner *owner, const struct wire_event *e)
{
	/* Borrowed bytes are there: let the sanitizer see. */
	unsigned sum = 0;
	for (size_t i = 0; i < e->size; i += 1 + e->size / 16)
		sum += e->data[i];
	FUZZ_CHECK(sum < 256 * 18);

	switch (e->kind) {
	case WIRE_EVENT_SYNCED:
		FUZZ_CHECK(!owner->synced || owner->role == WIRE_RESPONDER);
		owner->synced = true;
		owner->greeted = false;
		if (owner->role == WIRE_RESPONDER)
			forget_streams(owner);
		break;
	case WIRE_EVENT_HELLO:
		FUZZ_CHECK(owner->synced && !owner->greeted);
		owner->greeted = true;
		break;
	case WIRE_EVENT_RESYNC_WANTED:
		FUZZ_CHECK(owner->role == WIRE_INITIATOR);
		owner->asked = true;
		break;
	case WIRE_EVENT_PONG:
	case WIRE_EVENT_GOODBYE:
		FUZZ_CHECK(owner->greeted);
		break;
	default:
		FUZZ_CHECK(owner->greeted && e->stream > 0);
		on_stream_event(owner, e);
		break;
	}
}

int fuzz_owner_events(struct fuzz_owner *owner)
{
	struct wire_event event;
	int r = 0;
	while (!owner->failed && (r = wire_link_next(owner->link, &event)) > 0) {
		FUZZ_CHECK(!owner->asked);
		on_event(owner, &event);
		check_link(owner);
	}
	if (owner->failed)
		return 0;
	FUZZ_CHECK(r == 0 || r == -EPROTO || r == -EPROTONOSUPPORT || r == -ENOBUFS);
	FUZZ_CHECK(r == 0 || r == -ENOBUFS || *wire_link_error(owner->link));
	check_link(owner);
	return r;
}

/* ---- actions ---- */

static const uint8_t openers[] = { WIRE_EXEC, WIRE_ATTACH, WIRE_CREATE, WIRE_START };
static const uint8_t messages[] = { WIRE_EXEC,	  WIRE_SIGNAL, WIRE_KILL,
				    WIRE_STARTED, WIRE_EXITED, WIRE_SANDBOX,
				    WIRE_READY,	  WIRE_CREATE, WIRE_PROGRESS };

/* Mostly short: long ones cost the fuzzer time. */
static size_t message_size(uint32_t n)
{
	return n % 64 == 63 ? n / 64 % sizeof(zeros) : n % 8 == 7 ? n / 8 % 150000 : n / 8 % 300;
}

static void act_open(struct fuzz_owner *owner, struct fuzz_input *in)
{
	uint8_t type = openers[fuzz_u8(in) % ARRAY_SIZE(openers)];
	size_t size = message_size(fuzz_u32(in));
	bool last = fuzz_u8(in) % 4;
	struct fuzz_stream *s = stream_new(owner);
	if (!s)
		return;
	int r = wire_link_open_fragment(owner->link, type, zeros, size, last, s, &s->id);
	if (r < 0) {
		FUZZ_CHECK(r == -EINVAL || r == -ENOBUFS || r == -EMSGSIZE);
		free(owner->streams[--owner->n_streams]);
	}
}

static void act_on_stream(struct fuzz_owner *owner, struct fuzz_stream *s, struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in);
	unsigned c = fuzz_u8(in) % WIRE_CHANNELS;
	uint32_t n = fuzz_u32(in);
	bool sends = (owner->role == WIRE_INITIATOR) == (c == WIRE_STDIN);
	switch (what % 8) {
	case 0:
	case 1:
		(void)!wire_link_send_fragment(owner->link, s->id,
					       messages[c % ARRAY_SIZE(messages)], zeros,
					       message_size(n), what & 64);
		break;
	case 2:
		if (s->left[c] == 0 && sends &&
		    wire_link_send_eof(owner->link, s->id, c, s->end[c] + n) == 0) {
			s->eof[c] = true;
			s->left[c] = n;
			wire_link_ready(owner->link, s->id, c);
		}
		break;
	case 3:
		if (owner->role == WIRE_INITIATOR) {
			s->open = false;
			wire_link_close(owner->link, s->id);
		}
		break;
	case 4:
		if (!s->eof[c])
			s->left[c] += n % 1000000;
		wire_link_ready(owner->link, s->id, c);
		break;
	case 5:
		if (wire_link_grant(owner->link, s->id, c, n % (WIRE_WINDOW_MAX + 2)) == 0)
			s->allowed[c] += n % (WIRE_WINDOW_MAX + 2);
		break;
	default: {
		uint64_t before = sends ? 0 : s->allowed[c] - s->moved[c];
		const struct link_stream *l = link_stream_find(owner->link, s->id);
		uint64_t had = l ? l->channels[c].credit : 0;
		if (wire_link_consumed(owner->link, s->id, c, n % (WIRE_WINDOW_MAX + 2)) == 0 && l)
			s->allowed[c] += l->channels[c].credit - had;
		FUZZ_CHECK(sends || s->allowed[c] - s->moved[c] >= before);
		break;
	}
	}
}

void fuzz_owner_resync(struct fuzz_owner *owner)
{
	if (owner->role == WIRE_INITIATOR)
		owner->nonce++;
	FUZZ_CHECK(wire_link_resync(owner->link, owner->nonce) == 0);
	forget_streams(owner);
	owner->synced = owner->greeted = owner->asked = false;
}

void fuzz_owner_act(struct fuzz_owner *owner, struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in);
	if (what == 255)
		fuzz_owner_resync(owner);
	else if (what % 16 == 0)
		(void)!wire_link_ping(owner->link, fuzz_u8(in));
	else if (what % 16 == 1)
		(void)!wire_link_goodbye(owner->link, zeros, fuzz_u16(in));
	else if (what % 16 < 5 && owner->role == WIRE_INITIATOR)
		act_open(owner, in);
	else if (owner->n_streams)
		act_on_stream(owner, owner->streams[fuzz_u8(in) % owner->n_streams], in);
	check_link(owner);
}

/* ---- bytes ---- */

size_t fuzz_owner_write(struct fuzz_owner *owner, int count, uint8_t *to, size_t most)
{
	struct iovec iov[16];
	int n = wire_link_output(owner->link, iov, count);
	FUZZ_CHECK(n >= 0 && n <= count);
	size_t done = 0;
	for (int i = 0; i < n && done < most; i++) {
		size_t k = MIN(most - done, iov[i].iov_len);
		FUZZ_CHECK(iov[i].iov_len > 0);
		memcpy(to + done, iov[i].iov_base, k);
		done += k;
	}
	if (n > 0)
		wire_link_sent(owner->link, done);
	check_link(owner);
	return done;
}

size_t fuzz_owner_read(struct fuzz_owner *owner, const uint8_t *from, size_t n)
{
	uint8_t *p;
	size_t room;
	wire_link_input(owner->link, &p, &room);
	n = MIN(n, room);
	if (n)
		memcpy(p, from, n);
	wire_link_received(owner->link, n);
	return n;
}
