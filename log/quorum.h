/* Whether a quorum size is safe to use (pure). A size that is not the same everywhere, or not more than half of all
 * replicas, loses acknowledged writes without a word: Mesos has no defence against it.
 *
 * Every log has a record: its size, its own random id, and the ids of the replicas that it has seen. It is kept in
 * three places: with the log; in announcements to the peers; and, the size and the seen ones, as data of the group's
 * znode, where it outlives all processes. Mesos's replicas know nothing of it and take no harm: they drop messages with
 * an unknown name (libprocess answers 202 all the same), and read only the children of the znode. So a member that says
 * nothing may be one of theirs, a peer that can't be reached, or the registration of a process that has gone.
 *
 * Asked before a scheduler registers in the group, and again, registered, before each election; and before an EMPTY log
 * is initialised. A leader that is running goes on: it is the newcomer with the contradiction that stays out, so that
 * nobody's mistake stops a healthy cluster. A new leader writes the znode's record before it acknowledges anything.
 *
 * Each replica has a place among the 2 size - 1 of the znode's record before it takes part. One that holds the log but
 * has no place was replaced while it was away: what it has is old, and together with others its vote could undo what
 * was acknowledged since. And two that announce the same id are one folder and its copy, which must not have two votes.
 */
#ifndef AURORA_LOG_QUORUM_H
#define AURORA_LOG_QUORUM_H

#include "core/buf.h"
#include "core/limits.h"

#define QUORUM_SEEN_MAX (2 * LIMIT_LOG_QUORUM - 1)

struct quorum_record {
    uint64_t replica; /* whose; the znode's: the last leader, which has everything, 0: none since a change */
    unsigned size;    /* 0: there is no record */
    uint32_t changes; /* how often the size has been changed; what is from before is out of date */
    uint64_t seen[QUORUM_SEEN_MAX]; /* latest first, own one included; none before the log is initialised */
    unsigned n_seen;
};

struct quorum_member {
    const char *name; /* its pid, for people */
    bool heard;       /* whether it has announced a record */
    struct quorum_record record;
};

struct quorum_view {
    unsigned flag; /* -native_log_quorum_size */
    struct quorum_record own, znode;
    const struct quorum_member *members; /* all others that are listed in the group */
    unsigned n;
};

enum quorum_verdict {
    QUORUM_SAFE,
    QUORUM_WAITS,   /* unsafe while members are registered that say nothing; they may be leftovers that go by themselves
                     */
    QUORUM_REFUSED, /* unsafe until an operator changes something */
};

/* why: gets a sentence on what is wrong and what to set, unless it is safe. */
enum quorum_verdict quorum_judge(const struct quorum_view *v, struct buf *why);
/* Whether an EMPTY log may be initialised, without anybody to learn from: not where the log exists already. */
bool quorum_may_initialize(const struct quorum_view *v);

/* Notes the replicas that are in the group now. The longest unseen ones are forgotten beyond 2 size - 1, as they have
 * been replaced. Returns whether the record has changed, and has to be stored. */
bool quorum_see(struct quorum_record *r, const uint64_t *replicas, unsigned n);

/* Whether this replica may take a place among those of the znode's record, if it has none: not before there are enough
 * that hold the log, to fetch it from. Else empty ones could drive away those that have it. */
bool quorum_may_claim(const struct quorum_view *v, struct buf *why);
/* As quorum_see() for the znode's record: voters[0] claims a place among them. The first place is kept, where it tells
 * which replica has everything (log/quorum_change.h). */
bool quorum_claim(struct quorum_record *z, const uint64_t *voters, unsigned n);

/* Where the znode has lost its record: who has a place in the one that a new leader writes. All whom those present
 * remember, if at least a quorum of them is present (so that nobody can have taken part unknown to all of them) and
 * there are places for all. If there are not, some have been replaced, and nobody knows which: only those present have
 * one, and z stays as it is. */
void quorum_remember(const struct quorum_view *v, struct quorum_record *z);

bool quorum_record_eq(const struct quorum_record *a, const struct quorum_record *b);

/* An announcement's message name, and its body, which is also the znode's data. ERR_MALFORMED. */
#define QUORUM_MESSAGE "aurora.internal.log.QuorumRecord"
void quorum_encode(const struct quorum_record *r, struct buf *out);
int quorum_decode(const void *data, size_t n, struct quorum_record *ret);

#endif
