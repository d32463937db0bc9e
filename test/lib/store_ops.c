#include "test/lib/store_ops.h"

#include "core/thrift.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

int try_json(struct store *s, const char *json)
{
    struct arena a = { 0 };
    struct buf err = { 0 };
    struct api_op *op = ARENA_NEW(&a, struct api_op);
    if (json_read(json, strlen(json), &api_op_desc, op, &a, JSON_STRICT, &err))
        fail_msg("%s: %s", json, buf_cstr(&err));
    int rv = store_apply(s, op);
    arena_release(&a);
    buf_release(&err);
    return rv;
}

void apply_json(struct store *s, const char *json)
{
    assert_int_equal(try_json(s, json), 0);
}

void put_task(struct store *s, int id, int job, const char *status)
{
    char op[1024];
    snprintf(op, sizeof(op),
             "{\"saveTasks\":{\"tasks\":[{\"assignedTask\":{\"taskId\":\"t%d\",\"instanceId\":%d,\"slaveId\":\"S%d\","
             "\"slaveHost\":\"h%d\",\"task\":{\"job\":{\"role\":\"r\",\"environment\":\"prod\",\"name\":\"j%d\"}}},"
             "\"status\":\"%s\",\"taskEvents\":[{\"timestamp\":1,\"status\":\"%s\"}]}]}}",
             id, id, id % 5, id % 5, job, status, status);
    apply_json(s, op);
}

void remove_task(struct store *s, int id)
{
    char op[128];
    snprintf(op, sizeof(op), "{\"removeTasks\":{\"taskIds\":[\"t%d\"]}}", id);
    apply_json(s, op);
}

void put_host(struct store *s, int id, const char *mode)
{
    char op[256];
    snprintf(op, sizeof(op),
             "{\"saveHostAttributes\":{\"hostAttributes\":{\"host\":\"h%d\",\"slaveId\":\"S%d\",\"mode\":\"%s\","
             "\"attributes\":[{\"name\":\"rack\",\"values\":[\"%d\"]}]}}}",
             id, id, mode, id);
    apply_json(s, op);
}
