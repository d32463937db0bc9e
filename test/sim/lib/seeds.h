/* Runs of a simulation, one per seed:
 *
 *   SEEDS=n  how many (default 100); SEED=n  only that one; FIRST=n  the first of them.
 *
 * Whatever ends a run badly, an assertion and a sanitizer included, prints the command that replays it. */
#ifndef AURORA_SIM_SEEDS_H
#define AURORA_SIM_SEEDS_H

#include <stdint.h>

/* First in main(). */
void seeds_init(const char *program);
/* run() leaves a text in `why` if the run failed; the test then ends there. Gives the number of runs. */
uint64_t seeds_run(void (*run)(uint64_t seed, char why[256], void *arg), void *arg);

#endif
