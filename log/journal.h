/* A file in which one sync makes a batch durable, before LMDB (which needs two, and writes whole pages) stores many of
 * them at once. It is made once, at its full size, so that a write changes no metadata of the file system.
 *
 * Records lie one after the other from the front, each on a 4 KiB boundary, numbered within a generation. When all of a
 * generation is stored elsewhere the next one begins at the front again; the caller remembers which one is done, so old
 * records are never taken for new ones. Blocks; one thread at a time. */
#ifndef AURORA_LOG_JOURNAL_H
#define AURORA_LOG_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JOURNAL_BYTES ((size_t)4 << 20)
/* Larger records are the caller's to store directly. */
#define JOURNAL_RECORD_MAX ((size_t)256 << 10)

struct journal;

/* Makes the file, synced. Leaves errno. ERR_IO, ERR_NOSPACE. */
int journal_create(const char *file);
/* read_only: nothing will be appended. ERR_IO (errno is set), ERR_CORRUPT: of a wrong size. */
int journal_open(const char *file, bool read_only, struct journal **ret);
void journal_close(struct journal *j);

/* Gives all records of the generation, in order, to fn; further ones are appended behind them. A record that a crash
 * cut short is left out; ERR_CORRUPT: there are sound records behind a broken one, or of a later generation: what the
 * caller remembers is out of date. Any other error is fn's. */
int journal_replay(struct journal *j, uint64_t generation, int (*fn)(const void *data, size_t n, void *arg), void *arg);
/* Whether the replay has left out a record that was cut short. */
bool journal_is_torn(const struct journal *j);
/* Begins the generation at the front. */
void journal_begin(struct journal *j, uint64_t generation);
/* Durable when it returns 0. ERR_FULL: begin a new generation first. ERR_IO, ERR_NOSPACE (errno is set). */
int journal_append(struct journal *j, const void *data, size_t n);

#endif
