/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WIRE_MESSAGE_H
#define WIRE_MESSAGE_H

/* Protobuf messages on a link, and the one error type on its way through them. */

#include <protobuf-c/protobuf-c.h>

#include "cove/error.h"
#include "wire/cove.pb-c.h"
#include "wire/link.h"

/* Packs and queues; errors of wire_link_send() / wire_link_open(). */
int wire_send_message(struct wire_link *link, uint32_t stream, uint8_t type,
		      const ProtobufCMessage *message) _must_check_;
int wire_open_message(struct wire_link *link, uint8_t type, const ProtobufCMessage *message,
		      void *userdata, uint32_t *ret_stream) _must_check_;

/*
 * Unpacks the message of an event; NULL when it is not one (hostile bytes) or memory is out. Counts
 * of repeated fields are bounded by WIRE_MESSAGE_MAX. Free with wire_message_free().
 *
 *	_cleanup_(wire_message_freep) ProtobufCMessage *m =
 *wire_message_unpack(&cove__wire__exec__descriptor, …)
 */
ProtobufCMessage *wire_message_unpack(const ProtobufCMessageDescriptor *descriptor,
				      const void *data, size_t size);
ProtobufCMessage *wire_message_free(ProtobufCMessage *message);
DEFINE_CLEANUP(ProtobufCMessage *, wire_message_free)

/* A string or byte array field that borrows from C memory. NULL gives an absent (empty) field. */
ProtobufCBinaryData wire_bytes(const void *data, size_t size);
ProtobufCBinaryData wire_string(const char *s);
/* A field as an allocated C string: -EINVAL when it holds a NUL, -ENOMEM. */
int wire_bytes_to_string(const ProtobufCBinaryData *bytes, char **ret) _must_check_;
/* The same for a repeated field: a NULL-terminated array, freed by wire_strv_free(). */
int wire_bytes_to_strv(const ProtobufCBinaryData *bytes, size_t count, char ***ret) _must_check_;
char **wire_strv_free(char **strv);
DEFINE_CLEANUP(char **, wire_strv_free)

/* failure borrows err's text. */
void wire_failure_from_error(Cove__Wire__Failure *failure, const struct cove_error *err);
/* Copes with anything a peer may have put there; returns err->code, which is always negative. */
int wire_failure_to_error(const Cove__Wire__Failure *failure, struct cove_error *err);
int wire_send_failure(struct wire_link *link, uint32_t stream, uint8_t type,
		      const struct cove_error *err) _must_check_;

#endif
