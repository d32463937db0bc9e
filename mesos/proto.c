#include "mesos/proto.h"

#include "core/limits.h"

#include <assert.h>

static void *arena_take(void *a, size_t n)
{
    return arena_alloc(a, n);
}

static void arena_keep(void *a, void *p)
{
    (void)a;
    (void)p;
}

void *proto_unpack(const ProtobufCMessageDescriptor *d, const void *body, size_t n, struct arena *a)
{
    ProtobufCAllocator alloc = { .alloc = arena_take, .free = arena_keep, .allocator_data = a };
    size_t max = a->max_bytes;
    a->max_bytes = a->used + LIMIT_MESOS_DECODED_BYTES;
    void *m = protobuf_c_message_unpack(d, &alloc, n, n ? body : (const uint8_t *)"");
    a->max_bytes = max;
    return m;
}

void proto_pack(const void *message, struct buf *out)
{
    const ProtobufCMessage *m = message;
    assert(m->descriptor != NULL);
    size_t n = protobuf_c_message_get_packed_size(m);
    size_t written = protobuf_c_message_pack(m, buf_reserve(out, n + 1));
    assert(written == n);
    buf_commit(out, written);
}

void *proto_new(const ProtobufCMessageDescriptor *d, struct arena *a)
{
    void *m = arena_alloc(a, d->sizeof_message);
    assert(m != NULL);
    protobuf_c_message_init(d, m);
    return m;
}

char *proto_str(struct str s, struct arena *a)
{
    return (char *)arena_str(a, s).p;
}

ProtobufCBinaryData proto_bytes(struct str s)
{
    return (ProtobufCBinaryData){ .len = s.n, .data = (uint8_t *)s.p };
}

struct str proto_enum_name(const ProtobufCEnumDescriptor *d, int value)
{
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(d, value);
    return str_c(v ? v->name : NULL);
}
