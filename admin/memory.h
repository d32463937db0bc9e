/* The process's memory. malloc is not asked: in a large heap, counting what is free takes longer than the loop may be
 * away. The figures are the kernel's. */
#ifndef AURORA_ADMIN_MEMORY_H
#define AURORA_ADMIN_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct memory {
    int64_t resident; /* bytes in use, files that are mapped included */
    int64_t own;      /* of these: this process's alone, heap and stacks */
    int64_t reserved; /* what it may use of its own without asking the kernel again */
};

/* Before anything large is allocated. */
void memory_setup(void);
/* False: the kernel does not tell. */
bool memory_read(struct memory *ret);
/* Memory of a burst leaves holes that malloc keeps. Gives them back, in the pool, if there is more in use than after
 * the last time, or after a long time. For quiet moments: who needs memory of the heap that is being looked through
 * waits. */
void memory_trim(uv_loop_t *loop, int64_t now_ms);

#endif
