/* Bodies of the master's messages, as the driver takes them: the first byte chooses the type. */
#include "mesos/offer_convert.h"
#include "mesos/proto.h"
#include "mesos/proto_json.h"
#include "mesos/status_convert.h"

#include <stdlib.h>

#include "mesos/authentication.pb-c.h"
#include "mesos/scheduler.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const ProtobufCMessageDescriptor *const types[] = {
    &mesos__internal__resource_offers_message__descriptor,
    &mesos__internal__status_update_message__descriptor,
    &mesos__internal__framework_registered_message__descriptor,
    &mesos__internal__framework_error_message__descriptor,
    &mesos__internal__exited_executor_message__descriptor,
    &mesos__internal__executor_to_framework_message__descriptor,
    &mesos__internal__inverse_offers_message__descriptor,
    &mesos__internal__authentication_mechanisms_message__descriptor,
    &mesos__scheduler__call__descriptor,
};

static void use_offers(const Mesos__Internal__ResourceOffersMessage *m, struct arena *a)
{
    struct buf json = { 0 };
    for (size_t i = 0; i < m->n_offers; i++) {
        struct offer o;
        offer_convert(m->offers[i], &o, a);
        proto_write_json(m->offers[i], &json);
    }
    buf_release(&json);
}

/* What was decoded can be sent again, and comes back the same; unless it had a field number 0, which protobuf-c takes
 * in two bytes, writes in one, and then refuses. */
static void check_round_trip(const void *m, const ProtobufCMessageDescriptor *d, struct arena *a)
{
    struct buf once = { 0 }, twice = { 0 };
    proto_pack(m, &once);
    const void *again = proto_unpack(d, once.data, once.len, a);
    if (again) proto_pack(again, &twice);
    if (again && (once.len != twice.len || (once.len && memcmp(once.data, twice.data, once.len) != 0))) abort();
    buf_release(&once);
    buf_release(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0) return 0;
    const ProtobufCMessageDescriptor *d = types[data[0] % (sizeof(types) / sizeof(types[0]))];
    struct arena a = { 0 };
    const void *m = proto_unpack(d, data + 1, n - 1, &a);
    if (m) check_round_trip(m, d, &a);
    if (m && d == types[0]) use_offers(m, &a);
    struct status_update u;
    if (m && d == types[1]) status_convert(m, &u);
    arena_release(&a);
    return 0;
}
