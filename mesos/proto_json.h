/* Protobuf messages as JSON, by their descriptors: field names as in the .proto, enums by name. */
#ifndef AURORA_MESOS_PROTO_JSON_H
#define AURORA_MESOS_PROTO_JSON_H

#include "core/arena.h"
#include "core/buf.h"

#include <cjson/cJSON.h>

/* The message as an object in Mesos's v1 form: agent_id for slave_id, unset fields left out, empty repeated fields as
 * []. */
void proto_write_json(const void *message, struct buf *out);

/* Fills an initialised message; its content is in a. Unknown members are errors; booleans may be the strings "true"
 * and "false". ERR_INVALID, and in err_text where and what: `command.shell: not true or false`. A missing
 * required field is an error, too. */
int proto_read_json(const cJSON *j, void *message, struct arena *a, struct buf *err_text);

#endif
