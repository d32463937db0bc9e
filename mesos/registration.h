/* The life of a registration at the master, as a table.
 *
 *                 authenticate ┌──────────────────┐ subscribe
 *   ┌────────────►────────────►│  AUTHENTICATING  ├───────►─┐
 *   │                          └────────┬─────────┘         ▼
 *   │                            broken │           ┌──────────────┐ registered ┌───────────┐
 *   │          subscribe                ▼           │ SUBSCRIBING  ├───────────►│ CONNECTED │
 *   ├────────────►────────────────────────────────► └──────┬───────┘            └─────┬─────┘
 *   │                                   ▼                  ▼ broken                   ▼ broken
 * ┌─┴────────┐                   ┌──────┴──────────────────┴──────────────────────────┴─────┐
 * │ DETACHED │                   │ WAITING, then authenticate or subscribe as from DETACHED │
 * └──────────┘                   └──────────────────────────────────────────────────────────┘
 *
 * `authenticate` and `subscribe` begin an attempt: also from AUTHENTICATING (time is up), SUBSCRIBING (no answer) and
 * CONNECTED (a master has been detected, maybe the same one). `no master` leads from everywhere to DETACHED, `end` to
 * ENDED, which nothing leaves. */
#ifndef AURORA_MESOS_REGISTRATION_H
#define AURORA_MESOS_REGISTRATION_H

enum registration_state {
    REG_DETACHED,
    REG_WAITING,
    REG_AUTHENTICATING,
    REG_SUBSCRIBING,
    REG_CONNECTED,
    REG_ENDED,
    REG_STATES
};

enum registration_move {
    MOVE_NO_MASTER,
    MOVE_AUTHENTICATE,
    MOVE_SUBSCRIBE,
    MOVE_REGISTERED,
    MOVE_BROKEN,
    MOVE_END,
    REGISTRATION_MOVES
};

/* The next state, or -1 for a move that this state does not know. */
int registration_next(enum registration_state from, enum registration_move move);
/* "CONNECTED". */
const char *registration_name(enum registration_state s);

#endif
