/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/link-internal.h"

/*
 * What unpacking one message may allocate. Protobuf lets two bytes on the wire become a 40-byte
 * scanner entry and a 16-byte array element, so a message of WIRE_MESSAGE_MAX could ask for 40
 * times its size. What execve() can take needs much less: 2 MiB hold 210,000 one-letter arguments
 * (each costs it a pointer and two bytes), and those become 29 MiB here, half of which is the
 * scanner's and freed at once.
 */
#define MESSAGE_UNPACK_MAX (32u * 1024 * 1024)
/* Accounted for each allocation, on top of its size: the allocator's own. */
#define MESSAGE_ALLOCATION_COST 16

/* ---- sending ---- */

static int pack(const ProtobufCMessage *message, void **ret, size_t *ret_size)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	if (size > WIRE_MESSAGE_MAX)
		return -EMSGSIZE;
	void *data = malloc(size ? size : 1);
	if (!data)
		return -ENOMEM;
	*ret_size = protobuf_c_message_pack(message, data);
	*ret = data;
	return 0;
}

int wire_send_message(struct wire_link *link, uint32_t stream, uint8_t type,
		      const ProtobufCMessage *message)
{
	_cleanup_free_ void *data = NULL;
	size_t size;
	int r = pack(message, &data, &size);
	if (r < 0)
		return r;
	return wire_link_send(link, stream, type, data, size);
}

int wire_open_message(struct wire_link *link, uint8_t type, const ProtobufCMessage *message,
		      void *userdata, uint32_t *ret_stream)
{
	_cleanup_free_ void *data = NULL;
	size_t size;
	int r = pack(message, &data, &size);
	if (r < 0)
		return r;
	return wire_link_open(link, type, data, size, userdata, ret_stream);
}

/* ---- unpacking ---- */

struct budget {
	size_t left;
	bool out_of_memory;
};

static void *budget_alloc(void *userdata, size_t size)
{
	struct budget *budget = userdata;
	if (budget->left < MESSAGE_ALLOCATION_COST || size > budget->left - MESSAGE_ALLOCATION_COST)
		return NULL;
	budget->left -= size + MESSAGE_ALLOCATION_COST;
	void *p = malloc(size ? size : 1);
	if (!p)
		budget->out_of_memory = true;
	return p;
}

static void budget_free(void *userdata, void *p)
{
	(void)userdata;
	free(p);
}

int message_unpack(const ProtobufCMessageDescriptor *descriptor, const void *data, size_t size,
		   ProtobufCMessage **ret)
{
	struct budget budget = { .left = MESSAGE_UNPACK_MAX };
	ProtobufCAllocator allocator = {
		.alloc = budget_alloc,
		.free = budget_free,
		.allocator_data = &budget,
	};
	ProtobufCMessage *m = protobuf_c_message_unpack(descriptor, &allocator, size, data);
	if (!m)
		return budget.out_of_memory ? -ENOMEM : -EPROTO;
	*ret = m;
	return 0;
}

ProtobufCMessage *wire_message_unpack(const ProtobufCMessageDescriptor *descriptor,
				      const void *data, size_t size)
{
	ProtobufCMessage *m;
	return message_unpack(descriptor, data, size, &m) < 0 ? NULL : m;
}

ProtobufCMessage *wire_message_free(ProtobufCMessage *message)
{
	if (message)
		protobuf_c_message_free_unpacked(message, NULL); /* NULL: free() */
	return NULL;
}

/* ---- fields ---- */

ProtobufCBinaryData wire_bytes(const void *data, size_t size)
{
	return (ProtobufCBinaryData){ .data = (uint8_t *)data, .len = data ? size : 0 };
}

ProtobufCBinaryData wire_string(const char *s)
{
	return wire_bytes(s, s ? strlen(s) : 0);
}

int wire_bytes_to_string(const ProtobufCBinaryData *bytes, char **ret)
{
	if (bytes->len && memchr(bytes->data, 0, bytes->len))
		return -EINVAL;
	char *s = malloc(bytes->len + 1);
	if (!s)
		return -ENOMEM;
	if (bytes->len)
		memcpy(s, bytes->data, bytes->len);
	s[bytes->len] = 0;
	*ret = s;
	return 0;
}

int wire_bytes_to_strv(const ProtobufCBinaryData *bytes, size_t count, char ***ret)
{
	_cleanup_(wire_strv_freep) char **strv = calloc(count + 1, sizeof(*strv));
	if (!strv)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		int r = wire_bytes_to_string(&bytes[i], &strv[i]);
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(strv);
	return 0;
}

char **wire_strv_free(char **strv)
{
	for (char **s = strv; s && *s; s++)
		free(*s);
	free(strv);
	return NULL;
}

/* ---- errors ---- */

void wire_failure_from_error(Cove__Wire__Failure *failure, const struct cove_error *err)
{
	cove__wire__failure__init(failure);
	failure->code = err->code;
	failure->has_os_errno = err->os_errno > 0;
	failure->os_errno = (uint32_t)err->os_errno;
	failure->has_stage = err->stage > 0;
	failure->stage = (uint32_t)err->stage;
	failure->has_origin = true;
	failure->origin = (uint32_t)err->origin;
	failure->has_text = true;
	failure->text = wire_bytes(err->message, strnlen(err->message, sizeof(err->message)));
}

static bool code_known(int code)
{
	switch (code) {
#define CODE_CASE(name, number, text) case (number):
		COVE_ERROR_LIST(CODE_CASE)
#undef CODE_CASE
		return true;
	default:
		return false;
	}
}

/* One line that no terminal takes for a command, cut to what fits. */
static void copy_text(char *to, size_t to_size, const ProtobufCBinaryData *text)
{
	size_t n = MIN(text->len, to_size - 1);
	for (size_t i = 0; i < n; i++) {
		uint8_t c = text->data[i];
		to[i] = (char)(c < 0x20 || c == 0x7f ? '?' : c);
	}
	to[n] = 0;
}

int wire_failure_to_error(const Cove__Wire__Failure *failure, struct cove_error *err)
{
	int code = code_known(failure->code) ? failure->code : COVE_E_PROTOCOL;
	if (!err)
		return code;
	*err = (struct cove_error){ .code = code };
	if (failure->has_os_errno && failure->os_errno <= 4095) /* MAX_ERRNO of Linux */
		err->os_errno = (int)failure->os_errno;
	if (failure->has_stage && failure->stage <= COVE_STAGE_EXEC)
		err->stage = (int)failure->stage;
	if (failure->has_origin && failure->origin <= COVE_ORIGIN_GUEST)
		err->origin = (int)failure->origin;
	copy_text(err->message, sizeof(err->message), &failure->text);
	return code;
}

int wire_send_failure(struct wire_link *link, uint32_t stream, uint8_t type,
		      const struct cove_error *err)
{
	Cove__Wire__Failure failure;
	wire_failure_from_error(&failure, err);
	return wire_send_message(link, stream, type, &failure.base);
}
