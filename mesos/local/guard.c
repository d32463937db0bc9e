#include "mesos/local/guard.h"

#include "core/buf.h"
#include "core/err.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---------------- sessions ---------------- */

/* The session of a process, from the sixth field of its stat line; 0 when it's gone. */
static pid_t session_of(const char *pid)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = read(fd, line, sizeof line - 1);
    close(fd);
    if (n <= 0) return 0;
    line[n] = 0;
    /* "pid (name) state ppid pgrp session": the name may hold anything, but the last ')' ends it. */
    const char *at = strrchr(line, ')');
    if (!at) return 0;
    at += 1;
    for (int field = 0; field < 4 && at; field++) at = strchr(at + 1, ' ');
    return at ? (pid_t)strtol(at, NULL, 10) : 0;
}

void session_signal(pid_t session, int signo)
{
    kill(-session, signo);
    DIR *d = opendir("/proc");
    if (!d) return;
    for (const struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] < '1' || e->d_name[0] > '9') continue;
        if (session_of(e->d_name) == session) kill((pid_t)strtol(e->d_name, NULL, 10), signo);
    }
    closedir(d);
}

/* ---------------- the guard ---------------- */

/* +session: added; -session: removed. */
static int next_message(int fd)
{
    int32_t v = 0;
    ssize_t n;
    do {
        n = read(fd, &v, sizeof v);
    } while (n < 0);
    return n == (ssize_t)sizeof v ? v : 0;
}

static void remember(pid_t **v, size_t *n, size_t *cap, pid_t session)
{
    if (*n == *cap) {
        *cap = *cap ? *cap * 2 : 64;
        *v = xrealloc(*v, *cap * sizeof **v);
    }
    (*v)[(*n)++] = session;
}

static void forget(pid_t *v, size_t *n, pid_t session)
{
    for (size_t i = 0; i < *n; i++) {
        if (v[i] != session) continue;
        v[i] = v[--*n];
        return;
    }
}

static _Noreturn void guard_main(int fd)
{
    pid_t *sessions = NULL;
    size_t n = 0, cap = 0;
    setsid(); /* Ctrl-C is for the one it guards */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    prctl(PR_SET_NAME, "mesos-guard");
    for (int m; (m = next_message(fd)) != 0;) {
        if (m > 0) remember(&sessions, &n, &cap, m);
        if (m < 0) forget(sessions, &n, -m);
    }
    for (size_t i = 0; i < n; i++) session_signal(sessions[i], SIGKILL);
    _exit(0);
}

/* The guard holds no file of the other: who waits for the end of its output must not wait for the guard. */
static void close_others(int keep)
{
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++) dup2(null, fd);
    for (int fd = 3; fd < 256; fd++)
        if (fd != keep) close(fd);
}

int guard_start(struct guard *g)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC)) return ERR_IO;
    pid_t pid = fork();
    if (pid == 0) {
        close_others(fds[0]);
        guard_main(fds[0]);
    }
    close(fds[0]);
    if (pid < 0) {
        close(fds[1]);
        return ERR_IO;
    }
    fcntl(fds[1], F_SETFL, O_NONBLOCK);
    *g = (struct guard){ pid, fds[1] };
    return 0;
}

static void tell(struct guard *g, int32_t v)
{
    if (!g->pid) return;
    /* Four bytes go at once or not at all; a guard that doesn't read is dead. */
    ssize_t n = write(g->fd, &v, sizeof v);
    (void)n;
}

void guard_add(struct guard *g, pid_t session)
{
    tell(g, session);
}

void guard_remove(struct guard *g, pid_t session)
{
    tell(g, -session);
}

void guard_stop(struct guard *g)
{
    if (!g->pid) return;
    close(g->fd);
    waitpid(g->pid, NULL, 0);
    *g = (struct guard){ 0 };
}
