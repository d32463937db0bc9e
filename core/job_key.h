/* Job keys: role, environment, name. */
#ifndef AURORA_CORE_JOB_KEY_H
#define AURORA_CORE_JOB_KEY_H

#include "core/arena.h"

#include "api.gen.h"

/* [A-Za-z0-9_.-]+, at most LIMIT_IDENTIFIER_BYTES; the unset str is none. */
bool identifier_valid(struct str s);
/* Three valid identifiers; NULL is no key. */
bool job_key_valid(const struct api_job_key *k);
bool job_key_eq(const struct api_job_key *a, const struct api_job_key *b);
/* "role/environment/name" in a; the unset str if the key or a part of it is unset. */
struct str job_key_text(const struct api_job_key *k, struct arena *a);
/* As Aurora prints a key in messages: "IJobKey{role=r, environment=e, name=n}" or "null". */
struct str job_key_java(const struct api_job_key *k, struct arena *a);

#endif
