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
/* Bytes of a streamed answer that wait before its maker is asked to pause. */
#define LIMIT_HTTP_STREAM_BYTES (256u << 10)
/* Beyond the connection cap this many more get a 503; all others are just closed. */
#define LIMIT_HTTP_REFUSED_CONNECTIONS 64
/* How long a refused peer may take to read why and to close. */
#define LIMIT_HTTP_LINGER_MS 2000
/* Client: kept connections per address and in all, how long they are kept, and the default time for a whole call. */
#define LIMIT_HTTP_CLIENT_KEPT 8
#define LIMIT_HTTP_CLIENT_KEPT_ALL 256
#define LIMIT_HTTP_CLIENT_KEPT_MS 30000
#define LIMIT_HTTP_CLIENT_MS 30000
/* Bytes that may wait for one libprocess peer; beyond it the link is dropped as if it had failed. */
#define LIMIT_LIBPROCESS_OUT_BYTES (256u << 20)
#define LIMIT_LIBPROCESS_PEERS 65536
#define LIMIT_LIBPROCESS_CONNECT_MS 10000

/* Commands that wait for their log entry to become durable. Beyond it RPC answers ERROR_TRANSIENT. */
#define LIMIT_PENDING_COMMANDS 10000
#define LIMIT_PENDING_LOG_BYTES (256u << 20)

/* Metrics of one /graphdata request: each may give an hour of points. */
#define LIMIT_GRAPH_METRICS 128
/* The Mesos driver. Offers kept, each as the packed message of about 1 KB; what comes beyond is declined. Rescinds that
 * came before their offers, oldest forgotten first. Launches that failed here and wait for their EV_STATUS; what comes
 * beyond is left to the time-out of transient states. Memory of one decoded message. */
#define LIMIT_DRIVER_OFFERS 200000
#define LIMIT_DRIVER_RESCINDS 4096
#define LIMIT_DRIVER_LOCAL_UPDATES 10000
#define LIMIT_MESOS_DECODED_BYTES (1u << 30)
/* Executors of a custom_executor_config and the bytes of that file. */
#define LIMIT_EXECUTORS 1000
#define LIMIT_EXECUTOR_CONFIG_BYTES (4u << 20)

/* The log. One entry, which may be framed into many records, as it is stored and as it is inflated; bytes that may wait
 * to be written (users are turned away at LIMIT_PENDING_LOG_BYTES, long before). */
#define LIMIT_LOG_ENTRY_BYTES (256u << 20)
#define LIMIT_LOG_INFLATED_BYTES (1u << 30)
#define LIMIT_LOG_QUEUE_BYTES (512u << 20)

/* Backups. Bytes of one value of a file that is read (a task with its config, an update with its events); file names
 * that are listed; backups that wait to be written; calls of the recovery methods that wait for each other. */
#define LIMIT_BACKUP_VALUE_BYTES (80u << 20)
#define LIMIT_BACKUP_NAMES 10000
#define LIMIT_BACKUP_QUEUE 16
#define LIMIT_RECOVERY_CALLS 64

/* Work of one step of the scheduler; what is left is due at once in the next one, so that the loop stays free. (Placed
 * tasks: up to twice as many to fill the last offer's share.) */
#define LIMIT_STEP_PLACED_TASKS 100
#define LIMIT_STEP_TIMERS 1000
/* Instances of a new job that one step creates. */
#define LIMIT_STEP_CREATED_TASKS 250

/* The quorum size of the log; twice as many replicas, less one, may take part. */
#define LIMIT_LOG_QUORUM 16
/* Positions that a replica which was away fetches at a time. Each may hold an entry's record. */
#define LIMIT_LOG_FILLS 32

/* Identifiers of users: role, environment, job, tier, owner. */
#define LIMIT_IDENTIFIER_BYTES 255

/* Words of the command line, those of @files included; bytes of one file. */
#define LIMIT_FLAG_ARGUMENTS 4096
#define LIMIT_CONFIG_FILE_BYTES (16u << 20)

/* Answers above this many tasks are encoded, and bodies above this many bytes compressed, off the loop. */
#define LIMIT_INLINE_ANSWER_TASKS 200
#define LIMIT_INLINE_GZIP_BYTES (32u << 10)

/* Effects that are carried out in one pass of the loop. */
#define LIMIT_RELEASE_WORK 200

/* Status updates that are stepped together: few enough not to hold the loop up. */
#define LIMIT_STATUS_BATCH 200

/* Log lines that wait for a slow reader of standard error. */
#define LIMIT_LOG_BUFFER_BYTES (1u << 20)

/* Points of one time series of /graphdata, whatever the flags ask for. */
#define LIMIT_STATS_POINTS 86400
/* mesos-local. Agents; ids of torn-down frameworks that stay dead (Mesos: 50); updates of one task that wait for
 * acknowledgement; how long an agent waits for one, at first and at most; from SIGTERM to SIGKILL where nobody says; a
 * simulated executor's life after its last task; its HTTP answers: bytes of one read of a file (Mesos: 16 pages) and of
 * a whole one. */
#define LIMIT_LOCAL_AGENTS 100000
#define LIMIT_LOCAL_COMPLETED_FRAMEWORKS 50
#define LIMIT_LOCAL_TASK_UPDATES 64
#define LIMIT_LOCAL_UPDATE_RETRY_MS 10000
#define LIMIT_LOCAL_UPDATE_RETRY_MAX_MS 600000
#define LIMIT_LOCAL_KILL_GRACE_MS 3000
#define LIMIT_LOCAL_EXECUTOR_LINGER_MS 100
#define LIMIT_LOCAL_CREDENTIALS 1000
#define LIMIT_LOCAL_READ_BYTES 65536
#define LIMIT_LOCAL_DOWNLOAD_BYTES (64u << 20)
/* Rules about what becomes of messages, and messages that such a rule holds back. */
#define LIMIT_LOCAL_FAULTS 64
#define LIMIT_LOCAL_HELD_MESSAGES 10000

#endif
