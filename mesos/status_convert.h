/* A status update as the core sees it. */
#ifndef AURORA_MESOS_STATUS_CONVERT_H
#define AURORA_MESOS_STATUS_CONVERT_H

#include "core/sched.h"

#include "mesos/messages.pb-c.h"

/* Strings point into m. The uuid, and with it the wish for an acknowledgement, counts only where the update came from
 * an agent (its pid is not the null pid), is one (16 bytes), and the agent's id is known. */
void status_convert(const Mesos__Internal__StatusUpdateMessage *m, struct status_update *ret);

#endif
