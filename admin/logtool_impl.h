/* Shared by the files of the log tool (admin/logtool.h). */
#ifndef AURORA_ADMIN_LOGTOOL_IMPL_H
#define AURORA_ADMIN_LOGTOOL_IMPL_H

#include "admin/logtool.h"
#include "log/entry.h"
#include "log/replica.h"
#include "log/storage.h"

struct logtool {
    FILE *out, *err;
    /* The command line. */
    const char *path, *backup;
    uint64_t from, to;
    unsigned quorum; /* 0: not given */
    bool thrift_json, help;
    /* The folder, once it is open for reading. */
    struct storage *storage;
    bool has_metadata;
    struct storage_metadata metadata;
    struct replica replica; /* what it will know when it starts; a damaged record is one that is not learned */
    uint64_t n_records, n_damaged;
    struct buf line; /* what the next logtool_print() prints */
    enum logtool_status status;
};

/* Prints and empties t->line, which is a whole object, with a line feed. */
void logtool_print(struct logtool *t);
/* A sentence on err. */
void logtool_complain(struct logtool *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Opens t->path for reading and takes its metadata. The codes of storage_open_read_only(). */
int logtool_open(struct logtool *t, struct buf *why);
/* Goes through all records once, for t->replica and the counts; fn (may be NULL) sees each, as with storage_scan().
 * ERR_IO. */
int logtool_survey(struct logtool *t, void (*fn)(uint64_t position, const struct action *a, void *arg), void *arg);
/* `"status":"VOTING",...`: metadata and range, without braces. */
void logtool_add_metadata(struct logtool *t);

enum logtool_status logtool_verify(struct logtool *t);
enum logtool_status logtool_initialize(struct logtool *t);
enum logtool_status logtool_import(struct logtool *t);

/* ---- what things are, in short ---- */

/* Position, promises, type and size of a record as members, without braces. */
void logtool_add_action(struct buf *out, const struct action *a);
/* The content of an append as an object. r has read what is before it. */
void logtool_add_content(struct buf *out, struct entry_reader *r, const struct action *a);

#endif
