#include "test/sim/lib/seeds.h"

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t current_seed;
static const char *program;

static void print_replay(void)
{
    fprintf(stderr, "replay: SEED=%" PRIu64 " %s\n", current_seed, program);
}

static void on_abort(int sig)
{
    (void)sig;
    print_replay();
    _exit(134);
}

#ifdef SANITIZED
void __sanitizer_set_death_callback(void (*callback)(void));
#endif

void seeds_init(const char *name)
{
    program = name;
    signal(SIGABRT, on_abort);
#ifdef SANITIZED
    __sanitizer_set_death_callback(print_replay);
#endif
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

uint64_t seeds_run(void (*run)(uint64_t seed, char why[256], void *arg), void *arg)
{
    uint64_t n = getenv("SEED") ? 1 : number("SEEDS", 100), first = number("SEED", number("FIRST", 1));
    for (uint64_t i = 0; i < n; i++) {
        char why[256] = "";
        current_seed = first + i;
        run(current_seed, why, arg);
        if (!why[0]) continue;
        print_replay();
        fail_msg("seed %" PRIu64 ": %s", current_seed, why);
    }
    return n;
}
