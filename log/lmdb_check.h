/* LMDB trusts its file: it follows damaged page numbers wherever they lead. This walks the trees of a closed data file
 * first, with every bound checked. */
#ifndef AURORA_LOG_LMDB_CHECK_H
#define AURORA_LOG_LMDB_CHECK_H

/* 0, or ERR_CORRUPT with *ret_why (static text) saying what was found, or ERR_IO. */
int lmdb_check(const char *file, const char **ret_why);

#endif
