#include "mesos/cram_md5.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

void cram_md5_answer(struct str principal, struct str secret, const void *challenge, size_t n, struct buf *out)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    const unsigned char *ok =
        HMAC(EVP_md5(), secret.p ? secret.p : "", (int)secret.n, challenge ? challenge : "", n, digest, &len);
    assert(ok != NULL);
    assert(len == 16);
    buf_add_str(out, principal);
    buf_addc(out, ' ');
    for (unsigned i = 0; i < len; i++) buf_addf(out, "%02x", digest[i]);
}
