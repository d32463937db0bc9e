/* What a bad network does to messages, on order: rules that drop, delay, duplicate or reorder the next so many messages
 * of a name and direction. Pure: time and timers are the caller's. */
#ifndef AURORA_MESOS_LOCAL_FAULTS_H
#define AURORA_MESOS_LOCAL_FAULTS_H

#include "core/buf.h"
#include "mesos/local/timerq.h"
#include "net/libprocess.h"

enum fault_action {
    FAULT_DROP,
    FAULT_DELAY,     /* by delay_ms; what follows overtakes it */
    FAULT_DUPLICATE, /* twice, at once */
    FAULT_REORDER,   /* behind the next message of the same direction and peer, or after delay_ms (1 s if 0) without one
                      */
};

struct fault {
    bool incoming; /* from schedulers; else to them */
    char name[64]; /* last part of the message's name, or a call's type ("ACKNOWLEDGE"); "*": all */
    enum fault_action action;
    uint32_t skip;  /* so many matching messages pass first */
    uint32_t count; /* for so many then; UINT32_MAX: until cleared */
    int64_t delay_ms;
    uint64_t hits;
};

struct faults;

struct faults_config {
    struct timerq *timers;
    /* A message goes on its way, now or later. */
    void (*deliver)(bool incoming, const struct upid *peer, struct str name, const void *body, size_t n, void *arg);
    void *arg;
};

struct faults *faults_new(const struct faults_config *c);
void faults_free(struct faults *f);
/* ERR_FULL: LIMIT_LOCAL_FAULTS rules. The first rule that matches a message has it. */
int faults_add(struct faults *f, const struct fault *rule);
/* Drops the rules; messages that are held go on at their time. */
void faults_clear(struct faults *f);
/* Drops what is held: the connections are gone. */
void faults_forget(struct faults *f);
uint32_t faults_list(const struct faults *f, const struct fault **ret);
/* Delivers the message, or does to it what a rule says. kind: a call's type, else unset. */
void faults_pass(struct faults *f, bool incoming, const struct upid *peer, struct str name, struct str kind,
                 const void *body, size_t n, int64_t now_ms);

#endif
