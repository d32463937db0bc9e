/* A Mesos group: ephemeral sequential children of one znode (apache/mesos src/zookeeper/group.cpp). The replicas of the
 * log are one: each joins under bare ten digits with its PID as data, and watches the others. */
#ifndef AURORA_ZK_GROUP_H
#define AURORA_ZK_GROUP_H

#include "zk/session.h"

struct zk_group;

struct zk_member {
    int32_t number;
    struct str label; /* unset: none */
    struct str data;
    int64_t owner; /* session */
};

struct zk_group_config {
    struct zk_session *session;
    const char *path;       /* made with its parents if missing */
    struct str join_data;   /* unset: only watch, until zk_group_join() */
    const char *join_label; /* NULL: bare digits */
    /* All members in order of number, first and after each change. When the session is lost the last known members
     * stand, and the group is joined and read again with the next session. */
    void (*on_members)(const struct zk_member *m, uint32_t n, void *arg);
    /* The group can't be used (no permission). Last callback. */
    void (*on_failed)(const char *why, void *arg);
    void *arg;
};

/* Strings are copied. */
int zk_group_new(const struct zk_group_config *c, struct zk_group **ret);
/* A group that was only watched is joined now, and with each later session. data is copied. */
void zk_group_join(struct zk_group *g, struct str data);
/* Leaves: the own member is deleted if connected. No callback runs after the call. */
void zk_group_free(struct zk_group *g);

/* The number and label of a child's name, as Mesos reads it: the last token behind '_' must be a number, the first of
 * several is the label. False: not a member. label borrows from name. */
bool zk_member_name(struct str name, int32_t *ret_number, struct str *ret_label);

#endif
