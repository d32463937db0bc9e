/* The RPC without its sockets: bytes to a method with arguments, a Response to bytes (reference: api §7 to §11).
 *
 *   POST /api/v1/<method>    plain JSON, ours: {"argument": ...}; unknown members are refused, with the place
 *   POST /apibeta/<method>   plain JSON as Aurora has it: unknown members are ignored, Gson's form of the answer
 *   POST /api                Thrift messages: TJSON, or TBinary by Content-Type and Accept
 *
 * All methods come from the IDL (api_methods[]); the service that declares one says whether it changes anything and
 * what permission it needs; sched_serves() says whether it is implemented. */
#ifndef AURORA_ADMIN_RPC_H
#define AURORA_ADMIN_RPC_H

#include "core/thrift.h"

#include "api.gen.h"

enum rpc_form { RPC_V1, RPC_BETA, RPC_TJSON, RPC_TBINARY };

#define TYPE_TEXT "text/plain;charset=UTF-8"
#define TYPE_HTML "text/html;charset=UTF-8"
#define TYPE_JSON "application/json"
#define TYPE_TJSON "application/vnd.apache.thrift.json"
#define TYPE_TBINARY "application/vnd.apache.thrift.binary"

/* A request that was understood. */
struct rpc_request {
    enum rpc_form form; /* of the answer */
    const struct tmethod *method;
    void *args;         /* of type method->args */
    struct str name;    /* as it was sent */
    int32_t seqid;      /* Thrift forms */
    struct arena arena; /* owns all of it */
};

/* What goes back over HTTP. */
struct rpc_answer {
    int status;
    const char *content_type;
    struct buf body;
};

/* Thrift errors inside the protocol. */
enum rpc_exception { RPC_UNKNOWN_METHOD = 1, RPC_INTERNAL_ERROR = 6, RPC_PROTOCOL_ERROR = 7 };

/* True: *q is filled and rpc_request_release() is due. False: *a is the whole answer. */
bool rpc_read_thrift(struct str content_type, struct str accept, struct str body, struct rpc_request *q,
                     struct rpc_answer *a);
/* form is RPC_V1 or RPC_BETA; `server` is put into error answers. */
bool rpc_read_json(enum rpc_form form, struct str method, struct str body, const struct api_server_info *server,
                   struct rpc_request *q, struct rpc_answer *a);
void rpc_request_release(struct rpc_request *q);

/* The answer to q. Reads only what it is given, so it may run on another thread. */
void rpc_write(const struct rpc_request *q, const struct api_response *response, struct rpc_answer *a);
/* A JSON answer (RPC_V1, RPC_BETA) that is an error with one message. */
void rpc_write_error(enum rpc_form form, int status, enum api_response_code code, const struct api_server_info *server,
                     struct str message, struct rpc_answer *a);

/* ---- the method table ---- */

/* NULL if there is none of that name (case counts). */
const struct tmethod *rpc_method(struct str name);
/* False for the methods of ReadOnlyScheduler. */
bool rpc_method_writes(const struct tmethod *m);
/* Appends what a user needs, "" for none: "thrift.AuroraAdmin:snapshot"; those of AuroraSchedulerManager are
 * followed by ":role:env:job" of the job concerned. */
void rpc_method_permission(const struct tmethod *m, struct buf *out);
/* The table as a JSON array: name, service, doc, writes, permission, implemented, arguments. */
void rpc_write_methods(struct buf *out);

#endif
