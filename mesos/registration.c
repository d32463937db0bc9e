#include "mesos/registration.h"

#include <assert.h>

/* State + 1, so that what is not listed is 0: not allowed. */
#define TO(state) ((state) + 1)

static const unsigned char moves[REG_STATES][REGISTRATION_MOVES] = {
    [REG_DETACHED] = { [MOVE_NO_MASTER] = TO(REG_DETACHED),
                       [MOVE_AUTHENTICATE] = TO(REG_AUTHENTICATING),
                       [MOVE_SUBSCRIBE] = TO(REG_SUBSCRIBING),
                       [MOVE_END] = TO(REG_ENDED) },
    [REG_WAITING] = { [MOVE_NO_MASTER] = TO(REG_DETACHED),
                      [MOVE_AUTHENTICATE] = TO(REG_AUTHENTICATING),
                      [MOVE_SUBSCRIBE] = TO(REG_SUBSCRIBING),
                      [MOVE_BROKEN] = TO(REG_WAITING),
                      [MOVE_END] = TO(REG_ENDED) },
    [REG_AUTHENTICATING] = { [MOVE_NO_MASTER] = TO(REG_DETACHED),
                             [MOVE_AUTHENTICATE] = TO(REG_AUTHENTICATING),
                             [MOVE_SUBSCRIBE] = TO(REG_SUBSCRIBING),
                             [MOVE_BROKEN] = TO(REG_WAITING),
                             [MOVE_END] = TO(REG_ENDED) },
    [REG_SUBSCRIBING] = { [MOVE_NO_MASTER] = TO(REG_DETACHED),
                          [MOVE_AUTHENTICATE] = TO(REG_AUTHENTICATING),
                          [MOVE_SUBSCRIBE] = TO(REG_SUBSCRIBING),
                          [MOVE_REGISTERED] = TO(REG_CONNECTED),
                          [MOVE_BROKEN] = TO(REG_WAITING),
                          [MOVE_END] = TO(REG_ENDED) },
    [REG_CONNECTED] = { [MOVE_NO_MASTER] = TO(REG_DETACHED),
                        [MOVE_AUTHENTICATE] = TO(REG_AUTHENTICATING),
                        [MOVE_SUBSCRIBE] = TO(REG_SUBSCRIBING),
                        [MOVE_BROKEN] = TO(REG_WAITING),
                        [MOVE_END] = TO(REG_ENDED) },
    [REG_ENDED] = { [MOVE_END] = TO(REG_ENDED) },
};

int registration_next(enum registration_state from, enum registration_move move)
{
    assert(from < REG_STATES);
    assert(move < REGISTRATION_MOVES);
    return (int)moves[from][move] - 1;
}

const char *registration_name(enum registration_state s)
{
    static const char *const names[REG_STATES] = { "DETACHED",    "WAITING",   "AUTHENTICATING",
                                                   "SUBSCRIBING", "CONNECTED", "ENDED" };
    assert(s < REG_STATES);
    return names[s];
}
