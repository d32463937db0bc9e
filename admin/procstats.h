/* What /vars says of the process, the machine, the build and the command line (reference: vars §5). The names with jvm_
 * are kept where they mean something without a JVM. */
#ifndef AURORA_ADMIN_PROCSTATS_H
#define AURORA_ADMIN_PROCSTATS_H

#include "admin/flags.h"
#include "core/stats.h"

/* The fixed ones: build, environment, command line, flag_<name> for every flag. Secrets are masked. */
void procstats_start(struct stats *s, const struct flags *f, int64_t now_ms);
/* The changing ones, at each sampling. */
void procstats_tick(struct stats *s, int64_t now_ms);

#endif
