#include "test/lib/zk_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { START_MS = 60000, PAUSE_MS = 20 };

static void die(const char *what)
{
    perror(what);
    abort();
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (
        struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
}

static uint16_t free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = loopback(0);
    socklen_t n = sizeof a;
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) || getsockname(fd, (struct sockaddr *)&a, &n)) die("port");
    close(fd);
    return ntohs(a.sin_port);
}

/* "ruok" gets "imok" once the server serves. */
static int answers(uint16_t port)
{
    char reply[8] = { 0 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = loopback(port);
    struct timeval tv = { .tv_sec = 1 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    int ok = connect(fd, (struct sockaddr *)&a, sizeof a) == 0 && write(fd, "ruok", 4) == 4 &&
             read(fd, reply, 4) == 4 && strcmp(reply, "imok") == 0;
    close(fd);
    return ok;
}

static void write_config(const struct zk_server *s)
{
    char path[128];
    snprintf(path, sizeof path, "%s/zoo.cfg", s->dir);
    FILE *f = fopen(path, "w");
    if (!f) die(path);
    fprintf(f,
            "tickTime=200\ndataDir=%s/data\nclientPort=%u\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n"
            "maxClientCnxns=0\n4lw.commands.whitelist=*\nmaxSessionTimeout=60000\n",
            s->dir, s->port);
    fclose(f);
}

static void spawn(struct zk_server *s)
{
    char config[128], log[128];
    snprintf(config, sizeof config, "%s/zoo.cfg", s->dir);
    snprintf(log, sizeof log, "%s/log", s->dir);
    s->pid = fork();
    if (s->pid < 0) die("fork");
    if (s->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int fd = open(log, O_CREAT | O_WRONLY | O_APPEND, 0600);
        dup2(fd, 1);
        dup2(fd, 2);
        execlp("java", "java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp",
               "/usr/share/java/zookeeper.jar", "org.apache.zookeeper.server.quorum.QuorumPeerMain", config,
               (char *)NULL);
        _exit(127);
    }
    for (int waited = 0; !answers(s->port); waited += PAUSE_MS) {
        if (waited > START_MS) die("ZooKeeper does not answer");
        poll(NULL, 0, PAUSE_MS);
    }
}

void zk_server_start(struct zk_server *s)
{
    snprintf(s->dir, sizeof s->dir, "/tmp/zk-test-XXXXXX");
    if (!mkdtemp(s->dir)) die(s->dir);
    s->port = free_port();
    snprintf(s->address, sizeof s->address, "127.0.0.1:%u", s->port);
    write_config(s);
    spawn(s);
}

void zk_server_kill(struct zk_server *s)
{
    if (s->pid <= 0) return;
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    s->pid = 0;
}

void zk_server_restart(struct zk_server *s)
{
    spawn(s);
}

void zk_server_freeze(struct zk_server *s)
{
    kill(s->pid, SIGSTOP);
}

void zk_server_thaw(struct zk_server *s)
{
    kill(s->pid, SIGCONT);
}

void zk_server_stop(struct zk_server *s)
{
    zk_server_kill(s);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", s->dir);
    if (system(command)) die(command);
}
