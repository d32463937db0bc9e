/* `aurora-scheduler log <command>`: looks at the log folder of a scheduler that is stopped, or makes a new one. Prints
 * JSON, one object per line, on out and what went wrong on err. Blocks; memory is bounded by one entry of the log (and
 * by the state itself where it is replayed). Nothing but `initialize` changes a byte of the folder. */
#ifndef AURORA_ADMIN_LOGTOOL_H
#define AURORA_ADMIN_LOGTOOL_H

#include <stdio.h>

enum logtool_status {
    LOGTOOL_OK = 0,
    LOGTOOL_DAMAGED = 1, /* something is wrong with what is stored; the rest was printed */
    LOGTOOL_USAGE = 2,
    LOGTOOL_FAILED = 3, /* it could not be done: no log, another program's, in use, input or output */
};

/* argv: what follows `log`. Returns the exit status. */
enum logtool_status logtool(int argc, const char *const *argv, FILE *out, FILE *err);

#endif
