/* A disk in memory under a log replica. What a commit brings is on it when the commit has ended well; a crash before
 * that leaves all, nothing, or a first part of it. */
#ifndef AURORA_SIM_DISK_H
#define AURORA_SIM_DISK_H

#include "log/message.h"

/* Why a record is written, for the checker. */
enum origin { ORIGIN_PROMISE, ORIGIN_WRITE, ORIGIN_LEARNED, ORIGIN_METADATA };

struct disk_op {
    enum origin origin;
    enum replica_status status; /* ORIGIN_METADATA */
    uint64_t promised;
    struct message *record; /* the others: holds one action */
};

struct commit {
    struct disk_op *ops; /* in the order of their steps */
    size_t n, cap;
    uint64_t purge_below;
};

struct disk {
    enum replica_status status;
    uint64_t promised;
    struct message **records; /* by position; NULL: none */
    size_t n;
};

void disk_init(struct disk *d);
void disk_release(struct disk *d);
/* Applies the first n ops; the purge too if they are all. */
void disk_apply(struct disk *d, const struct commit *c, size_t n);
/* NULL: none. */
const struct action *disk_read(const struct disk *d, uint64_t position);

void commit_metadata(struct commit *c, enum replica_status status, uint64_t promised);
void commit_record(struct commit *c, enum origin origin, const struct action *a);
void commit_release(struct commit *c);

#endif
