/* Mesos's protobuf form of the log's messages. Everything that would make a C++ peer abort (a write without its
 * payload, a learned message that is not learned, a performed action without a value) is refused in both directions. */
#ifndef AURORA_LOG_WIRE_H
#define AURORA_LOG_WIRE_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/str.h"
#include "log/message.h"

/* "mesos.internal.log.PromiseRequest" and so on: the name under which libprocess sends it. */
const char *message_name(enum message_kind k);
/* The kind of that name. ERR_NOT_FOUND. */
int message_kind_of(struct str name, enum message_kind *ret);

/* Appends the body to out. The message is this program's own, so it is asserted to be sound. */
void message_encode(const struct message *m, struct buf *out);
/* ERR_MALFORMED: does not parse, or breaks a rule of the protocol. The payload is copied into a. */
int message_decode(enum message_kind k, const void *data, size_t n, struct arena *a, struct message *ret);

#endif
