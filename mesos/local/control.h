/* The HTTP side of mesos-local: what it does and has (GET /state, /health, /files/...) and orders for tests (POST
 * /control/...). docs/mesos-local.md lists them. */
#ifndef AURORA_MESOS_LOCAL_CONTROL_H
#define AURORA_MESOS_LOCAL_CONTROL_H

#include "net/http.h"

/* A request that is no libprocess message; arg: struct wire. Always answers at once. */
void control_handle(struct http_request *r, void *arg);

#endif
