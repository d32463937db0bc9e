/* A call of the RPC between its request and its answer, for those who answer it: the scheduler (http.c) or, for the
 * methods on snapshots and backups, recovery.c. Each call is answered exactly once, or never if the process ends. */
#ifndef AURORA_ADMIN_RPC_CALL_H
#define AURORA_ADMIN_RPC_CALL_H

#include "admin/rpc.h"

struct rpc_call;

const struct rpc_request *rpc_call_request(const struct rpc_call *call);
/* A response as each begins: OK, without details; in a. */
struct api_response *rpc_call_response(const struct rpc_call *call, struct arena *a);
/* Encodes the answer. May run on the pool. */
void rpc_call_encode(struct rpc_call *call, const struct api_response *response);
/* Counts, logs and sends what was encoded; `response` is that of the encoding. The call is gone then. */
void rpc_call_send(struct rpc_call *call, const struct api_response *response);

#endif
