/* A scripted master for tests of the driver: a libprocess process behind a socket of its own, on the loop of the
 * driver.
 *
 * What the driver does is written into a trace, a line for each call that reaches the master and for each event and
 * fatal error that the driver reports, in order. A test says which lines it expects:
 *
 *     SUBSCRIBE id=- force=-            registered F-1 first=1
 *     ACCEPT O1 tasks=a,b refuse=5      offers O1@S1 O2@S1
 *     DECLINE O1,O2 refuse=0.5          rescind O1
 *     KILL a agent=-                    status a TASK_LOST REASON_RECONCILIATION ack=0
 *     RECONCILE a@S1 b@-                lost agent S1
 *     ACKNOWLEDGE a@S1                  exited executor e@S1 status=9
 *     TEARDOWN                          disconnected
 *     AuthenticateMessage to=master     fatal: why */
#ifndef AURORA_TEST_MESOS_MASTER_H
#define AURORA_TEST_MESOS_MASTER_H

#include "mesos/driver.h"
#include "mesos/executors.h"

struct test_master {
    uv_loop_t loop;
    struct stats *stats;
    struct executors *executors; /* the command executor only */
    struct libprocess *lp_master, *lp_driver;
    struct lp_process *master, *session; /* of CRAM-MD5 */
    uint16_t port;
    struct upid sender; /* of the last message: the driver's pid, or that of its authenticatee */
    struct driver *driver;
    struct buf trace;
    struct arena arena; /* of messages that are sent */
    /* May be set: sees every message to the master before it is traced. */
    void (*on_call)(struct test_master *m, struct str name, const void *body, size_t n);
    /* May be set: sees every event before it is traced. */
    void (*on_event)(struct test_master *m, const struct sched_event *ev);
    void *arg;
    bool closed;
};

/* Both ends listen; the driver is there but knows no master yet. c may be NULL, else its loop, lp, stats, executors,
 * clock and callbacks are set here, and a user, a name and short times where none are given. */
void test_master_start(struct test_master *m, const struct driver_config *c);
void test_master_stop(struct test_master *m);
/* Tells the driver where the master is. */
void test_master_detect(struct test_master *m);
/* The master dies; all its connections close. */
void test_master_kill(struct test_master *m);
/* It is there again, at the same address. */
void test_master_restart(struct test_master *m);

/* Runs the loop until the trace has as many lines as `lines`, and compares; then the trace is empty. */
void test_master_expect(struct test_master *m, const char *lines);
/* Runs the loop until all that was sent to the driver has been handled. Not after a fatal error. */
void test_master_settle(struct test_master *m);
/* Settles, and asserts that the trace is empty. */
void test_master_expect_nothing(struct test_master *m);

/* From the master to the driver's pid. */
void test_master_send(struct test_master *m, const char *name, const void *message);
void test_master_send_bytes(struct test_master *m, const char *name, const void *body, size_t n);
/* FrameworkRegisteredMessage or FrameworkReregisteredMessage. */
void test_master_register(struct test_master *m, const char *framework_id, bool first);
/* One ResourceOffersMessage. */
void test_master_offer(struct test_master *m, const char *id, const char *agent);
void test_master_error(struct test_master *m, const char *text);
/* detect, SUBSCRIBE, registered as F-1. */
void test_master_connect(struct test_master *m);

#endif
