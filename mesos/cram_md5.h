/* The client's answer in CRAM-MD5 (RFC 2195). */
#ifndef AURORA_MESOS_CRAM_MD5_H
#define AURORA_MESOS_CRAM_MD5_H

#include "core/buf.h"

/* Appends principal, a blank and the lower-case hex HMAC-MD5 of the challenge under the secret. */
void cram_md5_answer(struct str principal, struct str secret, const void *challenge, size_t n, struct buf *out);

#endif
