/* Every limit has its name here. Each is tested at its edge. Add yours; do not hide one in code. */
#ifndef AURORA_CORE_LIMITS_H
#define AURORA_CORE_LIMITS_H

/* Codecs: nesting of structs and containers, bytes of one string, elements of one container. */
#define LIMIT_CODEC_DEPTH 64
#define LIMIT_CODEC_STRING_BYTES (64u << 20)
#define LIMIT_CODEC_ELEMENTS (1u << 20)
/* Memory of one decoded message, as a multiple of nothing: an absolute cap against small inputs
 * that unfold into much. */
#define LIMIT_CODEC_ARENA_BYTES (1u << 30)

/* HTTP. A libprocess peer may send headers up to 80 KiB (http-parser's limit). */
#define LIMIT_HTTP_HEADER_BYTES (80u << 10)
#define LIMIT_HTTP_URL_BYTES (16u << 10)
#define LIMIT_HTTP_HEADERS 128
#define LIMIT_HTTP_BODY_BYTES (32u << 20)
#define LIMIT_LIBPROCESS_BODY_BYTES (256u << 20)
#define LIMIT_HTTP_PIPELINE 64
#define LIMIT_HTTP_CONNECTIONS 4096
#define LIMIT_HTTP_IDLE_MS 60000
#define LIMIT_HTTP_REQUEST_MS 30000
#define LIMIT_HTTP_OUT_BYTES (64u << 20)
/* Bytes that may wait for one libprocess peer; beyond it the link is dropped as if it had failed. */
#define LIMIT_LIBPROCESS_OUT_BYTES (256u << 20)
#define LIMIT_LIBPROCESS_PEERS 65536

/* Commands that wait for their log entry to become durable. Beyond it RPC answers ERROR_TRANSIENT. */
#define LIMIT_PENDING_COMMANDS 10000
#define LIMIT_PENDING_LOG_BYTES (256u << 20)

/* Identifiers of users: role, environment, job, tier, owner. */
#define LIMIT_IDENTIFIER_BYTES 255

#endif
