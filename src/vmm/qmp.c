/* SPDX-License-Identifier: Apache-2.0 */

/*
 * QMP, as far as it is needed: one JSON object a line. QEMU greets, is asked for its capabilities
 * (none of which are taken), and from then on answers commands in the order they were sent, with
 * events in between. QEMU holds the guest, so what it says is checked as if the guest said it.
 */

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "vmm/vmm.h"

/*
 * A line that is not complete yet, and as much again of new bytes: whoever takes out all events
 * after every qmp_input() of at most QMP_LINE_MAX bytes never meets this limit.
 */
#define QMP_INPUT_MAX (2 * QMP_LINE_MAX)

/* Commands are few and small; a QEMU that reads none of them cannot make us keep more than this. */
#define QMP_OUTPUT_MAX (64u * 1024)

enum qmp_state {
	QMP_GREETING,	  /* the greeting must come first; nothing may be sent */
	QMP_CAPABILITIES, /* qmp_capabilities was sent: its answer must come next, or an event */
	QMP_RUNNING,	  /* commands, their answers in order, events */
	QMP_FAILED,	  /* broken for good: every call gives -EPROTO */
};

struct qmp {
	enum qmp_state state;
	struct buffer in;
	size_t scanned; /* so many bytes of `in` hold no newline */
	struct buffer out;
	uint64_t next_id;     /* of the next command; 0 is qmp_capabilities */
	uint64_t next_answer; /* the id that the next answer must have */
	json_t *current;      /* owns the strings of the last event */
};

struct qmp *qmp_new(void)
{
	struct qmp *qmp = calloc(1, sizeof(*qmp));
	if (!qmp)
		return NULL;
	buffer_init(&qmp->in, QMP_INPUT_MAX);
	buffer_init(&qmp->out, QMP_OUTPUT_MAX);
	return qmp;
}

struct qmp *qmp_free(struct qmp *qmp)
{
	if (qmp) {
		buffer_done(&qmp->in);
		buffer_done(&qmp->out);
		json_decref(qmp->current);
		free(qmp);
	}
	return NULL;
}

static int fail(struct qmp *qmp)
{
	qmp->state = QMP_FAILED;
	return -EPROTO;
}

int qmp_input(struct qmp *qmp, const void *data, size_t n)
{
	if (qmp->state == QMP_FAILED)
		return -EPROTO;
	int r = buffer_append(&qmp->in, data, n);
	return r == -ENOBUFS ? fail(qmp) : r;
}

/* Queues {"execute": name, "arguments": …, "id": …} whole or not at all. Takes `arguments`. */
static int send_command(struct qmp *qmp, const char *name, json_t *arguments)
{
	json_t *command = json_pack("{s:s, s:o*, s:I}", "execute", name, "arguments", arguments,
				    "id", (json_int_t)qmp->next_id);
	if (!command)
		return -ENOMEM;
	_cleanup_free_ char *line = json_dumps(command, JSON_COMPACT);
	json_decref(command);
	if (!line)
		return -ENOMEM;

	size_t n = strlen(line);
	line[n] = '\n'; /* in the place of the NUL */
	int r = buffer_append(&qmp->out, line, n + 1);
	if (r < 0)
		return r;
	qmp->next_id++;
	return 0;
}

int qmp_command(struct qmp *qmp, const char *name, const char *arguments, uint64_t *ret_id)
{
	if (qmp->state == QMP_FAILED)
		return -EPROTO;
	if (qmp->state != QMP_RUNNING)
		return -EAGAIN;

	json_t *object = NULL;
	if (arguments) {
		json_error_t e;
		object = json_loads(arguments, JSON_REJECT_DUPLICATES, &e);
		if (!object)
			return json_error_code(&e) == json_error_out_of_memory ? -ENOMEM : -EINVAL;
		if (!json_is_object(object)) {
			json_decref(object);
			return -EINVAL;
		}
	}
	uint64_t id = qmp->next_id;
	int r = send_command(qmp, name, object);
	if (r < 0)
		return r;
	if (ret_id)
		*ret_id = id;
	return 0;
}

/* 1 with an event, 0 when the message was for us alone. */
static int got_greeting(struct qmp *qmp, json_t *message)
{
	if (!json_is_object(json_object_get(message, "QMP")))
		return fail(qmp);
	int r = send_command(qmp, "qmp_capabilities", NULL);
	if (r < 0)
		return r;
	qmp->state = QMP_CAPABILITIES;
	return 0;
}

static int got_event(struct qmp *qmp, json_t *message, struct qmp_event *ret)
{
	const char *name = json_string_value(json_object_get(message, "event"));
	if (!name)
		return fail(qmp);
	json_t *data = json_object_get(message, "data");
	const char *reason = json_string_value(json_object_get(data, "reason"));
	*ret = (struct qmp_event){
		.kind = QMP_EVENT_EVENT,
		.text = "",
		.name = name,
		.reason = reason ? reason : "",
	};
	return 1;
}

static int got_answer(struct qmp *qmp, json_t *message, struct qmp_event *ret)
{
	json_t *value = json_object_get(message, "return");
	json_t *error = json_object_get(message, "error");
	json_t *id = json_object_get(message, "id");
	if (!value == !error || !json_is_integer(id) ||
	    json_integer_value(id) != (json_int_t)qmp->next_answer ||
	    qmp->next_answer >= qmp->next_id)
		return fail(qmp);
	const char *text = "";
	if (error) {
		text = json_string_value(json_object_get(error, "desc"));
		if (!text)
			return fail(qmp);
	}

	struct qmp_event event = {
		.kind = QMP_EVENT_RETURN,
		.id = qmp->next_answer++,
		.ok = !error,
		.text = text,
		.name = "",
		.reason = "",
	};
	if (qmp->state == QMP_CAPABILITIES) {
		if (error)
			return fail(qmp);
		qmp->state = QMP_RUNNING;
		event.kind = QMP_EVENT_READY;
	}
	*ret = event;
	return 1;
}

static int got_message(struct qmp *qmp, json_t *message, struct qmp_event *ret)
{
	if (!json_is_object(message))
		return fail(qmp);
	if (qmp->state == QMP_GREETING)
		return got_greeting(qmp, message);
	if (json_object_get(message, "event"))
		return got_event(qmp, message, ret);
	return got_answer(qmp, message, ret);
}

/* The size of the first line with its newline; 0 when it is not complete. */
static int first_line(struct qmp *qmp, size_t *ret)
{
	size_t size = qmp->in.size;
	uint8_t *front = buffer_front(&qmp->in);
	uint8_t *newline = size > qmp->scanned
				   ? memchr(front + qmp->scanned, '\n', size - qmp->scanned)
				   : NULL;
	size_t line = newline ? (size_t)(newline - front) + 1 : 0;
	if (line > QMP_LINE_MAX || (!newline && size >= QMP_LINE_MAX))
		return fail(qmp);
	qmp->scanned = newline ? 0 : size;
	*ret = line;
	return 0;
}

int qmp_next(struct qmp *qmp, struct qmp_event *ret)
{
	json_decref(qmp->current);
	qmp->current = NULL;

	for (;;) {
		if (qmp->state == QMP_FAILED)
			return -EPROTO;
		size_t n;
		int r = first_line(qmp, &n);
		if (r < 0)
			return r;
		if (n == 0)
			return 0;

		json_error_t e;
		json_t *message = json_loadb((const char *)buffer_front(&qmp->in), n,
					     JSON_REJECT_DUPLICATES, &e);
		/* Without memory the line stays, and the next call tries again. */
		if (!message)
			return json_error_code(&e) == json_error_out_of_memory ? -ENOMEM
									       : fail(qmp);
		qmp->current = message;
		r = got_message(qmp, message, ret);
		if (r == -ENOMEM || r == -ENOBUFS) {
			json_decref(qmp->current);
			qmp->current = NULL;
			return r;
		}
		if (r < 0)
			return r;
		buffer_consume(&qmp->in, n);
		if (r > 0)
			return 1;
		json_decref(qmp->current);
		qmp->current = NULL;
	}
}

void qmp_output(struct qmp *qmp, const void **ret, size_t *ret_size)
{
	*ret = buffer_front(&qmp->out);
	*ret_size = qmp->out.size;
}

void qmp_sent(struct qmp *qmp, size_t n)
{
	assert(n <= qmp->out.size);
	buffer_consume(&qmp->out, n);
}
