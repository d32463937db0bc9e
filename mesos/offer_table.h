/* The offers that a driver holds, as packed messages by id, and the ids that were rescinded before they were seen:
 * a rescind may come over another connection than the offer and overtake it. Both are bounded. */
#ifndef AURORA_MESOS_OFFER_TABLE_H
#define AURORA_MESOS_OFFER_TABLE_H

#include "core/str.h"

struct kept_offer;
struct ban;

/* Zero-initialised is empty and valid. */
struct offer_table {
    struct kept_offer *offers;
    struct ban *bans; /* oldest first */
};

void offer_table_release(struct offer_table *t);

/* Copies. ERR_REFUSED: it was rescinded; the ban is used up. ERR_EXISTS. ERR_FULL: LIMIT_DRIVER_OFFERS are kept. */
int offer_table_add(struct offer_table *t, struct str id, const void *packed, size_t n);
/* The packed message, borrowed until the table changes; NULL if unknown. */
const void *offer_table_find(const struct offer_table *t, struct str id, size_t *ret_n);
/* False if unknown. */
bool offer_table_remove(struct offer_table *t, struct str id);
/* Removes it, or remembers that it must not be added; of those, LIMIT_DRIVER_RESCINDS at most. */
void offer_table_rescind(struct offer_table *t, struct str id);
size_t offer_table_count(const struct offer_table *t);

#endif
