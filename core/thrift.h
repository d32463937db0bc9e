/* Generic Thrift codecs over descriptors that core/idl/gen.py derives from core/idl/{api,storage}.thrift.
 *
 * Shape of the generated C (build/gen/api.gen.h), for `struct TaskConfig` of the IDL:
 *   struct api_task_config { ... };  extern const struct tdesc api_task_config_desc;
 *   - struct and field names in snake_case; enums `enum api_schedule_status { API_SCHEDULE_STATUS_PENDING, ... }`
 *   - string, binary:    struct str x;             unset: x.p == NULL
 *   - bool/int/double/enum: bool has_x; T x;       unset: !has_x (the value is then the IDL default or 0)
 *   - struct, union:     struct api_foo *x;        unset: NULL
 *   - list, set:         bool has_x; uint32_t n_x; T *x;           (T = struct api_foo, struct str, int32_t, ...)
 *   - map:               bool has_x; uint32_t n_x; K *x_keys; V *x;
 *   - a union is a struct in which exactly one member is set.
 * A zeroed struct has nothing set. All memory that a decoder makes is in the caller's arena.
 *
 * One more of each per service method: `struct api_create_job_args`, `api_create_job_args_desc`, and
 * the table `api_methods[]`.
 */
#ifndef AURORA_CORE_THRIFT_H
#define AURORA_CORE_THRIFT_H

#include "core/arena.h"
#include "core/buf.h"
#include "core/str.h"

enum ttype { /* TBinary wire numbers */
             TT_STOP = 0,
             TT_BOOL = 2,
             TT_I8 = 3,
             TT_DOUBLE = 4,
             TT_I16 = 6,
             TT_I32 = 8,
             TT_I64 = 10,
             TT_STRING = 11,
             TT_STRUCT = 12,
             TT_MAP = 13,
             TT_SET = 14,
             TT_LIST = 15,
};

struct tdesc;

struct tenum {
    const char *name;         /* "ScheduleStatus" */
    const char *const *names; /* parallel to values */
    const int32_t *values;
    uint32_t n;
};

/* The type of a field, an element, a key or a value. */
struct ttypedesc {
    enum ttype type;
    bool is_binary;               /* TT_STRING of IDL type `binary` */
    const struct tdesc *st;       /* TT_STRUCT */
    const struct tenum *en;       /* TT_I32 that is an enum */
    const struct ttypedesc *elem; /* TT_LIST, TT_SET: element; TT_MAP: value */
    const struct ttypedesc *key;  /* TT_MAP */
};

struct tfield {
    const char *name; /* IDL name, as in plain JSON */
    const char *doc;  /* the IDL's comment or "" */
    int16_t id;
    bool optional; /* declared `optional` */
    struct ttypedesc type;
    uint16_t off;     /* of the value (or pointer) */
    uint16_t has_off; /* of has_x, where the kind has one */
    uint16_t n_off;   /* of n_x */
    uint16_t keys_off;
    /* Set where the IDL gives a default: puts it into the field of obj; false if the arena is full. */
    bool (*set_default)(void *obj, struct arena *a);
};

struct tdesc {
    const char *name; /* IDL name */
    const char *doc;  /* the IDL's comment or "" */
    bool is_union;
    uint32_t size; /* sizeof the C struct */
    uint16_t n_fields;
    const struct tfield *fields; /* ascending by id */
};

struct tmethod {
    const char *name;    /* "createJob" */
    const char *service; /* "ReadOnlyScheduler", "AuroraSchedulerManager", "AuroraAdmin" */
    const char *doc;     /* the IDL's comment or "" */
    const struct tdesc *args;
};

/* ---- storage form (reference: which fields are always written) ----
 * Brings obj, in place, to the form in which Aurora keeps and compares values: numbers and booleans
 * set (unset = 0/false) even where optional, lists, sets and maps set (unset = empty), sets and maps sorted and
 * without duplicates, IDL defaults filled in. Enums, strings, structs and unions stay unset if unset.
 * Two values are equal exactly if their tbinary_write() after this is.
 * a has no max_bytes, or nothing is missing that has an IDL default (so after every reader). */
void thrift_normalize(const struct tdesc *d, void *obj, struct arena *a);

/* A total order over values, by fields in ascending id; 0 means equal. Sets and maps are compared as they lie, so bring
 * both sides to storage form first where their order may differ. */
int thrift_compare(const struct tdesc *d, const void *x, const void *y);

/* Deep copy into a, which has no max_bytes. */
void *thrift_clone(const struct tdesc *d, const void *obj, struct arena *a);

/* ---- bare structs ----
 * Writers append to out; they write what is set, in ascending field id. They return 0, or ERR_INVALID for a
 * union with not exactly one member, ERR_TOO_BIG for what no reader would take; out is then as before.
 * Readers fill the zeroed *obj; IDL defaults are applied to absent fields. They skip unknown fields and fields
 * of another type than declared, as Thrift does; so a union may come out with no member. Limits of core/limits.h hold.
 * ret_used (may be NULL: then trailing bytes are an error) gets the number of bytes read. Errors: ERR_MALFORMED,
 * ERR_TRUNCATED, ERR_TOO_BIG, ERR_TOO_DEEP. */
int tbinary_write(struct buf *out, const struct tdesc *d, const void *obj);
int tbinary_read(const void *data, size_t n, const struct tdesc *d, void *obj, struct arena *a, size_t *ret_used);
/* How many bytes a value of that wire type takes at the beginning of the input, whatever it is. The readers' errors. */
int tbinary_skip(const void *data, size_t n, unsigned type, size_t *ret_used);
int tjson_write(struct buf *out, const struct tdesc *d, const void *obj);
int tjson_read(const void *data, size_t n, const struct tdesc *d, void *obj, struct arena *a, size_t *ret_used);

/* ---- RPC messages ---- */
enum tmessage_type { TMSG_CALL = 1, TMSG_REPLY = 2, TMSG_EXCEPTION = 3, TMSG_ONEWAY = 4 };

struct tmessage {
    struct str name;
    int32_t type;
    int32_t seqid;
    size_t body; /* offset of the struct in the input */
};

/* Reads the envelope (strict and old form for TBinary). The struct starts at ret->body; for TJSON the
 * closing bracket behind it is the caller's to check with tjson_message_end(). name is copied to a. */
int tbinary_message_read(const void *data, size_t n, struct tmessage *ret, struct arena *a);
int tjson_message_read(const void *data, size_t n, struct tmessage *ret, struct arena *a);
/* 0 if, from `at`, only the closing bracket and blanks follow. */
int tjson_message_end(const void *data, size_t n, size_t at);
/* Whole REPLY message with `result` of type result_desc as field 0 (success). */
int tbinary_reply_write(struct buf *out, struct str name, int32_t seqid, const struct tdesc *result_desc,
                        const void *result);
int tjson_reply_write(struct buf *out, struct str name, int32_t seqid, const struct tdesc *result_desc,
                      const void *result);
/* EXCEPTION message with a TApplicationException {1: message, 2: type}. */
void tbinary_exception_write(struct buf *out, struct str name, int32_t seqid, const char *message, int type);
void tjson_exception_write(struct buf *out, struct str name, int32_t seqid, const char *message, int type);

/* ---- plain JSON (/api/v1, /apibeta): struct = object by field name, enum = name (or the number where it has
 * none), union = object with one member, map = object, set and list = array, binary = base64. ----
 * Writing a double that is not finite gives null. Reading takes null as unset, and 5.0 as the integer 5. */
enum json_flags {
    JSON_PLAIN = 0,
    /* Gson's habits: `< > & = '` as \u003c, unset primitives shown as 0 or false. */
    JSON_GSON = 1,
    /* Unknown members, unknown enum names and repeated members are errors (a typo in a job must not be silent);
     * otherwise they are skipped, unset, and the last one wins. */
    JSON_STRICT = 2,
};
int json_write(struct buf *out, const struct tdesc *d, const void *obj, int flags);
/* Beside the readers' errors ERR_INVALID: JSON of another shape than the type. err_text (may be NULL, else is
 * empty) gets, on error, a message that names the place: `description.taskConfig.priority: not an integer`. */
int json_read(const void *data, size_t n, const struct tdesc *d, void *obj, struct arena *a, int flags,
              struct buf *err_text);
/* s as a JSON string with quotes, valid UTF-8 kept, invalid bytes replaced by U+FFFD. */
void json_write_string(struct buf *out, struct str s, int flags);

/* The value's name or NULL; the other way ERR_NOT_FOUND. */
const char *tenum_name(const struct tenum *e, int32_t value);
int tenum_value(const struct tenum *e, struct str name, int32_t *ret_value);
/* The field called so or NULL. */
const struct tfield *tdesc_field(const struct tdesc *d, const char *name);

#endif
