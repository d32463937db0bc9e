/* From flags to the settings of the rooms: files that flags name are read, texts compiled, everything is checked before
 * anything is opened. */
#ifndef AURORA_ADMIN_SETTINGS_H
#define AURORA_ADMIN_SETTINGS_H

#include "admin/flags.h"
#include "core/sched.h"
#include "mesos/executors.h"

struct environment_pattern;

struct settings {
    struct sched_config sched; /* seed is the caller's to set */
    struct executors *executors;
    struct str principal, secret; /* of framework_authentication_file; unset: none */
    struct str hostname;          /* advertised */
    struct environment_pattern *environment;
    struct arena arena;
};

/* Blocks (start-up only). ERR_INVALID with one line in err_text. f must outlive *s. settings_release() in any case. */
int settings_from_flags(struct settings *s, const struct flags *f, struct buf *err_text);
void settings_release(struct settings *s);
/* -zk_endpoints is given: this may be one of several schedulers. */
bool settings_zookeeper(const struct flags *f);

/* {"default": NAME, "tiers": {NAME: {"preemptible": bool, "revocable": bool}}} into c; strings in a. */
int settings_read_tiers(struct sched_config *c, struct str json, struct arena *a, struct buf *err_text);
/* Both keys of a Java properties file are needed. */
int settings_read_credential(struct settings *s, struct str properties, struct buf *err_text);

/* Appends a whole file; ERR_NOT_FOUND, ERR_TOO_BIG (LIMIT_CONFIG_FILE_BYTES), ERR_IO. Fits flags_read_file. */
int settings_read_file(const char *path, struct buf *out, void *arg);

#endif
