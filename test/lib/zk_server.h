/* A real ZooKeeper for tests: Debian's, on loopback, with a folder of its own that is removed at the end. */
#ifndef AURORA_TEST_ZK_SERVER_H
#define AURORA_TEST_ZK_SERVER_H

#include <stdint.h>
#include <sys/types.h>

struct zk_server {
    char dir[64];
    char address[32]; /* "127.0.0.1:port" */
    uint16_t port;
    pid_t pid;
};

/* Starts one and waits until it answers; aborts the test program if it does not within a minute. Sessions may be as
 * short as 400 ms. */
void zk_server_start(struct zk_server *s);
void zk_server_kill(struct zk_server *s);    /* SIGKILL; data stays */
void zk_server_restart(struct zk_server *s); /* after a kill: same port, same data */
void zk_server_freeze(struct zk_server *s);  /* SIGSTOP */
void zk_server_thaw(struct zk_server *s);
void zk_server_stop(struct zk_server *s); /* kills it and removes the folder */

#endif
