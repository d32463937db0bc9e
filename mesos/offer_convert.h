/* A Mesos offer as the core sees it. */
#ifndef AURORA_MESOS_OFFER_CONVERT_H
#define AURORA_MESOS_OFFER_CONVERT_H

#include "core/arena.h"
#include "core/offer.h"

#include "mesos/mesos.pb-c.h"

/* Strings point into m, the rest is in a. Resources of other names or of another type than expected are left out,
 * amounts that are no number or negative count as 0, ports end at 65535. */
void offer_convert(const Mesos__Offer *m, struct offer *ret, struct arena *a);

#endif
