/* Changes of a store in a line, for tests. */
#ifndef AURORA_TEST_STORE_OPS_H
#define AURORA_TEST_STORE_OPS_H

#include "core/store.h"

/* Applies an Op of the log that is written as JSON. Fails the test where it can't be read; gives what the store says.
 */
int try_json(struct store *s, const char *json);
/* It must be applied. */
void apply_json(struct store *s, const char *json);
/* Task "t<id>", instance <id> of the job r/prod/j<job>, on one of five agents. */
void put_task(struct store *s, int id, int job, const char *status);
void remove_task(struct store *s, int id);
/* Host "h<id>". */
void put_host(struct store *s, int id, const char *mode);

#endif
