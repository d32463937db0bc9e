/* Detection of the leading Mesos master (apache/mesos src/zookeeper/detector.cpp, src/master/detector/zookeeper.cpp):
 * the smallest number among all numbered children leads, whatever its label; the label says how to read the data. */
#ifndef AURORA_ZK_DETECTOR_H
#define AURORA_ZK_DETECTOR_H

#include "zk/session.h"

struct zk_detector;

/* The parts of zk://[user:password@]host1:port1,host2:port2/path. */
struct zk_url {
    char credentials[256]; /* "": none */
    char endpoints[1024];
    char path[512];
};
/* ERR_MALFORMED: not of that form, the path is "/", or a part is too long. */
int zk_url_parse(const char *url, struct zk_url *ret);

struct zk_detector_config {
    struct zk_session *session;
    const char *path;
    /* The leading master's PID text, "master@ip:port", or NULL for none: at first, at each change of the leader, and
     * again for the same one when the session was lost in between. Data that can't be read counts as no leader, with a
     * log line.
     */
    void (*on_master)(const char *pid, void *arg);
    void *arg;
};
int zk_detector_new(const struct zk_detector_config *c, struct zk_detector **ret);
/* No callback runs after the call. */
void zk_detector_free(struct zk_detector *d);

/* The PID text in a master's znode of that label (unset, "info" or "json.info"): visible ASCII with an '@' and a ':'
 * behind it, not longer than this. ERR_MALFORMED, ERR_UNSUPPORTED (label); out is then as it was. */
#define ZK_MASTER_PID_MAX 299
struct buf;
int zk_master_pid(struct str label, struct str data, struct buf *out);

#endif
