/* SPDX-License-Identifier: Apache-2.0 */
#include "pair.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "harness/tap.h"
#include "wire/link-internal.h"

#define PATTERN_PERIOD 251

const uint8_t *pair_pattern(uint32_t stream, unsigned channel, uint64_t offset)
{
	static uint8_t pattern[PATTERN_PERIOD + WIRE_MESSAGE_MAX];
	if (pattern[1] == 0)
		for (size_t i = 0; i < sizeof(pattern); i++)
			pattern[i] = (uint8_t)(i % PATTERN_PERIOD * 7 % 256);
	return pattern + (offset + stream * 17 + channel * 5) % PATTERN_PERIOD;
}

/* xorshift64: the same sizes in every run. */
uint64_t pair_random(struct pair *pair)
{
	pair->random ^= pair->random << 13;
	pair->random ^= pair->random >> 7;
	pair->random ^= pair->random << 17;
	return pair->random;
}

/* ---- the programs ---- */

static size_t peek(void *userdata, uint32_t stream, unsigned channel, size_t max,
		   struct wire_chunk *ret)
{
	struct pair_command *c = userdata;
	uint64_t offset = c->sent[channel];
	size_t n = MIN(c->request.out[channel] - offset, max);
	/* In one piece or two, as a ring gives them. */
	size_t first = offset % 3 == 1 ? n / 2 : n;
	*ret = (struct wire_chunk){ .offset = offset };
	ret->iov[0].iov_base = (void *)pair_pattern(stream, channel, offset);
	ret->iov[0].iov_len = first;
	ret->iov[1].iov_base = (void *)pair_pattern(stream, channel, offset + first);
	ret->iov[1].iov_len = n - first;
	return n;
}

static void consumed(void *userdata, uint32_t stream, unsigned channel, size_t n)
{
	struct pair_command *c = userdata;
	CHECK_INT(stream, ==, c->stream);
	c->sent[channel] += n;
	CHECK_INT(c->sent[channel], <=, c->request.out[channel]);
}

static struct pair_command *command_new(struct pair_end *end, const struct pair_request *request)
{
	CHECK_INT(end->n_commands, <, PAIR_COMMANDS_MAX);
	struct pair_command *c = calloc(1, sizeof(*c));
	CHECK(c);
	c->end = end;
	c->request = *request;
	end->commands[end->n_commands++] = c;
	return c;
}

struct pair_command *pair_exec(struct pair *pair, const struct pair_request *request)
{
	struct pair_command *c = command_new(&pair->client, request);
	size_t size = sizeof(*request) + request->padding;
	_cleanup_free_ uint8_t *payload = malloc(size);
	CHECK(payload);
	memcpy(payload, request, sizeof(*request));
	memcpy(payload + sizeof(*request), pair_pattern(0, 0, 0), request->padding);
	CHECK_OK(wire_link_open(pair->client.link, WIRE_EXEC, payload, size, c, &c->stream));
	if (request->out[WIRE_STDIN]) {
		CHECK_OK(wire_link_send_eof(pair->client.link, c->stream, WIRE_STDIN,
					    request->out[WIRE_STDIN]));
		wire_link_ready(pair->client.link, c->stream, WIRE_STDIN);
	}
	return c;
}

static void server_exits(struct pair_end *end, struct pair_command *c)
{
	CHECK(!c->exited);
	c->exited = true;
	CHECK_OK(wire_link_send(end->link, c->stream, WIRE_EXITED, "bye", 3));
}

static void server_opened(struct pair_end *end, const struct wire_event *event)
{
	struct pair_request request;
	CHECK_INT(event->type, ==, WIRE_EXEC);
	CHECK_INT(event->size, >=, sizeof(request));
	memcpy(&request, event->data, sizeof(request));
	CHECK_MEM(event->data + sizeof(request), event->size - sizeof(request),
		  pair_pattern(0, 0, 0), request.padding);

	struct pair_command *c = command_new(end, &request);
	c->stream = event->stream;
	CHECK(!event->userdata);
	wire_link_set_userdata(end->link, event->stream, c);
	CHECK_OK(wire_link_send(end->link, event->stream, WIRE_STARTED, NULL, 0));
	for (unsigned i = WIRE_STDOUT; i <= WIRE_STDERR; i++) {
		CHECK_OK(wire_link_send_eof(end->link, event->stream, i, request.out[i]));
		wire_link_ready(end->link, event->stream, i);
	}
	if (request.out[WIRE_STDIN] == 0)
		server_exits(end, c);
}

static void on_message(struct pair_end *end, struct pair_command *c, const struct wire_event *event)
{
	if (event->opens) {
		CHECK(end->server);
		server_opened(end, event);
		return;
	}
	CHECK(!end->server && c);
	if (event->type == WIRE_STARTED) {
		CHECK(!c->started && event->size == 0);
		c->started = true;
	} else {
		CHECK_INT(event->type, ==, WIRE_EXITED);
		CHECK(c->started && !c->exited);
		CHECK_MEM(event->data, event->size, "bye", 3);
		c->exited = true;
	}
}

static void on_data(struct pair_end *end, struct pair_command *c, const struct wire_event *event)
{
	unsigned channel = event->channel;
	CHECK(c && !c->closed);
	CHECK_INT(event->offset, ==, c->received[channel]);
	CHECK_MEM(event->data, event->size, pair_pattern(c->stream, channel, event->offset),
		  event->size);
	c->received[channel] += event->size;
	CHECK_INT(c->received[channel], <=, c->request.out[channel]);
	if (end->slow)
		c->unread[channel] += event->size;
	else
		CHECK_OK(wire_link_consumed(end->link, c->stream, channel, event->size));
	if (end->server && c->received[0] == c->request.out[0])
		server_exits(end, c);
}

static void client_closes_when_done(struct pair_end *end, struct pair_command *c)
{
	if (!c || end->server || c->closed || !c->exited)
		return;
	for (unsigned i = WIRE_STDOUT; i <= WIRE_STDERR; i++)
		if (!c->eof[i] || c->received[i] < c->request.out[i])
			return;
	c->closed = true;
	end->n_closed++;
	wire_link_close(end->link, c->stream);
}

static void on_event(struct pair_end *end, const struct wire_event *event)
{
	struct pair_command *c = event->userdata;
	CHECK(end->synced || event->kind == WIRE_EVENT_SYNCED);
	switch (event->kind) {
	case WIRE_EVENT_SYNCED:
		CHECK(!end->synced);
		end->synced = true;
		break;
	case WIRE_EVENT_HELLO:
		break;
	case WIRE_EVENT_MESSAGE:
		on_message(end, c, event);
		break;
	case WIRE_EVENT_DATA:
		on_data(end, c, event);
		break;
	case WIRE_EVENT_EOF:
		CHECK(c && !c->eof[event->channel]);
		CHECK_INT(event->offset, ==, c->request.out[event->channel]);
		c->eof[event->channel] = true;
		break;
	case WIRE_EVENT_CREDIT:
		CHECK(c && event->credit > 0);
		break;
	case WIRE_EVENT_CLOSE:
		CHECK(end->server && c && !c->closed);
		c->closed = true;
		end->n_closed++;
		break;
	default:
		CHECK_INT(event->kind, ==, -1);
	}
	client_closes_when_done(end, c);
}

void pair_read_up(struct pair_end *end)
{
	for (unsigned i = 0; i < end->n_commands; i++) {
		struct pair_command *c = end->commands[i];
		for (unsigned k = 0; k < WIRE_CHANNELS; k++) {
			if (c->unread[k] && !c->closed)
				CHECK_OK(wire_link_consumed(end->link, c->stream, k,
							    (size_t)c->unread[k]));
			c->unread[k] = 0;
		}
	}
}

/* ---- the pipes ---- */

static size_t how_much(struct pair *pair, enum pair_direction d, uint64_t position, size_t have)
{
	if (pair->cut[d] > position)
		have = MIN(have, pair->cut[d] - position);
	if (pair->most)
		have = MIN(have, pair->most);
	if (!pair->random)
		return have;
	/* Mostly little, sometimes much, sometimes nothing. */
	uint64_t r = pair_random(pair);
	size_t max = r % 4 == 0 ? 200000 : r % 4 == 1 ? 3000 : 40;
	return MIN(have, (size_t)(pair_random(pair) % max));
}

static bool write_some(struct pair *pair, enum pair_direction d)
{
	struct wire_link *link = d == PAIR_TO_SERVER ? pair->client.link : pair->server.link;
	struct iovec iov[16];
	int count = pair->random ? (int)(3 + pair_random(pair) % 14) : 16;
	int n = wire_link_output(link, iov, count);
	if (n == 0)
		return false;
	size_t total = 0;
	for (int i = 0; i < n; i++)
		total += iov[i].iov_len;
	size_t take = how_much(pair, d, pair->written[d], total), left = take;
	for (int i = 0; i < n && left > 0; i++) {
		size_t k = MIN(left, iov[i].iov_len);
		CHECK_OK(buffer_append(&pair->pipe[d], iov[i].iov_base, k));
		left -= k;
	}
	wire_link_sent(link, take);
	pair->written[d] += take;
	return true;
}

static bool read_some(struct pair *pair, enum pair_direction d)
{
	struct pair_end *end = d == PAIR_TO_SERVER ? &pair->server : &pair->client;
	struct buffer *pipe = &pair->pipe[d];
	if (pipe->size == 0)
		return false;
	uint8_t *p;
	size_t room;
	wire_link_input(end->link, &p, &room);
	CHECK_INT(room, >, 0);
	size_t n = how_much(pair, d, pair->read[d], MIN(room, pipe->size));
	memcpy(p, buffer_front(pipe), n);
	buffer_consume(pipe, n);
	pair->read[d] += n;
	wire_link_received(end->link, n);

	struct wire_event event;
	int r;
	while ((r = wire_link_next(end->link, &event)) > 0)
		on_event(end, &event);
	if (r < 0)
		tap_note("%s: %s", end->server ? "server" : "client", wire_link_error(end->link));
	CHECK_OK(r);
	return true;
}

void pair_run(struct pair *pair)
{
	bool moved;
	do {
		moved = write_some(pair, PAIR_TO_SERVER);
		moved |= read_some(pair, PAIR_TO_SERVER);
		moved |= write_some(pair, PAIR_TO_CLIENT);
		moved |= read_some(pair, PAIR_TO_CLIENT);
	} while (moved);
}

void pair_check_done(struct pair *pair)
{
	CHECK_INT(pair->server.n_commands, ==, pair->client.n_commands);
	for (unsigned i = 0; i < pair->client.n_commands; i++) {
		const struct pair_command *c = pair->client.commands[i],
					  *s = pair->server.commands[i];
		CHECK(c->started && c->exited && c->closed && s->closed);
		for (unsigned k = 0; k < WIRE_CHANNELS; k++)
			CHECK_INT(c->sent[k] + s->sent[k], ==, c->received[k] + s->received[k]);
	}
	CHECK_INT(pair->client.link->n_streams, ==, 0);
	CHECK_INT(pair->server.link->n_streams, ==, 0);
	CHECK_INT(wire_link_queued(pair->client.link), ==, 0);
	CHECK_INT(wire_link_queued(pair->server.link), ==, 0);
	CHECK(!wire_link_wants_output(pair->client.link));
	CHECK(!wire_link_wants_output(pair->server.link));
}

struct pair *pair_new(uint64_t random)
{
	struct pair *pair = calloc(1, sizeof(*pair));
	CHECK(pair);
	pair->random = random;
	pair->client.pair = pair->server.pair = pair;
	pair->server.server = true;
	buffer_init(&pair->pipe[0], SIZE_MAX / 2);
	buffer_init(&pair->pipe[1], SIZE_MAX / 2);
	struct wire_link_options options = {
		.role = WIRE_INITIATOR,
		.nonce = RAW_NONCE,
		.software = "pair",
		.source = { .peek = peek, .consumed = consumed },
	};
	CHECK_OK(wire_link_new(&options, &pair->client.link));
	options.role = WIRE_RESPONDER;
	options.nonce = 0;
	CHECK_OK(wire_link_new(&options, &pair->server.link));
	return pair;
}

static void end_done(struct pair_end *end)
{
	wire_link_free(end->link);
	for (unsigned i = 0; i < end->n_commands; i++)
		free(end->commands[i]);
}

struct pair *pair_free(struct pair *pair)
{
	end_done(&pair->client);
	end_done(&pair->server);
	buffer_done(&pair->pipe[0]);
	buffer_done(&pair->pipe[1]);
	free(pair);
	return NULL;
}
