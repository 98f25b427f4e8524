/* SPDX-License-Identifier: Apache-2.0 */

/* Any bytes as any message: the first byte says which. */

#include <stdlib.h>
#include <string.h>

#include "base/macro.h"
#include "fuzz.h"
#include "wire/message.h"

static const ProtobufCMessageDescriptor *const descriptors[] = {
	&cove__wire__hello__descriptor,	       &cove__wire__goodbye__descriptor,
	&cove__wire__failure__descriptor,      &cove__wire__exec__descriptor,
	&cove__wire__attach__descriptor,       &cove__wire__started__descriptor,
	&cove__wire__exited__descriptor,       &cove__wire__stdin_error__descriptor,
	&cove__wire__signal__descriptor,       &cove__wire__resize__descriptor,
	&cove__wire__ack__descriptor,	       &cove__wire__session_list__descriptor,
	&cove__wire__create__descriptor,       &cove__wire__stop_request__descriptor,
	&cove__wire__sandbox_info__descriptor, &cove__wire__start__descriptor,
	&cove__wire__ready__descriptor,	       &cove__wire__shutdown__descriptor,
	&cove__wire__close_output__descriptor, &cove__wire__flush__descriptor,
	&cove__wire__collect__descriptor,      &cove__wire__detach_request__descriptor,
};

static void check_failure(const ProtobufCMessage *m)
{
	struct cove_error err = COVE_ERROR_INIT;
	int code = wire_failure_to_error((const Cove__Wire__Failure *)m, &err);
	FUZZ_CHECK(code < 0 && err.code == code);
	FUZZ_CHECK(memchr(err.message, 0, sizeof(err.message)));
	FUZZ_CHECK(!strchr(err.message, '\n'));

	Cove__Wire__Failure again;
	struct cove_error second = COVE_ERROR_INIT;
	wire_failure_from_error(&again, &err);
	FUZZ_CHECK(wire_failure_to_error(&again, &second) == code);
	FUZZ_CHECK(memcmp(&err, &second, sizeof(err)) == 0);
}

static void check_strings(const ProtobufCMessage *m)
{
	const Cove__Wire__Exec *exec = (const Cove__Wire__Exec *)m;
	_cleanup_(wire_strv_freep) char **argv = NULL;
	if (wire_bytes_to_strv(exec->argv, exec->n_argv, &argv) < 0)
		return;
	size_t n = 0;
	while (argv[n])
		n++;
	FUZZ_CHECK(n == exec->n_argv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	const ProtobufCMessageDescriptor *d = descriptors[data[0] % ARRAY_SIZE(descriptors)];
	_cleanup_(wire_message_freep) ProtobufCMessage *m =
		wire_message_unpack(d, data + 1, size - 1);
	if (!m)
		return 0;
	if (d == &cove__wire__failure__descriptor)
		check_failure(m);
	if (d == &cove__wire__exec__descriptor)
		check_strings(m);

	size_t n = protobuf_c_message_get_packed_size(m);
	uint8_t *packed = malloc(n + 1);
	FUZZ_CHECK(packed);
	FUZZ_CHECK(protobuf_c_message_pack(m, packed) == n);
	/* May fail: protobuf-c takes some unknown fields that it does not take from itself. */
	wire_message_free(wire_message_unpack(d, packed, n));
	free(packed);
	return 0;
}
