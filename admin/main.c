/* aurora-scheduler: reads the command line, runs the loop, ends. Nothing else of the program prints or exits by itself
 * except for aborts. */
#include "admin/app.h"

#include "admin/logsink.h"
#include "admin/logtool.h"
#include "admin/procstats.h"
#include "admin/memory.h"
#include "admin/quorumtool.h"
#include "admin/version.h"
#include "core/logline.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* -vlog and GLOG_v to our levels; the more talkative one counts. */
static enum log_level wanted_level(const struct flags *f)
{
    struct str vlog = flag_str(f, FLAG_vlog);
    const char *glog = getenv("GLOG_v");
    if (glog && atoi(glog) > 0) return LOG_DEBUG;
    if (str_eq(vlog, STR("FINE")) || str_eq(vlog, STR("FINER")) || str_eq(vlog, STR("FINEST"))) return LOG_DEBUG;
    if (str_eq(vlog, STR("WARNING"))) return LOG_WARN;
    return str_eq(vlog, STR("SEVERE")) ? LOG_ERROR : LOG_INFO;
}

static void log_start(const struct flags *f)
{
    struct buf b = { 0 };
    logline(LOG_INFO, "starting", "version=%s revision=%s pid=%d", AURORA_VERSION, BUILD_REVISION, (int)getpid());
    for (int id = 0; id < FLAG_COUNT; id++) {
        const char *warning = flag_warning(f, (enum flag_id)id, &b);
        if (warning) logline(LOG_WARN, "flag", "%s", warning);
        if (f->v[id].given)
            logline(LOG_INFO, "flag", "-%s=%.*s", flag_name((enum flag_id)id),
                    STR_ARG(flag_shown(f, (enum flag_id)id)));
    }
    buf_release(&b);
}

static void complain(struct buf *err)
{
    (void)fprintf(stderr, "aurora-scheduler: %s\n", buf_cstr(err));
}

/* The addresses, for people and for scripts that left the ports open. */
static void announce(const struct app *a)
{
    printf("aurora-scheduler http=%s libprocess=%s", a->http_address, a->libprocess_address);
    if (a->thrift) printf(" thrift_port=%u", http_server_port(a->thrift));
    printf("\n");
    (void)fflush(stdout);
    logline(LOG_INFO, "listening", "http=%s libprocess=%s", a->http_address, a->libprocess_address);
}

static int run(const struct flags *f, struct settings *settings, struct buf *err)
{
    uv_loop_t loop;
    struct app app = { 0 };
    int rv = uv_loop_init(&loop);
    assert(rv == 0);
    logsink_open(STDERR_FILENO, getenv("JOURNAL_STREAM") != NULL);
    logline_set_level(wanted_level(f));
    log_start(f);
    rv = app_start(&app, &loop, f, settings, err);
    if (rv == 0)
        announce(&app);
    else
        app_stop(&app, 1, "the start failed");
    uv_run(&loop, UV_RUN_DEFAULT);
    app_free(&app);
    int closed = uv_loop_close(&loop);
    assert(closed == 0);
    logsink_close();
    if (rv != 0) complain(err);
    return app.exit_status;
}

static int print_help(void)
{
    struct buf b = { 0 };
    flags_help(&b);
    int rv = fwrite(b.data, 1, b.len, stdout) == b.len && fflush(stdout) == 0 ? 0 : 1;
    buf_release(&b);
    return rv;
}

int main(int argc, char **argv)
{
    struct flags flags = { 0 };
    struct settings settings = { 0 };
    struct buf err = { 0 };
    int status = 1;
    (void)signal(SIGPIPE, SIG_IGN);
    memory_setup();
    if (quorumtool_wants(argc, (const char *const *)argv))
        return quorumtool(argc, (const char *const *)argv, stdout, stderr);
    if (argc > 1 && strcmp(argv[1], "log") == 0)
        return (int)logtool(argc - 2, (const char *const *)argv + 2, stdout, stderr);
    if (flags_parse(&flags, argc, (const char *const *)argv, settings_read_file, NULL, &err) != 0)
        complain(&err);
    else if (flags.help)
        status = print_help();
    else if (settings_from_flags(&settings, &flags, &err) != 0)
        complain(&err);
    else
        status = run(&flags, &settings, &err);
    settings_release(&settings);
    flags_release(&flags);
    buf_release(&err);
    return status;
}
