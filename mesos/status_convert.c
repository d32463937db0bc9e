#include "mesos/status_convert.h"

#include "mesos/proto.h"

#include "net/libprocess.h"

#include <math.h>

static int64_t to_ms(double seconds)
{
    return seconds >= 0 && seconds < 1e12 ? llround(seconds * 1000) : -1;
}

static bool from_agent(const Mesos__Internal__StatusUpdateMessage *m)
{
    struct upid pid;
    return m->pid && upid_parse(str_c(m->pid), &pid) == 0 && upid_valid(&pid);
}

void status_convert(const Mesos__Internal__StatusUpdateMessage *m, struct status_update *ret)
{
    const Mesos__Internal__StatusUpdate *u = m->update;
    const Mesos__TaskStatus *s = u->status;
    const Mesos__SlaveID *agent = s->slave_id ? s->slave_id : u->slave_id;
    *ret = (struct status_update){
        .task_id = str_c(s->task_id->value),
        .agent_id = str_c(agent ? agent->value : NULL),
        .state = (int)s->state,
        .source = s->has_source ? (int)s->source : -1,
        .reason = s->has_reason ? (int)s->reason : -1,
        .message = str_c(s->message),
        .timestamp_ms = to_ms(s->has_timestamp ? s->timestamp : u->timestamp),
    };
    if (ret->reason >= 0) ret->reason_name = proto_enum_name(&mesos__task_status__reason__descriptor, ret->reason);
    ret->has_uuid = u->has_uuid && u->uuid.len == sizeof(ret->uuid) && agent && from_agent(m);
    if (ret->has_uuid) memcpy(ret->uuid, u->uuid.data, sizeof(ret->uuid));
}
