/* Random values of any type of the IDL, for tests of codecs and storage. */
#ifndef AURORA_TEST_RANDOM_VALUE_H
#define AURORA_TEST_RANDOM_VALUE_H

#include "core/rng.h"
#include "core/thrift.h"

/* A value in a: every field may be unset, unions have one member, enums a declared value, doubles are finite, strings
 * are UTF-8 with escapes, control characters and several planes. Containers have up to 4 elements. */
void *random_value(struct rng *r, const struct tdesc *d, struct arena *a);
/* The seed from $SEED or a fixed one; printed with the command that replays it. */
uint64_t random_seed(const char *program);

#endif
