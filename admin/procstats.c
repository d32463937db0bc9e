#include "admin/procstats.h"

#include "admin/memory.h"
#include "admin/version.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#define MASKED "<masked>"

extern char **environ;

static int64_t started_ms;
static int64_t cpu_nanos_before, cpu_sampled_ms;

static bool is_secret(const char *name, size_t n)
{
    static const char *const words[] = { "SECRET", "PASSWORD", "PASSWD", "TOKEN", "CREDENTIAL", "PRIVATE", "API_KEY" };
    char upper[256] = "";
    for (size_t i = 0; i < n && i + 1 < sizeof(upper); i++)
        upper[i] = (char)(name[i] >= 'a' && name[i] <= 'z' ? name[i] - 32 : name[i]);
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strstr(upper, words[i])) return true;
    return false;
}

static void set_environment(struct stats *s)
{
    struct buf name = { 0 };
    for (char **e = environ; *e; e++) {
        const char *eq = strchr(*e, '=');
        if (!eq) continue;
        size_t n = (size_t)(eq - *e);
        buf_reset(&name);
        buf_addf(&name, "system_env_%.*s", (int)n, *e);
        stats_string(s, buf_cstr(&name), is_secret(*e, n) ? STR(MASKED) : str_c(eq + 1));
    }
    buf_release(&name);
}

static void set_flags(struct stats *s, const struct flags *f)
{
    struct buf b = { 0 };
    for (int id = 0; id < FLAG_COUNT; id++) {
        buf_reset(&b);
        buf_addf(&b, "flag_%s", flag_name((enum flag_id)id));
        stats_string(s, buf_cstr(&b), flag_shown(f, (enum flag_id)id));
    }
    buf_reset(&b);
    buf_adds(&b, "aurora-scheduler ");
    buf_add_str(&b, f->command_line);
    stats_string(s, "jvm_prop_sun.java.command", str_c(buf_cstr(&b)));
    stats_string(s, "jvm_input_arguments", STR("[]"));
    buf_release(&b);
}

void procstats_start(struct stats *s, const struct flags *f, int64_t now_ms)
{
    started_ms = cpu_sampled_ms = now_ms;
    stats_string(s, "build.version", STR(AURORA_VERSION));
    stats_string(s, "build.git.revision", STR(BUILD_REVISION));
    stats_string(s, "build.git.tag", STR(BUILD_TAG));
    stats_string(s, "build.date", STR(BUILD_DATE));
    stats_string(s, "build.time", STR(BUILD_TIME));
    set_environment(s);
    set_flags(s, f);
    procstats_tick(s, now_ms);
}

static int64_t count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    if (!d) return 0;
    int64_t n = -3; /* ".", ".." and the folder's own */
    while (readdir(d)) n++;
    (void)closedir(d);
    return n;
}

static void set_int(struct stats *s, const char *name, int64_t value)
{
    stat_set(stats_int(s, name), value);
}

static void tick_machine(struct stats *s)
{
    struct sysinfo info;
    if (sysinfo(&info) != 0) return;
    set_int(s, "system_free_physical_memory_mb", (int64_t)(info.freeram * (uint64_t)info.mem_unit >> 20));
    set_int(s, "system_free_swap_mb", (int64_t)(info.freeswap * (uint64_t)info.mem_unit >> 20));
    set_int(s, "jvm_memory_max_mb", (int64_t)(info.totalram * (uint64_t)info.mem_unit >> 20));
    stat_set_double(stats_double(s, "system_load_avg"), (double)info.loads[0] / (1 << SI_LOAD_SHIFT));
    set_int(s, "jvm_available_processors", sysconf(_SC_NPROCESSORS_ONLN));
}

static void tick_cpu(struct stats *s, int64_t now_ms)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    int64_t nanos = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
    int64_t elapsed = now_ms - cpu_sampled_ms;
    double cores = elapsed > 0 ? (double)(nanos - cpu_nanos_before) / 1e6 / (double)elapsed : 0;
    set_int(s, "process_cpu_time_nanos", nanos);
    stat_set_double(stats_double(s, "process_cpu_cores_utilized"), cores);
    cpu_nanos_before = nanos;
    cpu_sampled_ms = now_ms;
}

static void tick_memory(struct stats *s)
{
    struct memory m;
    if (!memory_read(&m)) return;
    set_int(s, "jvm_memory_heap_mb_used", m.own >> 20);
    set_int(s, "jvm_memory_heap_mb_committed", m.reserved >> 20);
    set_int(s, "jvm_memory_free_mb", (m.reserved - m.own) >> 20);
    set_int(s, "jvm_memory_mb_total", m.reserved >> 20);
    set_int(s, "process_resident_memory_bytes", m.resident);
}

void procstats_tick(struct stats *s, int64_t now_ms)
{
    struct rlimit fds;
    tick_machine(s);
    tick_cpu(s, now_ms);
    tick_memory(s);
    set_int(s, "process_open_fd_count", count_fds());
    if (getrlimit(RLIMIT_NOFILE, &fds) == 0) set_int(s, "process_max_fd_count", (int64_t)fds.rlim_cur);
    set_int(s, "jvm_uptime_secs", (now_ms - started_ms) / 1000);
    set_int(s, "jvm_time_ms", now_ms);
}
