/* Protobuf messages in arenas: everything that belongs to one decoded or built message is freed with its arena, so no
 * message here has an owner of its own. */
#ifndef AURORA_MESOS_PROTO_H
#define AURORA_MESOS_PROTO_H

#include "core/arena.h"
#include "core/buf.h"

#include <protobuf-c/protobuf-c.h>

/* Decodes into a. NULL: malformed, a required field is missing, or more than LIMIT_MESOS_DECODED_BYTES of memory are
 * wanted. Strings end at the first NUL byte inside. None of our messages is recursive (a field that would be is left
 * out of the .proto), so the depth is bounded by the schema. */
void *proto_unpack(const ProtobufCMessageDescriptor *d, const void *body, size_t n, struct arena *a);
/* Appends the encoded message. */
void proto_pack(const void *message, struct buf *out);
/* An initialised message without content. */
void *proto_new(const ProtobufCMessageDescriptor *d, struct arena *a);

/* A C string in a; NULL for the unset str. */
char *proto_str(struct str s, struct arena *a);
/* Bytes of s, borrowed. */
ProtobufCBinaryData proto_bytes(struct str s);
/* The name of an enum's value ("TASK_LOST"), unset for an unknown number. */
struct str proto_enum_name(const ProtobufCEnumDescriptor *d, int value);

#endif
