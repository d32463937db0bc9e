/* What a scheduler that does not lead says to those who want the leader (reference: http, section 4). */
#ifndef AURORA_ADMIN_REDIRECT_H
#define AURORA_ADMIN_REDIRECT_H

#include "admin/app.h"

/* Whether a decoded path is the leader's to serve. */
bool redirect_applies(struct str path);
/* True: the request is answered, by sending the client to the leader (307) or by saying that there is none (503). */
bool redirect_request(struct app *a, struct http_request *r, struct str path);

#endif
